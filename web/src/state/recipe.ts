/** How a lane will be cut: what somebody chose, and the parameters of the job that does it. */

import { computed, signal } from "@preact/signals";
import { MIN_MS, MOST } from "./cuts";
import { faultOf, namesOf, type Values } from "./naming";
import type { Region } from "./regions";

export const METHODS = {
  onsets: "Every onset",
  regions: "The regions below",
  grid: "Every beat",
  equal: "Equal parts",
  silence: "Between silences",
} as const;
export type Method = keyof typeof METHODS;

const SHOWN = 3;
/** Stand for what only listening tells. */
const HEARD = ["kick", "hat", "snare"];

export class Recipe {
  readonly method = signal<Method>("onsets");
  readonly sensitivity = signal(0.5);
  readonly parts = signal(8);
  readonly template = signal("{title} {class} {n:02}");
  readonly classify = signal(true);
  /** To the sample: nothing is moved to a zero crossing and nothing fades. */
  readonly exact = signal(false);
  readonly fault = computed(() => faultOf(this.template.value));

  /** The first names as they will be, but for the classes, which are not known before. */
  examples(title: string, regions: readonly Region[]): string[] {
    const count = this.method.value === "regions" ? Math.min(SHOWN, regions.length) : SHOWN;
    const slices = Array.from({ length: count }, (_, at): Values => {
      const region = this.method.value === "regions" ? regions[at]! : null;
      return { title, n: at + 1, group: at + 1, class: this.classify.value ? HEARD[at]! : "slice", name: region?.name ?? null, start: (region?.start_s ?? 0).toFixed(3) };
    });
    return namesOf(this.template.value, slices);
  }

  /** Of a `slice` job. */
  params(regions: readonly Region[], beats: readonly number[]): Record<string, unknown> {
    return {
      method: this.method.value,
      name_template: this.template.value,
      classify: this.classify.value,
      ...(this.exact.value ? { snap: "none", fade_ms: 0 } : {}),
      ...this.own(regions, beats),
    };
  }

  private own(regions: readonly Region[], beats: readonly number[]): Record<string, unknown> {
    switch (this.method.value) {
      case "onsets":
        return { sensitivity: this.sensitivity.value, min_ms: MIN_MS, max_n: MOST };
      case "regions":
        return { region_ids: regions.map((each) => each.id) };
      case "grid":
        return { beats, min_ms: MIN_MS, max_n: MOST };
      case "equal":
        return { parts: this.parts.value };
      case "silence":
        return {};
    }
  }
}
