"""One separation: which windows are to be looked at, what the networks are shown, what becomes of what they say.

The values are those of `demucs.api.Separator.separate_tensor` (demucs 4.1.0), to rounding. What differs: the
mix is read from disk window by window, finished frames leave at once, and windows may share a batch.
"""

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from neuralib.audio import Recording, Samples
from neuralib.errors import NonFiniteAudio

from .overlap import OverlapAdd, Weighting
from .windows import Grid, Line, Window

FLOOR = 1e-8
"""Keeps silence from being divided by zero."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Mean and standard deviation of a mix folded to mono: what the networks expect to be taken out."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Mix:
    """A recording at the model's rate as pairs of channels; `pairs` names the recording's channels of each."""

    recording: Recording
    pairs: tuple[tuple[int, ...], ...]

    def read(self, pair: int, start: int, frames: int) -> Samples:
        """`(2, frames)` of one pair; a single channel goes into both sides. Only inside the recording."""
        return self._stereo(self.recording.read(start, start + frames), pair)

    def levels(self) -> Generator[int, None, list[Levels]]:
        """Of each pair, in one pass over the file, a step for each block. Raises NonFiniteAudio.

        Blocks are merged by the rule of Chan, Golub and LeVeque (1979), which loses nothing on long files.
        """
        count, mean, squares = 0, np.zeros(len(self.pairs)), np.zeros(len(self.pairs))
        for block in self.recording.blocks():
            yield count
            if not np.isfinite(block).all():
                raise NonFiniteAudio("the recording holds samples that are not numbers")
            mono = np.stack(
                [self._stereo(block, p).mean(0, dtype=np.float64) for p in range(len(self.pairs))]
            )
            n, block_mean = mono.shape[1], mono.mean(1)
            delta = block_mean - mean
            squares += ((mono - block_mean[:, None]) ** 2).sum(1) + delta**2 * (count * n / (count + n))
            mean += delta * (n / (count + n))
            count += n
        deviation = np.sqrt(squares / max(count - 1, 1)) + FLOOR
        return [Levels(float(m), float(d)) for m, d in zip(mean, deviation, strict=True)]

    def _stereo(self, block: Samples, pair: int) -> Samples:
        channels = self.pairs[pair]
        return block[[channels[0], channels[-1]]]


def _start(line: Line) -> float:
    """Where the next window of a member begins: frames before it get nothing more from this member."""
    return line.head.start if line.head else math.inf


@dataclass(frozen=True, slots=True)
class Voice:
    """What a member says in one stem: the place in what it returns, the stem, the part of the stem it gives."""

    place: int
    stem: int
    share: float


class Separation:
    """One separation under way: it gives windows, takes what the networks say of them, and gives stems."""

    def __init__(
        self,
        *,
        mix: Mix,
        levels: Sequence[Levels],
        grid: Grid,
        lines: Sequence[Line],
        voices: Mapping[int, Sequence[Voice]],
        stems: int,
        passes: int,
        device: torch.device,
    ) -> None:
        """`levels` are those of the mix, `voices` by member; `passes` is the number of shifts that are averaged."""
        self.done = 0
        self._mix, self._levels, self._grid, self._lines = mix, levels, grid, lines
        self._voices, self._passes = voices, passes
        self._weighting = Weighting(grid, device)
        self._stems = OverlapAdd(stems, 2 * len(levels), device)

    @property
    def line(self) -> Line | None:
        """The windows of the member that is behind the others in time; None when all are taken."""
        return min((line for line in self._lines if line.head), key=_start, default=None)

    def input(self, window: Window) -> Samples:
        """A window as the network sees it, `(2, frames)`: normalised, then real audio around it where it is too
        short, then silence where the mix has ended.
        """
        level, length = self._levels[window.pair], self._grid.padded(window.frames)
        start = window.start - (length - window.frames) // 2
        skip = max(-start, 0)
        audio = self._mix.read(window.pair, start + skip, length - skip)
        block = np.zeros((2, length), np.float32)
        block[:, skip : skip + audio.shape[1]] = (audio - np.float32(level.mean)) / np.float32(
            level.deviation
        )
        return block

    @torch.inference_mode()
    def add(self, window: Window, result: torch.Tensor) -> None:
        """Take what the network returned for a window, `(stems, 2, frames)`."""
        level = self._levels[window.pair]
        margin = (result.shape[-1] - window.frames) // 2
        weight = self._weighting.of(window.index)[: window.frames]
        for voice in self._voices[window.member]:
            piece = result[voice.place, :, margin : margin + window.frames] * level.deviation + level.mean
            piece = piece * (weight * (voice.share / self._passes))
            self._stems.add(voice.stem, 2 * window.pair, window.start, piece)
        self.done += 1

    def pop(self) -> Samples:
        """The stems as far as they are finished and were not given yet, `(stems, 2 * pairs, n)` at the model's rate.
        All windows that were taken must have been added.
        """
        return self._stems.pop(min(map(_start, self._lines))).cpu().numpy()
