/** The regions of one lane: what somebody marked to be cut. They live on the server and come back with every tab. */

import { signal } from "@preact/signals";
import { ok, Problem } from "../api/client";
import { onEvent } from "../api/events";
import { Reading } from "./reading";
import { complain } from "./session";

export interface Region {
  id: string;
  kind: "region" | "marker" | "loop" | "cue";
  start_s: number;
  end_s: number | null;
  name: string | null;
  version: number;
}

const JSON_TYPE = { "Content-Type": "application/json" };
const PATCH_TYPE = { "Content-Type": "application/merge-patch+json" };

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answered = fetch(`/api/v1/assets/${path}`, {
    method,
    credentials: "same-origin",
    ...(body === undefined ? {} : { headers: method === "PATCH" ? PATCH_TYPE : JSON_TYPE, body: JSON.stringify(body) }),
  }).then(async (response) => {
    const text = await response.text();
    const parsed: unknown = text ? JSON.parse(text) : undefined;
    return response.ok ? { data: parsed as T, response } : { error: parsed, response };
  });
  return ok<T>(answered);
}

export class Regions {
  readonly items = signal<Region[]>([]);
  private off: () => void;
  private readonly reading = new Reading(
    () => call<{ items: Region[] }>("GET", `${this.asset}/regions`),
    ({ items }) => void (this.items.value = items),
  );

  constructor(readonly asset: string) {
    this.off = onEvent((told) => {
      if (told.type === "region.changed" && told.asset_id === asset) this.load().catch(complain);
    });
  }

  close(): void {
    this.off();
  }

  load(): Promise<void> {
    return this.reading.again();
  }

  add(start: number, end: number): Promise<void> {
    return this.make({ kind: "region", start_s: start, end_s: end, name: `Part ${this.items.value.length + 1}` });
  }

  /** A place, which has no end. */
  mark(at: number): Promise<void> {
    return this.make({ kind: "marker", start_s: at, name: `Marker ${this.items.value.length + 1}` });
  }

  private async make(wanted: Partial<Region>): Promise<void> {
    this.show(await call<Region>("POST", `${this.asset}/regions`, wanted));
  }

  async change(region: Region, changed: Partial<Pick<Region, "start_s" | "end_s" | "name">>): Promise<void> {
    this.show({ ...region, ...changed }); // at once; what the server says comes after
    try {
      this.show(await call<Region>("PATCH", `${this.asset}/regions/${region.id}`, changed));
    } catch (error) {
      this.show(region);
      throw error;
    }
  }

  async remove(region: Region): Promise<void> {
    this.hide(region);
    await call("DELETE", `${this.asset}/regions/${region.id}`).catch((error: unknown) => {
      if (!(error instanceof Problem && error.status === 404)) throw error;
    });
    this.hide(region); // it may have been read anew before it was gone
  }

  /** Show a region as it will be, before the server says so. */
  show(region: Region): void {
    this.reading.overtake();
    const others = this.items.value.filter((each) => each.id !== region.id);
    this.items.value = [...others, region].sort((a, b) => a.start_s - b.start_s);
  }

  private hide(region: Region): void {
    this.reading.overtake();
    this.items.value = this.items.value.filter((each) => each.id !== region.id);
  }
}
