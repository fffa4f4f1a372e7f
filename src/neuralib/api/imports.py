"""POST /libraries/{library}/imports: an archive of ours, straight from the socket to disk, and from there into the library."""

from contextlib import aclosing
from pathlib import Path

from aiohttp import web

from neuralib import assets, imports, libraries
from neuralib.errors import EmptyUpload, FieldError, ValidationFailed

from .calls import Call
from .multipart import Body, FormDigest, body_of, check_head, refuse_encoding
from .replies import reply
from .schemas.exports import ImportResult


async def import_archive(call: Call) -> web.Response:
    """201 when something was restored, 200 when all of it was there. Raises what `imports.restore` raises."""
    check_head(call)
    library = call.id("library")
    await libraries.get(call.services, call.owner, library)
    with assets.scratch(call.services.settings.worker.scratch) as folder:
        path = folder / "archive"
        body = body_of(call, FormDigest() if call.keyed else None)
        await _receive(call, body, path)
        if call.keyed and body.digest:
            call.keyed.form_digest = body.digest.end()
        restored = await imports.restore(call.services, call.owner, library, path)
    return reply(ImportResult.of(library, restored), 201 if restored.made else 200)


async def _receive(call: Call, body: Body, path: Path) -> None:
    """The whole form; its one file lies in `path`."""
    settings = call.services.settings
    received = False
    async with aclosing(body.parts(call.request)) as parts:
        async for part in parts:
            if part.name != "file" or received:
                fields = [
                    FieldError(
                        f"/{part.name or ''}", "extra_forbidden", "the form has one part, named `file`"
                    )
                ]
                raise ValidationFailed("the form must have one part, named `file`", fields=fields)
            refuse_encoding(part)
            received = True
            async with aclosing(body.chunks(part)) as chunks:
                await assets.spool(chunks, path, settings.limits.upload_bytes, assets.scratch_room(settings))
    if not received:
        raise EmptyUpload("the request has no part named `file`")
