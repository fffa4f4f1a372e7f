/** A track taken apart: stems to solo, words that follow, notes to look at, parts to cut. */

import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { CutLines } from "../parts/cuts";
import { Fader, gainText, panText } from "../parts/fader";
import { Grid, Snapping } from "../parts/grid";
import { Icon, type IconName } from "../parts/icons";
import { Overview } from "../parts/overview";
import { PianoRoll } from "../parts/pianoroll";
import { clock } from "../parts/text";
import { Marks, Playhead, Ruler, Selection, Surface } from "../parts/timeline";
import { Waveform } from "../parts/waveform";
import { contentUrl } from "../api/client";
import { order, takeApart } from "../state/jobs";
import { mark } from "../state/marking";
import { attempt, complain } from "../state/session";
import { Track, type Lane, type Note } from "../state/track";
import { backToLibrary } from "../state/place";
import { Doing, verbOf } from "./jobs";
import { summaryOf } from "./library";
import { StandInStems } from "./models/standins";
import { Lyrics } from "./lyrics";
import { Slicer } from "./cutting";

export function TrackView({ id }: { id: string }) {
  const track = useMemo(() => new Track(id), [id]);
  const problem = useSignal<string | null>(null);
  useEffect(() => {
    track.open().catch((error: Error) => {
      complain(error);
      if (track.asset.value === null) problem.value = error.message;
    });
    (window as { neuralib?: unknown }).neuralib = { track }; // for the console of the curious, and for tests
    const keys = (event: KeyboardEvent) => press(track, event);
    addEventListener("keydown", keys);
    return () => {
      removeEventListener("keydown", keys);
      track.close();
    };
  }, [track]);
  if (problem.value) return <main class="track" id="main" tabIndex={-1}><p class="empty" role="alert">{problem.value}</p></main>;
  if (track.asset.value === null) return <main class="track" id="main" tabIndex={-1}><p class="more" role="status">Loading…</p></main>;
  return (
    <main class="track" id="main" tabIndex={-1}>
      <Heading track={track} />
      <StandInStems track={track} />
      <Transport track={track} />
      <Overview track={track} />
      <Lanes track={track} />
      <Below track={track} />
    </main>
  );
}

