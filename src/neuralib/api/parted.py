"""Handlers of /uploads: files that come in parts."""

import re

from aiohttp import web

from neuralib import assets, uploads
from neuralib.errors import NotFound

from .calls import Call, refuse_content_encoding
from .multipart import body_of
from .peaks import AGAIN_AFTER_S
from .replies import reply
from .schemas.assets import UploadOutcome
from .schemas.uploads import LinksQuery, NewUpload, PartLinks, Upload


async def create_upload(call: Call, body: NewUpload) -> web.Response:
    announced = uploads.Announced(
        library=body.library_id,
        filename=body.filename,
        bytes=body.bytes,
        sha256=body.sha256,
        name=body.meta.name,
        role=body.meta.role,
        id=call.new_id() if call.keyed else None,
    )
    upload = await uploads.begin(call.services, call.owner, announced)
    return reply(Upload.of(upload), 201, {"Location": f"/api/v1/uploads/{upload.id}"})


async def get_upload(call: Call) -> web.Response:
    upload, parts = await uploads.get(call.services, call.owner, call.id("upload"))
    return reply(Upload.of(upload, parts))


async def list_links(call: Call, query: LinksQuery) -> web.Response:
    id_ = call.id("upload")
    links = await uploads.links(call.services, call.owner, id_, query.first, query.last)
    return reply(PartLinks.of(id_, links), headers={"Cache-Control": "no-store"})


async def put_part(call: Call) -> web.Response:
    """One part, as it comes. Raises NotFound, ValidationFailed, RequestTimeout, StorageUnavailable."""
    upload, size = await uploads.expected(call.services, call.owner, call.id("upload"), _number(call))
    refuse_content_encoding(call.request)
    length = call.request.content_length
    if length is not None and length != size:
        raise uploads.wrong_length(_number(call), size, length)
    chunks = body_of(call, None).octets(call.request.content)
    await uploads.put_part(call.services, upload, _number(call), size, chunks)
    return web.Response(status=204)


async def complete_upload(call: Call) -> web.Response:
    id_ = call.id("upload")
    asset = await uploads.complete(call.services, call.owner, id_)
    if asset is None:
        upload, parts = await uploads.get(call.services, call.owner, id_)
        return reply(Upload.of(upload, parts), 202, {"Retry-After": str(AGAIN_AFTER_S)})
    double = await assets.duplicate_of(call.services, asset)
    return reply(UploadOutcome.of(asset, double), 201, {"Location": f"/api/v1/assets/{asset.id}"})


async def delete_upload(call: Call) -> web.Response:
    await uploads.abort(call.services, call.owner, call.id("upload"))
    return web.Response(status=204)


def _number(call: Call) -> int:
    """Raises NotFound: what is no number names no part."""
    text = call.request.match_info["number"]
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise NotFound("there is no part with this number")
    return int(text)
