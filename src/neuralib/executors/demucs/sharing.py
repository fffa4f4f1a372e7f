"""Who gets what of a mix no stem claims: in each bin of the spectrum, the more the louder a stem is there.

Equal parts put a quarter of every sound that a small network is not sure of into stems that are silent at that time and
pitch. Parts by the root of the stems' magnitudes lie between equal ones and a ratio mask, and between what both get wrong.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from neuralib.audio import Samples

WINDOW = 4096
"""As long as the networks' own windows."""
HOP = WINDOW // 2
TAPER = np.sin(np.pi * np.arange(WINDOW, dtype=np.float32) / WINDOW)
"""Its squares, half a window apart, add up to one: it is there before and after the spectrum."""
PASS = 32
"""Windows at once: some megabytes."""
SILENCE = 1e-6
"""Of a magnitude: where all stems are silent, all get the same."""


class Sharing:
    """Takes stems `(stems, channels, n)` and their mix `(channels, n)` block by block and returns as many frames in all, half
    a window to a whole one later: the stems with their parts of what is missing. They add up to the mix but for
    rounding.
    """

    def __init__(self, stems: int, channels: int) -> None:
        # Half a window of silence in front, which is left out of what comes back.
        self._held = np.zeros((stems + 1, channels, HOP), np.float32)
        self._tail = np.zeros((stems, channels, HOP), np.float32)
        self._skip = HOP

    def take(self, stems: Samples, mix: Samples) -> Samples:
        missing = (mix - stems.sum(0, dtype=np.float64)).astype(np.float32)
        self._held = np.concatenate([self._held, np.concatenate([stems, missing[None]])], axis=-1)
        ready = max(self._held.shape[-1] // HOP - 1, 0)
        parts = [self._shared(min(PASS, ready - at)) for at in range(0, ready, PASS)]
        out = np.concatenate([self._held[:-1, :, :0], *parts], axis=-1)
        skip = min(self._skip, out.shape[-1])
        self._skip -= skip
        return out[..., skip:]

    def end(self) -> Samples:
        """The frames that are still held."""
        missing = self._held.shape[-1] - self._skip
        silence = np.zeros((*self._held.shape[:2], WINDOW), np.float32)
        return self.take(silence[:-1], silence[0])[..., :missing]

    def _shared(self, windows: int) -> Samples:
        """The next frames, a hop for each window."""
        size = windows * HOP
        now, self._held = self._held[..., : size + HOP], self._held[..., size:]
        spectra = np.fft.rfft(sliding_window_view(now, WINDOW, axis=-1)[..., ::HOP, :] * TAPER)
        loud = np.sqrt(np.abs(spectra[:-1])) + np.float32(SILENCE)
        parts = (np.fft.irfft(spectra[-1] * (loud / loud.sum(0)), WINDOW) * TAPER).astype(np.float32)
        before = np.concatenate([self._tail[..., None, :], parts[..., :-1, HOP:]], axis=-2)
        self._tail = parts[..., -1, HOP:]
        shares = (parts[..., :HOP] + before).reshape(*self._tail.shape[:-1], size)
        made: Samples = now[:-1, :, :size] + shares
        return made
