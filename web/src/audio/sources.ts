/** Where the sound of a lane comes from, a piece at a time. */

import { contentUrl, type Asset, Problem } from "../api/client";
import { bytesOf, openWav, planes, type Layout } from "./pcm";

export interface Source {
  readonly frames: number;
  readonly sampleRate: number;
  /** One Float32Array a channel, shorter at the end of the recording. */
  read(start: number, frames: number, signal?: AbortSignal): Promise<Float32Array[]>;
}

class Ranged implements Source {
  readonly frames: number;
  readonly sampleRate: number;

  constructor(
    private readonly asset: string,
    private readonly layout: Layout,
  ) {
    this.frames = layout.frames;
    this.sampleRate = layout.sampleRate;
  }

  async read(start: number, frames: number, signal?: AbortSignal): Promise<Float32Array[]> {
    const { channels, width, offset } = this.layout;
    const stop = Math.min(start + frames, this.frames);
    if (stop <= start) return Array.from({ length: channels }, () => new Float32Array(0));
    const step = channels * width;
    return planes(await bytesOf(this.asset, offset + start * step, offset + stop * step, signal), this.layout);
  }
}

class Decoded implements Source {
  readonly frames: number;
  readonly sampleRate: number;

  constructor(private readonly buffer: AudioBuffer) {
    this.frames = buffer.length;
    this.sampleRate = buffer.sampleRate;
  }

  read(start: number, frames: number): Promise<Float32Array[]> {
    const channels = Array.from({ length: this.buffer.numberOfChannels }, (_, n) => n);
    return Promise.resolve(channels.map((n) => this.buffer.getChannelData(n).slice(start, start + frames)));
  }
}

/** WAV is read in pieces; everything else the browser decodes whole, at the context's rate. */
export async function openSource(asset: Asset, context: BaseAudioContext): Promise<Source> {
  if (asset.audio?.format === "wav") {
    const layout = await openWav(asset.id, asset.blob.bytes);
    if (layout !== null && layout.sampleRate === context.sampleRate) return new Ranged(asset.id, layout);
  }
  const response = await fetch(contentUrl(asset.id), { credentials: "same-origin" });
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
  return new Decoded(await context.decodeAudioData(await response.arrayBuffer()));
}
