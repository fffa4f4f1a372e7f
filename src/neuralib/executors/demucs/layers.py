"""Layers of the Demucs networks, arranged for the machine: equal samples to rounding, in less time.

- A residual branch ends in a 1x1 convolution, a normalisation over the whole sample and a gate. Mean and variance
  of what a 1x1 convolution gives follow from mean and covariance of what goes in, which has far fewer channels:
  convolution, normalisation and layer scale become one matrix product, and no wide tensor is read twice.
- Layers work on a few frequencies at a time, so that what lies between their steps stays in the cache.
- A transposed convolution whose kernel is twice its stride is one matrix product on neighbouring frames.

Each class is made from a stock layer, holds the same weights and takes and gives the same tensors. `knows` says
whether a stock layer has only the options of the published models; any other stays as it is. `tile` is the number
of values that a step works on at once.
"""

from collections.abc import Iterator
from typing import Any

import torch
from demucs.demucs import DConv
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses

CACHE = 1 << 19
"""The tile for a CPU: 2 MiB of fp32, what a core can hope for of most caches."""

Stock = Any
"""A module of the Demucs package: its attributes are typed too loosely to be of help."""


def spans(length: int, floats: int, tile: int) -> Iterator[slice]:
    """Parts of a dimension that holds so many values at each place, of about `tile` values each."""
    step = max(1, tile // floats)
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def tiles(x: Tensor, rows: int, tile: int) -> Iterator[tuple[slice, slice]]:
    """Items and rows of `(batch, channels, rows, frames)`, in parts of about `tile` values each."""
    floats = x.shape[1] * x.shape[3]
    for items in spans(x.shape[0], floats * rows, tile):
        for span in spans(rows, floats, tile):
            yield items, span


def mapped(matrix: Tensor, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """The matrix from channels to channels, at every frame of `(samples, channels, frames)`. Spelled as a batch:
    `torch.matmul` would turn the samples over in memory, twice.
    """
    matrices = matrix.expand(x.shape[0], -1, -1)
    return torch.bmm(matrices, x) if bias is None else torch.baddbmm(bias, matrices, x)


# ── residual branches ─────────────────────────────────────────────────────────────────────────────────


class Residual(nn.Module):
    """`DConv`: branches that are added to what passes by. `(samples, channels, frames)`."""

    @staticmethod
    def knows(stock: Stock) -> bool:
        kinds = (nn.Conv1d, nn.GroupNorm, nn.GELU, nn.Conv1d, nn.GroupNorm, nn.GLU)
        return all(
            len(layer) == len(kinds) + 1
            and all(isinstance(part, kind) for part, kind in zip(layer, kinds, strict=False))
            and layer[1].num_groups == layer[4].num_groups == 1
            for layer in stock.layers
        )

    def __init__(self, stock: Stock, tile: int) -> None:
        super().__init__()
        self.tile = tile
        self.branches: Any = nn.ModuleList(Branch(layer) for layer in stock.layers)

    def forward(self, x: Tensor) -> Tensor:
        samples, channels, frames = x.shape
        if samples * channels * frames <= 2 * self.tile:
            for branch in self.branches:
                x = x + branch.widen(branch.narrow(x))
            return x
        x = x.clone()
        for branch in self.branches:
            narrow = branch.narrow(x)
            for span in spans(frames, samples * channels, self.tile):
                x[..., span] += branch.widen(narrow[..., span])
        return x


class Branch(nn.Module):
    """One branch: narrow convolution, normalisation, GELU; then a wide one, normalisation, gate and layer scale."""

    def __init__(self, layer: Stock) -> None:
        super().__init__()
        convolution, self.normalisation, _, wide, norm, _, scale = layer
        self.convolution = Taps(convolution) if Taps.knows(convolution) else convolution
        weight, bias = wide.weight[:, :, 0], wide.bias
        # The layer scale multiplies the gated half, so it may as well be in the affine part of the norm.
        scale = torch.cat([scale.scale, torch.ones_like(scale.scale)])
        gain, offset = norm.weight * scale, norm.bias * scale
        self.eps = norm.eps
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.products = nn.Parameter(weight.T @ weight)
        columns = [gain[:, None] * weight, (gain * bias)[:, None], -gain[:, None], offset[:, None]]
        self.matrix = nn.Parameter(torch.cat(columns, 1).contiguous())

    def narrow(self, x: Tensor) -> Tensor:
        """What `widen` multiplies: the narrow channels over the deviation that the wide ones will have, and three
        more for that deviation, the wide mean over it, and one.
        """
        h = F.gelu(self.normalisation(self.convolution(x)))
        with torch.autocast(h.device.type, enabled=False):  # statistics are fp32 in every precision
            wide = h.float()
            mean = wide.mean(2)
            centred = wide - mean[:, :, None]
            covariance = torch.matmul(centred, centred.transpose(1, 2)) / wide.shape[2]
            means = torch.addmm(self.bias, mean, self.weight.T)  # of each wide channel
            level = means.mean(1, keepdim=True)
            spread = ((means - level) ** 2).sum(1)
            variance = ((covariance * self.products).sum((1, 2)) + spread) / means.shape[1]
            over = torch.rsqrt(variance + self.eps)[:, None]
            more = torch.cat([over, over * level, torch.ones_like(over)], 1)
            return torch.cat([wide * over[:, :, None], more[:, :, None].expand(-1, -1, h.shape[2])], 1)

    def widen(self, narrow: Tensor) -> Tensor:
        return F.glu(mapped(self.matrix, narrow), 1)


class Taps(nn.Module):
    """A convolution that makes few channels of many, `(samples, channels, frames)`: one matrix product for all places
    of the kernel, then what each place gives, moved to where it counts.
    """

    @staticmethod
    def knows(stock: Stock) -> bool:
        kernel, dilation = stock.kernel_size[0], stock.dilation[0]
        same = (
            kernel % 2 == 1 and stock.padding == (kernel // 2 * dilation,) and stock.padding_mode == "zeros"
        )
        return same and stock.stride == (1,) and stock.groups == 1 and stock.bias is not None

    def __init__(self, stock: Stock) -> None:
        super().__init__()
        self.kernel, self.dilation = stock.kernel_size[0], stock.dilation[0]
        self.matrix = nn.Parameter(stock.weight.permute(2, 0, 1).flatten(0, 1).contiguous())
        self.bias = nn.Parameter(stock.bias[:, None])

    def forward(self, x: Tensor) -> Tensor:
        taps = mapped(self.matrix, x).chunk(self.kernel, 1)
        centre, frames = self.kernel // 2, x.shape[2]
        out: Tensor = taps[centre] + self.bias
        for place, tap in enumerate(taps):
            ahead = min((place - centre) * self.dilation, frames)
            if ahead > 0:
                out[..., : frames - ahead] += tap[..., ahead:]
            elif ahead < 0:
                out[..., -ahead:] += tap[..., :ahead]
        return out


# ── layers of the frequency branch ────────────────────────────────────────────────────────────────────


class Encoder(nn.Module):
    """`HEncLayer` on frequencies: strided convolution, GELU, residual branches, 1x1 convolution, gate."""

    empty = False

    @staticmethod
    def knows(stock: Stock) -> bool:
        return bool(
            stock.freq
            and not stock.empty
            and stock.rewrite is not None
            and stock.rewrite.kernel_size == (1, 1)
            and isinstance(stock.norm1, nn.Identity)
            and isinstance(stock.dconv, DConv)
            and Residual.knows(stock.dconv)
        )

    def __init__(self, stock: Stock, tile: int) -> None:
        super().__init__()
        self.tile = tile
        self.convolution = stock.conv
        self.residual = Residual(stock.dconv, tile)
        self.matrix = nn.Parameter(stock.rewrite.weight[:, :, 0, 0])
        self.bias = nn.Parameter(stock.rewrite.bias[:, None])

    def forward(self, x: Tensor, inject: Tensor | None = None) -> Tensor:
        """`(batch, channels, frequencies, frames)`; `inject` comes from the time branch where both meet."""
        y = self.convolution(x)
        if inject is not None:
            y = y + (inject[:, :, None] if inject.dim() == 3 else inject)
        out = torch.empty_like(y)
        for items, span in tiles(y, y.shape[2], self.tile):
            part = y[items, :, span].transpose(1, 2)
            rows = self.residual(F.gelu(part.flatten(0, 1)))
            gated = F.glu(mapped(self.matrix, rows, self.bias), 1)
            out[items, :, span] = gated.view(part.shape).transpose(1, 2)
        return out


class Decoder(nn.Module):
    """`HDecLayer` on frequencies: 3x3 convolution, gate, residual branches, transposed convolution, GELU."""

    empty = False

    @staticmethod
    def knows(stock: Stock) -> bool:
        return bool(
            stock.freq
            and not stock.empty
            and stock.pad
            and stock.rewrite is not None
            and isinstance(stock.norm1, nn.Identity)
            and isinstance(stock.norm2, nn.Identity)
            and stock.conv_tr.kernel_size == (2 * stock.stride, 1)
            and (stock.dconv is None or (isinstance(stock.dconv, DConv) and Residual.knows(stock.dconv)))
        )

    def __init__(self, stock: Stock, tile: int) -> None:
        super().__init__()
        self.tile = tile
        self.channels, self.last = stock.chin, stock.last
        self.cut, self.stride = stock.pad, stock.stride
        self.rewrite = stock.rewrite
        self.residual = Residual(stock.dconv, tile) if stock.dconv is not None else nn.Identity()
        self.matrix, self.bias = _unfolded(stock.conv_tr)

    def forward(self, x: Tensor, skip: Tensor, length: int | None) -> tuple[Tensor, Tensor]:
        """`(batch, channels, frequencies, frames)` of the layer below and of the encoder; what is made, and what
        it was before the transposed convolution.
        """
        if x.dim() == 3:
            x = x.view(x.shape[0], self.channels, -1, x.shape[2])
        gated = F.glu(self.rewrite(x + skip), 1)
        batch, channels, rows, frames = gated.shape
        # Two rows of the input meet in each group of rows of the output: hold both side by side.
        pairs = gated.new_empty(batch, rows + 1, 2, channels, frames)
        pairs[:, rows, 0] = pairs[:, 0, 1] = 0
        outs = self.matrix.shape[0] // self.stride
        out = gated.new_empty(batch, outs, rows + 1, self.stride, frames)
        for items, span in tiles(gated, rows, self.tile):
            part = gated[items, :, span].transpose(1, 2)
            y = self.residual(part.flatten(0, 1).contiguous()).view(part.shape)
            pairs[items, span, 0] = y
            pairs[items, span.start + 1 : span.stop + 1, 1] = y
        for items, span in tiles(gated, rows + 1, self.tile):
            part = pairs[items, span].flatten(0, 1).flatten(1, 2)
            z = mapped(self.matrix, part, self.bias)
            z = z if self.last else F.gelu(z)
            out[items, :, span] = z.view(-1, span.stop - span.start, outs, self.stride, frames).transpose(
                1, 2
            )
        made_rows = out.view(batch, outs, -1, frames)[:, :, self.cut : -self.cut]
        return made_rows, pairs[:, :rows, 0].transpose(1, 2)


def _unfolded(stock: Stock) -> tuple[nn.Parameter, nn.Parameter]:
    """The weights of a transposed convolution, whose kernel is twice its stride, as a matrix from the channels of
    a frame and of the frame before to the channels of all frames of one stride; and its bias.
    """
    stride = stock.stride[0]
    weight = stock.weight.reshape(stock.in_channels, stock.out_channels, 2, stride)
    matrix = weight.permute(1, 3, 2, 0).reshape(stock.out_channels * stride, 2 * stock.in_channels)
    assert stock.bias is not None
    return nn.Parameter(matrix.contiguous()), nn.Parameter(stock.bias.repeat_interleave(stride)[:, None])


class Upsampling(nn.Module):
    """`ConvTranspose1d` with a kernel of twice its stride. `(batch, channels, frames)`."""

    @staticmethod
    def knows(stock: Stock) -> bool:
        plain = stock.padding == stock.output_padding == (0,) and stock.dilation == (1,) and stock.groups == 1
        return plain and stock.kernel_size[0] == 2 * stock.stride[0] and stock.bias is not None

    def __init__(self, stock: Stock, tile: int) -> None:
        super().__init__()
        self.tile = tile
        self.stride = stock.stride[0]
        self.matrix, self.bias = _unfolded(stock)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, frames = x.shape
        padded = F.pad(x, (1, 1))
        outs = self.matrix.shape[0] // self.stride
        out = x.new_empty(batch, outs, frames + 1, self.stride)
        for span in spans(frames + 1, 2 * channels * batch, self.tile):
            now, before = padded[..., span.start + 1 : span.stop + 1], padded[..., span]
            y = mapped(self.matrix, torch.cat([now, before], 1), self.bias)
            out[:, :, span] = y.view(batch, outs, self.stride, -1).transpose(2, 3)
        return out.view(batch, outs, -1)
