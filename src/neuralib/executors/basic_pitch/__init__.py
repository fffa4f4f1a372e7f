"""Basic Pitch: note events and MIDI from a recording of any instruments, by the model of Spotify's Audio
Intelligence Lab, without TensorFlow.
"""

import json
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from neuralib.errors import AudioTooShort, ModelLoadFailed, PrecisionUnsupported
from neuralib.executors import (
    AudioInfo,
    Checkpoint,
    Executor,
    FileOutput,
    Output,
    Params,
    Plan,
    Precision,
    Recording,
    RunContext,
    Weights,
    Wheel,
)

from .graph import Array
from .grid import Grid, find_grid
from .midi import midi_file
from .notes import BINS_PER_SEMITONE, CONTOURS, PITCHES, NoteEvent, Rules, min_frames, note_events
from .windows import FRAMES_PER_WINDOW, batches, frame_count, resampled_length, window_count

if TYPE_CHECKING:
    from .listening import Listener


class BasicPitchParams(Params):
    """What a job may ask of Basic Pitch. The defaults are those of the published package."""

    onset_threshold: Annotated[
        float, Field(gt=0, le=1, description="How sure the model must be that a note begins here.")
    ] = 0.5
    frame_threshold: Annotated[
        float, Field(gt=0, le=1, description="How sure it must be, frame by frame, that the note goes on.")
    ] = 0.3
    min_note_ms: Annotated[float, Field(ge=0, le=10_000, description="Shorter notes are left out (ms).")] = (
        127.7
    )
    min_hz: Annotated[
        float | None, Field(ge=10, le=20_000, description="Lower notes are left out; null keeps all.")
    ] = None
    max_hz: Annotated[
        float | None, Field(ge=10, le=20_000, description="Higher notes are left out; null keeps all.")
    ] = None
    melodia_trick: Annotated[
        bool, Field(description="Also find notes without a clear onset: the loudest of what is left.")
    ] = True
    pitch_bends: Annotated[bool, Field(description="Follow vibrato and slides with pitch bends.")] = True
    multiple_pitch_bends: Annotated[
        bool,
        Field(description="One MIDI track per pitch, so that notes that sound together keep their bends."),
    ] = False
    tempo: Annotated[
        Annotated[float, Field(ge=10, le=480)] | Literal["auto"],
        Field(
            description="Tempo of the MIDI file (quarter notes a minute). auto follows the beats of the recording."
        ),
    ] = 120.0
    quantize: Annotated[
        Literal[4, 8, 16, 32] | None,
        Field(
            description="Move notes to the nearest 1/n of a whole note on the tempo's grid; null leaves them."
        ),
    ] = None

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        if self.min_hz is not None and self.max_hz is not None and self.min_hz >= self.max_hz:
            raise ValueError("min_hz must lie below max_hz")
        return self

    @property
    def rules(self) -> Rules:
        return Rules(
            onset_threshold=self.onset_threshold,
            frame_threshold=self.frame_threshold,
            min_frames=min_frames(self.min_note_ms),
            min_hz=self.min_hz,
            max_hz=self.max_hz,
            melodia_trick=self.melodia_trick,
        )


