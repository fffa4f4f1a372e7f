/** One tray for all work: by track, how far it is, how long it takes, why it failed, and how to stop it or try again. */

import { computed, effect, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Job } from "../../api/client";
import { live } from "../../api/events";
import { Icon } from "../../parts/icons";
import { about, percent } from "../../parts/text";
import { active, again, cancelAll, ended, hasFailed, hasOlder, isActive, older, ordered, overall } from "../../state/jobs";
import { toTrack } from "../../state/place";
import { lookAtQueue } from "../../state/queue";
import { attempt } from "../../state/session";
import { learn, titles } from "../../state/titles";
import { JobRow, now } from "./row";
import { ENDS, modelOf, verbOf } from "./words";
import "../../style/tray.css";

export { Doing } from "./row";
export { verbOf } from "./words";

export const open = signal(false);

const LOOK_EVERY_MS = 2000;

const FILTERS = {
  all: { title: "All", has: (_: Job) => true },
  active: { title: "Running", has: isActive },
  failed: { title: "Failed", has: hasFailed },
  done: { title: "Done", has: (job: Job) => job.state === "succeeded" || job.state === "cancelled" },
};
type Filter = keyof typeof FILTERS;
const filter = signal<Filter>("all");
const shown = computed(() => ordered.value.filter(FILTERS[filter.value].has));

export function JobsTray() {
  return (
    <>
      <Aloud />
      {open.value && <Tray />}
    </>
  );
}

function Tray() {
  const waits = active.value.some((job) => job.state === "queued");
  useEffect(() => {
    const look = () => {
      now.value = Date.now();
      if (waits && !document.hidden) lookAtQueue().catch(() => {}); // away: the next look tells
    };
    look();
    const looking = setInterval(look, LOOK_EVERY_MS);
    return () => clearInterval(looking);
  }, [waits]);
  useEffect(() => learn(shown.value.flatMap((job) => job.asset_id ?? [])), [shown.value]);
  return (
    <aside class="tray" aria-label="Jobs">
      <header>
        <h2>Jobs</h2>
        {!live.value && <span class="away">no connection: going on when it is back</span>}
        <button class="quiet" onClick={() => (open.value = false)} aria-label="Close jobs">
          <Icon name="close" />
        </button>
      </header>
      <Sum />
      <Filters />
      {shown.value.length === 0 && <p class="empty">{ordered.value.length === 0 ? "Nothing has run yet." : "None of the jobs here."}</p>}
      {groups.value.map((group) => (
        <GroupView key={group.key} group={group} />
      ))}
      {hasOlder.value && (
        <p class="older">
          <button onClick={() => attempt(older)}>Show older jobs</button>
        </p>
      )}
    </aside>
  );
}

/** All that runs at once: how far, how long at least, and the buttons for all of it. */
function Sum() {
  const failed = ordered.value.filter(hasFailed).filter((job) => !tried.value.has(job.id));
  const share = overall.value;
  const longest = Math.max(0, ...active.value.map((job) => (job.progress as { eta_s?: number | null } | null)?.eta_s ?? 0));
  if (share === null && failed.length < 2) return null;
  return (
    <div class="sum">
      {share !== null && (
        <>
          <progress max={1} value={share} aria-label="All jobs together" />
          <span class="state">
            {percent(share)} of {active.value.length} {active.value.length === 1 ? "job" : "jobs"}
            {longest > 0 ? ` · ${about(longest)} left or more` : ""}
          </span>
        </>
      )}
      <span class="spring" />
      {active.value.length > 1 && <button onClick={() => attempt(() => cancelAll(active.value))}>Cancel all</button>}
      {failed.length > 1 && <button onClick={() => attempt(() => retryAll(failed))}>Try all {failed.length} again</button>}
    </div>
  );
}

/** The failed jobs that were asked for again, from here or from elsewhere. */
const tried = computed(() => new Set(ordered.value.flatMap((job) => job.retry_of ?? [])));

async function retryAll(failed: readonly Job[]): Promise<void> {
  for (const job of failed) await again(job);
}

function Filters() {
  return (
    <div class="filters" role="group" aria-label="Which jobs">
      {(Object.keys(FILTERS) as Filter[]).map((name) => {
        const count = name === "all" ? 0 : ordered.value.filter(FILTERS[name].has).length;
        return (
          <button key={name} aria-pressed={filter.value === name} onClick={() => (filter.value = name)}>
            {FILTERS[name].title}
            {count > 0 && <span class="figure">{count}</span>}
          </button>
        );
      })}
    </div>
  );
}

// ── by track ─────────────────────────────────────────────────────────────────────────────────────────

interface Group {
  key: string;
  track: string | null;
  name: string;
  jobs: Job[];
}

/** In the order of their first jobs, so that what runs stands above. */
const groups = computed<Group[]>(() => {
  const found = new Map<string, Group>();
  for (const job of shown.value) {
    const title = job.asset_id ? titles.value.get(job.asset_id) : null;
    const track = title?.track ?? job.asset_id;
    const key = track ?? job.operation;
    const group = found.get(key) ?? { key, track, name: title?.name ?? (job.asset_id ? "…" : job.operation === "pull" ? "Models" : "Deleted recordings"), jobs: [] };
    group.jobs.push(job);
    found.set(key, group);
  }
  return [...found.values()];
});

function GroupView({ group }: { group: Group }) {
  const href = group.track ? toTrack(group.track) : group.key === "pull" ? "#/models" : null;
  return (
    <section class="group" aria-label={group.name}>
      <h3>{href ? <a href={href}>{group.name}</a> : group.name}</h3>
      <ul>
        {group.jobs.map((job) => (
          <JobRow key={job.id} job={job} />
        ))}
      </ul>
    </section>
  );
}

// ── for who does not look ────────────────────────────────────────────────────────────────────────────

/** What has ended, said by a screen reader when it has nothing else to say. */
function Aloud() {
  const last = ended.value.at(-1);
  return (
    <div class="hidden" aria-live="polite" data-about="jobs">
      {last && `${verbOf(last)} with ${modelOf(last)}: ${ENDS[last.state] ?? last.state}`}
    </div>
  );
}

const TITLE = document.title;

effect(() => {
  document.title = overall.value === null ? TITLE : `${percent(overall.value)} · ${TITLE}`;
});
