/** A region or a sample heard at once, one at a time: the region from the song, the sample from its file. */

import { effect, signal } from "@preact/signals";
import type { Asset } from "../api/client";
import * as preview from "./preview";
import type { Region } from "./regions";
import { complain } from "./session";
import type { Track } from "./track";

export const region = signal<string | null>(null);
/** A sample, by the id of its asset. */
export const sample = preview.heard;
let stop: () => void = () => undefined;

/** The song from the region's beginning to its end, with the lanes as they are mixed. The same again stops it. */
export function hearRegion(track: Track, wanted: Region): void {
  const again = region.value === wanted.id;
  hush();
  const { engine } = track;
  if (again || !engine) return;
  const end = wanted.end_s ?? track.duration.value;
  engine.pause();
  engine.loop.value = null; // it would lead elsewhere
  track.seek(wanted.start_s);
  region.value = wanted.id;
  stop = () => {
    region.value = null;
    engine.pause();
  };
  engine.play(end).then(() => region.value === wanted.id && watch(track), complain);
}

export function hearSample(track: Track, wanted: Asset): void {
  const again = sample.value === wanted.id;
  hush();
  if (again) return;
  track.engine?.pause();
  preview.hear(wanted);
}

export function hush(): void {
  preview.hush();
  stop();
  stop = () => undefined;
}

/** Until its end, or until somebody pauses. */
function watch(track: Track): void {
  const halt = stop;
  const off = effect(() => {
    if (!track.engine!.playing.value) queueMicrotask(hush);
  });
  stop = () => {
    off();
    halt();
  };
}
