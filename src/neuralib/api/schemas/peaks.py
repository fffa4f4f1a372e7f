"""What is drawn of an asset."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from neuralib.audio.peaks import LEVELS

from .base import Reply, Request

Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class PeaksQuery(Request):
    level: Annotated[
        str,
        Field(
            description="Frames that a point stands for; `auto`: the finest level that shows the span in 4,000 points.",
            json_schema_extra={"enum": ["auto", *map(str, LEVELS)]},
        ),
    ] = "auto"
    start_s: Annotated[Seconds, Field(description="The first point is the one that holds this moment.")] = 0.0
    end_s: Annotated[Seconds | None, Field(description="Left out, or past it: the end.")] = None
    channels: Annotated[
        Literal["mix", "split"], Field(description="Peaks of the channels' mean, or of each channel.")
    ] = "mix"
    format: Annotated[
        Literal["bin", "json"], Field(description="audiowaveform's data format, version 2, binary or JSON.")
    ] = "json"
    bits: Annotated[Literal["8", "16"], Field(description="Of a number.")] = "16"

    @property
    def level_frames(self) -> int | None:
        """None: auto."""
        return None if self.level == "auto" else int(self.level)

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        if self.level != "auto" and self.level not in map(str, LEVELS):
            raise ValueError(f"level must be auto or one of {', '.join(map(str, LEVELS))}")
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError("end_s must be greater than start_s")
        return self


class Peaks(Reply):
    """audiowaveform's JSON, version 2; `data` holds the low and the high of each channel, point by point."""

    version: Literal[2]
    channels: int
    sample_rate: int
    samples_per_pixel: int
    bits: Literal[8, 16]
    length: Annotated[int, Field(description="Points.")]
    data: list[int]


class Rendering(Reply):
    """It is being made: ask again after Retry-After seconds."""

    status: Literal["rendering"]
