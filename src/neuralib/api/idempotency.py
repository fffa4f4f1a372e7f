"""Idempotency-Key: a POST that is sent again is answered as it was the first time, and nothing is made twice.

The first request takes the key for a while (a lease, renewed while it runs) and with it an id: what it makes has that
id and those after it. When its process dies or its answer is one that may pass (5xx, 429, a body that broke off), the
next one carries the request out again under the same ids, and finds what had been made instead of making another. So
nothing hangs on the moment between the commit and the answer. What stands in a final answer is kept for a day.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog
from aiohttp import web

from neuralib.db import idempotency as rows
from neuralib.db.idempotency import Answer, Key, Turn
from neuralib.errors import (
    Conflict,
    FieldError,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    InsufficientScope,
    InvalidParameter,
    NeuralibError,
    RequestTimeout,
    Unavailable,
)
from neuralib.services import Services

from . import problems
from .calls import Call, Keyed
from .routes import Route

log = structlog.get_logger(__name__)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
LEASE = timedelta(seconds=15)
"""How long a key stays taken whose process died."""
RENEW_S = 5.0
NOTHING = timedelta(0)
PASSING = (RequestTimeout, InsufficientScope)
"""Refusals that hold only for this line, or for these credentials."""

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


async def once(route: Route, call: Call, given: Mapping[str, Any]) -> web.StreamResponse:
    """What the handler answers, or did answer. Raises InvalidParameter, IdempotencyInProgress, IdempotencyKeyReused."""
    text = _read_key(call.request) if route.method == "POST" else None
    if text is None:
        return await route.handler(call, **given)
    key = Key(call.owner, route.name, text)
    fingerprint = None if route.form else _fingerprint(call.request, await _body(route, call.request))
    async with call.services.db.statements() as db:
        turn = await rows.take(db, key, fingerprint, LEASE)
    if turn is None:
        return await _replay(route, call, key, fingerprint)
    return await _carry_out(route, replace(call, keyed=Keyed(turn.first_id, fingerprint)), turn, given)


def _read_key(request: web.Request) -> str | None:
    given = request.headers.getall(HEADER, [])
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        detail = "must be one of 1 to 255 printable ASCII characters"
        raise InvalidParameter(
            f"{HEADER}: {detail}", fields=[FieldError(f"/headers/{HEADER}", "key", detail)]
        )
    return given[0]


async def _body(route: Route, request: web.Request) -> bytes:
    """As it came; it has been read already. A route without one ignores what comes."""
    return await request.read() if route.body is not None else b""


def _fingerprint(request: web.Request, body: bytes) -> str:
    head = f"{request.method} {request.rel_url.raw_path_qs}\n".encode()
    return hashlib.sha256(head + body).hexdigest()


# ── the first time ────────────────────────────────────────────────────────────────────────────────────


async def _carry_out(route: Route, call: Call, turn: Turn, given: Mapping[str, Any]) -> web.StreamResponse:
    holding = asyncio.create_task(_hold(call.services, turn), name="idempotency-lease")
    kept = False
    try:
        response = await _final(route, call, given)
        kept = await _keep(call, turn, response)
        return response
    finally:
        holding.cancel()
        if not kept:
            await _renew(call.services, turn, NOTHING)


async def _final(route: Route, call: Call, given: Mapping[str, Any]) -> web.StreamResponse:
    """What the handler answers, a refusal too. Raises the errors that may pass."""
    try:
        return await route.handler(call, **given)
    except NeuralibError as error:
        if error.retryable or isinstance(error, PASSING) or problems.status_of(type(error)) >= 500:
            raise
        return problems.answer(call.request, error, call.request_id)


async def _keep(call: Call, turn: Turn, response: web.StreamResponse) -> bool:
    """Whether this will be answered from now on. A form that was not read to its end has no fingerprint."""
    assert call.keyed is not None
    fingerprint = call.keyed.fingerprint
    if call.keyed.form_digest is not None:
        fingerprint = _fingerprint(call.request, call.keyed.form_digest.encode())
    if fingerprint is None or not isinstance(response, web.Response) or response.status >= 500:
        return False
    secret = response.headers.get("Cache-Control") == "no-store"  # such as a new key, which no row may hold
    body = response.body if isinstance(response.body, bytes) else b""
    kept = Answer(fingerprint, response.status, dict(response.headers), body)
    try:
        async with call.services.db.statements() as db:
            return await rows.answer(db, turn, replace(kept, headers={}, body=None) if secret else kept)
    except Unavailable as error:
        log.warning("idempotency.not_kept", error=error.detail)
        return False


async def _hold(services: Services, turn: Turn) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        await _renew(services, turn, LEASE)


async def _renew(services: Services, turn: Turn, lease: timedelta) -> None:
    """When that fails the lease runs out: the next one may have to wait for that, and nothing else."""
    try:
        async with services.db.statements() as db:
            await rows.renew(db, turn, lease)
    except Unavailable as error:
        log.warning("idempotency.not_renewed", error=error.detail)


# ── again ─────────────────────────────────────────────────────────────────────────────────────────────


async def _replay(route: Route, call: Call, key: Key, fingerprint: str | None) -> web.StreamResponse:
    async with call.services.db.statements() as db:
        found = await rows.find(db, key)
    if found is not None and found.status is not None and route.skim is not None:
        fingerprint = _fingerprint(call.request, (await route.skim(call)).encode())
    if (
        found is not None
        and None not in {found.fingerprint, fingerprint}
        and found.fingerprint != fingerprint
    ):
        raise IdempotencyKeyReused
    if found is None or found.status is None:
        raise IdempotencyInProgress
    if found.body is None:
        raise Conflict("it was carried out; the answer held a secret and was not kept")
    headers = {**found.headers, REPLAYED: "true"}
    return web.Response(status=found.status, body=found.body, headers=headers)
