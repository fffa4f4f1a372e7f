/** Where an edge lands when it snaps: pure. Times are seconds of the song. */

export const SNAPS = { off: "Free", beat: "Beats", onset: "Onsets", zero: "Zero crossings" } as const;
export type Snap = keyof typeof SNAPS;

/** How far a zero crossing may be away. */
export const ZERO_WITHIN_S = 0.02;
/** The server keeps microseconds. */
const SAME_S = 1e-4;

/** Of rising places the one that is nearest; without any the edge stays. */
export function nearest(at: number, places: readonly number[]): number {
  let [low, high] = [0, places.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle]! < at) low = middle + 1;
    else high = middle;
  }
  const [before, behind] = [places[low - 1], places[low]];
  if (before === undefined) return behind ?? at;
  return behind === undefined || at - before <= behind - at ? before : behind;
}

/** Of rising places the one that follows, or with -1 the one before; at the last the edge stays. */
export function next(at: number, by: 1 | -1, places: readonly number[]): number {
  return (by === 1 ? places.find((each) => each > at + SAME_S) : places.findLast((each) => each < at - SAME_S)) ?? at;
}

/**
 * The nearest sample at which the mean of the channels has changed its sign, or is nought: the slicer's own rule.
 * `planes` begin at the frame `first`. Where none is the edge stays.
 */
export function crossing(at: number, planes: readonly Float32Array[], first: number, rate: number): number {
  const mean = (n: number) => planes.reduce((sum, plane) => sum + plane[n]!, 0);
  const wanted = at * rate;
  let found: number | null = null;
  for (let n = 1; n < (planes[0]?.length ?? 0); n++) {
    if (mean(n - 1) * mean(n) > 0) continue;
    const frame = first + n;
    if (found === null || Math.abs(frame - wanted) < Math.abs(found - wanted)) found = frame;
  }
  return found === null ? at : found / rate;
}
