"""What the streams of one owner share: few queries, and still everything, once, in order, for each of them."""

import asyncio
import random
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import pytest

from neuralib.api.tails import KEPT, Tail, Tails
from neuralib.db import Connection, Database
from neuralib.db import events as event_rows
from neuralib.entities import Event
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITHIN_S = 30.0


class Counted:
    """The database, counting."""

    def __init__(self, db: Database) -> None:
        self.transactions = 0
        self._db = db

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        self.transactions += 1
        return self._db.transaction()


async def append(services: Services, owner: UUID, count: int) -> None:
    async with services.db.transaction() as tx:
        for _ in range(count):
            await event_rows.append(tx, Event("asset.created", {"type": "asset.created"}, owner))


def frame(event: Event) -> bytes:
    return b"%d" % event.seq


async def read_to(tail: Tail, head: int, cursor: int = 0, rng: random.Random | None = None) -> list[bytes]:
    """Frames from `cursor` to `head`, however often it takes; with `rng` dawdling in between."""
    heard, clock = [], asyncio.get_running_loop().time
    async with asyncio.timeout(WITHIN_S):
        while cursor < head:
            found, _ = await tail.after(cursor, clock() if rng and rng.random() < 0.5 else None)
            heard += [told.frame for told in found]
            cursor = found[-1].seq if found else cursor
            for _ in range(rng.randrange(200) if rng else 0):
                await asyncio.sleep(0)
    return heard


async def test_a_hundred_streams_that_are_woken_together_ask_twice_at_most(
    services: Services, owner: UUID
) -> None:
    await append(services, owner, 3)
    counted = Counted(services.db)
    tail = Tail(counted, owner, frame, readers=100, head=0)  # type: ignore[arg-type]
    heard = await asyncio.gather(*(read_to(tail, 3) for _ in range(100)))
    assert heard == [[b"1", b"2", b"3"]] * 100
    assert counted.transactions <= 2


async def test_who_heard_of_it_before_the_last_query_asks_no_more(services: Services, owner: UUID) -> None:
    counted, clock = Counted(services.db), asyncio.get_running_loop().time
    tail = Tail(counted, owner, frame, readers=2, head=0)  # type: ignore[arg-type]
    await append(services, owner, 3)
    heard_at = clock()
    await asyncio.sleep(0.001)
    for _ in range(2):
        found, _ = await tail.after(0, heard_at)
        assert [told.seq for told in found] == [1, 2, 3]
    assert counted.transactions == 1
    await append(services, owner, 1)
    found, _ = await tail.after(3, clock())
    assert [told.seq for told in found] == [4]


async def test_streams_that_dawdle_come_late_or_from_far_behind_hear_everything_once(
    services: Services, owner: UUID
) -> None:
    rng = random.Random(6)
    await append(services, owner, 50)
    head = 50 + 3 * KEPT
    tail = Tail(services.db, owner, frame, readers=40)
    starts = [rng.choice((0, 20, 50)) for _ in range(40)]
    reading = [asyncio.create_task(read_to(tail, head, start, rng)) for start in starts]
    for _ in range(3 * KEPT // 50):
        await append(services, owner, 50)
    for start, task in zip(starts, reading, strict=True):
        assert await task == [b"%d" % seq for seq in range(start + 1, head + 1)]


async def test_who_heard_once_gets_all_of_it_though_it_takes_several_queries(
    services: Services, owner: UUID
) -> None:
    tail, cursor, more = Tail(services.db, owner, frame, readers=2, head=0), 0, True
    await append(services, owner, 450)
    heard_at = asyncio.get_running_loop().time()
    while more:
        found, more = await tail.after(cursor, heard_at)
        cursor = found[-1].seq if found else cursor
    assert cursor == 450


async def test_what_is_committed_before_the_question_is_in_the_answer(
    services: Services, owner: UUID
) -> None:
    tail = Tail(services.db, owner, frame, readers=2, head=0)
    for seq in range(1, 30):
        early = asyncio.create_task(tail.after(seq - 1))
        await append(services, owner, 1)
        found, _ = await tail.after(seq - 1)
        assert [told.seq for told in found] == [seq]
        await early


async def test_a_single_stream_keeps_nothing_in_memory(services: Services, owner: UUID) -> None:
    await append(services, owner, 5)
    tails = Tails(services.db, frame)
    with tails.of(owner) as tail:
        assert await read_to(tail, 5) == [b"1", b"2", b"3", b"4", b"5"]
        assert not tail.kept
        with tails.of(owner) as other:
            assert other is tail
    assert not tails._tails
