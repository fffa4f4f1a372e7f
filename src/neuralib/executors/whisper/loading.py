"""A checkpoint's file as dimensions and tensors, and what is known of it besides."""

import base64
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from torch import Tensor
from whisper import _ALIGNMENT_HEADS

from neuralib.errors import ModelLoadFailed


@dataclass(frozen=True, slots=True)
class Dims:
    """Sizes of a model, by openai's names."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    @property
    def is_multilingual(self) -> bool:
        return self.n_vocab >= 51865

    @property
    def num_languages(self) -> int:
        return self.n_vocab - 51765 - int(self.is_multilingual)


def read_checkpoint(path: Path) -> tuple[Dims, dict[str, Tensor]]:
    """Dimensions and tensors of our safetensors or of openai's .pt, which is read without unpickling objects.
    Raises ModelLoadFailed.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                dims = json.loads((file.metadata() or {})["dims"])
                return Dims(**dims), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return Dims(**checkpoint["dims"]), checkpoint["model_state_dict"]
    except (
        SafetensorError,
        UnpicklingError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        EOFError,
        OSError,
    ) as error:
        raise ModelLoadFailed(f"{path.name} is not a Whisper checkpoint ({type(error).__name__})") from error


def alignment_heads(name: str, dims: Dims) -> list[tuple[int, int]]:
    """The heads that openai found to follow the words; for an unknown checkpoint, as there, every head of the
    upper half.
    """
    packed = _ALIGNMENT_HEADS.get(name)
    flags = np.zeros((dims.n_text_layer, dims.n_text_head), dtype=bool)
    flags[dims.n_text_layer // 2 :] = True
    if packed is not None:
        known = np.frombuffer(gzip.decompress(base64.b85decode(packed)), dtype=bool)
        flags = known.reshape(flags.shape) if known.size == flags.size else flags
    return [(int(layer), int(head)) for layer, head in np.argwhere(flags)]
