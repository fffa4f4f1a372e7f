"""Drums from formulas: each call is another drum of its kind. Everything comes from the generator that is given."""

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float64]
Rng = np.random.Generator
RATE = 44_100


def kick(rng: Rng) -> Audio:
    seconds = rng.uniform(0.12, 0.9) if rng.random() < 0.85 else rng.uniform(0.9, 2)
    t = _time(seconds)
    base, sweep = rng.uniform(38, 75), rng.uniform(40, 320)
    hertz = base + sweep * np.exp(-t / rng.uniform(0.004, 0.05))
    body = np.sin(_phase(hertz)) * _decay(t, seconds / rng.uniform(3, 6))
    body = np.tanh(body * rng.uniform(1, 4))
    click = _noise(rng, len(t), rng.uniform(1000, 9000), None) * _decay(t, rng.uniform(0.001, 0.006))
    return body + click * rng.uniform(0, 0.5)


def snare(rng: Rng) -> Audio:
    seconds = rng.uniform(0.1, 0.5) if rng.random() < 0.8 else rng.uniform(0.5, 1)
    t = _time(seconds)
    base = rng.uniform(140, 280)
    tone = sum(
        np.sin(_phase(base * ratio * (1 + 0.4 * np.exp(-t / 0.01)))) * weight
        for ratio, weight in ((1, 1), (rng.uniform(1.4, 1.9), rng.uniform(0.2, 0.8)))
    ) * _decay(t, rng.uniform(0.02, 0.09))
    rattle = _noise(rng, len(t), rng.uniform(400, 2500), rng.uniform(6000, 18_000))
    return tone * rng.uniform(0.1, 0.9) + rattle * _decay(t, seconds / rng.uniform(2.5, 6)) * rng.uniform(
        0.4, 1.0
    )


def hat(rng: Rng) -> Audio:
    seconds = rng.uniform(0.03, 0.12) if rng.random() < 0.65 else rng.uniform(0.2, 0.7)
    t = _time(seconds)
    metal = _metal(rng, t, rng.uniform(250, 700)) if rng.random() < 0.6 else 0.0
    sound = metal * rng.uniform(0.2, 1) + _noise(rng, len(t), None, None) * rng.uniform(0.2, 1)
    return _filtered(sound, rng.uniform(2500, 9000), None) * _decay(t, seconds / rng.uniform(3, 6))


def cymbal(rng: Rng) -> Audio:
    seconds = rng.uniform(0.8, 5.0)
    t = _time(seconds)
    sound = _metal(rng, t, rng.uniform(150, 500)) * rng.uniform(0.2, 1) + _noise(rng, len(t), None, None)
    sound = _filtered(sound, rng.uniform(300, 4000), None) * _decay(t, seconds / rng.uniform(2.5, 5))
    if rng.random() < 0.4:  # a ride: the stick is heard before the wash
        sound = sound * rng.uniform(0.15, 0.5)
        ping = _modes(rng, t, rng.uniform(350, 1200), 6, 0.3) * _decay(t, rng.uniform(0.1, 0.6))
        sound += ping * rng.uniform(0.1, 0.4)
        sound += _noise(rng, len(t), 3000, None) * _decay(t, 0.004)
    return sound


def clap(rng: Rng) -> Audio:
    seconds = rng.uniform(0.12, 0.45)
    t = _time(seconds)
    sound = np.zeros(len(t))
    noise = _noise(rng, len(t), rng.uniform(500, 1100), rng.uniform(2500, 8000))
    at = 0.0
    for _ in range(rng.integers(2, 5)):
        later = t - at
        sound += noise * np.where(later >= 0, np.exp(-np.maximum(later, 0) / rng.uniform(0.002, 0.006)), 0)
        at += rng.uniform(0.006, 0.016)
    later = t - at
    tail = np.where(later >= 0, np.exp(-np.maximum(later, 0) / rng.uniform(0.02, 0.1)), 0)
    return sound + noise * tail * rng.uniform(0.5, 1.2)


def tom(rng: Rng) -> Audio:
    seconds = rng.uniform(0.25, 1.0)
    t = _time(seconds)
    base = rng.uniform(70, 240)
    hertz = base * (1 + rng.uniform(0.05, 0.6) * np.exp(-t / rng.uniform(0.02, 0.1)))
    body = sum(
        np.sin(_phase(hertz * ratio)) * weight * _decay(t, seconds / rng.uniform(3, 5) / ratio)
        for ratio, weight in ((1, 1), (rng.uniform(1.5, 1.7), 0.4), (rng.uniform(2.1, 2.4), 0.2))
    )
    skin = _noise(rng, len(t), 300, rng.uniform(2000, 6000)) * _decay(t, rng.uniform(0.005, 0.03))
    return body + skin * rng.uniform(0.05, 0.4)


def percussion(rng: Rng) -> Audio:
    return rng.choice(np.array([_wood, _cowbell, _conga, _shaker, _tambourine, _bell]))(rng)


def tonal(rng: Rng) -> Audio:
    """A note or a chord, plucked, struck or held, short or long."""
    seconds = rng.uniform(0.2, 1.6) if rng.random() < 0.6 else rng.uniform(1.6, 9)
    t = _time(seconds)
    lowest = 440 * 2 ** (rng.integers(-40, 26) / 12)
    chord = (1, 1.5, 2, 2.38)[: rng.integers(2, 5)] if rng.random() < 0.2 else (1,)
    sound = sum(_note(rng, t, lowest * ratio) for ratio in chord)
    if rng.random() < 0.4:  # held
        attack = rng.uniform(0.003, 0.15)
        return sound * np.minimum(t / attack, 1) * np.minimum((seconds - t) / 0.05, 1)
    return sound * _decay(t, seconds / rng.uniform(1.5, 5)) * np.minimum(t / rng.uniform(0.001, 0.01), 1)


