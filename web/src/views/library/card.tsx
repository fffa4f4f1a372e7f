/** One track as a card: its waveform, what it is in, and dots for what was made from it. */

import { useComputed } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { Asset } from "../../api/client";
import { clock } from "../../parts/text";
import { mini, unask, type Mini } from "../../state/minis";
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

const BARS = 72;
const BAR = 3;

/** Lines of one path: what is drawn once is not drawn again when it is scrolled, and wants no canvas of its own. */
function Wave({ asset }: { asset: Asset }) {
  const peaks = useMemo(() => mini(asset), [asset.id]);
  useEffect(() => () => unask(asset), [asset.id]);
  return (
    <svg class="mini" viewBox={`0 0 ${BARS * BAR} 100`} preserveAspectRatio="none" role="img" aria-label={`Waveform of ${asset.name}`}>
      <path d={peaks.value ? bars(peaks.value) : `M0 50H${BARS * BAR}`} />
    </svg>
  );
}

function bars(points: Mini): string {
  let path = "";
  for (let n = 0; n < BARS; n++) {
    const from = Math.floor((n / BARS) * points.length);
    const to = Math.max(from + 1, Math.floor(((n + 1) / BARS) * points.length));
    const loudest = Math.max(...points.subarray(from, to), 0.01) * 47;
    path += `M${n * BAR + 1} ${(50 - loudest).toFixed(1)}V${(50 + loudest).toFixed(1)}`;
  }
  return path;
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
