/** Waveforms as the server computed them: coarse for the whole, finer for the part that is looked at. */

import { signal, type Signal } from "@preact/signals";
import { rendered } from "../api/rendered";

export interface Peaks {
  /** Seconds at the first point, and of one point. */
  start: number;
  step: number;
  /** Lowest and highest sample of each point, -1 to 1. */
  low: Float32Array;
  high: Float32Array;
}

const LEVELS = [64, 256, 1024, 4096, 16384];
const OVERVIEW = 4096;
const HEAD_BYTES = 24;

/** audiowaveform's data format, version 2, 16 bits, one channel. */
function unfold(data: DataView, from: number): Peaks {
  const sampleRate = data.getInt32(8, true);
  const perPoint = data.getInt32(12, true);
  const length = data.getUint32(16, true);
  const low = new Float32Array(length);
  const high = new Float32Array(length);
  for (let n = 0, at = HEAD_BYTES; n < length; n++, at += 4) {
    low[n] = data.getInt16(at, true) / 0x8000;
    high[n] = data.getInt16(at + 2, true) / 0x8000;
  }
  const step = perPoint / sampleRate;
  return { start: Math.floor(from / step) * step, step, low, high };
}

async function fetchPeaks(asset: string, level: number, range?: { start: number; end: number }): Promise<Peaks> {
  const query = new URLSearchParams({ format: "bin", bits: "16", channels: "mix", level: String(level) });
  if (range) {
    query.set("start_s", range.start.toFixed(3));
    query.set("end_s", range.end.toFixed(3));
  }
  const response = await rendered(`/api/v1/assets/${asset}/peaks?${query}`);
  return unfold(new DataView(await response.arrayBuffer()), range?.start ?? 0);
}

/** The waveform of one asset, which grows sharper where somebody looks. */
export class Wave {
  readonly overview: Signal<Peaks | null> = signal(null);
  readonly detail: Signal<Peaks | null> = signal(null);
  private wanted = "";

  constructor(
    readonly asset: string,
    readonly duration: number,
    readonly sampleRate: number,
  ) {}

  async open(): Promise<void> {
    this.overview.value = await fetchPeaks(this.asset, OVERVIEW);
  }

  /** What to draw for a view this wide: fetches what is sharper when the view needs it. */
  look(start: number, end: number, pixels: number): Peaks | null {
    const perPixel = ((end - start) * this.sampleRate) / Math.max(1, pixels);
    const level = LEVELS.findLast((each) => each <= perPixel) ?? LEVELS[0]!;
    const overview = this.overview.value;
    if (level >= OVERVIEW || overview === null) return overview;
    const detail = this.detail.value;
    const step = level / this.sampleRate;
    if (detail && detail.step <= step * 1.01 && covers(detail, start, end)) return detail;
    this.sharpen(level, start, end);
    return detail && covers(detail, start, end) ? detail : overview;
  }

  private sharpen(level: number, start: number, end: number): void {
    const width = end - start;
    // On whole points of the coarsest level, so that neighbouring looks ask for the same.
    const grid = width / 2;
    const from = Math.max(0, Math.floor((start - width / 2) / grid) * grid);
    const to = Math.min(this.duration, Math.ceil((end + width / 2) / grid) * grid);
    const key = `${level} ${from} ${to}`;
    if (key === this.wanted) return;
    this.wanted = key;
    fetchPeaks(this.asset, level, { start: from, end: to })
      .then((peaks) => {
        if (this.wanted === key) this.detail.value = peaks;
      })
      .catch(() => {
        this.wanted = ""; // the overview stays; the next look asks again
      });
  }
}

function covers(peaks: Peaks, start: number, end: number): boolean {
  return peaks.start <= start + 1e-6 && peaks.start + peaks.step * (peaks.low.length + 1) >= Math.min(end, Infinity) - 1e-6;
}
