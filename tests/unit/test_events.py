"""Who listens is woken: a few at once, a crowd in turns and seldom, and nobody is forgotten."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID, uuid4

from neuralib.events import AT_ONCE, EventBus, Listener

CROWD = 20 * AT_ONCE
OWNER: UUID = uuid4()


class Reader:
    """Takes note of each time it was woken, and of the news it saw."""

    def __init__(self, listener: Listener) -> None:
        self.wakes = 0
        self.seen = 0.0
        self._listener = listener

    @property
    def up_to_date(self) -> bool:
        return self.seen == self._listener.news_at

    async def read(self) -> None:
        while await self._listener.wait(60.0):
            self.wakes += 1
            self.seen = self._listener.news_at


@asynccontextmanager
async def readers(bus: EventBus, count: int) -> AsyncIterator[list[Reader]]:
    with contextlib.ExitStack() as stack:
        all_ = [Reader(stack.enter_context(bus.listen(OWNER))) for _ in range(count)]
        tasks = [asyncio.create_task(reader.read()) for reader in all_]
        await asyncio.sleep(0)
        yield all_
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def a_bus() -> EventBus:
    return EventBus(cast("Any", None), 1.0)  # nothing here asks Redis


async def test_a_few_are_woken_at_once() -> None:
    bus = a_bus()
    async with readers(bus, AT_ONCE) as few:
        bus.nudge(OWNER)
        for _ in range(3):
            await asyncio.sleep(0)
        assert [reader.wakes for reader in few] == [1] * AT_ONCE


async def test_a_crowd_is_woken_seldom_and_everybody_hears_the_last_word() -> None:
    bus = a_bus()
    async with readers(bus, CROWD) as crowd:
        for _ in range(100):
            bus.nudge(OWNER)
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            while not all(reader.up_to_date for reader in crowd):  # noqa: ASYNC110 - a timer is no event
                await asyncio.sleep(0)
        assert max(reader.wakes for reader in crowd) < 50


async def test_while_a_crowd_is_woken_others_get_their_turn() -> None:
    bus, turns = a_bus(), 0
    async with readers(bus, CROWD) as crowd:
        bus.nudge(OWNER)
        async with asyncio.timeout(30):
            while not all(reader.wakes for reader in crowd):
                await asyncio.sleep(0)
                turns += any(reader.wakes for reader in crowd)
        assert turns >= CROWD // AT_ONCE - 1
