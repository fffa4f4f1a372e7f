/** What an analysis heard in an asset: read once, and anew when there is another one. */

import { signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { api, ok, Problem, type Schemas } from "../api/client";
import { onEvent } from "../api/events";
import { Kept } from "./kept";
import { Reading } from "./reading";
import { complain } from "./session";

export type Analysis = Schemas["Analysis"];

interface Heard {
  found: Signal<Analysis | null | undefined>;
  reading: Reading<Analysis | null>;
}
/** Of the tracks that were open last. */
const known = new Kept<Heard>(24);

/** Null: the asset was not analysed. Undefined: not known yet. */
export function analysisOf(asset: string): ReadonlySignal<Analysis | null | undefined> {
  return known.of(asset, () => {
    const found = signal<Analysis | null | undefined>(undefined);
    const reading = new Reading(
      () => read(asset),
      (heard) => void (found.value = heard),
    );
    reading.again().catch(complain);
    return { found, reading };
  }).found;
}

function read(asset: string): Promise<Analysis | null> {
  return ok(api.GET("/api/v1/assets/{asset}/analysis", { params: { path: { asset } } })).catch((error: unknown) => {
    if (error instanceof Problem && error.code === "not-analysed") return null;
    throw error;
  });
}

onEvent((told) => {
  if (told.type === "asset.updated") known.get(String(told.asset_id))?.reading.again().catch(complain);
});
