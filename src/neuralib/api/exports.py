"""Handlers of exports: archives that are made as they are sent."""

from contextlib import aclosing

from aiohttp import web

from neuralib import exports
from neuralib.assets import clean_name
from neuralib.exports import Archive

from .calls import Call
from .content import disposition
from .replies import send
from .schemas.exports import ArchiveQuery

ZIP = "application/zip"


async def export_library(call: Call, query: ArchiveQuery) -> web.StreamResponse:
    """Raises NotFound, ValidationFailed, StorageUnavailable."""
    archive = await exports.of_library(call.services, call.owner, call.id("library"), query.wanted())
    return await _send(call, archive)


async def export_asset(call: Call, query: ArchiveQuery) -> web.StreamResponse:
    """Raises NotFound, ValidationFailed, StorageUnavailable."""
    archive = await exports.of_assets(call.services, call.owner, [call.id("asset")], query.wanted())
    return await _send(call, archive)


async def _send(call: Call, archive: Archive) -> web.StreamResponse:
    """The length is known before, so a client sees when a reply was cut."""
    name = clean_name(archive.name).replace("/", "_")
    response = web.StreamResponse(headers={"Content-Disposition": disposition("attachment", f"{name}.zip")})
    response.content_type = ZIP
    response.content_length = archive.size
    async with aclosing(archive.chunks()) as chunks:
        return await send(call.request, response, chunks, call.services.settings.limits.idle_read_s)
