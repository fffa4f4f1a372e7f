"""What a job asks for, and the work that makes of it for a given mix."""

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from neuralib.audio import resampled_frames
from neuralib.errors import AudioTooShort, FieldError
from neuralib.executors import AudioInfo, Params, Recording, ValidationFailed

from .checkpoints import Shape
from .windows import Grid, Line, channel_pairs, leads


class DemucsParams(Params):
    """What a job may ask of a separation."""

    stems: Annotated[
        tuple[str, ...] | None,
        Field(
            min_length=1, description="Make only these: with htdemucs_ft each one costs a quarter. None: all."
        ),
    ] = None
    mode: Annotated[
        Literal["exact", "model"],
        Field(description="exact: the stems add up to the mix. model: what the network says, as it is."),
    ] = "exact"
    shifts: Annotated[
        int,
        Field(
            ge=0, le=10, description="Average this many passes, each shifted in time by up to half a second."
        ),
    ] = 0
    seed: Annotated[
        int, Field(ge=0, lt=1 << 63, description="Of the shifts: the same seed, the same stems.")
    ] = 0
    overlap: Annotated[
        float, Field(ge=0, le=0.95, description="Part of a window that the next one covers too.")
    ] = 0.25
    segment_s: Annotated[
        float | None,
        Field(
            ge=0.1,
            le=120,
            description="Seconds of a window; HTDemucs takes at most its own. None: the model's own.",
        ),
    ] = None
    batch: Annotated[
        int | None,
        Field(
            ge=1, le=64, description="Windows at once. None: 1 on a CPU; on a GPU as many as fit, up to 8."
        ),
    ] = None


class Task:
    """One separation in numbers. Cheap, so that the plan and the run count alike."""

    def __init__(self, shape: Shape, params: DemucsParams, mix: AudioInfo | Recording) -> None:
        """Raises ValidationFailed for what the weights do not know, AudioTooShort."""
        if not mix.frames:
            raise AudioTooShort
        self.params = params
        self.frames = max(1, resampled_frames(mix.frames, mix.sample_rate, shape.sample_rate))
        self.stems = _stems(shape, params)
        self.members = shape.members(self.stems)
        self.pairs = channel_pairs(mix.channels)
        self.grid = _grid(shape, params)
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

    def facts(self) -> dict[str, Any]:
        asked = self.params.model_dump(include={"mode", "shifts", "seed", "overlap"})
        return {"stems": list(self.stems), **asked, "windows": self.count, "passes": self.passes}


def _stems(shape: Shape, params: DemucsParams) -> tuple[str, ...]:
    """The wanted stems in the order of the model."""
    if params.stems is None:
        return shape.stems
    unknown = [stem for stem in params.stems if stem not in shape.stems]
    if unknown:
        raise _refused("stems", f"these weights know {', '.join(shape.stems)}, not {', '.join(unknown)}")
    return tuple(stem for stem in shape.stems if stem in params.stems)


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
