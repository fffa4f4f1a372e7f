/** The samples of a lane: heard, chosen, taken along as files, a zip or a kit. */

import { useSignal } from "@preact/signals";
import { contentUrl, type Asset } from "../../api/client";
import { Icon } from "../../parts/icons";
import * as audition from "../../state/audition";
import { drop } from "../../state/library";
import { exportZip, factsOf, isPlayable, kitUrl, samplesOf } from "../../state/samples";
import { attempt } from "../../state/session";
import type { Lane, Track } from "../../state/track";

export function Samples({ track, lane }: { track: Track; lane: Lane }) {
  const chosen = useSignal<ReadonlySet<string>>(new Set());
  const samples = samplesOf(track, lane.asset.id);
  if (samples.length === 0) return null;
  const picked = samples.filter((each) => chosen.value.has(each.id));
  const choose = (id: string) => {
    const all = new Set(chosen.value);
    if (!all.delete(id)) all.add(id);
    chosen.value = all;
  };
  const takeAway = () => attempt(() => drop(picked.map((each) => each.id)).then(() => (chosen.value = new Set())));
  return (
    <>
      <div class="taking">
        <label class="switch">
          <input type="checkbox" checked={picked.length === samples.length} onChange={(event) => (chosen.value = new Set(event.currentTarget.checked ? samples.map((each) => each.id) : []))} />
          {picked.length ? `${picked.length} of ${samples.length}` : `All ${samples.length}`}
        </label>
        <span class="spring" />
        <button class="quiet" disabled={picked.length === 0} onClick={takeAway} aria-label="Move the chosen samples to the trash" title="To the trash"><Icon name="trash" /></button>
        <button onClick={() => attempt(() => exportZip(picked.length ? picked : samples))}>
          <Icon name="download" /> {picked.length ? `Zip of ${picked.length}` : "Zip of all"}
        </button>
        {samples.some(isPlayable) && (
          <a class="button" href={kitUrl(lane.asset.id)} download title="A sampler kit (SFZ) of all one-shots">
            <Icon name="grid" /> Kit
          </a>
        )}
      </div>
      <ul class="samples" aria-label="Samples">
        {samples.map((each) => (
          <Sample key={each.id} track={track} sample={each} chosen={chosen.value.has(each.id)} choose={() => choose(each.id)} />
        ))}
      </ul>
    </>
  );
}

function Sample({ track, sample, chosen, choose }: { track: Track; sample: Asset; chosen: boolean; choose: () => void }) {
  const { class: kind, confidence, start_s, end_s } = factsOf(sample);
  const heard = audition.sample.value === sample.id;
  return (
    <li class={heard ? "heard" : ""}>
      <input type="checkbox" checked={chosen} onChange={choose} aria-label={`Choose ${sample.name}`} />
      <button class="quiet" aria-pressed={heard} onClick={() => audition.hearSample(track, sample)} aria-label={`Hear ${sample.name}`}>
        <Icon name={heard ? "pause" : "play"} />
      </button>
      <span class="name" title={sample.name}>{sample.name}</span>
      {kind && <span class="tag" title={confidence === null ? undefined : `${Math.round(confidence * 100)} % sure`}>{kind}</span>}
      <button class="quiet figure" onClick={() => track.seek(start_s)} aria-label={`Go to where ${sample.name} begins`} title={`at ${start_s.toFixed(2)} s`}>{(end_s - start_s).toFixed(2)} s</button>
      <a class="quiet button" href={contentUrl(sample.id) + "?download=true"} download aria-label={`Download ${sample.name}`}>
        <Icon name="download" />
      </a>
    </li>
  );
}
