"""From what the model says to stems in the recording's own rate and channels that add up to the mix.

The share each stem gets of the residual (the mix minus what the model found) is equal, unless the checkpoint wants it by
magnitude (`sharing.py`). Equal shares are the orthogonal projection onto the stems that add up, so the summed squared
error against the true stems can only shrink (Wisdom et al., "Differentiable Consistency Constraints for Improved Deep
Speech Enhancement", 2019).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from neuralib.audio import Recording, RecordingWriter, Resampling, Samples
from neuralib.errors import ExecutorFailed
from neuralib.executors import AudioOutput

from .sharing import Sharing
from .task import Product

GRIDS = {"pcm_16": 1 << 15, "pcm_24": 1 << 23}
"""Steps to full scale of the formats in which float32 holds every value."""
SILENCE_DBFS = -240.0
"""Stands for exact silence: lower than any sample format can say."""


class WayBack:
    """What a model says, in blocks `(stems, 2 * pairs, n)` at its rate, at the recording's own rate and channels:
    `(stems, channels, n)`, in all as many frames as the recording has.
    """

    def __init__(self, pairs: Sequence[tuple[int, ...]], stems: int, rate: int, recording: Recording) -> None:
        self._pairs = pairs
        self._shape = stems, recording.channels
        self._resampling = Resampling(
            rate, recording.sample_rate, stems * recording.channels, frames=recording.frames
        )

    def take(self, block: Samples) -> Samples:
        stems, channels = self._shape
        folded = fold(block, self._pairs).reshape(stems * channels, block.shape[-1])
        return self._unfolded(self._resampling.take(folded))

    def end(self) -> Samples:
        return self._unfolded(self._resampling.end())

    def _unfolded(self, flat: Samples) -> Samples:
        return flat.reshape(*self._shape, flat.shape[-1])


def fold(block: Samples, pairs: Sequence[tuple[int, ...]]) -> Samples:
    """`(stems, 2 * pairs, n)` to `(stems, channels, n)`: where one channel went into both sides, their mean."""
    sides = [block[:, 2 * p : 2 * p + 2] for p in range(len(pairs))]
    return np.concatenate(
        [s if len(pair) == 2 else s.mean(1, keepdims=True) for s, pair in zip(sides, pairs, strict=True)],
        axis=1,
    )


class Finisher:
    """Takes stems block by block, makes them add up where asked, writes what is wanted, and keeps account.

    With `exact`, the stems null: in float below -120 dBFS; on a PCM grid to the last step, because all stems but
    one are rounded to the grid and the last one is what then remains, itself on the grid.
    """

    def __init__(
        self,
        mix: Recording,
        outputs: Sequence[tuple[Product, RecordingWriter]],
        *,
        exact: bool,
        complete: bool,
        parts: Sequence[float] = (),
    ) -> None:
        """`complete` says whether all stems of the model will come, so that they can add up; `parts` how much of what is
        missing each then takes by magnitude; all take the same without.
        """
        self._mix, self._outputs = mix, outputs
        self._summing = exact and complete
        self._complete = complete
        self._grid = GRIDS.get(mix.subtype) if exact else None
        self._sharing = Sharing(parts, mix.channels) if self._summing and parts else None
        self._taken = self._frames = 0
        self._residual = 0.0
        self._power = np.zeros(len(outputs))
        self._peak = np.zeros(len(outputs))

    def write(self, stems: Samples) -> None:
        """`(stems, channels, n)`, the next frames of the mix. Raises ExecutorFailed."""
        if not np.isfinite(stems).all():
            raise ExecutorFailed(
                "the model returned samples that are not numbers; a wider precision may help"
            )
        mix = self._mix.read(self._taken, self._taken + stems.shape[-1])
        self._taken += stems.shape[-1]
        if self._sharing:
            stems, mix = self._sharing.take(stems, mix)
        self._settle(stems, mix)

    def end(self) -> None:
        """Write what is still held back."""
        if self._sharing:
            self._settle(*self._sharing.end())

    def _settle(self, stems: Samples, mix: Samples) -> None:
        if self._summing:
            stems = summing(stems, mix)
        if self._grid:
            stems = on_grid(stems, mix, self._grid) if self._summing else rounded(stems, self._grid)
        self._frames += mix.shape[-1]
        self._residual += float(((mix - stems.sum(0, dtype=np.float64)) ** 2).sum())
        for index, (product, writer) in enumerate(self._outputs):
            made = produced(product, stems, mix)
            writer.write(made)
            self._power[index] += float((made.astype(np.float64) ** 2).sum())
            self._peak[index] = max(self._peak[index], float(np.abs(made).max(initial=0)))

    def facts(self) -> dict[str, Any]:
        """`null_dbfs` is the RMS of the mix minus the sum of the stems; None when some stems were not found. `sharing`
        is how the stems shared what was missing, if they did.
        """
        null = dbfs(self._residual / (self._frames * self._mix.channels))
        return {
            "exact": self._summing,
            "sharing": ("magnitude" if self._sharing else "equal") if self._summing else None,
            "null_dbfs": null if self._complete else None,
        }

    def output(self, index: int) -> AudioOutput:
        """A finished recording with its level."""
        product, writer = self._outputs[index]
        power = self._power[index] / (self._frames * self._mix.channels)
        facts = {"rms_dbfs": dbfs(power), "peak": float(self._peak[index])}
        return AudioOutput(product.role, product.name, writer.close(), facts)


def produced(product: Product, stems: Samples, mix: Samples) -> Samples:
    """So much of the mix and of each stem as the product says; a stem itself as it is."""
    if not product.mix and product.stems.count(0) == len(stems) - 1 and 1 in product.stems:
        made: Samples = stems[product.stems.index(1)]
        return made
    total = product.mix * mix.astype(np.float64)
    for amount, stem in zip(product.stems, stems, strict=True):
        total += amount * stem.astype(np.float64)
    return total.astype(np.float32)


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
    levels = (rounded(stems, steps).astype(np.float64) * steps).astype(np.int64)
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


def rounded(stems: Samples, steps: int) -> Samples:
    """Each stem by itself on the grid of a PCM format, clipped to what it holds."""
    levels = np.clip(np.rint(stems.astype(np.float64) * steps), -steps, steps - 1)
    made: Samples = (levels / steps).astype(np.float32)
    return made


def dbfs(power: float) -> float:
    """A mean square in decibels of full scale."""
    return max(10 * math.log10(power), SILENCE_DBFS) if power > 0 else SILENCE_DBFS
