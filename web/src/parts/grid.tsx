/** The beats that were heard in the track, as lines over ruler and lanes; and what edges snap to. */

import { beatsOf, grid, onsetsOf, snap } from "../state/snapping";
import { SNAPS, type Snap } from "../state/snap";
import type { Track } from "../state/track";
import { Canvas, paint, type Draw } from "./canvas";

const LEAST_PX = 7;

/** Where bars begin nobody has heard: where beats would be too dense, every second, fourth… is drawn. */
export function Grid({ track }: { track: Track }) {
  const beats = beatsOf(track);
  if (!grid.value || beats.length < 2) return null;
  const draw: Draw = (context, width, height) => {
    const { start, end } = track.view.value;
    const apart = ((beats.at(-1)! - beats[0]!) / (beats.length - 1) / (end - start)) * width;
    const step = apart >= LEAST_PX ? 1 : 2 ** Math.ceil(Math.log2(LEAST_PX / apart));
    context.fillStyle = paint("var(--beat)");
    for (let n = 0; n < beats.length; n += step) {
      if (beats[n]! < start || beats[n]! > end) continue;
      context.fillRect(Math.round(((beats[n]! - start) / (end - start)) * width), 0, 1, height);
    }
  };
  return <div class="beats"><Canvas key={beats.length} draw={draw} label={`${beats.length} beats`} /></div>;
}

export function Snapping({ track }: { track: Track }) {
  const lacks: Partial<Record<Snap, string>> = {};
  if (beatsOf(track).length === 0) lacks.beat = "none were heard";
  if (onsetsOf(track).length === 0) lacks.onset = "this lane is not analysed";
  return (
    <>
      <button aria-pressed={grid.value} disabled={lacks.beat !== undefined} onClick={() => (grid.value = !grid.value)} title={lacks.beat ? "No beats were heard in this track" : "The beats as lines"}>
        Beats
      </button>
      <label class="snapping" title="What the edges of selections and regions snap to; Alt suspends it">
        Snap
        <select value={lacks[snap.value] ? "off" : snap.value} onChange={(event) => (snap.value = event.currentTarget.value as Snap)}>
          {Object.entries(SNAPS).map(([name, title]) => (
            <option key={name} value={name} disabled={lacks[name as Snap] !== undefined}>
              {lacks[name as Snap] ? `${title}: ${lacks[name as Snap]}` : title}
            </option>
          ))}
        </select>
      </label>
    </>
  );
}
