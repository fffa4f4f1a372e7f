/** The tracks of a library: search, drop, look, open. Only the rows on the screen exist. */

import { signal, useComputed } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Asset } from "../api/client";
import { Icon } from "../parts/icons";
import { bytes, clock, percent } from "../parts/text";
import { active } from "../state/jobs";
import { complete, current, edit, isFiltered, libraries, loading, makeLibrary, more, openLibrary, query, remove, search, tracks } from "../state/library";
import { go, toLibrary, toTrack } from "../state/place";
import { attempt, complain, say } from "../state/session";
import { forget, transfers, tryAgain, upload, type Transfer } from "../state/uploads";

const ROW_PX = 46;
const BESIDE = 12;
const SEARCH_MS = 200;

export function LibraryView({ library }: { library: string | null }) {
  useEffect(() => {
    openLibrary(library).catch(complain);
  }, [library]);
  return (
    <main class="library" id="main" tabIndex={-1}>
      <Toolbar />
      <Transfers />
      <Tracks />
    </main>
  );
}

function Toolbar() {
  const timer = useRef(0);
  const type = (event: Event) => {
    const q = (event.target as HTMLInputElement).value.trim();
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => search({ q, sort: query.value.sort }), SEARCH_MS);
  };
  return (
    <div class="toolbar">
      <Libraries />
      <label class="search">
        <Icon name="search" />
        <span class="hidden">Search names, tags and lyrics</span>
        <input id="search" type="search" placeholder="Search names, tags, lyrics" defaultValue={query.value.q} onInput={type} />
      </label>
      <label class="sort">
        <span class="hidden">Sort by</span>
        <select value={query.value.sort} onChange={(event) => search({ sort: event.currentTarget.value })}>
          <option value="-created_at">Newest</option>
          <option value="name">Name</option>
          <option value="-bpm">Tempo</option>
          <option value="-duration">Length</option>
          <option value="-rating">Rating</option>
        </select>
      </label>
      {query.value.tag && (
        <button class="tag on" onClick={() => search({ tag: "" })} aria-label={`Show all, not only ${query.value.tag}`}>
          {query.value.tag} ×
        </button>
      )}
      {current.value && tracks.value.length > 0 && (
        <a class="button" href={`/api/v1/libraries/${current.value}/export.zip`} download>
          <Icon name="download" /> Export
        </a>
      )}
      <label class="button primary">
        <Icon name="upload" /> Add songs
        <input
          class="hidden"
          id="files"
          type="file"
          accept="audio/*,.flac,.wav,.aiff,.ogg,.opus,.m4a,.mp3,.webm,.caf"
          multiple
          onChange={(event) => {
            const files = [...(event.currentTarget.files ?? [])];
            event.currentTarget.value = "";
            attempt(() => upload(files));
          }}
        />
      </label>
    </div>
  );
}

function Libraries() {
  const add = () => {
    const name = prompt("Name of the new library")?.trim();
    if (name) attempt(async () => go(toLibrary((await makeLibrary(name)).id)));
  };
  const known = libraries.value ?? [];
  return (
    <div class="libraries">
      <label>
        <span class="hidden">Library</span>
        <select value={current.value ?? ""} onChange={(event) => go(toLibrary(event.currentTarget.value))} disabled={known.length === 0}>
          {known.length === 0 && <option value="">No library yet</option>}
          {known.map((each) => (
            <option key={each.id} value={each.id}>
              {each.name}
            </option>
          ))}
        </select>
      </label>
      <button class="quiet" onClick={add} aria-label="New library" title="New library">
        <Icon name="plus" />
      </button>
    </div>
  );
}

function Transfers() {
  if (transfers.value.length === 0) return null;
  return (
    <ul class="transfers" aria-label="Uploads">
      {transfers.value.map((each) => (
        <TransferRow key={each.id} transfer={each} />
      ))}
    </ul>
  );
}

function TransferRow({ transfer }: { transfer: Transfer }) {
  const { file, state, sent, problem } = transfer;
  const share = file.size === 0 ? 0 : Math.min(1, sent / file.size);
  return (
    <li class={state}>
      <span class="name">{file.name}</span>
      {state === "failed" ? (
        <>
          <span class="why" role="alert">
            {problem?.message} {problem?.mend}
          </span>
          <button onClick={() => tryAgain(transfer.id)}>Try again</button>
          <button class="quiet" onClick={() => forget(transfer.id)} aria-label={`Forget ${file.name}`}>
            <Icon name="close" />
          </button>
        </>
      ) : (
        <>
          <progress max={1} value={share} aria-label={`Upload of ${file.name}`} />
          <span class="figure">{state === "done" ? "in" : share === 1 ? "checking" : `${percent(share)} of ${bytes(file.size)}`}</span>
        </>
      )}
    </li>
  );
}

