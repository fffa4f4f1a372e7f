/** The same for many assets: by the hundred, and one by one where a hundred is refused, so that each has its own answer. */

import { signal } from "@preact/signals";
import { api, ok, Problem, type Asset } from "../api/client";
import { takeApart } from "./jobs";
import { put, without } from "./library";

const AT_ONCE = 100;

export interface Refused {
  name: string;
  why: string;
}

/** How far the one that runs is; null: none does. */
export const working = signal<{ what: string; done: number; of: number } | null>(null);

interface Change {
  op: "set" | "trash";
  add_tags?: string[];
  remove_tags?: string[];
  rating?: number;
}

async function each<T>(what: string, items: readonly T[], size: number, run: (some: T[]) => Promise<void>): Promise<void> {
  working.value = { what, done: 0, of: items.length };
  try {
    for (let from = 0; from < items.length; from += size) {
      await run(items.slice(from, from + size));
      working.value = { what, done: Math.min(items.length, from + size), of: items.length };
    }
  } finally {
    working.value = null;
  }
}

/** Those that were refused, with the reason; the others are done. */
async function change(what: string, assets: readonly Asset[], body: Change, apply: (done: Asset[]) => void): Promise<Refused[]> {
  const refused: Refused[] = [];
  const send = async (some: Asset[]): Promise<void> => {
    await ok(api.POST("/api/v1/assets/bulk", { body: { ...body, asset_ids: some.map((one) => one.id) } as never }));
    apply(some);
  };
  await each(what, assets, AT_ONCE, async (some) => {
    try {
      await send(some);
    } catch (error) {
      if (!(error instanceof Problem) || error.status === 0 || error.status >= 500) throw error;
      for (const one of some) await send([one]).catch((why: Error) => refused.push({ name: one.name, why: why.message }));
    }
  });
  return refused;
}

export function tag(assets: readonly Asset[], add: string[], remove: string[]): Promise<Refused[]> {
  return change("Tagging", assets, { op: "set", add_tags: add, remove_tags: remove }, (done) =>
    put(
      done.map((one) => ({
        ...one,
        version: one.version + 1,
        tags: [...new Set([...one.tags.filter((each) => !remove.includes(each)), ...add])],
      })),
    ),
  );
}

export function rate(assets: readonly Asset[], rating: number): Promise<Refused[]> {
  return change("Rating", assets, { op: "set", rating }, (done) => put(done.map((one) => ({ ...one, version: one.version + 1, rating }))));
}

export function throwAway(assets: readonly Asset[]): Promise<Refused[]> {
  return change("Moving to the trash", assets, { op: "trash" }, (done) => without(new Set(done.map((one) => one.id))));
}

/** Each is a run of its own. */
export async function takeAllApart(assets: readonly Asset[]): Promise<Refused[]> {
  const refused: Refused[] = [];
  await each("Ordering", assets, 1, async ([one]) => {
    try {
      await takeApart(one!.id);
    } catch (error) {
      if (!(error instanceof Problem) || error.status === 0) throw error;
      refused.push({ name: one!.name, why: error.message });
    }
  });
  return refused;
}

/** Where a zip of them, with all that was made from them, is fetched. */
export async function orderExport(assets: readonly Asset[]): Promise<string> {
  const order = await ok(api.POST("/api/v1/exports", { body: { asset_ids: assets.map((one) => one.id) } as never }));
  return order.urls.content;
}
