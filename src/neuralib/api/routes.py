"""Every route in one table: what it is called, who handles it, what goes in and what comes out.

`make_app` registers from it, openapi.py documents from it, and a test walks both.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import BaseModel

from neuralib import errors
from neuralib.entities import Scope
from neuralib.errors import NeuralibError

from . import assets, content, docs, events, health, jobs, keys, libraries, models, schemas, sessions, uploads
from .calls import Call

V1 = "/api/v1"
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
FORM = "multipart/form-data"
SSE = "text/event-stream"
HTML = "text/html"
OCTETS = "application/octet-stream"

Handler = Callable[..., Awaitable[web.StreamResponse]]
"""Called with a Call, and with `query` and `body` when the route has them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One way a route may answer when all goes well."""

    description: str
    model: type[BaseModel] | None = None
    media_type: str | None = None
    headers: tuple[str, ...] = ()


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
    query: type[BaseModel] = schemas.NoQuery
    body: type[BaseModel] | None = None
    """Of a JSON body, read and checked before the handler runs."""
    form: type[BaseModel] | None = None
    """Of a multipart body, which the handler reads itself."""
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
    if route.body is not None or route.form is not None:
        common += [errors.PayloadTooLarge, errors.UnsupportedMediaType, errors.RequestTimeout]
    if route.method == "POST":
        common += [errors.IdempotencyInProgress, errors.IdempotencyKeyReused, errors.Conflict]
    return list(dict.fromkeys([*common, *route.problems]))


def known_headers(route: Route) -> Mapping[str, str]:
    """What a route understands, and what they do."""
    return {**route.headers, **IDEMPOTENCY} if route.method == "POST" else route.headers


def _json(model: type[BaseModel], description: str = "As asked.", *headers: str) -> Answer:
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

ROUTES: tuple[Route, ...] = (
    Route(
        "list_libraries",
        "GET",
        f"{V1}/libraries",
        libraries.list_libraries,
        "Your libraries, newest first.",
        {200: _json(schemas.LibraryPage, "A page.", "Link")},
        query=schemas.PageQuery,
        problems=(errors.InvalidCursor,),
        scope=Scope.READ,
    ),
    Route(
        "create_library",
        "POST",
        f"{V1}/libraries",
        libraries.create_library,
        "Make a library.",
        {201: _json(schemas.Library, "Made.", "Location", "ETag")},
        body=schemas.NewLibrary,
        scope=Scope.WRITE,
    ),
    Route(
        "get_library",
        "GET",
        f"{V1}/libraries/{{library}}",
        libraries.get_library,
        "One library.",
        {200: _json(schemas.Library, "As asked.", "ETag"), 304: UNCHANGED},
        headers=IF_NONE_MATCH,
        scope=Scope.READ,
    ),
    Route(
        "update_library",
        "PATCH",
        f"{V1}/libraries/{{library}}",
        libraries.update_library,
        "Change name, description or colour (merge patch, RFC 7396).",
        {200: _json(schemas.Library, "Changed.", "ETag")},
        body=schemas.LibraryPatch,
        media_types=(MERGE_PATCH, JSON),
        headers=IF_MATCH,
        problems=(errors.PreconditionFailed,),
        scope=Scope.WRITE,
    ),
    Route(
        "delete_library",
        "DELETE",
        f"{V1}/libraries/{{library}}",
        libraries.delete_library,
        "Delete a library and everything in it.",
        {204: GONE},
        headers=IF_MATCH,
        problems=(errors.PreconditionFailed, errors.AssetInUse),
        scope=Scope.WRITE,
    ),
    Route(
        "list_assets",
        "GET",
        f"{V1}/libraries/{{library}}/assets",
        assets.list_assets,
        "The assets of a library, newest first: its roots, the children of one, or all.",
        {200: _json(schemas.AssetPage, "A page.", "Link")},
        query=schemas.AssetsQuery,
        problems=(errors.InvalidCursor,),
        scope=Scope.READ,
    ),
    Route(
        "upload_assets",
        "POST",
        f"{V1}/libraries/{{library}}/assets",
        uploads.upload_assets,
        "Upload audio files.",
        {201: _json(schemas.UploadResult, "At least one file is in; `items` tells of each.", "Location")},
        form=schemas.UploadForm,
        skim=uploads.skim,
        media_types=(FORM,),
        problems=(
            errors.MalformedMultipart,
            errors.EmptyUpload,
            errors.ValidationFailed,
            errors.UnsupportedAudio,
            errors.DecodeFailed,
            errors.NonFiniteAudio,
            errors.AudioTooShort,
            errors.AudioTooLong,
            errors.StorageUnavailable,
            errors.QuotaExceeded,
            errors.InvalidJSON,
        ),
        scope=Scope.WRITE,
    ),
    Route(
        "get_asset",
        "GET",
        f"{V1}/assets/{{asset}}",
        assets.get_asset,
        "One asset.",
        {200: _json(schemas.Asset, "As asked.", "ETag"), 304: UNCHANGED},
        headers=IF_NONE_MATCH,
        scope=Scope.READ,
    ),
    Route(
        "delete_asset",
        "DELETE",
        f"{V1}/assets/{{asset}}",
        assets.delete_asset,
        "Delete an asset and everything made from it.",
        {204: GONE},
        headers=IF_MATCH,
        problems=(errors.PreconditionFailed, errors.AssetInUse),
        scope=Scope.WRITE,
    ),
    Route(
        "get_content",
        "GET",
        f"{V1}/assets/{{asset}}/content",
        content.get_content,
        "The bytes of an asset; HEAD tells their size.",
        {
            200: Answer("All of them.", None, OCTETS, ("ETag", "Accept-Ranges", "Content-Disposition")),
            206: Answer("The range.", None, OCTETS, ("ETag", "Content-Range")),
            304: UNCHANGED,
        },
        query=schemas.ContentQuery,
        headers={
            "Range": "One range of bytes.",
            "If-Range": "The ETag that the range is for; another one gets the whole.",
            **IF_NONE_MATCH,
        },
        problems=(errors.RangeNotSatisfiable, errors.StorageUnavailable),
        scope=Scope.READ,
    ),
    Route(
        "list_jobs",
        "GET",
        f"{V1}/jobs",
        jobs.list_jobs,
        "Your jobs, newest first.",
        {200: _json(schemas.JobPage, "A page.", "Link")},
        query=schemas.JobsQuery,
        problems=(errors.InvalidCursor,),
        scope=Scope.READ,
    ),
    Route(
        "create_job",
        "POST",
        f"{V1}/jobs",
        jobs.create_job,
        "Run a model on an asset.",
        {
            202: _json(schemas.Job, "Accepted: it will end in one result or one error.", "Location"),
            200: _json(
                schemas.Job,
                "The same job was there already, or it ended within the wait that was asked for.",
                "Location",
            ),
        },
        body=schemas.NewJob,
        headers={"Prefer": "wait=N: answer when the job has ended, or after N seconds (at most 60)."},
        problems=(
            errors.NotFound,
            errors.UnknownModel,
            errors.UnknownOperation,
            errors.InputUnsupported,
            errors.AlreadyExists,
            errors.TooManyJobs,
            errors.QuotaExceeded,
        ),
        scope=Scope.JOBS,
    ),
    Route(
        "get_job",
        "GET",
        f"{V1}/jobs/{{job}}",
        jobs.get_job,
        "One job, with its progress.",
        {200: _json(schemas.Job)},
        query=schemas.JobQuery,
        scope=Scope.READ,
    ),
    Route(
        "get_queue",
        "GET",
        f"{V1}/queue",
        jobs.get_queue,
        "What waits and runs, by model; and where you stand.",
        {200: _json(schemas.QueueState)},
        scope=Scope.READ,
    ),
    Route(
        "cancel_job",
        "POST",
        f"{V1}/jobs/{{job}}/cancel",
        jobs.cancel_job,
        "Cancel a job: at once while it waits, within one window while it runs.",
        {200: _json(schemas.Job, "It is cancelled."), 202: _json(schemas.Job, "It is being stopped.")},
        problems=(errors.JobNotCancellable,),
        scope=Scope.JOBS,
    ),
    Route(
        "job_events",
        "GET",
        f"{V1}/jobs/{{job}}/events",
        events.job_events,
        "The events of one job from its beginning; ends after the last.",
        {
            200: Answer("Server-Sent Events.", None, SSE),
            204: Answer("The job has ended and there is nothing left to tell."),
        },
        query=schemas.EventsQuery,
        headers=LAST_EVENT_ID,
        problems=(errors.TooManyStreams,),
        scope=Scope.READ,
    ),
    Route(
        "owner_events",
        "GET",
        f"{V1}/events",
        events.owner_events,
        "All of your events from now on, or after the last one you saw.",
        {200: Answer("Server-Sent Events.", None, SSE)},
        query=schemas.EventsQuery,
        headers=LAST_EVENT_ID,
        problems=(errors.TooManyStreams,),
        scope=Scope.READ,
    ),
    Route(
        "list_models",
        "GET",
        f"{V1}/models",
        models.list_models,
        "The installed models: parameters, weights and their licences, and who serves them.",
        {200: _json(schemas.ModelList)},
        query=schemas.ModelsQuery,
        scope=Scope.READ,
    ),
    Route(
        "get_me",
        "GET",
        f"{V1}/me",
        keys.get_me,
        "Who you are here, what your credentials reach, your limits and what you use.",
        {200: _json(schemas.Me)},
        scope=Scope.READ,
    ),
    Route(
        "list_keys",
        "GET",
        f"{V1}/keys",
        keys.list_keys,
        "Your keys, newest first; the secrets cannot be read again.",
        {200: _json(schemas.KeyPage, "A page.", "Link")},
        query=schemas.PageQuery,
        problems=(errors.InvalidCursor,),
        scope=Scope.ADMIN,
    ),
    Route(
        "create_key",
        "POST",
        f"{V1}/keys",
        keys.create_key,
        "Make a key. It reaches no farther than the one that made it, and is shown this once.",
        {201: _json(schemas.NewKeyReply, "Made: keep `key`.", "Location")},
        body=schemas.NewKey,
        problems=(errors.Conflict,),
        scope=Scope.ADMIN,
    ),
    Route(
        "delete_key",
        "DELETE",
        f"{V1}/keys/{{key}}",
        keys.delete_key,
        "Revoke a key: it opens nothing any more, and streams opened with it end within seconds.",
        {204: GONE},
        scope=Scope.ADMIN,
    ),
    Route(
        "create_session",
        "POST",
        f"{V1}/session",
        sessions.create_session,
        "Trade the key or token of this request for a session cookie: for <audio> and EventSource in browsers.",
        {201: _json(schemas.Session, "The cookie is set.", "Set-Cookie")},
        problems=(errors.Conflict,),
        scope=Scope.READ,
    ),
    Route(
        "delete_session",
        "DELETE",
        f"{V1}/session",
        sessions.delete_session,
        "End the session of the cookie.",
        {204: GONE},
        scope=Scope.READ,
    ),
    Route(
        "healthz",
        "GET",
        "/healthz",
        health.healthz,
        "Is the process up?",
        {200: _json(schemas.Health)},
        limited=False,
        scope=PUBLIC,
    ),
    Route(
        "readyz",
        "GET",
        "/readyz",
        health.readyz,
        "Can it do all of its work?",
        {200: _json(schemas.Readiness)},
        problems=(errors.NotReady,),
        scope=PUBLIC,
    ),
    Route(
        "openapi",
        "GET",
        "/openapi.json",
        docs.get_openapi,
        "This description (OpenAPI 3.1).",
        {200: Answer("The description.", None, JSON, ("ETag",)), 304: UNCHANGED},
        headers=IF_NONE_MATCH,
        scope=PUBLIC,
    ),
    Route(
        "docs",
        "GET",
        "/docs",
        docs.get_docs,
        "The same as a page.",
        {200: Answer("The page.", None, HTML)},
        scope=PUBLIC,
    ),
)
