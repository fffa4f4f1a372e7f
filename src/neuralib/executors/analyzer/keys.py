"""The key: how often each pitch class sounds, held against how often it does in music of each key.

Source of the profiles: Albrecht and Shanahan, "The Use of Large Corpora to Train a New Type of Key-Finding Algorithm",
Music Perception 31 (2013).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuralib.audio import Recording
from neuralib.executors.onsets import Floats, Tick, framed, mono

RATE = 8_000
WINDOW = 4096
HOP = 1600
LOWEST_HZ, HIGHEST_HZ = 55.0, 1800.0
HANN = (np.hanning(WINDOW) * 4 / WINDOW).astype(np.float32)
BESIDE, CLEARLY, SILENT = 12, 3.0, 1e-4
"""A partial stands CLEARLY times above the mean of the BESIDE bins on both sides, and above silence."""
FINE = 10
"""Steps of a semitone in which pitches are counted."""
AROUND = np.arange(-FINE // 2, FINE // 2 + 1)
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MODES = ("major", "minor")
PROFILES = np.array(
    [
        [0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081],
        [0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052],
    ]
)
SURENESS = 12.0
"""How much more likely a key is that fits better: e to this times the difference of the correlations."""
CLEAR = 0.5
"""How unevenly pitch classes are used in music that leaves no doubt that it has a key."""


@dataclass(frozen=True, slots=True)
class Key:
    """`confidence` is 0 to 1: how much better it fits than the other 23, less where nothing has a clear pitch."""

    tonic: int
    mode: str
    confidence: float

    @property
    def name(self) -> str:
        return f"{NAMES[self.tonic]} {self.mode}"

    @property
    def camelot(self) -> str:
        """Its place on the wheel of DJs: neighbours mix well."""
        major = self.tonic if self.mode == "major" else self.tonic + 3
        return f"{(7 * major + 7) % 12 + 1}{'B' if self.mode == 'major' else 'A'}"


def find_key(recording: Recording, tick: Tick) -> Key | None:
    """None where nothing has a pitch."""
    chroma = _chroma(recording, tick)
    if not chroma.any():
        return None
    fits = np.array([[np.corrcoef(chroma, np.roll(p, t))[0, 1] for t in range(12)] for p in PROFILES])
    likely = np.exp(SURENESS * (fits - fits.max()))
    mode, tonic = np.unravel_index(int(fits.argmax()), fits.shape)
    uneven = chroma.std() / chroma.mean() / CLEAR
    sure = float(1 / likely.sum()) * min(float(uneven), 1.0) * max(float(fits.max()), 0.0)
    return Key(int(tonic), MODES[mode], round(sure, 3))


def _chroma(recording: Recording, tick: Tick) -> Floats:
    """How much each pitch class sounds, from C; the tuning is the recording's own."""
    histogram = np.zeros(12 * FINE)
    for piece in framed(mono(recording, RATE), WINDOW, HOP):
        tick()
        pitch, weight = _partials(np.abs(np.fft.rfft(piece * HANN)))
        at = np.rint(pitch * FINE).astype(int) % len(histogram)
        histogram += np.bincount(at, weight, len(histogram))
    near = np.cos(np.pi * AROUND / FINE) ** 2
    at = np.arange(12)[:, None] * FINE + AROUND
    by_tuning = np.array([histogram[(at + off) % len(histogram)] @ near for off in AROUND])
    return np.asarray(by_tuning[np.square(by_tuning).sum(axis=1).argmax()])


def _partials(spectra: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """MIDI pitch and weight, the root of the magnitude, of every partial: a peak that stands well above the bins
    around it.
    """
    first, last = int(LOWEST_HZ * WINDOW / RATE), int(HIGHEST_HZ * WINDOW / RATE)
    middle = spectra[:, first:last]
    left, right = spectra[:, first - 1 : last - 1], spectra[:, first + 1 : last + 1]
    total = np.cumsum(np.pad(spectra, ((0, 0), (BESIDE + 1, BESIDE)), "edge"), axis=1, dtype=np.float64)
    around = ((total[:, 2 * BESIDE + 1 :] - total[:, : -2 * BESIDE - 1]) / (2 * BESIDE + 1))[:, first:last]
    found = (middle > left) & (middle >= right) & (middle > CLEARLY * around) & (middle > SILENT)
    a, b, c = (np.log(np.maximum(part[found], 1e-12)) for part in (left, middle, right))
    offset = 0.5 * (a - c) / np.minimum(a - 2 * b + c, -1e-9)
    hertz = (np.nonzero(found)[1] + first + np.clip(offset, -0.5, 0.5)) * RATE / WINDOW
    return 69 + 12 * np.log2(hertz / 440), np.sqrt(middle[found])
