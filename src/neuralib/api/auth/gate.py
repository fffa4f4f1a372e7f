"""From a request to its Principal. Deny by default: what no rule here lets in is answered with 401."""

import hmac
from uuid import UUID

from aiohttp import web

from neuralib import identity
from neuralib.errors import Unauthenticated
from neuralib.services import Services

from .oidc import Issuer
from .principals import EVERYTHING, Principal, of_key


class Gate:
    """The one door. `local` is the owner of what needs no key: the single user's, and the shared token's."""

    def __init__(self, services: Services, local: UUID) -> None:
        self._db = services.db
        self._auth = services.settings.auth
        self._issuer = Issuer(services.db, services.settings.oidc) if self._auth.mode == "oidc" else None
        self._local = local
        self.nobody = Principal(local, frozenset(), "nothing")
        """For routes that ask nobody who they are."""

    async def admit(self, request: web.Request) -> Principal:
        """Raises Unauthenticated, TokenExpired, IssuerUnavailable."""
        if self._auth.mode == "none":
            return Principal(self._local, EVERYTHING, "nothing")
        bearer = _bearer(request)
        if self._is_shared_token(bearer):
            return Principal(self._local, EVERYTHING, "token")
        if bearer.startswith("nlk_"):
            return of_key(await identity.find_key(self._db, bearer))
        if self._issuer is not None:
            return await self._issuer.admit(bearer)
        raise Unauthenticated("the bearer is nothing that this service knows")

    def _is_shared_token(self, bearer: str) -> bool:
        if self._auth.mode != "token" or self._auth.token is None:
            return False
        expected = self._auth.token.get_secret_value().encode()
        return hmac.compare_digest(bearer.encode(errors="surrogateescape"), expected)


def _bearer(request: web.Request) -> str:
    """Raises Unauthenticated."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise Unauthenticated("the request carries no bearer")
    return given.strip()
