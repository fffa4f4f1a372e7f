"""Struck things that never were: ringing modes and bursts of noise, every figure drawn at random.

Recordings of drums can be learnt by heart; of these there is no end. What they share with real drums is how a stroke begins
and dies away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import signal
from synth import RATE, Audio, Rng, drive, log_uniform

_RATIOS = (
    (1, 1.594, 2.136, 2.296, 2.653, 2.918, 3.156, 3.501, 3.600, 4.060),  # a membrane: zeros of Bessel functions
    (1, 2.756, 5.404, 8.933, 13.344),  # a free bar
    (1, 1.59, 2.80, 3.47, 4.24, 5.00, 6.26),  # a bell of the plainest kind
)  # fmt: skip
_LOWEST = 28.0
"""Hz."""


def _loud(x: Audio) -> Audio:
    """Peak 1, however soft `x` is."""
    return np.asarray(x / (np.abs(x).max() + 1e-9), dtype=np.float32)


def _modes(rng: Rng, pitch: float, seconds: float) -> Audio:
    """What rings: a membrane's, a bar's or any other inharmonic modes, the higher ones shorter."""
    t = np.arange(int(seconds * RATE)) / RATE
    if rng.uniform() < 0.6:
        ratios = np.array(_RATIOS[rng.integers(len(_RATIOS))], dtype=np.float64)
        ratios = ratios[: int(rng.integers(1, ratios.size + 1))]
    else:
        ratios = np.sort(np.concatenate([[1.0], rng.uniform(1.05, 9, int(rng.integers(0, 11)))]))
    ratios = ratios * rng.uniform(0.97, 1.03, ratios.size)
    decay = seconds / rng.uniform(4, 9) * ratios ** -rng.uniform(0, 1.2)
    loud = rng.uniform(0.2, 1, ratios.size) * ratios ** -rng.uniform(0, 1.5)
    bend = 1 + rng.choice([0, rng.uniform(-0.1, 0.3), rng.uniform(0.3, 3)]) * np.exp(
        -t / rng.uniform(0.008, 0.08)
    )
    turns = 2 * np.pi * np.cumsum(pitch * bend) / RATE
    heard = pitch * ratios < 0.45 * RATE
    return _ringing(rng, turns, ratios[heard], loud[heard], decay[heard])


def _ringing(rng: Rng, turns: Any, ratios: Any, levels: Any, decays: Any) -> Audio:
    """Partials that each die away in their own seconds, peak 1; `turns` is the phase of the lowest, frame by frame."""
    t, out = np.arange(turns.size) / RATE, np.zeros(turns.size)
    for ratio, level, decay in zip(ratios, levels, decays, strict=True):
        out += level * np.sin(turns * ratio + rng.uniform(0, 6.28)) * np.exp(-t / decay)
    return _loud(out)


def _burst(rng: Rng, centre: float, seconds: float) -> Audio:
    """Noise of a third of an octave to five, around `centre` Hz."""
    size, centre = int(seconds * RATE), min(max(centre, 50.0), 14_000.0)
    wide = 2 ** float(rng.uniform(0.15, 2.5))
    band = [max(centre / wide, _LOWEST), min(centre * wide, 0.45 * RATE)]
    sos = signal.butter(int(rng.integers(1, 3)), band, "bandpass", fs=RATE, output="sos")
    x = signal.sosfilt(sos, rng.standard_normal(size))
    x = x * np.exp(-np.arange(size) / RATE * rng.uniform(4, 12) / seconds)
    return _loud(x)


def stroke(rng: Rng, pitch: float) -> Audio:
    """One stroke, float32 (frames,), peak 1; `pitch` (Hz) is about where it sounds."""
    seconds = log_uniform(rng, 0.04, 1.3)
    noise = float(rng.choice([0, 1, rng.uniform(0, 1)], p=[0.1, 0.15, 0.75]))
    x = (1 - noise) * _modes(rng, pitch, seconds)
    burst = _burst(rng, pitch * 2 ** float(rng.uniform(-1, 3)), seconds * float(rng.uniform(0.2, 1)))
    x[: burst.size] += noise * burst[: x.size]
    if rng.uniform() < 0.5:  # the stick or the hand
        click = _burst(rng, log_uniform(rng, 600, 9000), float(rng.uniform(0.004, 0.03)))
        x[: click.size] += np.float32(rng.uniform(0.1, 0.8)) * click[: x.size]
    rise = log_uniform(rng, 0.0003, 0.003 if rng.uniform() < 0.75 else 0.05)
    x = x * np.minimum(1, np.arange(x.size) / (rise * RATE)).astype(np.float32)
    if rng.uniform() < 0.15:  # several hands, almost together
        gap = int(rng.uniform(0.006, 0.03) * RATE)
        x = sum(np.pad(x, (k * gap, (2 - k) * gap)) * np.float32(rng.uniform(0.4, 1)) for k in range(3))
    if rng.uniform() < 0.3:
        x = drive(_loud(x), float(rng.uniform(0.3, 6)))
    if rng.uniform() < 0.35:
        x = signal.sosfilt(signal.butter(2, rng.uniform(400, 6000), fs=RATE, output="sos"), x)
    if rng.uniform() < 0.05:
        x = x[::-1]
    x = x * np.minimum(1, np.arange(x.size, 0, -1) / 200)
    return _loud(x)


def pluck(rng: Rng, pitch: float) -> Audio:
    """A note of `pitch` (Hz) that is plucked or struck, float32 (frames,), peak 1: harmonics, a little stretched, that die away
    the sooner the higher they are, behind the noise and the thump of what hit them.
    """
    seconds = log_uniform(rng, 0.4, 4)
    t = np.arange(int(seconds * RATE)) / RATE
    number = np.arange(1, int(min(40, 0.4 * RATE / pitch)) + 1)
    ratios = number * np.sqrt(1 + log_uniform(rng, 1e-6, 2e-3) * number**2)
    level = number ** -rng.uniform(0.3, 2.2) * np.abs(np.sin(np.pi * number * rng.uniform(0.05, 0.5)))
    level = level * rng.uniform(0.3, 1, number.size)
    decay = seconds / rng.uniform(3, 8) * ratios ** -rng.uniform(0, 1.2)
    heard = (pitch * ratios < 0.45 * RATE) & (level > 1e-3)
    x = _ringing(rng, 2 * np.pi * pitch * t, ratios[heard], level[heard], decay[heard])
    for lowest, highest, shortest, longest in ((200, 6000, 0.004, 0.06), (40, 150, 0.03, 0.12)):
        if rng.uniform() < (0.6 if lowest > 100 else 0.15):
            noise = _burst(
                rng,
                log_uniform(rng, lowest, highest),
                float(rng.uniform(shortest, longest)),
            )
            x[: noise.size] += np.float32(rng.uniform(0.05, 0.7)) * noise
    rise = log_uniform(rng, 0.0003, 0.02)
    x = x * np.minimum(1, t / rise)
    if rng.uniform() < 0.3:
        x = drive(_loud(x), float(rng.uniform(0.3, 5)))
    if rng.uniform() < 0.4:
        x = signal.sosfilt(signal.butter(2, rng.uniform(300, 5000), fs=RATE, output="sos"), x)
    return _loud(x)


def boom(rng: Rng, frames: int) -> Audio:
    """Strokes of one deep electronic kick, float32 (frames,), peak 1: a sine that falls to 28 to 75 Hz and dies away."""
    seconds = log_uniform(rng, 0.1, 1.2)
    t = np.arange(int(seconds * RATE)) / RATE
    pitch = log_uniform(rng, 28, 75)
    fall = rng.uniform(0.2, 6) * np.exp(-t / log_uniform(rng, 0.005, 0.12))
    if rng.uniform() < 0.5:  # at once, or after it was held
        level = np.exp(-t * rng.uniform(3, 8) / seconds)
    else:
        level = np.exp(-((t / seconds * rng.uniform(1.3, 3)) ** rng.uniform(1.5, 5)))
    kick = np.sin(2 * np.pi * np.cumsum(pitch * (1 + fall)) / RATE) * level
    if rng.uniform() < 0.5:
        kick = drive(_loud(kick), float(rng.uniform(0.3, 4)))
    kick = _loud(kick * np.minimum(1, np.arange(t.size, 0, -1) / 400))
    out, gap = np.zeros(frames, dtype=np.float32), float(rng.uniform(0.25, 1.5))
    now = float(rng.uniform(-0.4, 0.6))
    while now < frames / RATE:
        at, skip = max(int(now * RATE), 0), max(int(-now * RATE), 0)
        piece = kick[skip : skip + frames - at]
        out[at : at + piece.size] += piece * np.float32(rng.uniform(0.6, 1))
        now += gap * float(rng.choice([0.5, 1, 1]))
    return _loud(out)


_PITCHES = {
    "kick": (35, 110), "low": (60, 200), "mid": (90, 350), "high": (130, 600), "snare": (120, 900), "rim": (300, 2500),
    "clap": (500, 2500), "hat": (2500, 9000), "open": (2000, 8000), "ride": (1200, 6000), "crash": (900, 5000),
    "shaker": (2500, 10000),
}  # fmt: skip
"""Hz between which the pieces of a kit sound."""


def kit(rng: Rng) -> dict[str, Audio]:
    """One stroke for each piece of a kit."""
    return {name: stroke(rng, log_uniform(rng, *span)) for name, span in _PITCHES.items()}


def hand_drums(rng: Rng, count: int) -> dict[str, Audio]:
    """Strokes of any pitch, often of one family: the same instrument struck in other places."""
    centre, spread = rng.uniform(np.log(50), np.log(2500)), float(rng.choice([0.3, 1.0, 2.0]))
    pitches = np.exp(np.clip(rng.normal(centre, spread, count), np.log(40), np.log(8000)))
    return {f"stroke {n}": stroke(rng, float(pitch)) for n, pitch in enumerate(pitches)}


def swells(rng: Rng, frames: int) -> Audio:
    """A level, float64 (frames,), that rises softly or suddenly once to six times a second, holds and dies away."""
    t = np.arange(frames) / RATE
    energy, now, gap = np.zeros(frames), float(rng.uniform(-0.3, 0.5)), float(rng.uniform(0.16, 1))
    rise, hold, fall = (log_uniform(rng, a, b) for a, b in ((0.002, 0.15), (0.005, 0.2), (0.01, 0.3)))
    while now < t[-1]:
        after = t - now
        swell = np.minimum(np.clip(after / rise, 0, 1), np.exp(-np.maximum(after - rise - hold, 0) / fall))
        energy += rng.uniform(0.2, 1) * swell
        now += gap * float(rng.choice([0.5, 1, 1, 2]))
    return energy


def brushed(x: Audio, rng: Rng) -> Audio:
    """Noise with about the colour of `x` (2, frames), in swells and as loud: brushes, shakers, gated noise."""
    spectrum = np.abs(np.fft.rfft(x.mean(axis=0))) ** rng.uniform(0.3, 1)
    turned = spectrum * np.exp(2j * np.pi * rng.uniform(size=(2, spectrum.size)))
    turned[1] = turned[0] + (turned[1] - turned[0]) * rng.choice([0, 0, rng.uniform()])
    out = np.fft.irfft(turned, x.shape[1]) * swells(rng, x.shape[1])
    return np.asarray(out * np.sqrt((x**2).mean() / ((out**2).mean() + 1e-12)), dtype=np.float32)


def shaken(rng: Rng, frames: int) -> Audio:
    """What rattles in swells, float32 (2, frames), RMS 1: many small collisions, each of which rings shortly
    (Cook, "Physically Informed Sonic Modeling", 1997), swelling softly or suddenly once to six times a second.
    """
    energy = swells(rng, frames)
    density = log_uniform(rng, 30, 6000)
    hits = rng.standard_normal((2, frames)) * (rng.uniform(size=(2, frames)) < energy * density / RATE)
    width = rng.uniform(0, 1)
    x = np.stack([hits[0], width * hits[1] + (1 - width) * hits[0]])
    out = rng.uniform(0, 0.3) * x
    for _ in range(int(rng.integers(1, 4))):  # what they hit, and the hollow around
        pitch, ring = (
            log_uniform(rng, 120, 7000),
            log_uniform(rng, 0.0005, 0.01),
        )
        pole = np.exp(-1 / (ring * RATE))
        rings = signal.lfilter([1], [1, -2 * pole * np.cos(2 * np.pi * pitch / RATE), pole**2], x, axis=-1)
        out = out + rng.uniform(0.2, 1) * rings / (np.sqrt((rings**2).mean()) + 1e-9)
    if rng.uniform() < 0.5:
        out = signal.sosfilt(signal.butter(1, log_uniform(rng, 300, 5000), fs=RATE, output="sos"), out)
    return np.asarray(out / (np.sqrt((out**2).mean()) + 1e-9), dtype=np.float32)
