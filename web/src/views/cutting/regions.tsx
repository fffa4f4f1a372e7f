/** The regions and markers of a lane: heard, named, moved, deleted. */

import { Icon } from "../../parts/icons";
import { clock } from "../../parts/text";
import * as audition from "../../state/audition";
import { mark, nudge } from "../../state/marking";
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
      <button class="marking" onClick={() => attempt(() => mark(track, track.position.peek()))} title="K, or twice on the ruler">
        <Icon name="plus" /> Marker
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
  const name = region.name ?? "the region";
  const heard = audition.region.value === region.id;
  const go = () => {
    if (region.end_s !== null) track.selection.value = { start: region.start_s, end: region.end_s };
    track.seek(region.start_s);
  };
  const press = (event: KeyboardEvent) => {
    if ((event.target as HTMLElement).matches("input")) return;
    const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : null;
    if (by !== null) attempt(() => nudge(track, regions, region, event.ctrlKey ? "end_s" : "start_s", by, event.shiftKey));
    else if (event.key === "Delete") attempt(() => regions.remove(region));
    else return;
    event.preventDefault();
    event.stopPropagation(); // elsewhere arrows move the playhead
  };
  return (
    <li onKeyDown={press}>
      <button class="quiet" aria-pressed={heard} onClick={() => audition.hearRegion(track, region)} aria-label={`Hear ${name}`}>
        <Icon name={heard ? "pause" : "play"} />
      </button>
      <input value={region.name ?? ""} maxLength={200} aria-label="Name of the region" onChange={(event) => attempt(() => regions.change(region, { name: event.currentTarget.value.trim() || null }))} />
      <button class="quiet figure" onClick={go} aria-label={`Go to ${name}`}>
        {clock(region.start_s, true)}
        {region.end_s !== null && ` – ${clock(region.end_s, true)}`}
      </button>
      <button class="quiet" onClick={() => attempt(() => regions.remove(region))} aria-label={`Delete ${name}`}>
        <Icon name="trash" />
      </button>
    </li>
  );
}
