"""Give a network more channels and keep what it does (after Net2Net, Chen et al. 2015).

New rows begin as copies of old ones with noise, so that norms see what they are used to; nobody listens to them yet: what
reads them has zeros there. Only norms over more channels than before move what comes out, and little.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

NOISE = 0.5
"""Of a copied row's own spread."""

# How many blocks an axis is made of that each grow by themselves: the groups of a norm, the halves of a gated unit, the gates
# of an LSTM, its two directions. Axes that share channels share the number. The first pattern that matches counts.
_BLOCKS: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"encoder\.4\.conv\.weight", (4, 4)),
    (r"encoder\.4\.(conv|norm1)\.", (4,)),
    (r"encoder\.4\.rewrite\.weight", (4, 4)),
    (r"encoder\.4\.(rewrite|norm2)\.", (4,)),
    (r"encoder\.3\.rewrite\.", (8, 1)),
    (r"encoder\.\d\.rewrite\.", (2, 1)),
    (r"encoder\.\d\.conv\.", (1, 1)),
    (r"decoder\.0\.conv_tr\.weight", (2, 4)),
    (r"decoder\.0\.(conv_tr|norm2)\.", (4,)),
    (r"decoder\.0\.rewrite\.", (4, 2)),
    (r"decoder\.0\.norm1\.", (4,)),
    (r"decoder\.1\.rewrite\.", (2, 4)),
    (r"decoder\.\d\.rewrite\.", (2, 1)),
    (r"decoder\.\d\.conv_tr\.", (1, 1)),
    (r"lstm\.weight_ih_l0", (4, 1)),
    (r"lstm\.weight_ih_l1", (4, 2)),
    (r"lstm\.", (4, 1)),
    (r"linear\.", (1, 2)),
    (r"encoder\.4\.dconv\.layers\.\d\.0\.weight", (1, 4)),
    (r"encoder\.4\.dconv\.layers\.\d\.[45]\.", (8, 1)),
    (r"encoder\.4\.dconv\.layers\.\d\.7\.", (4,)),
    (r"dconv\.layers\.\d\.[34]\.", (2, 1)),
    (r"dconv\.layers\.", (1, 1)),
    (r"freq_emb\.", (1, 1)),
)


def _places(old: int, new: int, blocks: int) -> Tensor:
    """Where each of `old` channels lies among `new` ones."""
    index = torch.arange(old)
    return index // (old // blocks) * (new // blocks) + index % (old // blocks)


def _inputs(name: str) -> int | None:
    """The axis of a weight that reads channels; none where an axis only holds them."""
    if "conv_tr" in name:
        return 0
    return None if "freq_emb" in name else 1


def widened(old: dict[str, Tensor], wide: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """`old`'s weights in the shapes of `wide`, a state of the same network with more channels."""
    draw = torch.Generator().manual_seed(seed)
    done = {}
    for name, weight in old.items():
        blocks = next(found for pattern, found in _BLOCKS if re.search(pattern, name))
        for axis, size in enumerate(wide[name].shape):
            if size == weight.shape[axis]:
                continue
            grown = torch.zeros(*weight.shape[:axis], size, *weight.shape[axis + 1 :])
            places = _places(weight.shape[axis], size, blocks[axis])
            if weight.dim() == 1 or axis != _inputs(name):
                fresh = torch.tensor(sorted(set(range(size)) - set(places.tolist())))
                models = torch.randint(weight.shape[axis], (len(fresh),), generator=draw)
                copied = weight.index_select(axis, models)
                if weight.dim() > 1:
                    copied = copied + NOISE * copied.std() * torch.randn(copied.shape, generator=draw)
                grown = grown.index_copy(axis, fresh, copied)
            weight = grown.index_copy(axis, places, weight)  # noqa: PLW2901 - axis by axis
        done[name] = weight
    return done
