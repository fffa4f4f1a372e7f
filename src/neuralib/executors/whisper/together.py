"""Runs transcriptions to their end: one alone, or several side by side.

Side by side, every step of the decoder reads the weights once for all of them. Each keeps its own seek, prompt,
fallback and random numbers, so it says what it would have said alone, up to rounding where rows of different
lengths meet in one product.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from neuralib.errors import NeuralibError

from .caches import Slots
from .decoding import Decoded, Pass, Request, Rules
from .model import Model, Tick

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Walk(Generic[T]):
    """A transcription that can be run. It asks for windows to be decoded and returns what became of it; `tick` says
    how far it is and raises when it is to stop.
    """

    steps: Generator[Request, Decoded, T]
    tick: Tick


def alone(model: Model, walk: Walk[T]) -> T:
    """Raises what the walk raises."""
    rules = Rules(model.dims, model.device)
    try:
        request = next(walk.steps)
        while True:
            request = walk.steps.send(Pass(model, rules, request).run(model, walk.tick))
    except StopIteration as end:
        result: T = end.value
        return result


@dataclass(slots=True, eq=False)
class _Seat(Generic[T]):
    """One walk under way: its pass over a window, the token its row was given last, and how it ended."""

    walk: Walk[T]
    current: Pass | None = None
    chosen: int = 0
    ended: tuple[T | None, Exception | None] | None = None


class Together(Generic[T]):
    """Walks side by side, `size` at most. `take` gives the next one or None; while there is room it is asked before
    every step, so that who comes later joins those under way.
    """

    def __init__(self, model: Model, take: Callable[[], Walk[T] | None], size: int) -> None:
        self._model, self._take, self._size = model, take, size
        self._rules = Rules(model.dims, model.device)
        self._seats: list[_Seat[T]] = []
        self._rows: list[_Seat[T]] = []
        self._slots: Slots | None = None

    def run(self) -> Iterator[tuple[Walk[T], T | None, Exception | None]]:
        """Each walk with what it returned, or with the error it raised, as they end."""
        while True:
            self._fill()
            yield from self._leave()
            if self._rows:
                self._step()
            elif not self._seats:
                return

    def _fill(self) -> None:
        while len(self._seats) < self._size and (walk := self._take()) is not None:
            seat = _Seat(walk)
            self._seats.append(seat)
            self._go_on(seat, None)

    def _leave(self) -> Iterator[tuple[Walk[T], T | None, Exception | None]]:
        gone = [(seat.walk, *seat.ended) for seat in self._seats if seat.ended is not None]
        self._seats = [seat for seat in self._seats if seat.ended is None]
        yield from gone

    def _step(self) -> None:
        """One token for every row. Whoever is done with a window goes on to its next one at once."""
        assert self._slots is not None
        chosen = torch.tensor([seat.chosen for seat in self._rows], device=self._model.device)
        logits = self._model.step(chosen, self._slots)
        self._rules.apply(logits, [_pass(seat).search.texts[0] for seat in self._rows])
        rows = list(self._rows)
        done = [seat for row, seat in enumerate(rows) if not self._choose(seat, logits[row : row + 1])]
        self._tick()
        for seat in [s for s in rows if s in done or s.ended is not None]:
            self._free(seat)
            if seat.ended is None:
                self._go_on(seat, _pass(seat).result())

    def _choose(self, seat: _Seat[T], logits: torch.Tensor) -> bool:
        chosen = _pass(seat).choose(logits)
        if chosen is not None:
            seat.chosen = int(chosen)
        return chosen is not None

    def _go_on(self, seat: _Seat[T], result: Decoded | None) -> None:
        """Let a transcription walk on until a row of it is under way, or it has ended. Beams and draws that need
        rows of their own are decoded alone.
        """
        try:
            while True:
                request = next(seat.walk.steps) if result is None else seat.walk.steps.send(result)
                seat.current = Pass(self._model, self._rules, request)
                if request.rows == 1 and self._enter(seat):
                    return
                result = (
                    seat.current.run(self._model, self._tick) if request.rows > 1 else seat.current.result()
                )
        except StopIteration as end:
            seat.ended = end.value, None
        except torch.OutOfMemoryError:  # of the device that all of them share
            raise
        except Exception as error:  # noqa: BLE001 - it ends this one, not those beside it
            seat.ended = None, error

    def _enter(self, seat: _Seat[T]) -> bool:
        """Take the first token and a row; False when there is nothing after it."""
        current = _pass(seat)
        self._rules.apply(current.first, current.search.texts)
        if not self._choose(seat, current.first):
            return False
        if self._slots is None:
            self._slots = Slots(self._model.dims, current.cache.keys, self._size)
        self._slots.add(current.cache)
        self._rows.append(seat)
        return True

    def _free(self, seat: _Seat[T]) -> None:
        assert self._slots is not None
        row = self._rows.index(seat)
        self._slots.remove(row)
        self._rows[row] = self._rows[-1]
        self._rows.pop()

    def _tick(self) -> None:
        """Everybody says how far they are; who is told to stop ends, and nobody else."""
        for seat in self._seats:
            if seat.ended is None:
                try:
                    seat.walk.tick()
                except NeuralibError as error:
                    seat.ended = None, error


def _pass(seat: _Seat[Any]) -> Pass:
    assert seat.current is not None
    return seat.current
