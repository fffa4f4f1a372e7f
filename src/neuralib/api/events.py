"""Handlers of the event streams: Server-Sent Events that end when the process stops or the client is gone."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from neuralib import jobs
from neuralib.entities import Job
from neuralib.errors import InvalidParameter

from .calls import Call
from .feed import RETRY_MS, Feed, frame
from .replies import cut, write
from .schemas.jobs import EventsQuery
from .streams import Seat
from .tails import Tails

log = structlog.get_logger(__name__)

TAILS = web.AppKey("tails", Tails)
HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def owner_events(call: Call, query: EventsQuery) -> web.StreamResponse:
    return await _open(call, query, None)


async def job_events(call: Call, query: EventsQuery) -> web.StreamResponse:
    """204, which tells a browser's EventSource to stop, when the job has ended and all of it was told."""
    view = await jobs.get(call.services, call.owner, call.id("job"))
    return await _open(call, query, view.job)


async def _open(call: Call, query: EventsQuery, job: Job | None) -> web.StreamResponse:
    """Raises TooManyStreams, InvalidParameter."""
    last_seen = _last_seen(call.request, query)
    with (
        call.streams.enter(call.principal) as seat,
        call.services.bus.listen(call.owner) as listener,
        call.request.app[TAILS].of(call.owner) as tail,
    ):
        feed = Feed(call.services, call.owner, job, listener, tail)
        first = await feed.begin(last_seen)
        if await feed.ended_before():
            return web.Response(status=204)
        response = web.StreamResponse(headers=HEADERS)
        heartbeat_s = call.services.settings.server.heartbeat_s
        within_s = call.services.settings.limits.idle_read_s
        try:
            await response.prepare(call.request)
            hello = f"retry: {RETRY_MS}\n: connected {call.request_id} heartbeat={heartbeat_s:g}\n\n"
            await write(response, hello.encode() + first, within_s)
            await _tell(call, response, feed, seat, listener.wait)
            if seat.refused:
                await write(response, frame("stream.auth", {"type": "stream.auth"}), within_s)
            await response.write_eof()
        except (ConnectionError, TimeoutError) as error:
            log.debug("stream.left", reason=type(error).__name__)
            cut(call.request)
    return response


async def _tell(
    call: Call,
    response: web.StreamResponse,
    feed: Feed,
    seat: Seat,
    wait: Callable[[float], Awaitable[bool]],
) -> None:
    """Until the process stops, the job or the credentials are over, or the client is gone (ConnectionError,
    TimeoutError).
    """
    clock = asyncio.get_running_loop().time
    heartbeat_s = call.services.settings.server.heartbeat_s
    wrote_at = clock()
    while not (call.streams.closing.is_set() or feed.over or seat.refused):
        chunk = await feed.next()
        if not chunk and clock() - wrote_at >= heartbeat_s:
            chunk = b": hb\n\n"
        if chunk:
            await write(response, chunk, call.services.settings.limits.idle_read_s)
            wrote_at = clock()
        elif call.request.transport is None or call.request.transport.is_closing():
            return
        else:
            await wait(max(0.0, min(feed.idle_for(), wrote_at + heartbeat_s - clock())))


def _last_seen(request: web.Request, query: EventsQuery) -> int | None:
    header = request.headers.get("Last-Event-ID", "").strip()
    if not header:
        return query.last_event_id
    if not (header.isascii() and header.isdigit() and len(header) < 19):
        raise InvalidParameter("Last-Event-ID is the number of an event")
    return int(header)
