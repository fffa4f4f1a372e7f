/** What was thrown away: a page at a time, newest first. */

import { signal } from "@preact/signals";
import { api, ok, type Schemas } from "../api/client";
import { onEvent, onReset } from "../api/events";
import { loadLibraries } from "./library";
import { Reading } from "./reading";
import { complain } from "./session";

export type Thrown = Schemas["TrashItem"];

const PAGE = 100;

export const thrown = signal<Thrown[] | null>(null);
export const hasMore = signal(false);
let cursor: string | null = null;
let open = false;

const reading = new Reading(
  () => ok(api.GET("/api/v1/trash", { params: { query: { limit: PAGE } } })),
  (page) => {
    if (open) take(page, []);
  },
);

export function openTrash(): Promise<void> {
  open = true;
  return reading.again();
}

export function closeTrash(): void {
  open = false;
  thrown.value = null;
}

export async function moreTrash(): Promise<void> {
  const after = cursor;
  if (after === null) return;
  const page = await ok(api.GET("/api/v1/trash", { params: { query: { limit: PAGE, cursor: after } } }));
  if (after === cursor) take(page, thrown.value ?? []); // not read anew meanwhile, nor asked for twice
}

function take(page: Schemas["TrashPage"], before: Thrown[]): void {
  cursor = page.next_cursor;
  hasMore.value = cursor !== null;
  thrown.value = [...before, ...page.items];
}

export async function restore({ kind, id }: Thrown): Promise<void> {
  if (kind === "asset") await ok(api.POST("/api/v1/assets/{asset}/restore", { params: { path: { asset: id } } }));
  else {
    await ok(api.POST("/api/v1/libraries/{library}/restore", { params: { path: { library: id } } }));
    await loadLibraries();
  }
  without(id);
}

/** Delete one for good. */
export async function purge({ kind, id }: Thrown): Promise<void> {
  if (kind === "asset") await ok(api.DELETE("/api/v1/assets/{asset}", { params: { path: { asset: id }, query: { purge: true } } }));
  else await ok(api.DELETE("/api/v1/libraries/{library}", { params: { path: { library: id }, query: { purge: true } } }));
  without(id);
}

/** Delete all for good: also what is not shown yet. How many things. */
export async function emptyTrash(): Promise<number> {
  const { purged } = await ok(api.POST("/api/v1/trash/empty"));
  await openTrash();
  return purged;
}

function without(id: string): void {
  reading.overtake();
  if (thrown.value !== null) thrown.value = thrown.value.filter((each) => each.id !== id);
}

const again = (): void => {
  if (open) openTrash().catch(complain);
};
onEvent((told) => {
  if (["asset.deleted", "asset.restored", "library.deleted", "library.restored"].includes(told.type)) again();
});
onReset(again);
