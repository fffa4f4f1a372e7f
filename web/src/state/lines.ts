/** What can be done to the lines of a transcript: pure, each gives new lines. */

import type { Segment } from "./track";

export interface Line {
  text: string;
  start: number;
  end: number;
}

const LEAST_S = 0.05;

export const retext = (lines: readonly Line[], n: number, text: string): Line[] => lines.map((each, m) => (m === n ? { ...each, text } : each));

/** The words before the place `at` in the text stay, the others begin a line of their own where they are sung. */
export function split(lines: readonly Segment[], n: number, text: string, at: number): Line[] {
  const line = lines[n]!;
  const [first, second] = [text.slice(0, at).trim(), text.slice(at).trim()];
  if (!first || !second) return [...lines];
  const word = line.words[first.split(/\s+/).length];
  const share = line.start + ((line.end - line.start) * first.length) / text.length;
  const middle = Math.min(Math.max(word?.start ?? share, line.start + LEAST_S), line.end - LEAST_S);
  return lines.toSpliced(n, 1, { ...line, text: first, end: middle } as Segment, { ...line, text: second, start: middle } as Segment);
}

/** A line takes in the next one. */
export function join(lines: readonly Line[], n: number): Line[] {
  const [line, next] = [lines[n], lines[n + 1]];
  if (!line || !next) return [...lines];
  return lines.toSpliced(n, 2, { text: `${line.text} ${next.text}`, start: line.start, end: Math.max(line.end, next.end) });
}

/** A line begins here; between its neighbours' beginnings. One that would be over by then moves as a whole. */
export function startAt(lines: readonly Line[], n: number, seconds: number, duration: number): Line[] {
  const line = lines[n]!;
  const least = lines[n - 1]?.start ?? 0;
  const most = Math.max(least, Math.min(lines[n + 1]?.start ?? duration, duration - LEAST_S));
  const start = Math.min(Math.max(seconds, least), most);
  const end = start < line.end - LEAST_S ? line.end : Math.min(start + line.end - line.start, duration);
  return lines.map((each, m) => (m === n ? { text: each.text, start, end: Math.max(end, start + LEAST_S) } : each));
}

export const drop = (lines: readonly Line[], n: number): Line[] => lines.toSpliced(n, 1);
