"""From seconds to samples: what a region covers of a recording."""

from neuralib.errors import FieldError, RegionOutOfBounds


def frame_at(seconds: float, sample_rate: int) -> int:
    """The sample nearest to a time."""
    return round(seconds * sample_rate)


def frames_between(
    start: float, end: float, *, sample_rate: int, frames: int, pointer: str = ""
) -> tuple[int, int]:
    """[first, stop) in samples of a span in seconds, of a recording of `frames` samples. Raises RegionOutOfBounds, which
    names the member of `pointer` that is wrong.
    """
    first, stop = frame_at(start, sample_rate), frame_at(end, sample_rate)
    if stop > frames:
        _refuse(f"{pointer}/end_s", "out_of_bounds", f"the recording ends at {frames / sample_rate:g} s")
    if stop <= first:
        _refuse(f"{pointer}/end_s", "order", "must lie at least one sample after start_s")
    return first, stop


def require_within(at: float, *, sample_rate: int, frames: int, pointer: str = "") -> None:
    """For a point in time. Raises RegionOutOfBounds."""
    if frame_at(at, sample_rate) > frames:
        _refuse(f"{pointer}/start_s", "out_of_bounds", f"the recording ends at {frames / sample_rate:g} s")


def _refuse(pointer: str, code: str, message: str) -> None:
    raise RegionOutOfBounds(f"{pointer}: {message}", fields=[FieldError(pointer, code, message)])
