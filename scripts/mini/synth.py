"""Instruments made of arithmetic: basses, keys, guitars and drums, all mono float32 at RATE.

Everything is a pure function of its arguments and of the `numpy` generator it is given, so a seed
names a sound. Oscillators are band limited with PolyBLEP (Välimäki & Huovilainen 2007), filters are
the zero-delay state variable filter of Simper (2013), strings are Karplus-Strong (1983).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import signal

RATE = 44100
Audio = NDArray[np.float32]
Rng = np.random.Generator


class Note(NamedTuple):
    """One note of a part: seconds, MIDI pitch, velocity 0-1."""

    start: float
    duration: float
    pitch: int
    velocity: float


def hertz(pitch: float) -> float:
    return float(440.0 * 2 ** ((pitch - 69) / 12))


@numba.njit(cache=True)
def _state_variable(x, cutoff, q, mode):  # type: ignore[no-untyped-def]
    """Filter x; cutoff in Hz per sample; mode 0 low, 1 band, 2 high."""
    out = np.empty_like(x)
    low, band = 0.0, 0.0
    k = 1.0 / q
    for i in range(x.size):
        g = np.tan(np.pi * min(cutoff[i], 20000.0) / 44100)
        a = 1.0 / (1.0 + g * (g + k))
        v1 = a * (band + g * (x[i] - low))
        v2 = low + g * v1
        band, low = 2 * v1 - band, 2 * v2 - low
        if mode == 0:
            out[i] = v2
        elif mode == 1:
            out[i] = v1
        else:
            out[i] = x[i] - k * v1 - v2
    return out


@numba.njit(cache=True)
def _pluck(noise, size, period, damping, decay):  # type: ignore[no-untyped-def]
    """Karplus-Strong with a fractional delay: noise excites a string of `period` samples."""
    out = np.zeros(size, dtype=np.float32)
    whole = int(period - 0.5)
    fraction = period - 0.5 - whole
    line = np.zeros(whole + 2)
    pos, last = 0, 0.0
    for i in range(size):
        j = (pos + 1) % line.size
        delayed = line[j] * (1 - fraction) + line[pos] * fraction
        smooth = (1 - damping) * delayed + damping * last
        last = delayed
        value = decay * smooth + (noise[i] if i < noise.size else 0.0)
        out[i] = value
        line[pos] = value
        pos = j
    return out


def lowpass(x: Audio, cutoff: float | NDArray[np.float64], q: float = 0.707, mode: int = 0) -> Audio:
    """x through the state variable filter (mode 0 low, 1 band, 2 high); cutoff in Hz, may move."""
    moving = np.broadcast_to(np.asarray(cutoff, dtype=np.float64), x.shape)
    filtered: Audio = _state_variable(x.astype(np.float64), np.ascontiguousarray(moving), q, mode)
    return filtered.astype(np.float32)


def _blep(phase: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.zeros_like(phase)
    head, tail = phase < step, phase > 1 - step
    t = phase[head] / step[head]
    out[head] = 2 * t - t * t - 1
    t = (phase[tail] - 1) / step[tail]
    out[tail] = t * t + 2 * t + 1
    return out


def oscillator(kind: str, freq: NDArray[np.float64], start: float = 0.0, width: float = 0.5) -> Audio:
    """sine, triangle, saw or pulse following `freq` (Hz per sample)."""
    step = freq / RATE
    phase = (start + np.cumsum(step)) % 1.0
    if kind == "sine":
        return np.sin(2 * np.pi * phase).astype(np.float32)
    if kind == "triangle":
        return (4 * np.abs(phase - 0.5) - 1).astype(np.float32)
    saw = 2 * phase - 1 - _blep(phase, step)
    if kind == "saw":
        return saw.astype(np.float32)
    shifted = (phase + width) % 1.0
    return (saw - (2 * shifted - 1 - _blep(shifted, step))).astype(np.float32)


def envelope(size: int, gate: int, attack: float, decay: float, sustain: float, release: float) -> Audio:
    """ADSR with exponential decay; `gate` samples held, the rest released."""
    t = np.arange(size) / RATE
    body = sustain + (1 - sustain) * np.exp(-t / max(decay, 1e-3))
    body *= np.minimum(1.0, t / max(attack, 1e-3))
    tail = np.maximum(0.0, t - gate / RATE)
    return (body * np.exp(-tail / max(release, 1e-3) * 3)).astype(np.float32)


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """Drawn evenly in octaves."""
    drawn: float = np.exp(rng.uniform(np.log(low), np.log(high)))
    return drawn


def drive(x: Audio, amount: float) -> Audio:
    return (np.tanh(x * (1 + amount)) / np.tanh(1 + amount)).astype(np.float32)


Freq = NDArray[np.float64]
Voice = Callable[[NDArray[np.float64], int, float, Rng], Audio]
"""(frequency per sample, samples held, velocity, generator) -> one note with its tail."""


@dataclass(frozen=True)
class _BassKnobs:
    kind: str
    cutoff: float
    q: float
    sweep: float
    sweep_time: float
    attack: float
    release: float
    sustain: float
    decay: float
    dirt: float
    ratio: float
    index: float
    width: float
    detune: float
    damping: float
    click: float
    drop: float

    def filtered(self, x: Audio) -> Audio:
        t = np.arange(x.size) / RATE
        resonance = self.q * (3 if self.kind == "acid" else 1)
        return lowpass(x, self.cutoff * (1 + self.sweep * np.exp(-t / self.sweep_time)), resonance)

    def subtractive(self, freq: Freq, note: Rng) -> Audio:
        if self.kind == "square":
            return self.filtered(oscillator("pulse", freq, width=self.width))
        if self.kind == "reese":
            up = oscillator("saw", freq * (1 + self.detune), note.uniform())
            return self.filtered(up + oscillator("saw", freq * (1 - self.detune)))
        return self.filtered(oscillator("saw", freq) + 0.5 * oscillator("sine", freq * self.ratio))

    def additive(self, freq: Freq, _: Rng) -> Audio:
        if self.kind == "sub":
            return oscillator("sine", freq) + 0.15 * self.ratio * oscillator("sine", freq * 2)
        if self.kind == "triangle":
            return oscillator("triangle", freq) + 0.1 * oscillator("saw", freq)
        if self.kind == "organ":
            parts = (oscillator("sine", freq * k) / k ** (1.0 + self.width) for k in (1, 2, 3, 4, 6))
            return np.asarray(sum(parts), dtype=np.float32)
        t = np.arange(freq.size) / RATE
        wobble = (
            self.index
            * np.exp(-t / self.sweep_time)
            * np.sin(2 * np.pi * np.cumsum(freq * self.ratio) / RATE)
        )
        return np.sin(2 * np.pi * np.cumsum(freq) / RATE + wobble).astype(np.float32)

    def string(self, freq: Freq, gate: int, note: Rng) -> Audio:
        burst = note.standard_normal(max(int(RATE / freq[-1]), 8)).astype(np.float64)
        burst = signal.lfilter([1 - self.damping], [1, -self.damping], burst)
        x = _pluck(burst, freq.size, RATE / freq[-1], self.damping * 0.5, 0.9985 - 0.004 * self.damping)
        if self.kind == "slap":
            t = np.arange(freq.size) / RATE
            snap = note.standard_normal(freq.size).astype(np.float32) * np.exp(-t / 0.006).astype(np.float32)
            x = x + self.click * 2 * lowpass(snap, 2500, 1.5, 1)
        plucked: Audio = x * envelope(freq.size, gate, 0.001, 3, 0.8, self.release)
        return plucked

    def play(self, freq: Freq, gate: int, velocity: float, note: Rng) -> Audio:
        if self.kind in {"pluck", "slap"}:
            x = self.string(freq, gate, note)
        elif self.kind == "eight":
            swept = freq * (1 + self.drop * np.exp(-np.arange(freq.size) / RATE / 0.02))
            level = envelope(freq.size, gate, 0.002, self.decay * 1.5, 0.05, self.release * 2)
            x = oscillator("sine", swept) * level
        else:
            plain = self.additive if self.kind in {"sub", "triangle", "organ", "fm"} else self.subtractive
            level = envelope(freq.size, gate, self.attack, self.decay, self.sustain, self.release)
            x = plain(freq, note) * level
        if self.dirt:
            x = drive(x * 1.5, self.dirt)
        return (x * velocity).astype(np.float32)


_BASSES = ("saw", "square", "reese", "acid", "sub", "fm", "pluck", "slap", "eight", "organ", "triangle")


def bass_patch(rng: Rng) -> tuple[str, Voice]:
    """A random bass: one of eleven families, every knob turned at random."""
    knobs = _BassKnobs(
        kind=str(rng.choice(_BASSES)),
        cutoff=float(rng.uniform(150, 1800)),
        q=float(rng.uniform(0.6, 2.5)),
        sweep=float(rng.uniform(0, 5)),
        sweep_time=float(rng.uniform(0.04, 0.5)),
        attack=float(rng.uniform(0.002, 0.02)),
        release=float(rng.uniform(0.03, 0.15)),
        sustain=float(rng.uniform(0.2, 1.0)),
        decay=float(rng.uniform(0.1, 1.2)),
        dirt=float(rng.choice([0, 0, rng.uniform(0.3, 6)])),
        ratio=float(rng.choice([0.5, 1, 1, 2, 3])),
        index=float(rng.uniform(0.5, 6)),
        width=float(rng.uniform(0.15, 0.5)),
        detune=float(rng.uniform(0.003, 0.012)),
        damping=float(rng.uniform(0.1, 0.6)),
        click=float(rng.uniform(0, 0.4)),
        drop=float(rng.uniform(0, 3)),
    )
    return knobs.kind, knobs.play


def keys_patch(rng: Rng) -> tuple[str, Voice]:
    """A random melodic or chordal instrument for `other`."""
    kind = str(rng.choice(["supersaw", "pulse", "epiano", "bell", "organ", "guitar", "drive_guitar", "soft"]))
    cutoff, q = float(rng.uniform(600, 7000)), float(rng.uniform(0.6, 2.0))
    sweep, sweep_time = float(rng.uniform(0, 3)), float(rng.uniform(0.05, 0.8))
    slow = float(rng.choice([0.004, 0.01, 0.2]))
    sustain, decay = float(rng.uniform(0.2, 1.0)), float(rng.uniform(0.15, 1.5))
    release, dirt = float(rng.uniform(0.05, 0.5)), float(rng.uniform(2, 12))
    ratio, index = float(rng.choice([1, 2, 3, 3.5, 7, 14])), float(rng.uniform(0.5, 4))
    width, detune = float(rng.uniform(0.1, 0.5)), float(rng.uniform(0.002, 0.012))
    damping = float(rng.uniform(0.05, 0.5))
    drawbars = rng.uniform(0, 1, 6)

    def play(freq: NDArray[np.float64], gate: int, velocity: float, note: Rng) -> Audio:
        size = freq.size
        t = np.arange(size) / RATE
        level = envelope(size, gate, slow if kind in {"supersaw", "soft"} else 0.004, decay, sustain, release)
        if kind == "supersaw":
            spread = (
                oscillator("saw", freq * (1 + detune * k), note.uniform()) for k in (-1, -0.4, 0.1, 0.5, 1)
            )
            x = lowpass(sum(spread) / 2, cutoff * (1 + sweep * np.exp(-t / sweep_time)), q) * level
        elif kind == "pulse":
            x = lowpass(
                oscillator("pulse", freq, note.uniform(), width),
                cutoff * (1 + sweep * np.exp(-t / sweep_time)),
                q,
            )
            x = x * level
        elif kind in {"epiano", "bell"}:
            fade = np.exp(-t / (0.3 if kind == "epiano" else 1.2))
            bend = index * velocity * fade * np.sin(2 * np.pi * np.cumsum(freq * ratio) / RATE)
            ring = np.exp(-t / (decay + 0.5))
            x = (np.sin(2 * np.pi * np.cumsum(freq) / RATE + bend) * ring * level).astype(np.float32)
        elif kind == "organ":
            x = sum(
                d * oscillator("sine", freq * k) for d, k in zip(drawbars, (0.5, 1, 2, 3, 4, 6), strict=True)
            )
            x = np.asarray(x, dtype=np.float32) * envelope(size, gate, 0.01, 1, 1, 0.05)
        elif kind == "soft":
            x = (
                lowpass(oscillator("triangle", freq) + 0.3 * oscillator("saw", freq * (1 + detune)), cutoff)
                * level
            )
        else:  # a string, clean or driven
            burst = note.standard_normal(max(int(RATE / freq[-1]), 8)).astype(np.float64)
            x = _pluck(burst, size, RATE / freq[-1], damping, 0.998) * envelope(
                size, gate, 0.001, 4, 0.9, 0.08
            )
            if kind == "drive_guitar":
                x = lowpass(drive(x * 4, dirt), 4500) * envelope(size, gate, 0.002, 6, 0.9, 0.08)
        return (x * velocity).astype(np.float32)

    return kind, play


def perform(
    notes: list[Note], voice: Voice, frames: int, rng: Rng, *, tail: float = 0.4, glide: float = 0.0
) -> Audio:
    """Play notes with one voice into `frames` samples; glide (s) slides from the pitch before."""
    out = np.zeros(frames, dtype=np.float32)
    before: float | None = None
    for note in notes:
        begin, gate = int(note.start * RATE), max(int(note.duration * RATE), 200)
        size = min(gate + int(tail * RATE), frames - begin)
        if size <= 200:
            continue
        freq = np.full(size, hertz(note.pitch))
        if glide and before is not None:
            t = np.arange(size) / RATE
            freq *= 2 ** ((before - note.pitch) / 12 * np.exp(-t / glide * 3))
        out[begin : begin + size] += voice(freq, gate, note.velocity, rng)
        before = note.pitch
    return out


def _kick(rng: Rng) -> Audio:
    t = np.arange(int(0.45 * RATE)) / RATE
    base, drop, fast = rng.uniform(42, 68), rng.uniform(80, 260), rng.uniform(0.012, 0.05)
    phase = 2 * np.pi * np.cumsum(base + drop * np.exp(-t / fast)) / RATE
    body = np.sin(phase) * np.exp(-t / rng.uniform(0.08, 0.3))
    click = rng.standard_normal(t.size) * np.exp(-t / 0.003) * rng.uniform(0, 0.5)
    return drive((body + click).astype(np.float32), float(rng.uniform(0, 3)))


def _snare(rng: Rng) -> Audio:
    t = np.arange(int(0.4 * RATE)) / RATE
    tone = np.sin(2 * np.pi * rng.uniform(160, 240) * t) * np.exp(-t / rng.uniform(0.04, 0.12))
    noise = rng.standard_normal(t.size).astype(np.float32) * np.exp(-t / rng.uniform(0.05, 0.16)).astype(
        np.float32
    )
    wires = lowpass(lowpass(noise, float(rng.uniform(700, 2200)), 0.7, 2), float(rng.uniform(6000, 14000)))
    return drive((rng.uniform(0.2, 0.8) * tone + wires).astype(np.float32), float(rng.uniform(0, 2)))


def _metal(rng: Rng, seconds: float, floor: float) -> Audio:
    """Hats and cymbals: six detuned squares and noise, high-passed (after the TR-808's circuit)."""
    t = np.arange(int(min(seconds * 5, 2.0) * RATE)) / RATE
    ratios = np.array([2.0, 3.0, 4.16, 5.43, 6.79, 8.21]) * rng.uniform(35, 80) * rng.uniform(0.97, 1.03, 6)
    squares = sum(np.sign(np.sin(2 * np.pi * r * 2 * t)) for r in ratios) / 6
    mix = (rng.uniform(0, 0.8) * squares + rng.uniform(0.3, 1.0) * rng.standard_normal(t.size)).astype(
        np.float32
    )
    return lowpass(mix, floor, 0.9, 2) * np.exp(-t / seconds).astype(np.float32)


def _clap(rng: Rng) -> Audio:
    t = np.arange(int(0.35 * RATE)) / RATE
    gaps = [0.0, *np.cumsum(rng.uniform(0.007, 0.013, 3))]
    fade = sum(
        np.where(t >= g, np.exp(-(t - g) / (0.006 if i < 3 else 0.09)), 0.0) for i, g in enumerate(gaps)
    )
    return lowpass(
        (rng.standard_normal(t.size) * fade).astype(np.float32), float(rng.uniform(900, 1600)), 1.2, 1
    )


def _tom(rng: Rng, pitch: float) -> Audio:
    t = np.arange(int(0.6 * RATE)) / RATE
    freq = pitch * (1 + rng.uniform(0.2, 0.7) * np.exp(-t / 0.04))
    body = np.sin(2 * np.pi * np.cumsum(freq) / RATE) * np.exp(-t / rng.uniform(0.12, 0.3))
    skin = rng.standard_normal(t.size) * np.exp(-t / 0.02) * 0.2
    return (body + skin).astype(np.float32)


def drum_kit(rng: Rng) -> dict[str, Audio]:
    """A synthesised kit, every piece random: name -> one shot."""
    tune = float(rng.uniform(0.8, 1.25))
    return {
        "kick": _kick(rng),
        "snare": _snare(rng),
        "clap": _clap(rng),
        "hat": _metal(rng, float(rng.uniform(0.015, 0.06)), float(rng.uniform(5000, 9000))),
        "open": _metal(rng, float(rng.uniform(0.12, 0.35)), float(rng.uniform(5000, 8000))),
        "ride": _metal(rng, float(rng.uniform(0.25, 0.5)), float(rng.uniform(3500, 7000))),
        "crash": _metal(rng, float(rng.uniform(0.4, 0.7)), float(rng.uniform(2500, 5000))),
        "low": _tom(rng, 85 * tune),
        "mid": _tom(rng, 120 * tune),
        "high": _tom(rng, 165 * tune),
        "rim": lowpass(_snare(rng)[:4000], 1700, 3, 1),
        "shaker": _metal(rng, 0.03, 7000) * 0.5,
    }
