"""What each built-in model is compared with, and how to tell that both gave the same answer."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from neuralib.audio import Recording, RecordingWriter, encode, resample_blocks
from neuralib.executors import Output, Params, Precision, Weights

from . import stock
from .pairs import Gate

LEAST_SNR_DB: Mapping[Precision, float] = {"fp32": 90, "tf32": 60, "bf16": 40, "fp16": 40}


@dataclass(frozen=True, slots=True)
class Peer:
    """The published package on the same recording: what to ask of ours, and what to make of both answers."""

    package: str
    recording: Recording
    params: Params
    run: Callable[[], Any]
    taken: Callable[[Output], Any]
    """Of our output, all that the gate looks at; the files are gone afterwards."""
    gate: Callable[[Any, Any], Gate]
    """Receives what `taken` and `run` returned."""


def demucs(weights: Weights, device: str, precision: Precision, song: Recording, folder: Path) -> Peer:
    """Stems in mode `model`, as the package's own: SNR over all stems."""
    from neuralib.executors.demucs import networks
    from neuralib.executors.demucs.checkpoints import shape_of_weights
    from neuralib.executors.demucs.params import DemucsParams

    bag = shape_of_weights(weights)
    members = [networks.read(path) for path in weights.files]
    theirs = stock.separator(members or [networks.untrained()], bag.mixing, device, bag.sample_rate)
    recording = converted(song, folder / "demucs.f32", bag.sample_rate, 2)
    # Where a GPU runs the package's convolutions in TF32, nothing is nearer to it than that.
    least = LEAST_SNR_DB["tf32" if precision == "fp32" and device.startswith("cuda") else precision]

    def gate(ours: Any, other: Any) -> Gate:
        noise = ((ours.astype(np.float64) - other) ** 2).sum()
        snr = 10 * np.log10((other.astype(np.float64) ** 2).sum() / noise) if noise else np.inf
        return Gate(bool(snr >= least), f"SNR {snr:.0f} dB, {least:g} asked")

    return Peer(
        f"demucs {version('demucs')}, fp32",
        recording,
        DemucsParams(mode="model"),
        lambda: stock.separate(theirs, recording.read(), bag.stems),
        lambda output: np.stack([stem.recording.read() for stem in output.audio]),
        gate,
    )


def whisper(weights: Weights, device: str, precision: Precision, song: Recording, folder: Path) -> Peer:
    """Words with times at temperature 0; draws at higher ones are another matter of chance on each side."""
    from neuralib.executors.whisper import WhisperParams

    model = stock.whisper_model(weights, device)
    recording = converted(song, folder / "whisper.f32", 16_000, 1)
    exact = precision == "fp32"

    def taken(output: Output) -> dict[str, Any]:
        path = next(file.path for file in output.files if file.path.suffix == ".json")
        return dict(json.loads(path.read_bytes()))

    def gate(ours: dict[str, Any], other: dict[str, Any]) -> Gate:
        mine, theirs = timed_words(ours), timed_words(other)
        if not exact:  # times of half precision may differ by a step
            mine, theirs = [(w, 0, 0) for w, *_ in mine], [(w, 0, 0) for w, *_ in theirs]
        kind = "words and times" if exact else "words"
        return Gate(mine == theirs, f"{len(theirs)} {kind} {'the same' if mine == theirs else 'differ'}")

    return Peer(
        f"openai-whisper {version('openai-whisper')}, fp32",
        recording,
        WhisperParams(
            temperature=(0.0,), silence_dbfs=None, max_repeats=None, condition_on_previous_text=True
        ),
        lambda: stock.transcribe(model, recording.read()[0], temperature=0.0),
        taken,
        gate,
    )


def timed_words(document: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Word, start, end of a transcript, ours or the package's."""
    words = (word for segment in document["segments"] for word in segment["words"])
    return [
        ((w.get("text") or w["word"]).strip(), round(float(w["start"]), 3), round(float(w["end"]), 3))
        for w in words
    ]


def basic_pitch(weights: Weights, device: str, precision: Precision, song: Recording, folder: Path) -> Peer:
    """The MIDI file, byte for byte. Raises ImportError where the package cannot run."""
    from neuralib.executors.basic_pitch import BasicPitchParams

    del device, precision
    recording = converted(song, folder / "basic-pitch.f32", 44_100, 2)
    file = folder / "basic-pitch.wav"
    encode(recording, file, format="wav", subtype="float")
    model = stock.basic_pitch_model(weights.files[0])

    def taken(output: Output) -> bytes:
        return next(f.path for f in output.files if f.name == "notes.mid").read_bytes()

    def gate(ours: bytes, theirs: Any) -> Gate:
        same = ours == stock.midi_bytes(theirs[1])
        return Gate(same, f"{len(theirs[2])} notes, MIDI {'identical' if same else 'differs'}")

    return Peer(
        f"basic-pitch {version('basic-pitch')}, ONNX Runtime, fp32",
        recording,
        BasicPitchParams(),
        lambda: stock.predict(model, file),
        taken,
        gate,
    )


PEERS = {"demucs": demucs, "whisper": whisper, "basic-pitch": basic_pitch}


def converted(song: Recording, into: Path, sample_rate: int, channels: int) -> Recording:
    """The song at the rate and with the one or two channels that both sides are given."""
    with RecordingWriter(into, sample_rate, channels) as writer:
        for block in resample_blocks(song.blocks(), song.sample_rate, sample_rate):
            writer.write(
                block.mean(0, keepdims=True) if channels == 1 else block[[0, min(1, len(block) - 1)]]
            )
        return writer.close()