const scroll = signal({ top: 0, height: 600 });

function Tracks() {
  const box = useRef<HTMLDivElement>(null);
  const window_ = useComputed(() => {
    const first = Math.max(0, Math.floor(scroll.value.top / ROW_PX) - BESIDE);
    const last = Math.ceil((scroll.value.top + scroll.value.height) / ROW_PX) + BESIDE;
    return { first, last };
  });
  useEffect(() => {
    const element = box.current!;
    const look = () => {
      scroll.value = { top: element.scrollTop, height: element.clientHeight };
      if (element.scrollTop + element.clientHeight > element.scrollHeight - 40 * ROW_PX) more().catch(complain);
    };
    look();
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);
  const all = tracks.value;
  const { first, last } = window_.value;
  return (
    <div class="tracks" ref={box}>
      <div role="table" aria-label="Tracks" aria-rowcount={all.length + 1}>
        <div role="rowgroup" class="head">
          <div role="row">
            <span role="columnheader">Name</span>
            <span role="columnheader">Key</span>
            <span role="columnheader">BPM</span>
            <span role="columnheader">Length</span>
            <span role="columnheader">Rating</span>
            <span role="columnheader"><span class="hidden">Actions</span></span>
          </div>
        </div>
        <div class="rows" role="rowgroup" style={{ height: `${all.length * ROW_PX}px` }}>
          {all.slice(first, last).map((asset, n) => (
            <Row key={asset.id} asset={asset} at={first + n} />
          ))}
        </div>
      </div>
      {all.length === 0 && (complete.value || libraries.value?.length === 0) && <Empty />}
      {loading.value && <p class="more" role="status">Loading…</p>}
      {complete.value && all.length > 0 && <p class="hidden" role="status">{all.length} tracks</p>}
    </div>
  );
}

function Empty() {
  if (isFiltered.value) return <p class="empty">Nothing here has that in its name, tags or lyrics.</p>;
  return (
    <div class="empty">
      <h2>Drop a song</h2>
      <p>WAV, FLAC, MP3, M4A, Ogg, Opus, AIFF. It stays on this machine.</p>
    </div>
  );
}

interface Summary {
  bpm?: { value: number; confidence: number } | null;
  key?: { value: string; camelot: string; confidence: number } | null;
}

export const summaryOf = (asset: Asset): Summary => ((asset as { analysis?: Summary | null }).analysis ?? {}) as Summary;
const ratingOf = (asset: Asset): number => (asset as { rating?: number | null }).rating ?? 0;
const tagsOf = (asset: Asset): string[] => (asset as { tags?: string[] }).tags ?? [];

function Row({ asset, at }: { asset: Asset; at: number }) {
  const { bpm, key } = summaryOf(asset);
  const busy = active.value.find((job) => job.asset_id === asset.id && job.operation !== "analyze");
  const step = (event: KeyboardEvent) => {
    const by = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (by === 0) return;
    event.preventDefault();
    const next = document.querySelector<HTMLElement>(`[data-row="${at + by}"] a`);
    next?.focus();
  };
  const drop = () => {
    if (confirm(`Move “${asset.name}” and everything made from it to the trash?`)) attempt(async () => (await remove(asset), say("It is in the trash.")));
  };
  return (
    <div class="row" role="row" aria-rowindex={at + 2} data-row={at} style={{ transform: `translateY(${at * ROW_PX}px)` }}>
      <span role="cell" class="name">
        <a href={toTrack(asset.id)} onKeyDown={step}>
          {asset.name}
        </a>
        {tagsOf(asset).map((tag) => (
          <button key={tag} class="tag" onClick={() => search({ tag })}>
            {tag}
          </button>
        ))}
        {busy && (
          <span class="busy">
            <progress max={1} value={busy.progress?.fraction ?? 0} aria-label={`${busy.operation} of ${asset.name}`} />
          </span>
        )}
      </span>
      <span role="cell" class="figure" title={key?.camelot}>{key?.value ?? "–"}</span>
      <span role="cell" class="figure">{bpm ? bpm.value.toFixed(1) : "–"}</span>
      <span role="cell" class="figure">{asset.audio ? clock(asset.audio.duration_s) : ""}</span>
      <span role="cell">
        <Stars asset={asset} />
      </span>
      <span role="cell" class="actions">
        <button class="quiet" onClick={drop} aria-label={`Delete ${asset.name}`} title="Delete">
          <Icon name="trash" />
        </button>
      </span>
    </div>
  );
}

function Stars({ asset }: { asset: Asset }) {
  const rating = ratingOf(asset);
  return (
    <span class="stars" role="group" aria-label={`Rating of ${asset.name}: ${rating} of 5`}>
      {[1, 2, 3, 4, 5].map((n) => (
        <button
          key={n}
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
