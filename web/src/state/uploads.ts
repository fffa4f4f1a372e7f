/** Files on their way in: a few at a time, each with its own progress, each tried again when the line breaks. */

import { signal } from "@preact/signals";
import { Problem, type Asset, type ProblemBody } from "../api/client";
import { current, libraryForSongs } from "./library";
import { go, toLibrary } from "./place";
import { say } from "./session";

export interface Transfer {
  id: number;
  file: File;
  library: string;
  key: string;
  state: "waiting" | "sending" | "done" | "failed";
  sent: number;
  problem: Problem | null;
  asset: Asset | null;
}

const SIDE_BY_SIDE = 2;
const ATTEMPTS = 4;
const DONE_SHOWN_MS = 4000;

export const transfers = signal<Transfer[]>([]);

let next = 1;

/** Bring files into the open library, or into a first one. */
export async function upload(files: Iterable<File>): Promise<void> {
  const list = [...files];
  if (list.length === 0) return;
  const library = await libraryForSongs();
  if (current.value === null) go(toLibrary(library));
  const made = list.map((file): Transfer => ({
    id: next++, file, library, key: crypto.randomUUID(), state: "waiting", sent: 0, problem: null, asset: null,
  }));
  transfers.value = [...transfers.value, ...made];
  pump();
}

export function tryAgain(id: number): void {
  change(id, { state: "waiting", sent: 0, problem: null, key: crypto.randomUUID() });
  pump();
}

export function forget(id: number): void {
  transfers.value = transfers.value.filter((each) => each.id !== id);
}

function change(id: number, changed: Partial<Transfer>): void {
  transfers.value = transfers.value.map((each) => (each.id === id ? { ...each, ...changed } : each));
}

function pump(): void {
  const busy = transfers.value.filter((each) => each.state === "sending").length;
  for (const each of transfers.value.filter((t) => t.state === "waiting").slice(0, SIDE_BY_SIDE - busy)) {
    change(each.id, { state: "sending" });
    void send(each).finally(pump);
  }
}

/** The same Idempotency-Key each time: a file whose answer was lost is not taken in twice. */
async function send(transfer: Transfer): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      const asset = await post(transfer);
      change(transfer.id, { state: "done", sent: transfer.file.size, asset });
      setTimeout(() => forget(transfer.id), DONE_SHOWN_MS);
      say(`${asset.name} is in the library.`);
      return;
    } catch (error) {
      const problem = error as Problem;
      const passing = problem.status === 0 || problem.status === 503;
      if (passing && attempt < ATTEMPTS) {
        await new Promise((again) => setTimeout(again, 1000 * 2 ** attempt));
        continue;
      }
      change(transfer.id, { state: "failed", problem });
      return;
    }
  }
}

/** XMLHttpRequest, because fetch cannot tell how much was sent. */
function post(transfer: Transfer): Promise<Asset> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("file", transfer.file, transfer.file.name);
    request.open("POST", `/api/v1/libraries/${transfer.library}/assets`);
    request.setRequestHeader("Idempotency-Key", transfer.key);
    request.upload.onprogress = (event) => change(transfer.id, { sent: event.loaded });
    request.onerror = () => reject(new Problem(0, {}));
    request.onload = () => {
      const body = parsed(request.responseText);
      const item = body.items?.[0];
      if (item?.asset) resolve(item.asset);
      else reject(new Problem(item?.status ?? request.status, item?.problem ?? body));
    };
    request.send(form);
  });
}

interface Answer extends ProblemBody {
  items?: { status: number; asset?: Asset; problem?: ProblemBody }[];
}

function parsed(text: string): Answer {
  try {
    return JSON.parse(text) as Answer;
  } catch {
    return {};
  }
}
