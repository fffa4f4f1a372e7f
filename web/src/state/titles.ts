/** What the inputs of jobs are called, and which track they belong to: asked for once each, when somebody looks. */

import { signal } from "@preact/signals";
import { api, ok, Problem } from "../api/client";
import { onEvent } from "../api/events";

export interface Title {
  track: string;
  /** Of the track. */
  name: string;
}

const GONE = "a deleted recording";
const DEEPEST = 8;

/** By asset. Null while it is on its way. */
export const titles = signal<ReadonlyMap<string, Title | null>>(new Map());

/** Find out about these assets, those that are known aside. */
export function learn(assets: Iterable<string>): void {
  for (const asset of new Set(assets)) {
    if (titles.value.has(asset)) continue;
    note(asset, null);
    rootOf(asset, DEEPEST).then(
      (title) => note(asset, title),
      () => forget(asset), // the server is away: asked again next time
    );
  }
}

function note(asset: string, title: Title | null): void {
  titles.value = new Map(titles.value).set(asset, title);
}

function forget(asset: string): void {
  const left = new Map(titles.value);
  left.delete(asset);
  titles.value = left;
}

async function rootOf(id: string, deeper: number): Promise<Title> {
  try {
    const asset = await ok(api.GET("/api/v1/assets/{asset}", { params: { path: { asset: id } } }));
    if (asset.parent_id === null || deeper === 0) return { track: asset.id, name: asset.name };
    return await rootOf(asset.parent_id, deeper - 1);
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return { track: id, name: GONE };
    throw error;
  }
}

onEvent((told) => {
  if (told.type === "asset.updated" || told.type === "asset.deleted") forget(String(told.asset_id));
});
