"""The HTTP edge: the only package that knows aiohttp.web.

routes/        every route in one table, by resource
auth/          who calls, and what they may do
schemas/       every body and every query, by resource
calls.py       what comes in, replies.py what goes out, middleware.py what is around both
problems.py    NeuralibError -> RFC 9457
openapi.py     the table -> OpenAPI 3.1
page.py        the page at /, built from web/
idempotency.py  a POST that is sent again is carried out once
feed.py        what an event stream tells, tails.py what all of an owner share; events.py sends it
"""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from aiohttp import web

from neuralib.errors import BadRequest, ConfigurationError, PortInUse
from neuralib.services import Services

from .auth import Gate, Principal
from .calls import Call, read_json, read_query
from .docs import OPENAPI
from .events import TAILS
from .feed import durable_frame, watch
from .idempotency import once
from .middleware import REQUEST_ID, SETTINGS, add_headers, outermost
from .openapi import describe
from .page import Page
from .rates import Rates, address_of
from .routes import ROUTES, Handler, Route
from .schemas.base import NoQuery
from .streams import Streams, guard
from .tails import Tails

__all__ = ["listening", "make_app"]

LINGER_S = 1.0
"""How long the rest of a refused body is read, so that its sender gets to see the answer."""


def make_app(services: Services, owner: UUID) -> web.Application:
    """The application. `owner` is whose everything is that no key, and nobody's sign-in, speaks for."""
    settings = services.settings
    streams = Streams(settings.limits)
    gate = Gate(services, owner)
    # One user on one machine has nobody to be fair to.
    rates = Rates(
        0 if settings.auth.mode == "none" else settings.limits.requests_per_s, settings.limits.requests_burst
    )
    app = web.Application(middlewares=[outermost], client_max_size=settings.limits.body_bytes)
    app[SETTINGS] = settings
    app[OPENAPI] = describe(ROUTES)
    app[TAILS] = Tails(services.db, durable_frame)
    for route in ROUTES:
        app.router.add_route(
            route.method, route.path, _endpoint(route, services, gate, streams, rates), name=route.name
        )
        if route.name == "get_content":
            app.router.add_route("HEAD", route.path, _endpoint(route, services, gate, streams, rates))
    Page().mount(app)

    async def close_streams(_: web.Application) -> None:
        streams.closing.set()
        services.bus.wake_all()

    async def net(_: web.Application) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(watch(services), name="events-net"),
            asyncio.create_task(guard(services, streams), name="streams-guard"),
        ]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    app.cleanup_ctx.append(net)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(close_streams)
    return app


@asynccontextmanager
async def listening(services: Services, owner: UUID, host: str, port: int) -> AsyncIterator[str]:
    """Serve for as long as the block runs; gives the base URL. Port 0 takes a free one.

    At the end streams and long polls are told to end, and other requests have `server.shutdown_s` seconds. Raises
    PortInUse, ConfigurationError.
    """
    runner = web.AppRunner(
        make_app(services, owner),
        access_log=None,  # the middleware writes it
        auto_decompress=False,  # a few compressed kilobytes may unfold to gigabytes
        keepalive_timeout=services.settings.limits.idle_connection_s,
        lingering_time=LINGER_S,
        shutdown_timeout=services.settings.server.shutdown_s,
    )
    await runner.setup()
    try:
        await _listen(runner, host, port)
        bound = runner.addresses[0][1]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"{host}:{port} is taken") from error
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


async def _admit(request: web.Request, gate: Gate, rates: Rates) -> Principal:
    """Raises RateLimited, and what `Gate.admit` raises."""
    try:
        principal = await gate.admit(request)
    except BadRequest:
        rates.spend(request, address_of(request))
        raise
    rates.spend(request, principal.owner)
    return principal


def _endpoint(route: Route, services: Services, gate: Gate, streams: Streams, rates: Rates) -> Handler:
    """The route's handler behind everything that is checked first."""
    limits = services.settings.limits

    async def handle(request: web.Request) -> web.StreamResponse:
        principal = gate.nobody
        if route.scope is not None:
            principal = await _admit(request, gate, rates)
            principal.require(route.scope)
        elif route.limited:
            rates.spend(request, address_of(request))
        call = Call(request, services, principal, streams, request[REQUEST_ID])
        given = {}
        query = read_query(request, route.query)
        if route.query is not NoQuery:
            given["query"] = query
        if route.body is not None:
            given["body"] = await read_json(
                request, route.body, route.media_types, limits.body_bytes, limits.idle_body_s
            )
        return await once(route, call, given)

    return handle
