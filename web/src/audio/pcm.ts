/** WAV files read by byte ranges: any second of a long stem costs only its own bytes, and needs no decoder. */

import { contentUrl, Problem } from "../api/client";

export interface Layout {
  sampleRate: number;
  channels: number;
  frames: number;
  /** Bytes of one sample of one channel. */
  width: number;
  float: boolean;
  /** Where the first frame is. */
  offset: number;
}

const HEAD_BYTES = 64 * 1024;
const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;

/** Find `fmt ` and `data` in the beginning of a RIFF or RF64 file. Null: it is none that we read. */
export function layoutOf(head: DataView): Layout | null {
  const text = (at: number) => String.fromCharCode(...[0, 1, 2, 3].map((n) => head.getUint8(at + n)));
  if (head.byteLength < 12 || !["RIFF", "RF64"].includes(text(0)) || text(8) !== "WAVE") return null;
  let at = 12;
  let long = 0; // of the data, in RF64
  let format: Pick<Layout, "sampleRate" | "channels" | "width" | "float"> | null = null;
  while (at + 8 <= head.byteLength) {
    const name = text(at);
    const size = head.getUint32(at + 4, true);
    if (name === "ds64" && at + 24 <= head.byteLength) long = Number(head.getBigUint64(at + 16, true));
    if (name === "fmt " && at + 24 <= head.byteLength) {
      const tag = head.getUint16(at + 8, true);
      const kind = tag === EXTENSIBLE && at + 34 <= head.byteLength ? head.getUint16(at + 32, true) : tag;
      const width = head.getUint16(at + 22, true) / 8;
      if (!(kind === PCM && [2, 3, 4].includes(width)) && !(kind === FLOAT && width === 4)) return null;
      format = {
        channels: head.getUint16(at + 10, true),
        sampleRate: head.getUint32(at + 12, true),
        width,
        float: kind === FLOAT,
      };
    }
    if (name === "data") {
      if (format === null) return null;
      const bytes = size === 0xffffffff ? long : size;
      return { ...format, offset: at + 8, frames: Math.floor(bytes / (format.channels * format.width)) };
    }
    at += 8 + size + (size % 2);
  }
  return null;
}

/** Interleaved little-endian samples as one Float32Array a channel, full scale 1. */
export function planes(bytes: DataView, layout: Layout): Float32Array[] {
  const { channels, width, float } = layout;
  const frames = Math.floor(bytes.byteLength / (channels * width));
  const out = Array.from({ length: channels }, () => new Float32Array(frames));
  for (let channel = 0; channel < channels; channel++) {
    const plane = out[channel]!;
    let at = channel * width;
    const step = channels * width;
    if (float) for (let n = 0; n < frames; n++, at += step) plane[n] = bytes.getFloat32(at, true);
    else if (width === 2) for (let n = 0; n < frames; n++, at += step) plane[n] = bytes.getInt16(at, true) / 0x8000;
    else if (width === 4) for (let n = 0; n < frames; n++, at += step) plane[n] = bytes.getInt32(at, true) / 0x80000000;
    else
      for (let n = 0; n < frames; n++, at += step)
        plane[n] = (bytes.getUint16(at, true) | (bytes.getInt8(at + 2) << 16)) / 0x800000;
  }
  return out;
}

/** Bytes [start, stop) of an asset. */
export async function bytesOf(asset: string, start: number, stop: number, signal?: AbortSignal): Promise<DataView> {
  const response = await fetch(contentUrl(asset), {
    headers: { Range: `bytes=${start}-${stop - 1}` },
    credentials: "same-origin",
    ...(signal ? { signal } : {}),
  });
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
  return new DataView(await response.arrayBuffer());
}

/** The layout of an asset that is a WAV file, else null. */
export async function openWav(asset: string, bytes: number): Promise<Layout | null> {
  return layoutOf(await bytesOf(asset, 0, Math.min(bytes, HEAD_BYTES)));
}
