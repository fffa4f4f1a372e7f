/** Where sounds begin in an asset: looked for by the server at the first request, read once. */

import { signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { rendered } from "../api/rendered";
import type { Onsets } from "./cuts";
import { Kept } from "./kept";
import { complain } from "./session";

/** Of the lanes that were looked at last. */
const known = new Kept<Signal<Onsets | null | undefined>>(24);

/** Undefined: not known yet. Null: they could not be had; who asks anew tries again. */
export function onsetsIn(asset: string): ReadonlySignal<Onsets | null | undefined> {
  return known.of(asset, () => {
    const found = signal<Onsets | null | undefined>(undefined);
    read(asset, found).catch((error: unknown) => {
      known.delete(asset);
      found.value = null;
      complain(error);
    });
    return found;
  });
}

async function read(asset: string, found: Signal<Onsets | null | undefined>): Promise<void> {
  const answer = await rendered(`/api/v1/assets/${asset}/onsets`);
  found.value = (await answer.json()) as Onsets;
}
