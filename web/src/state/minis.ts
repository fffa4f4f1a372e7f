/** Small waveforms for cards: one small request each, a few at a time, only for what is still on the screen. */

import { signal, type Signal } from "@preact/signals";
import type { Asset } from "../api/client";
import { Kept } from "./kept";

const LEVELS = [1024, 4096, 16384, 65536, 262144];
const POINTS = 100;
const SIDE_BY_SIDE = 3;
const HEAD_BYTES = 24;

/** The loudest of each point, 0 to 1. */
export type Mini = Float32Array;

const known = new Kept<Signal<Mini | null>>(600);
const asked: Asset[] = [];
let running = 0;

export function mini(asset: Asset): Signal<Mini | null> {
  return known.of(asset.id, () => {
    asked.push(asset);
    pump();
    return signal<Mini | null>(null);
  });
}

/** It left the screen: do not fetch what nobody waits for. */
export function unask(asset: Asset): void {
  const place = asked.indexOf(asset);
  if (place < 0) return;
  asked.splice(place, 1);
  known.delete(asset.id);
}

function pump(): void {
  while (running < SIDE_BY_SIDE) {
    const asset = asked.pop(); // what was asked last is looked at now
    if (!asset) return;
    running++;
    read(asset)
      .then((peaks) => {
        const waiting = known.get(asset.id);
        if (waiting) waiting.value = peaks;
      })
      .catch(() => known.delete(asset.id))
      .finally(() => {
        running--;
        pump();
      });
  }
}

async function read(asset: Asset): Promise<Mini> {
  const frames = asset.audio?.frames ?? 0;
  const level = LEVELS.findLast((each) => frames / each >= POINTS) ?? LEVELS[0]!;
  const response = await fetch(`/api/v1/assets/${asset.id}/peaks?format=bin&bits=8&channels=mix&level=${level}`, { credentials: "same-origin" });
  if (response.status !== 200) throw new Error(String(response.status));
  const numbers = new Int8Array(await response.arrayBuffer(), HEAD_BYTES);
  const peaks = new Float32Array(numbers.length / 2);
  for (let n = 0; n < peaks.length; n++) peaks[n] = Math.max(-numbers[2 * n]!, numbers[2 * n + 1]!) / 128;
  return peaks;
}
