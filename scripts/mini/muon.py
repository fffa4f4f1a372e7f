"""Muon (Jordan et al. 2024): momentum whose matrix is brought near an orthogonal one, so that rare directions learn too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

BF16 = any(torch.cpu.get_capabilities().get(name, False) for name in ("amx_bf16", "avx512_bf16"))
"""Where the CPU multiplies in bf16: elsewhere that is slower than fp32."""


def orthogonal(matrix: Tensor) -> Tensor:
    """Singular values to about 1, by five Newton-Schulz steps, for which bf16 is fine enough."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    x = x.bfloat16() if BF16 else x
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.T if tall else x).float()


class Muon(torch.optim.Optimizer):
    """For weights of two dimensions or more, flattened to matrices; its steps are about as long as Adam's."""

    def __init__(self, weights: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(list(weights), {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:  # noqa: ARG002 - torch's signature
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                mean = state.setdefault("mean", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(mean, group["momentum"]).flatten(1)
                length = 0.2 * max(ahead.shape) ** 0.5
                weight.add_(orthogonal(ahead).view_as(weight), alpha=-group["lr"] * length)


def optimizers(network: nn.Module, rate: float) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the convolutions between the first and the last, those of some size; Adam for the rest."""
    hidden, rest = [], []
    for name, weight in network.named_parameters():
        ends = name.startswith(("encoder.0.conv.", "decoder.4.conv_tr."))
        matrix = weight.dim() == 4 and not ends and min(weight.flatten(1).shape) >= 8
        (hidden if matrix else rest).append(weight)
    return Muon(hidden, rate), torch.optim.Adam(rest, lr=rate)
