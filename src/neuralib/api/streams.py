"""How many event streams are open, and the sign that tells them and the long polls to end."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from neuralib.config import Limits
from neuralib.errors import TooManyStreams


class Streams:
    """The streams of one process. `closing` is set once, when the process stops: whoever waits looks at it."""

    def __init__(self, limits: Limits) -> None:
        self.closing = asyncio.Event()
        self._limits = limits
        self._open: Counter[UUID] = Counter()

    @contextmanager
    def enter(self, owner: UUID) -> Iterator[None]:
        """Count one stream for as long as the block runs. Raises TooManyStreams."""
        if self._open[owner] >= self._limits.streams_per_owner:
            raise TooManyStreams(f"you have {self._open[owner]} event streams open, which is the limit")
        if self._open.total() >= self._limits.streams:
            raise TooManyStreams("this server has no room for another event stream")
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]
