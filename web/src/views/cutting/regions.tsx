/** The regions of a lane: heard, named, deleted. */

import { Icon } from "../../parts/icons";
import { clock } from "../../parts/text";
import * as audition from "../../state/audition";
import type { Region, Regions } from "../../state/regions";
import { attempt } from "../../state/session";
import type { Track } from "../../state/track";

export function RegionList({ track, regions }: { track: Track; regions: Regions }) {
  const selected = track.selection.value;
  return (
    <>
      <button class="marking" disabled={selected === null} onClick={() => selected && attempt(() => regions.add(selected.start, selected.end))} title="R">
        <Icon name="plus" /> Mark the selection
      </button>
      {regions.items.value.length > 0 && (
        <ul class="regions" aria-label="Regions">
          {regions.items.value.map((region) => (
            <Row key={region.id} track={track} regions={regions} region={region} />
          ))}
        </ul>
      )}
    </>
  );
}

function Row({ track, regions, region }: { track: Track; regions: Regions; region: Region }) {
  const end = region.end_s ?? region.start_s;
  const name = region.name ?? "the region";
  const heard = audition.region.value === region.id;
  const go = () => {
    track.selection.value = { start: region.start_s, end };
    track.seek(region.start_s);
  };
  return (
    <li>
      <button class="quiet" aria-pressed={heard} onClick={() => audition.hearRegion(track, region)} aria-label={`Hear ${name}`}>
        <Icon name={heard ? "pause" : "play"} />
      </button>
      <input value={region.name ?? ""} maxLength={200} aria-label="Name of the region" onChange={(event) => attempt(() => regions.change(region, { name: event.currentTarget.value.trim() || null }))} />
      <button class="quiet figure" onClick={go} aria-label={`Go to ${name}`}>
        {clock(region.start_s, true)} – {clock(end, true)}
      </button>
      <button class="quiet" onClick={() => attempt(() => regions.remove(region))} aria-label={`Delete ${name}`}>
        <Icon name="trash" />
      </button>
    </li>
  );
}
