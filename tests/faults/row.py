"""One row of the table: a fault, what was done under it, what was counted, and whether the promise held."""

import random
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Scale:
    """How large a storm is: `long` for the table, short for CI. Chance comes from `seed` alone."""

    long: bool
    seed: int

    def pick(self, short: T, long: T) -> T:
        return long if self.long else short

    def chance(self, fault: str) -> random.Random:
        return random.Random(f"{self.seed} {fault}")


@dataclass
class Row:
    """Counts in the order they were made, and every claim that did not hold."""

    fault: str
    counts: dict[str, int | float | str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        return not self.broken

    def claim(self, holds: bool, otherwise: str) -> None:
        """Note that something must be so; `otherwise` says what was seen instead."""
        if not holds:
            self.broken.append(otherwise)


def percentile(values: list[float], share: float) -> float:
    """Of the sorted values the one at this share of the way; 0 when there is none."""
    return sorted(values)[round(share * (len(values) - 1))] if values else 0.0
