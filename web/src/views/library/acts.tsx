/** What can be done with one track or with many: tags, stars, jobs, a zip, the trash; and what was refused, by name. */

import { signal, useComputed, useSignal } from "@preact/signals";
import type { Asset } from "../../api/client";
import { Combo } from "../../parts/combo";
import { confirmed, Dialog } from "../../parts/dialog";
import { Icon } from "../../parts/icons";
import { orderExport, rate, tag, takeAllApart, throwAway, working, type Refused } from "../../state/bulk";
import { tracks } from "../../state/library";
import { chosen, clear, selected } from "../../state/selection";
import { attempt, say } from "../../state/session";
import { clean, others } from "../../state/tags";

const many = (count: number): string => (count === 1 ? "1 track" : `${count.toLocaleString()} tracks`);

// ── what was refused ─────────────────────────────────────────────────────────────────────────────────

const told = signal<{ title: string; refused: Refused[] } | null>(null);

/** Say what happened: all of it, or which ones not and why. */
function tell(done: string, count: number, refused: Refused[]): void {
  if (refused.length === 0) say(`${many(count)} ${done}.`);
  else told.value = { title: `${many(count - refused.length)} ${done}, ${refused.length} not`, refused };
}

export function Told() {
  if (told.value === null) return null;
  return (
    <Dialog title={told.value.title} onClose={() => (told.value = null)}>
      <ul class="refused">
        {told.value.refused.map((each) => (
          <li key={each.name}>
            <strong>{each.name}</strong> {each.why}
          </li>
        ))}
      </ul>
      <footer>
        <button class="primary" autofocus onClick={() => (told.value = null)}>Close</button>
      </footer>
    </Dialog>
  );
}

// ── acts ─────────────────────────────────────────────────────────────────────────────────────────────

export function askToThrowAway(assets: Asset[]): void {
  if (assets.length === 0) return;
  const what = assets.length === 1 ? `“${assets[0]!.name}”` : many(assets.length);
  attempt(async () => {
    const text = "With everything made from it. It can be restored from the trash.";
    if (!(await confirmed({ title: `Move ${what} to the trash?`, text, yes: "Move to the trash", danger: true }))) return;
    tell(assets.length === 1 ? "is in the trash" : "are in the trash", assets.length, await throwAway(assets));
  });
}

export function rateAll(assets: Asset[], rating: number): void {
  if (assets.length > 0) attempt(async () => tell(`rated ${rating} of 5`, assets.length, await rate(assets, rating)));
}

function askToTakeApart(assets: Asset[]): void {
  attempt(async () => {
    const text = "Stems, notes, words, tempo and key of each. It goes on when you leave the page.";
    if (assets.length > 1 && !(await confirmed({ title: `Take ${many(assets.length)} apart?`, text, yes: "Take apart" }))) return;
    tell("ordered", assets.length, await takeAllApart(assets));
  });
}

function download(assets: Asset[]): void {
  attempt(async () => {
    const link = document.createElement("a");
    link.href = await orderExport(assets);
    link.download = "";
    link.click();
  });
}

// ── the bar ──────────────────────────────────────────────────────────────────────────────────────────

export function Bar() {
  const count = useComputed(() => selected.value.size);
  if (working.value !== null) {
    const { what, done, of } = working.value;
    return (
      <div class="bar" role="status">
        <span>{what}: {done} of {of}</span>
        <progress max={of} value={done} aria-label={what} />
      </div>
    );
  }
  if (count.value === 0) return null;
  const all = () => chosen.value;
  return (
    <div class="bar" role="toolbar" aria-label="The chosen tracks">
      <span class="figure" role="status">{count.value.toLocaleString()} chosen</span>
      <button onClick={() => openTagger(all())} title="T"><Icon name="tag" /> Tag</button>
      <span class="stars" role="group" aria-label="Rate the chosen tracks">
        {[1, 2, 3, 4, 5].map((n) => (
          <button key={n} class="on" onClick={() => rateAll(all(), n)} aria-label={`Rate all ${n} of 5`}>★</button>
        ))}
      </span>
      <button onClick={() => askToTakeApart(all())}><Icon name="split" /> Take apart</button>
      <button onClick={() => download(all())}><Icon name="download" /> Zip</button>
      <button onClick={() => askToThrowAway(all())} title="Delete"><Icon name="trash" /> Trash</button>
      <button class="quiet" onClick={clear} aria-label="Choose none" title="Esc"><Icon name="close" /></button>
    </div>
  );
}

// ── tags ─────────────────────────────────────────────────────────────────────────────────────────────

const tagged = signal<string[] | null>(null);

export function openTagger(assets: Asset[]): void {
  if (assets.length > 0) tagged.value = assets.map((each) => each.id);
}

export function Tagger() {
  if (tagged.value === null) return null;
  return <TagSheet ids={tagged.value} />;
}

/** Every change is kept at once. */
function TagSheet({ ids }: { ids: string[] }) {
  const mine = new Set(ids);
  const assets = useComputed(() => tracks.value.filter((each) => mine.has(each.id)));
  const order = useSignal<string[]>([]);
  const counts = new Map<string, number>();
  for (const asset of assets.value) for (const each of asset.tags) counts.set(each, (counts.get(each) ?? 0) + 1);
  // The one added last stands last: Backspace takes it.
  const shown = [...counts.keys()].sort((a, b) => order.value.indexOf(a) - order.value.indexOf(b));
  const close = () => (tagged.value = null);
  const change = (add: string[], remove: string[]) =>
    attempt(async () => {
      const refused = await tag(assets.value, add, remove);
      if (refused.length > 0) tell("tagged", assets.value.length, refused);
    });
  const add = (typed: string) => {
    const word = clean(typed.replaceAll(",", " "));
    if (word === "") return;
    order.value = [...order.value.filter((each) => each !== word), word];
    change([word], []);
  };
  const remove = (word: string | undefined) => word && change([], [word]);
  const [only] = assets.value;
  return (
    <Dialog class="tagger" title={assets.value.length === 1 ? `Tags of ${only!.name}` : `Tags of ${many(assets.value.length)}`} onClose={close}>
      <ul class="chips" aria-label="Tags">
        {shown.map((word) => (
          <li key={word}>
            <button class="tag on" onClick={() => remove(word)} aria-label={`Take ${word} away`}>
              {word}
              {counts.get(word)! < assets.value.length && ` (${counts.get(word)} of ${assets.value.length})`} <Icon name="close" />
            </button>
          </li>
        ))}
        {shown.length === 0 && <li class="none">No tags yet</li>}
      </ul>
      <Combo label="Add a tag" placeholder="Type a tag, Enter adds it" suggest={(typed) => others(typed, shown)} onPick={add} onBack={() => remove(shown.at(-1))} autofocus />
      <footer>
        <button onClick={close}>Done</button>
      </footer>
    </Dialog>
  );
}
