/** Words that follow the playhead; a click on one goes there. */

import { useComputed } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Segment, Track } from "../state/track";
import { clock } from "../parts/text";

export function Lyrics({ track, segments }: { track: Track; segments: Segment[] }) {
  // Numbers, not times: the words are drawn again only when another one is sung.
  const line = useComputed(() => segments.findLastIndex((each) => each.start <= track.position.value));
  const word = useComputed(() => segments[line.value]?.words?.findLastIndex((each) => each.start <= track.position.value) ?? -1);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const now = box.current?.querySelector<HTMLElement>(".now");
    if (!now || !track.following.value) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    box.current!.scrollTo({ top: now.offsetTop - box.current!.clientHeight / 3, behavior: still ? "auto" : "smooth" });
  }, [line.value]);
  return (
    <section class="lyrics" aria-label="Lyrics">
      <h2>Lyrics</h2>
      {segments.length === 0 && <p class="empty">No words were heard.</p>}
      <div class="lines" ref={box} tabIndex={0} role="group" aria-label="Lines">
        {segments.map((segment, n) => (
          <p key={segment.id} class={n === line.value ? "now" : n < line.value ? "past" : ""}>
            <span class="time">{clock(segment.start)}</span>
            {segment.words?.length
              ? segment.words.map((each, m) => (
                  <button key={m} class={n === line.value && m === word.value ? "word sung" : "word"} onClick={() => track.seek(each.start)}>
                    {each.text}
                  </button>
                ))
              : <button class="word" onClick={() => track.seek(segment.start)}>{segment.text}</button>}
          </p>
        ))}
      </div>
    </section>
  );
}
