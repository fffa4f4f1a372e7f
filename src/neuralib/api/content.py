"""GET /assets/{asset}/content: the bytes, whole or one range of them (RFC 9110, 13 and 14)."""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote

from aiohttp import web

from neuralib import assets, entities, renditions
from neuralib.assets import split_name
from neuralib.errors import AssetEvicted, NotFound, RangeNotSatisfiable, StorageUnavailable

from .calls import Call
from .peaks import rendering
from .replies import has_tag, reply, send
from .schemas.content import ContentLink, ContentQuery, NewLink


@dataclass(frozen=True, slots=True)
class _Source:
    """What is sent of an asset: its own bytes, or the preview made from them."""

    asset: entities.Asset
    key: str
    bytes: int
    media_type: str
    tag: str
    name: str


async def get_content(call: Call, query: ContentQuery) -> web.StreamResponse:
    """Raises NotFound, AssetEvicted, NotAudio, RangeNotSatisfiable, StorageUnavailable, TooBusy."""
    asset = await assets.get(call.services, call.owner, call.id("asset"))
    source = await _source(call, asset, query.variant)
    if source is None:
        return rendering()
    request, size = call.request, source.bytes
    headers = _headers(source, download=query.download)
    if query.redirect and request.method == "GET":
        link = await _link(call, source, headers, call.services.settings.storage.link_s)
        if link is not None:
            return web.Response(status=302, headers={"Location": link, "Cache-Control": "no-store"})
    if has_tag(request.headers.get("If-None-Match"), headers["ETag"]):
        return web.Response(status=304, headers=headers)
    span = None
    if _range_applies(request.headers.get("If-Range"), headers):
        span = parse_range(request.headers.get("Range"), size)
    start, stop = span or (0, size)
    response = web.StreamResponse(status=206 if span else 200, headers=headers)
    response.content_type = source.media_type
    response.content_length = stop - start
    if span:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    if request.method == "HEAD" or start == stop:
        await response.prepare(request)
        return response
    async with aclosing(_content(call, source, start, stop)) as chunks:
        return await send(request, response, chunks, call.services.settings.limits.idle_read_s)


async def create_link(call: Call, body: NewLink) -> web.Response:
    """A URL for whoever cannot send credentials, such as a player. Raises what `get_content` raises."""
    asset = await assets.get(call.services, call.owner, call.id("asset"))
    source = await _source(call, asset, body.variant)
    if source is None:
        return rendering()
    download = body.disposition == "attachment"
    headers = _headers(source, download=download)
    signed = await _link(call, source, headers, body.ttl_s)
    ours = f"/api/v1/assets/{asset.id}/content?variant={body.variant}&download={str(download).lower()}"
    expires_at = datetime.now(UTC) + timedelta(seconds=body.ttl_s) if signed else None
    link = ContentLink(url=signed or ours, signed=signed is not None, expires_at=expires_at)
    return reply(link.model_dump(mode="json"), 201, {"Cache-Control": "no-store"})


async def _source(call: Call, asset: entities.Asset, variant: str) -> _Source | None:
    """None: it is being made."""
    if variant == "preview":
        made = await renditions.preview(call.services, asset)
        tag = f"{asset.blob.sha256}-{renditions.PREVIEW}"
        if made is None:
            return None
        name = f"{split_name(asset)[0]}.mp3"
        return _Source(asset, made.key, made.bytes, made.media_type, tag, name)
    blob = asset.blob
    if blob.evicted:
        raise AssetEvicted(f"the bytes of asset {asset.id} were let go")
    return _Source(asset, blob.key, blob.bytes, blob.media_type, blob.sha256, file_name(asset))


async def _link(call: Call, source: _Source, headers: Mapping[str, str], ttl_s: int) -> str | None:
    """None: clients cannot reach the store."""
    return await call.services.objects.link(
        source.key, ttl_s, content_type=source.media_type, disposition=headers["Content-Disposition"]
    )


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes [start, stop) that a Range header asks for, or None when the whole is to be sent: without a header,
    with one that we cannot read, and with several ranges, which nobody has to serve. Raises RangeNotSatisfiable.
    """
    found = re.fullmatch(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})", (header or "").strip(), re.ASCII)
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, stop = max(0, size - int(found[2])), size
    else:
        start, stop = int(found[1]), min(int(found[2]) + 1 if found[2] else size, size)
        if found[2] and int(found[2]) < start:
            return None
    if start >= stop:
        raise RangeNotSatisfiable(size)
    return start, stop


def disposition(kind: str, name: str) -> str:
    """A Content-Disposition (RFC 6266) that old and new clients read."""
    plain = re.sub(r"[^ !#$&+\-.0-9A-Z\[\]^_`a-z{}~()]", "_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _headers(source: _Source, *, download: bool) -> dict[str, str]:
    created_at = source.asset.created_at.replace(microsecond=0)
    name = source.name.replace("/", "_")
    return {
        "ETag": f'"{source.tag}"',
        "Last-Modified": format_datetime(created_at, usegmt=True),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Disposition": disposition("attachment" if download else "inline", name),
    }


def file_name(asset: entities.Asset) -> str:
    """The asset's name with the suffix of what it is."""
    return "".join(split_name(asset)).replace("/", "_")


def _range_applies(if_range: str | None, headers: dict[str, str]) -> bool:
    return if_range is None or if_range.strip() in {headers["ETag"], headers["Last-Modified"]}


async def _content(call: Call, source: _Source, start: int, stop: int) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(call.services.objects.read(source.key, start, stop)) as chunks:
            async for chunk in chunks:
                yield chunk
    except NotFound as error:
        await assets.get(
            call.services, call.owner, source.asset.id
        )  # deleted meanwhile: that is its own answer
        raise StorageUnavailable(
            f"the bytes of asset {source.asset.id} are missing: key {source.key}"
        ) from error
