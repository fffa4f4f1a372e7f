/** One track as a line of the list, and the pieces that a card has, too. */

import { useComputed } from "@preact/signals";
import type { Asset } from "../../api/client";
import { Icon } from "../../parts/icons";
import { clock } from "../../parts/text";
import { busy } from "../../state/busy";
import { edit, filters, search } from "../../state/library";
import { toTrack } from "../../state/place";
import { fraction, hear, heard } from "../../state/preview";
import { at, extend, selected, toggle } from "../../state/selection";
import { attempt } from "../../state/session";
import { askToThrowAway, openTagger } from "./acts";

export const ROW_PX = 46;

export interface Summary {
  bpm?: { value: number; confidence: number } | null;
  key?: { value: string; camelot: string; confidence: number } | null;
}

export const summaryOf = (asset: Asset): Summary => (asset.analysis ?? {}) as Summary;

export function Row({ asset, n }: { asset: Asset; n: number }) {
  const { bpm, key } = summaryOf(asset);
  const chosen = useComputed(() => selected.value.has(asset.id));
  const here = useComputed(() => at.value === n);
  const tab = here.value ? 0 : -1;
  return (
    <div
      class={chosen.value ? "row chosen" : "row"}
      role="row"
      aria-rowindex={n + 2}
      aria-selected={chosen.value}
      data-at={n}
      style={{ transform: `translateY(${n * ROW_PX}px)` }}
      onClick={(event) => choose(event, n)}
    >
      <span role="gridcell" class="first">
        <Check asset={asset} n={n} chosen={chosen.value} tab={tab} />
        <Hear asset={asset} tab={tab} />
      </span>
      <span role="gridcell" class="name">
        <a href={toTrack(asset.id)} tabIndex={tab}>{asset.name}</a>
        <Tags asset={asset} tab={tab} />
        <Working asset={asset} />
      </span>
      <span role="gridcell" class="figure" title={key?.value}>{key ? `${key.camelot} · ${short(key.value)}` : "–"}</span>
      <span role="gridcell" class="figure">{bpm ? bpm.value.toFixed(1) : "–"}</span>
      <span role="gridcell" class="figure">{asset.audio ? clock(asset.audio.duration_s) : ""}</span>
      <span role="gridcell"><Stars asset={asset} tab={tab} /></span>
      <span role="gridcell" class="actions">
        <button class="quiet" tabIndex={tab} onClick={() => openTagger([asset])} aria-label={`Tag ${asset.name}`} title="Tags (T)">
          <Icon name="tag" />
        </button>
        <button class="quiet" tabIndex={tab} onClick={() => askToThrowAway([asset])} aria-label={`Delete ${asset.name}`} title="Delete (Del)">
          <Icon name="trash" />
        </button>
      </span>
      <Heard asset={asset} />
    </div>
  );
}

const short = (key: string): string => key.replace(" minor", "m").replace(" major", "");

/** With Ctrl one more or less, with Shift all up to here; links and buttons do what they do. */
export function choose(event: MouseEvent, n: number): void {
  const inside = (event.target as Element).closest("a, button, input, label");
  if (event.shiftKey) extend(n);
  else if (event.ctrlKey || event.metaKey || !inside) toggle(n);
  else return;
  event.preventDefault();
  at.value = n;
}

export function Check({ asset, n, chosen, tab }: { asset: Asset; n: number; chosen: boolean; tab: number }) {
  const click = (event: MouseEvent) => {
    event.stopPropagation();
    if (event.shiftKey) extend(n);
    else toggle(n);
    at.value = n;
  };
  return <input type="checkbox" class="check" tabIndex={tab} checked={chosen} onClick={click} aria-label={`Choose ${asset.name}`} />;
}

export function Hear({ asset, tab }: { asset: Asset; tab: number }) {
  const on = useComputed(() => heard.value === asset.id);
  return (
    <button class="quiet hear" tabIndex={tab} aria-pressed={on.value} onClick={() => hear(asset)} aria-label={`${on.value ? "Stop" : "Hear"} ${asset.name}`} title="Hear it (Space)">
      <Icon name={on.value ? "pause" : "play"} />
    </button>
  );
}

/** A thin line that says how far it is heard. */
export function Heard({ asset }: { asset: Asset }) {
  const share = useComputed(() => (heard.value === asset.id ? fraction.value : null));
  if (share.value === null) return null;
  return <i class="heard" style={{ transform: `scaleX(${share.value})` }} />;
}

export function Working({ asset }: { asset: Asset }) {
  const job = useComputed(() => busy.value.get(asset.id) ?? null);
  if (job.value === null) return null;
  return (
    <span class="busy">
      <progress max={1} value={job.value.progress?.fraction ?? 0} aria-label={`${job.value.operation} of ${asset.name}`} />
    </span>
  );
}

export function Tags({ asset, tab }: { asset: Asset; tab: number }) {
  const add = (tag: string) => search({ tags: [...new Set([...filters.value.tags, tag])] });
  return (
    <>
      {asset.tags.map((tag) => (
        <button key={tag} class="tag" tabIndex={tab} onClick={() => add(tag)} aria-label={`Only ${tag}`}>
          {tag}
        </button>
      ))}
    </>
  );
}

export function Stars({ asset, tab }: { asset: Asset; tab: number }) {
  const rating = asset.rating ?? 0;
  return (
    <span class="stars" role="group" aria-label={`Rating of ${asset.name}: ${rating} of 5`}>
      {[1, 2, 3, 4, 5].map((n) => (
        <button
          key={n}
          tabIndex={tab}
          class={n <= rating ? "on" : ""}
          aria-label={n === rating ? "Take the rating away" : `${n} of 5`}
          onClick={() => attempt(() => edit(asset, { rating: n === rating ? null : n }))}
        >
          ★
        </button>
      ))}
    </span>
  );
}
