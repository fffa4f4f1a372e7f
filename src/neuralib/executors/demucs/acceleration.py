"""Swap the parts of a stock network for faster ones that compute the same: see `layers`, `attention`, `spectra`.

Beside what those modules say, checks and copies between host and device that stock makes in each window are gone.
"""

import torch
from demucs.demucs import DConv
from demucs.hdemucs import HDecLayer, HEncLayer, MultiWrap
from demucs.htdemucs import HTDemucs
from demucs.transformer import CrossTransformerEncoder
from torch import nn

from .attention import Transformer
from .layers import Decoder, Encoder, Residual, Stock, Upsampling
from .spectra import Spectra

SWAPS: tuple[tuple[type[nn.Module], Stock], ...] = (
    (HEncLayer, Encoder),
    (HDecLayer, Decoder),
    (DConv, Residual),
    (nn.ConvTranspose1d, Upsampling),
    (CrossTransformerEncoder, Transformer),
)


def accelerate(network: nn.Module, tile: int) -> nn.Module:
    """The network with every part swapped that we know how to run faster; it cannot be trained afterwards. `tile`
    is the number of values that a layer works on at once: what fits a cache, or all of them.
    """
    # A MultiWrap reaches into the layers it holds: those stay stock, what is inside them need not.
    held = {layer for wrap in network.modules() if isinstance(wrap, MultiWrap) for layer in wrap.layers}
    with torch.no_grad():
        for module in list(network.modules()):
            for name, part in list(module.named_children()):
                if part not in held:
                    setattr(module, name, _faster(part, tile))
        if isinstance(network, HTDemucs) and Spectra.knows(network):
            _swap_spectra(network)
    return network


def _faster(part: nn.Module, tile: int) -> nn.Module:
    for stock, ours in SWAPS:
        if isinstance(part, stock) and ours.knows(part):
            made: nn.Module = ours(part, tile)
            return made.eval()
    return part


def _swap_spectra(network: Stock) -> None:
    spectra = Spectra(network.nfft, network.hop_length)
    network._spec = spectra.analyse  # noqa: SLF001 - these three methods are its seams
    network._mask = spectra.as_complex  # noqa: SLF001
    network._ispec = spectra.synthesise  # noqa: SLF001
