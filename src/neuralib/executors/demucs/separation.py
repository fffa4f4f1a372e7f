"""The loop: windows of a mix through the networks, added up to stems as time goes on.

The values are those of `demucs.api.Separator.separate_tensor` (demucs 4.1.0), to rounding. What differs: the
mix is read from disk window by window, finished frames leave at once, and windows share a batch.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from neuralib.audio import Recording, Samples
from neuralib.errors import NonFiniteAudio, OutOfMemory

from .windows import Grid, Line, Window

Network = Callable[[torch.Tensor], torch.Tensor]
"""Windows `(n, 2, frames)` to stems `(n, stems, 2, frames)`."""

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

    def levels(self, pulse: Callable[[], None]) -> list[Levels]:
        """Of each pair, in one pass over the file. Raises NonFiniteAudio.

        Blocks are merged by the rule of Chan, Golub and LeVeque (1979), which loses nothing on long files.
        """
        count, mean, squares = 0, np.zeros(len(self.pairs)), np.zeros(len(self.pairs))
        for block in self.recording.blocks():
            pulse()
            mono = np.stack(
                [self._stereo(block, p).mean(0, dtype=np.float64) for p in range(len(self.pairs))]
            )
            n, block_mean = mono.shape[1], mono.mean(1)
            delta = block_mean - mean
            squares += ((mono - block_mean[:, None]) ** 2).sum(1) + delta**2 * (count * n / (count + n))
            mean += delta * (n / (count + n))
            count += n
        if not np.isfinite(squares).all():
            raise NonFiniteAudio("the recording holds samples that are not numbers")
        deviation = np.sqrt(squares / max(count - 1, 1)) + FLOOR
        return [Levels(float(m), float(d)) for m, d in zip(mean, deviation, strict=True)]

    def _stereo(self, block: Samples, pair: int) -> Samples:
        channels = self.pairs[pair]
        return block[[channels[0], channels[-1]]]


class OverlapAdd:
    """Stems under construction: frames that later windows still add to."""

    def __init__(self, stems: int, channels: int, device: torch.device) -> None:
        self._sum = torch.zeros(stems, channels, 0, device=device)
        self._base = 0

    def add(self, stem: int, channel: int, start: int, piece: torch.Tensor) -> None:
        """Add `(channels, n)` to a stem from frame `start` on; what lies before the mix is dropped."""
        skip = max(self._base - start, 0)
        begin, end = start + skip - self._base, start + piece.shape[-1] - self._base
        if end <= begin:
            return
        if end > self._sum.shape[-1]:
            self._sum = nn.functional.pad(self._sum, (0, end - self._sum.shape[-1]))
        self._sum[stem, channel : channel + piece.shape[0], begin:end] += piece[:, skip:]

    def pop(self, until: float) -> torch.Tensor:
        """The frames before `until` that were not taken yet, `(stems, channels, n)`."""
        ready = int(min(max(until - self._base, 0), self._sum.shape[-1]))
        done, self._sum = self._sum[..., :ready], self._sum[..., ready:].clone()
        self._base += ready
        return done


class Weighting:
    """The triangle that fades windows into each other, divided by what all windows of a pass add up to."""

    def __init__(self, grid: Grid, device: torch.device) -> None:
        half = grid.segment // 2
        ramp = torch.cat([torch.arange(1, half + 1), torch.arange(grid.segment - half, 0, -1)])
        self._triangle = ramp / ramp.max()
        self._stride, self._device = grid.stride, device
        self._overlaps = (grid.segment - 1) // grid.stride
        self._cache: dict[int, torch.Tensor] = {}

    def of(self, index: int) -> torch.Tensor:
        """For the window at this place of its pass. The first ones have fewer neighbours before them."""
        before = min(index, self._overlaps)
        if before not in self._cache:
            total = torch.zeros_like(self._triangle)
            for neighbour in range(-before, self._overlaps + 1):
                shift = neighbour * self._stride
                if shift >= 0:
                    total[shift:] += self._triangle[: len(total) - shift]
                else:
                    total[:shift] += self._triangle[-shift:]
            self._cache[before] = (self._triangle / total).to(self._device)
        return self._cache[before]


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
    """One separation: the windows to look at, the networks to look with, the stems to make."""

    def __init__(
        self,
        *,
        networks: Mapping[int, Network],
        mix: Mix,
        grid: Grid,
        voices: Mapping[int, Sequence[Voice]],
        stems: int,
        passes: int,
        device: torch.device,
    ) -> None:
        """`networks` and their `voices` by member; `passes` is the number of shifts that are averaged."""
        self._networks, self._mix, self._grid = networks, mix, grid
        self._voices, self._stems, self._passes = voices, stems, passes
        self._device = device
        self._weighting = Weighting(grid, device)

    def run(self, lines: Sequence[Line], batch: int, progress: Callable[[int], None]) -> Iterator[Samples]:
        """Finished stems in order of time, `(stems, 2 * pairs, n)` at the model's rate. `progress` hears the
        windows done, first zero, then after every batch. Raises OutOfMemory, NonFiniteAudio.
        """
        done = 0
        progress(done)
        levels = self._mix.levels(lambda: progress(done))
        stems = OverlapAdd(self._stems, 2 * len(levels), self._device)
        while waiting := [line for line in lines if line.head]:
            taken = min(waiting, key=_start).take(batch)
            batch = self._apply(taken, levels, stems, batch)
            done += len(taken)
            yield stems.pop(min(map(_start, lines))).cpu().numpy()
            progress(done)

    def _apply(self, taken: Sequence[Window], levels: Sequence[Levels], stems: OverlapAdd, batch: int) -> int:
        """Run some windows of one member and add them up; returns the batch size that fitted the device."""
        start = 0
        while start < len(taken):
            part = taken[start : start + batch]
            try:
                out = self._forward(part, levels)
            except torch.cuda.OutOfMemoryError as error:
                torch.cuda.empty_cache()
                if len(part) == 1:
                    raise OutOfMemory("one window does not fit into the memory of the device") from error
                batch = len(part) // 2
                continue
            for window, result in zip(part, out, strict=True):
                self._add(window, result, levels[window.pair], stems)
            start += len(part)
        return batch

    def _forward(self, part: Sequence[Window], levels: Sequence[Levels]) -> torch.Tensor:
        """`(windows, stems, 2, n)`, as the network returns them."""
        block = np.stack([self._input(window, levels[window.pair]) for window in part])
        return self._networks[part[0].member](torch.from_numpy(block).to(self._device))

    def _input(self, window: Window, level: Levels) -> Samples:
        """A window as the network sees it: normalised, then real audio around it where it is too short, then
        silence where the mix has ended.
        """
        length = self._grid.padded(window.frames)
        start = window.start - (length - window.frames) // 2
        skip = max(-start, 0)
        audio = self._mix.read(window.pair, start + skip, length - skip)
        block = np.zeros((2, length), np.float32)
        block[:, skip : skip + audio.shape[1]] = (audio - np.float32(level.mean)) / np.float32(
            level.deviation
        )
        return block

    def _add(self, window: Window, result: torch.Tensor, level: Levels, stems: OverlapAdd) -> None:
        margin = (result.shape[-1] - window.frames) // 2
        weight = self._weighting.of(window.index)[: window.frames]
        with torch.inference_mode():
            for voice in self._voices[window.member]:
                piece = result[voice.place, :, margin : margin + window.frames] * level.deviation + level.mean
                piece = piece * (weight * (voice.share / self._passes))
                stems.add(voice.stem, 2 * window.pair, window.start, piece)
