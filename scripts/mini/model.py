"""The network that won on CPU seconds, and its safetensors form: weights plus what rebuilds the class, no pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compose import STEMS
from demucs.apply import BagOfModels, apply_model
from demucs.hdemucs import HDemucs
from safetensors.torch import save_file
from synth import RATE
from torch import nn

from neuralib.executors.demucs import networks
from neuralib.executors.demucs.checkpoints import CHECKPOINTS, shape_of
from neuralib.executors.demucs.sharing import Sharing

DECLARED = next(shape_of(c) for c in CHECKPOINTS if c.name == "hdemucs_mini")
SEGMENT = int(DECLARED.segment)
KWARGS: dict[str, Any] = {
    "sources": list(STEMS),
    "depth": 5,
    "growth": 2,
    "hybrid": False,
    "cac": False,  # magnitudes on the mix's phase
    "wiener_iters": -1,
    "end_iters": -1,
    "norm_starts": 4,
    "dconv_mode": 1,
    "dconv_lstm": 4,
    "dconv_attn": 10,  # never: depth is 5
    "dconv_init": 0.1,
    "samplerate": RATE,
    "segment": SEGMENT,
}


def build(channels: int = 16) -> HDemucs:
    return HDemucs(channels=channels, **KWARGS)


def save(state: dict[str, torch.Tensor], path: Path, facts: dict[str, str]) -> None:
    """Write matrices in eight bits, a step of its own for each row, the rest in fp16; metadata holds the class, its
    arguments, the licence and `facts`.
    """
    metadata = {
        "name": "hdemucs_mini",
        "class": "demucs.hdemucs.HDemucs",
        "kwargs": json.dumps(KWARGS | {"channels": state["encoder.0.conv.weight"].shape[0]}),
        "sources": json.dumps(list(STEMS)),
        "samplerate": str(RATE),
        "segment": str(SEGMENT),
        "license": "MIT",
        **facts,
    }
    stored = {}
    for name, tensor in state.items():
        if tensor.dim() < 2:
            stored[name] = tensor.detach().half().contiguous()
            continue
        rows = tensor.detach().flatten(1)
        step = rows.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
        stored[name] = torch.round(rows / step).to(torch.int8).view_as(tensor).contiguous()
        stored[f"{name}.step"] = step[:, 0].contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(stored, path, metadata)


def load(path: Path) -> HDemucs:
    """The network of a file, ready to separate."""
    network = networks.read(path)
    assert isinstance(network, HDemucs)
    return network.eval()


def load_all(paths: Sequence[Path]) -> nn.Module:
    """One network for all stems; or one that leaves the drums to a second."""
    members = [load(path) for path in paths]
    mixing = [list(row) for row in DECLARED.mixing]
    return members[0] if len(members) == 1 else BagOfModels(members, mixing, SEGMENT)


def separate(network: nn.Module, mix: torch.Tensor) -> torch.Tensor:
    """Mix (2, frames) -> stems (4, 2, frames), windows overlapping by a quarter, as the executor does it."""
    with torch.inference_mode():
        stems: torch.Tensor = apply_model(network, mix[None], shifts=0, split=True, overlap=0.25)[0]
    return stems


def adding_up(stems: torch.Tensor, mix: torch.Tensor) -> torch.Tensor:
    """Each stem with its part of what is missing, as the executor's `exact` mode shares it."""
    sharing = Sharing(DECLARED.parts, stems.shape[1])
    made = np.concatenate([sharing.take(stems.numpy(), mix.numpy())[0], sharing.end()[0]], axis=-1)
    return torch.from_numpy(made)


def sdr(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    """10 log10 |s|^2 / |s - s'|^2 over the whole track."""
    error = ((reference - estimate) ** 2).sum() + 1e-9
    return float(10 * torch.log10((reference**2).sum() / error + 1e-9))
