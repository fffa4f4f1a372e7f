"""Cutting itself: from the decoded recording into one file a slice, sample for sample."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from neuralib.audio import Recording, RecordingWriter, Samples

from .cuts import Cut

BLOCK = 1 << 17
FADE_IN = 0.25
"""Of the length of the fade out."""

Heard = Callable[[Samples], None]
"""Is given every block as it is in the recording, before any fade."""


def cut_out(
    recording: Recording, cut: Cut, out: RecordingWriter, fade_s: float, heard: Heard = lambda _: None
) -> Iterator[int]:
    """Write the slice in steps that say how many samples each took. Without a fade it is the recording's own samples."""
    length = cut.end - cut.start
    down = min(round(fade_s * recording.sample_rate), length // 2)
    up = min(round(FADE_IN * fade_s * recording.sample_rate), length // 2)
    for start in range(cut.start, cut.end, BLOCK):
        block = recording.read(start, min(start + BLOCK, cut.end))
        heard(block)
        at = start - cut.start
        if at < up or at + block.shape[1] > length - down:
            block = block * _gain(at, block.shape[1], length, up, down)
        out.write(block)
        yield block.shape[1]


def _gain(at: int, count: int, length: int, up: int, down: int) -> NDArray[np.float32]:
    """Raised cosines at both ends and one between, for samples [at, at + count)."""
    places = np.arange(at, at + count)
    gain = np.ones(count)
    if up:
        gain *= 0.5 - 0.5 * np.cos(np.pi * np.clip((places + 0.5) / up, 0, 1))
    if down:
        gain *= 0.5 - 0.5 * np.cos(np.pi * np.clip((length - places - 0.5) / down, 0, 1))
    return gain.astype(np.float32)


def without_tail(recording: Recording, cut: Cut, tail_db: float) -> Cut:
    """Ends behind the last sample that is not `tail_db` below the slice's own peak. Reads the slice twice."""
    threshold = _peak(recording, cut) * 10 ** (tail_db / 20)
    end = cut.end
    while end > cut.start:
        start = max(end - BLOCK, cut.start)
        loud = np.flatnonzero(np.abs(recording.read(start, end)).max(axis=0) > threshold)
        if loud.size:
            return Cut(cut.start, start + int(loud[-1]) + 1, cut.name)
        end = start
    return cut


def _peak(recording: Recording, cut: Cut) -> float:
    peak = 0.0
    for start in range(cut.start, cut.end, BLOCK):
        peak = max(peak, float(np.abs(recording.read(start, min(start + BLOCK, cut.end))).max()))
    return peak
