"""Handlers of exports: archives that are made as they are sent."""

from contextlib import aclosing

from aiohttp import web

from neuralib import exports, kits
from neuralib.assets import clean_name
from neuralib.packing import Archive, Wanted

from .calls import Call
from .content import disposition
from .replies import reply, send
from .schemas.exports import ArchiveQuery, Export, NewExport

ZIP = "application/zip"
MIDI = "audio/midi"


async def export_library(call: Call, query: ArchiveQuery) -> web.StreamResponse:
    """Raises NotFound, ValidationFailed, StorageUnavailable."""
    archive = await exports.of_library(call.services, call.owner, call.id("library"), query.wanted())
    return await _send(call, archive)


async def export_asset(call: Call, query: ArchiveQuery) -> web.StreamResponse:
    """Raises NotFound, ValidationFailed, StorageUnavailable."""
    archive = await exports.of_asset(call.services, call.owner, call.id("asset"), query.wanted())
    return await _send(call, archive)


async def get_sampler_kit(call: Call) -> web.StreamResponse:
    """Raises NotFound, ValidationFailed, StorageUnavailable."""
    return await _send(call, await kits.sampler_kit(call.services, call.owner, call.id("asset")))


async def get_multitrack(call: Call) -> web.Response:
    """Raises NotFound, InputUnsupported, ValidationFailed, StorageUnavailable."""
    name, content = await kits.multitrack_midi(call.services, call.owner, call.id("asset"))
    return web.Response(body=content, content_type=MIDI, headers={"Content-Disposition": _attachment(name)})


async def create_export(call: Call, body: NewExport) -> web.Response:
    """Raises NotFound."""
    export = await exports.create(
        call.services,
        call.owner,
        Wanted(body.include, body.name_template),
        library=body.library_id,
        assets=list(dict.fromkeys(body.asset_ids)),
        tree=body.tree,
        id=call.new_id(),
    )
    return reply(Export.of(export), 201, {"Location": f"/api/v1/exports/{export.id}"})


async def get_export(call: Call) -> web.Response:
    """Raises NotFound."""
    return reply(Export.of(await exports.get(call.services, call.owner, call.id("export"))))


async def get_export_content(call: Call) -> web.StreamResponse:
    """Raises NotFound, Gone, ValidationFailed, StorageUnavailable."""
    return await _send(call, await exports.archive(call.services, call.owner, call.id("export")))


async def _send(call: Call, archive: Archive) -> web.StreamResponse:
    """The length is known before, so a client sees when a reply was cut."""
    response = web.StreamResponse(headers={"Content-Disposition": _attachment(archive.file_name)})
    response.content_type = ZIP
    response.content_length = archive.size
    async with aclosing(archive.chunks()) as chunks:
        return await send(call.request, response, chunks, call.services.settings.limits.idle_read_s)


def _attachment(file_name: str) -> str:
    return disposition("attachment", clean_name(file_name).replace("/", "_"))
