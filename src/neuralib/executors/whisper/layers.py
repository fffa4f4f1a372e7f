"""The layers of Whisper's network, and how they come out of a checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor

from neuralib.errors import ModelLoadFailed

Linear = Callable[[Tensor], Tensor]
"""A product with a weight, and its bias: `(…, width in)` to `(…, width out)`."""


@dataclass(frozen=True, slots=True)
class Dense:
    """A weight in the precision the model computes in."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Packed:
    """A weight that the checkpoint holds in fp16 and that stays so: fbgemm widens it on its way through the
    processor and computes in fp32. Reading half the bytes is what decoding gains by, and nothing is rounded.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._packed = torch.ops.quantized.linear_prepack_fp16(weight.float(), bias)

    def __call__(self, x: Tensor) -> Tensor:
        return cast(Tensor, torch.ops.quantized.linear_dynamic_fp16(x, self._packed))

    @staticmethod
    def can_hold(weight: Tensor, device: torch.device, dtype: torch.dtype) -> bool:
        """Whether it would change nothing but the speed: fp32 on an x86 processor, from an fp16 checkpoint."""
        engines = torch.backends.quantized.supported_engines
        return (
            weight.dtype == torch.float16
            and device.type == "cpu"
            and dtype == torch.float32
            and "fbgemm" in engines
        )


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation; always in fp32."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), self.weight.shape, self.weight, self.bias).to(x.dtype)


@dataclass(frozen=True, slots=True)
class Feed:
    norm: Norm
    up: Linear
    down: Linear

    def __call__(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(self.norm(x))))


@dataclass(frozen=True, slots=True)
class SelfAttention:
    norm: Norm
    qkv: Linear
    out: Linear


@dataclass(frozen=True, slots=True)
class CrossAttention:
    norm: Norm
    query: Linear
    key_value: Linear
    out: Linear


class Loader:
    """Takes layers out of a checkpoint, in the precision the model computes in."""

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> None:
        self._tensors, self._device, self._dtype = tensors, device, dtype

    def raw(self, name: str) -> Tensor:
        """As the checkpoint holds it, on the device."""
        if name not in self._tensors:
            raise ModelLoadFailed(f"the checkpoint lacks {name}")
        return self._tensors[name].to(self._device).contiguous()

    def tensor(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        return self.raw(name).to(dtype or self._dtype)

    def linear(self, *names: str) -> Linear:
        """One layer, or several that read the same input as one. A missing bias (keys have none) is zero."""
        weights = [self.raw(f"{name}.weight") for name in names]
        biases = [
            self.tensor(f"{name}.bias")
            if f"{name}.bias" in self._tensors
            else weight.new_zeros(weight.shape[0], dtype=self._dtype)
            for name, weight in zip(names, weights, strict=True)
        ]
        return self.layer(torch.cat(weights), torch.cat(biases))

    def layer(self, weight: Tensor, bias: Tensor | None) -> Linear:
        if Packed.can_hold(weight, self._device, self._dtype):
            return Packed(weight, bias)
        return Dense(weight.to(self._dtype), bias)

    def conv(self, name: str) -> Dense:
        return Dense(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"))

    def norm(self, name: str) -> Norm:
        return Norm(self.tensor(f"{name}.weight", torch.float32), self.tensor(f"{name}.bias", torch.float32))

    def self_attention(self, block: str) -> SelfAttention:
        qkv = self.linear(*(f"{block}.attn.{part}" for part in ("query", "key", "value")))
        return SelfAttention(self.norm(f"{block}.attn_ln"), qkv, self.linear(f"{block}.attn.out"))

    def cross_attention(self, block: str) -> CrossAttention:
        name = f"{block}.cross_attn"
        return CrossAttention(
            self.norm(f"{name}_ln"),
            self.linear(f"{name}.query"),
            self.linear(f"{name}.key", f"{name}.value"),
            self.linear(f"{name}.out"),
        )

    def feed(self, block: str) -> Feed:
        return Feed(
            self.norm(f"{block}.mlp_ln"), self.linear(f"{block}.mlp.0"), self.linear(f"{block}.mlp.2")
        )
