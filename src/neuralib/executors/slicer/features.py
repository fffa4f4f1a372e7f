"""What a short sound is like, in numbers: how it decays, where its energy lies, how noisy and how harmonic it is."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from .hearing import HOP_S, RATE, STEP, WINDOW, Floats, Sound, envelope_of

EDGES = (20, 60, 120, 250, 500, 1000, 2000, 4000, 8000, 12_000, 20_000)
"""Hz between bands."""
FLOOR = 1e-8
PITCHES = (50.0, 1000.0)
"""Hz among which a period is looked for."""


def features_of(sound: Sound) -> Floats:
    """What the classifier looks at."""
    return np.asarray([number for part in _PARTS for number in part(sound)])


# ── in time ───────────────────────────────────────────────────────────────────────────────────────────


def _time(sound: Sound) -> list[float]:
    env = sound.envelope
    above = [_log_s(float(np.flatnonzero(env > level)[-1] + 1) * HOP_S) for level in (-10, -20, -40)]
    power = 10 ** (env / 10)
    centre = float((power * np.arange(len(env))).sum() / power.sum()) * HOP_S
    early = float(10 * np.log10(power[:10].sum() / power.sum()))
    return [
        *above,
        _log_s(sound.duration_s),
        _log_s(float(env.argmax() + 1) * HOP_S),
        _log_s(centre),
        early,
        float(np.log1p(_beginnings(env))),
        float(np.log1p(_bursts(sound.samples))),
    ]


def _beginnings(env: Floats) -> int:
    """How often it becomes 6 dB louder within 60 ms and is loud then, after its first 60 ms. The level is that of 30 ms,
    in which the period of a bass does not show.
    """
    power = np.convolve(np.pad(10 ** (env / 10), 3, mode="edge"), np.full(7, 1 / 7), mode="valid")
    level = 10 * np.log10(power / power.max() + 1e-9)
    if len(level) <= 12:
        return 0
    before = np.lib.stride_tricks.sliding_window_view(level, 12)[:-1].min(axis=1)
    rises = (level[12:] - before > 6) & (level[12:] > -20)
    return int((np.diff(rises.astype(int), prepend=0) == 1).sum())


def _bursts(samples: Floats) -> int:
    """Peaks of the first 60 ms with dips of 4 dB between them: hands that do not clap together."""
    env = envelope_of(samples[: round(0.06 * RATE)], 88)
    count, low, high, falling = 0, env[0], env[0], False
    for level in env:
        if falling:
            low = min(low, level)
            if level > low + 4 and level > -14:
                falling, high, count = False, level, count + 1
        else:
            high = max(high, level)
            if level < high - 4:
                falling, low = True, level
    return count


def _log_s(seconds: float) -> float:
    return float(np.log10(max(seconds, 1e-3)))


# ── in frequency ──────────────────────────────────────────────────────────────────────────────────────

_HERTZ = np.fft.rfftfreq(WINDOW, 1 / RATE)
_BANDS = [(edge <= _HERTZ) & (upper > _HERTZ) for edge, upper in pairwise(EDGES)]
_SPANS = ((0.0, 0.03), (0.03, 0.15), (0.15, 0.5))
"""Seconds: the attack, the body, and what rings on."""


def _spectrum(sound: Sound) -> list[float]:
    numbers = []
    totals = []
    for start, end in _SPANS:
        power = _mean_power(sound, start, end)
        total = float(power.sum()) + FLOOR
        totals.append(total)
        numbers += [max(float(10 * np.log10(power[band].sum() / total + 1e-6)), -60) for band in _BANDS]
        middle = power[4:400] + FLOOR * total
        numbers += [
            float(np.log2((power * _HERTZ).sum() / total + 20)),
            float(10 * (np.log10(middle).mean() - np.log10(middle.mean()))),
            float(10 * np.log10((power.max() + FLOOR) / (power.mean() + FLOOR))),
        ]
    fall = [max(float(10 * np.log10(total / totals[0])), -60) for total in totals[1:]]
    return [*numbers, *fall, _flux(sound), *_lowest(sound)]


def _mean_power(sound: Sound, start: float, end: float) -> Floats:
    first, last = round(start * RATE / STEP), max(round(end * RATE / STEP), 1)
    frames = sound.spectrum[first:last]
    return frames.mean(axis=0) if len(frames) else np.full(len(_HERTZ), FLOOR)


def _flux(sound: Sound) -> float:
    """How much the shape of the spectrum changes while it is loud."""
    bands = np.stack([sound.spectrum[:, band].sum(axis=1) for band in _BANDS], axis=1)
    loud = bands[bands.sum(axis=1) >= 0.01 * bands.sum(axis=1).max()]
    shape = 10 * np.log10(loud / (loud.sum(axis=1, keepdims=True) + FLOOR) + 1e-4)
    return float(shape.std(axis=0).mean())


def _lowest(sound: Sound) -> list[float]:
    """The strongest frequency below 400 Hz of the first 100 ms and of the 100 ms after, and its share."""
    numbers = []
    for start in (0, round(0.1 * RATE)):
        piece = sound.samples[start : start + round(0.1 * RATE)]
        power = (
            np.abs(np.fft.rfft(piece * np.hanning(len(piece)), 1 << 14)) ** 2
            if len(piece)
            else np.zeros(8193)
        )
        low = power[7:149]
        numbers += [
            float(np.log2((7 + int(low.argmax())) * RATE / (1 << 14))),
            float(low.sum() / (power.sum() + FLOOR)),
        ]
    return numbers


# ── pitch ─────────────────────────────────────────────────────────────────────────────────────────────


def _pitch(sound: Sound) -> list[float]:
    """How periodic it is, at which pitch, and how that moves."""
    size, hop = 2048, 1024
    shortest, longest = round(RATE / PITCHES[1]), round(RATE / PITCHES[0])
    starts = range(round(0.02 * RATE), max(len(sound.samples) - size, 0), hop)
    pieces = [sound.samples[start : start + size] for start in starts][:80]
    voiced: list[tuple[float, float, float]] = []
    for piece in pieces:
        energy = float((piece**2).sum())
        spectrum = np.fft.rfft(piece - piece.mean(), 2 * size)
        same = np.fft.irfft(np.abs(spectrum) ** 2)[:longest]
        same = same / (same[0] + FLOOR) / (1 - np.arange(longest) / size)
        lag = shortest + int(same[shortest:].argmax())
        voiced.append((energy, float(same[lag]), float(np.log2(RATE / lag))))
    if not voiced:
        return [0.0, 0.0, 8.0, 0.0, 0.0, 0.0]
    weight, strength, pitch = (np.asarray(column) for column in zip(*voiced, strict=True))
    loud = weight >= 0.01 * weight.max()
    weight, strength, pitch = weight[loud], strength[loud], pitch[loud]
    clear = strength > 0.7
    return [
        float((weight * strength).sum() / (weight.sum() + FLOOR)),
        float(clear.mean()),
        float(np.median(pitch)),
        float(pitch[clear].std()) if clear.any() else 0.0,
        float(np.abs(np.diff(pitch)).mean()) if len(pitch) > 1 else 0.0,
        float(np.log1p(loud.sum())),
    ]


_PARTS: tuple[Callable[[Sound], list[float]], ...] = (_time, _spectrum, _pitch)
