"""Work that is done once for all who ask for it at the same time, and goes on when they have left."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog

from .errors import NeuralibError, TooBusy, Unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")

KEPT_FAILURES = 1000


class Flights:
    """The work of one process: `at_once` pieces run, at most `waiting` wait for their turn."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._flying: dict[Hashable, asyncio.Task[Any]] = {}
        self._failed: dict[Hashable, BaseException] = {}

    async def join(self, key: Hashable, work: Callable[[], Awaitable[T]], within_s: float) -> T | None:
        """What the work gives, which begins now unless it is on its way; None when it is not over within `within_s`.

        Whoever asks next may be the first to hear how it failed: raises what `work` raised, once; TooBusy, Unavailable.
        """
        if (failure := self._failed.pop(key, None)) is not None:
            raise failure
        flight: asyncio.Task[T] = self._flying.get(key) or self._start(key, work)
        done, _ = await asyncio.wait([flight], timeout=within_s)
        if not done:
            return None
        self._failed.pop(key, None)
        if flight.cancelled():
            raise Unavailable("this process is stopping")
        return flight.result()

    async def close(self) -> None:
        """Stop all that is on its way."""
        flights = [*self._flying.values()]
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _start(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        if len(self._flying) >= self._most:
            raise TooBusy(f"{len(self._flying)} pieces of such work wait here already")

        async def fly() -> T:
            async with self._slots:
                return await work()

        flight = asyncio.create_task(fly(), name=f"flight-{key}")
        self._flying[key] = flight
        flight.add_done_callback(lambda flight: self._land(key, flight))
        return flight

    def _land(self, key: Hashable, flight: asyncio.Task[Any]) -> None:
        del self._flying[key]
        if flight.cancelled() or (failure := flight.exception()) is None:
            return
        if not isinstance(failure, NeuralibError):
            log.error("flight.failed", key=str(key), exc_info=failure)
        self._failed[key] = failure
        while len(self._failed) > KEPT_FAILURES:
            del self._failed[next(iter(self._failed))]


@asynccontextmanager
async def open_flights(at_once: int, waiting: int) -> AsyncIterator[Flights]:
    """Work for the length of the block; what is not done at its end is cancelled."""
    flights = Flights(at_once, waiting)
    try:
        yield flights
    finally:
        await flights.close()
