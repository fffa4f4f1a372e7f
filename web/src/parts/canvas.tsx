/** A canvas that is as sharp as the screen and drawn again when what it shows, its size or the colours change. */

import { effect, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

export type Draw = (context: CanvasRenderingContext2D, width: number, height: number) => void;

/** Counts up when the colours of the page change. */
export const paints = signal(0);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paints.value++);

export function Canvas({ draw, label, class: className }: { draw: Draw; label: string; class?: string }) {
  const ref = useRef<HTMLCanvasElement>(null);
  const latest = useRef(draw);
  latest.current = draw;
  useEffect(() => {
    const canvas = ref.current!;
    const size = signal({ width: 0, height: 0 });
    const observer = new ResizeObserver(() => {
      size.value = { width: canvas.clientWidth, height: canvas.clientHeight };
    });
    observer.observe(canvas);
    const off = effect(() => {
      paints.value;
      const { width, height } = size.value;
      if (width === 0 || height === 0) return;
      const ratio = devicePixelRatio || 1;
      const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
      if (canvas.width !== across || canvas.height !== down) [canvas.width, canvas.height] = [across, down];
      const context = canvas.getContext("2d")!;
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, width, height);
      latest.current(context, width, height);
    });
    return () => {
      off();
      observer.disconnect();
    };
  }, []);
  return <canvas ref={ref} class={className} role="img" aria-label={label} />;
}

/** The value of a CSS colour such as var(--vocals), for a canvas. */
export function paint(color: string): string {
  const name = /^var\((--[\w-]+)\)$/.exec(color)?.[1];
  return name ? getComputedStyle(document.documentElement).getPropertyValue(name).trim() || "#888" : color;
}
