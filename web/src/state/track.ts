/** One track that is open: its stems, notes, words and regions, the view on them, and the engine that plays them. */

import { batch, computed, signal } from "@preact/signals";
import { api, contentJson, ok, type Asset, type Job } from "../api/client";
import { live, onEvent } from "../api/events";
import { Engine, type Strip } from "../audio/engine";
import { Synth } from "../audio/synth";
import type { Cuts } from "./cuts";
import { isActive, jobsOf } from "./jobs";
import { Wave } from "./peaks";
import { Reading } from "./reading";
import type { Regions } from "./regions";
import { complain } from "./session";
import { Wording } from "./wording";

export interface Word {
  text: string;
  start: number;
  end: number;
  probability: number;
}
export interface Segment {
  id: number;
  start: number;
  end: number;
  text: string;
  words: Word[];
}
export interface Note {
  start: number;
  end: number;
  pitch: number;
  velocity: number;
}

export const STEM_ORDER = ["vocals", "drums", "bass", "guitar", "piano", "other", "instrumental"];
const PLAIN: Strip = { gain: 1, pan: 0, mute: false, solo: false };
const CHILD_PAGE = 200;
const MIN_VIEW_S = 0.05;

/** A stem or the track itself, with all that belongs to it. */
export interface Lane {
  asset: Asset;
  label: string;
  color: string;
  wave: Wave;
}

export class Track {
  readonly asset = signal<Asset | null>(null);
  readonly children = signal<Asset[]>([]);
  readonly lanes = signal<Lane[]>([]);
  readonly strips = signal<ReadonlyMap<string, Strip>>(new Map());
  readonly wording = signal<Wording | null>(null);
  readonly notes = signal<ReadonlyMap<string, Note[]>>(new Map());
  readonly focused = signal<string | null>(null);
  readonly selection = signal<{ start: number; end: number } | null>(null);
  /** Of the focused lane, while its slicer is open. */
  readonly regions = signal<Regions | null>(null);
  /** Where the focused lane will be cut, while its slicer shows it. */
  readonly cuts = signal<Cuts | null>(null);
  readonly view = signal({ start: 0, end: 1 });
  readonly following = signal(true);
  readonly position = signal(0);
  engine: Engine | null = null;
  synth: Synth | null = null;
  private off: (() => void)[] = [];
  private closed = false;
  private frame = 0;

  constructor(readonly id: string) {}

  readonly duration = computed(() => this.asset.value?.audio?.duration_s ?? 0);

  /** Everything that runs for this track or for one of its parts. */
  readonly jobs = computed<Job[]>(() => jobsOf(new Set([this.id, ...this.children.value.map((each) => each.id)])).filter(isActive));

  /** Read the track, and read it anew whenever the server is back. Throws Problem when there is none. */
  async open(): Promise<void> {
    const asset = await ok(api.GET("/api/v1/assets/{asset}", { params: { path: { asset: this.id } } }));
    if (this.closed) return;
    this.asset.value = asset;
    this.view.value = { start: 0, end: this.duration.value };
    this.engine = new Engine(this.duration.value, clampRate(asset.audio?.sample_rate));
    this.synth = new Synth(this.engine);
    this.off.push(
      onEvent((told) => {
        const known = new Set([this.id, ...this.children.value.map((each) => each.id)]);
        const ours = known.has(String(told.parent_id)) || known.has(String(told.asset_id));
        if (ours && told.type.startsWith("asset.")) this.reading.again().catch(complain);
      }),
      live.subscribe((on) => {
        if (on) this.reading.again().catch(complain);
      }),
    );
    if (!live.value) await this.reading.again();
    const beat = () => {
      if (this.closed) return;
      this.tick();
      this.frame = requestAnimationFrame(beat);
    };
    this.frame = requestAnimationFrame(beat);
  }

  close(): void {
    this.closed = true;
    cancelAnimationFrame(this.frame);
    for (const off of this.off) off();
    this.wording.value?.close();
    this.engine?.close();
  }

  // ── what there is ────────────────────────────────────────────────────────────────────────────────

  /** Read the track and its parts anew: one reading at a time, however many events ask for it. */
  private readonly reading = new Reading(
    () => this.read(),
    ({ asset, children }) => this.take(asset, children),
  );

  private async read(): Promise<{ asset: Asset; children: Asset[] }> {
    const asset = await ok(api.GET("/api/v1/assets/{asset}", { params: { path: { asset: this.id } } }));
    const first = await childrenOf(asset, this.id);
    const second = await Promise.all(first.filter((each) => each.kind === "audio").map((each) => childrenOf(asset, each.id)));
    return { asset, children: [...first, ...second.flat()] };
  }

  private async take(asset: Asset, children: Asset[]): Promise<void> {
    if (this.closed) return;
    batch(() => {
      this.asset.value = asset;
      this.children.value = children;
      this.arrange(asset);
    });
    await Promise.all([this.readLyrics(), this.readNotes()]);
  }

