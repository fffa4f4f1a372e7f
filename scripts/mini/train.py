"""Train the mini separator: `python train.py --data DIR --run DIR --minutes 60 --cooldown 15`.

Stems of different songs are remixed, and what comes out is compared in time. A run resumes from `trunk.pt`, also where an
earlier one has cooled down: warming up again loses less than throwing the cooldown's steps away.
Songs rendered while training are picked up.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import model
import numpy as np
import torch
from compose import STEMS
from demucs.hdemucs import HDemucs
from muon import optimizers
from net2net import widened
from objective import Objective, spectra
from scipy import signal
from synth import RATE, Audio, Rng

FRAMES = RATE
"""Windows of a second: per CPU second, many short ones teach more than half as many of two."""
ROUNDS = 2
"""Mixes made of one batch's spectra, which cost a sixth of a step."""
PIVOTS = (500.0, 120.0, 700.0, 900.0)
"""Hz at which a tilt leaves a stem as loud as it was, in STEMS order."""
Stack = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Batch = tuple[torch.Tensor, torch.Tensor]


class Songs:
    """Random windows of the rendered songs, remixed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.songs: list[np.ndarray[tuple[int, ...], np.dtype[np.int16]]] = []
        self.alone: dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.int16]]]] = {s: [] for s in STEMS}
        self.names: set[Path] = set()
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(set(self.folder.glob("*.npy")) - self.names):
            self.songs.append(np.load(path, mmap_mode="r"))
            self.names.add(path)
        for stem, found in self.alone.items():
            for path in sorted(set((self.folder / stem).glob("*.npy")) - self.names):
                found.append(np.load(path, mmap_mode="r"))
                self.names.add(path)

    def _take(self, stem: int, rng: Rng, frames: int) -> Audio:
        """`frames` of a stem of any song, or of the stems that were rendered alone."""
        alone = self.alone[STEMS[stem]]
        if alone and rng.uniform() < (0.75 if STEMS[stem] == "drums" else 0.5):
            data = alone[int(rng.integers(len(alone)))]
        else:
            data = self.songs[int(rng.integers(len(self.songs)))][stem]
        at = int(rng.integers(data.shape[1] - frames))
        return np.asarray(data[:, at : at + frames], dtype=np.float32) / 32768

    def _varied(self, stem: int, rng: Rng) -> Audio:
        """A window of one stem, often played faster or slower; drums by more, sharpened, or two at once."""
        drums = STEMS[stem] == "drums"
        low, high = (0.72, 1.38) if drums else (0.84, 1.19)
        ratio = float(rng.uniform(low, high)) if rng.uniform() < 0.6 else 1.0
        x = resampled(self._take(stem, rng, int(FRAMES * ratio) + 2), ratio)
        if drums and rng.uniform() < 0.15:
            x = x + np.float32(rng.uniform(0.3, 1)) * self._take(stem, rng, FRAMES)
        if drums and rng.uniform() < 0.35:
            x = sharpened(x, float(rng.uniform(-0.4, 0.7)))
        return x

    def window(self, rng: Rng) -> Stack:
        """(4, 2, FRAMES): one song's stems at one time, or four songs' (half of the windows)."""
        out = np.empty((len(STEMS), 2, FRAMES), dtype=np.float32)
        if rng.uniform() < 0.5:
            song = self.songs[int(rng.integers(len(self.songs)))]
            at = int(rng.integers(song.shape[2] - FRAMES))
            out[:] = song[:, :, at : at + FRAMES] / np.float32(32768)
        else:
            for stem in range(len(STEMS)):
                out[stem] = self._varied(stem, rng)
        for stem in range(len(STEMS)):
            if rng.uniform() < 0.5:
                out[stem] = out[stem, ::-1].copy()
        return out


def resampled(x: Audio, ratio: float) -> Audio:
    """FRAMES of `x` played `ratio` times as fast, by straight lines between samples."""
    if ratio == 1.0:
        return x[:, :FRAMES]
    where = np.arange(FRAMES) * ratio
    low = where.astype(np.int64)
    part = (where - low).astype(np.float32)
    return x[:, low] * (1 - part) + x[:, low + 1] * part


def sharpened(x: Audio, amount: float) -> Audio:
    """Attacks louder than what rings after them (above 0), or the other way round."""
    level = np.abs(x).max(axis=0)
    fast, slow = (signal.lfilter([1 - k], [1, -k], level) + 1e-4 for k in (0.995, 0.9995))
    gain = np.clip((fast / slow) ** amount, 0.1, 4)
    return (x * gain).astype(np.float32)


def colours(size: int, bins: int, rng: Rng) -> Stack:
    """(size, 4, bins): what stems are multiplied by: level, sign, often a tilt and two broad peaks or dips; drums
    heavy below."""
    octaves = np.log2(np.maximum(np.arange(bins), 0.5) * RATE / 2 / bins)
    shape = (size, len(STEMS), 1)
    tilt = rng.normal(0, 1.0, shape).clip(-2, 2) * (octaves - np.log2(PIVOTS)[:, None]).clip(-4, 4)
    for _ in range(2):
        centre, width = rng.uniform(6, 13.5, shape), rng.uniform(0.4, 1.6, shape)
        tilt = tilt + rng.uniform(-6, 6, shape) * np.exp(-(((octaves - centre) / width) ** 2))
    tilt = tilt * (rng.uniform(size=shape) < 0.6)
    # Drums often weigh most where basses are: breaks from records, booming kicks.
    heavy = rng.uniform(2, 14, (size, 1)) * (rng.uniform(size=(size, 1)) < 0.3)
    corner = np.log2(rng.uniform(45, 150, (size, 1)))
    tilt[:, STEMS.index("drums")] += heavy / (1 + 2 ** (3 * (octaves - corner))) - heavy / 2
    level = rng.uniform(-6, 4, shape) + tilt
    sign = rng.choice([-1, 1], shape) * (rng.uniform(size=shape) > 0.06)
    return (sign * 10 ** (level / 20)).astype(np.float32)


def batches(songs: Songs, size: int, seed: int, network: HDemucs) -> Iterator[Batch]:
    """Spectra and colours without end: each batch as it was cut, then with its stems in other company.

    A thread cuts while the network learns.
    """
    ready: queue.Queue[torch.Tensor] = queue.Queue(maxsize=4)

    def produce() -> None:
        rng = np.random.default_rng(seed)
        for count in itertools.count(1):
            ready.put(torch.from_numpy(np.stack([songs.window(rng) for _ in range(size)])))
            if count % 50 == 0:
                songs.refresh()

    threading.Thread(target=produce, daemon=True).start()
    rng = np.random.default_rng([seed, 1])
    while True:
        z = spectra(ready.get(), network)
        for turn in range(ROUNDS):
            if turn:
                order = np.stack([rng.permutation(size) for _ in STEMS], axis=1)
                z = z[torch.from_numpy(order), torch.arange(len(STEMS))]
            yield z, torch.from_numpy(colours(size, z.shape[3], rng))


def cuts(folder: Path, seconds: int = 9) -> list[torch.Tensor]:
    """The middle seconds of each test song, float32 (4, 2, frames)."""
    songs = [
        np.load(p, mmap_mode="r")[:, :, 6 * RATE : (6 + seconds) * RATE] for p in sorted(folder.glob("*.npy"))
    ]
    return [torch.from_numpy(s.astype(np.float32) / 32768) for s in songs]


def scores(network: torch.nn.Module, tests: list[torch.Tensor]) -> list[float]:
    network.eval()
    found = []
    for stems in tests:
        with torch.inference_mode():
            mix = stems.sum(0)
            estimate = network(mix[None])[0]
            estimate = estimate + (mix - estimate.sum(0)) / len(STEMS)
        found.append(
            [
                model.sdr(s, e) if (s**2).mean() > 1e-6 else np.nan
                for s, e in zip(stems, estimate, strict=True)
            ]
        )
    return [round(float(x), 2) for x in np.nanmean(np.array(found), axis=0)]


class Descent:
    """Steps on one network's weights."""

    def __init__(self, network: HDemucs, rate: float) -> None:
        self.objective, self.optimizers = Objective(network), optimizers(network, rate)

    def step(self, batch: Batch, rate: float) -> float:
        """One step; returns the loss."""
        loss = self.objective(*batch)
        self.objective.network.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.objective.network.parameters(), 5.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        return loss.item()


