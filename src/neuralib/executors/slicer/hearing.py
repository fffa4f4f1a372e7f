"""Listening to a slice while it is cut: its beginning, from the attack on, in time and in frequency."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuralib.audio import Samples, resample_blocks

Floats = NDArray[np.float64]

RATE = 44_100
HEAD_S = 4.0
"""So much of the beginning of a sound is listened to."""
SILENT = 10**-2.5
"""Of the peak: what stays below it at the end is not heard."""
PAUSE_S = 0.5
HOP_S = 0.005
WINDOW, STEP = 1024, 256


class Ear:
    """Keeps the beginning of a sound, as the mean of its channels, while blocks of it go by."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._missing = round(HEAD_S * sample_rate)
        self._kept: list[NDArray[np.float32]] = []

    def hear(self, block: Samples) -> None:
        """float32 `(channels, n)`."""
        if self._missing > 0:
            self._kept.append(block[:, : self._missing].mean(axis=0))
            self._missing -= block.shape[1]

    def head(self) -> Floats:
        """What was kept, at RATE."""
        blocks = [np.concatenate(self._kept)[None]] if self._kept else []
        pieces = list(resample_blocks(blocks, self._rate, RATE, quality="HQ"))
        return np.concatenate(pieces, axis=1)[0].astype(np.float64) if pieces else np.zeros(0)


@dataclass(frozen=True, slots=True)
class Sound:
    """A beginning at RATE, from its attack on, with a peak of 1; and how long the whole lasts."""

    samples: Floats
    envelope: Floats
    """RMS in dB below the loudest 5 ms, each 5 ms."""
    spectrum: Floats
    """Power `(frames, bins)`; frame i is centred on sample i · STEP."""
    duration_s: float


def listen(head: Floats, duration_s: float) -> Sound | None:
    """The beginning of a slice of such a duration; None for silence."""
    peak = float(np.abs(head).max(initial=0))
    if peak < 1e-5:
        return None
    ends = int(np.flatnonzero(np.abs(head) > peak * SILENT)[-1]) + 1
    if len(head) - ends > PAUSE_S * RATE or duration_s <= HEAD_S:
        duration_s = ends / RATE  # what is silent until the next hit is no part of this one
    head = head[:ends]
    hop = round(HOP_S * RATE)
    envelope = envelope_of(head, hop)
    first = int((envelope > -40).argmax())
    samples = head[first * hop :] / peak
    padded = np.concatenate((np.zeros(WINDOW // 2), samples, np.zeros(WINDOW)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2
    return Sound(samples, envelope[first:], spectrum, max(duration_s, 1e-3))


def envelope_of(samples: Floats, hop: int) -> Floats:
    count = max(-(-len(samples) // hop), 1)
    squares = np.concatenate((samples**2, np.zeros(count * hop - len(samples))))
    power = squares.reshape(count, hop).mean(axis=1)
    return np.asarray(10 * np.log10(power / power.max() + 1e-9))
