"""NeuralibError -> RFC 9457 problem+json. The one place that knows which error has which status."""

import json
from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import web

from neuralib import errors
from neuralib.errors import NeuralibError

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[type[NeuralibError], int] = {
    errors.NeuralibError: 500,
    errors.BadRequest: 400,
    errors.InvalidParameter: 400,
    errors.InvalidJSON: 400,
    errors.InvalidCursor: 400,
    errors.MalformedMultipart: 400,
    errors.UnsatisfiedChecksum: 400,
    errors.Unauthenticated: 401,
    errors.TokenExpired: 401,
    errors.CrossOrigin: 403,
    errors.InsufficientScope: 403,
    errors.ModelLicenseForbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.RequestTimeout: 408,
    errors.Conflict: 409,
    errors.AlreadyExists: 409,
    errors.IdempotencyInProgress: 409,
    errors.JobNotCancellable: 409,
    errors.JobNotRetryable: 409,
    errors.RunNotCancellable: 409,
    errors.CannotRebuild: 409,
    errors.SourceDeleted: 409,
    errors.DependencyFailed: 409,
    errors.AssetInUse: 409,
    errors.NotAnalysed: 409,
    errors.NothingToFetch: 409,
    errors.Offline: 409,
    errors.Cancelled: 409,
    errors.Gone: 410,
    errors.AssetEvicted: 410,
    errors.PreconditionFailed: 412,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.UnsupportedAudio: 415,
    errors.RangeNotSatisfiable: 416,
    errors.ValidationFailed: 422,
    errors.IdempotencyKeyReused: 422,
    errors.EmptyUpload: 422,
    errors.DecodeFailed: 422,
    errors.InvalidArchive: 422,
    errors.NonFiniteAudio: 422,
    errors.AudioTooShort: 422,
    errors.AudioTooLong: 422,
    errors.RegionOutOfBounds: 422,
    errors.NotAudio: 422,
    errors.UnsupportedMidi: 422,
    errors.UnsupportedTranscript: 422,
    errors.UnknownModel: 422,
    errors.UnknownOperation: 422,
    errors.InputUnsupported: 422,
    errors.PrecisionUnsupported: 422,
    errors.DeviceUnavailable: 422,
    errors.RateLimited: 429,
    errors.TooManyStreams: 429,
    errors.TooManyJobs: 429,
    errors.TooManyUploads: 429,
    errors.ExecutorFailed: 500,
    errors.ModelLoadFailed: 500,
    errors.WeightsChecksumMismatch: 500,
    errors.ConfigurationError: 500,
    errors.MissingFile: 500,
    errors.PortInUse: 500,
    errors.DataDirInUse: 500,
    errors.DataDirIncompatible: 500,
    errors.StoreStartFailed: 500,
    errors.Unavailable: 503,
    errors.StorageUnavailable: 503,
    errors.QueueUnavailable: 503,
    errors.DatabaseUnavailable: 503,
    errors.IssuerUnavailable: 503,
    errors.DatabaseTooOld: 503,
    errors.DatabaseTooNew: 503,
    errors.WeightsUnavailable: 503,
    errors.OutOfMemory: 503,
    errors.WorkerLost: 503,
    errors.Interrupted: 503,
    errors.NotReady: 503,
    errors.TooBusy: 503,
    errors.JobTimeout: 504,
    errors.StorageFull: 507,
    errors.QuotaExceeded: 507,
}
"""Every error of ours; a plug-in's own class takes the status of the nearest class above it."""

RETRY_AFTER_S: Mapping[int, int] = {429: 5, 503: 2}


def retry_after_s(kind: type[NeuralibError]) -> int | None:
    """When to try again; None: never, as it stands."""
    return 1 if issubclass(kind, errors.IdempotencyInProgress) else RETRY_AFTER_S.get(status_of(kind))


def status_of(kind: type[NeuralibError]) -> int:
    """The HTTP status of an error."""
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def problem(error: NeuralibError, *, instance: str, request_id: str) -> dict[str, Any]:
    """The error as its client sees it. Why one of our own servers failed stays in our log."""
    status = status_of(type(error))
    body = error.as_dict()
    if status >= 500:
        body["detail"] = error.title()
    return {**body, "status": status, "instance": instance, "request_id": request_id}


def translate(error: Exception) -> NeuralibError:
    """Whatever a handler raised, as one of ours."""
    match error:
        case NeuralibError():
            return error
        case web.HTTPException():
            return _of_http(error)
        case TimeoutError():
            return errors.Unavailable()
        case _:
            return NeuralibError()


def _of_http(error: web.HTTPException) -> NeuralibError:
    """What aiohttp itself refuses: an unknown route, a method, a body that is too large."""
    match error:
        case web.HTTPNotFound():
            return errors.NotFound("there is no such route")
        case web.HTTPMethodNotAllowed():
            return errors.MethodNotAllowed(f"this route knows {_allowed(error)}")
        case web.HTTPRequestEntityTooLarge():
            return errors.PayloadTooLarge("the body is larger than limits.body_bytes")
        case web.HTTPClientError():
            return errors.BadRequest(error.reason)
        case _:
            return NeuralibError()


def _allowed(error: web.HTTPMethodNotAllowed) -> str:
    return ", ".join(sorted(error.allowed_methods))


def answer(request: web.Request, error: Exception, request_id: str) -> web.Response:
    """The reply to a request that failed."""
    known = translate(error)
    status = status_of(type(known))
    if status >= 500:
        unexpected = None if isinstance(error, NeuralibError) else error
        log.error("request.failed", code=known.code, detail=known.detail, exc_info=unexpected)
    body = problem(known, instance=request.rel_url.raw_path, request_id=request_id)
    response = web.Response(
        status=status,
        body=json.dumps(body, ensure_ascii=False).encode(errors="replace"),
        content_type=MEDIA_TYPE,
        headers=_headers(known, error),
    )
    if not request.content.is_eof() and request.can_read_body:
        response.force_close()  # the rest of the body is not worth reading
    return response


def _headers(known: NeuralibError, error: Exception) -> dict[str, str]:
    headers, status = {}, status_of(type(known))
    if (seconds := retry_after_s(type(known))) is not None:
        headers["Retry-After"] = str(seconds)
    if isinstance(known, errors.RateLimited):
        headers["Retry-After"] = str(known.retry_s)
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="neuralib"'
    if isinstance(error, errors.InsufficientScope):
        headers["WWW-Authenticate"] = 'Bearer realm="neuralib", error="insufficient_scope"'
    if isinstance(error, errors.RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers["Allow"] = _allowed(error)
    return headers
