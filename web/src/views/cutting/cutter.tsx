/** What a slicing is told: where to cut, and what to call what comes of it. */

import { batch } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { Icon } from "../../parts/icons";
import { analysisOf } from "../../state/analysis";
import { order } from "../../state/jobs";
import { FIELDS } from "../../state/naming";
import { Plan } from "../../state/plan";
import { METHODS, Recipe, type Method } from "../../state/recipe";
import type { Regions } from "../../state/regions";
import { attempt } from "../../state/session";
import type { Lane, Track } from "../../state/track";

export function Cutter({ track, lane, regions }: { track: Track; lane: Lane; regions: Regions }) {
  const recipe = useMemo(() => new Recipe(), []);
  const plan = useMemo(() => new Plan(track, lane, recipe), []);
  useEffect(() => plan.draw(), [plan]);
  const marked = regions.items.value.filter((each) => each.end_s !== null);
  const beats = analysisOf(track.id).value?.beats ?? [];
  const busy = track.jobs.value.some((job) => job.operation === "slice" && job.asset_id === lane.asset.id);
  const lacking: Partial<Record<Method, boolean>> = { regions: marked.length === 0, grid: beats.length === 0 };
  const cut = (event: Event) => {
    event.preventDefault();
    attempt(() => order({ operation: "slice", assets: [lane.asset.id], params: recipe.params(marked, beats) }));
  };
  const chosen = (change: () => void) =>
    batch(() => {
      change();
      plan.shown.value = true;
    });
  return (
    <form class="cutter" onSubmit={cut}>
      <label>
        <span class="hidden">Cut at</span>
        <select value={recipe.method.value} onChange={(event) => chosen(() => (recipe.method.value = event.currentTarget.value as Method))}>
          {Object.entries(METHODS).map(([name, title]) => (
            <option key={name} value={name}>{title}</option>
          ))}
        </select>
      </label>
      <Own recipe={recipe} chosen={chosen} />
      <Switch name="Classify" on={recipe.classify} title="Say what each sample is: kick, snare, hat…" />
      <Switch name="Exact" on={recipe.exact} title="To the sample: no cut is moved to a zero crossing, nothing fades" />
      <Switch name="Show cuts" on={plan.shown} title="Where it will be cut, drawn over the lane before it is" />
      <output class="count" aria-live="polite">{plan.text(marked)}</output>
      <button class="primary" disabled={busy || recipe.fault.value !== null || lacking[recipe.method.value]}>
        <Icon name="cut" /> Slice
      </button>
      {recipe.method.value === "grid" && lacking.grid && <p class="why">No beats were heard in this track.</p>}
      <Naming recipe={recipe} examples={recipe.examples(lane.asset.name, marked)} />
    </form>
  );
}

/** What the method alone asks for. */
function Own({ recipe, chosen }: { recipe: Recipe; chosen: (change: () => void) => void }) {
  if (recipe.method.value === "onsets")
    return (
      <label class="slider">
        Sensitivity
        <input type="range" min={0} max={1} step={0.05} value={recipe.sensitivity.value} onInput={(event) => chosen(() => (recipe.sensitivity.value = event.currentTarget.valueAsNumber))} />
      </label>
    );
  if (recipe.method.value === "equal")
    return (
      <label class="slider">
        Parts
        <input type="number" required min={1} max={1000} value={recipe.parts.value} onInput={(event) => chosen(() => (recipe.parts.value = event.currentTarget.valueAsNumber))} />
      </label>
    );
  return null;
}

function Switch({ name, on, title }: { name: string; on: { value: boolean }; title: string }) {
  return (
    <label class="switch" title={title}>
      <input type="checkbox" checked={on.value} onChange={(event) => (on.value = event.currentTarget.checked)} /> {name}
    </label>
  );
}

function Naming({ recipe, examples }: { recipe: Recipe; examples: string[] }) {
  const fault = recipe.fault.value;
  return (
    <div class="naming">
      <label>
        Names
        <input value={recipe.template.value} maxLength={100} spellcheck={false} aria-describedby="examples" aria-invalid={fault !== null} title={FIELDS.map((each) => `{${each}}`).join(" ")} onInput={(event) => (recipe.template.value = event.currentTarget.value)} />
      </label>
      <p id="examples" class={fault ? "why" : "examples"} aria-live="polite">
        {fault ?? (examples.length ? `such as ${examples.join(" · ")}` : "mark a region first")}
      </p>
    </div>
  );
}
