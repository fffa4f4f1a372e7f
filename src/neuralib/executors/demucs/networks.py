"""Tensors from disk into the networks of the Demucs package."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from fractions import Fraction
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from demucs.hdemucs import HDecLayer, HDemucs
from demucs.htdemucs import HTDemucs
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from neuralib.errors import ModelLoadFailed
from neuralib.executors import Precision

from .acceleration import accelerate
from .checkpoints import FOUR, arguments, class_name, header
from .layers import CACHE
from .together import Network

# The only classes a file may name: metadata chooses from this table and never imports anything.
CLASSES: Mapping[str, type[nn.Module]] = {
    "demucs.htdemucs.HTDemucs": HTDemucs,
    "demucs.hdemucs.HDemucs": HDemucs,
}

MAPS = nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.Linear
WEIGHTS = ("weight", "bias")
MATRICES = ("matrix", "inward", "inward_bias")
"""What the layers of ours multiply with: see `acceleration`."""

PUBLISHED: Mapping[str, Any] = {
    "sources": list(FOUR),
    "bottom_channels": 512,
    "dconv_mode": 3,
    "segment": Fraction(39, 5),
}
"""What the published htdemucs was made with: 41,984,456 parameters."""


def read(path: Path) -> nn.Module:
    """One network in fp32 from a safetensors file. Raises ModelLoadFailed."""
    try:
        network = _build(header(path))
        network.load_state_dict(_tensors(path), assign=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AssertionError, SafetensorError) as error:
        raise ModelLoadFailed(f"{path.name} cannot be loaded: {error}") from error
    return network


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """All in fp32. A matrix of eight bits has the size of a step of each of its rows beside it, as `NAME.step`."""
    stored = load_file(path)
    steps = {
        name: stored.pop(f"{name}.step") for name, tensor in [*stored.items()] if tensor.dtype == torch.int8
    }
    wide = {name: tensor.float() for name, tensor in stored.items()}
    for name, step in steps.items():
        wide[name] = (wide[name].flatten(1) * step[:, None]).view_as(wide[name])
    return wide


def _build(metadata: Mapping[str, str]) -> nn.Module:
    """An empty network: without memory and without touching the random state, until its tensors are assigned."""
    name, (args, kwargs) = class_name(metadata), arguments(metadata)
    if name not in CLASSES:
        raise ValueError(f"its network {name!r} is none of {', '.join(CLASSES)}")
    if "structure" in metadata or kwargs.get("audio_channels", 2) != 2:
        raise ValueError("only plain tensors of stereo networks are understood")
    known = signature(CLASSES[name]).parameters
    with torch.device("meta"):
        return CLASSES[name](*args, **{key: value for key, value in kwargs.items() if key in known})


def untrained() -> nn.Module:
    """The published shape with random weights, the same ones every time."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network: nn.Module = HTDemucs(**PUBLISHED)
        return network


def pruned(network: nn.Module, places: Sequence[int]) -> nn.Module:
    """The network without the stems at other places, where its last layers make each stem by itself."""
    stock: Any = network
    stems = len(stock.sources)
    last = [stock.decoder[-1], *getattr(stock, "tdecoder", [])[-1:]]
    # A Wiener filter weighs the stems against each other, as does a norm over all their channels.
    alone = stock.cac or stock.wiener_iters < 0
    plain = all(isinstance(layer, HDecLayer) and isinstance(layer.norm2, nn.Identity) for layer in last)
    if len(places) == stems or not alone or not plain:
        return network
    for layer in last:
        upsampling = layer.conv_tr
        for name, dim in (("weight", 1), ("bias", 0)):
            parts = getattr(upsampling, name).detach().chunk(stems, dim)
            setattr(upsampling, name, nn.Parameter(torch.cat([parts[place] for place in places], dim)))
        upsampling.out_channels = upsampling.out_channels * len(places) // stems
    stock.sources = [stock.sources[place] for place in places]
    return network


def precisions(device: torch.device) -> tuple[Precision, ...]:
    """What the networks run in there."""
    if device.type == "cuda":
        return ("fp32", "tf32", "bf16", "fp16")
    if device.type == "cpu" and _computes_bf16():
        return ("fp32", "bf16")  # where the CPU only emulates it, bf16 is slower than fp32
    return ("fp32",)


def ready(network: nn.Module, places: Sequence[int], device: torch.device, precision: Precision) -> Network:
    """The network on its device, for inference only, as fast as we know how; it returns the stems at `places`."""
    network = pruned(network, places).to(device).eval().requires_grad_(requires_grad=False)
    if device.type in {"cpu", "cuda"}:  # elsewhere complex numbers are missing, which stock steps around
        network = accelerate(network, CACHE if device.type == "cpu" else sys.maxsize)
    outermost = _outermost(network) if precision == "bf16" else []
    halved = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    if halved is not None:
        halve(network, halved, {part for layer in outermost for part in layer.modules()})
    for layer in outermost:
        _in_full(layer, device.type)

    def look(windows: torch.Tensor) -> torch.Tensor:
        with (
            torch.inference_mode(),
            _tf32(device, allowed=precision == "tf32"),
            torch.autocast(device.type, halved, enabled=halved is not None),
        ):
            out: torch.Tensor = network(windows)
            return (out if out.shape[1] == len(places) else out[:, list(places)]).float()

    return look


def halve(network: nn.Module, dtype: torch.dtype, full: AbstractSet[nn.Module]) -> None:
    """Store what autocast would otherwise turn into half precision at each use, and in a loop at each turn."""
    for module in network.modules():
        if module not in full:
            names = WEIGHTS if isinstance(module, MAPS) else MATRICES
            for name, parameter in module.named_parameters(recurse=False):
                if name in names:
                    parameter.data = parameter.data.to(dtype)


def _outermost(network: nn.Module) -> list[Any]:
    """The first and the last layer of each branch: a tenth of the work, and half of the noise that eight bits of
    mantissa make. With them in fp32, the published shape gains 3 dB and loses no time.
    """
    stock: Any = network
    return [
        *stock.encoder[:1],
        *stock.decoder[-1:],
        *getattr(stock, "tencoder", [])[:1],
        *getattr(stock, "tdecoder", [])[-1:],
    ]


def _in_full(layer: Any, device: str) -> None:
    """Have the layer compute in fp32, whatever is around it."""
    forward = layer.forward

    def full(*args: Any) -> Any:
        with torch.autocast(device, enabled=False):
            return forward(*(a.float() if isinstance(a, torch.Tensor) else a for a in args))

    layer.forward = full


@contextmanager
def _tf32(device: torch.device, *, allowed: bool) -> Iterator[None]:
    """Matrix products and convolutions on an NVIDIA GPU in TF32, or in full fp32, as long as this lasts."""
    if device.type != "cuda":
        yield
        return
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    matmul.allow_tf32 = convolution.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, convolution.allow_tf32 = before


def _computes_bf16() -> bool:
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # no public spelling as of torch 2.13
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)
