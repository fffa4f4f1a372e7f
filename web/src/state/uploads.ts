/** Files on their way in: a few at a time, each with its own progress, each going on by itself when the line comes back. */

import { computed, signal, type Signal } from "@preact/signals";
import { Problem, type Asset } from "../api/client";
import { Aborted, pause } from "../api/sending";
import { forgetBegun, isSame, remember, stillOpen, type Begun } from "./begun";
import type { Found } from "./files";
import { current, libraryForSongs } from "./library";
import { abandon, IN_PARTS_FROM, sendParts, sendWhole, type Outcome } from "./parted";
import { go, toLibrary } from "./place";
import { say } from "./session";

/** `lost`: the page was loaded anew, and the browser wants to be given the file once more. */
export type State = "waiting" | "sending" | "stalled" | "paused" | "lost" | "done" | "failed";

const SIDE_BY_SIDE = 2;
const TRIES = 60;
const LONGEST_WAIT_S = 15;
const DONE_SHOWN_MS = 4000;
const PASSING = new Set([0, 408, 425, 429, 502, 503, 504]);

let next = 1;

export class Transfer {
  readonly id = next++;
  readonly state: Signal<State> = signal("waiting");
  readonly sent = signal(0);
  readonly problem: Signal<Problem | null> = signal(null);
  readonly asset: Signal<Asset | null> = signal(null);
  /** An asset that was there before, with the same bytes. */
  readonly double: Signal<string | null> = signal(null);
  upload: string | null = null;
  line = new AbortController();
  private key = newKey();

  constructor(
    readonly library: string,
    readonly name: string,
    readonly size: number,
    public file: File | null,
  ) {}

  get inParts(): boolean {
    return this.size >= IN_PARTS_FROM;
  }

  /** Until it is in, or cannot come in. */
  async run(): Promise<void> {
    this.line = new AbortController();
    this.state.value = "sending";
    this.problem.value = null;
    try {
      this.arrived(await this.persist());
    } catch (error) {
      if (error instanceof Aborted) return;
      this.problem.value = error instanceof Problem ? error : new Problem(0, { detail: String(error) });
      this.state.value = "failed";
      if (this.upload && !PASSING.has(this.problem.value.status)) this.forgetUpload();
    }
  }

  /** A line that breaks is waited for; a part that has arrived begins the count anew. */
  private async persist(): Promise<Outcome> {
    let high = this.sent.value;
    for (let tried = 1; ; tried++) {
      try {
        return await this.send();
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        if (error.status === 404 && this.upload) this.forgetUpload();
        else if (!PASSING.has(error.status)) throw error;
        if (this.sent.value > high) tried = 1;
        high = Math.max(high, this.sent.value);
        if (tried >= TRIES) throw error;
        this.state.value = "stalled";
        await pause(Math.min(LONGEST_WAIT_S, 2 ** (tried - 1)), this.line.signal);
        this.state.value = "sending";
      }
    }
  }

  private send(): Promise<Outcome> {
    const way = this.inParts ? sendParts : sendWhole;
    return way({
      file: this.file!,
      library: this.library,
      key: this.key,
      upload: this.upload,
      signal: this.line.signal,
      progress: (sent) => (this.sent.value = Math.min(sent, this.size)),
      begun: (upload) => {
        this.upload = upload;
        remember({ upload, library: this.library, name: this.name, bytes: this.size, modified: this.file!.lastModified });
      },
    });
  }

  private arrived(outcome: Outcome): void {
    this.sent.value = this.size;
    this.asset.value = outcome.asset ?? null;
    this.double.value = outcome.duplicate_of ?? null;
    this.state.value = "done";
    if (this.upload) forgetBegun(this.upload);
  }

  private forgetUpload(): void {
    forgetBegun(this.upload!);
    this.upload = null;
    this.key = newKey();
    this.sent.value = 0;
  }

  pause(): void {
    this.state.value = "paused";
    this.line.abort();
  }

  drop(): void {
    this.line.abort();
    if (this.upload && this.state.value !== "done") {
      forgetBegun(this.upload);
      abandon(this.upload);
    }
  }
}

