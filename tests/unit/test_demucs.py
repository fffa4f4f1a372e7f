"""Separation against the stock Demucs package, on networks small enough for a test."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from demucs.api import Separator
from demucs.apply import BagOfModels
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file

from neuralib.audio import AudioInfo, Recording, RecordingWriter, Samples
from neuralib.errors import (
    AudioTooShort,
    Cancelled,
    ModelLoadFailed,
    NonFiniteAudio,
    PrecisionUnsupported,
    ValidationFailed,
)
from neuralib.executors import Output, RunContext, Weights
from neuralib.executors.demucs import CHECKPOINTS, Demucs, DemucsParams
from neuralib.weights import Checkpoint, File

STEMS = ["drums", "bass", "other", "vocals"]
RATE = 44_100

HYBRID_TRANSFORMER: dict[str, Any] = {
    "sources": STEMS,
    "channels": 4,
    "bottom_channels": 16,
    "t_layers": 3,
    "t_heads": 2,
    "dconv_mode": 3,
    "dconv_comp": 2,
    "segment": Fraction(4, 5),
}
"""htdemucs with everything it has, but thin: one window is 0.8 s."""
SPECTRAL: dict[str, Any] = {
    "sources": STEMS,
    "channels": 4,
    "depth": 5,
    "hybrid": False,
    "cac": False,
    "wiener_iters": -1,
    "end_iters": -1,
    "dconv_attn": 10,
    "dconv_comp": 2,
    "segment": 1,
}
"""The bundled separator's kind: one spectrogram branch with an LSTM, windows of any length."""


def network(kind: type[torch.nn.Module], options: dict[str, Any], seed: int = 1) -> torch.nn.Module:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        made = kind(**options).eval()
        for name, parameter in made.named_parameters():
            if "scale" in name or "gamma" in name:  # trained residual branches are not nearly silent
                torch.nn.init.uniform_(parameter, 0.2, 1.0)
    return made


def saved(made: torch.nn.Module, options: dict[str, Any], path: Path, key: str = "klass") -> Path:
    def plain(value: Any) -> Any:
        if isinstance(value, Fraction):
            return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
        return value

    name = f"{type(made).__module__}.{type(made).__name__}"
    metadata = {key: name, "kwargs": json.dumps({k: plain(v) for k, v in options.items()})}
    if key == "klass":
        metadata["args"] = "[]"
    save_file({k: v.contiguous() for k, v in made.state_dict().items()}, path, metadata)
    return path


def weights(files: Sequence[Path], name: str = "test") -> Weights:
    return Weights("demucs", name, tuple(files), "0" * 64, "path", "MIT", commercial_use=True, trained=True)


def loaded(files: Sequence[Path], name: str = "test") -> Demucs:
    executor = Demucs()
    executor.load(weights(files, name), "cpu", "fp32")
    return executor


@dataclass
class Watch:
    """Hears the progress of a run, and may cancel it at a window."""

    cancel_at: int | None = None
    heard: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, done: int, total: int) -> None:
        self.heard.append((done, total))
        if self.cancel_at is not None and done >= (self.cancel_at if self.cancel_at >= 0 else total):
            raise Cancelled


@dataclass
class Studio:
    """Runs separations in folders of their own."""

    folder: Path
    runs: int = 0

    def recording(self, audio: Samples, rate: int = RATE, subtype: str = "float") -> Recording:
        self.runs += 1
        with RecordingWriter(self.folder / f"mix-{self.runs}.f32", rate, audio.shape[0], subtype) as writer:
            writer.write(audio)
            return writer.close()

    def run(
        self, executor: Demucs, mix: Recording, watch: Callable[[int, int], None] | None = None, **params: Any
    ) -> Output:
        self.runs += 1
        scratch = self.folder / f"run-{self.runs}"
        scratch.mkdir()
        return executor.run(mix, DemucsParams(**params), RunContext(scratch, watch or Watch()))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The networks are so small that threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Demucs]:
    made = network(HTDemucs, HYBRID_TRANSFORMER)
    path = saved(made, HYBRID_TRANSFORMER, tmp_path_factory.mktemp("weights") / "tiny.safetensors")
    return made, loaded([path])


@pytest.fixture(scope="module")
def spectral(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Demucs]:
    made = network(HDemucs, SPECTRAL)
    path = saved(made, SPECTRAL, tmp_path_factory.mktemp("weights") / "mini.safetensors", key="class")
    return made, loaded([path])


def song(seconds: float, rate: int = RATE, channels: int = 2, seed: int = 0) -> Samples:
    """Tones, clicks and noise that move: nothing in it repeats from window to window."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    voices = [np.sin(2 * np.pi * f * time * (1 + 0.05 * time)) for f in (110, 440, 1870)]
    mono = 0.15 * sum(voices) * (0.6 + 0.4 * np.sin(5 * time)) + 0.05
    return np.stack(
        [mono * (1 - 0.2 * c) + 0.1 * rng.standard_normal(len(time)) for c in range(channels)]
    ).astype(np.float32)


def stems_of(output: Output) -> Samples:
    return np.stack([audio.recording.read() for audio in output.audio])


def stock(made: torch.nn.Module, audio: Samples, **options: Any) -> Samples:
    """What `demucs.api.Separator.separate_tensor` says; it reads its weights from a repository, so it is made
    without one."""
    separator = Separator.__new__(Separator)
    separator._model = made if isinstance(made, BagOfModels) else BagOfModels([made])
    separator._audio_channels, separator._samplerate = 2, RATE
    separator.update_parameter(
        device="cpu",
        shifts=0,
        overlap=0.25,
        split=True,
        segment=None,
        jobs=0,
        progress=False,
        callback=None,
        callback_arg=None,
    )
    separator.update_parameter(**options)
    _, made_stems = separator.separate_tensor(torch.from_numpy(audio))
    return np.stack([stem.numpy() for stem in made_stems.values()])


def snr(ours: Samples, theirs: Samples) -> float:
    error = ((ours.astype(np.float64) - theirs) ** 2).sum()
    return float(10 * np.log10((theirs.astype(np.float64) ** 2).sum() / max(error, 1e-300)))


# ── the same samples as the stock package ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "options", [{}, {"overlap": 0.6}, {"overlap": 0.0}, {"batch": 3}, {"segment_s": 0.5}]
)
def test_a_hybrid_transformer_says_what_stock_says(transformer, studio, options):
    made, executor = transformer
    audio = song(3.1)
    ours = stems_of(studio.run(executor, studio.recording(audio), mode="model", **options))
    theirs = stock(
        made, audio, **{"segment" if k == "segment_s" else k: v for k, v in options.items() if k != "batch"}
    )
    assert snr(ours, theirs) >= 90


@pytest.mark.parametrize("options", [{}, {"segment_s": 2.0}, {"batch": 4}])
def test_a_spectral_separator_says_what_stock_says(spectral, studio, options):
    made, executor = spectral
    audio = song(3.4)
    ours = stems_of(studio.run(executor, studio.recording(audio), mode="model", **options))
    theirs = stock(made, audio, **{"segment": v for k, v in options.items() if k == "segment_s"})
    assert snr(ours, theirs) >= 90


def test_seeded_shifts_draw_what_stock_draws(spectral, studio):
    made, executor = spectral
    audio = song(2.6)
    random.seed(7)
    theirs = stock(made, audio, shifts=2)
    mix = studio.recording(audio)
    ours = stems_of(studio.run(executor, mix, mode="model", shifts=2, seed=7))
    assert snr(ours, theirs) >= 90
    assert not np.array_equal(ours, stems_of(studio.run(executor, mix, mode="model", shifts=2, seed=8)))
