"""What one event stream has to tell, as Server-Sent Events. Knows no HTTP.

Durable events come from PostgreSQL, in order and without gaps, each with its number as `id`. Progress comes from the
bus, without an id: the newest per job, at most four times a second, never backwards, never after the job's end.
"""

import asyncio
import json
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog

from neuralib.db import events as event_rows
from neuralib.db import jobs as job_rows
from neuralib.entities import Event, Job, JobState
from neuralib.errors import NeuralibError, Unavailable
from neuralib.events import Listener, Progress
from neuralib.pipeline import TERMINAL, stamp
from neuralib.services import Services

from .tails import BATCH, Tail, Told

log = structlog.get_logger(__name__)

RETRY_MS = 3000
NET_S = 2.0
"""How often this process looks for events that the bus did not tell of."""
BLIND_S = 1.0
"""How long a stream waits for a database that is away before it looks again."""
PROGRESS_EVERY_S = 0.25
ENDINGS = frozenset(f"job.{state.value}" for state in TERMINAL)


def frame(type_: str, data: Mapping[str, Any], seq: int | None = None) -> bytes:
    """One event on the wire. JSON holds no line breaks, so `data` is one line."""
    id_ = f"id: {seq}\n" if seq is not None else ""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"{id_}event: {type_}\ndata: {text}\n\n".encode(errors="replace")


@dataclass(slots=True)
class Throttle:
    """Thins out progress: see the module's first lines. `clock` is any clock of seconds."""

    _waiting: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _told: dict[str, tuple[float, tuple[int, float]]] = field(default_factory=dict)
    _ended: deque[str] = field(default_factory=lambda: deque(maxlen=100))

    def offer(self, data: Mapping[str, Any]) -> None:
        """Take note of progress, unless it is older than what was told."""
        job = str(data["job_id"])
        _, last = self._told.get(job, (0.0, (0, 0.0)))
        if job not in self._ended and _place(data) >= max(last, _place(self._waiting.get(job, {}))):
            self._waiting[job] = data

    def end(self, job: str) -> None:
        """The job is over: its last word was the event that says so."""
        self._waiting.pop(job, None)
        self._told.pop(job, None)
        self._ended.append(job)

    def take(self, now: float) -> list[Mapping[str, Any]]:
        """What may be told now."""
        due = [job for job in self._waiting if self._due_at(job) <= now]
        for job in due:
            self._told[job] = (now, _place(self._waiting[job]))
        return [self._waiting.pop(job) for job in due]

    def next_at(self) -> float | None:
        """When there will be something to take."""
        return min((self._due_at(job) for job in self._waiting), default=None)

    def _due_at(self, job: str) -> float:
        return self._told[job][0] + PROGRESS_EVERY_S if job in self._told else 0.0


def _place(progress: Mapping[str, Any]) -> tuple[int, float]:
    return int(progress.get("attempt", 0)), float(progress.get("fraction", 0.0))


async def watch(services: Services) -> None:
    """The net under a lost bell: one query for all owners who are listened for, every two seconds, until cancelled."""
    seen: dict[UUID, int] = {}
    while True:
        await asyncio.sleep(NET_S)
        if not (owners := services.bus.owners):
            continue
        try:
            async with services.db.transaction() as tx:
                heads = await event_rows.heads(tx, owners)
        except NeuralibError:
            continue
        for owner, _ in heads.items() - seen.items():
            services.bus.nudge(owner)
        seen = heads


class Feed:
    """The events of an owner, or of one job, from `cursor` on."""

    def __init__(
        self, services: Services, owner: UUID, job: Job | None, listener: Listener, tail: Tail
    ) -> None:
        self.over = False
        """Whether the job's last event has been told."""
        self._services = services
        self._owner = owner
        self._job = job
        self._listener = listener
        self._tail = tail
        self._throttle = Throttle()
        self._cursor = 0
        self._look_at = 0.0

    async def begin(self, last_seen: int | None) -> bytes:
        """Find the place to go on from, and what must be said first. Without `last_seen` the stream of an owner
        starts now, that of a job at its beginning.
        """
        async with self._services.db.transaction() as tx:
            head, oldest = await event_rows.bounds(tx, self._owner)
            running = await job_rows.page(
                tx, self._owner, states=[JobState.RUNNING.value], ids=self._ids(), limit=200
            )
        for job in running:
            if job.progress:
                self._throttle.offer(_last_progress(job))
        if last_seen is None:
            self._cursor = 0 if self._job else head
        elif oldest - 1 <= last_seen <= head:
            self._cursor = last_seen
        else:
            self._cursor = head
            return frame("stream.reset", {"type": "stream.reset", "head_seq": head})
        return b""

    async def ended_before(self) -> bool:
        """Whether this is the stream of a job that ended and of which there is nothing left to tell."""
        if self._job is None or self._job.state not in TERMINAL:
            return False
        return not await self._tail.read(self._cursor, job=self._job.id, limit=1)

    async def next(self) -> bytes:
        """What there is to tell now: durable events first. Empty when there is nothing."""
        now = asyncio.get_running_loop().time()
        told = b""
        if self._listener.news and now >= self._look_at:
            told = await self._durable()
        for data in self._listener.take_progress():
            if self._job is None or data["job_id"] == str(self._job.id):
                self._throttle.offer(data)
        return told + b"".join(_progress_frame(data) for data in self._throttle.take(now))

    def idle_for(self) -> float:
        """Seconds until `next` may have something although nothing wakes us; infinite when only waking helps."""
        at = [self._look_at] if self._listener.news else []
        if (word := self._throttle.next_at()) is not None:
            at.append(word)
        return max(0.0, min(at, default=math.inf) - asyncio.get_running_loop().time())

    async def _durable(self) -> bytes:
        self._listener.news = False
        try:
            events, more = await self._events()
        except Unavailable as error:
            # The stream stays open: closing it would bring every client back at once.
            log.warning("stream.blind", error=error.detail)
            self._listener.news, self._look_at = True, asyncio.get_running_loop().time() + BLIND_S
            return b""
        if more:
            self._listener.news = True  # come back before sleeping
        for event in events:
            self._cursor = event.seq
            if event.type in ENDINGS and event.job is not None:
                self._throttle.end(event.job)
                self.over = self._job is not None
        return b"".join(event.frame for event in events)

    async def _events(self) -> tuple[list[Told], bool]:
        """What is new, and whether there may be more. A job's own stream reads alone: it is short."""
        if self._job is None:
            return await self._tail.after(self._cursor, self._listener.news_at)
        found = await self._tail.read(self._cursor, job=self._job.id)
        return found, len(found) == BATCH

    def _ids(self) -> list[UUID] | None:
        return [self._job.id] if self._job else None


def durable_frame(event: Event) -> bytes:
    return frame(event.type, {"seq": event.seq, "at": stamp(event.at), **event.data}, event.seq)


def _progress_frame(data: Mapping[str, Any]) -> bytes:
    """Encoded once, however many streams tell it."""
    if not isinstance(data, Progress):
        return frame("job.progress", data)
    if data.encoded is None:
        data.encoded = frame("job.progress", data)
    return data.encoded


def _last_progress(job: Job) -> dict[str, Any]:
    asset = str(job.asset_id) if job.asset_id else None
    return {
        "type": "job.progress",
        "job_id": str(job.id),
        "asset_id": asset,
        "attempt": job.attempt,
        **job.progress,
    }
