/** Why a job ended badly: what happened, what to do, and on demand all that somebody needs who looks into it. */

import { useSignal } from "@preact/signals";
import type { Job } from "../../api/client";
import { reasonOf } from "./words";

export function Failure({ job }: { job: Job }) {
  if (!job.error) return null;
  return (
    <div class="failure">
      <p class="why">
        {reasonOf(job)} <Mend text={job.error.mend} />
        {job.error.code.startsWith("weights-") && job.operation !== "pull" && <a href="#/models">See Models.</a>}
      </p>
      <details>
        <summary>Details</summary>
        <Details job={job} />
      </details>
    </div>
  );
}

/** What to do; a command in it looks like one. */
function Mend({ text }: { text: string }) {
  return <span class="mend">{text.split("`").map((part, n) => (n % 2 ? <code key={n}>{part}</code> : part))} </span>;
}

interface Ran {
  weights?: { name: string; sha256: string; source: string } | null;
  device?: string;
  precision?: string;
  timings?: Record<string, number>;
}

export function Details({ job }: { job: Job }) {
  const { weights, device, precision, timings } = job.result as Ran;
  const rows: [string, string | null | undefined][] = [
    ["Message", job.error?.detail],
    ["Code", job.error?.code],
    ["Attempts", `${job.attempt} of ${job.max_attempts}`],
    ["Model", job.model.split("@")[0]],
    ["Weights", weights && `${weights.name} (${weights.source}), ${weights.sha256.slice(0, 12)}…`],
    ["Ran on", device && `${device}, ${precision}`],
    ["Worker", job.worker],
    ["Seconds", timings && Object.entries(timings).map(([stage, s]) => `${stage.replace(/_s$/, "")} ${s.toFixed(1)}`).join(", ")],
  ];
  return (
    <dl class="details">
      {rows.map(([name, value]) => value && (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
      <div>
        <dt>Job</dt>
        <dd><Copied text={job.id} /></dd>
      </div>
    </dl>
  );
}

/** An id that can be taken along to a log. */
function Copied({ text }: { text: string }) {
  const done = useSignal(false);
  const copy = () =>
    void navigator.clipboard?.writeText(text).then(
      () => (done.value = true),
      () => {}, // it can be selected by hand
    );
  return (
    <>
      <code>{text}</code>{" "}
      {navigator.clipboard && <button class="quiet" onClick={copy} aria-label="Copy the job's id">{done.value ? "copied" : "Copy"}</button>}
    </>
  );
}
