/** What is installed, what lies where, and the fetching of what does not: cards from the API, pulls from the jobs. */

import { computed, signal } from "@preact/signals";
import { api, ok, type Job, type ModelCard } from "../api/client";
import { onEvent, onReset, type Told } from "../api/events";
import { isActive, ordered } from "./jobs";
import { Reading } from "./reading";
import { complain, me } from "./session";

export type Checkpoint = ModelCard["checkpoints"][number];

export const cards = signal<ModelCard[] | null>(null);
export const mayPull = computed(() => me.value?.access.scopes.includes("admin") ?? false);

const reading = new Reading(
  () => ok(api.GET("/api/v1/models")),
  ({ items }) => void (cards.value = items),
);
export const loadModels = (): Promise<void> => reading.again();

/** The weights that a worker of the model takes by itself although they are a stand-in or untrained. */
export function standInOf(card: ModelCard): Checkpoint | null {
  const chosen = new Set(card.workers.map((each) => each.choice));
  return card.checkpoints.find((each) => chosen.has(each.name) && (each.demo || !each.trained)) ?? null;
}

/** What would be taken in its place if it were here. */
export function betterThan(card: ModelCard): Checkpoint | null {
  return card.checkpoints.find((each) => each.auto && each.trained && !each.demo && each.hub !== null) ?? null;
}

/** The weights that a job ran on, when they are a stand-in or untrained. */
export function standInOfJob(job: Job): string | null {
  const weights = (job.result as { weights?: { name: string; trained: boolean; demo?: boolean } | null }).weights;
  return weights && (weights.demo || !weights.trained) ? weights.name : null;
}

// ── pulls ────────────────────────────────────────────────────────────────────────────────────────────

const PULL = "pull";

/** The newest job that fetches these weights: one that is under way, or that ended badly. */
export function pullOf(checkpoint: Checkpoint): Job | null {
  const found = ordered.value.filter((job) => job.operation === PULL && weightsOf(job) === checkpoint.id);
  return found.find(isActive) ?? found.sort((a, b) => b.created_at.localeCompare(a.created_at))[0] ?? null;
}

/** Such as demucs/htdemucs. */
export const weightsOf = (job: Job): string => job.model.split("@")[0]!;

function hear(told: Told): void {
  const ended = told.type.startsWith("job.") && (told.job as Job | undefined)?.operation === PULL && !isActive(told.job as Job);
  if (ended && cards.value !== null) loadModels().catch(complain);
}

onEvent(hear);
onReset(() => {
  if (cards.value !== null) loadModels().catch(complain);
});
