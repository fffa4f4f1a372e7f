"""The transformer of HTDemucs, arranged for the machine: attention never writes its
matrix down, position tables are made once, layer scales are part of the weights.
"""

from typing import Any

import torch
from demucs.transformer import (
    CrossTransformerEncoderLayer,
    MyTransformerEncoderLayer,
    create_2d_sin_embedding,
    create_sin_embedding,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses

from .layers import Stock, spans


class Transformer(nn.Module):
    """`CrossTransformerEncoder`: frequencies and time look at themselves and at each other."""

    @staticmethod
    def knows(stock: Stock) -> bool:
        norms = isinstance(stock.norm_in, nn.LayerNorm) and isinstance(stock.norm_in_t, nn.LayerNorm)
        layers = [*stock.layers, *stock.layers_t]
        return norms and stock.emb == "sin" and not stock.sin_random_shift and all(map(Layer.knows, layers))

    def __init__(self, stock: Stock, tile: int) -> None:
        super().__init__()
        self.period, self.weight = stock.max_period, stock.weight_pos_embed
        self.norm, self.norm_time = stock.norm_in, stock.norm_in_t
        self.layers = nn.ModuleList(Layer(layer, tile) for layer in stock.layers)
        self.layers_time = nn.ModuleList(Layer(layer, tile) for layer in stock.layers_t)
        self._positions: tuple[Any, Tensor, Tensor] | None = None

    def forward(self, x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, channels, frequencies, frames)` and `(batch, channels, frames)`."""
        batch, channels, rows, frames = x.shape
        here, there = self._positions_of(channels, rows, frames, time.shape[2], x)
        x = self.norm(x.permute(0, 3, 2, 1).reshape(batch, frames * rows, channels)) + here
        time = self.norm_time(time.transpose(1, 2).contiguous()) + there
        for layer, layer_time in zip(self.layers, self.layers_time, strict=True):
            if layer.crosses:
                x, time = layer(x, time), layer_time(time, x)
            else:
                x, time = layer(x, x), layer_time(time, time)
        x = x.view(batch, frames, rows, channels).permute(0, 3, 2, 1)
        return x.contiguous(), time.transpose(1, 2).contiguous()

    def _positions_of(
        self, channels: int, rows: int, frames: int, time_frames: int, x: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The position tables of windows of this shape, made for the first of them."""
        key = (channels, rows, frames, time_frames, x.device)
        if self._positions is None or self._positions[0] != key:
            here: Tensor = create_2d_sin_embedding(  # type: ignore[no-untyped-call]
                channels, rows, frames, x.device, self.period
            )
            here = here.permute(0, 3, 2, 1).reshape(1, frames * rows, channels)
            there = create_sin_embedding(time_frames, channels, 0, x.device, self.period)
            there = there.transpose(0, 1).contiguous()
            self._positions = key, here * self.weight, there * self.weight
        return self._positions[1], self._positions[2]


class Layer(nn.Module):
    """One layer: attention and two linear maps, each normalised before, scaled and added. `(batch, tokens, channels)`."""

    @staticmethod
    def knows(stock: Stock) -> bool:
        """Whether it is built like those of the published models."""
        if not isinstance(stock, MyTransformerEncoderLayer | CrossTransformerEncoderLayer) or stock.sparse:
            return False
        norms = [stock.norm1, stock.norm2, getattr(stock, "norm3", stock.norm2)]
        scales = all(hasattr(gamma, "scale") for gamma in (stock.gamma_1, stock.gamma_2))
        out = stock.norm_out is None or stock.norm_out.num_groups == 1
        return (
            bool(stock.norm_first) and stock.activation is F.gelu and scales and out
            and all(isinstance(norm, nn.LayerNorm) for norm in norms)
        )  # fmt: skip

    def __init__(self, stock: Stock, tile: int) -> None:
        super().__init__()
        self.tile = tile
        self.crosses = isinstance(stock, CrossTransformerEncoderLayer)
        attention = stock.cross_attn if self.crosses else stock.self_attn
        self.heads = attention.num_heads
        self.query_norm = stock.norm1
        self.key_norm = stock.norm2 if self.crosses else None
        self.inward, self.inward_bias = attention.in_proj_weight, attention.in_proj_bias
        self.outward = _scaled(attention.out_proj, stock.gamma_1.scale)
        self.norm = stock.norm3 if self.crosses else stock.norm2
        self.widen, self.narrow = stock.linear1, _scaled(stock.linear2, stock.gamma_2.scale)
        self.norm_out = stock.norm_out

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """`other` is what attention looks at: the same as `x`, or the other branch."""
        x = x + self.outward(self._attend(x, other))
        out = torch.empty_like(x)
        for span in spans(x.shape[1], x.shape[0] * self.widen.in_features, self.tile):
            y = x[:, span]
            out[:, span] = y + self.narrow(F.gelu(self.widen(self.norm(y))))
        return out if self.norm_out is None else _whole_norm(out, self.norm_out)

    def _attend(self, x: Tensor, other: Tensor) -> Tensor:
        channels = x.shape[2]
        queries = self.query_norm(x)
        if self.key_norm is None:
            q, k, v = F.linear(queries, self.inward, self.inward_bias).chunk(3, -1)
        else:
            q = F.linear(queries, self.inward[:channels], self.inward_bias[:channels])
            keys = self.key_norm(other)
            k, v = F.linear(keys, self.inward[channels:], self.inward_bias[channels:]).chunk(2, -1)
        made = F.scaled_dot_product_attention(self._split(q), self._split(k), self._split(v))
        return made.transpose(1, 2).reshape(x.shape)

    def _split(self, x: Tensor) -> Tensor:
        """`(batch, heads, tokens, channels of a head)`."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


def _scaled(linear: nn.Linear, scale: Tensor) -> nn.Linear:
    """The linear map with a layer scale in its weights."""
    made = nn.Linear(linear.in_features, linear.out_features, device="meta")
    made.weight = nn.Parameter(linear.weight * scale[:, None])
    made.bias = nn.Parameter(linear.bias * scale)
    return made


def _whole_norm(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    """A group norm with one group, of `(batch, tokens, channels)` as it lies."""
    even = F.group_norm(x.flatten(1)[:, None], 1, eps=norm.eps).view_as(x)
    return torch.addcmul(norm.bias, even, norm.weight)
