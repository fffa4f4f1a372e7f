"""Which windows a separation looks at: the arithmetic of Demucs's own `apply_model`, laid out in time.

Every member of a bag, every shift and every pair of channels is a pass over the whole mix. Passes are woven
together by time, so that a stem is finished frame by frame and nothing longer than a window is ever held.

Source of the rules (offsets, padding, triangular weights, shifts): demucs 4.1.0, `demucs/apply.py`.
"""

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SHIFT_S = 0.5
"""Shifts are drawn from 0 to this many seconds."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Window length and step, in frames of the model's rate."""

    segment: int
    stride: int
    fixed: bool
    """Whether a shorter last window is padded to the full length."""
    shortest: int = 4096
    """A window that may be shorter is padded at least to this: less than half of it breaks the STFT."""

    def padded(self, frames: int) -> int:
        """How long a window of so many frames is when the network sees it."""
        if self.fixed:
            return self.segment
        return frames if frames > self.shortest // 2 else self.shortest

    def count(self, frames: int) -> int:
        """Windows in one pass over so many frames."""
        return -(-frames // self.stride)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """One look of one member at one pair of channels."""

    start: int
    """First frame in the mix; negative where a shift put silence in front."""
    member: int
    pair: int
    index: int
    """Its place in its pass."""
    frames: int
    """How many frames of the pass it answers for."""


def leads(members: int, shifts: int, seed: int, sample_rate: int) -> list[list[int]]:
    """Frames of silence in front of each pass, member by shift. Drawn for every member of the bag, so that a
    stem comes out the same whichever others are asked for.
    """
    longest, rng = int(SHIFT_S * sample_rate), random.Random(seed)  # noqa: S311 - reproducible on purpose
    if not shifts:
        return [[0] for _ in range(members)]
    return [[longest - rng.randint(0, longest) for _ in range(shifts)] for _ in range(members)]


class Line:
    """The windows of one member in order of time, made one by one, with the next one in sight."""

    def __init__(self, frames: int, grid: Grid, member: int, leads: Sequence[int], pairs: int) -> None:
        self._grid = grid
        passes = (_one_pass(frames, grid, member, lead, pair) for lead in leads for pair in range(pairs))
        self._windows = heapq.merge(*passes)
        self.head = next(self._windows, None)

    @property
    def kind(self) -> tuple[int, int] | None:
        """What windows share that may share a batch: the member, and how long the network sees them. None at the end."""
        return None if self.head is None else (self.head.member, self._grid.padded(self.head.frames))

    def take(self) -> Window:
        """The next window; there must be one."""
        taken = self.head
        assert taken is not None
        self.head = next(self._windows, None)
        return taken


def _one_pass(frames: int, grid: Grid, member: int, lead: int, pair: int) -> Iterator[Window]:
    for index in range(grid.count(frames + lead)):
        start = index * grid.stride
        yield Window(start - lead, member, pair, index, min(grid.segment, frames + lead - start))


def channel_pairs(channels: int) -> list[tuple[int, ...]]:
    """How channels go into a stereo model: two by two, a single one into both sides. Of 5.1 and 7.1 (in the
    order of WAV: front left and right, centre, bass, then pairs) centre and bass each go alone.
    """
    if channels in {6, 8}:
        return [(0, 1), (2,), (3,), *[(c, c + 1) for c in range(4, channels, 2)]]
    return [tuple(range(c, min(c + 2, channels))) for c in range(0, channels, 2)]
