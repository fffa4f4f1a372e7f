"""What a job may ask of a separation."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from neuralib.executors import Params

Preset = Literal["fast", "balanced", "best"]

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "fast": {"overlap": 0.1},
        "balanced": {},
        "best": {"shifts": 2},
    }
)
"""What stands for the parameters that a job leaves out."""


class MixParams(Params):
    """The mix with some of its stems at another level; only those need to be found."""

    name: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="instrumental, for instance.")
    ]
    gains_db: Annotated[
        dict[str, Annotated[float, Field(ge=-60, le=24)] | None],
        Field(
            min_length=1,
            description="By stem, in dB; null leaves the stem out. Other stems stay as they are.",
        ),
    ]


class DemucsParams(Params):
    """What a job may ask of a separation."""

    preset: Annotated[
        Preset | None,
        Field(
            description="Stands for the parameters left out. fast: overlap 0.1. best: two shifts, twice the work."
        ),
    ] = None
    stems: Annotated[
        tuple[str, ...] | None,
        Field(
            description="Give only these: with htdemucs_ft each one costs a quarter. null: all; []: only the mixes."
        ),
    ] = None
    mixes: Annotated[
        tuple[MixParams, ...],
        Field(max_length=16, description="Mixes of the stems to give beside them."),
    ] = ()
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
        int, Field(ge=0, lt=1 << 53, description="Of the shifts: the same seed, the same stems.")
    ] = 0
    overlap: Annotated[
        float, Field(ge=0, le=0.95, description="Part of a window that the next one covers too.")
    ] = 0.25
    segment_s: Annotated[
        float | None,
        Field(
            ge=0.1,
            le=120,
            description="Seconds of a window; HTDemucs takes at most its own. null: the model's own.",
        ),
    ] = None
    batch: Annotated[
        int | None,
        Field(
            ge=1, le=64, description="Windows at once. null: 1 on a CPU; on a GPU as many as fit, up to 16."
        ),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """A preset fills in what is not given; a preset that is none is left to be refused by name."""
        preset = given.get("preset") if isinstance(given, dict) else None
        return {**PRESETS.get(preset, {}), **given} if isinstance(preset, str) else given

    @model_validator(mode="after")
    def _ask_for_something(self) -> Self:
        names = [*(self.stems or ()), *(mix.name for mix in self.mixes)]
        if len(set(names)) < len(names):
            raise ValueError("two outputs have the same name")
        if self.stems == () and not self.mixes:
            raise ValueError("no stem and no mix is asked for")
        return self