def assist(network: HDemucs, songs: Path, batch: int, seed: int, rate: Any, steps: Any, done: Any) -> None:
    """A process that takes steps on the shared weights without locks (Hogwild!, Recht et al. 2011).

    Two processes of one thread make half as many steps again as one of two threads, which wait for each other.
    """
    torch.set_num_threads(1)
    feed, descent = batches(Songs(songs), batch, seed, network), Descent(network, rate.value)
    mine = 0
    parent = multiprocessing.parent_process()
    while not done.is_set() and parent is not None and parent.is_alive():
        descent.step(next(feed), rate.value * min(1.0, (mine + 1) / 30))
        mine += 1
        with steps.get_lock():
            steps.value += 1


class Training:
    """A network, its average, and how far it got; `trunk.pt` keeps it all."""

    def __init__(self, run: Path, rate: float, batch: int, start: Path | None = None) -> None:
        torch.manual_seed(0)
        run.mkdir(parents=True, exist_ok=True)
        self.run, self.rate, self.batch = run, rate, batch
        self.network, self.average = model.build(), model.build().eval()
        self.average.load_state_dict(self.network.state_dict())
        self.descent = Descent(self.network, rate)
        self.steps, self.minutes = torch.multiprocessing.get_context("spawn").Value("i", 0), 0.0
        self.trunk = run / "trunk.pt"
        if start:
            self.network.load_state_dict(widened(model.load(start).state_dict(), self.network.state_dict()))
            self.average.load_state_dict(self.network.state_dict())
        if self.trunk.exists():
            kept = torch.load(self.trunk, weights_only=True)
            self.network.load_state_dict(kept["network"])
            self.average.load_state_dict(kept["average"])
            for optimizer, state in zip(self.descent.optimizers, kept["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            self.steps.value, self.minutes = kept["step"], kept["minutes"]
        self.network.train().share_memory()

    def rate_now(self, share: float) -> float:
        return self.rate * share * min(1.0, (self.steps.value + 1) / 30)

    def step(self, batch: Batch, share: float) -> float:
        """One step at `share` of the learning rate; returns the loss."""
        loss = self.descent.step(batch, self.rate_now(share))
        with self.steps.get_lock():
            self.steps.value += 1
        keep = min(0.996, self.steps.value / (self.steps.value + 9))
        with torch.no_grad():
            for a, b in zip(self.average.parameters(), self.network.parameters(), strict=True):
                a.lerp_(b, 1 - keep)
        return loss

    def keep(self, minutes: float) -> None:
        draft = self.trunk.with_suffix(".tmp")
        state = {"network": self.network.state_dict(), "average": self.average.state_dict()}
        state |= {"optimizers": [o.state_dict() for o in self.descent.optimizers], "step": self.steps.value}
        torch.save(state | {"minutes": self.minutes + minutes}, draft)
        draft.rename(self.trunk)

    def export(self, name: str, minutes: float) -> None:
        facts = {"steps": str(self.steps.value), "minutes": f"{self.minutes + minutes:.0f}"}
        model.save(
            self.average.state_dict(),
            self.run / f"{name}.safetensors",
            facts | {"batch": f"{self.batch} x {FRAMES / RATE:g} s"},
        )


@contextlib.contextmanager
def assistants(training: Training, songs: Path, count: int) -> Iterator[Any]:
    """Processes that help until the block ends; yields the learning rate they follow."""
    spawn = torch.multiprocessing.get_context("spawn")
    rate, done = spawn.Value("d", training.rate_now(1.0)), spawn.Event()
    seeds = [training.steps.value + 1_000_000 * (i + 1) for i in range(count)]
    shared = (rate, training.steps, done)
    crew = [
        spawn.Process(target=assist, args=(training.network, songs, training.batch, s, *shared))
        for s in seeds
    ]
    for process in crew:
        process.start()
    try:
        yield rate
    finally:
        done.set()
        for process in crew:
            process.join(timeout=60)


def train(
    training: Training, data: Path, minutes: float, cooldown: float, name: str, helpers: int, every: float
) -> None:
    """Go on for `minutes`; after every `every` of them keep the trunk, export the average and print its scores."""
    tests = {split: cuts(data / split) for split in ("in_domain", "out_of_domain")}
    feed = batches(Songs(data / "train"), training.batch, training.steps.value + 1, training.network)
    if (likeness := training.descent.objective.trusted(next(feed)[0])) < 0.99:
        raise SystemExit(f"the gradient is wrong (cosine {likeness:.2f}): try another --batch")
    begin = last = time.monotonic()
    recent, said = deque[float](maxlen=50), time.monotonic()
    with assistants(training, data / "train", helpers) as rate:
        while (now := (time.monotonic() - begin) / 60) < minutes:
            share = float(np.clip((minutes - now) / cooldown, 0.01, 1))
            rate.value = training.rate_now(share)
            recent.append(training.step(next(feed), share))
            if time.monotonic() - said > 60:
                said = time.monotonic()
                at = training.minutes + now
                print(f"step {training.steps.value} min {at:.1f} loss {np.mean(recent):.4f}", flush=True)
            if time.monotonic() - last > 60 * every:
                last = time.monotonic()
                training.keep(now)
                training.export("latest", now)
                print({split: scores(training.average, test) for split, test in tests.items()}, flush=True)
    training.keep(minutes)
    training.export(name, minutes)
    print(
        f"done, {training.steps.value} steps",
        {k: scores(training.average, t) for k, t in tests.items()},
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="of this call, cooldown included")
    parser.add_argument("--cooldown", type=float, default=12, help="minutes at the end with a falling rate")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument(
        "--start",
        type=Path,
        help="a checkpoint to begin with, such as the bundled one; it may have fewer channels",
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1, help="of this process; assistants have one")
    parser.add_argument("--assistants", type=int, default=1, help="processes beside this one")
    parser.add_argument(
        "--every", type=float, default=5, help="minutes between scores, which cost 180 s of audio"
    )
    parser.add_argument("--name", default="final", help="the cooled-down checkpoint is RUN/NAME.safetensors")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    training = Training(args.run, args.rate, args.batch, args.start)
    train(training, args.data, args.minutes, args.cooldown, args.name, args.assistants, args.every)


if __name__ == "__main__":
    main()
