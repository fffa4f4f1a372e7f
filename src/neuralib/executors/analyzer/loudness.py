"""Loudness as ITU-R BS.1770-5 and EBU R 128 measure it, and the true peak. Block by block; memory grows by 80 bytes a
second of the recording.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuralib.audio import Recording, Samples, resample_blocks

Floats = NDArray[np.float64]
Tick = Callable[[], None]

STEPS_PER_S = 10
MOMENT, SHORT = 4, 30
"""Steps of 100 ms in a gating block (400 ms) and in a short-term one (3 s)."""
OFFSET = -0.691
ABSOLUTE, RELATIVE = -70.0, -10.0
"""Gates, in LUFS and LU."""
SURROUND = 1.41
WEIGHTS = {
    4: (1, 1, SURROUND, SURROUND),
    5: (1, 1, 1, SURROUND, SURROUND),
    6: (1, 1, 1, 0, SURROUND, SURROUND),
    8: (1, 1, 1, 0, SURROUND, SURROUND, SURROUND, SURROUND),
}
"""By number of channels, in the order of WAVE files; the one for low frequencies does not count."""
RINGING_S = 0.25
"""After so long the filters have forgotten what was before, to 200 dB."""


@dataclass(frozen=True, slots=True)
class Loudness:
    """None where there is nothing to measure: in silence, and of loudness in less than 400 ms."""

    integrated: float | None
    """LUFS."""
    range: float | None
    """LU, as EBU Tech 3342."""
    true_peak: float | None
    """dBTP."""
    curve: tuple[float | None, ...]
    """Short-term loudness (LUFS) of the 3 s around each second."""


def measure(recording: Recording, tick: Tick) -> Loudness:
    """Of a recording of any rate and channel count."""
    powers = _powers(recording, tick)
    curve = _decibels(_means(powers, SHORT), OFFSET)
    moments = _means(powers, MOMENT)
    return Loudness(
        _rounded(_gated(moments)),
        _rounded(_range(_means(powers, SHORT))),
        _rounded(_true_peak(recording, tick)),
        tuple(_rounded(float(value)) for value in curve[::STEPS_PER_S]),
    )


def _powers(recording: Recording, tick: Tick) -> Floats:
    """Weighted mean square of all channels together for each whole 100 ms."""
    step = recording.sample_rate // STEPS_PER_S
    weights = np.array(WEIGHTS.get(recording.channels, (1,) * recording.channels), np.float64)
    powers = []
    for block in _weighted(recording, step):
        tick()
        whole = block[:, : block.shape[1] // step * step].reshape(recording.channels, -1, step)
        powers.append(weights @ np.square(whole, dtype=np.float64).mean(axis=2))
    return np.concatenate(powers) if powers else np.zeros(0)


def _weighted(recording: Recording, step: int) -> Iterator[Samples]:
    """Blocks of whole steps through the K filter, which works on their spectra: the filter's echo of what lies before
    a block is that of its last quarter of a second.
    """
    before = -(-round(RINGING_S * recording.sample_rate) // step) * step
    size = 10 * STEPS_PER_S * step
    gain = _k_filter(recording.sample_rate, before + size)
    for start in range(0, recording.frames, size):
        block = recording.read(start - before, start + size)
        spectrum = np.fft.rfft(block, before + size)
        ahead = min(before, start)
        sound = np.fft.irfft(spectrum * gain, before + size).astype(np.float32)
        yield sound[:, ahead : block.shape[1]]


def _k_filter(rate: int, size: int) -> NDArray[np.complex64]:
    """The response of BS.1770's two filters at any rate: a shelf for the head, and a high pass. Their analogue
    prototypes, found from the coefficients that the standard gives for 48 kHz, are mapped bilinearly.
    """
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)  # one sample of delay
    s = (1 - z) / np.where(z == -1, 1, 1 + z)
    head, high = (np.tan(np.pi * hertz / rate) for hertz in (1681.974450955533, 38.13547087602444))
    gain = 10 ** (3.999843853973347 / 20)
    s_head, s_high = s / head, s / high
    shelf = (gain * s_head**2 + gain**0.4996667741545416 / 0.7071752369554196 * s_head + 1) / (
        s_head**2 + s_head / 0.7071752369554196 + 1
    )
    high_pass = s_high**2 / (s_high**2 + s_high / 0.5003270373238773 + 1)
    response = shelf * high_pass * (1 + 1 / 0.5003270373238773 * high + high**2)
    if size % 2 == 0:
        response[-1] = gain
    return np.asarray(response, np.complex64)


def _means(powers: Floats, steps: int) -> Floats:
    """Of every `steps` in a row."""
    if len(powers) < steps:
        return np.zeros(0)
    total = np.concatenate(([0.0], np.cumsum(powers)))
    return np.asarray(np.maximum(total[steps:] - total[:-steps], 0) / steps)


def _decibels(powers: Floats, offset: float = 0.0) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(offset + 10 * np.log10(powers))


def _over_gates(powers: Floats, relative: float) -> Floats:
    heard = powers[_decibels(powers, OFFSET) > ABSOLUTE]
    if len(heard) == 0:
        return heard
    gate = float(_decibels(heard.mean(), OFFSET)) + relative
    return heard[_decibels(heard, OFFSET) > gate]


def _gated(moments: Floats) -> float | None:
    heard = _over_gates(moments, RELATIVE)
    return float(_decibels(heard.mean(), OFFSET)) if len(heard) else None


def _range(shorts: Floats) -> float | None:
    heard = _over_gates(shorts, -20.0)
    if len(heard) == 0:
        return None
    low, high = np.percentile(_decibels(heard), (10, 95))
    return float(high - low)


def _true_peak(recording: Recording, tick: Tick) -> float | None:
    """The largest sample at four times the rate (less where it is high already)."""
    factor = 4 if recording.sample_rate < 96_000 else 2 if recording.sample_rate < 192_000 else 1
    rate, peak = recording.sample_rate, 0.0
    blocks = recording.blocks(4 * rate)
    for block in resample_blocks(blocks, rate, factor * rate, quality="HQ"):
        tick()
        peak = max(peak, float(np.abs(block).max(initial=0)))
    return float(_decibels(np.square(peak))) if peak else None


def _rounded(value: float | None) -> float | None:
    return round(value, 2) if value is not None and np.isfinite(value) else None
