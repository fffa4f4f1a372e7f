"""The public keys of the configured issuer: found by discovery, kept, and fetched again when they rotate.

An unknown key id asks the issuer again, but not more often than every GAP_S, whatever strangers send. While the issuer
is away the keys that are known go on working, for a day.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import structlog

from neuralib.config import Oidc, is_trusted_url
from neuralib.errors import IssuerUnavailable, Unauthenticated

log = structlog.get_logger(__name__)

FRESH_S = 600.0
GAP_S = 30.0
"""Between two looks for a key that was not there."""
RETRY_S = 2.0
"""Between two tries while the issuer does not answer."""
STALE_S = 86400.0
MAX_BYTES = 512 * 1024
MAX_KEYS = 100
DISCOVERY = "/.well-known/openid-configuration"

Jwk = Mapping[str, Any]


class Keyring:
    """Keys by id. `clock` is any clock of seconds."""

    def __init__(self, oidc: Oidc, clock: Callable[[], float]) -> None:
        self._oidc = oidc
        self._clock = clock
        self._keys: dict[str | None, Jwk] = {}
        self._fetched_at: float | None = None
        self._not_before = float("-inf")
        self._away = False
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None) -> Jwk:
        """The key of this id. Raises Unauthenticated when the issuer has none; IssuerUnavailable when it cannot be
        asked.
        """
        age = self._age()
        if age > FRESH_S and kid in self._keys and age <= STALE_S:
            self._refresh()  # in its own time: what is known is good meanwhile
        elif kid not in self._keys or age > STALE_S:
            if (task := self._refresh()) is not None:
                await asyncio.shield(task)
            if self._away and (kid not in self._keys or self._age() > STALE_S):
                raise IssuerUnavailable
        if kid not in self._keys:
            raise Unauthenticated("the token is signed with a key that its issuer does not have")
        return self._keys[kid]

    def _age(self) -> float:
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    def _refresh(self) -> asyncio.Task[None] | None:
        """The fetch that runs, or a new one unless it is too soon."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if self._clock() < self._not_before:
            return None
        self._fetching = asyncio.create_task(self._fetch(), name="jwks")
        return self._fetching

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(self._oidc.timeout_s), aiohttp.ClientSession() as session:
                url = self._oidc.jwks_url or await self._discover(session)
                keys = _usable(await _get(session, url))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, TypeError, LookupError) as error:
            self._away, self._not_before = True, self._clock() + RETRY_S
            log.warning("issuer.away", issuer=self._oidc.issuer, error=str(error) or type(error).__name__)
        else:
            self._keys = keys
            self._fetched_at = self._clock()
            self._away, self._not_before = False, self._clock() + GAP_S

    async def _discover(self, session: aiohttp.ClientSession) -> str:
        """Raises ValueError unless the document is this issuer's own."""
        assert self._oidc.issuer is not None
        document = await _get(session, self._oidc.issuer.rstrip("/") + DISCOVERY)
        if document["issuer"] != self._oidc.issuer:
            raise ValueError("the discovery document speaks of another issuer")
        url = str(document["jwks_uri"])
        if not is_trusted_url(url):
            raise ValueError("the discovery document names a jwks_uri that is not https")
        return url


async def _get(session: aiohttp.ClientSession, url: str) -> Any:
    """JSON. Redirects are not followed: the configuration says whom we trust."""
    async with session.get(url, allow_redirects=False) as response:
        if response.status != 200:
            raise ValueError(f"{url} answered {response.status}")
        raw = await response.content.read(MAX_BYTES + 1)
        while not response.content.at_eof() and len(raw) <= MAX_BYTES:
            raw += await response.content.read(MAX_BYTES + 1 - len(raw))
    if len(raw) > MAX_BYTES:
        raise ValueError(f"{url} answered with more than {MAX_BYTES} bytes")
    return json.loads(raw)


def _usable(document: Any) -> dict[str | None, Jwk]:
    """Public signature keys by id. A token may leave the id out when there is only one. Raises ValueError without any."""
    keys = [
        jwk
        for jwk in document["keys"][:MAX_KEYS]
        if isinstance(jwk, dict) and jwk.get("kty") in {"RSA", "EC", "OKP"} and jwk.get("use", "sig") == "sig"
    ]
    if not keys:
        raise ValueError("the issuer has no key that signs")
    found: dict[str | None, Jwk] = {str(jwk["kid"]): jwk for jwk in keys if "kid" in jwk}
    if len(keys) == 1:
        found[None] = keys[0]
    return found
