"""POST /libraries/{library}/assets: multipart straight from the socket into the use case, chunk by chunk.

Memory does not grow with the files, every chunk has a deadline, and one bad file does not fail the others.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

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
    UnsupportedMediaType,
    ValidationFailed,
)

from .calls import Call, parse_json, refuse_content_encoding
from .problems import problem, status_of
from .replies import reply
from .schemas.assets import Asset, UploadMeta

CHUNK = 1 << 17
MAX_FILES = 100
MAX_META = 1 << 16
IDENTITY = frozenset({"", "7bit", "8bit", "binary", "identity"})


class _Digest:
    """Of a form: the names and bytes of its parts in their order, whatever boundary stands between them."""

    def __init__(self) -> None:
        self._whole, self._part = hashlib.sha256(), hashlib.sha256()

    def begin(self, part: BodyPartReader) -> None:
        self._whole.update(self._part.digest())
        self._part = hashlib.sha256(repr((part.name, part.filename)).encode(errors="surrogateescape"))

    def update(self, chunk: bytes) -> None:
        self._part.update(chunk)

    def end(self) -> str:
        self._whole.update(self._part.digest())
        return self._whole.hexdigest()


@dataclass(slots=True)
class _Body:
    """The request's body as it is read: `left` bytes may still come, each chunk within `idle_s` seconds, and all of
    them no slower than `bytes_per_s`.
    """

    left: int
    limit: int
    idle_s: float
    bytes_per_s: int
    digest: _Digest | None = None
    came: int = 0
    waited_s: float = 0.0
    """For the client alone: a slow store is not its fault."""

    async def parts(self, request: web.Request) -> AsyncGenerator[BodyPartReader, None]:
        """Every part in turn. Ends at the closing boundary; raises MalformedMultipart, RequestTimeout when the body
        cannot be followed to it.
        """
        async with self.reading():
            reader = await request.multipart()
        while True:
            async with self.reading():
                part = await reader.next()
            if part is None:
                return
            if not isinstance(part, BodyPartReader):
                raise MalformedMultipart("a part may not be multipart itself")
            if self.digest is not None:
                self.digest.begin(part)
            yield part

    async def chunks(self, part: BodyPartReader) -> AsyncGenerator[bytes, None]:
        """What is left of a part. Raises RequestTimeout, MalformedMultipart, PayloadTooLarge."""
        while not part.at_eof():
            async with self.reading():
                chunk = await part.read_chunk(CHUNK)
            self.left -= len(chunk)
            self.came += len(chunk)
            if self.came < (self.waited_s - self.idle_s) * self.bytes_per_s:
                raise RequestTimeout(f"less than {self.bytes_per_s} bytes came in a second")
            if self.left < 0:
                raise PayloadTooLarge(f"the files of one request may have {self.limit} bytes")
            if chunk:
                if self.digest is not None:
                    self.digest.update(chunk)
                yield chunk

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Around every read: what aiohttp raises for a body that is broken or stands still becomes ours."""
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self.idle_s):
                yield
            self.waited_s += asyncio.get_running_loop().time() - began
        except TimeoutError as error:
            raise RequestTimeout(f"no byte came for {self.idle_s:g} s") from error
        except (ValueError, LookupError, AssertionError, RuntimeError, HttpProcessingError, OSError) as error:
            raise MalformedMultipart("the multipart body is damaged or ends early") from error


@dataclass(slots=True)
class _Outcomes:
    """What became of each file, in their order."""

    call: Call
    items: list[dict[str, Any]] = field(default_factory=list)
    first_error: NeuralibError | None = None
    stored: list[str] = field(default_factory=list)

    def good(self, asset: dict[str, Any]) -> None:
        self.stored.append(asset["id"])
        self.items.append({"status": 201, "asset": asset})

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
    _check_head(call)
    await libraries.get(call.services, call.owner, call.id("library"))
    body = _body_of(call, _Digest() if call.keyed else None)
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
    _check_head(call)
    body = _body_of(call, digest := _Digest())
    async with aclosing(body.parts(call.request)) as parts:
        async for part in parts:
            await _read_over(part, body)
    return digest.end()


def _body_of(call: Call, digest: _Digest | None) -> _Body:
    limits = call.services.settings.limits
    return _Body(
        left=limits.upload_bytes + limits.body_bytes,
        limit=limits.upload_bytes,
        idle_s=limits.idle_body_s,
        bytes_per_s=limits.body_bytes_per_s,
        digest=digest,
    )


def _check_head(call: Call) -> None:
    """What can be refused before a byte of the body is read."""
    request, limits = call.request, call.services.settings.limits
    refuse_content_encoding(request)
    if request.content_type != "multipart/form-data":
        raise UnsupportedMediaType("this route takes multipart/form-data")
    if (request.content_length or 0) > limits.upload_bytes + limits.body_bytes:
        raise PayloadTooLarge(
            f"the body has {request.content_length} bytes, the limit is {limits.upload_bytes}"
        )


async def _take_parts(call: Call, body: _Body, outcomes: _Outcomes) -> None:
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
    call: Call, part: BodyPartReader, meta: UploadMeta | BadRequest | None, body: _Body, outcomes: _Outcomes
) -> None:
    """One file into the library, or its problem into the outcomes. Raises what ends the whole request."""
    async with aclosing(body.chunks(part)) as chunks:
        try:
            if isinstance(meta, BadRequest):
                raise meta
            _refuse_encoding(part)
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
            outcomes.good(Asset.of(asset))
            return
    await _read_over(part, body)


async def _read_over(part: BodyPartReader, body: _Body) -> None:
    async with aclosing(body.chunks(part)) as rest:
        async for _ in rest:
            pass


async def _meta(part: BodyPartReader, body: _Body) -> UploadMeta | BadRequest:
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


def _refuse_encoding(part: BodyPartReader) -> None:
    for header in ("Content-Encoding", "Content-Transfer-Encoding"):
        if part.headers.get(header, "").strip().lower() not in IDENTITY:
            raise UnsupportedMediaType(f"send the part without {header}")


def _unknown_part(name: str | None) -> ValidationFailed:
    fields = [FieldError(f"/{name or ''}", "extra_forbidden", "parts are named `file` or `meta`")]
    return ValidationFailed("the form has a part that is neither `file` nor `meta`", fields=fields)
