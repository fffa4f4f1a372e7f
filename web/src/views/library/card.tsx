/** One track as a card: its waveform, what it is in, and dots for what was made from it. */

import { useComputed } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { Asset } from "../../api/client";
import { Canvas, paint, type Draw } from "../../parts/canvas";
import { clock } from "../../parts/text";
import { mini, unask } from "../../state/minis";
import { toTrack } from "../../state/place";
import { at, selected } from "../../state/selection";
import { Check, choose, Hear, Heard, Stars, summaryOf, Tags, Working } from "./row";

export const CARD_PX = 172;
const STEMS = ["vocals", "drums", "bass", "guitar", "piano", "other", "instrumental"];

export function Card({ asset, n, columns }: { asset: Asset; n: number; columns: number }) {
  const { bpm, key } = summaryOf(asset);
  const chosen = useComputed(() => selected.value.has(asset.id));
  const here = useComputed(() => at.value === n);
  const tab = here.value ? 0 : -1;
  const place = { top: `${Math.floor(n / columns) * CARD_PX}px`, left: `${((n % columns) * 100) / columns}%`, width: `${100 / columns}%` };
  return (
    <div class="place" role="listitem" data-at={n} style={place}>
      <div class={chosen.value ? "tile chosen" : "tile"} onClick={(event) => choose(event, n)}>
        <Wave asset={asset} />
        <header>
          <Check asset={asset} n={n} chosen={chosen.value} tab={tab} />
          <a href={toTrack(asset.id)} tabIndex={tab}>{asset.name}</a>
          <Hear asset={asset} tab={tab} />
        </header>
        <p class="facts">
          {[key?.camelot, bpm && `${bpm.value.toFixed(1)} BPM`, asset.audio && clock(asset.audio.duration_s)].filter(Boolean).join(" · ")}
          <Made asset={asset} />
        </p>
        <footer>
          <Stars asset={asset} tab={tab} />
          <span class="tags"><Tags asset={asset} tab={tab} /></span>
          <Working asset={asset} />
        </footer>
        <Heard asset={asset} />
      </div>
    </div>
  );
}

function Wave({ asset }: { asset: Asset }) {
  const peaks = useMemo(() => mini(asset), [asset.id]);
  useEffect(() => () => unask(asset), [asset.id]);
  const draw: Draw = (context, width, height) => {
    const points = peaks.value;
    const middle = height / 2;
    context.fillStyle = paint("var(--mix)");
    if (points === null) {
      context.globalAlpha = 0.3;
      context.fillRect(0, middle - 0.5, width, 1);
      context.globalAlpha = 1;
      return;
    }
    const step = 3;
    for (let x = 0; x < width; x += step) {
      const from = Math.floor((x / width) * points.length);
      const to = Math.max(from + 1, Math.floor(((x + step) / width) * points.length));
      let loudest = 0;
      for (let n = from; n < Math.min(to, points.length); n++) loudest = Math.max(loudest, points[n]!);
      const reach = Math.max(0.5, loudest * middle * 0.94);
      context.fillRect(x, middle - reach, step - 1, reach * 2);
    }
  };
  return <Canvas draw={draw} class="mini" label={`Waveform of ${asset.name}`} />;
}

/** Dots in the colours of the stems, and letters for words and notes. */
function Made({ asset }: { asset: Asset }) {
  const made = asset.made ?? [];
  if (made.length === 0) return null;
  const stems = made.filter((each) => each !== "lyrics" && each !== "notes");
  return (
    <span class="made" role="img" aria-label={`Made from it: ${made.join(", ")}`} title={made.join(", ")}>
      {stems.map((each) => (
        <i key={each} style={{ background: `var(--${STEMS.includes(each) ? each : "other"})` }} />
      ))}
      {made.includes("lyrics") && <b>words</b>}
      {made.includes("notes") && <b>notes</b>}
    </span>
  );
}
