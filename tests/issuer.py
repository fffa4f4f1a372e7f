"""An OpenID provider on loopback: a real HTTP server with keys that rotate, and tokens signed with them."""

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

AUDIENCE = "neuralib-tests"
MAKERS = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


class Issuer:
    """`away` makes it answer 503; `asked` counts the requests for keys."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, Any] = {}
        self.algorithms: dict[str, str] = {}
        self.published: list[dict[str, Any]] = []
        self.away = False
        self.asked = 0
        self.discovery: dict[str, Any] = {}

    def add(self, kid: str, alg: str = "RS256", *, key: Any = None, publish: bool = True) -> Any:
        self.keys[kid] = key or MAKERS[alg]()
        self.algorithms[kid] = alg
        if publish:
            public = json.loads(jwt.get_algorithm_by_name(alg).to_jwk(self.keys[kid].public_key()))
            self.published.append({**public, "kid": kid, "use": "sig", "alg": alg})
        return self.keys[kid]

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 600, **changes}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, kid: str = "first", *, head: dict[str, Any] | None = None, **changes: Any) -> str:
        return jwt.encode(
            self.claims(**changes), self.keys[kid], self.algorithms[kid], headers={"kid": kid, **(head or {})}
        )


def forged(head: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """A token as an attacker writes it, by hand."""
    parts = [json.dumps(head).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@asynccontextmanager
async def running_issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()

    async def discover(_: web.Request) -> web.Response:
        if issuer.away:
            raise web.HTTPServiceUnavailable
        named = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys", **issuer.discovery}
        return web.json_response(named)

    async def keys(_: web.Request) -> web.Response:
        issuer.asked += 1
        if issuer.away:
            raise web.HTTPServiceUnavailable
        return web.json_response({"keys": issuer.published})

    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound(f"{issuer.url}/keys")

    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", discover)
    app.router.add_get("/keys", keys)
    app.router.add_get("/elsewhere", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        issuer.add("first")
        yield issuer
    finally:
        await runner.cleanup()
