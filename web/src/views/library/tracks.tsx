/** The tracks of a library, as lines or as cards; with the keyboard through all of them. */

import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { complete, isFiltered, libraries, loading, need, rows, tracks } from "../../state/library";
import { hear, heard, hush } from "../../state/preview";
import { at, clear, extend, meant, selectAll, selected, toggle } from "../../state/selection";
import { attempt } from "../../state/session";
import { shown } from "../../state/shown";
import { askToThrowAway, openTagger, rateAll } from "./acts";
import { Card, CARD_PX } from "./card";
import { Row, ROW_PX } from "./row";
import { reveal, Virtual } from "./virtual";

const HEAD_PX = 31;
const CARD_MIN_PX = 250;

export function Tracks() {
  const box = useRef<HTMLDivElement>(null);
  const columns = useSignal(1);
  const cards = shown.value === "grid";
  useEffect(() => {
    const element = box.current!;
    const measure = () => (columns.value = cards ? Math.max(1, Math.floor(element.clientWidth / CARD_MIN_PX)) : 1);
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    const keys = (event: KeyboardEvent) => press(event, element, columns.value, cards);
    addEventListener("keydown", keys);
    return () => {
      observer.disconnect();
      removeEventListener("keydown", keys);
    };
  }, [cards]);
  useEffect(() => () => (hush(), clear()), []);
  const focused = (event: FocusEvent) => {
    const n = (event.target as HTMLElement).closest<HTMLElement>("[data-at]")?.dataset.at;
    if (n !== undefined) at.value = Number(n);
  };
  return (
    <div class={cards ? "tracks cards" : "tracks"} ref={box} data-scroller onFocusIn={focused}>
      {cards ? <Cards columns={columns.value} /> : <Lines />}
      {rows.value === 0 && (complete.value || libraries.value?.length === 0) && <Empty />}
      {loading.value && tracks.value.length === 0 && <p class="more" role="status">Loading…</p>}
    </div>
  );
}

function Lines() {
  const count = rows.value;
  const all = tracks.value;
  return (
    <div role="grid" aria-label="Tracks" aria-multiselectable="true" aria-rowcount={count + 1}>
      <div role="rowgroup" class="head">
        <div role="row">
          <span role="columnheader"><span class="hidden">Choose and hear</span></span>
          <span role="columnheader">Name</span>
          <span role="columnheader">Key</span>
          <span role="columnheader">BPM</span>
          <span role="columnheader">Length</span>
          <span role="columnheader">Rating</span>
          <span role="columnheader"><span class="hidden">Actions</span></span>
        </div>
      </div>
      <Virtual
        count={count}
        height={ROW_PX}
        columns={1}
        beside={8}
        step={4}
        class="rows"
        role="rowgroup"
        need={need}
        token={(n) => all[n]}
        item={(n) => (all[n] ? <Row key={all[n].id} asset={all[n]} n={n} /> : <Hole key={n} n={n} />)}
      />
    </div>
  );
}

/** A row that is on its way. */
function Hole({ n }: { n: number }) {
  return <div class="row hole" aria-hidden="true" style={{ transform: `translateY(${n * ROW_PX}px)` }}><i /></div>;
}

function Cards({ columns }: { columns: number }) {
  const all = tracks.value;
  return (
    <Virtual
      count={rows.value}
      height={CARD_PX}
      columns={columns}
      beside={2}
      step={1}
      class="rows"
      role="list"
      label="Tracks"
      need={need}
      token={(n) => all[n]}
      item={(n) => (all[n] ? <Card key={all[n].id} asset={all[n]} n={n} columns={columns} /> : <div key={n} role="listitem" />)}
    />
  );
}

function Empty() {
  const filtered = useComputed(() => isFiltered.value);
  if (filtered.value) return <p class="empty">Nothing here has that in its name, tags or lyrics, and all the filters ask for.</p>;
  return (
    <div class="empty">
      <h2>Drop a song</h2>
      <p>WAV, FLAC, MP3, M4A, Ogg, Opus, AIFF. It stays on this machine.</p>
    </div>
  );
}

/** Where a key leads from the row that it is at, and what it does with the rows that are meant. */
function press(event: KeyboardEvent, box: HTMLElement, columns: number, cards: boolean): void {
  const target = event.target as HTMLElement;
  if (event.defaultPrevented || event.altKey || target.closest("input:not(.check), select, textarea, dialog, details, .tray")) return;
  const inside = box.contains(target);
  if (!inside && target.closest("a, button, summary") && (event.key === " " || event.key === "Enter")) return;
  const height = cards ? CARD_PX : ROW_PX;
  const screen = Math.max(1, Math.floor(box.clientHeight / height) - 1) * columns;
  const control = event.ctrlKey || event.metaKey;
  const steps: Record<string, number> = { ArrowDown: columns, ArrowUp: -columns, PageDown: screen, PageUp: -screen, Home: -Infinity, End: Infinity };
  if (cards) Object.assign(steps, { ArrowRight: 1, ArrowLeft: -1 });
  const step = steps[event.key];
  if (step !== undefined && !control) {
    if (rows.value === 0) return;
    const next = Math.min(rows.value - 1, Math.max(0, at.value + (inside || Math.abs(step) > columns ? step : 0)));
    if (event.shiftKey) extend(next);
    at.value = next;
    reveal(next, height, columns, cards ? 0 : HEAD_PX);
    event.preventDefault();
    return;
  }
  const act = control ? withControl(event.key) : alone(event.key, target);
  if (!act) return;
  event.preventDefault();
  act();
}

function withControl(key: string): (() => void) | undefined {
  return { a: () => attempt(selectAll), " ": () => toggle(at.value) }[key];
}

function alone(key: string, target: HTMLElement): (() => void) | undefined {
  if (key === " ") {
    if (target.closest("button, input")) return undefined; // it presses what has the focus
    const row = tracks.value[at.value];
    return row && (() => hear(row));
  }
  if (/^[1-5]$/.test(key)) return () => rateAll(meant(), Number(key));
  return {
    x: () => toggle(at.value),
    t: () => openTagger(meant()),
    Delete: () => askToThrowAway(meant()),
    ...(selected.value.size > 0 || heard.value ? { Escape: () => (heard.value ? hush() : clear()) } : {}),
  }[key];
}
