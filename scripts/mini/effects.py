"""What is done to a stem or a song: equaliser, room, width, echo, compression, the wear of records."""

from __future__ import annotations

import numpy as np
from compose import Song
from scipy import signal
from synth import RATE, Audio, Rng, drive, log_uniform


def loud(x: Audio) -> Audio:
    """Peak 1."""
    return (x / (np.abs(x).max() + 1e-6)).astype(np.float32)


def equalise(x: Audio, rng: Rng, strength: float = 6.0) -> Audio:
    """Two or three random peaking bands, up to `strength` dB (RBJ cookbook biquads)."""
    for _ in range(int(rng.integers(1, 4))):
        gain, centre = 10 ** (rng.uniform(-strength, strength) / 40), 10 ** rng.uniform(1.9, 4.0)
        w = 2 * np.pi * centre / RATE
        alpha = np.sin(w) / (2 * rng.uniform(0.5, 1.5))
        b = np.array([1 + alpha * gain, -2 * np.cos(w), 1 - alpha * gain])
        a = np.array([1 + alpha / gain, -2 * np.cos(w), 1 - alpha / gain])
        x = signal.lfilter(b / a[0], a / a[0], x, axis=-1)
    return np.asarray(x, dtype=np.float32)


def _in_room(x: Audio, tail: Audio) -> Audio:
    """What a room of this answer, whose energy is brought to 1 a side, gives back."""
    tail = tail / np.sqrt((tail**2).sum(axis=1, keepdims=True))
    back: Audio = signal.oaconvolve(x, tail, axes=-1)[:, : x.shape[1]]
    return back


def reverb(x: Audio, rng: Rng, wet: float) -> Audio:
    """Stereo noise decaying in 0.2-2 s, darker towards its end."""
    seconds = float(rng.uniform(0.2, 2.0))
    t = np.arange(int(seconds * RATE)) / RATE
    tail = rng.standard_normal((2, t.size)) * np.exp(-6.9 * t / seconds)
    tail = signal.sosfilt(
        signal.butter(1, [200, rng.uniform(2500, 9000)], "bandpass", fs=RATE, output="sos"), tail
    )
    tail = np.pad(tail, ((0, 0), (int(rng.uniform(0, 0.03) * RATE), 0)))
    return (x + wet * _in_room(x, tail)).astype(np.float32)


def widen(x: Audio, rng: Rng) -> Audio:
    """Mono to stereo: a pan, or the sides apart by a short delay."""
    if x.ndim == 2:
        return x
    if rng.uniform() < 0.5:
        pan = rng.uniform(-0.5, 0.5)
        return np.stack([x * np.sqrt(0.5 - pan / 2), x * np.sqrt(0.5 + pan / 2)]).astype(
            np.float32
        ) * np.float32(1.414)
    shift = int(rng.uniform(0.004, 0.02) * RATE)
    return np.stack([x, np.concatenate([np.zeros(shift, np.float32), x[:-shift]])])


def echo(x: Audio, song: Song, rng: Rng) -> Audio:
    shift, out = int(song.step * int(rng.choice([2, 3, 4])) * RATE), x.copy()
    for i in range(1, 4):
        if i * shift < x.shape[1]:
            side = x[::-1] if i % 2 else x
            out[:, i * shift :] += np.float32(0.35**i) * side[:, : -i * shift]
    return out


def squash(x: Audio, rng: Rng) -> Audio:
    """A compressor: 2:1 to 6:1 over a random threshold, 5 ms up, 80 ms down."""
    level = np.abs(x).max(axis=0)
    slow = signal.lfilter([0.002], [1, -0.998], level) + 1e-6
    threshold, ratio = float(np.quantile(slow, rng.uniform(0.4, 0.8))) + 1e-6, rng.uniform(2, 6)
    return (x * np.minimum(1, (slow / threshold) ** (1 / ratio - 1))).astype(np.float32)


def worn(x: Audio, rng: Rng) -> Audio:
    """Drums as breaks are found on records: a room, pressed hard, driven, heavy below, dull above; each at random."""
    if rng.uniform() < 0.5:
        x = reverb(x, rng, float(rng.uniform(0.1, 0.5)))
    for _ in range(int(rng.integers(1, 3))):
        x = squash(x, rng)
    if rng.uniform() < 0.5:
        peak = float(np.abs(x).max()) + 1e-6
        x = drive(x / peak, float(rng.uniform(0.5, 6))) * np.float32(peak)
    if rng.uniform() < 0.6:  # louder below 40 to 150 Hz, up to far louder than all above
        low = signal.sosfilt(signal.butter(2, rng.uniform(40, 150), fs=RATE, output="sos"), x)
        if rng.uniform() < 0.4:  # and ringing on, as rooms and subs do
            low = signal.lfilter([0.02], [1, -0.9998], np.abs(low)) * signal.sosfilt(
                signal.butter(2, [25, rng.uniform(45, 80)], "bandpass", fs=RATE, output="sos"),
                np.repeat(rng.standard_normal((1, x.shape[1])), 2, axis=0),
            )
            low = low / (np.sqrt((low**2).mean()) + 1e-9) * np.sqrt((x**2).mean())
        x = x + np.float32(10 ** (rng.uniform(-12, 10) / 20)) * low
    if rng.uniform() < 0.3:
        x = signal.sosfilt(signal.butter(2, rng.uniform(3500, 11000), fs=RATE, output="sos"), x)
    return np.asarray(x, dtype=np.float32)


def smeared(x: Audio, rng: Rng) -> Audio:
    """In a small room, heard more or less through its wall: noise that dies away within 0.05 to 0.5 s."""
    size = int(rng.uniform(0.05, 0.5) * RATE)
    tail = rng.standard_normal((2, size), dtype=np.float32) * np.exp(
        -6.9 * np.arange(size, dtype=np.float32) / size
    )
    k = float(rng.uniform(0, 0.95))
    tail = signal.lfilter([1 - k], [1, -k], tail, axis=-1)
    wet = rng.uniform(0.2, 1)
    return np.asarray((1 - wet) * x + wet * _in_room(x, tail), np.float32)


def hum(x: Audio, rng: Rng) -> Audio:
    """What hums without end under many a break, of mains or of the record: a low tone, a few harmonics, mostly odd."""
    t = np.arange(x.shape[1], dtype=np.float32) / RATE
    pitch = log_uniform(rng, 32, 130)
    out = np.sin(2 * np.pi * pitch * t + rng.uniform(0, 6.28))
    for harmonic in range(2, 8):
        level = rng.uniform(-50, -10) - (12 if harmonic % 2 == 0 else 0)
        out += 10 ** (level / 20) * np.sin(2 * np.pi * pitch * harmonic * t + rng.uniform(0, 6.28))
    if rng.uniform() < 0.5:
        out *= 1 + rng.uniform(0, 0.3) * np.sin(2 * np.pi * rng.uniform(0.2, 8) * t + rng.uniform(0, 6.28))
    loud = np.sqrt((x**2).mean()) * 10 ** (rng.uniform(-6, 18) / 20)
    return np.asarray(out * np.float32(loud), np.float32)
