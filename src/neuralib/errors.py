"""Every error NeuraLib raises on purpose: a stable code, a cause, a mend.

The edges translate: `api/problems.py` into RFC 9457 problem+json, `cli.py` into one line and exit code 2,
`worker.py` into the `error` of a job. Nothing else does.

    NeuralibError
    ├── BadRequest            the caller can mend it: never retried
    │   ├── InvalidParameter, ValidationFailed, NotFound, Gone, Conflict, PreconditionFailed, RangeNotSatisfiable
    │   ├── Unauthenticated, TokenExpired, InsufficientScope, CrossOrigin, PayloadTooLarge, QuotaExceeded, UnsupportedMediaType, MalformedMultipart, EmptyUpload
    │   ├── UnsupportedAudio, DecodeFailed, NonFiniteAudio, AudioTooShort, AudioTooLong, InvalidArchive, NotAudio
    │   ├── UnsupportedMidi, UnsupportedTranscript, UnsatisfiedChecksum
    │   ├── UnknownModel, UnknownOperation, InputUnsupported, ModelLicenseForbidden
    │   ├── RegionOutOfBounds
    │   ├── AlreadyExists, JobNotCancellable, JobNotRetryable, RunNotCancellable, AssetInUse, SourceDeleted, NothingToFetch, Offline, IdempotencyInProgress, IdempotencyKeyReused
    │   └── ConfigurationError, PortInUse, DataDirInUse, DatabaseTooNew, MissingFile
    ├── Unavailable           the world may mend it: retried with backoff
    │   ├── StorageUnavailable, QueueUnavailable, DatabaseUnavailable, IssuerUnavailable, StorageFull, TooBusy
    │   └── WeightsUnavailable, OutOfMemory, WorkerLost
    ├── ExecutorFailed        the model broke on this input; ModelLoadFailed, WeightsChecksumMismatch, JobTimeout
    ├── DependencyFailed      what it takes from did not come
    ├── Cancelled             somebody asked for it
    └── Interrupted           we are shutting down: costs no attempt
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

PROBLEM_TYPES = "https://neuralib.dev/problems/"
"""An error's `type` (RFC 9457) is this and its code."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field of a request that is wrong. `pointer` is an RFC 6901 JSON pointer into the request."""

    pointer: str
    code: str
    message: str


