/** What an analysis heard in an asset: read once, and anew when there is another one. */

import { signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { api, ok, Problem, type Schemas } from "../api/client";
import { onEvent } from "../api/events";
import { complain } from "./session";

export type Analysis = Schemas["Analysis"];

/** Of the tracks that were open last. */
const KEPT = 24;
const known = new Map<string, Signal<Analysis | null | undefined>>();

/** Null: the asset was not analysed. Undefined: not known yet. */
export function analysisOf(asset: string): ReadonlySignal<Analysis | null | undefined> {
  const there = known.get(asset);
  if (there) return there;
  const found = signal<Analysis | null | undefined>(undefined);
  known.set(asset, found);
  for (const old of [...known.keys()].slice(0, -KEPT)) known.delete(old);
  read(asset).catch(complain);
  return found;
}

async function read(asset: string): Promise<void> {
  const found = await ok(api.GET("/api/v1/assets/{asset}/analysis", { params: { path: { asset } } })).catch((error: unknown) => {
    if (error instanceof Problem && error.code === "not-analysed") return null;
    throw error;
  });
  const place = known.get(asset);
  if (place) place.value = found;
}

onEvent((told) => {
  if (told.type === "asset.updated" && known.has(String(told.asset_id))) read(String(told.asset_id)).catch(complain);
});
