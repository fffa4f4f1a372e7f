"""Any recording as the windows that Basic Pitch looks at, without ever holding the whole of it."""

import math
from collections.abc import Iterator

import numpy as np

from neuralib.audio import Recording, resample_blocks
from neuralib.errors import NonFiniteAudio

from .graph import Array

SAMPLE_RATE = 22_050
HOP = 256
"""Samples between two frames."""
FRAMES = 172
"""Frames of a window."""
WINDOW = 2 * SAMPLE_RATE - HOP
OVERLAP_FRAMES = 30
"""Half of them are dropped at each end of a window."""
FRAMES_PER_WINDOW = FRAMES - OVERLAP_FRAMES
OVERLAP = OVERLAP_FRAMES * HOP
STRIDE = WINDOW - OVERLAP
LEAD = OVERLAP // 2
"""Silence before the recording, so that its first frames survive the drop."""
FRAMES_PER_SECOND = SAMPLE_RATE // HOP
BLOCK = 1 << 18
"""Frames of the recording read at a time."""


def resampled_length(frames: int, sample_rate: int) -> int:
    """Samples at 22,050 Hz of so many frames at `sample_rate`."""
    return math.ceil(frames * (SAMPLE_RATE / sample_rate))


def window_count(samples: int) -> int:
    """Windows that cover so many samples at 22,050 Hz."""
    return max(1, math.ceil((LEAD + samples) / STRIDE))


def frame_count(samples: int) -> int:
    """Frames of a posteriorgram that are not padding."""
    return math.floor(samples * (FRAMES_PER_SECOND / SAMPLE_RATE))


def batches(recording: Recording, size: int) -> Iterator[Array]:
    """The recording's windows as `(n, 43844)` with n up to `size`, the end padded with silence. Raises
    NonFiniteAudio.
    """
    span = (size - 1) * STRIDE + WINDOW
    held = np.zeros(LEAD, np.float32)
    left = window_count(resampled_length(recording.frames, recording.sample_rate))
    for block in _mono(recording):
        held = np.concatenate([held, block])
        while len(held) >= span:
            yield _windows(held, size)
            held = held[size * STRIDE :]
            left -= size
    while left > 0:
        count = min(left, size)
        yield _windows(held, count)
        held = held[count * STRIDE :]
        left -= count


def _windows(samples: Array, count: int) -> Array:
    needed = (count - 1) * STRIDE + WINDOW
    padded = np.pad(samples, (0, max(0, needed - len(samples))))
    return np.stack([padded[i * STRIDE : i * STRIDE + WINDOW] for i in range(count)])


def _mono(recording: Recording) -> Iterator[Array]:
    """The mean of the channels at 22,050 Hz, block by block."""
    for block in resample_blocks(_checked_means(recording), recording.sample_rate, SAMPLE_RATE, quality="HQ"):
        yield block[0]


def _checked_means(recording: Recording) -> Iterator[Array]:
    for number, block in enumerate(recording.blocks(BLOCK)):
        if not np.isfinite(block).all():
            raise NonFiniteAudio(
                f"a sample after {number * BLOCK / recording.sample_rate:.0f} s is not a number"
            )
        yield block.mean(axis=0, keepdims=True)
