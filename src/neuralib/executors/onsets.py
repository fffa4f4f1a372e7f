"""When sounds begin: the instants at which the spectrum gains energy, moved to the sample where the attack starts.

Source: Böck and Widmer, "Maximum Filter Vibrato Suppression for Onset Detection", DAFx 2013 (SuperFlux): the gain of a
logarithmic spectrum against its recent past, whose neighbouring bands are widened first so that vibrato gains nothing.
The recording is read in blocks; memory grows by 800 bytes a second of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from neuralib.audio import Recording, Samples, resample_blocks

Floats = NDArray[np.float64]
Tick = Callable[[], None]
"""Called at least once a second of computing; what it raises passes through."""

RATE = 32_000
"""Hz of what is looked at: cymbals need the octave up to 15 kHz, nothing needs more."""
HOP = 320
FRAME_RATE = RATE / HOP
WINDOW = 1024
BLOCK_S = 10
LAG = 2
"""Frames between the two spectra that are compared: the window reaches about so far."""
LOWEST_HZ, HIGHEST_HZ, PER_OCTAVE = 30.0, 15_000.0, 24
COMPRESSION = 10.0
"""Magnitudes are counted as log10(1 + this times), where the loudest second of the recording has an RMS of 1."""
BEFORE, AFTER = 10, 7
"""Frames whose median an onset must rise above: what is usual here, also among loud strokes."""
ALONE = 3
"""Frames on both sides in which an onset must be the strongest."""
AT_ONCE = 1 << 16
"""Frames whose medians are computed together."""
FINEST, COARSEST = 0.003, 0.05
"""How far it must rise above that, at sensitivities 1 and 0."""
LOOK_BACK_S, LOOK_AHEAD_S = 0.045, 0.025
"""Where its attack is looked for, around the frame."""
FLOOR = 1e-4
"""Mean square of what counts as silence beside the loudest second."""
VERSION = 1
"""Counts up when other onsets are found: what was kept of them is then made anew."""


@dataclass(frozen=True, slots=True)
class Onsets:
    """Beginnings in order of time."""

    times: Floats
    """Seconds, on samples of the recording."""
    strengths: Floats
    """0 to 1: how much the spectrum gains, beside the strongest of the recording."""
    sensitivities: Floats
    """The least sensitivity that finds it, 0 to 1: those found at another one are those for which it is no greater."""


@dataclass(frozen=True, slots=True)
class Novelty:
    """How much the spectrum gains at each frame; frame i lies at i / FRAME_RATE seconds."""

    gain: NDArray[np.float32]
    low: NDArray[np.float32]
    """The same of what lies below 150 Hz alone."""
    level: float
    """RMS of the loudest second."""


def find_onsets(recording: Recording, sensitivity: float = 0.5, tick: Tick = lambda: None) -> Onsets:
    """The onsets of a recording of any rate and channel count. `sensitivity` is 0 (the clearest only) to 1 (whatever
    might be one). None are found in silence.
    """
    return pick_onsets(recording, novelty_of(recording, tick), sensitivity, tick)


def novelty_of(recording: Recording, tick: Tick = lambda: None) -> Novelty:
    """For `pick_onsets`, and for whoever asks for beats as well."""
    level = _level(recording, tick)
    frames = int(recording.duration * FRAME_RATE) + 1
    gain, low = np.zeros(frames, np.float32), np.zeros(frames, np.float32)
    if level == 0:
        return Novelty(gain, low, level)
    bank, below = _bank()
    before = np.zeros((LAG, bank.shape[1]), np.float32)
    done = 0
    for piece in framed(mono(recording, RATE), WINDOW, HOP):
        tick()
        bands = np.log10(1 + COMPRESSION * (np.abs(np.fft.rfft(piece * _hann())) @ bank) / level)
        whole = np.concatenate((before, bands))
        rise = np.maximum(bands - _widened(whole[:-LAG]), 0)
        count = min(len(rise), frames - done)
        gain[done : done + count] = rise[:count].mean(axis=1)
        low[done : done + count] = rise[:count, :below].mean(axis=1)
        before = whole[-LAG:]
        done += count
    gain[max(frames - ALONE, 1) :] = 0  # the windows of these reach past the end, and an end is no beginning
    return Novelty(gain, low, level)


def pick_onsets(recording: Recording, novelty: Novelty, sensitivity: float, tick: Tick) -> Onsets:
    """The peaks of the novelty, each where its attack starts in the recording."""
    frames, needed = _peaks(novelty.gain)
    found = needed <= sensitivity
    frames, needed = frames[found], needed[found]
    starts = np.empty(len(frames), np.int64)
    for i, frame in enumerate(frames):
        if i % 256 == 0:
            tick()
        starts[i] = _attack(recording, frame / FRAME_RATE, novelty.level)
    # Peaks that share an attack are one onset, as easily found as the clearest of them.
    order = np.argsort(needed, kind="stable")
    starts, first = np.unique(starts[order], return_index=True)
    chosen = order[first]
    strengths = novelty.gain[frames[chosen]].astype(np.float64)
    return Onsets(
        starts / recording.sample_rate, strengths / (strengths.max(initial=0) or 1.0), needed[chosen]
    )


def is_silent(recording: Recording, tick: Tick = lambda: None) -> bool:
    """Whether every sample is nought."""
    for block in recording.blocks(BLOCK_S * recording.sample_rate):
        tick()
        if block.any():
            return False
    return True


def mono(recording: Recording, rate: int) -> Iterator[NDArray[np.float32]]:
    """The mean of the channels at `rate` Hz, block by block."""
    means = (b.mean(axis=0, keepdims=True) for b in recording.blocks(BLOCK_S * recording.sample_rate))
    for block in resample_blocks(means, recording.sample_rate, rate, quality="HQ"):
        yield block[0]


def framed(blocks: Iterator[NDArray[np.float32]], window: int, hop: int) -> Iterator[NDArray[np.float32]]:
    """Pieces `(frames, window)`: frame i is centred on sample i · hop; silence lies around the recording."""
    pending = np.zeros(window // 2, np.float32)
    for block in chain(blocks, [np.zeros(window, np.float32)]):
        pending = np.concatenate((pending, block))
        count = (pending.size - window) // hop + 1
        if count > 0:
            yield np.lib.stride_tricks.sliding_window_view(pending, window)[: count * hop : hop]
            pending = pending[count * hop :]


def _level(recording: Recording, tick: Tick) -> float:
    loudest = 0.0  # mean square
    for block in recording.blocks(recording.sample_rate):
        tick()
        loudest = max(loudest, float(np.square(block.mean(axis=0)).mean()))
    return float(np.sqrt(loudest))


@cache
def _hann() -> NDArray[np.float32]:
    window = np.hanning(WINDOW + 1)[:-1]
    return np.asarray(window / window.sum() * 2, np.float32)


@cache
def _bank() -> tuple[NDArray[np.float32], int]:
    """Triangles of a quarter tone, wider where bins are: `(bins, bands)`, and how many bands lie below 150 Hz."""
    octaves = np.log2(HIGHEST_HZ / LOWEST_HZ)
    centres = LOWEST_HZ * 2 ** (np.arange(int(octaves * PER_OCTAVE) + 1) / PER_OCTAVE)
    corners = np.unique(np.rint(centres * WINDOW / RATE)).astype(int)
    bins = np.arange(WINDOW // 2 + 1)
    bands = [np.interp(bins, corners[i : i + 3], [0.0, 1.0, 0.0]) for i in range(len(corners) - 2)]
    below = int((corners[1:-1] * RATE / WINDOW < 150).sum())
    return np.stack(bands, axis=1).astype(np.float32), below


def _widened(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each band with the larger of it and its neighbours."""
    wide = bands.copy()
    np.maximum(wide[:, 1:], bands[:, :-1], out=wide[:, 1:])
    np.maximum(wide[:, :-1], bands[:, 1:], out=wide[:, :-1])
    return wide


