"""Runs separations side by side: windows of several share a batch.

All windows of a kind have one shape, and the norms of the networks look at one window each. So everybody gets the
stems it would get alone, up to rounding where larger products are summed up in another order.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from neuralib.audio import Samples
from neuralib.errors import NeuralibError, OutOfMemory
from neuralib.executors import Output

from .walk import Walk
from .windows import Line, Window

Network = Callable[[torch.Tensor], torch.Tensor]
"""Windows `(n, 2, frames)` to stems `(n, stems, 2, frames)`."""
MOST = 64
"""Windows in one batch, whatever the jobs allow."""
READING = 32
"""Blocks of recordings that are read between two batches: some tenths of a second."""


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """A window of one of them, `(2, frames)` as the network sees it."""

    seat: "_Seat"
    window: Window
    audio: Samples


@dataclass(slots=True, eq=False)
class _Seat:
    """A walk under way, and how it ended."""

    walk: Walk
    ended: Output | Exception | None = None

    @property
    def reads(self) -> bool:
        """Whether it has no windows yet."""
        return self.walk.separation is None and self.ended is None

    @property
    def line(self) -> Line | None:
        """The windows it wants looked at; None while it reads, and when it has ended."""
        separation = self.walk.separation
        return separation.line if separation is not None and self.ended is None else None

    def step(self) -> None:
        try:
            next(self.walk.steps)
        except StopIteration as end:
            self.ended = end.value
        except torch.OutOfMemoryError:  # of the device that all of them share
            raise
        except Exception as error:  # noqa: BLE001 - it ends this one, not those beside it
            self.ended = error

    def tick(self) -> None:
        """Say how far it is; who is told to stop ends."""
        if self.ended is None:
            try:
                self.walk.tick()
            except NeuralibError as error:
                self.ended = error

    def look(self, line: Line) -> Iterator[_Look]:
        """Its next window, unless it cannot be read."""
        assert self.walk.separation is not None
        window = line.take()
        try:
            yield _Look(self, window, self.walk.separation.input(window))
        except Exception as error:  # noqa: BLE001 - as above
            self.ended = error

    def add(self, look: _Look, result: torch.Tensor) -> None:
        assert self.walk.separation is not None
        self.walk.separation.add(look.window, result)


class Together:
    """Walks side by side, `size` at most. `take` gives the next one or None; while there is room it is asked before
    every batch, so that who comes later joins those under way.
    """

    def __init__(
        self, networks: Sequence[Network], take: Callable[[], Walk | None], size: int, device: torch.device
    ) -> None:
        """`networks` by member."""
        self._networks, self._take, self._size, self._device = networks, take, size, device
        self._room = MOST
        self._seats: list[_Seat] = []
        """Who waits longest for a batch comes first."""

    def run(self) -> Iterator[tuple[Walk, Output | Exception]]:
        """Each walk with what it made, or with the error that ended it, as they end. Raises OutOfMemory."""
        try:
            while self._fill():
                self._go_on()
                yield from self._leave()
        finally:  # files close now, not whenever: a second attempt writes to the same ones
            for seat in self._seats:
                seat.walk.steps.close()

    def _fill(self) -> bool:
        """Whether anybody is there."""
        while len(self._seats) < self._size and (walk := self._take()) is not None:
            seat = _Seat(walk)
            self._seats.append(seat)
            seat.step()
            seat.tick()
        return bool(self._seats)

    def _leave(self) -> Iterator[tuple[Walk, Output | Exception]]:
        gone = [seat for seat in self._seats if seat.ended is not None]
        self._seats = [seat for seat in self._seats if seat.ended is None]
        for seat in gone:
            seat.walk.steps.close()
            assert seat.ended is not None
            yield seat.walk, seat.ended

    def _go_on(self) -> None:
        """Some reading, one batch, and everybody says how far they are."""
        self._read()
        looked = self._look()
        for seat in self._seats:
            seat.tick()
        for seat in looked:
            if seat.ended is None:
                seat.step()
        self._seats = [*(seat for seat in self._seats if seat not in looked), *looked]

    def _read(self) -> None:
        """Those who still read go on, who came first comes first, until it is time for the others again."""
        steps = READING
        for seat in self._seats:
            while steps and seat.reads:
                seat.step()
                steps -= 1

    # ── one batch ─────────────────────────────────────────────────────────────────────────────────────

    def _look(self) -> list[_Seat]:
        """Who had windows in it, whose last one came first comes first. It is halved until the parts fit the device."""
        looks = self._gather()
        start = 0
        while start < len(looks):
            part = looks[start : start + self._room]
            out = self._forward(part)
            if out is None:
                self._room = len(part) // 2
                continue
            for look, result in zip(part, out, strict=True):
                look.seat.add(look, result)
            start += len(part)
        return list(dict.fromkeys(look.seat for look in reversed(looks)))[::-1]

    def _gather(self) -> list[_Look]:
        """Windows of one kind, dealt out in turn. Who waits longest says which kind; a batch is no larger than
        anybody in it allows.
        """
        lines = [(seat, line) for seat in self._seats if (line := seat.line) is not None]
        kind = lines[0][1].kind if lines else None
        turn = deque((seat, line) for seat, line in lines if line.kind == kind)
        looks: list[_Look] = []
        room = self._room
        while turn and len(looks) < room:
            seat, line = turn.popleft()
            if len(looks) >= seat.walk.batch:
                continue
            room = min(room, seat.walk.batch)
            looks.extend(seat.look(line))
            if line.kind == kind and seat.ended is None:
                turn.append((seat, line))
        return looks

    def _forward(self, part: Sequence[_Look]) -> torch.Tensor | None:
        """`(windows, stems, 2, n)`, as the network returns them; None when they do not fit the device."""
        block = torch.from_numpy(np.stack([look.audio for look in part]))
        try:
            return self._networks[part[0].window.member](block.to(self._device))
        except torch.OutOfMemoryError:
            pass  # what the network was at is let go with the error, and then the memory of it
        torch.cuda.empty_cache()
        if len(part) == 1:
            raise OutOfMemory("one window does not fit into the memory of the device")
        return None
