/** What the list is narrowed to, as the address and as the API write it. */

export interface Range {
  min: number | null;
  max: number | null;
}

export interface Filters {
  q: string;
  tags: string[];
  /** Places on the Camelot wheel: one of these. */
  keys: string[];
  bpm: Range;
  /** A tempo may also be half or twice what was asked. */
  octaves: boolean;
  rating: number;
  /** Seconds. */
  length: Range;
  has: string[];
  /** Empty: the best match first when there are words, else the newest. */
  sort: string;
}

const ANY: Range = { min: null, max: null };
export const NONE: Filters = { q: "", tags: [], keys: [], bpm: ANY, octaves: false, rating: 0, length: ANY, has: [], sort: "" };
export const HAS = ["stems", "lyrics", "notes"] as const;

const words = (text: string | null): string[] => (text ? text.split(",").filter(Boolean) : []);
const number = (text: string | undefined): number | null => (text && Number.isFinite(Number(text)) ? Math.max(0, Number(text)) : null);

function range(text: string | null): Range {
  const [low, high] = (text ?? "").split("-");
  return { min: number(low), max: number(high) };
}

const isRange = ({ min, max }: Range): boolean => min !== null || max !== null;
const written = ({ min, max }: Range): string => (min === null && max === null ? "" : `${min ?? ""}-${max ?? ""}`);

export function parse(query: string): Filters {
  const said = new URLSearchParams(query);
  return {
    q: said.get("q") ?? "",
    tags: words(said.get("tag")),
    keys: words(said.get("key")).filter((key) => /^([1-9]|1[0-2])[AB]$/.test(key)),
    bpm: range(said.get("bpm")),
    octaves: said.get("octaves") === "1",
    rating: Math.min(5, Math.floor(number(said.get("rating") ?? undefined) ?? 0)),
    length: range(said.get("length")),
    has: words(said.get("has")).filter((each) => (HAS as readonly string[]).includes(each)),
    sort: said.get("sort") ?? "",
  };
}

/** As it stands behind the ? of the address; empty when nothing is asked. */
export function format(filters: Filters): string {
  const said = {
    q: filters.q,
    tag: filters.tags.join(","),
    key: filters.keys.join(","),
    bpm: written(filters.bpm),
    octaves: filters.octaves ? "1" : "",
    rating: filters.rating ? String(filters.rating) : "",
    length: written(filters.length),
    has: filters.has.join(","),
    sort: filters.sort,
  };
  const given = Object.entries(said).filter(([, value]) => value !== "");
  return given.map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2C", ",")}`).join("&");
}

/** As GET /libraries/{id}/assets wants it. */
export function asked(filters: Filters): Record<string, unknown> {
  const { q, tags, keys, bpm, octaves, rating, length, has, sort } = filters;
  return {
    ...(q ? { q } : {}),
    ...(tags.length ? { tag: tags } : {}),
    ...(keys.length ? { key: keys } : {}),
    ...(bpm.min !== null ? { bpm_min: bpm.min } : {}),
    ...(bpm.max !== null ? { bpm_max: bpm.max } : {}),
    ...(octaves && isRange(bpm) ? { bpm_octaves: true } : {}),
    ...(rating ? { rating_min: rating } : {}),
    ...(length.min !== null ? { duration_min: length.min } : {}),
    ...(length.max !== null ? { duration_max: length.max } : {}),
    ...(has.length ? { has } : {}),
    ...(sort ? { sort: [sort] } : {}),
  };
}

export interface Chip {
  text: string;
  /** What `filters` are without it. */
  without: Partial<Filters>;
}

/** Each thing that narrows the list, in words, and how to take it away. */
export function chips(filters: Filters): Chip[] {
  const found: Chip[] = filters.tags.map((tag) => ({ text: tag, without: { tags: filters.tags.filter((each) => each !== tag) } }));
  if (filters.keys.length) found.push({ text: `key ${filters.keys.join(" ")}`, without: { keys: [] } });
  if (isRange(filters.bpm)) found.push({ text: `${said(filters.bpm)} BPM${filters.octaves ? " · ½ ×2" : ""}`, without: { bpm: ANY, octaves: false } });
  if (filters.rating) found.push({ text: `${"★".repeat(filters.rating)} and more`, without: { rating: 0 } });
  if (isRange(filters.length)) found.push({ text: `${said(filters.length, minutes)} long`, without: { length: ANY } });
  for (const each of filters.has) found.push({ text: `has ${each}`, without: { has: filters.has.filter((one) => one !== each) } });
  return found;
}

export const isNarrowed = (filters: Filters): boolean => filters.q !== "" || chips(filters).length > 0;

const minutes = (seconds: number): string => `${Math.floor(seconds / 60)}:${String(Math.round(seconds % 60)).padStart(2, "0")}`;

function said({ min, max }: Range, show: (value: number) => string = String): string {
  if (min === null) return `up to ${show(max!)}`;
  return max === null ? `from ${show(min)}` : `${show(min)}–${show(max)}`;
}

/** The places on the wheel that mix well with this one: itself, its neighbours, and the other mode. */
export function fitting(camelot: string): string[] {
  const place = Number.parseInt(camelot, 10);
  const mode = camelot.slice(-1);
  const turned = (by: number) => `${((place - 1 + by + 12) % 12) + 1}`;
  return [camelot, `${turned(-1)}${mode}`, `${turned(1)}${mode}`, `${place}${mode === "A" ? "B" : "A"}`];
}
