/** What slicing a lane will make, told and drawn while somebody still chooses how. */

import { computed, effect, signal } from "@preact/signals";
import { byBeats, byOnsets, byParts, type Cuts } from "./cuts";
import { onsetsIn } from "./onsets";
import type { Recipe } from "./recipe";
import type { Region } from "./regions";
import { beatsOf } from "./snapping";
import type { Lane, Track } from "./track";

export class Plan {
  /** Whoever moves what the cuts depend on wants to see them. */
  readonly shown = signal(false);

  constructor(
    private readonly track: Track,
    private readonly lane: Lane,
    private readonly recipe: Recipe,
  ) {}

  /** Asked for when they are wanted, and not before. */
  private readonly onsets = computed(() => (this.shown.value && this.recipe.method.value === "onsets" ? onsetsIn(this.lane.asset.id) : null));

  /** Null: not known, or not yet. Before they snap to zero crossings, which moves a line by 5 ms at most. */
  readonly cuts = computed<Cuts | null>(() => {
    const { audio } = this.lane.asset;
    if (!this.shown.value || !audio) return null;
    switch (this.recipe.method.value) {
      case "onsets": {
        const onsets = this.onsets.value?.value;
        return onsets ? byOnsets(onsets, this.recipe.sensitivity.value) : null;
      }
      case "grid":
        return byBeats(beatsOf(this.track), audio.sample_rate, audio.frames);
      case "equal":
        return byParts(this.recipe.parts.value, audio.sample_rate, audio.frames);
      default:
        return null;
    }
  });

  /** How many slices there will be. */
  text(regions: readonly Region[]): string {
    if (!this.shown.value) return "";
    if (this.recipe.method.value === "regions") return counted(regions.length);
    if (this.recipe.method.value === "silence") return "known when it is cut";
    const cuts = this.cuts.value;
    if (cuts === null) return this.onsets.value?.value === null ? "not known" : "listening…";
    return cuts.slices < cuts.found ? `the first ${cuts.slices} of ${counted(cuts.found)}` : counted(cuts.slices);
  }

  /** Draw them over the lane, once a frame at most, until the answer is called. */
  draw(): () => void {
    let frame = 0;
    const off = effect(() => {
      const cuts = this.cuts.value;
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => (this.track.cuts.value = cuts));
    });
    return () => {
      off();
      cancelAnimationFrame(frame);
      this.track.cuts.value = null;
    };
  }
}

const counted = (count: number): string => `${count} ${count === 1 ? "slice" : "slices"}`;
