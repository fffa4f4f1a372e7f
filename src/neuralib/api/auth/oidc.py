"""OIDC: a signed token of the configured issuer -> a Principal."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import jwt

from neuralib import identity
from neuralib.config import Oidc
from neuralib.db import Database
from neuralib.entities import Scope
from neuralib.errors import TokenExpired, Unauthenticated

from .keyring import Jwk, Keyring
from .principals import Principal

MAX_SUBJECT = 255
MAX_OWNERS = 10_000
"""How many owners' ids are remembered."""
LONGEST_S = 366 * 86400.0


class Issuer:
    """Verifies tokens: signature, algorithm, issuer, audience, times; and knows whose they are."""

    def __init__(self, db: Database, oidc: Oidc, clock: Callable[[], float] = time.monotonic) -> None:
        assert oidc.issuer is not None
        self._db = db
        self._oidc = oidc
        self._name = oidc.issuer
        self._keyring = Keyring(oidc, clock)
        self._owners: OrderedDict[str, UUID] = OrderedDict()

    async def admit(self, token: str) -> Principal:
        """Raises Unauthenticated, TokenExpired, IssuerUnavailable."""
        alg, kid = self._read_head(token)
        claims = self._verify(token, alg, await self._keyring.find(kid))
        subject = claims["sub"]
        if not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
            raise Unauthenticated("the token's subject cannot be kept")
        until = min(float(claims["exp"]) + self._oidc.leeway_s, time.time() + LONGEST_S)
        scopes = scopes_of(claims, self._oidc)
        return Principal(
            await self._owner(subject), scopes, "oidc", expires_at=datetime.fromtimestamp(until, UTC)
        )

    def _read_head(self, token: str) -> tuple[str, str | None]:
        """(algorithm, key id). Nothing in it is trusted: the algorithm must be one of the configured ones."""
        try:
            head = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise Unauthenticated("the bearer is neither a key nor a token") from error
        alg, kid = head.get("alg"), head.get("kid")
        if alg not in self._oidc.algorithms:
            raise Unauthenticated(f"tokens are to be signed with {', '.join(self._oidc.algorithms)}")
        return alg, kid

    def _verify(self, token: str, alg: str, jwk: Jwk) -> Mapping[str, Any]:
        try:
            if jwk.get("alg", alg) != alg:
                raise jwt.InvalidAlgorithmError
            claims: Mapping[str, Any] = jwt.decode(
                token,
                jwt.PyJWK(dict(jwk), algorithm=alg),
                algorithms=[alg],
                audience=self._oidc.audience,
                issuer=self._name,
                leeway=self._oidc.leeway_s,
                options={"require": ["exp", "iat", "sub", "iss", "aud"], "enforce_minimum_key_length": True},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired("the token has expired") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Unauthenticated("the token is not a good one of this service's issuer") from error
        return claims

    async def _owner(self, subject: str) -> UUID:
        """Made at first sight, remembered from then on."""
        owner = self._owners.pop(subject, None) or await identity.ensure_owner(self._db, subject, self._name)
        self._owners[subject] = owner
        if len(self._owners) > MAX_OWNERS:
            self._owners.popitem(last=False)
        return owner


def scopes_of(claims: Mapping[str, Any], oidc: Oidc) -> frozenset[Scope]:
    """What the token may be used for. Without `scopes_claim` everybody gets `default_scopes`; with it, what the
    claim's words map to, and nothing when it is missing.
    """
    if oidc.scopes_claim is None:
        return frozenset(oidc.default_scopes)
    known: dict[str, Iterable[Scope]] = {scope.value: [scope] for scope in Scope}
    if oidc.scopes:
        known = dict(oidc.scopes)
    words = _words(_claim(claims, oidc.scopes_claim))
    return frozenset(scope for word in words for scope in known.get(word, ()))


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """By its name; else by its path, such as realm_access.roles."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split()
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
