/** Libraries, and the tracks of the one that is open: a page at a time, as far as somebody scrolls. */

import { computed, signal } from "@preact/signals";
import { api, ok, type Asset, type Library } from "../api/client";
import { onEvent, onReset } from "../api/events";
import { complain } from "./session";

const PAGE = 200;

export const libraries = signal<Library[] | null>(null);
export const current = signal<string | null>(null);
export const tracks = signal<Asset[]>([]);
export const loading = signal(false);
export const complete = signal(false);

export interface Query {
  q: string;
  tag: string;
  sort: string;
}
const NEWEST = "-created_at"; // what the server does by itself
export const query = signal<Query>({ q: "", tag: "", sort: NEWEST });
export const isFiltered = computed(() => query.value.q !== "" || query.value.tag !== "");

let cursor: string | null = null;
let round = 0;

export async function loadLibraries(): Promise<void> {
  libraries.value = (await ok(api.GET("/api/v1/libraries", { params: { query: { limit: PAGE } } }))).items;
}

async function choose(id: string | null): Promise<Library | undefined> {
  if (libraries.value === null) await loadLibraries();
  const known = libraries.value ?? [];
  const remembered = localStorage.getItem("library");
  return known.find((each) => each.id === id) ?? known.find((each) => each.id === remembered) ?? known[0];
}

/** Where songs go: the open library, or a first one. */
export async function libraryForSongs(): Promise<string> {
  return current.value ?? (await choose(null))?.id ?? (await makeLibrary("My library")).id;
}

/** Open a library; null: the one opened last, or the newest. */
export async function openLibrary(id: string | null): Promise<void> {
  const found = await choose(id);
  current.value = found?.id ?? null;
  if (found) localStorage.setItem("library", found.id);
  await reload();
}

export async function makeLibrary(name: string): Promise<Library> {
  const made = await ok(api.POST("/api/v1/libraries", { body: { name } as never }));
  await loadLibraries();
  return made;
}

export async function reload(): Promise<void> {
  round++;
  cursor = null;
  complete.value = false;
  tracks.value = [];
  loading.value = false;
  await more();
}

/** The next page, if there is one and none is on its way. */
export async function more(): Promise<void> {
  const library = current.value;
  if (library === null || loading.value || complete.value) return;
  const mine = round;
  loading.value = true;
  try {
    const { q, tag, sort } = query.value;
    const page = await ok(
      api.GET("/api/v1/libraries/{library}/assets", {
        params: {
          path: { library },
          query: { limit: PAGE, ...(sort === NEWEST ? {} : { sort }), ...(cursor ? { cursor } : {}), ...(q ? { q } : {}), ...(tag ? { tag } : {}) } as never,
        },
      }),
    );
    if (mine !== round) return;
    const seen = new Set(tracks.value.map((each) => each.id));
    tracks.value = [...tracks.value, ...page.items.filter((each) => !seen.has(each.id))];
    cursor = page.next_cursor;
    complete.value = cursor === null;
  } finally {
    if (mine === round) loading.value = false;
  }
}

export function search(changed: Partial<Query>): void {
  query.value = { ...query.value, ...changed };
  void reload().catch(complain);
}

/** Fetch one asset anew, and show it if it belongs here. */
async function refresh(id: string): Promise<void> {
  const asset = await ok(api.GET("/api/v1/assets/{asset}", { params: { path: { asset: id } } }));
  const at = tracks.value.findIndex((each) => each.id === id);
  if (at >= 0) tracks.value = tracks.value.with(at, asset);
  else if (asset.library_id === current.value && asset.parent_id === null && !isFiltered.value) tracks.value = [asset, ...tracks.value];
}

onEvent((told) => {
  if (told.type === "asset.deleted") tracks.value = tracks.value.filter((each) => each.id !== told.asset_id);
  else if (["asset.created", "asset.updated", "asset.restored"].includes(told.type) && told.parent_id === null)
    refresh(String(told.asset_id)).catch(() => {}); // it may be gone again
  else if (told.type.startsWith("library.")) loadLibraries().catch(complain);
});
onReset(() => void loadLibraries().then(reload).catch(complain));

export async function edit(asset: Asset, changed: Record<string, unknown>): Promise<Asset> {
  const after = (await ok(
    api.PATCH("/api/v1/assets/{asset}" as never, {
      params: { path: { asset: asset.id } },
      body: changed,
      headers: { "Content-Type": "application/merge-patch+json" },
    } as never),
  )) as Asset;
  const at = tracks.value.findIndex((each) => each.id === after.id);
  if (at >= 0) tracks.value = tracks.value.with(at, after);
  return after;
}

export async function remove(asset: Asset): Promise<void> {
  await ok(api.DELETE("/api/v1/assets/{asset}", { params: { path: { asset: asset.id } } }));
  tracks.value = tracks.value.filter((each) => each.id !== asset.id);
}
