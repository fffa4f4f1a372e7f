/** Markers set and edges moved without dragging: where they land follows what is chosen to snap to. */

import { next, type Snap } from "./snap";
import { beatsOf, onsetsOf, settled, snap } from "./snapping";
import type { Region, Regions } from "./regions";
import type { Track } from "./track";

const STEP_S = 0.01;
const FINE_STEP_S = 0.001;
const LEAST_S = 0.001;

const PLACES: Partial<Record<Snap, (track: Track) => readonly number[]>> = { beat: beatsOf, onset: onsetsOf };

/** A marker on the lane that has the focus; with Alt exactly there. */
export async function mark(track: Track, at: number, event: { altKey: boolean } = { altKey: false }): Promise<void> {
  await track.regions.value?.mark(await settled(track, at, event));
}

/** Move one edge to the next beat or onset, where these are snapped to, else by 10 ms; `fine`: by 1 ms. */
export async function nudge(track: Track, regions: Regions, region: Region, side: "start_s" | "end_s", by: 1 | -1, fine: boolean): Promise<void> {
  const at = region[side];
  if (at === null) return;
  const places = fine ? undefined : PLACES[snap.value]?.(track);
  const wanted = places ? next(at, by, places) : at + by * (fine ? FINE_STEP_S : STEP_S);
  const [least, most] = side === "start_s" ? [0, (region.end_s ?? track.duration.value) - LEAST_S] : [region.start_s + LEAST_S, track.duration.value];
  await regions.change(region, { [side]: Math.min(Math.max(least, wanted), most) });
}
