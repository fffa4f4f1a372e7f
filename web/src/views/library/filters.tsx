/** What narrows the list: a row of small controls, on a phone behind one button; and what is set, each to be taken away. */

import { signal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { Combo } from "../../parts/combo";
import { Icon } from "../../parts/icons";
import { chips, fitting, HAS, NONE, type Range } from "../../state/filters";
import { complete, filters, isFiltered, search, total, tracks } from "../../state/library";
import { clean, others } from "../../state/tags";

const folded = signal(true);

const LENGTHS: [string, string][] = [
  ["", "Any length"],
  ["-60", "Under 1 min"],
  ["60-240", "1 to 4 min"],
  ["240-600", "4 to 10 min"],
  ["600-", "Over 10 min"],
];

export function Filters() {
  const set = chips(filters.value);
  return (
    <section class="narrow" aria-label="Filters">
      <button class="fold" aria-expanded={!folded.value} onClick={() => (folded.value = !folded.value)}>
        <Icon name="filter" /> Filters{set.length > 0 && ` (${set.length})`}
      </button>
      <div class={folded.value ? "filters folded" : "filters"}>
        <Keys />
        <Tempo />
        <Rating />
        <Length />
        <Has />
        <Combo label="Filter by tag" placeholder="Tag" suggest={(typed) => others(typed, filters.value.tags)} onPick={addTag} />
      </div>
      <p class="count" role="status">{counted()}</p>
      {set.length > 0 && (
        <ul class="chips" aria-label="Filters that are set">
          {set.map((chip) => (
            <li key={chip.text}>
              <button class="tag on" onClick={() => search(chip.without)} aria-label={`Take away: ${chip.text}`}>
                {chip.text} <Icon name="close" />
              </button>
            </li>
          ))}
          <li>
            <button class="quiet" onClick={() => search({ ...NONE, q: filters.value.q, sort: filters.value.sort })}>Clear all</button>
          </li>
        </ul>
      )}
    </section>
  );
}

/** As many as the server counted; what has come since is in it. */
function counted(): string {
  const count = complete.value ? tracks.value.length : total.value;
  if (count === null) return "";
  const said = `${count.toLocaleString()} ${count === 1 ? "track" : "tracks"}`;
  return isFiltered.value ? `${said} found` : said;
}

function addTag(typed: string): void {
  const tag = clean(typed.replaceAll(",", " "));
  if (tag && !filters.value.tags.includes(tag)) search({ tags: [...filters.value.tags, tag] });
}

// ── keys ─────────────────────────────────────────────────────────────────────────────────────────────

const NAMES: Record<"A" | "B", string[]> = {
  A: ["A♭m", "E♭m", "B♭m", "Fm", "Cm", "Gm", "Dm", "Am", "Em", "Bm", "F♯m", "D♭m"],
  B: ["B", "F♯", "D♭", "A♭", "E♭", "B♭", "F", "C", "G", "D", "A", "E"],
};

function Keys() {
  const box = useRef<HTMLDetailsElement>(null);
  const chosen = filters.value.keys;
  const toggle = (key: string) => search({ keys: chosen.includes(key) ? chosen.filter((each) => each !== key) : [...chosen, key] });
  const close = () => {
    box.current!.open = false;
    box.current!.querySelector("summary")!.focus();
  };
  const first = chosen[0];
  return (
    <details
      class="popover"
      ref={box}
      onKeyDown={(event) => event.key === "Escape" && box.current!.open && (event.stopPropagation(), close())}
      onFocusOut={(event) => event.relatedTarget && !box.current!.contains(event.relatedTarget as Node) && (box.current!.open = false)}
    >
      <summary class="button" aria-label="Filter by key">{chosen.length === 0 ? "Key" : chosen.length > 4 ? `${chosen.length} keys` : chosen.join(" ")}</summary>
      <div class="wheel" role="group" aria-label="Keys on the Camelot wheel">
        {(["A", "B"] as const).map((mode) =>
          NAMES[mode].map((name, n) => {
            const key = `${n + 1}${mode}`;
            return (
              <button key={key} aria-pressed={chosen.includes(key)} onClick={() => toggle(key)} aria-label={`${key}, ${spoken(name, mode)}`}>
                <b>{key}</b> <span>{name}</span>
              </button>
            );
          }),
        )}
        <footer>
          {first && <button onClick={() => search({ keys: fitting(first) })}>What fits with {first}</button>}
          {first && <button class="quiet" onClick={() => search({ keys: [] })}>Any key</button>}
        </footer>
      </div>
    </details>
  );
}

const spoken = (name: string, mode: "A" | "B"): string =>
  `${name.replace("m", "").replace("♭", " flat").replace("♯", " sharp")} ${mode === "A" ? "minor" : "major"}`;

// ── numbers ──────────────────────────────────────────────────────────────────────────────────────────

function Tempo() {
  const { bpm, octaves } = filters.value;
  const change = (which: keyof Range) => (event: Event) => {
    const { value } = event.currentTarget as HTMLInputElement;
    search({ bpm: { ...bpm, [which]: value === "" ? null : Math.max(0, Number(value)) } });
  };
  const field = (which: keyof Range, label: string, hint: string) => (
    <input type="number" min="0" max="999" step="any" inputMode="decimal" aria-label={label} placeholder={hint} value={bpm[which] ?? ""} onChange={change(which)} />
  );
  return (
    <span class="tempo" role="group" aria-label="Filter by tempo">
      {field("min", "Slowest tempo", "BPM")}
      <span aria-hidden="true">–</span>
      {field("max", "Fastest tempo", "BPM")}
      <button aria-pressed={octaves} onClick={() => search({ octaves: !octaves })} title="Also half and double tempo" aria-label="Also half and double tempo">
        ½ ×2
      </button>
    </span>
  );
}

function Rating() {
  return (
    <label>
      <span class="hidden">Filter by rating</span>
      <select value={String(filters.value.rating)} onChange={(event) => search({ rating: Number(event.currentTarget.value) })}>
        <option value="0">Any rating</option>
        {[1, 2, 3, 4, 5].map((n) => (
          <option key={n} value={String(n)}>
            {"★".repeat(n)}{n < 5 && " and more"}
          </option>
        ))}
      </select>
    </label>
  );
}

function Length() {
  const { min, max } = filters.value.length;
  const now = min === null && max === null ? "" : `${min ?? ""}-${max ?? ""}`;
  const pick = (value: string) => {
    const [low, high] = value.split("-");
    search({ length: { min: low ? Number(low) : null, max: high ? Number(high) : null } });
  };
  return (
    <label>
      <span class="hidden">Filter by length</span>
      <select value={now} onChange={(event) => pick(event.currentTarget.value)}>
        {LENGTHS.map(([value, text]) => (
          <option key={value} value={value}>{text}</option>
        ))}
        {!LENGTHS.some(([value]) => value === now) && <option value={now}>{now} s</option>}
      </select>
    </label>
  );
}

function Has() {
  const { has } = filters.value;
  return (
    <span class="has" role="group" aria-label="Only tracks that have">
      {HAS.map((each) => (
        <button
          key={each}
          aria-pressed={has.includes(each)}
          onClick={() => search({ has: has.includes(each) ? has.filter((one) => one !== each) : [...has, each] })}
        >
          {each}
        </button>
      ))}
    </span>
  );
}
