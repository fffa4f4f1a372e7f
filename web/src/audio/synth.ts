/** Plays the notes of one lane beside the lanes themselves, each at its place on the engine's clock. */

import { signal } from "@preact/signals";
import type { Engine, Span } from "./engine";

/** Seconds of the song, a MIDI pitch, 1 to 127. */
export interface Sounding {
  start: number;
  end: number;
  pitch: number;
  velocity: number;
}

const LEVEL = 0.25;
const ATTACK_S = 0.008;
const RELEASE_S = 0.04;
const TOUCH_S = 0.4;

export class Synth {
  /** The lane whose notes sound while it plays. */
  readonly heard = signal<string | null>(null);
  private notes: readonly Sounding[] = [];
  private voices = new Set<OscillatorNode>();
  private out: GainNode;
  /** Nothing sounds yet: a note that has begun before sounds from here. */
  private fresh = true;

  constructor(private readonly engine: Engine) {
    this.out = engine.context.createGain();
    this.out.gain.value = LEVEL;
    this.out.connect(engine.master);
    engine.follower = { scheduled: (span) => this.schedule(span), stopped: () => this.hush() };
  }

  /** From now on these; null: none. */
  hear(lane: string | null, notes: readonly Sounding[] = []): void {
    this.hush();
    this.heard.value = lane;
    this.notes = notes;
    for (const span of this.engine.scheduled) this.schedule(span);
  }

  /** One note, now. */
  touch(pitch: number, velocity: number): void {
    void this.engine.context.resume();
    const now = this.engine.context.currentTime;
    this.voice(pitch, velocity, now, now + TOUCH_S);
  }

  private schedule(span: Span): void {
    const now = this.engine.context.currentTime;
    const end = span.song + span.duration;
    for (const note of this.notes) {
      const held = this.fresh && note.start < span.song && note.end > span.song;
      if (!held && (note.start < span.song || note.start >= end)) continue;
      const from = Math.max(now, span.at + Math.max(0, note.start - span.song));
      const to = span.at + note.end - span.song;
      if (to > from) this.voice(note.pitch, note.velocity, from, to);
    }
    this.fresh = false;
  }

  private voice(pitch: number, velocity: number, from: number, to: number): void {
    const { context } = this.engine;
    const tone = context.createOscillator();
    const level = context.createGain();
    tone.type = "triangle";
    tone.frequency.value = 440 * 2 ** ((pitch - 69) / 12);
    level.gain.setValueAtTime(0, from);
    level.gain.linearRampToValueAtTime(velocity / 127, from + ATTACK_S);
    level.gain.setTargetAtTime(0, Math.max(to, from + ATTACK_S), RELEASE_S / 4);
    tone.connect(level).connect(this.out);
    tone.onended = () => this.voices.delete(tone);
    this.voices.add(tone);
    tone.start(from);
    tone.stop(to + RELEASE_S);
  }

  private hush(): void {
    for (const tone of this.voices) tone.stop();
    this.voices.clear();
    this.fresh = true;
  }
}
