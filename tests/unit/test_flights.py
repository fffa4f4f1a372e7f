"""One piece of work for all who ask, bounded, and nobody misses how it failed."""

import asyncio

import pytest

from neuralib.errors import DecodeFailed, TooBusy, Unavailable
from neuralib.flights import open_flights

LONG_S = 30.0


class Work:
    """Counts how often it is begun, and is over when `go` is set."""

    def __init__(self) -> None:
        self.begun, self.go, self.started = 0, asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.begun += 1
        self.started.set()
        await self.go.wait()
        if self.error:
            raise self.error
        return self.begun


async def test_work_that_many_ask_for_is_done_once():
    work = Work()
    async with open_flights(1, 1) as flights:
        asking = [asyncio.create_task(flights.join("a", work, LONG_S)) for _ in range(5)]
        await work.started.wait()
        work.go.set()
        assert await asyncio.gather(*asking) == [1] * 5
        assert await flights.join("a", work, LONG_S) == 2  # it is over: this is another one


async def test_work_goes_on_when_those_who_asked_have_left():
    work = Work()
    async with open_flights(1, 1) as flights:
        assert await flights.join("a", work, 0.001) is None
        left = asyncio.create_task(flights.join("a", work, LONG_S))
        await work.started.wait()
        left.cancel()
        await asyncio.wait([left])
        again = asyncio.create_task(flights.join("a", work, LONG_S))
        await asyncio.sleep(0)
        work.go.set()
        assert await again == 1


async def test_who_comes_later_hears_of_a_failure_once():
    work = Work()
    work.error = DecodeFailed("no good")
    async with open_flights(1, 1) as flights:
        assert await flights.join("a", work, 0.001) is None
        work.go.set()
        other = Work()
        other.go.set()
        await flights.join("b", other, LONG_S)
        with pytest.raises(DecodeFailed):
            await flights.join("a", work, LONG_S)
        work.error = None
        assert await flights.join("a", work, LONG_S) == 2


async def test_all_who_wait_hear_of_a_failure_and_the_next_tries_again():
    work = Work()
    work.error = DecodeFailed("no good")
    work.go.set()
    async with open_flights(1, 1) as flights:
        told = await asyncio.gather(
            *(flights.join("a", work, LONG_S) for _ in range(3)), return_exceptions=True
        )
        assert [type(each) for each in told] == [DecodeFailed] * 3
        work.error = None
        assert await flights.join("a", work, LONG_S) == 2


async def test_only_so_many_run_and_wait():
    works = [Work() for _ in range(4)]
    async with open_flights(1, 2) as flights:
        for name, work in zip("abc", works, strict=False):
            assert await flights.join(name, work, 0.001) is None
        assert [work.begun for work in works] == [1, 0, 0, 0]
        with pytest.raises(TooBusy):
            await flights.join("d", works[3], LONG_S)


async def test_the_end_stops_what_is_on_its_way_and_tells_who_waits():
    work = Work()
    async with open_flights(1, 1) as flights:
        asking = asyncio.create_task(flights.join("a", work, LONG_S))
        await work.started.wait()
    with pytest.raises(Unavailable):
        await asking
