/** What is installed: models, their weights with licences, who serves them, and how fast they were here. */

import { useEffect } from "preact/hooks";
import type { ModelCard } from "../../api/client";
import { cards, loadModels } from "../../state/models";
import { complain } from "../../state/session";
import { StandIns } from "./standins";
import { Weights } from "./weights";
import "../../style/weights.css";

const LOOK_EVERY_MS = 10_000;

export function ModelsView() {
  useEffect(() => {
    loadModels().catch(complain);
    // Workers come and go, load and unload, and say so to nobody but the database.
    const looking = setInterval(() => document.hidden || loadModels().catch(() => {}), LOOK_EVERY_MS);
    return () => clearInterval(looking);
  }, []);
  return (
    <main class="models" id="main" tabIndex={0}>
      <h1>Models</h1>
      <StandIns />
      {cards.value === null ? <p role="status">Loading…</p> : inOrder(cards.value).map((card) => <Card key={card.id} card={card} />)}
    </main>
  );
}

const FIRST = ["separate", "transcribe", "midi", "analyze"];

/** What takes songs apart comes first, what needs no weights last. */
function inOrder(all: ModelCard[]): ModelCard[] {
  const rank = (card: ModelCard) => (FIRST.indexOf(card.operation) + 1 || FIRST.length + 1) + (card.checkpoints.length ? 0 : FIRST.length);
  return [...all].sort((a, b) => rank(a) - rank(b) || a.id.localeCompare(b.id));
}

const STATES = { absent: "nobody serves it", idle: "ready, not in memory", loaded: "in memory" };

const DOES: Record<string, string> = {
  separate: "Takes a song apart: vocals, drums, bass and the rest, each a recording of its own.",
  midi: "Hears the notes of an instrument or a voice and writes them as MIDI.",
  transcribe: "Writes down what is sung or said, with the time of every word.",
  align: "Puts the words of a voice on its notes.",
  mix: "Makes one recording of several, with gain and pan.",
  slice: "Cuts a recording into samples: by regions, onsets, a grid, or silence.",
  analyze: "Finds tempo and beats, key, loudness and onsets.",
  "stem-file": "Packs a track and its four stems into one file for DJ software.",
  echo: "Gives a recording back as it is: the smallest model there can be.",
};

function Card({ card }: { card: ModelCard }) {
  return (
    <section class="card" aria-label={card.title}>
      <header>
        <h2>{card.title}</h2>
        <span class={`badge ${card.state}`}>{STATES[card.state]}</span>
      </header>
      <p>{DOES[card.operation] ?? card.operation}</p>
      <dl class="facts">
        <Fact name="Code">
          {card.code_license}, {card.plugin.name} {card.plugin.version}
        </Fact>
        <Speed card={card} />
        <Workers card={card} />
      </dl>
      {card.checkpoints.length > 0 && <Weights card={card} />}
    </section>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Measured in this installation, or nothing. */
function Speed({ card }: { card: ModelCard }) {
  return (
    <Fact name="Speed here">
      {card.speeds.length === 0
        ? "not measured yet"
        : card.speeds.map((each) => (
            <span class="measured" key={`${each.checkpoint} ${each.device} ${each.precision}`}>
              <strong>{times(each.realtime_factor)} real time</strong> on {each.device}, {each.precision}
              {each.checkpoint && ` with ${each.checkpoint}`} (median of {each.jobs} {each.jobs === 1 ? "job" : "jobs"})
            </span>
          ))}
    </Fact>
  );
}

const times = (factor: number): string => `${factor >= 10 ? Math.round(factor) : factor.toFixed(1)} ×`;

function Workers({ card }: { card: ModelCard }) {
  return (
    <Fact name={card.workers.length === 1 ? "Worker" : "Workers"}>
      {card.workers.length === 0
        ? "none is running: jobs wait until one is"
        : card.workers.map((each) => (
            <span class="worker" key={each.worker} title={each.worker}>
              {each.host}
              {each.device && ` · ${each.device}, ${each.precision}`}
              {each.weights ? ` · ${each.weights.name} in memory` : each.state === "loaded" ? " · in memory" : " · nothing in memory"}
            </span>
          ))}
    </Fact>
  );
}
