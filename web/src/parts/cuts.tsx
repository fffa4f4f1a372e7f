/** Where the focused lane will be cut, as lines over its waveform. */

import { useComputed } from "@preact/signals";
import type { Track } from "../state/track";
import { Canvas, paint, type Draw } from "./canvas";

export function CutLines({ track }: { track: Track }) {
  const any = useComputed(() => track.cuts.value !== null && track.cuts.value.lines.length > 0);
  const row = track.lanes.value.findIndex((each) => each.asset.id === track.focused.value);
  if (!any.value || row < 0) return null;
  const draw: Draw = (context, width, height) => {
    const { start, end } = track.view.value;
    const cuts = track.cuts.value;
    if (cuts === null) return;
    context.fillStyle = paint("var(--accent)");
    let drawn = -1;
    for (const line of cuts.lines) {
      const x = Math.round(((line / cuts.sampleRate - start) / (end - start)) * width);
      if (x <= drawn || x >= width) continue;
      context.fillRect(x, 0, 1, height);
      drawn = x;
    }
  };
  return (
    <div class="cuts" style={{ "--row": row }}>
      <Canvas draw={draw} label={`Where ${track.lanes.value[row]!.label} will be cut`} />
    </div>
  );
}
