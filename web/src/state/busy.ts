/** What works on a track right now, by the track; its analysis is too short to be shown. */

import { computed } from "@preact/signals";
import type { Job } from "../api/client";
import { active } from "./jobs";

export const busy = computed(() => {
  const found = new Map<string, Job>();
  for (const job of active.value) if (job.asset_id && job.operation !== "analyze") found.set(job.asset_id, job);
  return found;
});
