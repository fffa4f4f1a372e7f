/** What all lanes share: the ruler, the playhead, the selection, and the pointer that moves them. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { effect } from "@preact/signals";
import { mark } from "../state/marking";
import type { Region, Regions } from "../state/regions";
import { attempt } from "../state/session";
import { settled, snapped } from "../state/snapping";
import type { Track } from "../state/track";
import { follow } from "./drag";
import { clock } from "./text";

const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800];
const TICK_PX = 90;
const DRAG_PX = 4;

export function Ruler({ track }: { track: Track }) {
  const { start, end } = track.view.value;
  const box = useRef<HTMLDivElement>(null);
  const width = box.current?.clientWidth || 900;
  const step = STEPS.find((each) => (each / (end - start)) * width >= TICK_PX) ?? 3600;
  const ticks = [];
  for (let at = Math.ceil(start / step) * step; at <= end; at += step) ticks.push(at);
  return (
    <div class="ruler" ref={box} aria-hidden="true">
      {ticks.map((at) => (
        <span key={at.toFixed(3)} style={{ left: `${((at - start) / (end - start)) * 100}%` }}>
          {clock(at, step < 1)}
        </span>
      ))}
    </div>
  );
}

/** A line at the position: moved by the compositor, so that nothing is drawn anew while it plays. */
export function Playhead({ track, whole }: { track: Track; whole?: boolean }) {
  const line = useRef<HTMLDivElement>(null);
  useEffect(
    () =>
      effect(() => {
        const { start, end } = whole ? { start: 0, end: track.duration.value } : track.view.value;
        const share = (track.position.value - start) / (end - start);
        line.current!.style.transform = `translateX(${share * 100}%)`;
        line.current!.style.visibility = share < 0 || share > 1 ? "hidden" : "visible";
      }),
    [track],
  );
  return (
    <div class="playhead" ref={line} aria-hidden="true">
      <i />
    </div>
  );
}

export function Selection({ track }: { track: Track }) {
  const selected = track.selection.value;
  if (selected === null) return null;
  const { start, end } = track.view.value;
  const share = (at: number) => ((at - start) / (end - start)) * 100;
  return <div class="selection" aria-hidden="true" style={{ left: `${share(selected.start)}%`, width: `${share(selected.end) - share(selected.start)}%` }} />;
}

/** The regions of the focused lane; their edges can be dragged. */
export function Marks({ track }: { track: Track }) {
  const regions = track.regions.value;
  const lane = track.lanes.value.findIndex((each) => each.asset.id === track.focused.value);
  if (regions === null || lane < 0) return null;
  const { start, end } = track.view.value;
  const share = (at: number) => ((at - start) / (end - start)) * 100;
  return (
    <div class="marks" style={{ "--row": lane }}>
      {regions.items.value.map((region) => {
        const stop = region.end_s ?? region.start_s;
        if (stop < start || region.start_s > end) return null;
        return (
          <div key={region.id} class={region.end_s === null ? "mark point" : "mark"} style={{ left: `${share(region.start_s)}%`, width: `${share(stop) - share(region.start_s)}%` }}>
            <span>{region.name}</span>
            <Edge track={track} regions={regions} region={region} side="start_s" />
            {region.end_s !== null && <Edge track={track} regions={regions} region={region} side="end_s" />}
          </div>
        );
      })}
    </div>
  );
}

const LEAST_S = 0.001;

function Edge({ track, regions, region, side }: { track: Track; regions: Regions; region: Region; side: "start_s" | "end_s" }) {
  const press = (event: PointerEvent) => {
    event.stopPropagation();
    const surface = (event.target as Element).closest(".surface")!.getBoundingClientRect();
    const move = (moved: PointerEvent): number => {
      const { start, end } = track.view.value;
      return start + ((moved.clientX - surface.left) / surface.width) * (end - start);
    };
    const kept = (at: number): number => {
      const whole = track.duration.value;
      return side === "start_s" ? Math.min(Math.max(0, at), (region.end_s ?? whole) - LEAST_S) : Math.max(Math.min(at, whole), region.start_s + LEAST_S);
    };
    const show = (moved: PointerEvent) => regions.show({ ...region, [side]: kept(snapped(track, move(moved), moved)) });
    follow(show, (done) => {
      if (done === null) regions.show(region);
      else attempt(async () => regions.change(region, { [side]: kept(await settled(track, move(done), done)) }));
    });
  };
  return <i class={`edge ${side}`} data-hold onPointerDown={press} aria-hidden="true" />;
}

/** Click to seek, drag to select, wheel to scroll, Ctrl and wheel to zoom; twice on the ruler sets a marker. */
export function Surface({ track, children }: { track: Track; children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  const timeAt = (event: { clientX: number }) => {
    const area = box.current!.getBoundingClientRect();
    const { start, end } = track.view.value;
    const share = Math.min(Math.max(0, (event.clientX - area.left) / area.width), 1);
    return start + share * (end - start);
  };

  const press = (event: PointerEvent) => {
    if (event.button !== 0 || (event.target as Element).closest("[data-hold]")) return;
    const from = timeAt(event);
    const select = (one: number, other: number) => {
      track.selection.value = one === other ? null : { start: Math.min(one, other), end: Math.max(one, other) };
    };
    const x = event.clientX;
    let dragged = false;
    const move = (moved: PointerEvent) => {
      dragged = dragged || Math.abs(moved.clientX - x) > DRAG_PX;
      if (!dragged) return;
      select(snapped(track, from, moved), snapped(track, timeAt(moved), moved));
    };
    follow(move, (done) => {
      if (done === null) return;
      if (!dragged) track.seek(from);
      else attempt(async () => select(...(await Promise.all([settled(track, from, done), settled(track, timeAt(done), done)]))));
    });
  };

  useEffect(() => {
    const element = box.current!;
    const roll = (event: WheelEvent) => {
      const { start, end } = track.view.value;
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        track.zoom(2 ** (event.deltaY / 200), timeAt(event));
      } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        const by = event.shiftKey ? event.deltaY + event.deltaX : event.deltaX;
        track.look(start + (by / element.clientWidth) * (end - start), end - start);
      }
    };
    element.addEventListener("wheel", roll, { passive: false });
    return () => element.removeEventListener("wheel", roll);
  }, [track]);

  const twice = (event: MouseEvent) => {
    if ((event.target as Element).closest(".ruler")) attempt(() => mark(track, timeAt(event), event));
    else track.selection.value = null;
  };

  return (
    <div class="surface" ref={box} onPointerDown={press} onDblClick={twice}>
      {children}
    </div>
  );
}