class NeuralibError(Exception):
    """Something went wrong inside NeuraLib."""

    code: ClassVar[str] = "internal"
    mend: ClassVar[str] = "Look in the log for the request id and report it."
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str | None = None, *, fields: Sequence[FieldError] = ()) -> None:
        super().__init__(detail or self.title())
        self.detail = detail or self.title()
        self.fields = tuple(fields)

    @classmethod
    def title(cls) -> str:
        """The first line of the class's docstring: the same for every occurrence of the error."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0].rstrip(".")

    def within(self, pointer: str, what: str) -> Self:
        """The same error, of a part of a larger request."""
        fields = [replace(each, pointer=pointer + each.pointer) for each in self.fields]
        return type(self)(f"{what}: {self.detail}", fields=fields)

    def as_dict(self) -> dict[str, Any]:
        """The error as a job stores it: RFC 9457 members less the ones that only HTTP knows."""
        return {
            "type": PROBLEM_TYPES + self.code,
            "code": self.code,
            "title": self.title(),
            "detail": self.detail,
            "mend": self.mend,
            "retryable": self.retryable,
            "errors": [{"pointer": f.pointer, "code": f.code, "message": f.message} for f in self.fields],
        }


# ── the caller can mend it ────────────────────────────────────────────────────────────────────────────


class BadRequest(NeuralibError):
    """The request cannot be carried out as it stands."""

    code = "bad-request"
    mend = "Correct the request."


class InvalidParameter(BadRequest):
    """A parameter is unknown or malformed."""

    code = "invalid-parameter"
    mend = "See /openapi.json for the parameters of this route."


class InvalidJSON(BadRequest):
    """The body is not JSON."""

    code = "invalid-json"
    mend = "Send a JSON object with Content-Type: application/json."


class InvalidCursor(BadRequest):
    """The cursor is not one that this service made."""

    code = "invalid-cursor"
    mend = "Start again without a cursor."


class ValidationFailed(BadRequest):
    """A field of the request is out of its range."""

    code = "validation-failed"
    mend = "Correct the fields that `errors` names."


class NotFound(BadRequest):
    """There is no such thing, or it is not yours."""

    code = "not-found"
    mend = "Check the id."


class Gone(BadRequest):
    """It was there, and its time is over."""

    code = "gone"
    mend = "Make it again."


class AssetEvicted(Gone):
    """The bytes of this asset were let go; its recipe is kept."""

    code = "asset-evicted"
    mend = "Have it made again: POST /api/v1/assets/{id}/rebuild."


class Conflict(BadRequest):
    """The state of the thing does not allow this."""

    code = "conflict"
    mend = "Read it again and decide."


class NotAnalysed(Conflict):
    """The asset has not been analysed."""

    code = "not-analysed"
    mend = "Start a job of the operation `analyze` on it, or wait for the one that runs."


class PreconditionFailed(BadRequest):
    """It changed since you read it."""

    code = "precondition-failed"
    mend = "Read it again and send its new ETag in If-Match."


class AlreadyExists(Conflict):
    """There is one already."""

    code = "already-exists"
    mend = 'Use the one that `detail` names, or ask with on_existing = "rerun".'


class IdempotencyInProgress(Conflict):
    """The first request with this Idempotency-Key is still being carried out."""

    code = "idempotency-in-progress"
    mend = "Send it again after Retry-After seconds."


class IdempotencyKeyReused(BadRequest):
    """The Idempotency-Key came with another request before."""

    code = "idempotency-key-reused"
    mend = "Choose a new key for a new request."


class JobNotCancellable(Conflict):
    """The job has already ended."""

    code = "job-not-cancellable"
    mend = "Nothing to do: read the job's state."


class JobNotRetryable(Conflict):
    """The job did not end badly."""

    code = "job-not-retryable"
    mend = "Read the job's state."


class RunNotCancellable(Conflict):
    """The run has already ended."""

    code = "run-not-cancellable"
    mend = "Nothing to do: read the run's state."


class SourceDeleted(Conflict):
    """What the job was to read has been deleted."""

    code = "source-deleted"
    mend = "Upload or make it again."


class CannotRebuild(Conflict):
    """Nothing could make these bytes again."""

    code = "cannot-rebuild"
    mend = "Keep them; or bring back what the detail names."


class AssetInUse(Conflict):
    """A job is reading this asset."""

    code = "asset-in-use"
    mend = "Cancel the job or wait for its end."


class RangeNotSatisfiable(BadRequest):
    """The range lies outside the content."""

    code = "range-not-satisfiable"
    mend = "Ask for a range inside the content's length."

    def __init__(self, size: int) -> None:
        super().__init__(f"the content has {size} bytes")
        self.size = size


class MethodNotAllowed(BadRequest):
    """The route does not know this method."""

    code = "method-not-allowed"
    mend = "See the Allow header."


class Unauthenticated(BadRequest):
    """The request carries no valid credentials."""

    code = "unauthenticated"
    mend = "Send Authorization: Bearer <key>."


class TokenExpired(Unauthenticated):
    """The credentials have expired."""

    code = "token-expired"
    mend = "Get new ones and try again."


class InsufficientScope(BadRequest):
    """The credentials do not reach so far."""

    code = "insufficient-scope"
    mend = "Use a key with the scope that the detail names."


class CrossOrigin(BadRequest):
    """A web page of another site may not call this service."""

    code = "cross-origin"
    mend = 'Call it as localhost, or set auth.mode = "keys" and send a key.'


class PayloadTooLarge(BadRequest):
    """The upload is larger than this service takes."""

    code = "payload-too-large"
    mend = "Send a smaller file, or raise limits.upload_bytes."


class RequestTimeout(BadRequest):
    """The body came too slowly."""

    code = "request-timeout"
    mend = "Send again on a better line."


class UnsupportedMediaType(BadRequest):
    """The body's media type does not fit the route."""

    code = "unsupported-media-type"
    mend = "See /openapi.json for the media type of this route."


class QuotaExceeded(BadRequest):
    """Your storage quota is used up."""

    code = "quota-exceeded"
    mend = "Delete something, or have limits.storage_bytes_per_owner raised."


class MalformedMultipart(BadRequest):
    """The multipart body cannot be read."""

    code = "malformed-multipart"
    mend = "Send multipart/form-data with a boundary and a part named `file`."


