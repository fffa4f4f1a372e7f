"""Tempo and beats from the novelty of the spectrum.

Source: Ellis, "Beat Tracking by Dynamic Programming", Journal of New Music Research 36 (2007): the tempo is the period
whose multiples echo most under a bell around 120; the beats are the path through strong novelty that keeps to it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuralib.executors.onsets import FRAME_RATE, Floats, Novelty, Tick

SLOWEST, FASTEST = 45.0, 220.0
USUAL, SPREAD = 115.0, 0.8
"""Middle and standard deviation, in octaves, of the bell of tempi."""
SPAN = 1200
"""Frames whose echoes are measured together: 12 s, so that a tempo may drift."""
ECHOES = (1.0, 0.75, 0.5, 0.5)
"""Weights of the echoes at one, two… periods."""
TIGHTNESS = 200.0
"""How dearly a beat pays for leaving the period."""
OVER = 16
"""Beats over which one tempo is measured: a frame is 10 ms, which between two beats would be 2 %."""
FEWEST = 4
FAINTEST = 0.1
"""Echoes that are weaker are those of speech and noise: no tempo."""


@dataclass(frozen=True, slots=True)
class Beats:
    """`tempo` in beats a minute, None where nothing repeats; `other` is the tempo one might tap as well: half or
    double. `confidence` is 0 to 1: how much of what is new repeats with the beat.
    """

    times: Floats
    tempo: float | None = None
    other: float | None = None
    confidence: float = 0.0


def find_beats(novelty: Novelty, tick: Tick) -> Beats:
    """The beats of a recording; none when it is shorter than about 3 s or nothing in it repeats."""
    if len(novelty.gain) < 2 * round(60 * FRAME_RATE / SLOWEST):
        return Beats(np.zeros(0))
    strength = _strength(novelty)
    found = _period(strength, tick)
    if found is None:
        return Beats(np.zeros(0))
    period, other, echo = found
    times = _path(strength, period, tick) / FRAME_RATE
    if len(times) < FEWEST:
        return Beats(np.zeros(0))
    tempo = _tempo(times)
    ratio = round(np.log2(period / other))
    return Beats(times, tempo, tempo * 2.0**ratio, round(echo, 3))


def _strength(novelty: Novelty) -> Floats:
    """Novelty above what is usual within a second, as if heard by one ear for everything and one for the bass."""
    both = np.zeros(len(novelty.gain))
    for part, weight in ((novelty.gain, 1.0), (novelty.low, 0.4)):
        usual = np.convolve(part, np.full(101, 1 / 101), "same")
        above = np.sqrt(
            np.maximum(part - usual, 0)
        )  # a loud stroke counts more, but not as much as it is loud
        both += weight * above / (above.std() or 1.0)
    return np.convolve(both, np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2), "same")


def _period(strength: Floats, tick: Tick) -> tuple[float, float, float] | None:
    """Frames of a beat, of the second best an octave away, and how strongly the first echoes (0 to 1)."""
    longest, shortest = round(60 * FRAME_RATE / SLOWEST), round(60 * FRAME_RATE / FASTEST)
    if not strength.any():
        return None
    echo = _echoes(strength, len(ECHOES) * (longest + 1) + 1, tick)
    lags = np.arange(shortest, longest + 1)
    score = np.average([echo[(k + 1) * lags] for k in range(len(ECHOES))], axis=0, weights=ECHOES)
    bell = np.exp(-0.5 * (np.log2(60 * FRAME_RATE / lags / USUAL) / SPREAD) ** 2)
    weighed = np.maximum(score, 0) * bell
    best = int(weighed.argmax())
    if score[best] < FAINTEST:
        return None
    octaves = [round(lags[best] * factor) - shortest for factor in (0.5, 2.0)]
    inside = [i for i in octaves if 0 <= i < len(lags)]
    other = max(inside, key=lambda i: weighed[max(i - 1, 0) : i + 2].max())
    return float(lags[best] + _vertex(score, best)), float(lags[other]), float(np.clip(score[best], 0, 1))


def _echoes(strength: Floats, lags: int, tick: Tick) -> Floats:
    """Autocorrelation by lag, 1 at 0: the mean over spans of the recording, each as loud as it is."""
    total = np.zeros(lags)
    span = max(SPAN, 2 * lags)
    for start in range(0, max(len(strength) - span // 2, 1), span // 2):
        tick()
        part = strength[start : start + span]
        part = part - part.mean()
        spectrum = np.fft.rfft(part, 2 * span)
        echo = np.fft.irfft(np.square(np.abs(spectrum)))[:lags]
        total += echo / np.maximum(1 - np.arange(lags) / len(part), 0.25)
    return total / (total[0] or 1.0)


def _vertex(score: Floats, best: int) -> float:
    """How far the top of the parabola through three points lies from the middle one."""
    if not 0 < best < len(score) - 1:
        return 0.0
    left, middle, right = score[best - 1 : best + 2]
    bend = left - 2 * middle + right
    return float(0.5 * (left - right) / bend) if bend else 0.0


def _path(strength: Floats, period: float, tick: Tick) -> NDArray[np.int64]:
    """Frames of the beats. All frames of half a period have what comes before them behind that half: they are done
    together.
    """
    steps = np.arange(round(period / 2), round(2 * period) + 1)
    cost = TIGHTNESS * np.log(steps / period) ** 2
    longest, together = int(steps[-1]), int(steps[0])
    gain = strength / (strength.std() or 1.0)
    score = np.concatenate([np.zeros(longest), gain])
    came_from = np.full(len(score), -1)
    for i, start in enumerate(range(longest, len(score), together)):
        if i % 1000 == 0:
            tick()
        at = np.arange(start, min(start + together, len(score)))
        before = score[at[:, None] - steps] - cost
        best = before.argmax(axis=1)
        most = before[np.arange(len(at)), best]
        score[at] += np.maximum(most, 0)
        came_from[at] = np.where(most > 0, at - steps[best], -1)
    path = [len(score) - 1 - int(score[: -longest - 1 : -1].argmax())]
    while came_from[path[-1]] >= longest:
        path.append(int(came_from[path[-1]]))
    return np.array(path[::-1]) - longest


def _tempo(times: Floats) -> float:
    """The median over stretches of the piece."""
    over = min(OVER, len(times) - 1)
    return float(60 * over / np.median(times[over:] - times[:-over]))
