"""What every request passes through: its id, who may send it, its problems, its line in the log, the reply's headers."""

import asyncio
import re
import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from neuralib.config import LOOPBACK, Settings
from neuralib.entities import new_id
from neuralib.errors import CrossOrigin

from . import cors, problems
from .auth.cookies import SAFE, host_of, is_own_origin
from .rates import ALLOWANCE
from .replies import cut

log = structlog.get_logger(__name__)

SETTINGS = web.AppKey("settings", Settings)
REQUEST_ID = web.RequestKey("request_id", str)
BEGUN = web.RequestKey("begun", bool)
"""Whether the head of the reply has been sent."""

QUIET = frozenset({"/healthz", "/readyz"})
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@web.middleware
async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Around every handler, and around the router's own refusals."""
    given = request.headers.get("X-Request-ID", "")
    request_id = given if _ID.fullmatch(given) else str(new_id())
    request[REQUEST_ID] = request_id
    began = time.monotonic()
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        try:
            refuse_other_sites(request, request.app[SETTINGS])
            response = await _answer(request, handler)
        except Exception as error:
            if BEGUN in request:  # too late to say anything
                cut(request)
                raise
            response = problems.answer(request, error, request_id)
        _note(request, response.status, time.monotonic() - began)
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The reply, sent: whoever asks and takes no answer must not hold it up for ever."""
    if cors.is_preflight(request) and cors.is_allowed(request, request.app[SETTINGS].server.origins):
        return cors.preflight()
    response = await handler(request)
    if not response.prepared:
        try:
            async with asyncio.timeout(request.app[SETTINGS].limits.idle_read_s):
                await response.prepare(request)
                await response.write_eof()
        except (ConnectionError, TimeoutError) as error:
            log.info("reply.left", reason=type(error).__name__)
            cut(request)
    return response


def refuse_other_sites(request: web.Request, settings: Settings) -> None:
    """Without credentials the browser is the way in: any page can post to localhost, and a page whose name was made
    to point at 127.0.0.1 could even read. Browsers say where a request comes from; programs do not, and pass.
    Raises CrossOrigin.
    """
    if settings.auth.mode == "none" and host_of(request) not in LOOPBACK:
        raise CrossOrigin("without credentials this service answers to localhost only")
    if request.method in SAFE or request.headers.get("Sec-Fetch-Site") in {"same-origin", "none"}:
        return
    origin = request.headers.get("Origin")
    if origin is not None and origin in settings.server.origins:
        return
    if origin is not None and not is_own_origin(request, origin):
        raise CrossOrigin("the request comes from a page of another site")


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every reply, streams too."""
    request[BEGUN] = True
    headers = response.headers
    headers["X-Request-ID"] = request.get(REQUEST_ID, "")
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Server"] = "neuralib"
    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
    headers.setdefault("Cache-Control", "private, no-cache")
    cors.add_headers(request, response, request.app[SETTINGS].server.origins)
    if (allowance := request.get(ALLOWANCE)) is not None:
        headers.update(allowance.headers())


def _note(request: web.Request, status: int, seconds: float) -> None:
    # The query stays out: it may carry what belongs in no log.
    say = log.debug if request.path in QUIET else log.info
    say(
        "request",
        method=request.method,
        path=request.rel_url.raw_path,
        status=status,
        ms=round(seconds * 1000, 1),
        remote=request.remote,
    )
