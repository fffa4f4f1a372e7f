/** Where slicing will cut, told before it does: the slicer's own arithmetic, in frames of the recording. Pure. */

import type { Schemas } from "../api/client";

export type Onsets = Schemas["FoundOnsets"];

/** What is asked of every job here, so that both count alike. */
export const MIN_MS = 50;
export const MOST = 128;
export const MOST_PARTS = 1000;

export interface Cuts {
  sampleRate: number;
  /** Where slices begin and end, rising. */
  lines: readonly number[];
  /** How many slices are made, and how many there were before only the first ones are. */
  slices: number;
  found: number;
}

/** From each onset that the sensitivity finds to the next, the last to the end. */
export function byOnsets(onsets: Onsets, sensitivity: number): Cuts {
  const found = onsets.start_frames.filter((_, n) => onsets.sensitivities[n]! <= sensitivity);
  const starts = apart(found, onsets.sample_rate);
  if (starts.length === 0 && !onsets.silent) starts.push(0);
  return first(starts.length ? [...starts, onsets.frames] : [], onsets.sample_rate);
}

/** From beat to beat, and one slice more as long as the one before it or to the end. */
export function byBeats(beats: readonly number[], sampleRate: number, frames: number): Cuts {
  const starts = apart([...new Set(beats.map((at) => nearestEven(at * sampleRate)))].filter((at) => at < frames), sampleRate);
  if (starts.length === 0) return first([], sampleRate);
  const [before, last] = [starts.at(-2), starts.at(-1)!];
  const end = before === undefined ? frames : Math.min(2 * last - before, frames);
  const short = before !== undefined && end - last < (MIN_MS / 1000) * sampleRate;
  return first(short ? starts : [...starts, end], sampleRate);
}

export function byParts(parts: number, sampleRate: number, frames: number): Cuts {
  const good = Number.isInteger(parts) && parts >= 1 && parts <= Math.min(MOST_PARTS, frames);
  const lines = good ? Array.from({ length: parts + 1 }, (_, n) => Math.floor((frames * n) / parts)) : [];
  return first(lines, sampleRate, Infinity);
}

/** Without those that follow another one too soon. */
function apart(lines: readonly number[], sampleRate: number): number[] {
  const least = Math.max((MIN_MS / 1000) * sampleRate, 1);
  const kept: number[] = [];
  for (const line of lines) if (kept.length === 0 || line - kept.at(-1)! >= least) kept.push(line);
  return kept;
}

function first(lines: readonly number[], sampleRate: number, most: number = MOST): Cuts {
  const found = Math.max(0, lines.length - 1);
  const slices = Math.min(found, most);
  return { sampleRate, lines: lines.slice(0, slices && slices + 1), slices, found };
}

/** Halves go to the even neighbour, as on the server. */
function nearestEven(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
