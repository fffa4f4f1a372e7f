/** The whole song in a strip, and the part of it that the lanes show: dragged, or moved by the arrow keys. */

import { useRef } from "preact/hooks";
import { Playhead } from "./timeline";
import { clock } from "./text";
import { Waveform } from "./waveform";
import type { Track } from "../state/track";
import "../style/overview.css";

export function Overview({ track }: { track: Track }) {
  const box = useRef<HTMLDivElement>(null);
  const whole = track.duration.value;
  const { start, end } = track.view.value;
  const lane = track.lanes.value.find((each) => each.asset.id === track.id);
  const timeAt = (event: PointerEvent) => {
    const area = box.current!.getBoundingClientRect();
    return ((event.clientX - area.left) / area.width) * whole;
  };
  /** What was pressed inside of the window stays under the pointer; elsewhere the window comes there. */
  const press = (event: PointerEvent) => {
    if (event.button !== 0) return;
    const at = timeAt(event);
    const grip = at >= start && at <= end ? at - start : (end - start) / 2;
    const move = (moved: PointerEvent) => track.look(timeAt(moved) - grip, end - start);
    move(event);
    addEventListener("pointermove", move);
    addEventListener("pointerup", () => removeEventListener("pointermove", move), { once: true });
  };
  const step = (event: KeyboardEvent) => {
    const by = { ArrowLeft: -0.25, ArrowRight: 0.25, PageUp: -1, PageDown: 1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    event.stopPropagation(); // they would seek
    track.look(start + by * (end - start), end - start);
  };
  return (
    <div
      class="overview"
      ref={box}
      role="slider"
      tabIndex={0}
      aria-label="Part of the song that is shown"
      aria-valuemin={0}
      aria-valuemax={whole}
      aria-valuenow={start}
      aria-valuetext={`${clock(start)} to ${clock(end)}`}
      onPointerDown={press}
      onKeyDown={step}
    >
      {lane && <Waveform track={track} lane={lane} whole />}
      <div class="window" style={{ left: `${(start / whole) * 100}%`, width: `${((end - start) / whole) * 100}%` }} />
      <Playhead track={track} whole />
    </div>
  );
}
