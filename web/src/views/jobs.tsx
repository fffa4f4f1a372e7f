/** One tray for all work: how far it is, how long it takes, why it failed, and how to stop it or try again. */

import { signal } from "@preact/signals";
import type { Job } from "../api/client";
import { live } from "../api/events";
import { Icon } from "../parts/icons";
import { about, percent } from "../parts/text";
import { again, cancel, isActive, ordered } from "../state/jobs";
import { toTrack } from "../state/place";
import { attempt } from "../state/session";

export const open = signal(false);

const VERBS: Record<string, string> = {
  separate: "Separating stems",
  midi: "Listening for notes",
  transcribe: "Writing down the words",
  analyze: "Measuring tempo and key",
  slice: "Slicing",
  mix: "Mixing",
  align: "Putting words on notes",
  export: "Packing",
};
const ENDS: Record<string, string> = {
  succeeded: "done",
  failed: "failed",
  cancelled: "cancelled",
  timed_out: "took too long",
};

export function JobsTray() {
  if (!open.value) return null;
  return (
    <aside class="tray" aria-label="Jobs">
      <header>
        <h2>Jobs</h2>
        {!live.value && <span class="away">no connection: going on when it is back</span>}
        <button class="quiet" onClick={() => (open.value = false)} aria-label="Close jobs">
          <Icon name="close" />
        </button>
      </header>
      {ordered.value.length === 0 && <p class="empty">Nothing has run yet.</p>}
      <ul>
        {ordered.value.map((job) => (
          <JobRow key={job.id} job={job} />
        ))}
      </ul>
    </aside>
  );
}

export const verbOf = (job: Job): string => VERBS[job.operation] ?? job.operation;

function JobRow({ job }: { job: Job }) {
  return (
    <li class={`job ${job.state}`}>
      <div class="line">
        <span class="what">{verbOf(job)}</span>
        <span class="model" title={job.model}>{job.model.split("@")[0]}</span>
        {isActive(job) && job.state !== "cancelling" && (
          <button onClick={() => attempt(() => cancel(job.id))} aria-label={`Cancel: ${verbOf(job)}`}>
            Cancel
          </button>
        )}
        {["failed", "timed_out", "cancelled"].includes(job.state) && (
          <button onClick={() => attempt(() => again(job))} aria-label={`Try again: ${verbOf(job)}`}>
            Try again
          </button>
        )}
        {job.state === "succeeded" && job.asset_id && <a href={toTrack(job.asset_id)}>Open</a>}
      </div>
      {isActive(job) ? <Doing job={job} /> : <Ended job={job} />}
    </li>
  );
}

export function Doing({ job }: { job: Job }) {
  if (job.state === "cancelling") return <p class="state">stopping at the next window</p>;
  if (job.state === "queued") {
    const before = job.queue?.position ?? null;
    return <p class="state">{before === null || before === 0 ? "next in its queue" : `${before} before it`}</p>;
  }
  const { fraction = 0, stage = "", done = 0, total = 0 } = job.progress ?? {};
  const eta = (job.progress as { eta_s?: number | null } | null)?.eta_s;
  return (
    <>
      <progress max={1} value={fraction} aria-label={verbOf(job)} />
      <p class="state">
        {percent(fraction)}
        {total > 0 && stage === "infer" ? ` · window ${done} of ${total}` : ` · ${STAGES[stage] ?? stage}`}
        {eta ? ` · ${about(eta)} left` : ""}
      </p>
    </>
  );
}

const STAGES: Record<string, string> = {
  fetch: "fetching",
  decode: "decoding",
  load: "loading the model",
  infer: "computing",
  encode: "encoding",
  store: "storing",
};

function Ended({ job }: { job: Job }) {
  const took = job.started_at && job.finished_at ? (Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000 : null;
  const weights = (job.result as { weights?: { trained?: boolean; title?: string } } | undefined)?.weights;
  return (
    <p class="state">
      {ENDS[job.state] ?? job.state}
      {took !== null && job.state === "succeeded" ? ` in ${about(took)}` : ""}
      {weights?.trained === false && <strong> · untrained weights</strong>}
      {job.error && job.state !== "cancelled" && (
        <span class="why">
          {" "}
          {job.error.detail} {job.error.mend}
        </span>
      )}
    </p>
  );
}
