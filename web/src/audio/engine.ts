/**
 * Plays the lanes of a track as one: every piece of every lane is scheduled on the clock of one AudioContext, at the
 * same instant and from the same frame, so that lanes cannot drift. A lane that is late stops all of them until it is
 * there; then they go on together.
 */

import { signal } from "@preact/signals";
import { openSource, type Source } from "./sources";
import type { Asset } from "../api/client";

export interface Strip {
  gain: number;
  pan: number;
  mute: boolean;
  solo: boolean;
}

interface Lane {
  id: string;
  opening: Promise<Source>;
  input: GainNode;
  panner: StereoPannerNode;
  strip: Strip;
}

export interface Span {
  /** Context time at which `song` sounds; both in seconds. */
  at: number;
  song: number;
  duration: number;
}

/** Whoever sounds with the lanes: told what is scheduled, and when that is taken back. */
export interface Follower {
  scheduled: (span: Span) => void;
  stopped: () => void;
}

const PIECE_S = 3;
/** How far ahead pieces are scheduled. */
const AHEAD_S = 6;
const START_DELAY_S = 0.06;
const TICK_MS = 200;
const RAMP_S = 0.015;

export class Engine {
  readonly playing = signal(false);
  readonly waiting = signal(false);
  readonly error = signal<string | null>(null);
  readonly loop = signal<{ start: number; end: number } | null>(null);
  readonly context: AudioContext;
  readonly master: GainNode;
  readonly meter: AnalyserNode;
  follower: Follower | null = null;
  private lanes = new Map<string, Lane>();
  private nodes = new Set<AudioBufferSourceNode>();
  private spans: Span[] = [];
  private cursor = { song: 0, at: 0 };
  private rest = 0;
  private round = 0;
  private starting = false;
  private until: number | null = null;
  private abort = new AbortController();

  constructor(
    readonly duration: number,
    sampleRate: number,
  ) {
    this.context = new AudioContext({ sampleRate, latencyHint: "playback" });
    this.master = this.context.createGain();
    this.meter = this.context.createAnalyser();
    this.meter.fftSize = 4096;
    this.master.connect(this.meter).connect(this.context.destination);
  }

  /** Add a lane. It opens at once, so that the first play is quick. */
  add(asset: Asset, strip: Strip): void {
    if (this.lanes.has(asset.id)) return;
    const panner = this.context.createStereoPanner();
    const input = this.context.createGain();
    input.connect(panner).connect(this.master);
    const opening = openSource(asset, this.context);
    opening.catch((error: Error) => {
      this.error.value = `${asset.name}: ${error.message}`;
    });
    const lane = { id: asset.id, opening, input, panner, strip };
    this.lanes.set(asset.id, lane);
    this.settle();
  }

  set(id: string, strip: Strip): void {
    const lane = this.lanes.get(id);
    if (!lane) return;
    lane.strip = strip;
    this.settle();
  }

  /** Samples of a lane, one Float32Array a channel, at the rate of the context. */
  async read(id: string, start: number, frames: number): Promise<Float32Array[]> {
    return (await this.lanes.get(id)!.opening).read(start, frames);
  }

  /** What sounds now or will, as far as it is known. */
  get scheduled(): readonly Span[] {
    const now = this.context.currentTime;
    return this.spans.filter((span) => span.at + span.duration > now);
  }

  /** Where the song is, in seconds. */
  get position(): number {
    if (!this.playing.value) return this.rest;
    const now = this.context.currentTime;
    const span = this.spans.findLast((each) => each.at <= now) ?? this.spans[0];
    if (!span) return this.rest;
    return Math.min(span.song + Math.min(Math.max(0, now - span.at), span.duration), this.duration);
  }

  /** To the end, or until this place of the song. A browser may take its time to begin: until then, `pause` calls it off. */
  async play(until: number | null = null): Promise<void> {
    if (this.playing.value || this.starting) return;
    this.error.value = null;
    this.starting = true;
    await this.context.resume().catch((error: Error) => {
      this.starting = false;
      this.error.value = error.message;
    });
    if (!this.starting) return;
    this.starting = false;
    this.until = until;
    this.playing.value = true;
    void this.run(this.rest >= this.duration - 0.05 ? 0 : this.rest);
  }

  pause(): void {
    this.starting = false;
    this.rest = this.position;
    this.stop();
  }

  toggle(): void {
    if (this.playing.value || this.starting) this.pause();
    else void this.play();
  }

  seek(song: number): void {
    const to = Math.min(Math.max(0, song), this.duration);
    const was = this.playing.value;
    this.stop();
    this.rest = to;
    if (was) {
      this.playing.value = true;
      void this.run(to);
    }
  }

  close(): void {
    this.starting = false;
    this.stop();
    void this.context.close();
  }

