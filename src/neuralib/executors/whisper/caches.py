"""What a model remembers while it decodes: the window it listens to, and the tokens so far.

Shapes: `heads` and `d` are those of the decoder, `d` is width / heads; S is the window's 1500 positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .loading import Dims


@dataclass(frozen=True, slots=True)
class Audio:
    """One encoded window: of every decoder layer the keys `(heads, d, S)` and the values `(heads, S, d)`."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


class Memory(Protocol):
    """What the decoder asks of a cache while it reads `n` more tokens a row."""

    def positions(self, n: int) -> Tensor:
        """Where the new tokens stand: `(n,)` for all rows, or `(rows, n)`."""

    def place(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Remember `(rows, heads, n, d)`; returns all keys and values so far and a mask where rows differ."""

    def heard(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the window: `(heads, …)` for all rows, or `(rows, heads, …)`."""

    def advance(self, n: int) -> None:
        """The new tokens are old ones now."""


class Cache:
    """Rows that share a window and a prompt. Keys and values: `(layers, rows, heads, n_text_ctx, d)`."""

    def __init__(self, dims: Dims, audio: Audio) -> None:
        self.audio = audio
        self.length = 0
        heads, d = dims.n_text_head, dims.n_text_state // dims.n_text_head
        like = audio.keys[0]
        self.keys = like.new_empty((dims.n_text_layer, 1, heads, dims.n_text_ctx, d))
        self.values = torch.empty_like(self.keys)

    def branch(self, rows: int) -> None:
        """One row becomes several equal ones."""
        if rows > 1:
            self.keys, self.values = (b.repeat(1, rows, 1, 1, 1) for b in (self.keys, self.values))

    def rearrange_kv_cache(self, sources: Sequence[int]) -> None:
        """Row i goes on from what row sources[i] was. (openai's beam search calls it by this name.)"""
        if list(sources) != list(range(len(sources))):
            index = torch.tensor(sources, device=self.keys.device)
            for buffer in (self.keys, self.values):
                buffer[:, :, :, : self.length] = buffer[:, :, :, : self.length].index_select(1, index)

    def positions(self, n: int) -> Tensor:
        return torch.arange(self.length, self.length + n, device=self.keys.device)

    def place(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        stop = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : stop] = keys
        self.values[layer, :, :, self.length : stop] = values
        return self.keys[layer, :, :, :stop], self.values[layer, :, :, :stop], None

    def heard(self, layer: int) -> tuple[Tensor, Tensor]:
        return self.audio.keys[layer], self.audio.values[layer]

    def advance(self, n: int) -> None:
        self.length += n


class Slots:
    """Rows of different jobs side by side, each with a window, a prompt and a length of its own. The rows in use are
    always the first ones, so that a step costs no more than they do.
    """

    def __init__(self, dims: Dims, like: Tensor, size: int) -> None:
        layers, heads, d = dims.n_text_layer, dims.n_text_head, dims.n_text_state // dims.n_text_head
        self._keys = like.new_zeros((layers, size, heads, dims.n_text_ctx, d))
        self._values = torch.zeros_like(self._keys)
        self._audio_keys = like.new_empty((layers, size, heads, d, dims.n_audio_ctx))
        self._audio_values = like.new_empty((layers, size, heads, dims.n_audio_ctx, d))
        self._lengths: list[int] = []
        self._now = torch.empty(0)
        self._mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, cache: Cache) -> None:
        """Take a cache of one row over, as the last row."""
        row = len(self._lengths)
        self._keys[:, row, :, : cache.length] = cache.keys[:, 0, :, : cache.length]
        self._values[:, row, :, : cache.length] = cache.values[:, 0, :, : cache.length]
        for layer, (keys, values) in enumerate(zip(cache.audio.keys, cache.audio.values, strict=True)):
            self._audio_keys[layer, row], self._audio_values[layer, row] = keys, values
        self._lengths.append(cache.length)

    def remove(self, row: int) -> None:
        """Give a row up; the last one moves into its place."""
        last = len(self._lengths) - 1
        if row != last:
            length = self._lengths[last]
            self._keys[:, row, :, :length] = self._keys[:, last, :, :length]
            self._values[:, row, :, :length] = self._values[:, last, :, :length]
            self._audio_keys[:, row] = self._audio_keys[:, last]
            self._audio_values[:, row] = self._audio_values[:, last]
            self._lengths[row] = length
        self._lengths.pop()

    def positions(self, n: int) -> Tensor:
        if n != 1:
            raise ValueError("rows of different jobs go on one token at a time")
        self._now = torch.tensor(self._lengths, device=self._keys.device)
        self._mask = None
        if min(self._lengths) != max(self._lengths):
            before = torch.arange(max(self._lengths) + 1, device=self._keys.device)
            self._mask = (before <= self._now[:, None])[:, None, None]
        return self._now[:, None]

    def place(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        rows, stop = len(self._lengths), max(self._lengths) + 1
        index = torch.arange(rows, device=self._keys.device)
        self._keys[layer][index, :, self._now] = keys[:, :, 0]
        self._values[layer][index, :, self._now] = values[:, :, 0]
        return self._keys[layer, :rows, :, :stop], self._values[layer, :rows, :, :stop], self._mask

    def heard(self, layer: int) -> tuple[Tensor, Tensor]:
        rows = len(self._lengths)
        return self._audio_keys[layer, :rows], self._audio_values[layer, :rows]

    def advance(self, n: int) -> None:
        self._lengths = [length + n for length in self._lengths]