class EmptyUpload(BadRequest):
    """The upload holds no bytes."""

    code = "empty-upload"
    mend = "Send a file part with content."


class UnsupportedAudio(BadRequest):
    """The file is not audio that NeuraLib reads."""

    code = "unsupported-audio"
    mend = "Use wav, flac, mp3, ogg, opus, m4a/aac, aiff, mp4 or webm."


class InvalidArchive(BadRequest):
    """The archive cannot be restored."""

    code = "invalid-archive"
    mend = "Send a zip that NeuraLib exported, with its manifest.json, as it came."


class DecodeFailed(BadRequest):
    """The audio is damaged and could not be decoded."""

    code = "decode-failed"
    mend = "Export the file again from its source."


class NonFiniteAudio(BadRequest):
    """The audio holds NaN or infinite samples."""

    code = "non-finite-audio"
    mend = "Export the file again; a plug-in wrote broken samples."


class AudioTooShort(BadRequest):
    """The audio holds no samples."""

    code = "audio-too-short"
    mend = "Send a recording with at least one sample."


class AudioTooLong(BadRequest):
    """The audio is longer than this service takes."""

    code = "audio-too-long"
    mend = "Cut the recording, or raise limits.audio_s."


class UnsatisfiedChecksum(BadRequest):
    """The bytes are not the ones that were announced."""

    code = "unsatisfied-checksum"
    mend = "Begin a new upload and send the parts again."


class NotAudio(BadRequest):
    """The asset holds no sound."""

    code = "not-audio"
    mend = "Ask for this of an audio asset."


class InputUnsupported(BadRequest):
    """The model does not take these inputs."""

    code = "model-input-unsupported"
    mend = "See `takes` of the model in GET /models."


class RegionOutOfBounds(BadRequest):
    """The region does not lie within the recording."""

    code = "region-out-of-bounds"
    mend = "Begin and end inside the recording, and end at least one sample after the beginning."


class UnsupportedMidi(BadRequest):
    """The file is not MIDI that NeuraLib reads."""

    code = "unsupported-midi"
    mend = "Use a Standard MIDI File of format 0 or 1."


class UnsupportedTranscript(BadRequest):
    """The file is not a transcript that NeuraLib reads."""

    code = "unsupported-transcript"
    mend = "Use the JSON that `transcribe` makes."


class UnknownModel(BadRequest):
    """No installed executor has this name."""

    code = "unknown-model"
    mend = "See `neuralib models` for the names."


class UnknownOperation(BadRequest):
    """No installed executor does this operation."""

    code = "unknown-operation"
    mend = "See `neuralib models` for the operations."


class ModelLicenseForbidden(BadRequest):
    """The licence of these weights does not allow commercial use, and the configuration asks for that."""

    code = "model-license-forbidden"
    mend = "Choose other weights, or set weights.commercial_safe = false."


class NothingToFetch(Conflict):
    """These weights come from no hub."""

    code = "nothing-to-fetch"
    mend = "Nothing to do: they come with the installation, or with a package that is to be installed."


class Offline(Conflict):
    """This installation asks no hub."""

    code = "offline"
    mend = "Set weights.offline = false, or bring the files by hand and name them in weights.paths."


class PrecisionUnsupported(BadRequest):
    """The model does not run in this precision on this device."""

    code = "precision-unsupported"
    mend = "Ask for fp32, or for auto."


class DeviceUnavailable(BadRequest):
    """This machine does not have the device that the configuration names."""

    code = "device-unavailable"
    mend = 'Set device = "auto", or see `neuralib doctor`.'


class ConfigurationError(BadRequest):
    """The configuration cannot be used."""

    code = "configuration"
    mend = "See configs/default.toml: it lists every setting."


class MissingFile(BadRequest):
    """There is no such file."""

    code = "missing-file"
    mend = "Check the path."


class PortInUse(BadRequest):
    """Another program listens on this port."""

    code = "port-in-use"
    mend = "Stop it, or choose another port with --port."


class DataDirInUse(BadRequest):
    """Another process uses this data directory."""

    code = "data-dir-in-use"
    mend = "Stop that process, or choose another directory with --data."


