"""Where the beats are: a tempo, or a beat track found in the onsets, and the clock that it makes for a MIDI file.

Source: Ellis, "Beat Tracking by Dynamic Programming", Journal of New Music Research 36 (2007): the tempo is the
strongest period of the onsets' autocorrelation under a bell around 120; the beats are the path through strong
onsets whose steps keep to that period.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .graph import Array
from .notes import NoteEvent, Pulse, frame_times, paced, without_pulse
from .windows import HOP, SAMPLE_RATE

Floats = NDArray[np.float64]

RESOLUTION = 220
"""Ticks in a quarter note."""
FRAME_RATE = SAMPLE_RATE / HOP
USUAL_TEMPO = 120.0
TEMPO_SPREAD = 0.9
"""Standard deviation of the bell, in octaves."""
SLOWEST, FASTEST = 40.0, 240.0
"""Tempi that are looked for."""
TIGHTNESS = 100.0
"""How dearly a beat pays for leaving the period."""
SOFTENED = np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2)
"""A period is seldom a whole number of frames: onsets 17 ms apart still count as one."""
STEADYING = 5
"""Beats averaged into one."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The clock of a MIDI file. Without beats it ticks evenly from 0 at `tempo` quarter notes a minute; with beats,
    in seconds, each is a quarter note, and before the first and after the last the tempo goes on.
    """

    tempo: float = USUAL_TEMPO
    beats: tuple[float, ...] = ()

    def ticks(self, seconds: Floats) -> NDArray[np.int64]:
        """The ticks that lie nearest."""
        if not self.beats:
            return np.rint(seconds / (60.0 / (self.tempo * RESOLUTION))).astype(np.int64)
        return np.rint(self._quarters(seconds) * RESOLUTION).astype(np.int64)

    def tempi(self) -> list[tuple[int, int]]:
        """Ticks at which a tempo begins, and the tempo in microseconds a quarter note. Each step is rounded so that
        the sum of all stays within half a microsecond of the beats.
        """
        if not self.beats:
            return [(0, int(6e7 / (60.0 / ((60.0 / (self.tempo * RESOLUTION)) * RESOLUTION))))]
        lead, beats = self._lead, self.beats
        steps = [(0, round(beats[0] * 1e6 / lead))]
        marks = [round(beat * 1e6) for beat in beats]
        steps += [((lead + i) * RESOLUTION, b - a) for i, (a, b) in enumerate(pairwise(marks))]
        return [*steps, ((lead + len(beats) - 1) * RESOLUTION, round(60e6 / self.tempo))]

    def quantised(self, notes: Sequence[NoteEvent], division: int) -> list[NoteEvent]:
        """The notes with starts and ends moved to the nearest 1/`division` of a whole note; none gets shorter than
        one such step.
        """
        if not notes:
            return []
        times = np.array([(n.start, n.end) for n in notes])
        start, end = np.rint(self._quarters(times) * division / 4).T
        moved = self._seconds(np.stack([start, np.maximum(end, start + 1)]) * 4 / division)
        return [replace(n, start=s, end=e) for n, s, e in zip(notes, *moved.tolist(), strict=True)]

    @property
    def _lead(self) -> int:
        """Quarter notes before the first beat."""
        return max(1, round(self.beats[0] * self.tempo / 60))

    def _anchors(self) -> tuple[Floats, Floats]:
        """Seconds and quarter notes between which the clock ticks evenly."""
        length = 60 / self.tempo
        if not self.beats:
            return np.array([0, length]), np.array([0.0, 1.0])
        seconds = np.array([0.0, *self.beats, self.beats[-1] + length])
        return seconds, np.array([0.0, *(self._lead + np.arange(len(self.beats) + 1.0))])

    def _quarters(self, seconds: Floats) -> Floats:
        at, quarters = self._anchors()
        beyond = np.maximum(seconds - at[-1], 0) * self.tempo / 60
        return np.asarray(np.interp(seconds, at, quarters) + beyond)

    def _seconds(self, quarters: Floats) -> Floats:
        at, counted = self._anchors()
        beyond = np.maximum(quarters - counted[-1], 0) * 60 / self.tempo
        return np.asarray(np.interp(quarters, counted, at) + beyond)


def find_grid(onset: Array, pulse: Pulse = without_pulse) -> Grid:
    """The grid in an onset posteriorgram `(frames, 88)`; 120 and no beats where nothing repeats."""
    strength = onset.sum(axis=1, dtype=np.float64)
    tempo = _tempo(strength)
    if tempo is None:
        return Grid()
    frames = _beats(strength, 60 * FRAME_RATE / tempo, pulse)
    beats = _steadied(frame_times(len(strength))[frames])
    beats = beats[beats > 0]
    if len(beats) < 2:
        return Grid(round(tempo, 2))
    return Grid(round(60 * (len(beats) - 1) / float(beats[-1] - beats[0]), 2), tuple(beats.tolist()))


def _steadied(beats: Floats) -> Floats:
    """Each beat where its neighbours expect it too: a frame is 12 ms, which as tempo would jitter by two percent."""
    reach = min(STEADYING // 2, len(beats) - 1)
    around = np.pad(beats, reach, "reflect", reflect_type="odd")
    return np.convolve(around, np.full(2 * reach + 1, 1 / (2 * reach + 1)), "valid")


def _tempo(strength: Floats) -> float | None:
    """Quarter notes a minute."""
    slowest, fastest = (round(60 * FRAME_RATE / tempo) for tempo in (SLOWEST, FASTEST))
    if len(strength) <= 2 * slowest or strength.max() < 0.5:
        return None
    soft = np.convolve(strength - strength.mean(), SOFTENED, "same")
    spectrum = np.fft.rfft(soft, 2 * len(soft))
    echo = np.fft.irfft(np.abs(spectrum) ** 2)[: 2 * slowest + 2]
    lags = np.arange(fastest, slowest + 1)
    bell = np.exp(-0.5 * (np.log2(60 * FRAME_RATE / lags / USUAL_TEMPO) / TEMPO_SPREAD) ** 2)
    score = (echo[lags] + 0.5 * echo[2 * lags]) * bell
    best = int(score.argmax())
    if score[best] <= 0:
        return None
    return float(60 * FRAME_RATE / (lags[best] + _vertex(score, best)))


def _vertex(score: Floats, best: int) -> float:
    """How far the top of the parabola through three points lies from the middle one."""
    if not 0 < best < len(score) - 1:
        return 0.0
    left, middle, right = score[best - 1 : best + 2]
    bend = left - 2 * middle + right
    return float(0.5 * (left - right) / bend) if bend else 0.0


def _beats(strength: Floats, period: float, pulse: Pulse) -> NDArray[np.int64]:
    """Frames of the beats: the path that gathers most onset strength in steps of about `period` frames."""
    reach = np.arange(-round(period / 8), round(period / 8) + 1)
    blurred = np.convolve(strength, np.exp(-0.5 * (reach * 32 / period) ** 2), "same")
    gain = blurred / (blurred.std() or 1.0)
    steps = np.arange(round(period / 2), round(2 * period) + 1)
    cost = TIGHTNESS * np.log(steps / period) ** 2
    longest = int(steps[-1])
    score = np.concatenate([np.zeros(longest), gain])
    came_from = np.full(len(score), -1)
    for at in paced(range(longest, len(score)), pulse):
        before = score[at - steps] - cost
        best = int(before.argmax())
        if before[best] > 0:
            score[at] += before[best]
            came_from[at] = at - steps[best]
    path = [len(score) - 1 - int(score[: -longest - 1 : -1].argmax())]
    while came_from[path[-1]] >= longest:
        path.append(int(came_from[path[-1]]))
    return np.array(path[::-1]) - longest
