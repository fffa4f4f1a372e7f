/** Libraries, and the tracks of the one that is open: pages that come ahead of whoever scrolls. */

import { computed, signal } from "@preact/signals";
import { api, ok, Problem, type Asset, type Library } from "../api/client";
import { onEvent, onReset, type Told } from "../api/events";
import { asked, format, isNarrowed, NONE, parse, type Filters } from "./filters";
import { go, place, rename, toLibrary } from "./place";
import { Reading } from "./reading";
import { complain } from "./session";

const FIRST = 100;
const PAGE = 200;
/** How many rows beyond those on the screen are fetched: a jump to the end of a usual library shows no hole. */
const AHEAD = 6000;
const GATHER_MS = 150;
const AGAIN_MS = 2000;
const MOST_LIBRARIES = 200;

export const libraries = signal<Library[] | null>(null);
export const current = signal<string | null>(null);
export const tracks = signal<Asset[]>([]);
/** How many there are in all, as far as the server said. */
export const total = signal<number | null>(null);
export const loading = signal(false);
export const complete = signal(false);
export const rows = computed(() => Math.max(tracks.value.length, complete.value ? 0 : (total.value ?? 0)));
export const filters = signal<Filters>(NONE);
export const isFiltered = computed(() => isNarrowed(filters.value));

let cursor: string | null = null;
let round = 0;
let wanted = 0;

// ── libraries ────────────────────────────────────────────────────────────────────────────────────────

const shelves = new Reading(
  () => ok(api.GET("/api/v1/libraries", { params: { query: { limit: MOST_LIBRARIES } } })),
  ({ items }) => void (libraries.value = items),
);
export const loadLibraries = (): Promise<void> => shelves.again();

async function choose(id: string | null): Promise<Library | undefined> {
  const isKnown = () => id === null || libraries.value?.some((each) => each.id === id);
  if (libraries.value === null || !isKnown()) await loadLibraries();
  const known = libraries.value ?? [];
  const remembered = localStorage.getItem("library");
  return known.find((each) => each.id === id) ?? known.find((each) => each.id === remembered) ?? known[0];
}

let visit = 0;
let choosing: Promise<unknown> = Promise.resolve();
let making: Promise<Library> | null = null;

/** Where songs go: the library that is open or about to be, or a first one. */
export async function libraryForSongs(): Promise<string> {
  await choosing.catch(() => undefined);
  const found = current.value ?? (await choose(null))?.id;
  if (found !== undefined) return found;
  making ??= makeLibrary("My library").finally(() => (making = null));
  return (await making).id;
}

/** Open a library (null: the one opened last, or the newest) with what its address asks for. */
export async function openLibrary(id: string | null, query: string): Promise<void> {
  const mine = ++visit;
  filters.value = parse(query);
  const chosen = choose(id);
  choosing = chosen;
  const found = await chosen;
  if (mine !== visit) return; // somebody has gone on meanwhile
  if (found?.id !== current.value) {
    current.value = found?.id ?? null;
    tracks.value = [];
    total.value = null;
  }
  if (found) localStorage.setItem("library", found.id);
  await reload();
}

export async function makeLibrary(name: string): Promise<Library> {
  const made = await ok(api.POST("/api/v1/libraries", { body: { name } as never }));
  await loadLibraries();
  return made;
}

export async function renameLibrary(library: string, name: string): Promise<void> {
  await ok(
    api.PATCH("/api/v1/libraries/{library}", {
      params: { path: { library } },
      body: { name } as never,
      headers: { "Content-Type": "application/merge-patch+json" },
    }),
  );
  await loadLibraries();
}

/** Into the trash, with everything in it. */
export async function dropLibrary(library: string): Promise<void> {
  await ok(api.DELETE("/api/v1/libraries/{library}", { params: { path: { library } } }));
  await loadLibraries();
  const next = libraries.value?.[0]?.id ?? null;
  if (next) go(toLibrary(next));
  else await openLibrary(null, "");
}

// ── the list ─────────────────────────────────────────────────────────────────────────────────────────

/** Narrow or sort: the address changes, and the view follows it. */
export function search(changed: Partial<Filters>): void {
  const at = place.value;
  const query = format({ ...filters.value, ...changed });
  const library = at.view === "library" ? (at.library ?? current.value) : current.value;
  rename(`${library ? toLibrary(library) : "#/"}${query ? `?${query}` : ""}`);
}

/** Anew from the first page. What is shown stays until that is here. */
export async function reload(): Promise<void> {
  round++;
  cursor = null;
  complete.value = false;
  loading.value = false;
  await fill();
}

/** Rows up to this one are on the screen: have them, and those behind. */
export function need(last: number): void {
  if (last + AHEAD <= wanted) return;
  wanted = last + AHEAD;
  fill().catch(complain);
}

/** Page after page, until there are as many as are wanted; one chain at a time. */
async function fill(): Promise<void> {
  if (loading.value || current.value === null) return;
  const mine = round;
  loading.value = true;
  try {
    do {
      await page(mine);
      if (mine === round) flush().catch(complain); // what was told while it was on its way
    } while (mine === round && !complete.value && tracks.value.length < wanted);
  } finally {
    if (mine === round) loading.value = false;
    gather(GATHER_MS);
  }
}

