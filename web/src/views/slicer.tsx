/** Cut a lane into samples: by the regions that somebody drew, or where the sound itself says so. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { contentUrl, type Asset } from "../api/client";
import { Icon } from "../parts/icons";
import { clock } from "../parts/text";
import { order } from "../state/jobs";
import { Regions, type Region } from "../state/regions";
import { attempt, complain } from "../state/session";
import type { Lane, Track } from "../state/track";

const METHODS: Record<string, string> = {
  regions: "The regions below",
  onsets: "Every onset",
  grid: "Every beat",
  equal: "Equal parts",
  silence: "Between silences",
};

export function Slicer({ track, lane }: { track: Track; lane: Lane }) {
  const regions = useSignal<Regions | null>(null);
  useEffect(() => {
    const mine = new Regions(lane.asset.id);
    mine.load().then(() => (regions.value = mine)).catch(complain);
    track.regions.value = mine;
    return () => {
      mine.close();
      track.regions.value = null;
    };
  }, [lane.asset.id]);
  if (regions.value === null) return null;
  return (
    <section class="slicer" aria-label={`Samples of ${lane.label}`}>
      <h2>Samples of {lane.label}</h2>
      <Cutter track={track} lane={lane} regions={regions.value} />
      <RegionList track={track} regions={regions.value} />
      <SampleList track={track} lane={lane} />
    </section>
  );
}

function Cutter({ track, lane, regions }: { track: Track; lane: Lane; regions: Regions }) {
  const method = useSignal("onsets");
  const sensitivity = useSignal(0.5);
  const marked = regions.items.value.filter((each) => each.end_s !== null);
  const busy = track.jobs.value.some((job) => job.operation === "slice" && job.asset_id === lane.asset.id);
  const selected = track.selection.value;
  const cut = () => {
    const params: Record<string, unknown> = { method: method.value };
    if (method.value === "regions") params.region_ids = marked.map((each) => each.id);
    if (method.value === "onsets") params.sensitivity = sensitivity.value;
    attempt(() => order({ operation: "slice", assets: [lane.asset.id], params }));
  };
  return (
    <div class="cutter">
      <button disabled={selected === null} onClick={() => selected && attempt(() => regions.add(selected.start, selected.end))} title="R">
        <Icon name="plus" /> Mark the selection
      </button>
      <label>
        <span class="hidden">Cut at</span>
        <select value={method.value} onChange={(event) => (method.value = event.currentTarget.value)}>
          {Object.entries(METHODS).map(([name, title]) => (
            <option key={name} value={name}>{title}</option>
          ))}
        </select>
      </label>
      {method.value === "onsets" && (
        <label class="slider">
          Sensitivity
          <input type="range" min={0} max={1} step={0.05} value={sensitivity.value} onInput={(event) => (sensitivity.value = event.currentTarget.valueAsNumber)} />
        </label>
      )}
      <button class="primary" disabled={busy || (method.value === "regions" && marked.length === 0)} onClick={cut}>
        <Icon name="cut" /> Slice
      </button>
    </div>
  );
}

function RegionList({ track, regions }: { track: Track; regions: Regions }) {
  if (regions.items.value.length === 0) return null;
  return (
    <ul class="regions" aria-label="Regions">
      {regions.items.value.map((region) => (
        <RegionRow key={region.id} track={track} regions={regions} region={region} />
      ))}
    </ul>
  );
}

function RegionRow({ track, regions, region }: { track: Track; regions: Regions; region: Region }) {
  const end = region.end_s ?? region.start_s;
  const hear = () => {
    track.selection.value = { start: region.start_s, end };
    track.seek(region.start_s);
  };
  return (
    <li>
      <input value={region.name ?? ""} maxLength={200} aria-label="Name of the region" onChange={(event) => attempt(() => regions.change(region, { name: event.currentTarget.value.trim() || null }))} />
      <button class="quiet figure" onClick={hear} aria-label={`Go to ${region.name ?? "the region"}`}>
        {clock(region.start_s, true)} – {clock(end, true)}
      </button>
      <button class="quiet" onClick={() => attempt(() => regions.remove(region))} aria-label={`Delete ${region.name ?? "the region"}`}>
        <Icon name="trash" />
      </button>
    </li>
  );
}

function SampleList({ track, lane }: { track: Track; lane: Lane }) {
  const samples = track.children.value
    .filter((each) => each.role === "sample" && each.parent_id === lane.asset.id)
    .sort((a, b) => startOf(a) - startOf(b));
  if (samples.length === 0) return null;
  return (
    <ul class="samples" aria-label="Samples">
      {samples.map((each) => (
        <Sample key={each.id} sample={each} />
      ))}
    </ul>
  );
}

const startOf = (sample: Asset): number => Number((sample.facts as { start_s?: number }).start_s ?? 0);

function Sample({ sample }: { sample: Asset }) {
  const kind = (sample.facts as { class?: string | null }).class;
  return (
    <li>
      <button onClick={() => attempt(() => new Audio(contentUrl(sample.id)).play())} aria-label={`Hear ${sample.name}`}>
        <Icon name="play" /> {kind ?? "sample"}
      </button>
      <span class="figure">{startOf(sample).toFixed(2)} s</span>
      <a class="quiet button" href={contentUrl(sample.id) + "?download=true"} download aria-label={`Download ${sample.name}`}>
        <Icon name="download" />
      </a>
    </li>
  );
}