  /** One solo anywhere silences what has none; mute wins over solo. */
  private settle(): void {
    const solo = [...this.lanes.values()].some((lane) => lane.strip.solo);
    for (const { input, panner, strip } of this.lanes.values()) {
      const audible = !strip.mute && (!solo || strip.solo);
      input.gain.setTargetAtTime(audible ? strip.gain : 0, this.context.currentTime, RAMP_S / 3);
      panner.pan.setTargetAtTime(strip.pan, this.context.currentTime, RAMP_S / 3);
    }
  }

  private stop(): void {
    this.round++;
    this.abort.abort();
    this.abort = new AbortController();
    for (const node of this.nodes) node.stop();
    this.nodes.clear();
    this.spans = [];
    this.follower?.stopped();
    this.until = null;
    this.playing.value = false;
    this.waiting.value = false;
  }

  /** Schedule piece after piece until the end, or until somebody stops. */
  private async run(from: number): Promise<void> {
    const round = this.round;
    const rate = this.context.sampleRate;
    this.rest = from;
    this.cursor = { song: Math.round(from * rate), at: 0 };
    try {
      while (round === this.round) {
        const now = this.context.currentTime;
        if (this.cursor.at - now > AHEAD_S) {
          await new Promise((go) => setTimeout(go, TICK_MS));
          continue;
        }
        const frames = this.pieceFrames(rate);
        if (frames <= 0) {
          await this.finish(round);
          return;
        }
        const late = setTimeout(() => (this.waiting.value = round === this.round), 150);
        const pieces = await this.fetch(this.cursor.song, frames);
        clearTimeout(late);
        if (round !== this.round) return;
        this.waiting.value = false;
        this.schedule(pieces, frames, rate);
      }
    } catch (error) {
      if (round !== this.round) return;
      this.error.value = (error as Error).message;
      this.pause();
    }
  }

  private pieceFrames(rate: number): number {
    const loop = this.loop.value;
    const end = Math.round((this.until ?? this.duration) * rate);
    let stop = Math.min(this.cursor.song + PIECE_S * rate, end);
    if (loop) {
      const [first, last] = [Math.round(loop.start * rate), Math.round(loop.end * rate)];
      if (this.cursor.song >= last || (this.cursor.song === last && last === end)) this.cursor.song = first;
      if (this.cursor.song < last) stop = Math.min(this.cursor.song + PIECE_S * rate, last);
    }
    return stop - this.cursor.song;
  }

  private async fetch(start: number, frames: number): Promise<[Lane, Float32Array[]][]> {
    const signal = this.abort.signal;
    return Promise.all(
      [...this.lanes.values()].map(async (lane): Promise<[Lane, Float32Array[]]> => {
        const source = await lane.opening;
        return [lane, await source.read(start, frames, signal)];
      }),
    );
  }

  private schedule(pieces: [Lane, Float32Array[]][], frames: number, rate: number): void {
    const nodes = pieces.flatMap(([lane, planes]) => this.prepared(lane, planes, rate));
    // The clock goes on while pieces are copied: what comes now is short, so that none begins after its instant.
    const now = this.context.currentTime;
    // Late, or the first: begin anew, all together, on a whole frame.
    if (this.cursor.at < now + 0.005) this.cursor.at = Math.ceil((now + START_DELAY_S) * rate) / rate;
    for (const node of nodes) {
      node.start(this.cursor.at);
      this.nodes.add(node);
    }
    this.spans = this.spans.filter((span) => span.at + span.duration > now - 1);
    const span = { at: this.cursor.at, song: this.cursor.song / rate, duration: frames / rate };
    this.spans.push(span);
    this.follower?.scheduled(span);
    this.cursor.song += frames;
    this.cursor.at += frames / rate;
  }

  private prepared(lane: Lane, planes: Float32Array[], rate: number): AudioBufferSourceNode[] {
    const length = planes[0]?.length ?? 0;
    if (length === 0) return [];
    const buffer = this.context.createBuffer(planes.length, length, rate);
    planes.forEach((plane, n) => buffer.copyToChannel(plane as Float32Array<ArrayBuffer>, n));
    const node = this.context.createBufferSource();
    node.buffer = buffer;
    node.connect(lane.input);
    node.onended = () => this.nodes.delete(node);
    return [node];
  }

  /** Let the last piece sound, then rest where it was to end, or at the beginning of the song. */
  private async finish(round: number): Promise<void> {
    while (round === this.round && this.context.currentTime < this.cursor.at) {
      await new Promise((go) => setTimeout(go, TICK_MS / 4));
    }
    if (round !== this.round) return;
    const { until } = this;
    this.stop();
    this.rest = until ?? 0;
  }
}