def _peaks(gain: NDArray[np.float32]) -> tuple[NDArray[np.int64], Floats]:
    """Frames that are the strongest of their surroundings and rise above the usual, each with the least sensitivity that
    finds it: to four places, so that whoever is told compares alike.
    """
    around = np.lib.stride_tricks.sliding_window_view
    strongest = around(np.pad(gain, ALONE), 2 * ALONE + 1).max(axis=1)
    near = around(np.pad(gain, (BEFORE, AFTER)), BEFORE + AFTER + 1)
    parts = np.array_split(near, len(near) // AT_ONCE + 1)
    rise = gain - np.concatenate([np.median(part, axis=1) for part in parts])
    found = np.flatnonzero((gain >= strongest) & (rise >= FINEST))
    found = found[np.diff(found, prepend=-ALONE - 1) > ALONE]
    needed = np.log(rise[found].astype(np.float64) / COARSEST) / np.log(FINEST / COARSEST)
    return found, np.clip(np.round(needed, 4), 0, 1)


def _attack(recording: Recording, at: float, level: float) -> int:
    """The sample before which it is quieter and after which it is louder than anywhere around: 10 ms against 3 ms, once
    of the signal and once of its differences, which hear a click over a bass.
    """
    rate = recording.sample_rate
    back, ahead = max(round(0.010 * rate), 1), max(round(0.003 * rate), 1)
    first = round((at - LOOK_BACK_S) * rate)
    last = min(round((at + LOOK_AHEAD_S) * rate), recording.frames)
    begin = first - back
    sound = _mono_between(recording, begin, last + ahead)
    score = _step(sound, back, ahead, FLOOR * level**2)
    score += _step(np.diff(sound, prepend=sound[:1]), back, ahead, FLOOR * level**2 * 0.01)
    found = begin + back + int(score.argmax())
    return min(max(found, 0), recording.frames - 1)


def _mono_between(recording: Recording, start: int, stop: int) -> Floats:
    """With silence where there is no recording."""
    block: Samples = recording.read(max(start, 0), max(stop, 0))
    out = np.zeros(stop - start)
    offset = max(-start, 0)
    out[offset : offset + block.shape[1]] = block.mean(axis=0)
    return out


def _step(sound: Floats, back: int, ahead: int, floor: float) -> Floats:
    """Log of the power of the `ahead` samples from each one over that of the `back` samples before it."""
    total = np.concatenate(([0.0], np.cumsum(np.square(sound))))
    here = np.arange(back, len(sound) - ahead + 1)
    after = (total[here + ahead] - total[here]) / ahead
    before = (total[here] - total[here - back]) / back
    return np.asarray(np.log((after + floor) / (before + floor)))
