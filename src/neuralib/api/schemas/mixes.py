"""Mixes of a track's stems."""

from typing import Annotated, Literal

from pydantic import Field

from .base import Word
from .jobs import JobOptions

Gain = Annotated[float, Field(ge=-120, le=40, allow_inf_nan=False)]


class NewMix(JobOptions):
    """`{"gains_db": {"vocals": null}}` is the track without its vocals. For anything else than a track's newest stems, or
    pan and offset, POST a job with `operation: mix`.
    """

    gains_db: Annotated[
        dict[Word, Gain | None],
        Field(
            max_length=31,
            description="By stem of the newest separation. null mutes; a stem that is not named stays as it is.",
        ),
    ] = {}
    normalize: Annotated[
        Literal["none", "peak"], Field(description="peak: the loudest sample comes to -1 dBFS.")
    ] = "none"
    name: Annotated[
        str | None,
        Field(
            pattern=r"^\w[\w ()+&,.-]{0,63}$",
            description="Default: `without vocals` when nothing but the vocals is missing, else `mix`.",
        ),
    ] = None
