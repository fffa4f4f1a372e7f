"""POST /libraries/{library}/assets: multipart straight from the socket into the use case, chunk by chunk.

Memory does not grow with the files, every chunk has a deadline, and one bad file does not fail the others.
"""

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from neuralib import assets, libraries
from neuralib.errors import (
    BadRequest,
    EmptyUpload,
    FieldError,
    IdempotencyKeyReused,
    MalformedMultipart,
    NeuralibError,
    PayloadTooLarge,
    RequestTimeout,
    ValidationFailed,
)

from .calls import Call, parse_json
from .multipart import Body, FormDigest, body_of, check_head, read_over, refuse_encoding
from .problems import problem, status_of
from .replies import reply
from .schemas.assets import UploadMeta, UploadOutcome

MAX_FILES = 100
MAX_META = 1 << 16


@dataclass(slots=True)
class _Outcomes:
    """What became of each file, in their order."""

    call: Call
    items: list[dict[str, Any]] = field(default_factory=list)
    first_error: NeuralibError | None = None
    stored: list[str] = field(default_factory=list)

    def good(self, item: dict[str, Any]) -> None:
        self.stored.append(item["asset"]["id"])
        self.items.append(item)

    def bad(self, error: NeuralibError) -> None:
        self.first_error = self.first_error or error
        path = self.call.request.rel_url.raw_path
        body = problem(error, instance=path, request_id=self.call.request_id)
        self.items.append({"status": status_of(type(error)), "problem": body})

    def reply(self) -> web.Response:
        """201 when at least one file is in. Raises the first error when none is."""
        if not self.stored:
            raise self.first_error or EmptyUpload("the request has no part named `file`")
        headers = {"Location": f"/api/v1/assets/{self.stored[0]}"} if len(self.items) == 1 else None
        return reply({"items": self.items}, 201, headers)


async def upload_assets(call: Call) -> web.Response:
    """Raises what `assets.upload` raises, when no file could be taken."""
    check_head(call)
    await libraries.get(call.services, call.owner, call.id("library"))
    body = body_of(call, FormDigest() if call.keyed else None)
    outcomes = _Outcomes(call)
    complete = False
    try:
        await _take_parts(call, body, outcomes)
        complete = True
    except NeuralibError as error:  # the rest of the body cannot be read, or is not wanted any more
        outcomes.bad(error)
    if call.keyed and body.digest and complete:
        call.keyed.form_digest = body.digest.end()
    response = outcomes.reply()
    if not complete:
        response.force_close()
    return response


async def skim(call: Call) -> str:
    """Reads the files and keeps nothing but their digest."""
    check_head(call)
    body = body_of(call, digest := FormDigest())
    async with aclosing(body.parts(call.request)) as parts:
        async for part in parts:
            await read_over(part, body)
    return digest.end()


async def _take_parts(call: Call, body: Body, outcomes: _Outcomes) -> None:
    """Every part in turn. Raises what ends the whole request."""
    meta: UploadMeta | BadRequest | None = None
    async with aclosing(body.parts(call.request)) as parts:
        async for part in parts:
            if part.name == "meta":
                meta = await _meta(part, body)
            elif part.name != "file":
                raise _unknown_part(part.name)
            elif len(outcomes.items) >= MAX_FILES:
                raise ValidationFailed(f"one request may bring {MAX_FILES} files")
            else:
                await _take_file(call, part, meta, body, outcomes)
                meta = None


async def _take_file(
    call: Call, part: BodyPartReader, meta: UploadMeta | BadRequest | None, body: Body, outcomes: _Outcomes
) -> None:
    """One file into the library, or its problem into the outcomes. Raises what ends the whole request."""
    async with aclosing(body.chunks(part)) as chunks:
        try:
            if isinstance(meta, BadRequest):
                raise meta
            refuse_encoding(part)
            given = meta or UploadMeta()
            incoming = assets.Upload(
                part.filename or "untitled",
                chunks,
                name=given.name,
                role=given.role,
                id=call.new_id(len(outcomes.items)),
            )
            asset = await assets.upload(call.services, call.owner, call.id("library"), incoming)
        except (MalformedMultipart, RequestTimeout, PayloadTooLarge, IdempotencyKeyReused):
            raise
        except BadRequest as error:
            outcomes.bad(error)
        else:
            double = await assets.duplicate_of(call.services, asset)
            outcomes.good(UploadOutcome.of(asset, double))
            return
    await read_over(part, body)


async def _meta(part: BodyPartReader, body: Body) -> UploadMeta | BadRequest:
    """The meta part, or what is wrong with it: that is told for the file it belongs to."""
    raw = bytearray()
    async with aclosing(body.chunks(part)) as chunks:
        async for chunk in chunks:
            raw += chunk
            if len(raw) > MAX_META:
                raise PayloadTooLarge(f"a meta part may have {MAX_META} bytes")
    try:
        return parse_json(raw, UploadMeta)
    except BadRequest as error:
        return error


def _unknown_part(name: str | None) -> ValidationFailed:
    fields = [FieldError(f"/{name or ''}", "extra_forbidden", "parts are named `file` or `meta`")]
    return ValidationFailed("the form has a part that is neither `file` nor `meta`", fields=fields)
