"""Train the mini separator: `python train.py --data DIR --run DIR --minutes 60 --cooldown 15`.

Stems of different songs are remixed, and what comes out is compared in time. A run resumes from `trunk.pt`, also where an
earlier one has cooled down: warming up again loses less than throwing the cooldown's steps away.
Songs rendered while training are picked up.
"""

from __future__ import annotations

import argparse
import contextlib
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
from demucs.spec import spectro
from synth import RATE, Audio, Rng

FRAMES = RATE
"""Windows of a second: per CPU second, many short ones teach more than half as many of two."""
FLOOR = 0.1
"""Windows that come out better than 10 dB teach less."""
BF16 = bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())
"""Where the CPU has tiles for it: elsewhere bf16 is slower than fp32."""
Stack = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class Songs:
    """Random windows of the rendered songs, remixed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.songs: list[np.ndarray[tuple[int, ...], np.dtype[np.int16]]] = []
        self.names: set[Path] = set()
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(set(self.folder.glob("*.npy")) - self.names):
            self.songs.append(np.load(path, mmap_mode="r"))
            self.names.add(path)

    def _cut(self, stem: int, song: int, at: int, rng: Rng) -> Audio:
        data = self.songs[song][stem]
        if rng.uniform() > 0.3:
            return np.asarray(data[:, at : at + FRAMES], dtype=np.float32) / 32768
        ratio = float(rng.uniform(0.87, 1.16))
        size = min(int(FRAMES * ratio) + 2, data.shape[1] - at)
        x = np.asarray(data[:, at : at + size], dtype=np.float32) / 32768
        where = np.arange(FRAMES) * (size - 1) / FRAMES
        low = where.astype(np.int64)
        part = (where - low).astype(np.float32)
        return x[:, low] * (1 - part) + x[:, low + 1] * part

    def window(self, rng: Rng) -> Stack:
        """(4, 2, FRAMES): one song's stems, or four songs' (60 %), with random gain, sign and sides."""
        remix = rng.uniform() < 0.6
        song = int(rng.integers(len(self.songs)))
        at = int(rng.integers(self.songs[song].shape[2] - int(FRAMES * 1.2)))
        out = np.empty((len(STEMS), 2, FRAMES), dtype=np.float32)
        for stem in range(len(STEMS)):
            if remix:
                song = int(rng.integers(len(self.songs)))
                at = int(rng.integers(self.songs[song].shape[2] - int(FRAMES * 1.2)))
                x = self._cut(stem, song, at, rng)
            else:
                x = np.asarray(self.songs[song][stem][:, at : at + FRAMES], dtype=np.float32) / 32768
            gain = 10 ** (rng.uniform(-6, 4) / 20) * (1 if rng.uniform() < 0.5 else -1)
            if rng.uniform() < 0.06:
                gain = 0.0
            out[stem] = np.float32(gain) * (x[::-1] if rng.uniform() < 0.5 else x)
        return out


def batches(songs: Songs, size: int, seed: int) -> queue.Queue[torch.Tensor]:
    """A thread that keeps four batches ready."""
    ready: queue.Queue[torch.Tensor] = queue.Queue(maxsize=4)

    def produce() -> None:
        rng = np.random.default_rng(seed)
        count = 0
        while True:
            ready.put(torch.from_numpy(np.stack([songs.window(rng) for _ in range(size)])))
            count += 1
            if count % 50 == 0:
                songs.refresh()

    threading.Thread(target=produce, daemon=True).start()
    return ready


class Trainee(HDemucs):
    """The same network from the mix's STFT to the magnitudes that it puts on the mix's phase."""

    def _spec(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def _mask(self, z: torch.Tensor, m: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - the phase comes later
        return m

    def _ispec(self, z: torch.Tensor, length: int | None = None, scale: int = 0) -> torch.Tensor:  # noqa: ARG002
        return z


def loss_of(network: Trainee, stems: torch.Tensor) -> torch.Tensor:
    """The error of the stems that add up to the mix, in dB of each stem's energy. `stems`: (batch, 4, 2, frames).

    That is the figure we are measured by, per window: the STFT's windows overlap evenly, so that its squares add up to
    those in time, and what a magnitude on the mix's phase cannot say is a constant. No inverse STFT is needed.
    """
    with torch.no_grad():
        z = spectro(stems, network.nfft, network.hop_length)[..., :-1, :]
        mix = z.sum(1)
        loudness = mix.abs()
        wanted = (z * (mix / (loudness + 1e-8)).conj()[:, None]).real
        energy = z.abs().square().sum((2, 3, 4))
        beyond = energy - wanted.square().sum((2, 3, 4))
        usual = 0.75 * energy.mean() + 0.25 * energy
    with torch.autocast("cpu", torch.bfloat16, enabled=BF16):
        said = network(mix).float()
    said = said + (loudness[:, None] - said.sum(1, keepdim=True)) / len(STEMS)
    error = (said - wanted).square().sum((2, 3, 4)) + beyond
    return 10 * torch.log10(error / usual + FLOOR).mean()


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


def descend(network: Trainee, optimizer: torch.optim.Optimizer, stems: torch.Tensor, rate: float) -> float:
    """One step; returns the loss."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = loss_of(network, stems)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return loss.item()


