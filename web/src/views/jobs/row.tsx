/** One job: how far it is and how long it takes, or how it ended. */

import { signal } from "@preact/signals";
import type { Job } from "../../api/client";
import { about, bytes, clock, percent } from "../../parts/text";
import { again, cancel, isActive } from "../../state/jobs";
import { positions } from "../../state/queue";
import { attempt } from "../../state/session";
import { toTrack } from "../../state/place";
import { Details, Failure } from "./failure";
import { ENDS, modelOf, STAGES, verbOf } from "./words";

/** Seconds go by while somebody looks. */
export const now = signal(Date.now());

export function JobRow({ job }: { job: Job }) {
  const verb = verbOf(job);
  return (
    <li class={`job ${job.state}`}>
      <div class="line">
        <span class="what">{verb}</span>
        <span class="model" title={job.model}>{modelOf(job)}</span>
        {isActive(job) && job.state !== "cancelling" && (
          <button onClick={() => attempt(() => cancel(job.id))} aria-label={`Cancel: ${verb}`}>
            Cancel
          </button>
        )}
        {["failed", "timed_out", "cancelled"].includes(job.state) && (
          <button onClick={() => attempt(() => again(job))} aria-label={`Try again: ${verb}`}>
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
  if (job.state === "queued") return <Waiting job={job} />;
  const { fraction = 0, stage = "", done = 0, total = 0 } = job.progress ?? {};
  const { eta_s: eta, stages = [], stage_index: at = 0 } = (job.progress ?? {}) as { eta_s?: number | null; stages?: string[]; stage_index?: number };
  const elapsed = job.started_at ? Math.max(0, now.value - Date.parse(job.started_at)) / 1000 : 0;
  return (
    <>
      <progress max={1} value={fraction} aria-label={verbOf(job)} />
      <p class="state">
        {percent(fraction)} · {doingOf(stage, done, total)}
        {eta ? ` · ${about(eta)} left` : ""}
        <span class="aside">
          {stages.length > 1 && `step ${Math.min(at + 1, stages.length)} of ${stages.length}`}
          {elapsed >= 1 && ` · ${clock(elapsed)}`}
        </span>
      </p>
    </>
  );
}

function doingOf(stage: string, done: number, total: number): string {
  if (stage === "infer" && total > 0) return `window ${done} of ${total}`;
  if (stage === "download" && done > 0) return total > 0 ? `${bytes(done)} of ${bytes(total)}` : bytes(done);
  return STAGES[stage] ?? stage;
}

function Waiting({ job }: { job: Job }) {
  const before = positions.value.get(job.id) ?? job.queue?.position ?? null;
  const why = job.attempt > 0 && job.error ? ` · comes again after: ${job.error.title.toLowerCase()}` : "";
  return (
    <p class="state">
      {before === null ? "waits in its queue" : before === 0 ? "next in its queue" : before >= 1000 ? "1000 or more before it" : `${before} before it`}
      {why}
    </p>
  );
}

function Ended({ job }: { job: Job }) {
  const took = job.started_at && job.finished_at ? (Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000 : null;
  const { weights, realtime_factor: factor } = job.result as { weights?: { name: string; trained?: boolean; demo?: boolean } | null; realtime_factor?: number | null };
  const failed = job.error !== null && job.state !== "cancelled";
  return (
    <>
      <p class="state">
        {ENDS[job.state] ?? job.state}
        {took !== null && job.state === "succeeded" ? ` in ${about(took)}` : ""}
        {factor && job.state === "succeeded" ? ` · ${factor >= 10 ? Math.round(factor) : factor} × real time` : ""}
        {weights?.trained === false && <strong> · untrained weights</strong>}
        {weights?.demo && <span> · stand-in weights</span>}
      </p>
      {failed && <Failure job={job} />}
      {job.state === "succeeded" && (
        <details class="beneath">
          <summary aria-label={`Details: ${verbOf(job)}`}>Details</summary>
          <Details job={job} />
        </details>
      )}
    </>
  );
}
