"""The mixes that training hears: windows of rendered stems in new company, each varied as it is cut."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from compose import STEMS
from demucs.hdemucs import HDemucs
from effects import hum, smeared
from objective import spectra
from scipy import signal
from strokes import boom, brushed, shaken
from synth import RATE, Audio, Rng

FRAMES = 3 * RATE
"""Three seconds: in that time a bass changes its note, and a hum does not. A network that knows nothing yet learns more from
many windows of one second."""
ROUNDS = 2
"""Mixes made of one batch's spectra, which cost a sixth of a step."""
PIVOTS = (500.0, 120.0, 700.0, 900.0)
"""Hz at which a tilt leaves a stem as loud as it was, in STEMS order."""
DRUMS = STEMS.index("drums")
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
        if alone and rng.uniform() < (0.75 if STEMS[stem] in {"drums", "bass"} else 0.5):
            data = alone[int(rng.integers(len(alone)))]
        else:
            data = self.songs[int(rng.integers(len(self.songs)))][stem]
        at = int(rng.integers(data.shape[1] - frames))
        return np.asarray(data[:, at : at + frames], dtype=np.float32) / 32768

    def _varied(self, stem: int, rng: Rng) -> Audio:
        """A window of one stem, often played faster or slower, or with other attacks; see `_more_drums`."""
        name = STEMS[stem]
        # Instruments keep their formants; drums have none that matter, and few basses go deeper than they are played.
        low, high = {"drums": (0.72, 1.38), "bass": (0.88, 1.38)}.get(name, (0.84, 1.19))
        ratio = float(rng.uniform(low, high)) if rng.uniform() < 0.6 else 1.0
        x = resampled(self._take(stem, rng, int(FRAMES * ratio) + 2), ratio)
        if name == "drums":
            x = self._more_drums(x, rng)
        # Plucked and picked is not struck: that takes hearing many attacks of both.
        if rng.uniform() < {"drums": 0.35, "bass": 0.35, "other": 0.2, "vocals": 0.0}[name]:
            x = sharpened(x, float(rng.uniform(-0.4, 0.7)))
        return x

    def _more_drums(self, x: Audio, rng: Rng) -> Audio:
        """Drums with others, with what is shaken or booms, in a room; each at random."""
        if rng.uniform() < 0.25:
            for _ in range(int(rng.integers(1, 4))):
                x = x + np.float32(rng.uniform(0.2, 1)) * self._take(DRUMS, rng, FRAMES)
        if rng.uniform() < 0.15:
            x = shaken(rng, FRAMES) * np.float32(np.sqrt((x**2).mean()) + 0.02) + rng.choice([0, 0.5, 1]) * x
        if rng.uniform() < 0.35:
            x = brushed(x, rng) + rng.choice([0, 0.5, 1]) * x
        if rng.uniform() < 0.25:
            peak = float(np.abs(x).max())
            kept, loud = np.float32(rng.uniform(0.1, 1)), boom(rng, FRAMES)
            x = x * kept + loud * np.float32(rng.uniform(0.4, 1.5) * (peak + 0.05))
        return smeared(x, rng) if rng.uniform() < 0.15 else x

    def window(self, rng: Rng) -> Stack:
        """(4, 2, FRAMES): one song's stems at one time (a quarter of the windows), or four songs'."""
        out = np.empty((len(STEMS), 2, FRAMES), dtype=np.float32)
        if rng.uniform() < 0.25:
            song = self.songs[int(rng.integers(len(self.songs)))]
            at = int(rng.integers(song.shape[2] - FRAMES))
            out[:] = song[:, :, at : at + FRAMES] / np.float32(32768)
        else:
            for stem in range(len(STEMS)):
                out[stem] = self._varied(stem, rng)
        if rng.uniform() < 0.25:
            out[DRUMS] += hum(out[DRUMS], rng)
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
    tilt[:, DRUMS] += heavy / (1 + 2 ** (3 * (octaves - corner))) - heavy / 2
    # What is dull or thin: nothing above a corner, or nothing below one.
    often = np.where(np.array(STEMS) == "drums", 0.25, 0.1)[:, None]
    for side, lowest, highest in ((1, 9.5, 13.5), (-1, 6, 9)):
        beyond = np.maximum(side * (octaves - rng.uniform(lowest, highest, shape)), 0)
        steep = rng.uniform(6, 36, shape) * (rng.uniform(size=shape) < often * (1 if side > 0 else 0.4))
        tilt = tilt - np.minimum(beyond * steep, 60)
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
