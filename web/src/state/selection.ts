/** Which rows are chosen, and which one the keyboard is at. */

import { computed, signal } from "@preact/signals";
import type { Asset } from "../api/client";
import { complete, current, need, rows, tracks } from "./library";

export const selected = signal<ReadonlySet<string>>(new Set());
/** The row that arrows start from. */
export const at = signal(0);
let anchor = 0;

export const chosen = computed(() => tracks.value.filter((each) => selected.value.has(each.id)));

export function clear(): void {
  if (selected.value.size > 0) selected.value = new Set();
}

export function toggle(row: number): void {
  const id = tracks.value[row]?.id;
  if (id === undefined) return;
  const all = new Set(selected.value);
  if (!all.delete(id)) all.add(id);
  selected.value = all;
  anchor = row;
}

/** From where the last choice was made to here. */
export function extend(row: number): void {
  if (selected.value.size === 0) anchor = Math.min(at.value, rows.value - 1);
  const [from, to] = [Math.min(anchor, row), Math.max(anchor, row)];
  selected.value = new Set([...selected.value, ...tracks.value.slice(from, to + 1).map((each) => each.id)]);
}

/** All that the list holds, also what has not been scrolled to. */
export async function selectAll(): Promise<void> {
  const library = current.value;
  need(Number.MAX_SAFE_INTEGER / 2);
  while (!complete.value && current.value === library) await new Promise((soon) => setTimeout(soon, 50));
  selected.value = new Set(tracks.value.map((each) => each.id));
}

/** What a key is about: the chosen rows, or the one that it is at. */
export function meant(): Asset[] {
  if (selected.value.size > 0) return chosen.value;
  const row = tracks.value[at.value];
  return row ? [row] : [];
}

// What left the list is not chosen any more.
tracks.subscribe((all) => {
  if (selected.peek().size === 0) return;
  const there = new Set(all.map((each) => each.id));
  const kept = [...selected.peek()].filter((id) => there.has(id));
  if (kept.length < selected.peek().size) selected.value = new Set(kept);
});
