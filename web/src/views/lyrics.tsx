/** Words that follow the playhead; a click on one goes there. */

import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "../parts/icons";
import { clock } from "../parts/text";
import type { Segment, Track, Word } from "../state/track";
import { DOUBTFUL, type Wording } from "../state/wording";
import { Editor } from "./wording";

const FORMS = ["lrc", "srt", "vtt", "txt"] as const;

export function Lyrics({ track, wording }: { track: Track; wording: Wording }) {
  const segments = wording.segments.value;
  const editing = useSignal(false);
  // Numbers, not times: the words are drawn again only when another one is sung.
  const line = useComputed(() => wording.segments.value.findLastIndex((each) => each.start <= track.position.value));
  const box = useRef<HTMLElement>(null);
  useEffect(() => {
    const now = box.current?.querySelector<HTMLElement>(".lines .now");
    if (!now || !track.following.value || now.parentElement!.contains(document.activeElement)) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const lines = now.parentElement!;
    lines.scrollTo({ top: now.offsetTop - lines.clientHeight / 3, behavior: still ? "auto" : "smooth" });
  }, [line.value]);
  return (
    <section class="lyrics" aria-label="Lyrics" ref={box}>
      <header>
        <h2>Lyrics</h2>
        <span class="forms" role="group" aria-label="Download the lyrics">
          {FORMS.map((form) => (
            <a key={form} class="quiet button" href={`/api/v1/assets/${wording.asset}/transcript?format=${form}`} download={`${track.asset.value?.name ?? "lyrics"}.${form}`} aria-label={`Download as ${form.toUpperCase()}`}>
              {form.toUpperCase()}
            </a>
          ))}
        </span>
        <button aria-pressed={editing.value} onClick={() => (editing.value = !editing.value)}>
          <Icon name="pen" /> Edit
        </button>
      </header>
      {segments.length === 0 && <p class="empty">No words were heard.</p>}
      {editing.value ? (
        <Editor track={track} wording={wording} line={line.value} />
      ) : (
        <div class="lines" tabIndex={0} role="group" aria-label="Lines">
          {segments.map((segment, n) => (
            <p key={segment.id} class={n === line.value ? "now" : n < line.value ? "past" : ""}>
              <span class="time">{clock(segment.start)}</span>
              <Words track={track} segment={segment} now={n === line.value} />
            </p>
          ))}
        </div>
      )}
    </section>
  );
}

function Words({ track, segment, now }: { track: Track; segment: Segment; now: boolean }) {
  const sung = useComputed(() => segment.words.findLastIndex((each) => each.start <= track.position.value));
  if (segment.words.length === 0)
    return (
      <button class="word" onClick={() => track.seek(segment.start)}>
        {segment.text}
      </button>
    );
  const at = now ? sung.value : -1;
  return (
    <>
      {segment.words.map((each, m) => (
        <button key={m} class={m === at ? "word sung" : "word"} title={doubt(each)} onClick={() => track.seek(each.start)}>
          {doubt(each) ? <span class="doubt">{each.text}</span> : each.text}
        </button>
      ))}
    </>
  );
}

const doubt = (word: Word): string | undefined =>
  word.probability < DOUBTFUL ? `To check: heard with ${Math.round(word.probability * 100)} % certainty` : undefined;
