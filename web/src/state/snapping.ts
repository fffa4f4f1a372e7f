/** What edges snap to in the open track, as somebody chose it; Alt suspends it. */

import { signal } from "@preact/signals";
import { analysisOf } from "./analysis";
import { crossing, nearest, ZERO_WITHIN_S, type Snap } from "./snap";
import type { Track } from "./track";

export const snap = signal<Snap>("off");
/** Whether beats are drawn. */
export const grid = signal(false);

export const beatsOf = (track: Track): readonly number[] => analysisOf(track.id).value?.beats ?? [];

/** Of the lane that has the focus. */
export function onsetsOf(track: Track): readonly number[] {
  const lane = track.focused.value;
  return lane === null ? [] : (analysisOf(lane).value?.onsets ?? []).map((each) => each.time);
}

/** While it is dragged. */
export function snapped(track: Track, at: number, event: { altKey: boolean }): number {
  if (event.altKey) return at;
  if (snap.value === "beat") return nearest(at, beatsOf(track));
  if (snap.value === "onset") return nearest(at, onsetsOf(track));
  return at;
}

/** Where it was let go: a zero crossing is looked for in the samples around, of which a drag would fetch too many. */
export async function settled(track: Track, at: number, event: { altKey: boolean }): Promise<number> {
  const { engine } = track;
  const lane = track.focused.value;
  if (event.altKey || snap.value !== "zero" || !engine || lane === null) return snapped(track, at, event);
  const rate = engine.context.sampleRate;
  const first = Math.max(0, Math.floor((at - ZERO_WITHIN_S) * rate));
  const planes = await engine.read(lane, first, Math.ceil(2 * ZERO_WITHIN_S * rate));
  return crossing(at, planes, first, rate);
}
