"""Which event streams are open, for how long their credentials are good, and the sign that tells all to end."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog

from neuralib import identity
from neuralib.config import Limits
from neuralib.errors import NeuralibError, TooManyStreams
from neuralib.services import Services

from .auth import Principal

log = structlog.get_logger(__name__)

RECHECK_S = 5.0
"""How long a stream may outlive its credentials."""


@dataclass(eq=False, slots=True)
class Seat:
    """One open stream. `refused` once its credentials are good for nothing any more."""

    principal: Principal
    refused: bool = False


class Streams:
    """The streams of one process. `closing` is set once, when the process stops: whoever waits looks at it."""

    def __init__(self, limits: Limits) -> None:
        self.closing = asyncio.Event()
        self._limits = limits
        self._open: Counter[UUID] = Counter()
        self._seats: set[Seat] = set()

    @contextmanager
    def enter(self, principal: Principal) -> Iterator[Seat]:
        """Count one stream for as long as the block runs. Raises TooManyStreams."""
        owner = principal.owner
        if self._open[owner] >= self._limits.streams_per_owner:
            raise TooManyStreams(f"you have {self._open[owner]} event streams open, which is the limit")
        if self._open.total() >= self._limits.streams:
            raise TooManyStreams("this server has no room for another event stream")
        self._open[owner] += 1
        self._seats.add(seat := Seat(principal))
        try:
            yield seat
        finally:
            self._seats.discard(seat)
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]

    async def recheck(self, services: Services) -> None:
        """Look once at all credentials that streams are open with, and end the streams of those that are over."""
        seats = list(self._seats)
        asked = {seat.principal.credential for seat in seats} - {None}
        over = await identity.ended(services.db, [id_ for id_ in asked if id_]) if asked else frozenset()
        now = datetime.now(UTC)
        for seat in seats:
            expires_at = seat.principal.expires_at
            if seat.principal.credential in over or (expires_at is not None and expires_at <= now):
                seat.refused = True
                services.bus.nudge(seat.principal.owner)


async def guard(services: Services, streams: Streams) -> None:
    """Recheck every few seconds, until cancelled. While the database is away no credential can be judged, and no
    event be told either.
    """
    while True:
        await asyncio.sleep(RECHECK_S)
        try:
            await streams.recheck(services)
        except NeuralibError as error:
            log.warning("streams.unchecked", error=error.detail)