def _note(rng: Rng, t: Audio, hertz: float) -> Audio:
    tilt, count = rng.uniform(0.3, 2.5), int(min(24, 16_000 // hertz)) or 1
    odd, damp = rng.random() < 0.25, rng.uniform(0, 1)
    wobble = rng.uniform(0, 0.01) * np.sin(2 * np.pi * rng.uniform(3, 7) * t) / rng.uniform(3, 7)
    turns = 2 * np.pi * hertz * (t + wobble / 2 / np.pi)
    voices = (0.0, rng.uniform(0.2, 3)) if rng.random() < 0.4 else (0.0,)  # detuned by so many hertz
    return sum(
        np.sin((turns + 2 * np.pi * off * t) * n + rng.uniform(0, 6)) / n**tilt * np.exp(-t * damp * n)
        for n in range(1, count + 1) if not odd or n % 2
        for off in voices
    )  # fmt: skip


def _wood(rng: Rng) -> Audio:
    t = _time(rng.uniform(0.05, 0.2))
    return _modes(rng, t, rng.uniform(500, 2800), 3, 0.8) * _decay(t, rng.uniform(0.008, 0.04))


def _cowbell(rng: Rng) -> Audio:
    t = _time(rng.uniform(0.1, 0.5))
    base = rng.uniform(400, 900)
    sound = np.sign(np.sin(2 * np.pi * base * t)) + np.sign(
        np.sin(2 * np.pi * base * rng.uniform(1.4, 1.55) * t)
    )
    return _filtered(sound, rng.uniform(400, 900), 9000) * _decay(t, rng.uniform(0.03, 0.15))


def _conga(rng: Rng) -> Audio:
    t = _time(rng.uniform(0.1, 0.4))
    base = rng.uniform(170, 480)
    body = np.sin(_phase(base * (1 + 0.15 * np.exp(-t / 0.02)))) * _decay(t, rng.uniform(0.03, 0.12))
    return body + _noise(rng, len(t), 800, 7000) * _decay(t, 0.006) * rng.uniform(0.1, 0.8)


def _shaker(rng: Rng) -> Audio:
    seconds = rng.uniform(0.05, 0.2)
    t = _time(seconds)
    swell = np.sin(np.pi * np.clip(t / seconds, 0, 1)) ** rng.uniform(1, 3)
    return _noise(rng, len(t), rng.uniform(3000, 7000), rng.uniform(10_000, 19_000)) * swell


def _tambourine(rng: Rng) -> Audio:
    t = _time(rng.uniform(0.1, 0.4))
    jingle = _modes(rng, t, rng.uniform(5000, 9000), 8, 0.5) + _noise(rng, len(t), 5000, None)
    shaken = 1 + 0.7 * np.sin(2 * np.pi * rng.uniform(25, 60) * t)
    return jingle * shaken * _decay(t, rng.uniform(0.03, 0.12))


def _bell(rng: Rng) -> Audio:
    """A triangle or an agogo."""
    t = _time(rng.uniform(0.2, 1.2))
    return _modes(rng, t, rng.uniform(700, 4500), 5, 0.9) * _decay(t, rng.uniform(0.05, 0.4))


def _time(seconds: float) -> Audio:
    return np.arange(round(seconds * RATE)) / RATE


def _phase(hertz: Audio) -> Audio:
    return 2 * np.pi * np.cumsum(hertz) / RATE


def _decay(t: Audio, tau: float) -> Audio:
    return np.exp(-t / tau)


def _noise(rng: Rng, count: int, low: float | None, high: float | None) -> Audio:
    return _filtered(rng.standard_normal(count), low, high)


def _modes(rng: Rng, t: Audio, base: float, count: int, spread: float) -> Audio:
    ratios = 1 + np.cumsum(rng.uniform(0.2, 1 + spread, count)) - 0.2
    return sum(
        np.sin(2 * np.pi * min(base * r, 20_000) * t + rng.uniform(0, 6)) / (1 + i)
        for i, r in enumerate(ratios)
    )


def _metal(rng: Rng, t: Audio, base: float) -> Audio:
    """Six square waves that no scale knows, as in drum machines."""
    ratios = np.array([1, 1.34, 1.62, 1.95, 2.5, 2.7]) * rng.uniform(0.95, 1.05, 6)
    return sum(np.sign(np.sin(2 * np.pi * base * r * t)) for r in ratios) / 6


def _filtered(sound: Audio, low: float | None, high: float | None) -> Audio:
    """Slopes of 24 dB an octave, by the spectrum."""
    size = 1 << (len(sound) * 2 - 1).bit_length()
    hertz = np.fft.rfftfreq(size, 1 / RATE) + 1e-3
    gain = np.ones(len(hertz))
    if low:
        gain /= np.sqrt(1 + (low / hertz) ** 8)
    if high:
        gain /= np.sqrt(1 + (hertz / high) ** 8)
    return np.fft.irfft(np.fft.rfft(sound, size) * gain)[: len(sound)]


KINDS = {
    "kick": kick, "snare": snare, "hat": hat, "clap": clap, "tom": tom, "cymbal": cymbal,
    "percussion": percussion, "tonal": tonal,
}  # fmt: skip
