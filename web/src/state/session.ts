/** Who uses the page, and the notices it shows. */

import { signal } from "@preact/signals";
import { api, ok, Problem, type Me } from "../api/client";
import { follow } from "../api/events";

export type Door = "opening" | "open" | "locked" | "away";

export const door = signal<Door>("opening");
export const me = signal<Me | null>(null);

/** Ask who we are: without keys everything is open at once, with keys a session's cookie opens it. */
export async function enter(): Promise<void> {
  try {
    me.value = await ok(api.GET("/api/v1/me"));
    await follow(); // first, so that no view reads what is older than the events
    door.value = "open";
  } catch (error) {
    door.value = error instanceof Problem && error.status === 401 ? "locked" : "away";
  }
}

/** Trade a key for a session cookie, which no script can read. Throws Problem. */
export async function unlock(key: string): Promise<void> {
  await ok(api.POST("/api/v1/session", { headers: { Authorization: `Bearer ${key}` } }));
  await enter();
}

// ── notices ──────────────────────────────────────────────────────────────────────────────────────────

export interface Notice {
  id: number;
  kind: "done" | "failed";
  text: string;
  mend?: string;
}

const SHOWN_MS = { done: 5000, failed: 12000 };
let next = 1;

export const notices = signal<Notice[]>([]);

export function dismiss(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

export function say(text: string): void {
  show({ id: next++, kind: "done", text });
}

/** Tell of what went wrong, in the server's own words. */
export function complain(error: unknown): void {
  const problem = error instanceof Problem ? error : null;
  show({ id: next++, kind: "failed", text: (error as Error).message, ...(problem ? { mend: problem.mend } : {}) });
}

/** Run what a button asks for; what goes wrong becomes a notice. */
export function attempt(what: () => Promise<unknown>): void {
  what().catch(complain);
}

function show(notice: Notice): void {
  notices.value = [...notices.value.slice(-4), notice];
  setTimeout(() => dismiss(notice.id), SHOWN_MS[notice.kind]);
}
