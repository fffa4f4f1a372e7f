"""What a slice is: a small network over what `hearing.py` hears. scripts/one_shots trained it; docs/slicing.md tells how
far it can be believed.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CLASSES = ("kick", "snare", "hat", "clap", "tom", "cymbal", "percussion", "vocal", "tonal", "loop")
STRUCK = frozenset({"kick", "snare", "hat", "clap", "tom", "cymbal", "percussion"})
SURE = 0.5
"""Below it a drum is `percussion`, and what may be no drum has no name."""

_WEIGHTS = Path(__file__).with_name("one_shots.json")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`confidence`: how probable the name is, to the network; of no name, that it has none."""

    name: str | None
    confidence: float


UNHEARD = Verdict(None, 0.0)
"""Of silence."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """Two layers."""

    mean: Floats
    scale: Floats
    hidden_weight: Floats
    hidden_bias: Floats
    out_weight: Floats
    out_bias: Floats

    @classmethod
    def load(cls, path: Path = _WEIGHTS) -> Self:
        stored = json.loads(path.read_text())
        assert tuple(stored.pop("classes")) == CLASSES
        return cls(**{name: np.asarray(values) for name, values in stored.items()})

    def probabilities(self, features: Floats) -> Floats:
        """One for each of CLASSES."""
        x = np.clip((features - self.mean) / self.scale, -4, 4)
        scores = self.out_weight @ np.tanh(self.hidden_weight @ x + self.hidden_bias) + self.out_bias
        powers = np.exp(scores - scores.max())
        return np.asarray(powers / powers.sum())

    def classify(self, features: Floats) -> Verdict:
        """Rather no name, or the name of the family, than a wrong one."""
        probable = dict(zip(CLASSES, self.probabilities(features).tolist(), strict=True))
        best = max(probable, key=lambda name: probable[name])
        if probable[best] >= SURE:
            return Verdict(best, round(probable[best], 3))
        struck = sum(probable[name] for name in STRUCK)
        if struck >= SURE:
            return Verdict("percussion", round(struck, 3))
        return Verdict(None, round(1 - probable[best], 3))


@cache
def classifier() -> Classifier:
    """The one that ships."""
    return Classifier.load()
