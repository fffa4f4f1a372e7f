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
  /** How many lines above and below the screen exist, too, and by how many the window moves. */
  beside: number;
  step: number;
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
      const { height, columns, beside, step, need } = latest.current;
      const top = box.scrollTop / height;
      first.value = Math.max(0, Math.floor((top - beside) / step) * step) * columns;
      last.value = Math.ceil((top + box.clientHeight / height + beside) / step) * step * columns;
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

const FRAMES = 600;
let sought = -1;

/** Bring an item onto the screen and the focus to its link. */
export function reveal(at: number, height: number, columns: number, above: number): void {
  const box = document.querySelector<HTMLElement>("[data-scroller]");
  if (!box) return;
  const top = Math.floor(at / columns) * height;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + height + above > box.scrollTop + box.clientHeight) box.scrollTop = top + height + above - box.clientHeight;
  // It may not exist before the list is scrolled and its page is here; whoever goes elsewhere meanwhile means that.
  sought = at;
  let tries = FRAMES;
  const focus = () => {
    const link = box.querySelector<HTMLElement>(`[data-at="${at}"] a`);
    if (link) link.focus({ preventScroll: true });
    else if (--tries > 0 && sought === at) requestAnimationFrame(focus);
  };
  focus();
}
