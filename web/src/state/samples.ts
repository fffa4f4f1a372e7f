/** What was cut from a lane, and ways out of here for it. */

import { api, ok, type Asset } from "../api/client";
import type { Track } from "./track";

/** Of a sample, as the slicer tells it. */
export interface SampleFacts {
  start_s: number;
  end_s: number;
  class: string | null;
  confidence: number | null;
}

export const factsOf = (sample: Asset): SampleFacts => sample.facts as unknown as SampleFacts;

/** By slicings, the newest first: what one made is stored at one instant. In each by time. */
export function samplesOf(track: Track, asset: string): Asset[] {
  return track.children.value
    .filter((each) => each.role === "sample" && each.parent_id === asset)
    .sort((a, b) => b.created_at.localeCompare(a.created_at) || factsOf(a).start_s - factsOf(b).start_s);
}

export const kitUrl = (asset: string): string => `/api/v1/assets/${asset}/kit.zip`;

/** A kit takes no loops: they have a tempo of their own. */
export const isPlayable = (sample: Asset): boolean => factsOf(sample).class !== "loop";

/** Order a zip of these files under their own names, and have the browser fetch it. */
export async function exportZip(samples: readonly Asset[]): Promise<void> {
  const body = { asset_ids: samples.map((each) => each.id), tree: false, include: ["audio", "licenses"], name_template: "{name}" };
  const order = await ok(api.POST("/api/v1/exports", { body: body as never }));
  const link = document.createElement("a");
  link.href = order.urls.content;
  link.download = "";
  link.click();
}
