/** Cut a lane into samples: by the regions that somebody drew, or where the sound itself says so. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { hush } from "../../state/audition";
import { Regions } from "../../state/regions";
import { complain } from "../../state/session";
import type { Lane, Track } from "../../state/track";
import { Cutter } from "./cutter";
import { RegionList } from "./regions";
import { Samples } from "./samples";

export function Slicer({ track, lane }: { track: Track; lane: Lane }) {
  const regions = useSignal<Regions | null>(null);
  useEffect(() => {
    const mine = new Regions(lane.asset.id);
    mine.load().then(() => (regions.value = mine)).catch(complain);
    track.regions.value = mine;
    const keys = (event: KeyboardEvent) => event.key === "Escape" && hush();
    addEventListener("keydown", keys);
    return () => {
      removeEventListener("keydown", keys);
      hush();
      mine.close();
      track.regions.value = null;
    };
  }, [lane.asset.id]);
  if (regions.value === null) return null;
  return (
    <section class="slicer" aria-label={`Samples of ${lane.label}`}>
      <h2>Samples of {lane.label}</h2>
      <Cutter track={track} lane={lane} regions={regions.value} />
      <RegionList track={track} regions={regions.value} />
      <Samples track={track} lane={lane} />
    </section>
  );
}
