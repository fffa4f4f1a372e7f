"""Stems out of windows: each fades into its neighbours, and what no later one adds to leaves at once."""

import torch
from torch import nn

from .windows import Grid


class OverlapAdd:
    """Stems under construction: frames that later windows still add to."""

    def __init__(self, stems: int, channels: int, device: torch.device) -> None:
        self._sum = torch.zeros(stems, channels, 0, device=device)
        self._base = 0

    def add(self, stem: int, channel: int, start: int, piece: torch.Tensor) -> None:
        """Add `(channels, n)` to a stem from frame `start` on; what lies before the mix is dropped."""
        skip = max(self._base - start, 0)
        begin, end = start + skip - self._base, start + piece.shape[-1] - self._base
        if end <= begin:
            return
        if end > self._sum.shape[-1]:
            self._sum = nn.functional.pad(self._sum, (0, end - self._sum.shape[-1]))
        self._sum[stem, channel : channel + piece.shape[0], begin:end] += piece[:, skip:]

    def pop(self, until: float) -> torch.Tensor:
        """The frames before `until` that were not taken yet, `(stems, channels, n)`."""
        ready = int(min(max(until - self._base, 0), self._sum.shape[-1]))
        done, self._sum = self._sum[..., :ready], self._sum[..., ready:].clone()
        self._base += ready
        return done


class Weighting:
    """The triangle that fades windows into each other, divided by what all windows of a pass add up to."""

    def __init__(self, grid: Grid, device: torch.device) -> None:
        half = grid.segment // 2
        ramp = torch.cat([torch.arange(1, half + 1), torch.arange(grid.segment - half, 0, -1)])
        self._triangle = ramp / ramp.max()
        self._stride, self._device = grid.stride, device
        self._overlaps = (grid.segment - 1) // grid.stride
        self._cache: dict[int, torch.Tensor] = {}

    def of(self, index: int) -> torch.Tensor:
        """For the window at this place of its pass. The first ones have fewer neighbours before them."""
        before = min(index, self._overlaps)
        if before not in self._cache:
            total = torch.zeros_like(self._triangle)
            for neighbour in range(-before, self._overlaps + 1):
                shift = neighbour * self._stride
                if shift >= 0:
                    total[shift:] += self._triangle[: len(total) - shift]
                else:
                    total[:shift] += self._triangle[-shift:]
            self._cache[before] = (self._triangle / total).to(self._device)
        return self._cache[before]
