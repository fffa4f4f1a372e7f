"""Whisper's network on plain tensors, cut so that nothing is computed twice.

The network is openai's (Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022); the
numbers equal its package's to rounding. What differs is when they are computed: a window is encoded once and its
cross-attention keys and values are kept for every pass over it; the keys and values of decoded tokens live in one
buffer that grows in place; queries, keys and values of one layer are one product.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor

from neuralib.errors import ModelLoadFailed

Tick = Callable[[], None]


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


@dataclass(frozen=True, slots=True)
class Audio:
    """One encoded window: of every decoder layer the keys `(heads, width / heads, 1500)` and the values
    `(heads, 1500, width / heads)`.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


@dataclass(slots=True)
class Cache:
    """Keys and values of the tokens so far, `(layers, rows, heads, n_text_ctx, width / heads)`, filled up to
    `length`.
    """

    audio: Audio
    keys: Tensor
    values: Tensor
    length: int

    def rearrange_kv_cache(self, sources: Sequence[int]) -> None:
        """Row i goes on from what row sources[i] was. (openai's beam search calls it by this name.)"""
        if list(sources) != list(range(len(sources))):
            index = torch.tensor(sources, device=self.keys.device)
            for buffer in (self.keys, self.values):
                buffer[:, :, :, : self.length] = buffer[:, :, :, : self.length].index_select(1, index)