class BasicPitch(Executor[BasicPitchParams]):
    """Note events, as MIDI and as JSON."""

    name = "basic-pitch"
    title = "Basic Pitch"
    operation = "midi"
    code_license = "Apache-2.0"
    params = BasicPitchParams
    checkpoints = (
        Checkpoint(
            name="icassp-2022",
            title="Basic Pitch, ICASSP 2022",
            license="Apache-2.0",
            commercial_use=True,
            sources=(
                Wheel(
                    package="basic_pitch",
                    files=("saved_models/icassp_2022/nmp.onnx",),
                    sha256="2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
                ),
            ),
        ),
    )

    def __init__(self) -> None:
        self._listener: Listener | None = None

    def load(self, weights: Weights | None, device: str, precision: Precision) -> None:
        if weights is None or len(weights.files) != 1:
            raise ModelLoadFailed("basic-pitch needs one ONNX file")
        if precision != "fp32":
            raise PrecisionUnsupported(f"basic-pitch runs in fp32, not in {precision}")
        from .listening import Listener

        self._listener = Listener(weights.files[0], device)

    @classmethod
    def plan(cls, info: AudioInfo, params: BasicPitchParams, checkpoint: Checkpoint | None) -> Plan:
        return Plan(windows=window_count(resampled_length(info.frames, info.sample_rate)))

    def run(self, recording: Recording, params: BasicPitchParams, context: RunContext) -> Output:
        if recording.frames == 0:
            raise AudioTooShort
        samples = resampled_length(recording.frames, recording.sample_rate)
        total = window_count(samples)
        note, onset, contour = (
            part[: frame_count(samples)] for part in self._listen(recording, total, context)
        )
        alive = partial(context.progress, total, total)
        events = note_events(note, onset, contour, params.rules, with_bends=params.pitch_bends, pulse=alive)
        alive()
        grid = find_grid(onset, alive) if params.tempo == "auto" else Grid(params.tempo)
        if params.quantize:
            events = grid.quantised(events, params.quantize)
        midi = context.scratch / "notes.mid"
        midi.write_bytes(midi_file(events, grid, track_per_pitch=params.multiple_pitch_bends))
        alive()
        table = context.scratch / "notes.json"
        table.write_text(_as_json(events, grid), encoding="utf-8")
        facts = self._facts(events, grid)
        return Output(
            files=(
                FileOutput("midi", "notes.mid", "audio/midi", midi, facts),
                FileOutput("midi", "notes.json", "application/json", table, facts),
            ),
            facts=facts,
        )

    def unload(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = None

    def _listen(self, recording: Recording, total: int, context: RunContext) -> tuple[Array, Array, Array]:
        """Note, onset and contour posteriorgram of all windows: `(142 total, 88 or 264)`. The last is on disk: it
        is the large one, 0.3 GB an hour, and only the frames of notes are read again.
        """
        assert self._listener is not None, "load comes first"
        frames = total * FRAMES_PER_WINDOW
        note, onset = np.empty((2, frames, PITCHES), np.float32)
        contour = np.memmap(context.scratch / "contour.f32", np.float32, "w+", shape=(frames, CONTOURS))
        done = 0
        context.progress(done, total)
        for part in self._listener.posteriorgrams(batches(recording, self._listener.windows_per_batch)):
            at = slice(done * FRAMES_PER_WINDOW, done * FRAMES_PER_WINDOW + len(part[0]))
            note[at], onset[at], contour[at] = part
            done += len(part[0]) // FRAMES_PER_WINDOW
            context.progress(done, total)
        return note, onset, contour

    def _facts(self, events: Sequence[NoteEvent], grid: Grid) -> dict[str, Any]:
        pitches = [event.pitch for event in events]
        return {
            "notes": len(events),
            "lowest_pitch": min(pitches, default=None),
            "highest_pitch": max(pitches, default=None),
            "tempo": grid.tempo,
            "beats": len(grid.beats),
            "backend": f"torch {version('torch')}",
        }


def _as_json(events: Sequence[NoteEvent], grid: Grid) -> str:
    """The notes in order of time, the tempo and the beats. Seconds, MIDI pitch numbers; bends in thirds of a
    semitone, evenly spread over the note.
    """
    ordered = sorted(events, key=lambda event: (event.start, event.pitch, event.end))
    notes = [
        {
            "start": round(event.start, 6),
            "end": round(event.end, 6),
            "pitch": event.pitch,
            "amplitude": round(event.amplitude, 6),
            "velocity": event.velocity,
            "bends": event.bends,
        }
        for event in ordered
    ]
    table = {
        "tempo": grid.tempo,
        "beats": [round(beat, 6) for beat in grid.beats],
        "bends_per_semitone": BINS_PER_SEMITONE,
        "notes": notes,
    }
    return json.dumps(table, separators=(",", ":"))
