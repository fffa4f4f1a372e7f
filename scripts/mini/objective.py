"""What training minimises, from the STFT of stems to a figure in dB, written so that `torch.compile` can fuse it.

The passes over memory between the convolutions are most of a step on a CPU: compiled, it takes little more than half as long.
`Objective` says what HDemucs itself would say with the same weights; `trusted` holds it to that.
"""

from __future__ import annotations

import torch
from compose import STEMS
from demucs.hdemucs import HDemucs
from demucs.spec import spectro
from muon import BF16
from torch import Tensor, nn
from torch.nn import functional

FLOOR = 0.1
"""Windows that come out better than 10 dB teach less."""
WEIGHTS = (1.35, 0.75, 1.0, 0.9)
"""How much each stem's error counts: of sounds never heard, drums are found worst and basses well enough."""
ADDING_UP = 0.3
"""What a part of the mix that is missing in the stems costs, beside what it costs to share it among them."""
FEW = 4
"""Up to so many channels a product of matrices is faster than a convolution, four times with 4."""


def spectra(stems: Tensor, network: HDemucs) -> Tensor:
    """(batch, 4, 2, frames) to (batch, 4, 2, bins, times, 2), real and imaginary."""
    z = spectro(stems, network.nfft, network.hop_length)[..., :-1, :]
    return torch.view_as_real(z).contiguous()


def _cast(parameter: Tensor, like: Tensor) -> Tensor:
    return parameter.to(like.dtype)


def _conv(layer: nn.Module, x: Tensor) -> Tensor:
    return functional.conv2d(x, _cast(layer.weight, x), _cast(layer.bias, x), layer.stride, layer.padding)


def _conv_in_time(layer: nn.Module, x: Tensor) -> Tensor:
    """A Conv1d along the last axis of (batch, channels, bins, times)."""
    if layer.kernel_size == (1,) and layer.in_channels <= FEW:
        rows = functional.linear(x.permute(0, 2, 3, 1), _cast(layer.weight, x)[..., 0], _cast(layer.bias, x))
        return rows.permute(0, 3, 1, 2)
    weight, padding, dilation = _cast(layer.weight, x).unsqueeze(2), layer.padding[0], layer.dilation[0]
    return functional.conv2d(x, weight, _cast(layer.bias, x), padding=(0, padding), dilation=(1, dilation))


def _norm_of_bins(layer: nn.Module, x: Tensor) -> Tensor:
    """GroupNorm of one group over channels and times of each bin, in fp32."""
    wide = x.float()
    variance, mean = torch.var_mean(wide, dim=(1, 3), keepdim=True, correction=0)
    wide = (wide - mean) * torch.rsqrt(variance + layer.eps)
    return (wide * layer.weight.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1)).to(x.dtype)


def _norm(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x.float()).to(x.dtype) if isinstance(layer, nn.GroupNorm) else x


def _residual(dconv: nn.Module, x: Tensor) -> Tensor:
    for layer in dconv.layers:
        first, norm, _, *middle, last, last_norm, _, scale = layer
        h = functional.gelu(_norm_of_bins(norm, _conv_in_time(first, x)))
        for lstm in middle:
            batch, channels, bins, times = h.shape
            rows = h.permute(0, 2, 1, 3).reshape(batch * bins, channels, times).float()
            h = lstm(rows).to(h.dtype).view(batch, bins, channels, times).permute(0, 2, 1, 3)
        gated = functional.glu(_norm_of_bins(last_norm, _conv_in_time(last, h)), dim=1)
        x = x + _cast(scale.scale, x).view(1, -1, 1, 1) * gated
    return x


def _encode(layer: nn.Module, x: Tensor) -> Tensor:
    y = _residual(layer.dconv, functional.gelu(_norm(layer.norm1, _conv(layer.conv, x))))
    return functional.glu(_norm(layer.norm2, _conv(layer.rewrite, y)), dim=1)


def _decode(layer: nn.Module, x: Tensor) -> Tensor:
    y = functional.glu(_norm(layer.norm1, _conv(layer.rewrite, x)), dim=1)
    up = layer.conv_tr
    z = functional.conv_transpose2d(y, _cast(up.weight, y), _cast(up.bias, y), up.stride)
    z = _norm(layer.norm2, z)
    z = z[..., layer.pad : -layer.pad, :] if layer.pad else z
    return z if layer.last else functional.gelu(z)


