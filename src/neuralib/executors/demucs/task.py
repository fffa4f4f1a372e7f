"""What a job asks for, and the work that makes of it for a given mix."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from neuralib.audio import resampled_frames
from neuralib.errors import AudioTooShort, FieldError
from neuralib.executors import AudioInfo, Recording, ValidationFailed

from .checkpoints import Shape
from .params import DemucsParams
from .windows import Grid, Line, channel_pairs, leads


@dataclass(frozen=True, slots=True)
class Product:
    """One recording to make: so much of the mix and of each stem that is found."""

    name: str
    role: Literal["stem", "mix"]
    mix: float
    stems: tuple[float, ...]


class Task:
    """One separation in numbers. Cheap, so that the plan and the run count alike."""

    def __init__(self, shape: Shape, params: DemucsParams, mix: AudioInfo | Recording) -> None:
        """Raises ValidationFailed for what the weights do not know, AudioTooShort."""
        if not mix.frames:
            raise AudioTooShort
        self.params = params
        self.frames = max(1, resampled_frames(mix.frames, mix.sample_rate, shape.sample_rate))
        self.given = _stems(shape, params)
        self.stems = _needed(shape, params, self.given)
        self.members = shape.members(self.stems)
        self.pairs = channel_pairs(mix.channels)
        self.grid = _grid(shape, params)
        self.sample_rate = shape.sample_rate
        self._leads = leads(len(shape.mixing), params.shifts, params.seed, shape.sample_rate)

    @property
    def shifts(self) -> int:
        """Passes that are averaged: one even without a shift."""
        return max(self.params.shifts, 1)

    @property
    def passes(self) -> int:
        """How often a network goes over the mix."""
        return len(self.members) * self.shifts * len(self.pairs)

    @cached_property
    def count(self) -> int:
        """All windows of all passes."""
        once = sum(self.grid.count(self.frames + lead) for m in self.members for lead in self._leads[m])
        return once * len(self.pairs)

    def lines(self) -> list[Line]:
        """The windows, member by member."""
        return [
            Line(self.frames, self.grid, member, self._leads[member], len(self.pairs))
            for member in self.members
        ]

    def products(self) -> list[Product]:
        """What to make of the stems: themselves, and mixes as the mix plus what of its stems is changed."""
        stems = [
            Product(name, "stem", 0.0, tuple(float(stem == name) for stem in self.stems))
            for name in self.given
        ]
        mixes = [
            Product(mix.name, "mix", 1.0, tuple(_change(mix.gains_db.get(stem, 0.0)) for stem in self.stems))
            for mix in self.params.mixes
        ]
        return [*stems, *mixes]

    def facts(self) -> dict[str, Any]:
        asked = self.params.model_dump(include={"mode", "shifts", "seed", "overlap"})
        segment_s = self.grid.segment / self.sample_rate
        return {
            "stems": list(self.stems),
            **asked,
            "segment_s": segment_s,
            "windows": self.count,
            "passes": self.passes,
        }


def _stems(shape: Shape, params: DemucsParams) -> tuple[str, ...]:
    """The stems to give, in the order of the model."""
    if params.stems is None:
        return shape.stems
    _refuse_unknown("stems", shape, params.stems)
    return tuple(stem for stem in shape.stems if stem in params.stems)


def _needed(shape: Shape, params: DemucsParams, given: Sequence[str]) -> tuple[str, ...]:
    """The stems to find: those to give, and those that a mix changes."""
    needed = set(given)
    for index, mix in enumerate(params.mixes):
        _refuse_unknown(f"mixes/{index}/gains_db", shape, mix.gains_db)
        if mix.name in shape.stems:
            raise _refused(f"mixes/{index}/name", "a stem has this name")
        needed |= {stem for stem, gain in mix.gains_db.items() if gain != 0}
    if not needed:
        raise _refused("mixes", "they change nothing")
    return tuple(stem for stem in shape.stems if stem in needed)


def _change(gain_db: float | None) -> float:
    """What to add of a stem to a mix that holds it, for it to end up at a gain."""
    return -1.0 if gain_db is None else 10 ** (gain_db / 20) - 1


def _refuse_unknown(field: str, shape: Shape, stems: Iterable[str]) -> None:
    unknown = [stem for stem in stems if stem not in shape.stems]
    if unknown:
        raise _refused(field, f"these weights know {', '.join(shape.stems)}, not {', '.join(unknown)}")


def _grid(shape: Shape, params: DemucsParams) -> Grid:
    seconds = shape.segment if params.segment_s is None else params.segment_s
    if shape.fixed and seconds > shape.segment:
        raise _refused("segment_s", f"these weights look at {float(shape.segment):g} seconds at most")
    segment = int(shape.sample_rate * seconds)
    return Grid(segment, stride=int((1 - params.overlap) * segment), fixed=shape.fixed)


def _refused(field: str, message: str) -> ValidationFailed:
    return ValidationFailed(
        f"{field}: {message}", fields=[FieldError(f"/params/{field}", "invalid", message)]
    )
