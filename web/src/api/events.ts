/** The one stream of Server-Sent Events of this page. The browser comes back by itself and says what it saw last. */

import { signal } from "@preact/signals";

export interface Told {
  type: string;
  [member: string]: unknown;
}

type Listener = (told: Told) => void;

const TYPES = [
  "job.queued", "job.started", "job.retrying", "job.progress", "job.succeeded", "job.failed", "job.cancelled",
  "job.timed_out", "asset.created", "asset.updated", "asset.deleted", "asset.restored", "library.created",
  "library.updated", "library.deleted", "library.restored", "region.changed", "transcript.updated", "run.started", "run.succeeded",
  "run.failed", "run.partial", "run.cancelled",
];
const RECONNECT_MS = 2000;
const OPEN_WITHIN_MS = 1500;

/** Whether the stream is open: when it is not, what is shown may be old. */
export const live = signal(false);

const listeners = new Set<Listener>();
const resets = new Set<() => void>();

export function onEvent(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Called when events were missed for good, or may have been: fetch everything anew. */
export function onReset(listener: () => void): () => void {
  resets.add(listener);
  return () => resets.delete(listener);
}

let lastSeen: string | null = null;
let following: Promise<void> | null = null;
/** Whether the page reads already: a stream that begins later may have missed something. */
let reading = false;

/**
 * Open the stream and keep it open for as long as the page is. Resolves when it is open: what is read from then on is
 * not older than what it tells. One that does not open soon is not waited for; when it does, all is read anew.
 */
export function follow(): Promise<void> {
  following ??= new Promise((ready) => {
    const begin = () => {
      reading = true;
      ready();
    };
    setTimeout(begin, OPEN_WITHIN_MS);
    open(begin);
  });
  return following;
}

function reset(): void {
  for (const each of resets) each();
}

function open(begin: () => void): void {
  const address = lastSeen === null ? "/api/v1/events" : `/api/v1/events?last_event_id=${lastSeen}`;
  const source = new EventSource(address);
  source.onopen = () => {
    live.value = true;
    if (reading && lastSeen === null) reset(); // nothing says from where to go on
    begin();
  };
  const tell = (message: MessageEvent<string>) => {
    if (message.lastEventId) lastSeen = message.lastEventId;
    const told = JSON.parse(message.data) as Told;
    for (const listener of listeners) listener(told);
  };
  for (const type of TYPES) source.addEventListener(type, tell);
  source.addEventListener("stream.reset", () => {
    lastSeen = null;
    reset();
  });
  source.onerror = () => {
    live.value = false;
    // A refusal closes an EventSource for ever; a broken connection it mends itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => open(begin), RECONNECT_MS);
    begin();
  };
}
