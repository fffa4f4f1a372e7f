"""The bells: arq messages that say "look now" on the queue of a model. (With db/, the rest of the story.)

A bell carries no work. PostgreSQL knows which jobs wait; a lost bell costs one poll interval and nothing else, so every
function here that rings is best effort. arq alone would look every `poll_delay`; a publish beside the bell wakes who listens at
once, which brings enqueue-to-start from hundreds of milliseconds to a few. The bell itself waits in its queue for
workers that are starting or were cut off.
"""

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast
from uuid import UUID, uuid4

import structlog
from arq.connections import ArqRedis
from arq.worker import Worker, func
from redis.asyncio import ConnectionPool
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from .best_effort import BestEffort
from .errors import ConfigurationError, QueueUnavailable

log = structlog.get_logger(__name__)

WAKE = "neuralib:wake"
NET_S = 5.0
"""How often arq looks even when nothing woke it."""
BELL_EXPIRES_S = 15
"""Long enough for arq's next look to find a bell whose publish was lost."""
STALE_AFTER_S = 60
RECONNECT_S = 1.0
LAST_BELLS_S = 1.0


def _queue(model: str) -> str:
    return f"neuralib:bells:{model}"


class Queues:
    """Rings. Used by whoever makes work."""

    def __init__(self, redis: ArqRedis, timeout_s: float) -> None:
        self._redis = redis
        self._timeout_s = timeout_s
        self._best_effort = BestEffort("bell.lost", timeout_s)

    async def ring(self, model: str) -> bool:
        """Tell the workers of a model to look now. False when Redis is away: their poll will find the job."""
        return await self._best_effort.call("ring", lambda: self._ring(model))

    async def ring_cancel(self, job: UUID) -> bool:
        """Tell whoever runs this job to look at its cancel flag now."""
        return await self._best_effort.call("cancel", lambda: self._redis.publish(WAKE, f"cancel {job}"))

    async def check(self) -> None:
        """One round trip. Raises QueueUnavailable."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._redis.ping()
        except (OSError, TimeoutError, RedisError) as error:
            raise QueueUnavailable(f"Redis: {str(error) or type(error).__name__}") from error

    async def _ring(self, model: str) -> None:
        # Ids are never used twice: arq remembers those it saw. Expired bells stay in arq's sorted set until a worker
        # looks, so a queue that nobody serves is trimmed by whoever rings.
        queue = _queue(model)
        await self._redis.enqueue_job(
            "bell", model, _job_id=f"bell.{uuid4()}", _queue_name=queue, _expires=BELL_EXPIRES_S
        )
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.publish(WAKE, f"bell {model}")
            pipe.zremrangebyscore(queue, "-inf", (time.time() - STALE_AFTER_S) * 1000)
            await pipe.execute()


@asynccontextmanager
async def open_queues(url: str, *, timeout_s: float = 5.0) -> AsyncIterator[Queues]:
    """A Redis that is away is no reason not to begin. Raises QueueUnavailable when it answers and refuses us,
    ConfigurationError when the URL is none of Redis.
    """
    async with _connected(url, timeout_s) as redis:
        queues = Queues(redis, timeout_s)
        try:
            await queues.check()
        except QueueUnavailable as error:
            if isinstance(error.__cause__, AuthenticationError | ResponseError):
                raise
            log.warning("redis.away", error=error.detail)
        yield queues


@asynccontextmanager
async def _connected(url: str, timeout_s: float) -> AsyncIterator[ArqRedis]:
    try:
        pool = ConnectionPool.from_url(url, socket_connect_timeout=timeout_s)
    except ValueError as error:
        raise ConfigurationError(f"redis.url: {error}") from error
    # Not arq's create_pool: cancelled or timed out, it forgets an open connection.
    redis = ArqRedis(
        pool, job_serializer=_to_json, job_deserializer=json.loads, default_queue_name=_queue("none")
    )
    try:
        yield redis
    finally:
        with suppress(OSError, RedisError):
            await redis.aclose(close_connection_pool=True)


def _to_json(value: Any) -> bytes:
    # arq's default is pickle: whoever could write to Redis could run code here.
    return json.dumps(value, default=_failure).encode()


def _failure(value: Any) -> str:
    # arq makes the result of a bell that expired out of an exception, and then keeps none.
    if isinstance(value, BaseException):
        return repr(value)
    raise TypeError(f"{type(value).__name__} has no place in Redis")


class Bells:
    """Hears the bells of some models and the calls to cancel. Used by workers.

    `on_bell` and `on_cancel` are called on the event loop and must only take note. `run` goes on until it is
    cancelled; while Redis is away it tries again every second.
    """

    def __init__(
        self,
        url: str,
        models: Sequence[str],
        *,
        on_bell: Callable[[str], None],
        on_cancel: Callable[[UUID], None],
        timeout_s: float = 5.0,
    ) -> None:
        self._url = url
        self._models = models
        self._on_bell = on_bell
        self._on_cancel = on_cancel
        self._timeout_s = timeout_s

    async def run(self) -> None:
        while True:
            try:
                await self._hear()
            except* (OSError, TimeoutError, RedisError) as group:
                log.warning("bells.deaf", error=repr(group.exceptions[0]))
            except* Exception:
                log.exception("bells.broken")
            await asyncio.sleep(RECONNECT_S)

    async def _hear(self) -> None:
        async with _connected(self._url, self._timeout_s) as redis:
            workers = {model: self._worker(redis, model) for model in self._models}
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(redis, workers))
                for worker in workers.values():
                    group.create_task(worker.main())

    def _worker(self, redis: ArqRedis, model: str) -> "_BellWorker":
        return _BellWorker(
            [func(cast("Any", self._bell), name="bell", timeout=5, keep_result=0, max_tries=1)],
            queue_name=_queue(model),
            redis_pool=redis,
            handle_signals=False,
            retry_jobs=False,
            allow_abort_jobs=False,
            keep_result=0,
            max_tries=1,
            max_jobs=32,
            health_check_interval=10,
            health_check_key=f"{_queue(model)}:health:{socket.gethostname()}:{os.getpid()}",
            job_serializer=_to_json,
            job_deserializer=json.loads,
            log_results=False,
        )

    async def _bell(self, context: dict[str, Any], model: str) -> None:
        del context
        self._on_bell(model)

    async def _listen(self, redis: ArqRedis, workers: dict[str, "_BellWorker"]) -> None:
        async with redis.pubsub() as subscription:
            await subscription.subscribe(WAKE)
            async for message in subscription.listen():
                if message["type"] == "subscribe":  # only from now on is nothing missed
                    for model in self._models:
                        self._on_bell(model)  # whatever was rung while nobody listened
                    continue
                word, _, what = message["data"].decode(errors="replace").partition(" ")
                if word == "bell" and what in workers:
                    # The lane looks at once; arq's own rounds through Redis, which take the bell out of the queue,
                    # would cost a job several milliseconds.
                    self._on_bell(what)
                    workers[what].wake.set()
                elif word == "cancel":
                    with suppress(ValueError):
                        self._on_cancel(UUID(what))


class _BellWorker(Worker):
    """arq's worker, looking when it is woken instead of twice a second."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.wake = asyncio.Event()

    async def main(self) -> None:
        try:
            while True:
                self.wake.clear()
                await self._poll_iteration()
                with suppress(TimeoutError):
                    async with asyncio.timeout(NET_S):
                        await self.wake.wait()
        finally:
            # What arq began takes milliseconds; left alone it would open a connection anew after we closed ours.
            if bells := [*self.tasks.values()]:
                _, late = await asyncio.wait(bells, timeout=LAST_BELLS_S)
                for bell in late:
                    bell.cancel()
                await asyncio.gather(*bells, return_exceptions=True)
