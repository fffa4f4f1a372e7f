"""Time two programs against each other on a machine that is never quiet.

Ours and theirs run one after the other in one process, in the order A B, B A, A B …, so that a slow drift of
the machine hits both alike. Every pair gives one ratio; the median of the ratios is the figure. The gate
compares what the two sides returned; when it fails there is no ratio at all.
"""

import gc
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "neuralib",
    "torch",
    "demucs",
    "openai-whisper",
    "basic-pitch",
    "onnxruntime",
    "numpy",
    "soundfile",
)


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether both sides gave the same answer, and the figure that says so."""

    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Pair:
    """The two programs, ready to run: models loaded, input decoded."""

    ours: Callable[[], Any]
    stock: Callable[[], Any]
    gate: Callable[[Any, Any], Gate]
    """Receives what `ours` and `stock` returned."""
    audio_s: float | None = None
    """Seconds of audio that one run works through: gives the x real time column."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table. `make` may be slow and imports whatever it needs."""

    name: str
    against: str
    gate: str
    floor: float
    """The ratio that must be reached."""
    aim: float
    make: Callable[[], Pair]
    unmeasured: Callable[[], str | None] = lambda: None
    """Why this machine cannot run the case, or None."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one run."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Result:
    """What one case gave. Ratios are stock over ours: 2.0 means twice as fast."""

    case: Case
    gate: Gate
    ours: tuple[Timing, ...] = ()
    stock: tuple[Timing, ...] = ()
    audio_s: float | None = None

    @property
    def ratios(self) -> list[float]:
        return [theirs.wall / mine.wall for mine, theirs in zip(self.ours, self.stock, strict=True)]

    @property
    def cpu_ratio(self) -> float:
        pairs = zip(self.ours, self.stock, strict=True)
        return statistics.median(theirs.cpu / max(mine.cpu, 1e-9) for mine, theirs in pairs)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def passed(self) -> bool:
        return self.gate.ok and self.ratio >= self.case.floor

    @property
    def realtime(self) -> float | None:
        """Seconds of audio that ours works through in a second."""
        if self.audio_s is None:
            return None
        return self.audio_s / statistics.median(timing.wall for timing in self.ours)

    def interval(self, draws: int = 2000) -> tuple[float, float]:
        """The middle 90 % of the median under resampling of the pairs."""
        rng, ratios = random.Random(0), self.ratios  # noqa: S311 - draws again from what was measured
        medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(draws))
        return medians[draws // 20], medians[-draws // 20]


def measure(case: Case, pairs: int) -> Result:
    """Warm both sides up, hold the gate, then time `pairs` interleaved pairs."""
    pair = case.make()
    gate = pair.gate(pair.ours(), pair.stock())
    if not gate.ok:
        return Result(case, gate)
    ours: list[Timing] = []
    stock: list[Timing] = []
    for index in range(pairs):
        sides = [(pair.ours, ours), (pair.stock, stock)]
        for run, timings in sides if index % 2 == 0 else reversed(sides):
            with _timed(timings):
                run()
    return Result(case, gate, tuple(ours), tuple(stock), pair.audio_s)


@contextmanager
def _timed(timings: list[Timing]) -> Iterator[None]:
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    timings.append(Timing(time.perf_counter() - wall, time.process_time() - cpu))


def machine() -> str:
    """Processor, cores, threads, and the versions of what was measured."""
    import torch

    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{_cpu()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{gpu}; "
        f"Python {platform.python_version()}, {', '.join(found)}"
    )


def no_gpu() -> str | None:
    """Why rows that need a GPU are not measured here, or None."""
    import torch

    return None if torch.cuda.is_available() else "no NVIDIA GPU at hand"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
