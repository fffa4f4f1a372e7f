"""Calls to Redis on which nothing depends but promptness. Whoever makes one holds a request or a job in his hands, so it
takes a bounded time, also when Redis takes connections and never answers.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

BOUND_S = 1.0
"""How long a call may take."""
PAUSE_S = 2.0
"""For how long nobody asks again after Redis was silent."""


class BestEffort:
    """Makes calls that may be lost. `lost` is what the log says of those."""

    def __init__(self, lost: str, timeout_s: float) -> None:
        self._lost = lost
        self._bound_s = min(timeout_s, BOUND_S)
        self._silent_until = 0.0

    async def call(self, what: str, call: Callable[[], Awaitable[object]]) -> bool:
        """Whether it went well. After one that timed out the others fail at once for a while: a request must not pay
        for each bell.
        """
        if time.monotonic() < self._silent_until:
            return False
        try:
            async with asyncio.timeout(self._bound_s):
                await call()
        except (OSError, TimeoutError, RedisError) as error:
            if isinstance(error, TimeoutError):
                self._silent_until = time.monotonic() + PAUSE_S
            log.warning(self._lost, what=what, error=str(error) or type(error).__name__)
            return False
        return True
