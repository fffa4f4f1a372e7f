"""The models on this machine, each beside its published package: how fast, and whether the answer is the same.

pairs.py   two programs timed against each other
stock.py   the published packages on weights that lie here
peers.py   what to compare for each model, and the gate
"""

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from neuralib.audio import Recording, decode
from neuralib.config import Settings
from neuralib.devices import choose_precision, find_device
from neuralib.executors import Executor, Precision, RunContext
from neuralib.executors.registry import Registry
from neuralib.weights import AUTO, Resolver

from .pairs import Case, Pair, Result, measure
from .peers import PEERS, Peer


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table."""

    model: str
    """With its weights and their digest, where it has any."""
    device: str
    precision: Precision
    result: Result | None
    """None where there is nothing to compare with; `note` says why."""
    against: str = ""
    note: str = ""


def compare(
    settings: Settings, registry: Registry, resolver: Resolver, song: Path, models: list[str], pairs: int
) -> Iterator[Line]:
    """A line for each model, as it is measured. `song` is any audio file; `models` may name weights.

    Raises UnknownModel, UnsupportedAudio and its kin, and what loading a model raises.
    """
    with tempfile.TemporaryDirectory(prefix="neuralib-bench-") as name:
        folder = Path(name)
        recording, _ = asyncio.run(decode(song, folder / "song.f32"))
        for model in models:
            yield _line(settings, registry, resolver, recording, model, pairs, folder)


def _line(
    settings: Settings,
    registry: Registry,
    resolver: Resolver,
    song: Recording,
    model: str,
    pairs: int,
    folder: Path,
) -> Line:
    executor, checkpoint = registry.choose(None, model)
    device = find_device(settings.device.name)
    precision = choose_precision(settings.device.precision, executor.precisions, device)
    if executor.name not in PEERS:
        return Line(executor.name, device.name, precision, None, note="no published package to compare with")
    wanted = checkpoint or settings.weights.default.get(executor.name, AUTO)
    weights = resolver.resolve(executor.name, executor.checkpoints, wanted)
    line = partial(Line, weights.id, device.name, precision)
    if settings.device.threads:
        import torch

        torch.set_num_threads(settings.device.threads)
    try:
        peer = PEERS[executor.name](weights, device.name, precision, song, folder)
    except ImportError as error:
        return line(None, note=f"its package cannot run here: {error}")
    loaded = executor()
    loaded.load(weights, device.name, precision)
    try:
        pair = Pair(partial(_run, loaded, peer), peer.run, peer.gate, song.duration)
        case = Case(executor.name, peer.package, "", 0.0, 0.0, lambda: pair)
        return line(measure(case, pairs), peer.package)
    finally:
        loaded.unload()


def _run(executor: Executor[Any], peer: Peer) -> Any:
    """One job's work without its queue: from decoded audio to finished files and recordings."""
    with tempfile.TemporaryDirectory(prefix="neuralib-bench-") as scratch:
        context = RunContext(Path(scratch), lambda _done, _total: None)
        return peer.taken(executor.run(peer.recording, peer.params, context))
