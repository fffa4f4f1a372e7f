"""Where a slicer may cut an asset."""

from typing import Annotated

from pydantic import Field

from .base import Reply


class FoundOnsets(Reply):
    """Every onset in order of time. A job of the method `onsets` goes by those whose sensitivity is no greater than its
    own, passes over what follows another one within `min_ms`, and cuts from each to the next; where there is none and it
    is not silent, one slice is all of it.
    """

    sample_rate: int
    frames: Annotated[int, Field(description="How long the recording is.")]
    silent: Annotated[bool, Field(description="Every sample is nought.")]
    start_frames: Annotated[list[int], Field(description="Where each begins.")]
    sensitivities: Annotated[list[float], Field(description="The least that finds it, 0 to 1; for each one.")]
