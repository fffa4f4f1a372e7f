"""Sample rates, changed in one pass with soxr (constant memory, no lag) and to an exact count of frames.

The count matters: audio that goes to a model's rate and back must come back frame for frame, or stems no longer
line up with their mix.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neuralib.audio.recording import Recording, RecordingWriter, Samples

Quality = Literal["HQ", "VHQ"]
"""soxr's recipes for 20-bit and 28-bit results. HQ is enough for a model; VHQ is for audio that people keep."""


def resampled_frames(frames: int, rate: int, target: int) -> int:
    """Frames that `frames` frames at `rate` Hz become at `target` Hz: the nearest whole number, halves up."""
    return (2 * frames * target + rate) // (2 * rate)


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
    stream: Any = None
    channels = taken = done = 0
    for block in blocks:
        if stream is None:
            channels = block.shape[0]
            stream = _stream(rate, target, channels, quality)
        taken += block.shape[1]
        out = stream.resample_chunk(np.ascontiguousarray(block.T))
        out = out if frames is None else out[: frames - done]
        done += len(out)
        yield np.ascontiguousarray(out.T)
    if stream is None:
        return
    wanted = resampled_frames(taken, rate, target) if frames is None else frames
    missing = max(-(-wanted * rate // target) - taken, 0)
    out = stream.resample_chunk(np.zeros((missing + 1, channels), np.float32), last=True)
    yield np.ascontiguousarray(out[: wanted - done].T)


def resample(
    recording: Recording,
    into: Path,
    sample_rate: int,
    *,
    frames: int | None = None,
    quality: Quality = "VHQ",
    on_block: Callable[[int], None] | None = None,
) -> Recording:
    """The recording at another sample rate, written to `into`; blocks, so call it in a thread.

    Frames and quality as in `resample_blocks`. `on_block` hears the frames written so far; what it raises ends the
    work. The result keeps the subtype: it says what the source was.
    """
    with RecordingWriter(into, sample_rate, recording.channels, recording.subtype) as writer:
        done = 0
        for block in resample_blocks(
            recording.blocks(1 << 16), recording.sample_rate, sample_rate, frames=frames, quality=quality
        ):
            writer.write(block)
            done += block.shape[1]
            if on_block:
                on_block(done)
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
