"""Bells: heard at once, harmless when lost, and never in the way."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

import servers
from neuralib.embedded import Stores
from neuralib.errors import ConfigurationError, QueueUnavailable
from neuralib.events import open_bus
from neuralib.queues import BELL_EXPIRES_S, NET_S, Bells, open_queues

WITHIN_S = 20.0
SOON_S = 2.0
"""Less than half of arq's own slow look."""


@dataclass
class Heard:
    """What one worker's ears took in."""

    bells: list[str] = field(default_factory=list)
    cancels: list[UUID] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def bell(self, model: str) -> None:
        self.bells.append(model)
        self.news.set()

    def cancel(self, job: UUID) -> None:
        self.cancels.append(job)
        self.news.set()

    async def next(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            await self.news.wait()
        self.news.clear()


@asynccontextmanager
async def listening(url: str, *models: str) -> AsyncIterator[Heard]:
    """Ears that are open: each hears one bell when it begins to listen."""
    heard = Heard()
    bells = Bells(url, models, on_bell=heard.bell, on_cancel=heard.cancel, timeout_s=1.0)
    task = asyncio.create_task(bells.run())
    try:
        await heard.next()
        heard.bells.clear()
        yield heard
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), "it ended by itself"


@pytest.fixture
def model() -> str:
    return f"model-{uuid4()}"


async def test_a_bell_is_heard_by_who_serves_the_model_and_nobody_else(stores: Stores, model: str) -> None:
    other = f"model-{uuid4()}"
    async with (
        open_queues(stores.redis_url) as queues,
        listening(stores.redis_url, model) as heard,
        listening(stores.redis_url, other) as deaf,
    ):
        rung = time.monotonic()
        assert await queues.ring(model)
        await heard.next()
        assert time.monotonic() - rung < SOON_S
        await queues.ring(other)
        await deaf.next()
        assert set(heard.bells) == {model}
        assert set(deaf.bells) == {other}


async def test_a_cancel_is_heard_by_everybody(stores: Stores, model: str) -> None:
    job = uuid4()
    async with open_queues(stores.redis_url) as queues, listening(stores.redis_url, model) as heard:
        await queues.ring_cancel(job)
        await heard.next()
        assert heard.cancels == [job]


async def test_bells_that_were_rung_before_anybody_listened_are_heard(stores: Stores, model: str) -> None:
    async with open_queues(stores.redis_url) as queues:
        await queues.ring(model)
        heard = Heard()
        task = asyncio.create_task(
            Bells(stores.redis_url, [model], on_bell=heard.bell, on_cancel=heard.cancel).run()
        )
        await heard.next()
        task.cancel()
        await asyncio.wait([task])


async def test_ears_look_when_redis_has_confirmed_that_it_will_tell_them(model: str) -> None:
    heard = Heard()

    class Subscription:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None: ...

        async def subscribe(self, _: str) -> None: ...

        async def listen(self) -> AsyncIterator[dict[str, Any]]:
            assert heard.bells == [], "what is rung now is heard by nobody"
            yield {"type": "subscribe", "data": 1}
            assert heard.bells == [model]

    class Redis:
        pubsub = Subscription

    ears: Any = Bells("", [model], on_bell=heard.bell, on_cancel=heard.cancel)
    await ears._listen(Redis(), {})
    assert heard.bells == [model]


async def test_nonsense_on_the_channel_is_ignored(stores: Stores, model: str) -> None:
    async with (
        open_queues(stores.redis_url) as queues,
        open_bus(stores.redis_url) as bus,
        listening(stores.redis_url, model) as heard,
        Redis.from_url(stores.redis_url) as anybody,
    ):
        owner = uuid4()
        with bus.listen(owner) as listener, capture_logs() as lines:
            await listener.wait(WITHIN_S)  # the bus listens
            listener.news = False
            for nonsense in (
                b"\xff\xfe",
                b"cancel me",
                b"bell",
                b"[]",
                b'{"owner": 7}',
                b'{"owner": "x"}',
                b"1",
            ):
                await anybody.publish("neuralib:wake", nonsense)
                await anybody.publish("neuralib:events", nonsense)
            await queues.ring(model)
            await heard.next()
            await bus.wake(owner)
            async with asyncio.timeout(WITHIN_S):
                while not listener.news:
                    await listener.wait(WITHIN_S)
        assert heard.cancels == []
        assert [line["event"] for line in lines if line["log_level"] == "error"] == []


async def test_arq_is_set_up_as_we_rely_on_it(stores: Stores, model: str) -> None:
    bells = Bells(stores.redis_url, [model], on_bell=lambda _: None, on_cancel=lambda _: None)
    async with open_queues(stores.redis_url) as queues:
        worker = bells._worker(queues._redis, model)
        for side in (worker, queues._redis):
            # never pickle: who can write to Redis must not run code here
            assert side.job_serializer({"a": 1}) == b'{"a": 1}'
            assert side.job_deserializer is json.loads
    assert worker.queue_name == f"neuralib:bells:{model}"
    assert BELL_EXPIRES_S > 2 * NET_S, "a bell waits for the look that finds it when its publish was lost"
    assert (worker.max_tries, worker.retry_jobs, worker.allow_abort_jobs) == (1, False, False)
    assert worker.keep_result_s == 0
    assert not worker._handle_signals
    assert worker.health_check_interval == 10
    (bell,) = worker.functions.values()
    assert (bell.name, bell.timeout_s, bell.keep_result_s, bell.max_tries) == ("bell", 5, 0, 1)
    others = Bells(stores.redis_url, [model], on_bell=lambda _: None, on_cancel=lambda _: None)
    assert worker.health_check_key != f"{worker.queue_name}:health-check", "one a process, not one a queue"
    assert others._worker(queues._redis, model).health_check_key == worker.health_check_key


