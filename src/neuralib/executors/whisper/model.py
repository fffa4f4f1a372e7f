"""Whisper's network on plain tensors, cut so that nothing is computed twice.

The network is openai's (Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022); the
numbers equal its package's to rounding. What differs is when they are computed: a window is encoded once and its
cross-attention keys and values are kept for every pass over it; the keys and values of decoded tokens live in one
buffer that grows in place; queries, keys and values of one layer are one product.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor

from .caches import Audio, Cache, Memory
from .layers import Loader, SelfAttention
from .loading import Dims

Tick = Callable[[], None]


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
        load = Loader(tensors, self.device, dtype)
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
        cache = Cache(self.dims, audio)
        x = self._decode(torch.tensor([list(tokens)], device=self.device), cache)
        cache.branch(rows)
        return cache, self.logits(x[0, list(wanted)])

    def step(self, tokens: Tensor, memory: Memory) -> Tensor:
        """Append one token to every row, `(rows,)`; returns float32 logits `(rows, n_vocab)`."""
        return self.logits(self._decode(tokens[:, None], memory)[:, -1])

    def read_along(self, audio: Audio, tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Read a known text once. Returns the last layer's output `(len(tokens), width)`, to be turned into
        logits by `logits`, and the float32 attention scores of `heads`: `(heads, len(tokens), 1500)`.
        """
        cache, scores = Cache(self.dims, audio), {}
        x = self._embed(torch.tensor([list(tokens)], device=self.device), cache)
        for layer, (attention, cross, feed) in enumerate(self._decoder):
            x = x + self._recall(attention, x, cache, layer)
            found, heard = self._listen(cross.query(cross.norm(x)), *cache.heard(layer))
            scores.update({pair: found[pair[1]].float() for pair in self.heads if pair[0] == layer})
            x = feed(x + cross.out(heard))
        return self._decoder_norm(x)[0], torch.stack([scores[pair] for pair in self.heads])

    def logits(self, x: Tensor) -> Tensor:
        """Outputs `(…, width)` of the decoder as float32 logits `(…, n_vocab)`."""
        return self._words(x).float()

    def _decode(self, tokens: Tensor, memory: Memory) -> Tensor:
        """Run `(rows, n)` tokens behind the remembered ones; returns the normed output `(rows, n, width)`."""
        x = self._embed(tokens, memory)
        for layer, (attention, cross, feed) in enumerate(self._decoder):
            x = x + self._recall(attention, x, memory, layer)
            _, heard = self._listen(cross.query(cross.norm(x)), *memory.heard(layer))
            x = feed(x + cross.out(heard))
        memory.advance(tokens.shape[1])
        return self._decoder_norm(x)

    def _embed(self, tokens: Tensor, memory: Memory) -> Tensor:
        positions = self._text_positions[memory.positions(tokens.shape[1])]
        return F.embedding(tokens, self._embedding).to(self.dtype) + positions

    def _recall(self, attention: SelfAttention, x: Tensor, memory: Memory, layer: int) -> Tensor:
        """Attention of new tokens to themselves and to those before."""
        q, k, v = self._heads(attention.qkv(attention.norm(x)), 3, self.dims.n_text_head)
        keys, values, mask = memory.place(layer, k, v)
        is_causal = q.shape[2] > 1  # several at once are always the first ones
        attended = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, is_causal=is_causal)
        return attention.out(_joined(attended))

    def _listen(self, query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-attention of queries `(rows, n, width)`: the scores before the softmax, `(heads, rows * n, 1500)`
        where rows share a window, and what was heard, `(rows, n, width)`. Plain products: with few queries they
        beat the fused kernel.
        """
        rows, n, width = query.shape
        heads, d = self.dims.n_text_head, width // self.dims.n_text_head
        q = query * d**-0.5
        if keys.dim() == 3:  # one window for all rows
            scores = torch.bmm(q.view(rows * n, heads, d).transpose(0, 1), keys)
            heard = torch.bmm(_softmax(scores), values).transpose(0, 1)
        else:
            scores = torch.bmm(q.view(rows * heads, 1, d), keys.flatten(0, 1))
            heard = torch.bmm(_softmax(scores), values.flatten(0, 1))
        return scores, heard.reshape(rows, n, width)

    @staticmethod
    def _heads(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
        """`(rows, n, parts * width)` as `parts` tensors `(rows, heads, n, width / heads)`."""
        rows, n, width = x.shape
        return x.view(rows, n, parts, heads, width // parts // heads).permute(2, 0, 3, 1, 4).unbind(0)


def _softmax(scores: Tensor) -> Tensor:
    return scores.float().softmax(dim=-1).to(scores.dtype)


def _joined(x: Tensor) -> Tensor:
    """`(rows, heads, n, d)` as `(rows, n, heads * d)`."""
    return x.transpose(1, 2).flatten(2)
