"""What comes in: the ids in the path, the query, the JSON body. Everything is checked before a handler runs."""

import asyncio
import json
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ValidationError

from neuralib.entities import new_id, nth_id
from neuralib.errors import (
    FieldError,
    InvalidCursor,
    InvalidJSON,
    InvalidParameter,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
    RequestTimeout,
    UnsupportedMediaType,
    ValidationFailed,
)
from neuralib.services import Services

from .auth import Principal
from .streams import Streams

Model = TypeVar("Model", bound=BaseModel)

MAX_WAIT_S = 60.0
_PREFER_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])")


@dataclass(slots=True)
class Keyed:
    """What a request has that carries an Idempotency-Key; see idempotency.py."""

    first_id: UUID
    fingerprint: str | None
    form_digest: str | None = None
    """Of a multipart body, once it has been read to its end."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and all that a handler needs to carry it out."""

    request: web.Request
    services: Services
    principal: Principal
    streams: Streams
    request_id: str
    keyed: Keyed | None = None

    def new_id(self, n: int = 0) -> UUID:
        """What the n-th thing that this request makes is called: the same each time a request with an Idempotency-Key
        is carried out.
        """
        return nth_id(self.keyed.first_id, n) if self.keyed else new_id()

    @property
    def owner(self) -> UUID:
        """Every query is bound to it."""
        return self.principal.owner

    def id(self, name: str) -> UUID:
        """An id in the path. Raises NotFound: what cannot be an id names nothing."""
        text = self.request.match_info[name]
        try:
            id_ = UUID(text)
        except ValueError:
            id_ = None
        if id_ is None or str(id_) != text.lower():
            raise NotFound(f"there is no {name} with this id")
        return id_

    def expect(self, version: int) -> int | None:
        """The version that `If-Match` asks for, None without one. Raises PreconditionFailed when it is not
        `version`.
        """
        header = self.request.headers.get("If-Match")
        if header is None:
            return None
        if header.strip() != "*" and version not in _versions(header):
            raise PreconditionFailed(f"it is at version {version} now")
        return version

    def wanted_wait(self) -> float | None:
        """Seconds that `Prefer: wait=N` asks for, at most 60."""
        found = _PREFER_WAIT.search(self.request.headers.get("Prefer", ""))
        return min(float(found[1]), MAX_WAIT_S) if found else None


# ── query ─────────────────────────────────────────────────────────────────────────────────────────────


def read_query(request: web.Request, model: type[Model]) -> Model:
    """The query as a model. Raises InvalidParameter for one that is unknown, repeated or malformed."""
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            raise _wrong_parameter(
                [FieldError(f"/query/{_escaped(name)}", "repeated", "may be given only once")]
            )
        if "\0" in value:
            raise _wrong_parameter([FieldError(f"/query/{_escaped(name)}", "nul", "may not contain NUL")])
        given[name] = value
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _wrong_parameter(field_errors(error, "/query")) from error


def _wrong_parameter(fields: Sequence[FieldError]) -> InvalidParameter:
    return InvalidParameter(
        f"{fields[0].pointer.removeprefix('/query/')}: {fields[0].message}", fields=fields
    )


# ── JSON ──────────────────────────────────────────────────────────────────────────────────────────────


async def read_json(
    request: web.Request, model: type[Model], media_types: Sequence[str], limit: int, idle_s: float
) -> Model:
    """The body as a model. Raises UnsupportedMediaType, PayloadTooLarge, RequestTimeout, InvalidJSON,
    ValidationFailed with a JSON pointer for each field that is wrong.
    """
    refuse_content_encoding(request)
    if request.content_type not in media_types:
        raise UnsupportedMediaType(f"this route takes {' or '.join(media_types)}")
    if (request.content_length or 0) > limit:
        raise PayloadTooLarge(f"the body has {request.content_length} bytes, the limit is {limit}")
    try:
        async with asyncio.timeout(idle_s):
            raw = await request.read()
    except TimeoutError as error:
        raise RequestTimeout(f"the body was not complete within {idle_s:g} s") from error
    return parse_json(raw, model)


def parse_json(raw: bytes | bytearray, model: type[Model]) -> Model:
    """JSON text as a model, types taken strictly. Raises InvalidJSON, ValidationFailed."""
    try:
        parsed = json.loads(raw, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InvalidJSON(f"the body is not JSON: {error}") from error
    if holds_nul(parsed):
        raise InvalidJSON("text may not contain NUL (U+0000)")
    try:
        return model.model_validate_json(raw, strict=True)
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] == "json_invalid":
            raise InvalidJSON("the body is not JSON that can be kept: check its escapes") from error
        fields = field_errors(error)
        raise ValidationFailed(f"{fields[0].pointer}: {fields[0].message}", fields=fields) from error


def field_errors(error: ValidationError, root: str = "") -> list[FieldError]:
    """What pydantic found, with JSON pointers."""
    return [
        FieldError(root + "".join(f"/{_escaped(str(part))}" for part in e["loc"]), e["type"], e["msg"])
        for e in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def holds_nul(value: Any) -> bool:
    """Whether some text in a parsed JSON value holds NUL, which PostgreSQL cannot keep."""
    match value:
        case str():
            return "\0" in value
        case dict():
            return any("\0" in key or holds_nul(item) for key, item in value.items())
        case list():
            return any(holds_nul(item) for item in value)
        case _:
            return False


def refuse_content_encoding(request: web.Request) -> None:
    """A few compressed kilobytes may unfold to gigabytes. Raises UnsupportedMediaType."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise UnsupportedMediaType("send the body without Content-Encoding")


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


# ── versions and cursors ──────────────────────────────────────────────────────────────────────────────


def _versions(header: str) -> set[int]:
    """The versions in a list of our ETags, which are `"version-digest"`; a bare version counts too."""
    return {int(number) for number in re.findall(r'"(\d{1,9})(?:-[0-9a-f]+)?"', header)}


def encode_cursor(last: UUID) -> str:
    """Opaque to clients. It is a place in an order and opens nothing: every query is bound to its owner, so it needs
    no signature, only a strict reading.
    """
    return urlsafe_b64encode(b"\1" + last.bytes).decode().rstrip("=")


def decode_cursor(text: str | None) -> UUID | None:
    """The last id of the page before. Raises InvalidCursor unless `encode_cursor` made the text."""
    if text is None:
        return None
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        last = UUID(bytes=raw[1:])
    except ValueError as error:
        raise InvalidCursor from error
    if encode_cursor(last) != text:
        raise InvalidCursor
    return last
