"""How events travel: durable ones lie in PostgreSQL and Redis only says that there are some; progress is not durable
and travels over Redis itself. Losing Redis costs promptness, never an event.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from .best_effort import BestEffort

log = structlog.get_logger(__name__)

CHANNEL = "neuralib:events"
RECONNECT_S = 1.0
AT_ONCE = 50
"""Listeners that are woken before anything else gets its turn."""
TURN_S = 0.004
"""How long others then have, and what the first ones ask for has to arrive."""
REST_S = 0.0003
"""How long a crowd rests for each of its listeners after it was woken: 0.3 s for a thousand."""


class Progress(dict[str, Any]):
    """How far a job is, as it was heard. `encoded` is there for whoever tells it to many."""

    encoded: bytes | None = None


@dataclass(eq=False, slots=True)
class Listener:
    """One reader's view: woken when something happened for its owner. Progress is kept per job, newest only, so a
    slow reader costs a bounded amount of memory.
    """

    progress: dict[UUID, Mapping[str, Any]] = field(default_factory=dict)
    news: bool = True
    """Whether there may be durable events that the reader has not looked for. Readers set it back."""
    news_at: float = 0.0
    """When the last of them was heard of, on the loop's clock."""
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, timeout: float) -> bool:
        """Until something happened, or `timeout` seconds. False on time-out."""
        try:
            async with asyncio.timeout(timeout):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    def take_progress(self) -> list[Mapping[str, Any]]:
        """What came since the last call, one per job."""
        taken = list(self.progress.values())
        self.progress.clear()
        return taken

    def wake(self) -> None:
        self._woken.set()


@dataclass(eq=False, slots=True)
class _Crowd:
    """The listeners of one owner. A few are woken at once. Many are woken some at a time, so that others get their
    turn in between, and seldom enough that waking them is not all that this process does.
    """

    listeners: set[Listener] = field(default_factory=set)
    _rested_at: float = 0.0
    _due: asyncio.TimerHandle | None = None

    def tell(self, progress: Mapping[UUID, Mapping[str, Any]], *, news: bool) -> None:
        now = asyncio.get_running_loop().time()
        for listener in self.listeners:
            if news:
                listener.news, listener.news_at = True, now
            else:
                listener.progress.update(progress)
        self._wake()

    def _wake(self) -> None:
        if len(self.listeners) <= AT_ONCE:
            self._wake_all()
        elif self._due is None:
            self._due = asyncio.get_running_loop().call_at(self._rested_at, self._wake_all)

    def _wake_all(self) -> None:
        self._due = None
        self._rested_at = asyncio.get_running_loop().time() + len(self.listeners) * REST_S
        self._wake_some(list(self.listeners))

    def _wake_some(self, left: list[Listener]) -> None:
        for listener in left[:AT_ONCE]:
            listener.wake()
        if rest := left[AT_ONCE:]:
            asyncio.get_running_loop().call_later(TURN_S, self._wake_some, rest)


class EventBus:
    """One subscription a process, fanned out in memory to any number of listeners."""

    def __init__(self, redis: Redis, timeout_s: float) -> None:
        self._redis = redis
        self._best_effort = BestEffort("events.lost", timeout_s)
        self._crowds: dict[UUID, _Crowd] = defaultdict(_Crowd)

    async def wake(self, owner: UUID) -> None:
        """After a commit that appended events of this owner."""
        await self._publish({"owner": str(owner)})

    async def progress(self, owner: UUID, job: UUID, data: Mapping[str, Any]) -> None:
        """Pass on how far a job is."""
        await self._publish({"owner": str(owner), "job": str(job), "progress": data})

    @contextmanager
    def listen(self, owner: UUID) -> Iterator[Listener]:
        listener = Listener(news_at=asyncio.get_running_loop().time())
        crowd = self._crowds[owner]
        crowd.listeners.add(listener)
        try:
            yield listener
        finally:
            crowd.listeners.discard(listener)
            if not crowd.listeners:
                del self._crowds[owner]

    @property
    def owners(self) -> list[UUID]:
        """Those for whom somebody listens in this process."""
        return list(self._crowds)

    def listeners(self, owner: UUID) -> int:
        """How many listen for this owner in this process."""
        return len(self._crowds[owner].listeners) if owner in self._crowds else 0

    def nudge(self, owner: UUID) -> None:
        """Have the listeners of one owner look, in this process alone."""
        if (crowd := self._crowds.get(owner)) is not None:
            crowd.tell({}, news=True)

    def wake_all(self) -> None:
        """Have every listener look: on shutdown, and after Redis came back."""
        for owner in self.owners:
            self.nudge(owner)

    async def run(self) -> None:
        """Receive until cancelled; while Redis is away, try again every second."""
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(CHANNEL)
                    self.wake_all()
                    async for message in subscription.listen():
                        self._deliver(message["data"])
            except (OSError, TimeoutError, RedisError) as error:
                log.warning("events.deaf", error=str(error) or type(error).__name__)
            except Exception:
                log.exception("events.broken")
            await asyncio.sleep(RECONNECT_S)

    def _deliver(self, raw: bytes) -> None:
        try:
            message = json.loads(raw)
            owner = UUID(message["owner"])
            progress = {UUID(message["job"]): Progress(message["progress"])} if "progress" in message else {}
        except (ValueError, TypeError, KeyError, AttributeError):
            log.warning("events.not_ours", message=raw[:100])  # anybody may publish on a shared Redis
            return
        if (crowd := self._crowds.get(owner)) is not None:
            crowd.tell(progress, news=not progress)

    async def _publish(self, message: Mapping[str, Any]) -> None:
        await self._best_effort.call("publish", lambda: self._redis.publish(CHANNEL, json.dumps(message)))


@asynccontextmanager
async def open_bus(url: str, *, timeout_s: float = 5.0) -> AsyncIterator[EventBus]:
    """A bus that receives for as long as the block runs."""
    redis: Redis = Redis.from_url(url, socket_connect_timeout=timeout_s)
    bus = EventBus(redis, timeout_s)
    receiving = asyncio.create_task(bus.run(), name="events")
    try:
        yield bus
    finally:
        receiving.cancel()
        with suppress(asyncio.CancelledError):
            await receiving
        await redis.aclose()
