/** Where sounds begin in an asset: looked for by the server at the first request, read once. */

import { signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { rendered } from "../api/rendered";
import type { Onsets } from "./cuts";
import { complain } from "./session";

/** Of the lanes that were looked at last. */
const KEPT = 24;
const known = new Map<string, Signal<Onsets | null | undefined>>();

/** Undefined: not known yet. Null: they could not be had; who asks anew tries again. */
export function onsetsIn(asset: string): ReadonlySignal<Onsets | null | undefined> {
  const there = known.get(asset);
  if (there) return there;
  const found = signal<Onsets | null | undefined>(undefined);
  known.set(asset, found);
  for (const old of [...known.keys()].slice(0, -KEPT)) known.delete(old);
  read(asset, found).catch((error: unknown) => {
    known.delete(asset);
    found.value = null;
    complain(error);
  });
  return found;
}

async function read(asset: string, found: Signal<Onsets | null | undefined>): Promise<void> {
  const answer = await rendered(`/api/v1/assets/${asset}/onsets`);
  found.value = (await answer.json()) as Onsets;
}
