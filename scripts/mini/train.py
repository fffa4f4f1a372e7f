"""Train the mini separator: `python train.py --data DIR --run DIR --minutes 60 --cooldown 15`.

Stems of different songs are remixed, and what comes out is compared in time. A run resumes from `trunk.pt`, also where an
earlier one has cooled down: warming up again loses less than throwing the cooldown's steps away.
Songs rendered while training are picked up.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
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
from mixes import FRAMES, Batch, Songs, batches
from muon import optimizers
from net2net import widened
from objective import Objective
from synth import RATE


def cuts(folder: Path, seconds: int = 9) -> list[torch.Tensor]:
    """The middle seconds of each test song, float32 (4, 2, frames)."""
    songs = [
        np.load(p, mmap_mode="r")[:, :, 6 * RATE : (6 + seconds) * RATE] for p in sorted(folder.glob("*.npy"))
    ]
    return [torch.from_numpy(s.astype(np.float32) / 32768) for s in songs]


def scores(network: torch.nn.Module, tests: list[torch.Tensor], only: int | None) -> list[float]:
    """Mean SDR per stem, made to add up to the mix; of the one stem that is asked for, as it is said."""
    network.eval()
    found = []
    for stems in tests:
        with torch.inference_mode():
            mix = stems.sum(0)
            estimate = network(mix[None])[0]
            if only is None:
                estimate = model.adding_up(estimate, mix)
        found.append(
            [
                model.sdr(s, e) if (s**2).mean() > 1e-6 else np.nan
                for s, e in zip(stems, estimate, strict=True)
            ]
        )
    means = [round(float(x), 2) for x in np.nanmean(np.array(found), axis=0)]
    return means if only is None else [means[only]]


class Descent:
    """Steps on one network's weights, for all stems or `only` one."""

    def __init__(self, network: HDemucs, rate: float, only: int | None) -> None:
        self.objective, self.optimizers = Objective(network, only), optimizers(network, rate)

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


def assist(
    network: HDemucs, only: int | None, songs: Path, batch: int, seed: int, rate: Any, steps: Any, done: Any
) -> None:
    """A process that takes steps on the shared weights without locks (Hogwild!, Recht et al. 2011).

    Two processes of one thread make half as many steps again as one of two threads, which wait for each other.
    """
    torch.set_num_threads(1)
    feed, descent = batches(Songs(songs), batch, seed, network), Descent(network, rate.value, only)
    mine = 0
    parent = multiprocessing.parent_process()
    while not done.is_set() and parent is not None and parent.is_alive():
        descent.step(next(feed), rate.value * min(1.0, (mine + 1) / 30))
        mine += 1
        with steps.get_lock():
            steps.value += 1


class Training:
    """A network, its average, and how far it got; `trunk.pt` keeps it all."""

    def __init__(
        self, run: Path, rate: float, batch: int, start: Path | None, only: int | None, channels: int
    ) -> None:
        torch.manual_seed(0)
        run.mkdir(parents=True, exist_ok=True)
        self.run, self.rate, self.batch, self.only = run, rate, batch, only
        self.network, self.average = model.build(channels), model.build(channels).eval()
        self.average.load_state_dict(self.network.state_dict())
        self.descent = Descent(self.network, rate, only)
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
        keep = min(0.998, self.steps.value / (self.steps.value + 9))
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
        spawn.Process(
            target=assist, args=(training.network, training.only, songs, training.batch, s, *shared)
        )
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

    def scored() -> dict[str, list[float]]:
        return {split: scores(training.average, test, training.only) for split, test in tests.items()}

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
                print(scored(), flush=True)
    training.keep(minutes)
    training.export(name, minutes)
    print(f"done, {training.steps.value} steps", scored(), flush=True)


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
    parser.add_argument(
        "--only", choices=STEMS, help="a network for this stem: what it says of the others is noise"
    )
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of this process; assistants have one")
    parser.add_argument("--assistants", type=int, default=1, help="processes beside this one")
    parser.add_argument(
        "--every", type=float, default=5, help="minutes between scores, which cost 180 s of audio"
    )
    parser.add_argument("--name", default="final", help="the cooled-down checkpoint is RUN/NAME.safetensors")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    only = STEMS.index(args.only) if args.only else None
    training = Training(args.run, args.rate, args.batch, args.start, only, args.channels)
    train(training, args.data, args.minutes, args.cooldown, args.name, args.assistants, args.every)


if __name__ == "__main__":
    main()
