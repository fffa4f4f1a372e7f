"""The newest events of an owner, read once for all of his streams in this process, and encoded once."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from neuralib.db import Database
from neuralib.db import events as event_rows
from neuralib.entities import Event
from neuralib.errors import NeuralibError

BATCH = 200
"""Events that one query brings."""
KEPT = 500
"""Events that stay in memory for streams that lag behind the others; a single stream keeps none."""

Encode = Callable[[Event], bytes]


@dataclass(frozen=True, slots=True)
class Told:
    """One durable event, as every stream sends it."""

    seq: int
    type: str
    job: str | None
    frame: bytes


@dataclass(eq=False, slots=True)
class Tail:
    """The events of one owner up to number `head`; the last of them are `kept`, without a gap."""

    db: Database
    owner: UUID
    encode: Encode
    readers: int = 0
    head: int | None = None
    read_at: float = 0.0
    """When the query began that brought everything up to `head`, on the loop's clock."""
    kept: deque[Told] = field(default_factory=lambda: deque(maxlen=KEPT))
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _began: float = 0.0
    _query: asyncio.Task[NeuralibError | None] | None = None
    _next: asyncio.Task[NeuralibError | None] | None = None

    async def after(self, seq: int, heard_at: float | None = None) -> tuple[list[Told], bool]:
        """Events after number `seq`, and whether there may be more. What was committed before `heard_at` (on the
        loop's clock; None: before the call) is found. Raises DatabaseUnavailable.
        """
        if self.head is None:
            self.head = seq
        elif seq < self.head - len(self.kept):
            return await self._catch_up(seq, self.head)
        if heard_at is None or heard_at >= self.read_at or seq > self.head:
            await self._refresh(heard_at)
        if seq > self.head:
            self._begin(seq)
        behind = self.head - seq
        if behind > len(self.kept):
            return [], True  # the others were quicker than what is kept
        found = list(islice(self.kept, len(self.kept) - behind, None))
        if self.readers < 2:
            self.kept.clear()
        return found, len(found) >= BATCH

    async def _catch_up(self, seq: int, head: int) -> tuple[list[Told], bool]:
        """For a stream that is further behind the others than what is kept."""
        found = await self.read(seq)
        return [told for told in found if told.seq <= head] or found, True

    async def read(self, seq: int, *, job: UUID | None = None, limit: int = BATCH) -> list[Told]:
        """Events after number `seq`, of one job only when it is named, from the database."""
        async with self.db.transaction() as tx:
            events = await event_rows.after(tx, self.owner, seq, job=job, limit=limit)
        return [self._told(event) for event in events]

    def _begin(self, seq: int) -> None:
        self.kept.clear()
        self.head, self.read_at = seq, 0.0

    async def _refresh(self, heard_at: float | None) -> None:
        """Take part in the query that is on its way, if it began after what the caller heard of; else in the next."""
        query = self._next
        if self._query is not None and heard_at is not None and heard_at < self._began:
            query = self._query
        if query is None:
            query = self._next = asyncio.create_task(self._read_on(), name="events-tail")
        error = await asyncio.shield(query)
        if error is not None:
            raise error

    async def _read_on(self) -> NeuralibError | None:
        """The error, if any, is handed over: nobody may be left to hear it."""
        async with self._reading:
            self._query, self._next = self._next, None
            head, began = self.head, asyncio.get_running_loop().time()
            self._began = began
            assert head is not None
            try:
                found = await self.read(head)
            except NeuralibError as error:
                return error
            finally:
                self._query = None
            if self.head == head:
                self.kept.extend(found)
                self.head = found[-1].seq if found else head
                # A full batch may not have been all there is.
                self.read_at = began if len(found) < BATCH else 0.0
            return None

    def _told(self, event: Event) -> Told:
        assert event.seq is not None
        job = str(event.job_id) if event.job_id else None
        return Told(event.seq, event.type, job, self.encode(event))


class Tails:
    """Those of the owners who have streams open."""

    def __init__(self, db: Database, encode: Encode) -> None:
        self._db = db
        self._encode = encode
        self._tails: dict[UUID, Tail] = {}

    @contextmanager
    def of(self, owner: UUID) -> Iterator[Tail]:
        """For the length of one stream."""
        tail = self._tails.setdefault(owner, Tail(self._db, owner, self._encode))
        tail.readers += 1
        try:
            yield tail
        finally:
            tail.readers -= 1
            if not tail.readers:
                del self._tails[owner]
