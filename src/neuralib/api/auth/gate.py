"""From a request to its Principal. Deny by default: what no rule here lets in is answered with 401."""

import hmac
from uuid import UUID

from aiohttp import web

from neuralib import identity
from neuralib.errors import Unauthenticated
from neuralib.services import Services

from . import cookies
from .oidc import Issuer
from .principals import EVERYTHING, Principal, of_credential


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
        """Raises Unauthenticated, TokenExpired, IssuerUnavailable; CrossOrigin for a cookie that another page sends."""
        if self._auth.mode == "none":
            return Principal(self._local, EVERYTHING, "nothing")
        bearer = _bearer(request)
        if bearer is None:
            return await self._by_cookie(request)
        if self._is_shared_token(bearer):
            return Principal(self._local, EVERYTHING, "token")
        if bearer.startswith("nlk_"):
            return of_credential(await identity.find_key(self._db, bearer))
        if self._issuer is not None:
            return await self._issuer.admit(bearer)
        raise Unauthenticated("the bearer is nothing that this service knows")

    async def _by_cookie(self, request: web.Request) -> Principal:
        secret = cookies.read(request)
        if secret is None:
            raise Unauthenticated("the request carries neither a bearer nor a session")
        return of_credential(await identity.find_session(self._db, secret, self._auth.pepper))

    def _is_shared_token(self, bearer: str) -> bool:
        if self._auth.mode != "token" or self._auth.token is None:
            return False
        expected = self._auth.token.get_secret_value().encode()
        return hmac.compare_digest(bearer.encode(errors="surrogateescape"), expected)


def _bearer(request: web.Request) -> str | None:
    """None without an Authorization header. Raises Unauthenticated for one of another kind."""
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, given = header.partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise Unauthenticated("the Authorization header carries no bearer")
    return given.strip()
