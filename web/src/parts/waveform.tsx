/** The part of a lane's waveform that the view shows, or the whole of it. */

import type { Lane, Track } from "../state/track";
import { Canvas, paint, type Draw } from "./canvas";

export function Waveform({ track, lane, whole }: { track: Track; lane: Lane; whole?: boolean }) {
  const draw: Draw = (context, width, height) => {
    const { start, end } = whole ? { start: 0, end: track.duration.value } : track.view.value;
    lane.wave.overview.value; // drawn again when they arrive
    const peaks = whole ? lane.wave.overview.value : lane.wave.look(start, end, width * (devicePixelRatio || 1));
    const middle = height / 2;
    context.fillStyle = paint(lane.color);
    if (peaks === null) {
      context.globalAlpha = 0.25;
      context.fillRect(0, middle - 0.5, width, 1);
      context.globalAlpha = 1;
      return;
    }
    const perPixel = (end - start) / width;
    const scale = middle * 0.94;
    context.beginPath();
    for (let x = 0; x < width; x++) {
      const from = Math.floor((start + x * perPixel - peaks.start) / peaks.step);
      const to = Math.max(from + 1, Math.floor((start + (x + 1) * perPixel - peaks.start) / peaks.step));
      let [low, high] = [0, 0];
      for (let n = Math.max(0, from); n < Math.min(to, peaks.low.length); n++) {
        low = Math.min(low, peaks.low[n]!);
        high = Math.max(high, peaks.high[n]!);
      }
      const top = middle - high * scale;
      context.rect(x, top, 1, Math.max(1, middle - low * scale - top));
    }
    context.fill();
  };
  return <Canvas draw={draw} class="waveform" label={whole ? "Waveform of the whole song" : `Waveform of ${lane.label}`} />;
}