async def test_bells_vanish_from_a_queue_that_is_served(stores: Stores, model: str) -> None:
    async with (
        open_queues(stores.redis_url) as queues,
        Redis.from_url(stores.redis_url) as redis,
        listening(stores.redis_url, model),
    ):
        for _ in range(5):
            await queues.ring(model)
        async with asyncio.timeout(WITHIN_S):
            while await redis.zcard(f"neuralib:bells:{model}"):
                pass
        left = [key async for key in redis.scan_iter(match="arq:result:bell.*")]
        assert left == []


async def test_an_expired_bell_is_dropped_without_an_error(
    stores: Stores, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    queue = f"neuralib:bells:{model}"
    async with Redis.from_url(stores.redis_url) as redis, listening(stores.redis_url, model):
        await redis.zadd(queue, {f"bell.{uuid4()}": time.time() * 1000})  # what it rang for is gone
        await redis.publish("neuralib:wake", f"bell {model}")
        async with asyncio.timeout(WITHIN_S):
            while await redis.zcard(queue):
                pass
    (line,) = caplog.records
    assert line.getMessage().endswith("expired")


async def test_a_queue_that_nobody_serves_does_not_grow_for_ever(stores: Stores, model: str) -> None:
    queue = f"neuralib:bells:{model}"
    async with open_queues(stores.redis_url) as queues, Redis.from_url(stores.redis_url) as redis:
        hour_ago = (time.time() - 3600) * 1000
        await redis.zadd(queue, {f"bell.{n}": hour_ago + n for n in range(50)})
        await queues.ring(model)
        assert await redis.zcard(queue) == 1
        async for key in redis.scan_iter(match="arq:job:bell.*"):
            assert 0 < await redis.ttl(key) <= BELL_EXPIRES_S


async def test_ringing_never_raises_when_redis_is_away(stores: Stores, model: str) -> None:
    async with servers.redis_line(stores.redis_url) as line, open_queues(line.url, timeout_s=1.0) as queues:
        await line.cut()
        assert not await queues.ring(model)
        assert not await queues.ring_cancel(uuid4())
        with pytest.raises(QueueUnavailable):
            await queues.check()
        await line.mend()
        assert await queues.ring(model)
        await queues.check()


async def test_a_silent_redis_costs_one_bell_a_moment_and_the_next_ones_nothing(model: str) -> None:
    async with (
        servers.silent_server() as url,
        open_queues(url.replace("http", "redis"), timeout_s=0.2) as queues,
        open_bus(url.replace("http", "redis")) as bus,
    ):
        asked = time.monotonic()
        for _ in range(50):
            assert not await queues.ring(model)
            await bus.wake(uuid4())
        assert time.monotonic() - asked < SOON_S


async def test_a_redis_that_is_away_is_no_reason_not_to_begin(stores: Stores, model: str) -> None:
    async with servers.redis_line(stores.redis_url) as line:
        await line.cut()
        async with open_queues(line.url, timeout_s=1.0) as queues:
            assert not await queues.ring(model)
            await line.mend()
            assert await queues.ring(model)


async def test_a_redis_that_refuses_us_is(stores: Stores) -> None:
    async with servers.redis_line(stores.redis_url) as line:
        with pytest.raises(QueueUnavailable):
            async with open_queues(line.url.replace("redis://:", "redis://:not-")):
                pass


async def test_ears_open_again_when_redis_is_back(stores: Stores, model: str) -> None:
    async with (
        servers.redis_line(stores.redis_url) as line,
        open_queues(stores.redis_url) as queues,
        listening(line.url, model) as heard,
    ):
        await line.cut()
        await line.mend()
        await heard.next()  # what was rung meanwhile
        heard.bells.clear()
        heard.news.clear()
        await queues.ring(model)
        await heard.next()
        assert set(heard.bells) == {model}


async def test_the_bus_listens_again_when_redis_is_back(stores: Stores) -> None:
    owner = uuid4()
    async with servers.redis_line(stores.redis_url) as line, open_bus(line.url, timeout_s=1.0) as bus:
        with bus.listen(owner) as listener:
            assert await listener.wait(WITHIN_S)
            await line.cut()
            await bus.wake(owner)  # lost, and no error
            listener.news = False
            await line.mend()
            async with asyncio.timeout(WITHIN_S):
                while not listener.news:  # it looks for what it missed
                    await listener.wait(WITHIN_S)
        assert bus.owners == []


async def test_progress_is_kept_newest_only(stores: Stores) -> None:
    owner, job = uuid4(), uuid4()
    async with open_bus(stores.redis_url) as bus:
        with bus.listen(owner) as listener:
            await listener.wait(WITHIN_S)
            for done in range(100):
                await bus.progress(owner, job, {"done": done})
            seen: list[Any] = []
            async with asyncio.timeout(WITHIN_S):
                while not seen or seen[-1]["done"] < 99:
                    await listener.wait(WITHIN_S)
                    taken = listener.take_progress()
                    assert len(taken) <= 1
                    seen += taken
            assert [each["done"] for each in seen] == sorted(each["done"] for each in seen)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379", ""])
async def test_a_url_that_is_none_of_redis_says_so(url: str) -> None:
    with pytest.raises(ConfigurationError, match="redis://"):
        async with open_queues(url):
            pass