class Model:
    """A loaded checkpoint. `heads` are the (layer, head) pairs whose cross-attention follows the words."""

    def __init__(
        self,
        dims: Dims,
        tensors: Mapping[str, Tensor],
        heads: Sequence[tuple[int, int]],
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.dims = dims
        self.heads = tuple(heads)
        self.device = torch.device(device)
        self.dtype = dtype
        load = _Loader(tensors, self.device, dtype)
        self._conv1 = load.conv("encoder.conv1")
        self._conv2 = load.conv("encoder.conv2")
        self._audio_positions = load.tensor("encoder.positional_embedding", torch.float32)
        self._encoder = [
            (load.self_attention(name), load.feed(name))
            for name in (f"encoder.blocks.{i}" for i in range(dims.n_audio_layer))
        ]
        self._encoder_norm = load.norm("encoder.ln_post")
        self._embedding = load.raw("decoder.token_embedding.weight")
        self._words = load.layer(self._embedding, None)
        self._text_positions = load.tensor("decoder.positional_embedding")
        self._decoder = [
            (load.self_attention(name), load.cross_attention(name), load.feed(name))
            for name in (f"decoder.blocks.{i}" for i in range(dims.n_text_layer))
        ]
        self._decoder_norm = load.norm("decoder.ln")

    def encode(self, mel: Tensor, tick: Tick) -> Audio:
        """Encode one window, float32 `(n_mels, 3000)`. `tick` is called after every layer."""
        x = mel.to(self.device, self.dtype).unsqueeze(0)
        x = F.gelu(F.conv1d(x, self._conv1.weight, self._conv1.bias, padding=1))
        x = F.gelu(F.conv1d(x, self._conv2.weight, self._conv2.bias, stride=2, padding=1))
        x = (x.permute(0, 2, 1) + self._audio_positions).to(self.dtype)
        for attention, feed in self._encoder:
            q, k, v = self._heads(attention.qkv(attention.norm(x)), 3, self.dims.n_audio_head)
            x = x + attention.out(_joined(F.scaled_dot_product_attention(q, k, v)))
            x = feed(x)
            tick()
        x = self._encoder_norm(x)
        pairs = [self._heads(cross.key_value(x), 2, self.dims.n_text_head) for _, cross, _ in self._decoder]
        keys = tuple(k[0].transpose(1, 2).contiguous() for k, _ in pairs)
        return Audio(keys, tuple(v[0].contiguous() for _, v in pairs))

    def start(
        self, audio: Audio, tokens: Sequence[int], rows: int, wanted: Sequence[int]
    ) -> tuple[Cache, Tensor]:
        """Read a prompt, then branch into `rows` equal rows. Also returns the logits behind the `wanted`
        positions of the prompt: float32 `(len(wanted), n_vocab)`.
        """
        dims = self.dims
        shape = (
            dims.n_text_layer,
            1,
            dims.n_text_head,
            dims.n_text_ctx,
            dims.n_text_state // dims.n_text_head,
        )
        keys = torch.empty(shape, device=self.device, dtype=self.dtype)
        cache = Cache(audio, keys, torch.empty_like(keys), 0)
        x = self._decode(torch.tensor([list(tokens)], device=self.device), cache)
        if rows > 1:
            cache.keys, cache.values = (b.repeat(1, rows, 1, 1, 1) for b in (cache.keys, cache.values))
        return cache, self._logits(x[0, list(wanted)])

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Append one token to every row, `(rows,)`; returns float32 logits `(rows, n_vocab)`."""
        return self._logits(self._decode(tokens[:, None], cache)[:, -1])

    def read_along(self, audio: Audio, tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Read a known text once. Returns the last layer's output `(len(tokens), width)`, to be turned into
        logits by `logits`, and the float32 attention scores of `heads`: `(heads, len(tokens), 1500)`.
        """
        x = self._embed(torch.tensor([list(tokens)], device=self.device), 0)
        scores: dict[tuple[int, int], Tensor] = {}
        for layer, (attention, cross, feed) in enumerate(self._decoder):
            q, k, v = self._heads(attention.qkv(attention.norm(x)), 3, self.dims.n_text_head)
            x = x + attention.out(_joined(F.scaled_dot_product_attention(q, k, v, is_causal=True)))
            found, attended = self._listen(cross.query(cross.norm(x)), audio, layer)
            for pair in self.heads:
                if pair[0] == layer:
                    scores[pair] = found[pair[1]].float()
            x = feed(x + cross.out(attended))
        return self._decoder_norm(x)[0], torch.stack([scores[pair] for pair in self.heads])

    def logits(self, x: Tensor) -> Tensor:
        """float32 `(n, n_vocab)` of outputs `(n, width)` of `read_along`."""
        return self._logits(x)

    def _embed(self, tokens: Tensor, position: int) -> Tensor:
        positions = self._text_positions[position : position + tokens.shape[1]]
        return F.embedding(tokens, self._embedding).to(self.dtype) + positions

    def _decode(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Run `(rows, n)` tokens behind the cached ones; returns the normed output `(rows, n, width)`."""
        start, stop = cache.length, cache.length + tokens.shape[1]
        x = self._embed(tokens, start)
        for layer, (attention, cross, feed) in enumerate(self._decoder):
            q, k, v = self._heads(attention.qkv(attention.norm(x)), 3, self.dims.n_text_head)
            keys, values = cache.keys[layer], cache.values[layer]
            keys[:, :, start:stop], values[:, :, start:stop] = k, v
            attended = F.scaled_dot_product_attention(
                q, keys[:, :, :stop], values[:, :, :stop], is_causal=start == 0 and stop > 1
            )
            x = x + attention.out(_joined(attended))
            _, attended = self._listen(cross.query(cross.norm(x)), cache.audio, layer)
            x = feed(x + cross.out(attended))
        cache.length = stop
        return self._decoder_norm(x)

    def _listen(self, query: Tensor, audio: Audio, layer: int) -> tuple[Tensor, Tensor]:
        """Cross-attention of queries `(rows, n, width)`: scores `(heads, rows * n, 1500)` before the softmax, and
        what was heard `(rows, n, width)`. Plain products: with few queries they beat the fused kernel.
        """
        rows, n, width = query.shape
        heads = self.dims.n_text_head
        q = query.view(rows * n, heads, width // heads).transpose(0, 1) * (width // heads) ** -0.5
        scores = torch.bmm(q, audio.keys[layer])
        heard = torch.bmm(scores.float().softmax(dim=-1).to(query.dtype), audio.values[layer])
        return scores, heard.transpose(0, 1).reshape(rows, n, width)

    def _logits(self, x: Tensor) -> Tensor:
        return self._words(x).float()

    @staticmethod
    def _heads(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
        """`(rows, n, parts * width)` as `parts` tensors `(rows, heads, n, width / heads)`."""
        rows, n, width = x.shape
        return x.view(rows, n, parts, heads, width // parts // heads).permute(2, 0, 3, 1, 4).unbind(0)


def _joined(x: Tensor) -> Tensor:
    """`(rows, heads, n, d)` as `(rows, n, heads * d)`."""
    return x.transpose(1, 2).flatten(2)


class _Loader:
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


def alignment_heads(name: str, dims: Dims) -> list[tuple[int, int]]:
    """The heads that openai found to follow the words; for an unknown checkpoint, as there, every head of the
    upper half.
    """
    import base64
    import gzip

    from whisper import _ALIGNMENT_HEADS

    packed = _ALIGNMENT_HEADS.get(name)
    flags = np.zeros((dims.n_text_layer, dims.n_text_head), dtype=bool)
    flags[dims.n_text_layer // 2 :] = True
    if packed is not None:
        known = np.frombuffer(gzip.decompress(base64.b85decode(packed)), dtype=bool)
        flags = known.reshape(flags.shape) if known.size == flags.size else flags
    return [(int(layer), int(head)) for layer, head in np.argwhere(flags)]
