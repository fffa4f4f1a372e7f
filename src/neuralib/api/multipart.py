"""multipart/form-data straight from the socket, chunk by chunk: every chunk has a deadline, and memory does not grow with
the body.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from aiohttp import BodyPartReader, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from neuralib.errors import MalformedMultipart, PayloadTooLarge, RequestTimeout, UnsupportedMediaType

from .calls import Call, refuse_content_encoding

CHUNK = 1 << 17
IDENTITY = frozenset({"", "7bit", "8bit", "binary", "identity"})


class FormDigest:
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
class Body:
    """The request's body as it is read: `left` bytes may still come, each chunk within `idle_s` seconds, and all of
    them no slower than `bytes_per_s`.
    """

    left: int
    limit: int
    idle_s: float
    bytes_per_s: int
    digest: FormDigest | None = None
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
            self._count(chunk)
            if chunk:
                if self.digest is not None:
                    self.digest.update(chunk)
                yield chunk

    async def octets(self, content: StreamReader) -> AsyncGenerator[bytes, None]:
        """A body that is nothing but bytes. Raises RequestTimeout, MalformedMultipart, PayloadTooLarge."""
        while True:
            async with self.reading():
                chunk = await content.read(CHUNK)
            if not chunk:
                return
            self._count(chunk)
            yield chunk

    def _count(self, chunk: bytes) -> None:
        self.left -= len(chunk)
        self.came += len(chunk)
        if self.came < (self.waited_s - self.idle_s) * self.bytes_per_s:
            raise RequestTimeout(f"less than {self.bytes_per_s} bytes came in a second")
        if self.left < 0:
            raise PayloadTooLarge(f"one request may bring {self.limit} bytes here")

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


def body_of(call: Call, digest: FormDigest | None) -> Body:
    limits = call.services.settings.limits
    return Body(
        left=limits.upload_bytes + limits.body_bytes,
        limit=limits.upload_bytes,
        idle_s=limits.idle_body_s,
        bytes_per_s=limits.body_bytes_per_s,
        digest=digest,
    )


def check_head(call: Call) -> None:
    """What can be refused before a byte of the body is read."""
    request, limits = call.request, call.services.settings.limits
    refuse_content_encoding(request)
    if request.content_type != "multipart/form-data":
        raise UnsupportedMediaType("this route takes multipart/form-data")
    if (request.content_length or 0) > limits.upload_bytes + limits.body_bytes:
        raise PayloadTooLarge(
            f"the body has {request.content_length} bytes, the limit is {limits.upload_bytes}"
        )


async def read_over(part: BodyPartReader, body: Body) -> None:
    async with aclosing(body.chunks(part)) as rest:
        async for _ in rest:
            pass


def refuse_encoding(part: BodyPartReader) -> None:
    for header in ("Content-Encoding", "Content-Transfer-Encoding"):
        if part.headers.get(header, "").strip().lower() not in IDENTITY:
            raise UnsupportedMediaType(f"send the part without {header}")