/** Space plays; arrows move; M and S mute and solo the focused lane; + and - zoom; L loops the selection, R marks it, K the place. */
function press(track: Track, event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (target.closest("input:not([type=range]), select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const focused = track.focused.value;
  const actions: Record<string, () => void> = {
    " ": () => track.engine?.toggle(),
    ArrowLeft: () => track.seek(track.position.value - (event.shiftKey ? 1 : 5)),
    ArrowRight: () => track.seek(track.position.value + (event.shiftKey ? 1 : 5)),
    Home: () => track.seek(0),
    m: () => focused && track.mix(focused, { mute: !track.strip(focused).mute }),
    s: () => focused && track.solo(focused),
    l: () => track.loopSelection(),
    r: () => {
      const selected = track.selection.value;
      const regions = track.regions.value;
      if (selected && regions) attempt(() => regions.add(selected.start, selected.end));
    },
    k: () => attempt(() => mark(track, track.position.peek())),
    "+": () => track.zoom(0.5),
    "-": () => track.zoom(2),
    "0": () => track.look(0, track.duration.value),
  };
  if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
  if (event.key === " " && target.closest("button, a, summary")) return; // it presses what has the focus
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

function Heading({ track }: { track: Track }) {
  const asset = track.asset.value!;
  const { bpm, key } = summaryOf(asset);
  const has = (operation: string) => track.jobs.value.some((job) => job.operation === operation);
  const stems = track.lanes.value.length > 1;
  const vocals = track.lanes.value.find((lane) => lane.asset.stem === "vocals");
  const pitched = track.lanes.value.filter((lane) => lane.asset.role === "stem" && lane.asset.stem !== "drums");
  const run = (operation: string, assets: string[]) => attempt(() => Promise.all(assets.map((each) => order({ operation, assets: [each] }))));
  return (
    <header class="heading">
      <a class="quiet button" href={backToLibrary(asset.library_id)} aria-label="Back to the library" title="Back to the library">
        <Icon name="back" />
      </a>
      <h1>{asset.name}</h1>
      <dl class="facts">
        {key && <Fact name="Key" value={`${key.value} · ${key.camelot}`} />}
        {bpm && <Fact name="Tempo" value={`${bpm.value.toFixed(1)} BPM`} />}
        <Fact name="Length" value={clock(track.duration.value)} />
        {asset.audio && <Fact name="Format" value={`${asset.audio.format.toUpperCase()} ${asset.audio.sample_rate / 1000} kHz`} />}
      </dl>
      <div class="actions">
        <Action icon="split" text="Take apart" busy={has("separate")} onClick={() => attempt(() => takeApart(asset.id))} primary={!stems} />
        <Action icon="split" text="Separate" busy={has("separate")} onClick={() => run("separate", [asset.id])} />
        <Action icon="note" text="Notes" busy={has("midi")} onClick={() => run("midi", pitched.length ? pitched.map((lane) => lane.asset.id) : [asset.id])} />
        <Action icon="words" text="Lyrics" busy={has("transcribe")} onClick={() => run("transcribe", [(vocals?.asset ?? asset).id])} />
        <a class="button" href={`/api/v1/assets/${asset.id}/export.zip`} download>
          <Icon name="download" /> Export
        </a>
      </div>
      <Working track={track} />
    </header>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt class="hidden">{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Action({ icon, text, busy, primary, onClick }: { icon: IconName; text: string; busy: boolean; primary?: boolean; onClick: () => void }) {
  return (
    <button class={primary ? "primary" : ""} disabled={busy} onClick={onClick}>
      <Icon name={icon} /> {text}
    </button>
  );
}

function Working({ track }: { track: Track }) {
  if (track.jobs.value.length === 0) return null;
  return (
    <ul class="working" aria-label="What is being made">
      {track.jobs.value.map((job) => (
        <li key={job.id}>
          <span class="what">{verbOf(job)}</span>
          <Doing job={job} />
        </li>
      ))}
    </ul>
  );
}

function Transport({ track }: { track: Track }) {
  const engine = track.engine!;
  const playing = engine.playing.value;
  return (
    <div class="transport" role="toolbar" aria-label="Transport">
      <button class="play" onClick={() => engine.toggle()} aria-label={playing ? "Pause" : "Play"} title="Space">
        <Icon name={playing ? "pause" : "play"} />
      </button>
      <Clock track={track} />
      <button aria-pressed={engine.loop.value !== null} disabled={track.selection.value === null && engine.loop.value === null} onClick={() => track.loopSelection()} title="L">
        <Icon name="loop" /> Loop
      </button>
      <button aria-pressed={track.following.value} onClick={() => (track.following.value = !track.following.value)}>
        <Icon name="follow" /> Follow
      </button>
      <Snapping track={track} />
      <span class="spring" />
      {engine.waiting.value && <span role="status">waiting for sound</span>}
      {engine.error.value && <span role="alert" class="why">{engine.error.value}</span>}
      <button class="quiet" onClick={() => track.zoom(2)} aria-label="Zoom out" title="-"><Icon name="minus" /></button>
      <button class="quiet" onClick={() => track.zoom(0.5)} aria-label="Zoom in" title="+"><Icon name="plus" /></button>
    </div>
  );
}

function Clock({ track }: { track: Track }) {
  return (
    <span class="clock" role="timer" aria-label="Position">
      {clock(track.position.value, true)} <span>/ {clock(track.duration.value)}</span>
    </span>
  );
}

function Lanes({ track }: { track: Track }) {
  return (
    <section class="lanes" aria-label="Stems">
      <div class="heads">
        <div class="ruler-head" />
        {track.lanes.value.map((lane) => (
          <Head key={lane.asset.id} track={track} lane={lane} />
        ))}
      </div>
      <Surface track={track}>
        <Ruler track={track} />
        {track.lanes.value.map((lane) => (
          <LaneWave key={lane.asset.id} track={track} lane={lane} />
        ))}
        <Grid track={track} />
        <CutLines track={track} />
        <Marks track={track} />
        <Selection track={track} />
        <Playhead track={track} />
      </Surface>
    </section>
  );
}

function LaneWave({ track, lane }: { track: Track; lane: Lane }) {
  const strips = track.strips.value;
  const strip = track.strip(lane.asset.id);
  const solo = [...strips.values()].some((each) => each.solo);
  const silent = strip.mute || (solo && !strip.solo);
  return (
    <div class={`lane ${silent ? "silent" : ""} ${track.focused.value === lane.asset.id ? "focused" : ""}`}>
      <Waveform track={track} lane={lane} />
    </div>
  );
}

function Head({ track, lane }: { track: Track; lane: Lane }) {
  const id = lane.asset.id;
  const strip = track.strip(id);
  return (
    <div class={`head ${track.focused.value === id ? "focused" : ""}`} style={{ "--lane": lane.color }} onFocusCapture={() => (track.focused.value = id)} onPointerDown={() => (track.focused.value = id)} role="group" aria-label={lane.label}>
      <span class="name">{lane.label}</span>
      <button class="mute" aria-pressed={strip.mute} onClick={() => track.mix(id, { mute: !strip.mute })} aria-label={`Mute ${lane.label}`} title="M">M</button>
      <button class="solo" aria-pressed={strip.solo} onClick={() => track.solo(id)} aria-label={`Solo ${lane.label}`} title="S">S</button>
      <a class="quiet button" href={contentUrl(id) + "?download=true"} download aria-label={`Download ${lane.label}`} title="Download"><Icon name="download" /></a>
      <Fader name="Gain" of={lane.label} value={strip.gain} min={0} max={1.5} step={0.01} rest={1} from={0} text={gainText(strip.gain)} onSet={(gain) => track.mix(id, { gain })} />
      <Fader name="Pan" of={lane.label} value={strip.pan} min={-1} max={1} step={0.02} rest={0} from={0} text={panText(strip.pan)} onSet={(pan) => track.mix(id, { pan })} />
    </div>
  );
}

function Below({ track }: { track: Track }) {
  const lane = track.lanes.value.find((each) => each.asset.id === track.focused.value) ?? null;
  const notes = lane ? track.notes.value.get(lane.asset.id) : undefined;
  return (
    <div class="below">
      {track.wording.value !== null && <Lyrics key={track.wording.value.asset} track={track} wording={track.wording.value} />}
      {lane && notes && notes.length > 0 && (
        <Notes key={`notes ${lane.asset.id}`} track={track} lane={lane} notes={notes} />
      )}
      {lane && <Slicer key={`cut ${lane.asset.id}`} track={track} lane={lane} />}
    </div>
  );
}

function Notes({ track, lane, notes }: { track: Track; lane: Lane; notes: Note[] }) {
  const synth = track.synth!;
  const heard = synth.heard.value === lane.asset.id;
  return (
    <section class="notes" aria-label={`Notes of ${lane.label}`}>
      <header>
        <h2>Notes of {lane.label}</h2>
        <button aria-pressed={heard} onClick={() => (heard ? synth.hear(null) : synth.hear(lane.asset.id, notes))} title="They sound with the lanes while it plays; a click on one plays it alone">
          <Icon name="note" /> Hear the notes
        </button>
      </header>
      <PianoRoll track={track} notes={notes} color={lane.color} label={lane.label} />
    </section>
  );
}
