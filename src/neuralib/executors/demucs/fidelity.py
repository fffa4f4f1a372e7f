"""From what the model says to stems in the recording's own rate and channels that add up to the mix.

The share each stem gets of the residual (the mix minus what the model found) is equal. That is the orthogonal
projection onto the stems that add up, so the summed squared error against the true stems can only shrink
(Wisdom et al., "Differentiable Consistency Constraints for Improved Deep Speech Enhancement", 2019).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from neuralib.audio import Recording, RecordingWriter, Samples, resample_blocks
from neuralib.errors import ExecutorFailed

GRIDS = {"pcm_16": 1 << 15, "pcm_24": 1 << 23}
"""Steps to full scale of the formats in which float32 holds every value."""
SILENCE_DBFS = -240.0
"""Stands for exact silence: lower than any sample format can say."""


def fold(blocks: Iterable[Samples], pairs: Sequence[tuple[int, ...]]) -> Iterator[Samples]:
    """`(stems, 2 * pairs, n)` to `(stems, channels, n)`: where one channel went into both sides, their mean."""
    for block in blocks:
        sides = [block[:, 2 * p : 2 * p + 2] for p in range(len(pairs))]
        yield np.concatenate(
            [s if len(pair) == 2 else s.mean(1, keepdims=True) for s, pair in zip(sides, pairs, strict=True)],
            axis=1,
        )


def at_rate(blocks: Iterable[Samples], rate: int, target: int, frames: int) -> Iterator[Samples]:
    """`(stems, channels, n)` from one rate to another, exactly `frames` frames in all."""
    stems = channels = 0

    def flat() -> Iterator[Samples]:
        nonlocal stems, channels
        for block in blocks:
            stems, channels, count = block.shape
            yield block.reshape(stems * channels, count)

    for block in resample_blocks(flat(), rate, target, frames=frames):
        yield block.reshape(stems, channels, block.shape[-1])


class Finisher:
    """Takes stems block by block, makes them add up where asked, writes them, and keeps account.

    With `exact`, the stems null: in float below -120 dBFS; on a PCM grid to the last step, because all stems but
    one are rounded to the grid and the last one is what then remains, itself on the grid.
    """

    def __init__(
        self, mix: Recording, writers: Sequence[RecordingWriter], *, exact: bool, complete: bool
    ) -> None:
        """`complete` says whether these are all the stems of the model, so that they should add up."""
        self._mix, self._writers = mix, writers
        self._exact, self._complete = exact and complete, complete
        self._grid = GRIDS.get(mix.subtype) if self._exact else None
        self._frames = 0
        self._residual = 0.0
        self._power = np.zeros(len(writers))
        self._peak = np.zeros(len(writers))

    def write(self, stems: Samples) -> None:
        """`(stems, channels, n)`, the next frames of the mix. Raises ExecutorFailed."""
        if not np.isfinite(stems).all():
            raise ExecutorFailed(
                "the model returned samples that are not numbers; a wider precision may help"
            )
        mix = self._mix.read(self._frames, self._frames + stems.shape[-1])
        if self._exact:
            stems = summing(stems, mix)
        if self._grid:
            stems = on_grid(stems, mix, self._grid)
        for writer, stem in zip(self._writers, stems, strict=True):
            writer.write(stem)
        self._account(stems, mix)

    def _account(self, stems: Samples, mix: Samples) -> None:
        self._frames += mix.shape[-1]
        self._residual += float(((mix - stems.sum(0, dtype=np.float64)) ** 2).sum())
        self._power += (stems.astype(np.float64) ** 2).sum((1, 2))
        if stems.size:
            self._peak = np.maximum(self._peak, np.abs(stems).max((1, 2)))

    def facts(self) -> dict[str, Any]:
        """`null_dbfs` is the RMS of the mix minus the sum of the stems; None when some stems were not made."""
        null = dbfs(self._residual / (self._frames * self._mix.channels))
        return {"exact": self._exact, "null_dbfs": null if self._complete else None}

    def stem_facts(self, index: int) -> dict[str, Any]:
        power = self._power[index] / (self._frames * self._mix.channels)
        return {"rms_dbfs": dbfs(power), "peak": float(self._peak[index])}


def summing(stems: Samples, mix: Samples) -> Samples:
    """The nearest stems that add up to the mix: each gets an equal part of what is missing."""
    missing = mix - stems.sum(0, dtype=np.float64)
    shared: Samples = (stems + missing / len(stems)).astype(np.float32)
    return shared


def on_grid(stems: Samples, mix: Samples, steps: int) -> Samples:
    """Stems on the grid of a PCM format that add up to the mix to the last step.

    All but the last are rounded and clipped; the last is what remains. Where that would clip, the others take
    the excess: as the mix itself fits the format, there is always room.
    """
    whole = np.rint(mix.astype(np.float64) * steps).astype(np.int64)
    levels = np.clip(np.rint(stems.astype(np.float64) * steps).astype(np.int64), -steps, steps - 1)
    levels[-1] = whole - levels[:-1].sum(0)
    excess = levels[-1] - np.clip(levels[-1], -steps, steps - 1)
    levels[-1] -= excess
    if excess.any():
        for stem in range(len(levels) - 1):
            moved = np.clip(levels[stem] + excess, -steps, steps - 1) - levels[stem]
            levels[stem] += moved
            excess -= moved
    made: Samples = (levels / steps).astype(np.float32)
    return made


def dbfs(power: float) -> float:
    """A mean square in decibels of full scale."""
    return max(10 * math.log10(power), SILENCE_DBFS) if power > 0 else SILENCE_DBFS
