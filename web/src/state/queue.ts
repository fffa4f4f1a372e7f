/** How many jobs go before each of ours that waits: asked for while somebody looks. */

import { computed, signal } from "@preact/signals";
import { api, ok } from "../api/client";
import { active } from "./jobs";

interface Next {
  job: string;
  position: number;
}

/** By model: which of our jobs comes first, and how many go before that one. */
const lanes = signal<ReadonlyMap<string, Next>>(new Map());

export async function lookAtQueue(): Promise<void> {
  const { items } = await ok(api.GET("/api/v1/queue"));
  const mine = items.flatMap((lane) => (lane.mine.next ? [[lane.model, { job: lane.mine.next.job_id, position: lane.mine.next.position }] as const] : []));
  lanes.value = new Map(mine);
}

const modelOf = (name: string): string => name.split(/[/@]/)[0]!;

/** By job that waits: how many go before it. Of ours, each waits for those before it, too. */
export const positions = computed<ReadonlyMap<string, number>>(() => {
  const found = new Map<string, number>();
  const before = new Map<string, number>();
  for (const job of active.value) {
    if (job.state !== "queued") continue;
    const model = modelOf(job.model);
    const next = lanes.value.get(model);
    if (!next) continue;
    const ours = job.id === next.job ? 0 : (before.get(model) ?? 0) + 1;
    found.set(job.id, next.position + ours);
    if (job.id !== next.job) before.set(model, ours);
  }
  return found;
});