class DataDirIncompatible(BadRequest):
    """The data directory was made by another version of PostgreSQL."""

    code = "data-dir-incompatible"
    mend = "Open it with the version that made it, dump it, and load the dump into a new --data."


class DatabaseTooNew(BadRequest):
    """The database was made by a newer NeuraLib."""

    code = "database-too-new"
    mend = "Upgrade NeuraLib."


class DatabaseTooOld(BadRequest):
    """The database lacks migrations that this NeuraLib needs."""

    code = "database-too-old"
    mend = "Run `neuralib migrate`."


# ── the world may mend it ─────────────────────────────────────────────────────────────────────────────


class Unavailable(NeuralibError):
    """A service that NeuraLib needs does not answer."""

    code = "unavailable"
    mend = "Try again in a moment."
    retryable = True


class StorageUnavailable(Unavailable):
    """The object store does not answer."""

    code = "storage-unavailable"


class StorageFull(Unavailable):
    """The storage is full."""

    code = "storage-full"
    mend = "Free some space."


class QueueUnavailable(Unavailable):
    """Redis does not answer."""

    code = "queue-unavailable"


class DatabaseUnavailable(Unavailable):
    """PostgreSQL does not answer."""

    code = "database-unavailable"


class IssuerUnavailable(Unavailable):
    """The issuer of tokens does not answer."""

    code = "issuer-unavailable"


class StoreStartFailed(Unavailable):
    """An embedded server did not start."""

    code = "store-start-failed"
    mend = (
        "See `neuralib doctor`, or name external servers with NEURALIB_DATABASE_URL and NEURALIB_REDIS_URL."
    )
    retryable = False


class NotReady(Unavailable):
    """This service cannot do all of its work now."""

    code = "not-ready"
    mend = "See `errors` for what is missing."


class RateLimited(Unavailable):
    """Too many requests in a short time."""

    code = "rate-limited"
    mend = "Wait as long as Retry-After says, and send fewer."

    def __init__(self, retry_s: int) -> None:
        super().__init__(f"try again in {retry_s} s")
        self.retry_s = retry_s


class TooManyStreams(Unavailable):
    """Too many event streams are open."""

    code = "too-many-streams"
    mend = "Close one; a single stream carries all jobs."


class TooManyJobs(Unavailable):
    """Too many jobs are waiting."""

    code = "too-many-jobs"
    mend = "Wait for some to end, or raise limits.jobs_per_owner or limits.jobs_waiting."


class TooManyUploads(Unavailable):
    """Too many uploads are open."""

    code = "too-many-uploads"
    mend = "Complete or abort some, or raise limits.uploads_per_owner."


class TooBusy(Unavailable):
    """Too much of this work is waiting already."""

    code = "too-busy"


class WeightsUnavailable(Unavailable):
    """The model's weights are neither on this machine nor within reach."""

    code = "weights-unavailable"
    mend = "Run `neuralib models pull MODEL` where a hub is reachable, or set weights.paths."
    retryable = False


class OutOfMemory(Unavailable):
    """The device ran out of memory."""

    code = "out-of-memory"
    mend = "Lower the batch, or use a device with more memory."


class WorkerLost(Unavailable):
    """The worker died while it ran this job."""

    code = "worker-lost"


# ── the model broke ───────────────────────────────────────────────────────────────────────────────────


class ExecutorFailed(NeuralibError):
    """The model failed on this input."""

    code = "executor-error"


class ModelLoadFailed(ExecutorFailed):
    """The model could not be loaded."""

    code = "model-load-failed"


class WeightsChecksumMismatch(ExecutorFailed):
    """The weights are not the ones that were published."""

    code = "weights-checksum-mismatch"
    mend = "Pull it again; if it stays so, whoever serves it has another file."


class JobTimeout(ExecutorFailed):
    """The job ran longer than its limit."""

    code = "timeout"
    mend = "Raise timeout_s, or cut the recording."


# ── neither failure nor success ───────────────────────────────────────────────────────────────────────


class DependencyFailed(NeuralibError):
    """What this takes from has failed."""

    code = "dependency-failed"
    mend = "See the error of the step that the detail names."


class Cancelled(NeuralibError):
    """Somebody cancelled the job."""

    code = "cancelled"


class Interrupted(NeuralibError):
    """The worker is shutting down; the job goes back to its queue and no attempt is counted."""

    code = "interrupted"
    retryable = True
