/** The words of one transcript as they stand, and as somebody makes them right: each save is a revision on the server. */

import { batch, signal } from "@preact/signals";
import { api, ok, Problem } from "../api/client";
import type { components } from "../api/schema";
import { onEvent } from "../api/events";
import { Reading } from "./reading";
import { complain } from "./session";
import type { Line } from "./lines";
import type { Segment } from "./track";

type Transcript = components["schemas"]["Transcript"];
export type Revision = components["schemas"]["Revision"];

/** Below it a word wants to be looked at. */
export const DOUBTFUL = 0.5;

export class Wording {
  readonly segments = signal<Segment[]>([]);
  readonly revision = signal(0);
  readonly revisions = signal<Revision[]>([]);
  readonly saving = signal(false);
  /** What this tab wanted to save when another one had saved first. */
  readonly conflict = signal<readonly Line[] | null>(null);
  /** Whether somebody is typing: then nothing is replaced under their hands. */
  private typing = false;
  private stale = false;
  private tag = "";
  private last: Promise<unknown> = Promise.resolve();
  private off: () => void;

  constructor(readonly asset: string) {
    this.off = onEvent((told) => {
      if (told.type !== "transcript.updated" || told.asset_id !== asset) return;
      if (told.revision === this.revision.value) return;
      this.stale = true;
      if (!this.saving.value) this.rest(this.typing);
    });
  }

  close(): void {
    this.off();
  }

  async load(): Promise<void> {
    const answered = await api.GET("/api/v1/assets/{asset}/transcript", { params: { path: { asset: this.asset } } });
    this.show((await ok(Promise.resolve(answered))) as Transcript, answered.response);
  }

  history(): Promise<void> {
    return this.past.again();
  }

  private readonly past = new Reading(
    () => ok(api.GET("/api/v1/assets/{asset}/transcript/revisions", { params: { path: { asset: this.asset } } })),
    ({ items }) => void (this.revisions.value = items),
  );

  /** Whether somebody is typing: what comes from elsewhere waits until they rest. */
  rest(typing = false): void {
    this.typing = typing;
    if (this.stale && !typing && this.conflict.value === null) this.load().catch(complain);
  }

  /** What `change` makes of the lines, as the newest revision; after what is being saved already. */
  save(change: (lines: Segment[]) => readonly Line[]): Promise<void> {
    this.typing = false;
    return this.inTurn(() => this.send(change(this.segments.value)));
  }

  private inTurn(act: () => Promise<void>): Promise<void> {
    const next = this.last.then(act);
    this.last = next.catch(() => undefined);
    return next;
  }

  private async send(lines: readonly Line[]): Promise<void> {
    if (isSame(lines, this.segments.value)) {
      this.conflict.value = null; // Enter and leaving the field both save: once is enough
      return;
    }
    this.saving.value = true;
    try {
      const answered = await api.PATCH("/api/v1/assets/{asset}/transcript", {
        params: { path: { asset: this.asset }, header: { "If-Match": this.tag } },
        body: { segments: lines.map(({ text, start, end }) => ({ text, start_s: start, end_s: end, words: null })) },
      });
      this.show(await ok(Promise.resolve(answered)), answered.response);
      this.conflict.value = null;
    } catch (error) {
      if (!(error instanceof Problem && error.status === 412)) throw error;
      this.conflict.value = lines;
    } finally {
      this.saving.value = false;
    }
  }

  /** The other tab's words, and what was typed here is given up. */
  async takeTheirs(): Promise<void> {
    await this.load();
    this.conflict.value = null;
  }

  /** What was typed here, as a revision after the other tab's: that one stays among the revisions. */
  async keepMine(): Promise<void> {
    const mine = this.conflict.value;
    if (mine === null) return;
    await this.load();
    await this.save(() => mine);
  }

  /** After what is being saved already. */
  async restore(number: number): Promise<void> {
    await this.inTurn(async () => {
      const params = { path: { asset: this.asset, number } };
      const answered = await api.POST("/api/v1/assets/{asset}/transcript/revisions/{number}/restore", { params });
      this.show(await ok(Promise.resolve(answered)), answered.response);
    });
    await this.history();
  }

  private show(told: Transcript, response: Response): void {
    if (told.revision < this.revision.value) return; // an answer that was overtaken
    this.tag = response.headers.get("ETag") ?? "";
    this.stale = false;
    batch(() => {
      this.revision.value = told.revision;
      this.segments.value = told.segments.map((line, id) => ({
        id,
        text: line.text,
        start: line.start_s,
        end: line.end_s,
        words: line.words.map((word) => ({ text: word.text, start: word.start_s, end: word.end_s, probability: word.probability })),
      }));
    });
  }
}

const isSame = (some: readonly Line[], others: readonly Line[]): boolean =>
  some.length === others.length && some.every((each, n) => each.text === others[n]!.text && each.start === others[n]!.start && each.end === others[n]!.end);
