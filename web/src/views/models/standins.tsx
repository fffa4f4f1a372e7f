/** Where a stand-in does the work of better weights, it says so: on the models page, and at what it made. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { api, ok, type ModelCard } from "../../api/client";
import { Icon } from "../../parts/icons";
import { betterThan, cards, mayPull, pullOf, standInOf, standInOfJob } from "../../state/models";
import { isActive, pull } from "../../state/jobs";
import { attempt } from "../../state/session";
import type { Track } from "../../state/track";
import "../../style/weights.css";

export function StandIns() {
  const found = (cards.value ?? []).filter((card) => standInOf(card) !== null);
  return (
    <>
      {found.map((card) => (
        <StandInNote key={card.id} card={card} />
      ))}
    </>
  );
}

function StandInNote({ card }: { card: ModelCard }) {
  const used = standInOf(card)!;
  const better = betterThan(card);
  const coming = better && pullOf(better);
  return (
    <aside class="standin" aria-label={`${card.title} runs on a stand-in`}>
      <Icon name="warning" />
      <p>
        <strong>{used.trained ? `${card.title} works with a small stand-in now.` : `${card.title} works with untrained weights now.`}</strong>{" "}
        {used.trained
          ? `${used.name} comes with NeuraLib, so that everything works without a network. Its results are real, but rougher than those of better weights.`
          : `${used.name} is for tests of the plumbing: what it makes means nothing.`}{" "}
        {better?.fetch === "offline" && "This installation asks no hub for better ones."}
        {better?.fetch === "license" && "This installation takes only weights whose licence allows commercial use."}
        {better?.fetch === "allowed" && coming && isActive(coming) && `${better.title} is on its way.`}
      </p>
      {better?.fetch === "allowed" && mayPull.value && !(coming && isActive(coming)) && (
        <button onClick={() => attempt(() => pull(better.id))}>
          <Icon name="download" /> Fetch {better.name}
        </button>
      )}
    </aside>
  );
}

const KEY = "stand-in seen";
const seen = signal<ReadonlySet<string>>(new Set(JSON.parse(localStorage.getItem(KEY) ?? "[]") as string[]));

function dismiss(weights: string): void {
  seen.value = new Set([...seen.value, weights]);
  localStorage.setItem(KEY, JSON.stringify([...seen.value]));
}

/** At a track whose stems a stand-in made. Who has dismissed it is not told of the same weights again. */
export function StandInStems({ track }: { track: Track }) {
  const used = useSignal<string | null>(null);
  const job = track.lanes.value.find((lane) => lane.asset.role === "stem")?.asset.derived_from?.job_id ?? null;
  useEffect(() => {
    used.value = null;
    if (job === null) return;
    let over = false;
    ok(api.GET("/api/v1/jobs/{job}", { params: { path: { job } } }))
      .then((found) => {
        if (!over) used.value = standInOfJob(found);
      })
      .catch(() => {}); // a job that is gone tells nothing
    return () => {
      over = true;
    };
  }, [job]);
  if (used.value === null || seen.value.has(used.value)) return null;
  const weights = used.value;
  return (
    <aside class="standin slim" aria-label="About these stems">
      <p>
        These stems were made by <strong>{weights}</strong>, a small stand-in; better weights separate more cleanly. <a href="#/models">See Models</a>
      </p>
      <button class="quiet" onClick={() => dismiss(weights)} aria-label="Dismiss"><Icon name="close" /></button>
    </aside>
  );
}