def assist(network: Trainee, songs: Path, batch: int, seed: int, rate: Any, steps: Any, done: Any) -> None:
    """A process that takes steps on the shared weights without locks (Hogwild!, Recht et al. 2011).

    Two processes of one thread make half as many steps again as one of two threads, which wait for each other.
    """
    torch.set_num_threads(1)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate.value)
    feed = batches(Songs(songs), batch, seed)
    mine = 0
    parent = multiprocessing.parent_process()
    while not done.is_set() and parent is not None and parent.is_alive():
        descend(network, optimizer, feed.get(), rate.value * min(1.0, (mine + 1) / 30))
        mine += 1
        with steps.get_lock():
            steps.value += 1


class Training:
    """A network, its average, and how far it got; `trunk.pt` keeps it all."""

    def __init__(self, run: Path, rate: float, batch: int, start: Path | None = None) -> None:
        torch.manual_seed(0)
        run.mkdir(parents=True, exist_ok=True)
        self.run, self.rate, self.batch = run, rate, batch
        self.network, self.average = Trainee(**model.KWARGS), model.build().eval()
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=rate)
        self.steps, self.minutes = torch.multiprocessing.get_context("spawn").Value("i", 0), 0.0
        self.trunk = run / "trunk.pt"
        if start:
            self.network.load_state_dict(model.load(start).state_dict())
            self.average.load_state_dict(self.network.state_dict())
        if self.trunk.exists():
            kept = torch.load(self.trunk, weights_only=True)
            self.network.load_state_dict(kept["network"])
            self.average.load_state_dict(kept["average"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.steps.value, self.minutes = kept["step"], kept["minutes"]
        self.network.train().share_memory()

    def rate_now(self, share: float) -> float:
        return self.rate * share * min(1.0, (self.steps.value + 1) / 30)

    def step(self, stems: torch.Tensor, share: float) -> float:
        """One step at `share` of the learning rate; returns the loss."""
        loss = descend(self.network, self.optimizer, stems, self.rate_now(share))
        with self.steps.get_lock():
            self.steps.value += 1
        keep = min(0.993, self.steps.value / (self.steps.value + 9))
        with torch.no_grad():
            for a, b in zip(self.average.parameters(), self.network.parameters(), strict=True):
                a.lerp_(b, 1 - keep)
        return loss

    def keep(self, minutes: float) -> None:
        draft = self.trunk.with_suffix(".tmp")
        state = {"network": self.network.state_dict(), "average": self.average.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), "step": self.steps.value}
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
    feed = batches(Songs(data / "train"), training.batch, seed=training.steps.value + 1)
    begin = last = time.monotonic()
    recent, said = deque[float](maxlen=50), time.monotonic()
    with assistants(training, data / "train", helpers) as rate:
        while (now := (time.monotonic() - begin) / 60) < minutes:
            share = float(np.clip((minutes - now) / cooldown, 0.01, 1))
            rate.value = training.rate_now(share)
            recent.append(training.step(feed.get(), share))
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
    parser.add_argument("--start", type=Path, help="a checkpoint to begin with, such as the bundled one")
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
