"""How many requests an owner or an address may send: a token bucket each, in bounded memory.

Who is known by a credential is counted by owner, so that nobody pays for a neighbour behind the same proxy. An address
pays for requests that need no credentials and for those whose credentials are wrong.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from aiohttp import web

from neuralib.errors import RateLimited

MAX_BUCKETS = 10_000
"""The ones that were used longest ago are forgotten: they are the likeliest to be full."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to somebody: the headers RateLimit-*."""

    limit: int
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """As they are sent."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
        }


ALLOWANCE = web.RequestKey("allowance", Allowance)


class Rates:
    """Buckets of `burst` requests that fill at `per_s`; with 0 nobody is limited. `clock` is any clock of seconds."""

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def spend(self, request: web.Request, who: Hashable) -> None:
        """Count the request, and note on it what is left. Raises RateLimited."""
        if not self._per_s:
            return
        request[ALLOWANCE], retry_s = self.take(who)
        if retry_s is not None:
            raise RateLimited(retry_s)

    def take(self, who: Hashable) -> tuple[Allowance, int | None]:
        """(what is left; None, or the seconds after which there will be something)."""
        now = self._clock()
        tokens, at = self._buckets.pop(who, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - at) * self._per_s)
        granted = tokens >= 1
        tokens -= granted
        self._buckets[who] = (tokens, now)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        left = Allowance(self._burst, int(tokens), math.ceil((self._burst - tokens) / self._per_s))
        return left, None if granted else max(1, math.ceil((1 - tokens) / self._per_s))


def address_of(request: web.Request) -> str:
    """The peer, for counting: of IPv6 the network, which one customer has a whole one of."""
    try:
        address = ip_address(request.remote or "")
    except ValueError:
        return request.remote or ""
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
    return str(address)