export const transfers = signal<Transfer[]>([]);
/** Names of what was given and is no recording. */
export const skipped = signal<string[]>([]);

/** Of all that is not done: how many files, and their bytes. */
export const onTheWay = computed(() => {
  const open = transfers.value.filter((each) => each.state.value !== "done" && each.state.value !== "failed");
  return {
    files: open.length,
    sent: open.reduce((sum, each) => sum + each.sent.value, 0),
    bytes: open.reduce((sum, each) => sum + each.size, 0),
    paused: open.length > 0 && open.every((each) => each.state.value === "paused" || each.state.value === "lost"),
  };
});

/** Bring recordings into the open library, or into a first one. Those that an earlier visit began go on where it ended. */
export async function upload({ files, skipped: passed }: Found): Promise<void> {
  if (passed.length > 0) skipped.value = [...skipped.value, ...passed];
  if (files.length === 0) return;
  const fresh = files.filter((file) => !claim(file));
  if (fresh.length > 0) {
    const library = await libraryForSongs();
    if (current.value === null) go(toLibrary(library));
    transfers.value = [...transfers.value, ...fresh.map((file) => new Transfer(library, file.name, file.size, file))];
  }
  pump();
}

const lost = new Map<Transfer, Begun>();

/** Give a file to the upload that waits for it. Whether there is one. */
function claim(file: File): boolean {
  for (const [transfer, begun] of lost) {
    if (!isSame(begun, file)) continue;
    lost.delete(transfer);
    transfer.file = file;
    transfer.state.value = "waiting";
    return true;
  }
  return false;
}

/** Uploads that a reload has cut off stand in the list again. */
export async function findLost(): Promise<void> {
  for (const { begun, arrived } of await stillOpen()) {
    if (transfers.value.some((each) => each.upload === begun.upload)) continue;
    const transfer = new Transfer(begun.library, begun.name, begun.bytes, null);
    transfer.upload = begun.upload;
    transfer.sent.value = arrived;
    transfer.state.value = "lost";
    lost.set(transfer, begun);
    transfers.value = [...transfers.value, transfer];
  }
}

/** After a pause, or a failure. */
export function goOn(transfer: Transfer): void {
  transfer.state.value = "waiting";
  pump();
}

export function pauseAll(): void {
  for (const each of transfers.value) if (["waiting", "sending", "stalled"].includes(each.state.value)) each.pause();
}

export function goOnAll(): void {
  for (const each of transfers.value) if (each.state.value === "paused") each.state.value = "waiting";
  pump();
}

export function forget(transfer: Transfer): void {
  transfer.drop();
  lost.delete(transfer);
  transfers.value = transfers.value.filter((each) => each !== transfer);
  pump();
}

let arrivals: Transfer[] = [];

function pump(): void {
  const busy = transfers.value.filter((each) => each.state.value === "sending" || each.state.value === "stalled").length;
  for (const each of transfers.value.filter((t) => t.state.value === "waiting").slice(0, Math.max(0, SIDE_BY_SIDE - busy))) {
    void each.run().then(() => {
      if (each.state.value === "done") settle(each);
      pump();
    });
  }
  if (arrivals.length > 0 && onTheWay.value.files === 0) tell();
}

/** What is in leaves the list; what was there already stays, with its question. */
function settle(transfer: Transfer): void {
  arrivals.push(transfer);
  if (transfer.double.value === null) setTimeout(() => forget(transfer), DONE_SHOWN_MS);
}

function tell(): void {
  const [first, ...rest] = arrivals;
  arrivals = [];
  say(rest.length === 0 ? `${first!.asset.value?.name ?? first!.name} is in the library.` : `${rest.length + 1} songs are in the library.`);
}

addEventListener("beforeunload", (event) => {
  if (transfers.value.some((each) => each.state.value === "sending" || each.state.value === "stalled")) event.preventDefault();
});

/** crypto.randomUUID is not there on pages that came over plain HTTP. */
function newKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