def forward(network: HDemucs, x: Tensor) -> Tensor:
    """HDemucs between its normalisations: (batch, 2, bins, times) to (batch, 8, bins, times)."""
    kept = []
    for number, layer in enumerate(network.encoder):
        x = _encode(layer, x)
        if number == 0:
            places = network.freq_emb.weight.t()[None, :, :, None]
            x = x + _cast(network.freq_emb_scale * places, x)
        kept.append(x)
    x = torch.zeros_like(x)
    for layer in network.decoder:
        x = _decode(layer, x + kept.pop())
    return x


Targets = tuple[Tensor, Tensor, Tensor, Tensor]


def prepare(z: Tensor, colour: Tensor) -> Targets:
    """The mix's magnitudes, what of each stem lies on the mix's phase, its energy and how much of that lies beside.

    `colour` (batch, 4, bins) is what each stem is multiplied by.
    """
    z = z * colour[:, :, None, :, None, None]
    mix = z.sum(1)
    loud = mix.square().sum(-1).sqrt()
    unit = mix / (loud + 1e-8).unsqueeze(-1)
    wanted = (z * unit[:, None]).sum(-1)
    energy = z.square().sum((2, 3, 4, 5))
    return loud, wanted, energy, (energy - wanted.square().sum((2, 3, 4))).clamp(min=0)


def loss_of(
    network: HDemucs,
    loud: Tensor,
    wanted: Tensor,
    energy: Tensor,
    beyond: Tensor,
    *,
    half: bool,
    only: int | None = None,
) -> Tensor:
    """The error of the stems that add up to the mix, in dB of each stem's energy; or of one stem as it is said.

    That is the figure we are measured by, per window: the STFT's windows overlap evenly, so that its squares add up to
    those in time, and what a magnitude on the mix's phase cannot say is a constant. No inverse STFT is needed.
    """
    mean = loud.mean((1, 2, 3), keepdim=True)
    std = loud.std((1, 2, 3), keepdim=True)
    x = (loud - mean) / (1e-5 + std)
    said = forward(network, x.bfloat16() if half else x).float().view_as(wanted)
    said = said * std[:, None] + mean[:, None]
    usual = 0.75 * energy.mean() + 0.25 * energy
    if only is not None:
        error = (said[:, only] - wanted[:, only]).square().sum((1, 2, 3)) + beyond[:, only]
        return (10 * torch.log10(error / (usual[:, only] + 1e-6) + FLOOR)).mean()
    missing = loud - said.sum(1)
    error = (said + missing[:, None] / len(STEMS) - wanted).square().sum((2, 3, 4)) + beyond
    apart = missing.square().sum((1, 2, 3)) / (loud.square().sum((1, 2, 3)) + 1e-3 * usual.mean() + 1e-6)
    figure = 10 * torch.log10(error / (usual + 1e-6) + FLOOR)
    return (figure * figure.new_tensor(WEIGHTS)).mean() + ADDING_UP * apart.mean()


class Objective:
    """The loss of one network, compiled at its first call for the batch's shape; `only` is the stem it is made for."""

    def __init__(self, network: HDemucs, only: int | None = None) -> None:
        self.network, self.only = network, only
        self._prepare = torch.compile(prepare, dynamic=False)
        self._loss = torch.compile(loss_of, dynamic=False)

    def __call__(self, z: Tensor, colour: Tensor) -> Tensor:
        """`z` from `spectra`."""
        with torch.no_grad():
            targets = self._prepare(z, colour)
        loss: Tensor = self._loss(self.network, *targets, half=BF16, only=self.only)
        return loss

    def trusted(self, z: Tensor) -> float:
        """The cosine between its gradient and the one of the plain fp32 network on the same batch.

        oneDNN's bf16 convolutions are wrong for some shapes (6 windows of a second, 8 of 1.1 s): such runs come apart.
        """
        colour = torch.ones(z.shape[0], len(STEMS), z.shape[3])
        plain = loss_of(self.network, *prepare(z, colour), half=False, only=self.only)
        said = []
        for loss in (plain, self(z, colour)):
            self.network.zero_grad()
            loss.backward()
            said.append(
                torch.cat([p.grad.flatten() for p in self.network.parameters() if p.grad is not None])
            )
        self.network.zero_grad()
        return float(functional.cosine_similarity(said[0], said[1], dim=0))
