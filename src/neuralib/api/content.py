"""GET /assets/{asset}/content: the bytes, whole or one range of them (RFC 9110, 13 and 14)."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from email.utils import format_datetime
from urllib.parse import quote

from aiohttp import web

from neuralib import assets, entities
from neuralib.assets import split_name
from neuralib.errors import AssetEvicted, NotFound, RangeNotSatisfiable, StorageUnavailable

from .calls import Call
from .replies import has_tag, send
from .schemas.assets import ContentQuery


async def get_content(call: Call, query: ContentQuery) -> web.StreamResponse:
    """Raises NotFound, AssetEvicted, RangeNotSatisfiable, StorageUnavailable."""
    asset = await assets.get(call.services, call.owner, call.id("asset"))
    if asset.blob.evicted:
        raise AssetEvicted(f"the bytes of asset {asset.id} were let go")
    request, size = call.request, asset.blob.bytes
    headers = _headers(asset, download=query.download)
    if has_tag(request.headers.get("If-None-Match"), headers["ETag"]):
        return web.Response(status=304, headers=headers)
    span = None
    if _range_applies(request.headers.get("If-Range"), headers):
        span = parse_range(request.headers.get("Range"), size)
    start, stop = span or (0, size)
    response = web.StreamResponse(status=206 if span else 200, headers=headers)
    response.content_type = asset.blob.media_type
    response.content_length = stop - start
    if span:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    if request.method == "HEAD" or start == stop:
        await response.prepare(request)
        return response
    async with aclosing(_content(call, asset, start, stop)) as chunks:
        return await send(request, response, chunks, call.services.settings.limits.idle_read_s)


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


def _headers(asset: entities.Asset, *, download: bool) -> dict[str, str]:
    return {
        "ETag": f'"{asset.blob.sha256}"',
        "Last-Modified": format_datetime(asset.created_at.replace(microsecond=0), usegmt=True),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Disposition": disposition("attachment" if download else "inline", file_name(asset)),
    }


def file_name(asset: entities.Asset) -> str:
    """The asset's name with the suffix of what it is."""
    return "".join(split_name(asset)).replace("/", "_")


def _range_applies(if_range: str | None, headers: dict[str, str]) -> bool:
    return if_range is None or if_range.strip() in {headers["ETag"], headers["Last-Modified"]}


async def _content(call: Call, asset: entities.Asset, start: int, stop: int) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(assets.content(call.services, asset, start, stop)) as chunks:
            async for chunk in chunks:
                yield chunk
    except NotFound as error:
        await assets.get(call.services, call.owner, asset.id)  # deleted meanwhile: that is its own answer
        raise StorageUnavailable(
            f"the bytes of asset {asset.id} are missing: key {asset.blob.key}"
        ) from error