async function page(mine: number): Promise<void> {
  const library = current.value;
  if (library === null || complete.value) return;
  const first = cursor === null;
  const since = removals;
  const query = { ...asked(filters.value), include: ["made"], limit: first ? FIRST : PAGE, ...(first ? { count: true } : { cursor }) };
  const got = await ok(api.GET("/api/v1/libraries/{library}/assets", { params: { path: { library }, query: query as never } }));
  if (mine !== round) return;
  const before = first ? [] : tracks.value;
  const seen = new Set(before.map((each) => each.id));
  const known = new Map(tracks.value.map((each) => [each.id, each]));
  const fresh = got.items.filter((each) => !seen.has(each.id) && !leftSince(each.id, since));
  tracks.value = [...before, ...fresh.map((each) => newer(each, known.get(each.id)))];
  if (first) total.value = got.total ?? null;
  cursor = got.next_cursor;
  complete.value = cursor === null;
}

/** What an answer tells of a row; the row as it is, where that is newer. */
function newer(answer: Asset, known: Asset | undefined): Asset {
  const kept = known && known.version > answer.version ? known : answer;
  return { ...kept, made: answer.made ?? known?.made ?? null };
}

/** Rows changed here or elsewhere. What a list alone tells of them is kept. */
export function put(changed: Iterable<Asset>): void {
  const byId = new Map([...changed].map((each) => [each.id, each]));
  tracks.value = tracks.value.map((each) => {
    const after = byId.get(each.id);
    return after ? newer(after, each) : each;
  });
}

/** When a row left the list, counted by removals: what was asked for before does not bring it back. */
const left = new Map<string, number>();
let removals = 0;
const leftSince = (id: string, since: number): boolean => (left.get(id) ?? 0) > since;

export function without(ids: ReadonlySet<string>): void {
  removals++;
  for (const id of ids) left.set(id, removals);
  const kept = tracks.value.filter((each) => !ids.has(each.id));
  if (total.value !== null) total.value = Math.max(0, total.value - (tracks.value.length - kept.length));
  tracks.value = kept;
}

// ── what happens elsewhere ───────────────────────────────────────────────────────────────────────────

const gone = new Set<string>();
/** By asset, which library it is in: that one may be opened before this is looked at. */
const elsewhere = new Map<string, string>();
const changed = new Set<string>();
const made = new Set<string>();
let timer = 0;

/** A change of five hundred rows is told five hundred times: gather what comes together. */
function hear(told: Told): void {
  if (told.type.startsWith("library.")) {
    loadLibraries().catch(complain);
    return;
  }
  const id = String(told.asset_id);
  for (const each of [gone, elsewhere, changed]) each.delete(id); // what was told before is over
  if (told.type === "asset.deleted") gone.add(id);
  else if (!["asset.created", "asset.updated", "asset.restored"].includes(told.type)) return;
  else if (told.parent_id !== null) made.add(String(told.parent_id));
  else if (told.library_id !== current.value) elsewhere.set(id, String(told.library_id));
  else if (tracks.value.some((each) => each.id === id && each.version >= Number(told.version))) return; // we did that ourselves
  else changed.add(id);
  gather(GATHER_MS);
}

function gather(within: number): void {
  if (timer === 0) timer = window.setTimeout(gathered, within);
}

/** Rows that are on their way may be older than what was told: they are waited for. */
function gathered(): void {
  timer = 0;
  if (!loading.value) flush().catch(complain);
}

async function flush(): Promise<void> {
  const out = new Set(gone);
  for (const [id, library] of elsewhere) (library === current.value ? changed : out).add(id);
  const [touched, grown] = [[...changed], [...made]];
  for (const each of [gone, elsewhere, changed, made]) each.clear();
  if (out.size > 0) without(out);
  const known = new Set(tracks.value.map((each) => each.id));
  for (const id of touched) if (!out.has(id)) await refresh(id);
  for (const id of grown) if (known.has(id)) await refreshMade(id);
}

/** Fetch one anew, and show it if it belongs here. */
async function refresh(id: string): Promise<void> {
  const since = removals;
  const asset = await ok(api.GET("/api/v1/assets/{asset}", { params: { path: { asset: id } } })).catch((error: unknown) => {
    if (!(error instanceof Problem) || (error.status > 0 && error.status < 429)) return null; // it is gone again
    changed.add(id); // the server is away, or has too much to do
    gather(AGAIN_MS);
    return null;
  });
  if (asset === null || leftSince(id, since)) return;
  if (tracks.value.some((each) => each.id === id)) put([asset]);
  else if (asset.library_id === current.value && asset.parent_id === null && !isFiltered.value) {
    tracks.value = [{ ...asset, made: [] }, ...tracks.value];
    if (total.value !== null) total.value++;
  }
}

async function refreshMade(id: string): Promise<void> {
  const track = tracks.value.find((each) => each.id === id);
  if (!track) return;
  const query = { parent_id: id, role: "stem", limit: 50 };
  const stems = await ok(api.GET("/api/v1/libraries/{library}/assets", { params: { path: { library: track.library_id }, query } }));
  const words = new Set([...(track.made ?? []), ...stems.items.flatMap((each) => each.stem ?? [])]);
  const now = tracks.value.find((each) => each.id === id);
  if (now) put([{ ...now, made: [...new Set([...(now.made ?? []), ...words])] }]);
}

onEvent(hear);
onReset(() => void loadLibraries().then(reload).catch(complain));

// ── changes ──────────────────────────────────────────────────────────────────────────────────────────

export async function edit(asset: Asset, changed: Record<string, unknown>): Promise<Asset> {
  const after = (await ok(
    api.PATCH("/api/v1/assets/{asset}" as never, {
      params: { path: { asset: asset.id } },
      body: changed,
      headers: { "Content-Type": "application/merge-patch+json" },
    } as never),
  )) as Asset;
  put([after]);
  return after;
}

/** Into the trash, all of them or none. */
export async function drop(ids: readonly string[]): Promise<void> {
  await ok(api.POST("/api/v1/assets/bulk", { body: { asset_ids: [...ids], op: "trash" } as never }));
  without(new Set(ids));
}
