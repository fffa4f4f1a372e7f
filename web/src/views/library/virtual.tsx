/** A long list of which only what is on the screen exists. Scrolling renders when the window moves by some rows, not before;
 * what stays in it is not rendered again. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { ComponentChildren, VNode } from "preact";

interface Props {
  /** How many items there are, on the way or here. */
  count: number;
  /** Of a line of items, in pixels. */
  height: number;
  columns: number;
  class: string;
  /** The role of what holds the items. */
  role: "rowgroup" | "list";
  label?: string;
  /** Told which items are about to be seen. */
  need: (last: number) => void;
  /** What an item is made from: the same means that it looks the same. */
  token: (at: number) => unknown;
  item: (at: number) => VNode;
}

const BESIDE = 8;
const STEP = 4;

export function Virtual(props: Props) {
  const { count, height, columns } = props;
  const latest = useRef(props);
  latest.current = props;
  const space = useRef<HTMLDivElement>(null);
  const first = useSignal(0);
  const last = useSignal(0);
  const drawn = useRef(new Map<number, { token: unknown; columns: number; vnode: VNode }>());
  useEffect(() => {
    const box = scroller(space.current!);
    const look = () => {
      const { height, columns, need } = latest.current;
      const top = box.scrollTop / height;
      first.value = Math.max(0, Math.floor((top - BESIDE) / STEP) * STEP) * columns;
      last.value = Math.ceil((top + box.clientHeight / height + BESIDE) / STEP) * STEP * columns;
      need(last.value);
    };
    look();
    const observer = new ResizeObserver(look);
    observer.observe(box);
    box.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      box.removeEventListener("scroll", look);
    };
  }, [height, columns]);
  const kept: typeof drawn.current = new Map();
  const shown: ComponentChildren[] = [];
  for (let at = first.value; at < Math.min(count, last.value); at++) {
    const token = props.token(at);
    const before = drawn.current.get(at);
    const now = before && before.token === token && before.columns === columns ? before : { token, columns, vnode: props.item(at) };
    kept.set(at, now);
    shown.push(now.vnode);
  }
  drawn.current = kept;
  return (
    <div ref={space} class={props.class} role={props.role} aria-label={props.label} style={{ height: `${Math.ceil(count / columns) * height}px` }}>
      {shown}
    </div>
  );
}

const scroller = (inside: HTMLElement): HTMLElement => inside.closest<HTMLElement>("[data-scroller]")!;

/** Bring an item onto the screen and the focus to its link. */
export function reveal(at: number, height: number, columns: number, above: number): void {
  const box = document.querySelector<HTMLElement>("[data-scroller]");
  if (!box) return;
  const top = Math.floor(at / columns) * height;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + height + above > box.scrollTop + box.clientHeight) box.scrollTop = top + height + above - box.clientHeight;
  // The scroll event renders it; until then it may not exist.
  let tries = 5;
  const focus = () => {
    const link = box.querySelector<HTMLElement>(`[data-at="${at}"] a`);
    if (link) link.focus({ preventScroll: true });
    else if (--tries > 0) requestAnimationFrame(focus);
  };
  focus();
}
