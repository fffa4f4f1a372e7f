/** A pointer followed from the press on. */

/** `moved` is told every move, and `ended` where it was let go: null when the browser took it away, to scroll or zoom. */
export function follow(moved: (event: PointerEvent) => void, ended: (event: PointerEvent | null) => void): void {
  const end = (event: PointerEvent) => {
    removeEventListener("pointermove", moved);
    removeEventListener("pointerup", end);
    removeEventListener("pointercancel", end);
    ended(event.type === "pointerup" ? event : null);
  };
  addEventListener("pointermove", moved);
  addEventListener("pointerup", end);
  addEventListener("pointercancel", end);
}
