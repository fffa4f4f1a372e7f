"""What goes out: JSON bodies, pages, ETags, streams of bytes that a stuck client cannot hold up for ever."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog
from aiohttp import web

from neuralib.errors import NeuralibError

from .calls import Call, encode_cursor

log = structlog.get_logger(__name__)


def reply(
    body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON body."""
    return web.Response(
        status=status,
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"),
        content_type="application/json",
        charset="utf-8",
        headers=headers,
    )


def versioned(
    call: Call,
    version: int,
    body: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A JSON body with its ETag, or 304 when the client has it already."""
    digest = hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=6).hexdigest()
    tag = f'"{version}-{digest}"'
    sent = {"ETag": tag, "Cache-Control": "private, no-cache", **(headers or {})}
    if call.request.method in {"GET", "HEAD"} and has_tag(call.request.headers.get("If-None-Match"), tag):
        return web.Response(status=304, headers=sent)
    return reply(body, status, sent)


def has_tag(header: str | None, tag: str) -> bool:
    """Whether an `If-None-Match` names the tag; weak tags count (RFC 9110, 13.1.2)."""
    if header is None:
        return False
    return header.strip() == "*" or tag in re.findall(r'"[^"]*"', header)


def page(
    call: Call, items: Sequence[Mapping[str, Any]], more_after: UUID | str | None, **more: Any
) -> web.Response:
    """One page; `more_after` is the last id on it, or a cursor, when there is another."""
    cursor = encode_cursor(more_after) if isinstance(more_after, UUID) else more_after
    headers = {}
    if cursor is not None:
        following = call.request.rel_url.update_query(cursor=cursor)
        headers["Link"] = f'<{following.raw_path_qs}>; rel="next"'
    return reply({"items": list(items), "next_cursor": cursor, **more}, headers=headers)


async def write(response: web.StreamResponse, chunk: bytes, within_s: float) -> None:
    """Raises TimeoutError when the client takes nothing, ConnectionError when it left."""
    async with asyncio.timeout(within_s):
        await response.write(chunk)


async def send(
    request: web.Request, response: web.StreamResponse, chunks: AsyncGenerator[bytes, None], within_s: float
) -> web.StreamResponse:
    """The chunks as the body. The first is fetched before the head is sent, so that a store that is away can still be
    told; when it goes away later the connection is cut.
    """
    chunk = await anext(chunks, b"")
    try:
        await response.prepare(request)
        await write(response, chunk, within_s)
        async for chunk in chunks:
            await write(response, chunk, within_s)
        await response.write_eof()
    except (ConnectionError, TimeoutError) as error:
        log.info("reply.left", reason=type(error).__name__)
        cut(request)
    except NeuralibError as error:
        log.warning("reply.cut", code=error.code, detail=error.detail)
        cut(request)
    return response


def cut(request: web.Request) -> None:
    """End the connection at once: the only way to say that a reply which has begun will not be whole."""
    if request.transport is not None:
        request.transport.abort()
