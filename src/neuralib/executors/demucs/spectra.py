"""The STFT of HTDemucs and the way back: windows are made once, padding that is cut off again is never made."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses

from .layers import Stock


class Spectra:
    """`_spec`, `_mask` and `_ispec` of HTDemucs: an STFT with a frame a hop and no highest bin, and the way back."""

    @staticmethod
    def knows(network: Stock) -> bool:
        return bool(network.cac and network.use_train_segment)

    def __init__(self, size: int, hop: int) -> None:
        self._size, self._hop = size, hop
        self._margin = hop // 2 * 3
        self._windows: dict[torch.device, Tensor] = {}

    def analyse(self, x: Tensor) -> Tensor:
        """`(batch, channels, samples)` to complex `(batch, channels, bins, frames)`."""
        frames = -(-x.shape[-1] // self._hop)
        after = self._margin + frames * self._hop - x.shape[-1]
        padded = F.pad(x.flatten(0, 1), (self._margin, after), mode="reflect")
        z = torch.stft(
            padded,
            self._size,
            self._hop,
            window=self._window(x.device),
            center=False,
            normalized=True,
            return_complex=True,
        )
        return z[:, :-1].view(*x.shape[:2], -1, frames)

    def as_complex(self, _mix: Tensor, m: Tensor) -> Tensor:
        """`(batch, stems, 2 * channels, bins, frames)`, real beside imaginary, to complex `(batch, stems, channels,
        bins, frames)`, which lies in memory frame by frame for the transform that follows.
        """
        batch, stems, channels, bins, frames = m.shape
        parts = m.view(batch, stems, channels // 2, 2, bins, frames).permute(0, 1, 2, 5, 4, 3)
        return torch.view_as_complex(parts.contiguous()).transpose(-1, -2)

    def synthesise(self, z: Tensor, length: int) -> Tensor:
        """Complex `(…, bins, frames)` to `(…, length)`."""
        window = self._window(z.device)
        scale = self._size**0.5 * window / (window**2).view(4, self._hop).sum(0).repeat(4)
        parts = torch.fft.irfft(z.transpose(-1, -2), n=self._size, dim=-1) * scale
        frames = z.shape[-1]
        out = parts.new_zeros(*z.shape[:-2], frames + 3, self._hop)
        for quarter, part in enumerate(parts.split(self._hop, dim=-1)):
            out[..., quarter : quarter + frames, :] += part
        made: Tensor = out.flatten(-2)[..., self._margin : self._margin + length]
        return made

    def _window(self, device: torch.device) -> Tensor:
        if device not in self._windows:
            self._windows[device] = torch.hann_window(self._size, device=device)
        return self._windows[device]
