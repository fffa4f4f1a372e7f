"""What a route is: its name, who handles it, what goes in and what comes out."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import BaseModel

from neuralib import errors
from neuralib.api.calls import Call
from neuralib.api.schemas.base import NoQuery
from neuralib.entities import Scope
from neuralib.errors import NeuralibError

V1 = "/api/v1"
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
FORM = "multipart/form-data"
SSE = "text/event-stream"
HTML = "text/html"
ANY = "*/*"
"""Of bytes that have a type of their own: it is in `blob.media_type`."""

Handler = Callable[..., Awaitable[web.StreamResponse]]
"""Called with a Call, and with `query` and `body` when the route has them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One way a route may answer when all goes well."""

    description: str
    model: type[BaseModel] | None = None
    media_type: str | None = None
    headers: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    """Media types that it has instead when the request asks for them."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path."""

    name: str
    method: str
    path: str
    handler: Handler
    summary: str
    answers: Mapping[int, Answer]
    scope: Scope | None = field(kw_only=True)
    """What its caller's credentials must reach; None: it answers without any."""
    limited: bool = field(default=True, kw_only=True)
    """Whether it counts against the rate of requests."""
    query: type[BaseModel] = NoQuery
    body: type[BaseModel] | None = None
    """Of a JSON body, read and checked before the handler runs."""
    form: type[BaseModel] | None = None
    """Of a multipart body, which the handler reads itself."""
    octets: bool = False
    """Whether the body is nothing but bytes, which the handler reads itself."""
    skim: Callable[[Call], Awaitable[str]] | None = None
    """Reads a multipart body and gives its digest, the one that the handler notes in `call.keyed`."""
    media_types: tuple[str, ...] = (JSON,)
    headers: Mapping[str, str] = field(default_factory=dict)
    """Request headers that the route understands, and what they do."""
    problems: tuple[type[NeuralibError], ...] = ()
    """What the handler raises; what every route may raise is added by `every_problem`."""


def every_problem(route: Route) -> list[type[NeuralibError]]:
    """Everything that a route may answer when not all goes well."""
    common: list[type[NeuralibError]] = [errors.NeuralibError, errors.InvalidParameter, errors.CrossOrigin]
    common += [errors.RateLimited] if route.limited else []
    if route.scope is not None:
        common += [
            errors.Unauthenticated,
            errors.TokenExpired,
            errors.InsufficientScope,
            errors.DatabaseUnavailable,
            errors.StorageFull,
            errors.IssuerUnavailable,
        ]
    if "{" in route.path:
        common += [errors.NotFound]
    if route.body is not None:
        common += [errors.InvalidJSON, errors.ValidationFailed]
    if route.body is not None or route.form is not None or route.octets:
        common += [errors.PayloadTooLarge, errors.UnsupportedMediaType, errors.RequestTimeout]
    if route.method == "POST":
        common += [errors.IdempotencyInProgress, errors.IdempotencyKeyReused, errors.Conflict]
    return list(dict.fromkeys([*common, *route.problems]))


def known_headers(route: Route) -> Mapping[str, str]:
    """What a route understands, and what they do."""
    return {**route.headers, **IDEMPOTENCY} if route.method == "POST" else route.headers


def json_of(model: type[BaseModel], description: str = "As asked.", *headers: str) -> Answer:
    return Answer(description, model, JSON, headers)


IDEMPOTENCY = {
    "Idempotency-Key": "Up to 255 characters that name this request. Sent again within 24 hours, it is answered as the "
    "first time, with `Idempotent-Replayed: true`, and nothing is done twice."
}
IF_MATCH = {"If-Match": "Only when the ETag still has this version."}
IF_NONE_MATCH = {"If-None-Match": "Answer 304 when the ETag is still this one."}
LAST_EVENT_ID = {"Last-Event-ID": "The number of the last event that was seen: go on after it."}
UNCHANGED = Answer("You have it already.", headers=("ETag",))
GONE = Answer("Done.")
PUBLIC = None
