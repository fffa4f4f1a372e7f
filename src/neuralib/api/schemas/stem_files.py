"""Stem files."""

from typing import Annotated, Literal

from pydantic import Field

from .jobs import JobOptions


class NewStemFile(JobOptions):
    """Of a track's newest stems, which must be drums, bass, other and vocals."""

    codec: Annotated[
        Literal["alac", "aac"],
        Field(description="alac keeps 16 and 24 bits as they are; aac is smaller, and lossy."),
    ] = "alac"