  private arrange(track: Asset): void {
    const made = this.children.value.filter((each) => each.kind === "audio" && (each.role === "stem" || each.role === "mix"));
    const stems = newestSet(made);
    const shown = [...stems, track];
    const before = new Map(this.lanes.value.map((lane) => [lane.asset.id, lane]));
    this.lanes.value = shown.map((asset) => before.get(asset.id) ?? laneOf(asset, track));
    const strips = new Map(this.strips.value);
    for (const { asset, wave } of this.lanes.value) {
      if (before.has(asset.id)) continue;
      wave.open().catch(complain);
      strips.set(asset.id, { ...PLAIN });
    }
    // Stems sum to the track: heard together it would be twice as loud.
    if (stems.length > 0 && !before.has(stems[0]!.id)) strips.set(track.id, { ...PLAIN, ...strips.get(track.id), mute: true });
    this.strips.value = strips;
    for (const { asset } of this.lanes.value) this.engine?.add(asset, strips.get(asset.id)!);
    for (const [id, strip] of strips) this.engine?.set(id, strip);
    if (this.focused.value === null || !shown.some((each) => each.id === this.focused.value)) this.focused.value = shown[0]?.id ?? null;
  }

  private async readLyrics(): Promise<void> {
    const transcript = this.children.value
      .filter((each) => each.kind === "transcript" && each.facts["file"] === "lyrics.json")
      .sort(newestFirst)[0];
    if (!transcript) return;
    const before = this.wording.value;
    if (before?.asset === transcript.id) return; // events tell of its changes
    const wording = new Wording(transcript.id);
    await wording.load();
    if (this.closed) return wording.close();
    before?.close();
    this.wording.value = wording;
  }

  private async readNotes(): Promise<void> {
    const tables = this.children.value.filter((each) => each.kind === "midi" && each.facts["file"] === "notes.json").sort(newestFirst);
    const found = new Map(this.notes.value);
    for (const table of tables.reverse()) {
      if (table.parent_id) found.set(table.parent_id, (await contentJson<{ notes: Note[] }>(table.id)).notes);
    }
    this.notes.value = found;
  }

  // ── sound ────────────────────────────────────────────────────────────────────────────────────────

  strip(id: string): Strip {
    return this.strips.value.get(id) ?? PLAIN;
  }

  mix(id: string, changed: Partial<Strip>): void {
    const strip = { ...this.strip(id), ...changed };
    this.strips.value = new Map(this.strips.value).set(id, strip);
    this.engine?.set(id, strip);
  }

  /** Solo asks for the lane, so it may not stay muted. */
  solo(id: string): void {
    const on = !this.strip(id).solo;
    this.mix(id, { solo: on, ...(on ? { mute: false } : {}) });
    const track = this.asset.value;
    // The original is muted beside its stems, and comes back to silence when its solo ends.
    if (!on && track && id === track.id && this.lanes.value.length > 1) this.mix(id, { mute: true });
  }

  seek(seconds: number): void {
    this.engine?.seek(seconds);
    this.tick();
  }

  loopSelection(): void {
    if (!this.engine) return;
    this.engine.loop.value = this.engine.loop.value ? null : this.selection.value;
    if (this.engine.loop.value) this.seek(this.engine.loop.value.start);
  }

  private tick(): void {
    const at = this.engine?.position ?? 0;
    if (at !== this.position.value) this.position.value = at;
    if (this.following.value && this.engine?.playing.value) this.follow(at);
  }

  // ── the view ─────────────────────────────────────────────────────────────────────────────────────

  private follow(at: number): void {
    const { start, end } = this.view.value;
    const width = end - start;
    if (width >= this.duration.value - 1e-6) return;
    if (at < start || at > end - width * 0.08) this.look(at - width * 0.1, width);
  }

  look(start: number, width: number): void {
    const whole = this.duration.value;
    const kept = Math.min(Math.max(width, MIN_VIEW_S), whole);
    const from = Math.min(Math.max(0, start), whole - kept);
    this.view.value = { start: from, end: from + kept };
  }

  /** Twice as near is 0.5. `around` stays where it is on the screen. */
  zoom(factor: number, around: number = this.position.value): void {
    const { start, end } = this.view.value;
    const at = Math.min(Math.max(around, start), end);
    const width = (end - start) * factor;
    this.look(at - ((at - start) / (end - start)) * width, width);
  }
}

/** What a browser plays at: other rates it converts. */
function clampRate(rate: number | undefined): number {
  return Math.min(Math.max(rate ?? 44100, 8000), 96000);
}

async function childrenOf(track: Asset, parent: string): Promise<Asset[]> {
  const page = await ok(
    api.GET("/api/v1/libraries/{library}/assets", {
      params: { path: { library: track.library_id }, query: { parent_id: parent, limit: CHILD_PAGE } },
    }),
  );
  return page.items;
}

const newestFirst = (a: Asset, b: Asset): number => b.created_at.localeCompare(a.created_at);

/** The stems of the latest separation; of each name the newest when they come from several. */
function newestSet(made: Asset[]): Asset[] {
  const byName = new Map<string, Asset>();
  for (const each of [...made].sort(newestFirst)) {
    const name = each.stem ?? each.name;
    if (each.role === "stem" && !byName.has(name)) byName.set(name, each);
  }
  return [...byName.values()].sort((a, b) => rank(a) - rank(b));
}

const rank = (asset: Asset): number => (STEM_ORDER.indexOf(asset.stem ?? "") + 1 || STEM_ORDER.length + 1);

function laneOf(asset: Asset, track: Asset): Lane {
  const stem = asset.stem ?? "";
  const known = STEM_ORDER.includes(stem);
  const audio = asset.audio ?? track.audio!;
  return {
    asset,
    label: asset.id === track.id ? "Original" : stem ? stem[0]!.toUpperCase() + stem.slice(1) : asset.name,
    color: asset.id === track.id ? "var(--mix)" : known ? `var(--${stem})` : "var(--other)",
    wave: new Wave(asset.id, audio.duration_s, audio.sample_rate),
  };
}
