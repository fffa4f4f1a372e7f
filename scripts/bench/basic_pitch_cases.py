"""Basic Pitch against its own package on ONNX Runtime: note creation alone, and from a WAV file to MIDI."""

import asyncio
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from neuralib.bench.pairs import Case, Gate, Pair, no_gpu
from neuralib.bench.stock import basic_pitch_model, midi_bytes, predict

SECONDS = 240
RATE = 44_100


@cache
def song() -> Path:
    """A stereo WAV of chords, melodies with vibrato and noise bursts for drums: the same every time."""
    import soundfile as sf

    rng = np.random.default_rng(0)
    sound = rng.normal(0, 1e-3, (SECONDS * RATE, 2)).astype(np.float32)
    for start in np.arange(0, SECONDS - 2, 0.25):
        at = int(start * RATE)
        burst = rng.normal(0, 0.1, RATE // 8) * np.exp(-np.arange(RATE // 8) / 800)
        sound[at : at + len(burst)] += burst[:, None].astype(np.float32)
        for _ in range(rng.integers(1, 4)):
            note = _tone(rng.integers(36, 84), rng.uniform(0.2, 1.5), rng.uniform(0, 0.004))
            sound[at : at + len(note)] += note[:, None] * rng.uniform(0.3, 1, 2).astype(np.float32)
    path = Path(tempfile.mkdtemp(prefix="bench-")) / "song.wav"
    sf.write(path, np.clip(sound, -1, 1), RATE, subtype="PCM_16")
    return path


def _tone(pitch: int, seconds: float, vibrato: float) -> Any:
    time = np.arange(int(seconds * RATE), dtype=np.float32) / RATE
    phase = 2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * (time + vibrato * np.sin(10 * np.pi * time) / 30)
    envelope = np.minimum(time / 0.01, 1) * np.exp(-2 * time) * np.minimum((seconds - time) / 0.03, 1)
    return (0.08 * envelope * sum(np.sin(k * phase) / k for k in range(1, 7))).astype(np.float32)


@cache
def executor(device: str = "cpu") -> Any:
    from neuralib.executors.basic_pitch import BasicPitch
    from neuralib.weights import Resolver

    loaded = BasicPitch()
    weights = Resolver(song().parent, offline=True).resolve("basic-pitch", BasicPitch.checkpoints)
    loaded.load(weights, device, "fp32")
    return loaded


def from_file(device: str = "cpu") -> tuple[list[dict[str, Any]], bytes]:
    """Ours, the way a job runs: decoded in its own process, then notes and MIDI on disk."""
    from neuralib.audio import decode
    from neuralib.executors import RunContext
    from neuralib.executors.basic_pitch import BasicPitchParams

    with tempfile.TemporaryDirectory() as folder:
        recording, _ = asyncio.run(decode(song(), Path(folder) / "song.f32"))
        context = RunContext(Path(folder), lambda *_: None)
        files = {f.name: f.path for f in executor(device).run(recording, BasicPitchParams(), context).files}
        return json.loads(files["notes.json"].read_bytes())["notes"], files["notes.mid"].read_bytes()


@cache
def stock_model() -> Any:
    return basic_pitch_model(executor().checkpoints[0].sources[0].find(song().parent)[0])


def stock_from_file() -> tuple[dict[str, Any], Any, list[Any]]:
    return predict(stock_model(), song())


def same_file(ours: Any, stock: Any) -> Gate:
    notes, midi = ours
    _, theirs, events = stock
    same = len(notes) == len(events) and midi == midi_bytes(theirs)
    return Gate(same, f"{len(notes)} notes, MIDI {'identical' if same else 'differs'}")


def make_end_to_end() -> Pair:
    return Pair(from_file, stock_from_file, same_file, SECONDS)


def make_end_to_end_on_a_gpu() -> Pair:
    return Pair(lambda: from_file("cuda:0"), stock_from_file, nearly_the_same_notes, SECONDS)


def nearly_the_same_notes(ours: Any, stock: Any) -> Gate:
    """Another processor rounds otherwise, and a threshold may fall on it: 99.5 % of the notes."""
    mine = {(round(n["start"], 3), n["pitch"]) for n in ours[0]}
    theirs = {(round(float(start), 3), pitch) for start, _, pitch, *_ in stock[2]}
    both = len(mine & theirs)
    return Gate(both >= 0.995 * max(len(mine), len(theirs)), f"{both} of {len(theirs)} notes the same")


def make_notes() -> Pair:
    """Both sides from the posteriorgrams that the published package makes, to note events and MIDI."""
    from basic_pitch.note_creation import model_output_to_notes

    from neuralib.executors.basic_pitch.grid import Grid
    from neuralib.executors.basic_pitch.midi import midi_file
    from neuralib.executors.basic_pitch.notes import Rules, note_events

    heard, *_ = stock_from_file()

    def ours() -> tuple[list[Any], bytes]:
        events = note_events(heard["note"], heard["onset"], heard["contour"], Rules())
        return events, midi_file(events, Grid(120), track_per_pitch=False)

    def stock() -> tuple[Any, list[Any]]:
        made: tuple[Any, list[Any]] = model_output_to_notes(heard, onset_thresh=0.5, frame_thresh=0.3)
        return made

    def gate(mine: Any, theirs: Any) -> Gate:
        events = [(n.start, n.end, n.pitch, n.amplitude, n.bends) for n in mine[0]]
        expected = [(s, e, p, float(a), tuple(map(int, bends))) for s, e, p, a, bends in theirs[1]]
        same = events == expected and mine[1] == midi_bytes(theirs[0])
        return Gate(same, f"{len(events)} events {'identical' if same else 'differ'}")

    return Pair(ours, stock, gate, SECONDS)


CASES = [
    Case("amt.cpu.notes", "`basic_pitch` note creation, 240 s", "identical events", 10, 30, make_notes),
    Case(
        "amt.cpu.e2e",
        "`basic_pitch.inference.predict` on ONNX, 240 s",
        "identical MIDI",
        1.8,
        3,
        make_end_to_end,
    ),
    Case(
        "amt.h200.e2e",
        "the same on ONNX Runtime on the CPU, which is all the package has",
        "notes the same, >= 99.5 %",
        1.8,
        3,
        make_end_to_end_on_a_gpu,
        unmeasured=no_gpu,
    ),
]
