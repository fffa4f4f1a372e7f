/** What is installed: models, their weights with licences, and who serves them. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { api, ok, type ModelCard } from "../api/client";
import { complain } from "../state/session";

const cards = signal<ModelCard[] | null>(null);

export function ModelsView() {
  useEffect(() => {
    ok(api.GET("/api/v1/models"))
      .then((list) => (cards.value = list.items))
      .catch(complain);
  }, []);
  return (
    <main class="models" id="main" tabIndex={0}>
      <h1>Models</h1>
      {cards.value === null ? <p role="status">Loading…</p> : cards.value.map((card) => <Card key={card.id} card={card} />)}
    </main>
  );
}

const STATES = { absent: "nobody serves it", idle: "ready, not in memory", loaded: "in memory" };

function Card({ card }: { card: ModelCard }) {
  const loaded = card.workers.find((each) => each.weights !== null);
  return (
    <section class="card" aria-label={card.title}>
      <header>
        <h2>{card.title}</h2>
        <span class={`badge ${card.state}`}>{STATES[card.state]}</span>
      </header>
      <p class="facts">
        {card.operation} · {card.plugin.name} {card.plugin.version} · code {card.code_license}
        {loaded?.weights && ` · ${loaded.weights.name} on ${loaded.device}, ${loaded.precision}`}
      </p>
      {card.checkpoints.length > 0 && (
        <table>
          <thead>
            <tr>
              <th scope="col">Weights</th>
              <th scope="col">Licence</th>
              <th scope="col">Commercial use</th>
              <th scope="col">Chosen by itself</th>
            </tr>
          </thead>
          <tbody>
            {card.checkpoints.map((each) => (
              <tr key={each.id}>
                <th scope="row">
                  {each.title}
                  {!each.trained && <strong class="warn"> untrained: for tests only</strong>}
                </th>
                <td>{each.license}</td>
                <td>{each.commercial_use ? "yes" : "not granted"}</td>
                <td>{each.auto ? "yes" : "when named"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
