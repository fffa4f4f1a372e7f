/** Every job that waits or runs, and the last that ended: from the API once, then from events; older ones on demand. */

import { computed, signal } from "@preact/signals";
import { api, ok, Problem, type Job, type Schemas } from "../api/client";
import { onEvent, onReset, type Told } from "../api/events";
import { Reading } from "./reading";
import { complain } from "./session";

/** Of a job that has not ended, in order. */
const STEPS = ["queued", "running", "cancelling"];
const BAD = new Set(["failed", "timed_out"]);
const PAGE = 40;
const ROOM = 20; // for what ends while the page is open

export const jobs = signal<ReadonlyMap<string, Job>>(new Map());

export const isActive = (job: Job): boolean => STEPS.includes(job.state);
export const hasFailed = (job: Job): boolean => BAD.has(job.state);

/** The jobs that ended since the page was opened, newest last: to be said aloud. */
export const ended = signal<readonly Job[]>([]);

/** Whether the server has jobs that are older than those here. */
export const hasOlder = computed(() => cursor.value !== null);
const cursor = signal<string | null>(null);
let kept = PAGE + ROOM;

/** Those that run first, then those that wait, then what ended, newest first. */
export const ordered = computed(() => {
  const rank = (job: Job) => (job.state === "queued" ? 1 : isActive(job) ? 0 : 2);
  return [...jobs.value.values()].sort(
    (a, b) => rank(a) - rank(b) || (rank(a) === 1 ? a.created_at.localeCompare(b.created_at) : b.created_at.localeCompare(a.created_at)),
  );
});
export const active = computed(() => ordered.value.filter(isActive));

/** Of all that waits or runs, how much is done; null when there is nothing. */
export const overall = computed(() => {
  if (active.value.length === 0) return null;
  return active.value.reduce((sum, job) => sum + (job.progress?.fraction ?? 0), 0) / active.value.length;
});

export function put(...changed: Job[]): void {
  const all = new Map(jobs.value);
  for (const job of changed) all.set(job.id, job);
  const ended = [...all.values()].filter((job) => !isActive(job)).sort((a, b) => b.created_at.localeCompare(a.created_at));
  for (const old of ended.slice(kept)) all.delete(old.id);
  jobs.value = all;
}

/** What an answer says of jobs. Events may have told more while it was on its way: it brings no job back to where it was. */
function answered(...answers: Job[]): void {
  put(...answers.filter((job) => !isBehind(job, jobs.value.get(job.id))));
}

function isBehind(answer: Job, known: Job | undefined): boolean {
  if (!known || !isActive(answer)) return false;
  if (!isActive(known)) return true;
  if (answer.attempt !== known.attempt) return answer.attempt < known.attempt;
  return STEPS.indexOf(answer.state) < STEPS.indexOf(known.state);
}

const reading = new Reading(
  () =>
    Promise.all([
      ok(api.GET("/api/v1/jobs", { params: { query: { state: ["queued", "running"], limit: 200 } } })),
      ok(api.GET("/api/v1/jobs", { params: { query: { limit: PAGE } } })),
    ]),
  ([open, recent]) => take(open, recent),
);
export const loadJobs = (): Promise<void> => reading.again();

type JobPage = Schemas["JobPage"];

function take(open: JobPage, recent: JobPage): void {
  const fetched = [...recent.items, ...open.items];
  const heard = [...jobs.value.values()]; // events came while the answers were on their way
  const over = new Map([...heard, ...fetched].filter((job) => !isActive(job)).map((job) => [job.id, job]));
  const newest = fetched.reduce((last, job) => (job.created_at > last ? job.created_at : last), "");
  jobs.value = new Map();
  cursor.value = recent.next_cursor;
  kept = PAGE + ROOM;
  put(...heard.filter((job) => job.created_at > newest), ...fetched.map((job) => over.get(job.id) ?? job));
}

/** The next page of older ones. */
export async function older(): Promise<void> {
  const after = cursor.value;
  if (after === null) return;
  const page = await ok(api.GET("/api/v1/jobs", { params: { query: { limit: PAGE, cursor: after } } }));
  if (after !== cursor.value) return; // asked for twice, or all was read anew
  kept += PAGE;
  cursor.value = page.next_cursor;
  put(...page.items.filter((job) => !jobs.value.has(job.id)));
}

/** An event carries the job without its parameters; a progress event its place alone. */
function hear(told: Told): void {
  if (told.type === "job.progress") {
    const job = jobs.value.get(String(told.job_id));
    const isOver = job?.state === "queued" && Number(told.attempt) <= job.attempt; // it goes back to its queue meanwhile
    if (job && isActive(job) && !isOver) put({ ...job, state: job.state === "queued" ? "running" : job.state, progress: told as unknown as NonNullable<Job["progress"]> });
  } else if (told.type.startsWith("job.")) {
    const job = told.job as Job;
    const before = jobs.value.get(job.id);
    if (!isActive(job) && (before === undefined || isActive(before))) ended.value = [...ended.value.slice(-ROOM), job];
    put({ ...jobs.value.get(job.id), ...job } as Job);
  }
}

onEvent(hear);
onReset(() => void loadJobs().catch(complain));

export interface Order {
  operation: string;
  assets: string[];
  model?: string;
  params?: Record<string, unknown>;
  rerun?: boolean;
}

/** Ask for a job. The same one that is there already is the answer. */
export async function order({ operation, assets, model, params, rerun }: Order): Promise<Job> {
  const job = await ok(
    api.POST("/api/v1/jobs", {
      body: {
        operation,
        inputs: assets.map((asset_id) => ({ asset_id })),
        ...(model ? { model } : {}),
        ...(params ? { params } : {}),
        ...(rerun ? { on_existing: "rerun" as const } : {}),
      } as never,
    }),
  );
  answered(job);
  return job;
}

/** Everything at once: stems, notes of what has pitch, the words, tempo and key. Its jobs come by events. */
export async function takeApart(asset: string): Promise<void> {
  await ok(
    api.POST("/api/v1/pipelines/{pipeline}/runs" as never, {
      params: { path: { pipeline: "full-breakdown" } },
      body: { asset_id: asset },
    } as never),
  );
}

export async function cancel(job: string): Promise<void> {
  answered(await ok(api.POST("/api/v1/jobs/{job}/cancel", { params: { path: { job } } })));
}

/** Cancel all of these; what has ended meanwhile needs none. */
export async function cancelAll(some: readonly Job[]): Promise<void> {
  const called = await Promise.allSettled(some.map((job) => cancel(job.id)));
  for (const each of called) {
    if (each.status === "rejected" && !(each.reason instanceof Problem && each.reason.code === "job-not-cancellable")) throw each.reason;
  }
}

/** Ask once more for what ended badly. */
export async function again(job: Job): Promise<void> {
  if (job.operation === "pull") await pull(job.model.split("@")[0]!);
  else answered(await ok(api.POST("/api/v1/jobs/{job}/retry", { params: { path: { job: job.id } }, body: {} as never })));
}

/** Have a worker fetch weights, such as demucs/htdemucs. The pull that is under way is the answer. */
export async function pull(weights: string): Promise<void> {
  const [model, checkpoint] = weights.split("/") as [string, string];
  answered(await ok(api.POST("/api/v1/models/{model}/checkpoints/{checkpoint}/pull", { params: { path: { model, checkpoint } } })));
}

/** Jobs of this asset and of these. */
export function jobsOf(assets: ReadonlySet<string>): Job[] {
  return ordered.value.filter((job) => job.asset_id !== null && assets.has(job.asset_id));
}
