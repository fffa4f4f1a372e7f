"""Who gets what of a mix no stem claims: in each bin of the spectrum, the more the louder a stem is there.

Equal parts put a quarter of every sound that a small network is not sure of into stems that are silent at that time and
pitch. Parts by the root of the stems' magnitudes lie between equal ones and a ratio mask, and between what both get wrong.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from neuralib.audio import Samples

WINDOW = 8192
"""Twice as long as the networks' own: basses lie close together, and what is missing seldom begins at once."""
HOP = WINDOW // 2
TAPER = np.sin(np.pi * np.arange(WINDOW, dtype=np.float32) / WINDOW)
"""Its squares, half a window apart, add up to one: it is there before and after the spectrum."""
PASS = 16
"""Windows at once: some megabytes."""
SILENCE = 1e-6
"""Of a magnitude: where all stems are silent, all count as equally loud."""


class Sharing:
    """Takes stems `(stems, channels, n)` and their mix `(channels, n)` block by block and returns as many frames in all, half
    a window to a whole one later: the stems with their parts of what is missing, and the mix to which they add up but
    for rounding.
    """

    def __init__(self, parts: Sequence[float], channels: int) -> None:
        """`parts`, one for each stem: by how much a stem takes more than another that is as loud. The surer a network is of
        a stem, the less: what it says is then nearer to the truth than what is missing.
        """
        stems = len(parts)
        self._parts = np.array(parts, np.float32)[:, None, None, None]
        # Half a window of silence in front, which is left out of what comes back.
        self._held = np.zeros((stems + 1, channels, HOP), np.float32)
        self._tail = np.zeros((stems, channels, HOP), np.float32)
        self._skip = HOP

    def take(self, stems: Samples, mix: Samples) -> tuple[Samples, Samples]:
        self._held = np.concatenate([self._held, np.concatenate([stems, mix[None]])], axis=-1)
        ready = max(self._held.shape[-1] // HOP - 1, 0)
        done = [self._shared(min(PASS, ready - at)) for at in range(0, ready, PASS)]
        out = np.concatenate([self._held[..., :0], *done], axis=-1)
        skip = min(self._skip, out.shape[-1])
        self._skip -= skip
        return out[:-1, :, skip:], out[-1, :, skip:]

    def end(self) -> tuple[Samples, Samples]:
        """The frames that are still held."""
        left = self._held.shape[-1] - self._skip
        silence = np.zeros((*self._held.shape[:2], WINDOW), np.float32)
        stems, mix = self.take(silence[:-1], silence[-1])
        return stems[..., :left], mix[..., :left]

    def _shared(self, windows: int) -> Samples:
        """The next frames of stems and mix, a hop for each window."""
        size = windows * HOP
        now, self._held = self._held[..., : size + HOP], self._held[..., size:]
        spectra = np.fft.rfft(sliding_window_view(now, WINDOW, axis=-1)[..., ::HOP, :] * TAPER)
        loud = self._parts * (np.sqrt(np.abs(spectra[:-1])) + np.float32(SILENCE))
        missing = spectra[-1] - spectra[:-1].sum(0)
        given = (np.fft.irfft(missing * (loud / loud.sum(0)), WINDOW) * TAPER).astype(np.float32)
        before = np.concatenate([self._tail[..., None, :], given[..., :-1, HOP:]], axis=-2)
        self._tail = given[..., -1, HOP:]
        made = now[..., :size].copy()
        made[:-1] += (given[..., :HOP] + before).reshape(*self._tail.shape[:-1], size)
        return made
