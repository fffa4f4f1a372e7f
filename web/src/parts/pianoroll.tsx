/** The notes of a lane over time; a click plays one. */

import { useRef } from "preact/hooks";
import type { Note, Track } from "../state/track";
import { Canvas, paint, type Draw } from "./canvas";
import { pitchName } from "./text";

const BLACK = new Set([1, 3, 6, 8, 10]);
const MARGIN = 2;

export function PianoRoll({ track, notes, color, label }: { track: Track; notes: Note[]; color: string; label: string }) {
  const box = useRef<HTMLDivElement>(null);
  const low = Math.min(...notes.map((note) => note.pitch)) - MARGIN;
  const high = Math.max(...notes.map((note) => note.pitch)) + MARGIN;
  const rows = high - low + 1;

  const draw: Draw = (context, width, height) => {
    const { start, end } = track.view.value;
    const row = height / rows;
    context.fillStyle = paint("var(--grid)");
    for (let pitch = low; pitch <= high; pitch++) {
      if (BLACK.has(((pitch % 12) + 12) % 12)) context.fillRect(0, (high - pitch) * row, width, row);
    }
    context.fillStyle = paint(color);
    for (const note of notes) {
      if (note.end < start || note.start > end) continue;
      const x = ((note.start - start) / (end - start)) * width;
      const wide = Math.max(2, ((note.end - note.start) / (end - start)) * width - 1);
      context.globalAlpha = 0.35 + 0.65 * Math.min(1, note.velocity / 127);
      context.fillRect(x, (high - note.pitch) * row + 0.5, wide, Math.max(1.5, row - 1));
    }
    context.globalAlpha = 1;
    context.fillStyle = paint("var(--faint)");
    context.font = "10px system-ui, sans-serif";
    for (let pitch = Math.ceil(low / 12) * 12; pitch <= high; pitch += 12) {
      context.fillText(pitchName(pitch), 4, (high - pitch) * row + row);
    }
  };

  const preview = (event: MouseEvent) => {
    const area = box.current!.getBoundingClientRect();
    const { start, end } = track.view.value;
    const at = start + ((event.clientX - area.left) / area.width) * (end - start);
    const pitch = high - Math.floor(((event.clientY - area.top) / area.height) * rows);
    const note = notes.find((each) => each.pitch === pitch && each.start <= at && at <= each.end);
    if (note) track.synth?.touch(note.pitch, note.velocity);
  };

  return (
    <div class="pianoroll" ref={box} onClick={preview}>
      <Canvas draw={draw} label={`${notes.length} notes of ${label}, from ${pitchName(low + MARGIN)} to ${pitchName(high - MARGIN)}`} />
    </div>
  );
}
