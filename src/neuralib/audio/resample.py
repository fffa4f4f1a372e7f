"""Sample rates, changed in one pass with soxr (constant memory, no lag) and to an exact count of frames.

The count matters: audio that goes to a model's rate and back must come back frame for frame, or stems no longer
line up with their mix.
"""

from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neuralib.audio.recording import Recording, RecordingWriter, Samples

Quality = Literal["HQ", "VHQ"]
"""soxr's recipes for 20-bit and 28-bit results. HQ is enough for a model; VHQ is for audio that people keep."""


def resampled_frames(frames: int, rate: int, target: int) -> int:
    """Frames that `frames` frames at `rate` Hz become at `target` Hz: the nearest whole number, halves up."""
    return (2 * frames * target + rate) // (2 * rate)


class Resampling:
    """A stream of float32 `(channels, n)` on its way from `rate` Hz to `target` Hz; frames as in `resample_blocks`."""

    def __init__(
        self, rate: int, target: int, channels: int, *, frames: int | None = None, quality: Quality = "VHQ"
    ) -> None:
        self._rate, self._target, self._channels, self._frames = rate, target, channels, frames
        self._stream = _stream(rate, target, channels, quality)
        self._taken = self._done = 0

    def take(self, block: Samples) -> Samples:
        """What can be said now that this block is there: often a little less than it is long."""
        self._taken += block.shape[1]
        return self._given(self._stream.resample_chunk(np.ascontiguousarray(block.T)), self._frames)

    def end(self) -> Samples:
        """What was still missing."""
        if (wanted := self._frames) is None:
            wanted = resampled_frames(self._taken, self._rate, self._target)
        missing = max(-(-wanted * self._rate // self._target) - self._taken, 0)
        silence = np.zeros((missing + 1, self._channels), np.float32)
        return self._given(self._stream.resample_chunk(silence, last=True), wanted)

    def _given(self, out: Samples, most: int | None) -> Samples:
        out = out if most is None else out[: most - self._done]
        self._done += len(out)
        return np.ascontiguousarray(out.T)


def resample_blocks(
    blocks: Iterable[Samples],
    rate: int,
    target: int,
    *,
    frames: int | None = None,
    quality: Quality = "VHQ",
) -> Iterator[Samples]:
    """Blocks of float32 `(channels, n)` at `rate` Hz as blocks at `target` Hz, in order and without lag.

    Together they hold exactly `frames` frames, by default `resampled_frames` of what came in: cut off when the
    input holds more, silence at the end when it holds less. No blocks in, none out.
    """
    resampling: Resampling | None = None
    for block in blocks:
        if resampling is None:
            resampling = Resampling(rate, target, block.shape[0], frames=frames, quality=quality)
        yield resampling.take(block)
    if resampling is not None:
        yield resampling.end()


def resample(
    recording: Recording,
    into: Path,
    sample_rate: int,
    *,
    frames: int | None = None,
    quality: Quality = "VHQ",
) -> Generator[int, None, Recording]:
    """The recording at another sample rate, written to `into`, in steps that say the frames written so far; returned
    when they are over. Whoever does not want the rest closes it.

    Frames and quality as in `resample_blocks`. The result keeps the subtype: it says what the source was.
    """
    with RecordingWriter(into, sample_rate, recording.channels, recording.subtype) as writer:
        done = 0
        for block in resample_blocks(
            recording.blocks(1 << 16), recording.sample_rate, sample_rate, frames=frames, quality=quality
        ):
            writer.write(block)
            done += block.shape[1]
            yield done
        return writer.close()


class _Same:
    """Stands in for soxr where both rates are equal: every sample stays as it is."""

    def resample_chunk(self, samples: Samples, *, last: bool = False) -> Samples:  # noqa: ARG002 - soxr's signature
        return samples


def _stream(rate: int, target: int, channels: int, quality: Quality) -> Any:
    if rate == target:
        return _Same()
    import soxr

    return soxr.ResampleStream(rate, target, channels, dtype="float32", quality=quality)
