/** Lyrics made right: every line is a field, every save a revision that can be brought back. */

import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { Icon } from "../parts/icons";
import { clock } from "../parts/text";
import { drop, join, retext, split, startAt, type Line } from "../state/lines";
import { attempt } from "../state/session";
import type { Segment, Track } from "../state/track";
import { DOUBTFUL, type Wording } from "../state/wording";

export function Editor({ track, wording, line }: { track: Track; wording: Wording; line: number }) {
  const segments = wording.segments.value;
  return (
    <>
      <p class="keys">
        <kbd>Enter</kbd> saves, <kbd>Esc</kbd> gives up, <kbd>Alt</kbd> + <kbd>T</kbd> begins the line at the playhead, <kbd>S</kbd> splits it,{" "}
        <kbd>J</kbd> joins the next, <kbd>⌫</kbd> deletes it
      </p>
      {wording.conflict.value && <Conflict wording={wording} />}
      <ol class="lines editing" aria-label="Lines to edit">
        {segments.map((segment, n) => (
          <Row key={n} track={track} wording={wording} segment={segment} n={n} now={n === line} />
        ))}
      </ol>
      <Revisions wording={wording} />
    </>
  );
}

function Conflict({ wording }: { wording: Wording }) {
  return (
    <div class="conflict" role="alert">
      <p>These lyrics were saved elsewhere meanwhile. Nothing is lost: whichever you take, the other stays among the revisions or here.</p>
      <button class="primary" onClick={() => attempt(() => wording.keepMine())}>Save mine over it</button>
      <button onClick={() => attempt(() => wording.takeTheirs())}>Take the other</button>
    </div>
  );
}

function Row({ track, wording, segment, n, now }: { track: Track; wording: Wording; segment: Segment; n: number; now: boolean }) {
  const doubtful = segment.words.filter((each) => each.probability < DOUBTFUL).map((each) => each.text);
  const field = useRef<HTMLInputElement>(null);
  // Before anybody can type: later it would take back what they typed.
  useLayoutEffect(() => {
    field.current!.value = segment.text;
  }, [segment.text]);
  const save = (change: (lines: Segment[]) => readonly Line[]) => attempt(() => wording.save(change));
  const giveUp = () => {
    if (field.current) field.current.value = segment.text;
    wording.rest();
  };
  // A field that leaves with its line loses the focus, too.
  const keep = () => {
    const text = field.current?.value.trim() ?? "";
    if (text === "" || text === segment.text) giveUp();
    else save((lines) => retext(lines, n, text));
  };
  const here = () => save((lines) => startAt(lines, n, track.position.peek(), track.duration.peek()));
  const onKeyDown = (event: KeyboardEvent) => {
    const input = event.currentTarget as HTMLInputElement;
    const keys: Record<string, () => void> = {
      KeyT: here,
      KeyS: () => save((lines) => split(lines, n, input.value, input.selectionStart ?? 0)),
      KeyJ: () => save((lines) => join(retext(lines, n, input.value.trim() || segment.text), n)),
      Backspace: () => save((lines) => drop(lines, n)),
    };
    const act = event.altKey ? keys[event.code] : undefined;
    if (act) act();
    else if (event.key === "Enter") keep();
    else if (event.key === "Escape") giveUp();
    else return;
    event.preventDefault();
  };
  return (
    <li class={now ? "now" : ""}>
      <button class="quiet time" onClick={() => track.seek(segment.start)} aria-label={`Go to line ${n + 1}`}>
        {clock(segment.start, true)}
      </button>
      <input
        class={doubtful.length ? "doubt" : ""}
        ref={field}
        maxLength={500}
        aria-label={`Line ${n + 1}`}
        title={doubtful.length ? `To check: ${doubtful.join(", ")}` : undefined}
        onInput={() => wording.rest(true)}
        onBlur={keep}
        onKeyDown={onKeyDown}
      />
      <button class="quiet" title="Begin at the playhead: Alt + T" aria-label={`Begin line ${n + 1} at the playhead`} onClick={here}>
        <Icon name="follow" />
      </button>
      <button class="quiet" title="Delete: Alt + Backspace" aria-label={`Delete line ${n + 1}`} onClick={() => save((lines) => drop(lines, n))}>
        <Icon name="trash" />
      </button>
    </li>
  );
}

function Revisions({ wording }: { wording: Wording }) {
  const open = useSignal(false);
  useEffect(() => {
    if (open.value) wording.history().catch(() => undefined);
  }, [open.value, wording.revision.value]);
  return (
    <details class="revisions" onToggle={(event) => (open.value = event.currentTarget.open)}>
      <summary>Revisions</summary>
      <ul aria-label="Revisions">
        {wording.revisions.value.map((each) => (
          <li key={each.number}>
            <span class="figure">{each.number}</span>
            <span>{each.by === "machine" ? "as it was heard" : each.restored ? `${each.restored} again` : "edited"}</span>
            <time dateTime={each.created_at}>{new Date(each.created_at).toLocaleString()}</time>
            {each.number === wording.revision.value ? (
              <span class="shown">shown</span>
            ) : (
              <button onClick={() => attempt(() => wording.restore(each.number))} aria-label={`Restore revision ${each.number}`}>
                Restore
              </button>
            )}
          </li>
        ))}
      </ul>
    </details>
  );
}
