"""Which slices are one sound hit again: their beginnings compared as pictures of loudness over time and frequency,
whatever their level, as far as both of them last.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .hearing import RATE, STEP, WINDOW, Floats, Sound

FRAMES = 44
"""Of a picture: a quarter of a second."""
LEAST = 6
"""Frames that two sounds must have in common."""
BANDS = 24
RANGE_DB = 50.0
SHIFTS = (-1, 0, 1)
"""Frames by which one may begin later."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Of a beginning: dB above -RANGE_DB of its loudest spot, `(FRAMES, BANDS)`, and how many frames of it count."""

    levels: NDArray[np.float32]
    frames: int


@dataclass(frozen=True, slots=True)
class Group:
    """A slice's group, counted from 1 in order of time, and whether it is the most typical of it."""

    number: int
    representative: bool


def picture_of(sound: Sound, seconds: float) -> Picture:
    power = sound.spectrum[:FRAMES] @ _bank()
    levels = np.maximum(10 * np.log10(power / (power.max() + 1e-30) + 1e-12) + RANGE_DB, 0)
    whole = np.zeros((FRAMES, BANDS), np.float32)
    whole[: len(levels)] = levels
    return Picture(whole, int(np.clip(seconds * RATE / STEP, LEAST, FRAMES)))


def groups_of(pictures: Sequence[Picture | None], threshold: float) -> list[Group]:
    """One for each; what is silent is like everything that is silent. A slice joins the group whose first member it is
    most like, if that is at least `threshold`.
    """
    like = _likeness(pictures)
    firsts: list[int] = []
    number = []
    for i in range(len(pictures)):
        nearest = max(range(len(firsts)), key=lambda n: like[i, firsts[n]], default=-1)
        if nearest < 0 or like[i, firsts[nearest]] < threshold:
            nearest = len(firsts)
            firsts.append(i)
        number.append(nearest)
    typical = set()
    for n in range(len(firsts)):
        members = [i for i, own in enumerate(number) if own == n]
        typical.add(max(members, key=lambda i: like[i, members].sum()))
    return [Group(n + 1, i in typical) for i, n in enumerate(number)]


def _likeness(pictures: Sequence[Picture | None]) -> Floats:
    """The correlation of every two, at the best shift: 1 for the same sound at any level."""
    heard = [i for i, each in enumerate(pictures) if each is not None]
    found = [pictures[i] for i in heard]
    silent = np.asarray([each is None for each in pictures], bool)
    like = np.asarray(silent[:, None] & silent[None, :], np.float64)
    if not heard:
        return like
    levels = np.stack([each.levels for each in found if each is not None]).astype(np.float64)
    counts = np.asarray([each.frames for each in found if each is not None])
    masks = (np.arange(FRAMES) < counts[:, None])[:, :, None] & np.ones(BANDS, bool)
    best = np.maximum.reduce(
        [_correlations(levels, masks, np.roll(levels, s, axis=1), _moved(masks, s)) for s in SHIFTS]
    )
    like[np.ix_(heard, heard)] = np.maximum(best, best.T)
    return like


def _moved(masks: NDArray[np.bool_], shift: int) -> NDArray[np.bool_]:
    moved = np.roll(masks, shift, axis=1)
    if shift > 0:
        moved[:, :shift] = False
    elif shift < 0:
        moved[:, shift:] = False
    return moved


def _correlations(a: Floats, a_mask: NDArray[np.bool_], b: Floats, b_mask: NDArray[np.bool_]) -> Floats:
    """Of every a with every b, over the spots where both of them are."""
    ma, mb = (mask.reshape(len(mask), -1).astype(np.float64) for mask in (a_mask, b_mask))
    xa, xb = a.reshape(ma.shape) * ma, b.reshape(mb.shape) * mb
    count = np.maximum(ma @ mb.T, 1)
    mean_a, mean_b = (xa @ mb.T) / count, (ma @ xb.T) / count
    together = (xa @ xb.T) / count - mean_a * mean_b
    spread_a = (xa**2 @ mb.T) / count - mean_a**2
    spread_b = (ma @ (xb**2).T) / count - mean_b**2
    return np.asarray(together / np.sqrt(np.maximum(spread_a * spread_b, 1e-9)))


def _bank() -> Floats:
    """Bands of equal width on a logarithmic scale from 40 Hz to 16 kHz, none narrower than a bin: `(bins, BANDS)`."""
    hertz = np.fft.rfftfreq(WINDOW, 1 / RATE)
    edges = 40 * 400 ** (np.arange(BANDS + 1) / BANDS)
    bins = np.searchsorted(hertz, edges)
    bank = np.zeros((len(hertz), BANDS))
    for band in range(BANDS):
        first = int(bins[band])
        bank[first : max(int(bins[band + 1]), first + 1), band] = 1
    return bank
