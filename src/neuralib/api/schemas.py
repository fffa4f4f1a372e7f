"""Every request and response body, and every query. openapi.py turns them into JSON Schema; requests are checked
against them, and the tests check every reply.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from neuralib import entities, identity, jobs
from neuralib.assets import clean_name
from neuralib.config import Limits
from neuralib.entities import Scope
from neuralib.jobs import FORMATS
from neuralib.pipeline import PRIORITIES

from .auth import Principal

MAX_PAGE = 200
MAX_IDS = 100
MAX_METADATA = 16 * 1024

AudioFormat = Literal["wav", "flac", "mp3", "ogg"]
Priority = Literal["low", "normal", "high"]
State = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "timed_out"]
assert set(AudioFormat.__args__) == set(FORMATS)  # type: ignore[attr-defined]
assert set(Priority.__args__) == set(PRIORITIES)  # type: ignore[attr-defined]


def _listed(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


def _within_a_century(at: datetime | None) -> datetime | None:
    if at is not None and not 0 < at.year - datetime.now(UTC).year + 1 <= 100:
        raise ValueError("must lie in the coming hundred years")
    return at


def _printable(text: str) -> str:
    if clean_name(text) != text:
        raise ValueError("must be normalised (NFC), without control or direction characters")
    return text


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_printable),
]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class Request(BaseModel):
    """Of a request: unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _open(schema: dict[str, Any]) -> None:
    # Clients must live with members that a later version adds.
    schema.pop("additionalProperties", None)


class Reply(BaseModel):
    """Of a reply."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_open)


# ── queries ───────────────────────────────────────────────────────────────────────────────────────────


class NoQuery(Request):
    """No parameters."""


class PageQuery(Request):
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    cursor: Annotated[str | None, Field(description="`next_cursor` of the page before.")] = None


class AssetsQuery(PageQuery):
    parent_id: Annotated[
        UUID | Literal["null"] | None,
        Field(description="The children of this asset; `null`, the default: the roots."),
    ] = None
    tree: Annotated[bool, Field(description="Everything in the library, at any depth.")] = False
    kind: Annotated[
        Literal["audio", "midi", "transcript", "analysis"] | None, Field(description="Only these.")
    ] = None

    @model_validator(mode="after")
    def _one_view(self) -> Self:
        if self.tree and self.parent_id is not None:
            raise ValueError("tree shows everything: leave parent_id out")
        return self


class ContentQuery(Request):
    download: Annotated[bool, Field(description="Ask the browser to save it as a file.")] = False


class JobsQuery(PageQuery):
    state: Annotated[
        list[Literal["queued", "running", "succeeded", "failed", "cancelled", "timed_out"]] | None,
        BeforeValidator(_listed),
        Field(description="One or more, separated by commas."),
    ] = None
    operation: Word | None = None
    asset_id: UUID | None = None
    ids: Annotated[
        list[UUID] | None,
        BeforeValidator(_listed),
        Field(max_length=MAX_IDS, description="These jobs, separated by commas."),
    ] = None


class JobQuery(Request):
    wait_s: Annotated[
        float,
        Field(
            ge=0, le=60, allow_inf_nan=False, description="Answer when the state changes, or after so long."
        ),
    ] = 0.0


class EventsQuery(Request):
    last_event_id: Annotated[
        int | None,
        Field(
            ge=0,
            le=2**63 - 1,
            description="For clients that cannot send the Last-Event-ID header, which wins.",
        ),
    ] = None


class ModelsQuery(Request):
    operation: Word | None = None


# ── libraries ─────────────────────────────────────────────────────────────────────────────────────────

Color = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]
Description = Annotated[str, StringConstraints(max_length=4000)]


class NewLibrary(Request):
    name: Name
    description: Description = ""
    color: Color | None = None


class LibraryPatch(Request):
    """A merge patch (RFC 7396): what is absent stays, null clears."""

    name: Name = ""
    description: Description | None = None
    color: Color | None = None


class Library(Reply):
    id: UUID
    name: str
    description: str
    color: str | None
    version: int
    asset_count: int
    bytes: int
    duration_s: Annotated[float, Field(description="Of its tracks.")]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, library: entities.Library) -> dict[str, Any]:
        return cls(
            id=library.id,
            name=library.name,
            description=library.description,
            color=library.color,
            version=library.version,
            asset_count=library.asset_count,
            bytes=library.bytes,
            duration_s=library.duration,
            created_at=library.created_at,
            updated_at=library.updated_at,
        ).model_dump(mode="json")


class LibraryPage(Reply):
    items: list[Library]
    next_cursor: str | None


# ── assets ────────────────────────────────────────────────────────────────────────────────────────────


class UploadMeta(Request):
    """The optional `meta` part before a `file` part."""

    name: Name | None = None
    role: Literal["track", "stem", "mix", "sample"] = "track"


class UploadForm(BaseModel):
    """multipart/form-data: up to 100 `file` parts, each with an optional `meta` part before it."""

    file: Annotated[list[bytes], Field(max_length=100, description="The audio files.")]
    meta: Annotated[UploadMeta | None, Field(description="JSON, before its file.")] = None


class Audio(Reply):
    format: str
    codec: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    duration_s: float


class BlobInfo(Reply):
    sha256: str
    bytes: int
    media_type: str


class DerivedFrom(Reply):
    job_id: UUID


class Urls(Reply):
    content: str


class Asset(Reply):
    id: UUID
    library_id: UUID
    parent_id: UUID | None
    kind: str
    role: str
    stem: str | None
    name: str
    status: Literal["ready"]
    audio: Audio | None
    facts: dict[str, Any]
    blob: BlobInfo
    derived_from: DerivedFrom | None
    urls: Urls
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, asset: entities.Asset) -> dict[str, Any]:
        return cls(
            id=asset.id,
            library_id=asset.library_id,
            parent_id=asset.parent_id,
            kind=asset.kind,
            role=asset.role,
            stem=asset.stem,
            name=asset.name,
            status="ready",
            audio=Audio.model_validate(asset.audio) if asset.audio else None,
            facts=dict(asset.facts),
            blob=BlobInfo(sha256=asset.blob.sha256, bytes=asset.blob.bytes, media_type=asset.blob.media_type),
            derived_from=DerivedFrom(job_id=asset.job_id) if asset.job_id else None,
            urls=Urls(content=f"/api/v1/assets/{asset.id}/content"),
            version=asset.version,
            created_at=asset.created_at,
            updated_at=asset.updated_at,
        ).model_dump(mode="json")


class AssetPage(Reply):
    items: list[Asset]
    next_cursor: str | None


# ── problems ──────────────────────────────────────────────────────────────────────────────────────────


class WrongField(Reply):
    pointer: Annotated[str, Field(description="RFC 6901, into the request.")]
    code: str
    message: str


class JobError(Reply):
    """Why a job ended as it did: a problem less the members that only HTTP knows."""

    type: str
    code: str
    title: str
    detail: str
    mend: Annotated[str, Field(description="What to do about it.")]
    retryable: bool
    errors: list[WrongField]


class Problem(JobError):
    """RFC 9457."""

    status: int
    instance: str
    request_id: str


class UploadOutcome(Reply):
    """What became of one file: `asset` or `problem`."""

    status: int
    asset: Asset | None = None
    problem: Problem | None = None


class UploadResult(Reply):
    items: list[UploadOutcome]


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────


class JobInput(Request):
    asset_id: UUID


class JobOutputs(Request):
    format: AudioFormat = "wav"
    library_id: Annotated[UUID | None, Field(description="Default: the library of the input.")] = None


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(str(value)) > MAX_METADATA:
        raise ValueError(f"may have at most {MAX_METADATA} characters")
    return value


class NewJob(Request):
    """Name an operation, a model, or both."""

    operation: Annotated[Word | None, Field(examples=["separate", "midi", "transcribe"])] = None
    model: Annotated[
        str | None,
        Field(max_length=200, examples=["demucs", "demucs/htdemucs"], description="See GET /models."),
    ] = None
    inputs: Annotated[list[JobInput], Field(min_length=1, max_length=1)]
    params: Annotated[dict[str, Any], Field(description="Checked against the model's `params_schema`.")] = {}
    outputs: JobOutputs = JobOutputs()
    priority: Priority = "normal"
    timeout_s: Annotated[float, Field(gt=0, le=86400)] = 3600.0
    max_attempts: Annotated[int, Field(ge=1, le=10)] | None = None
    on_existing: Annotated[
        Literal["reuse", "rerun", "fail"],
        Field(
            description="When the same job waits or runs, or succeeded and all that it made is still there: answer "
            "with that one, run it again, or refuse."
        ),
    ] = "reuse"
    metadata: Annotated[
        dict[str, Any], AfterValidator(_small), Field(description="Given back as it is.")
    ] = {}


class Progress(BaseModel):
    """How far a running job is. `fraction` never falls within an attempt."""

    model_config = ConfigDict(extra="allow")

    fraction: float
    stage: str
    done: int
    total: int


class QueuePlace(Reply):
    position: Annotated[
        int,
        Field(
            description="How many jobs of the model go before this one, at most and as things stand: owners take turns. "
            "1000: so many or more."
        ),
    ]


class JobOutput(Reply):
    asset_id: UUID
    kind: str
    role: str
    stem: str | None
    name: str


class Job(Reply):
    id: UUID
    operation: str
    model: str
    state: State
    attempt: int
    max_attempts: int
    cached: Annotated[bool, Field(description="Only in the answer to a submission: it was done already.")]
    priority: Priority
    params: dict[str, Any]
    output: dict[str, Any]
    asset_id: UUID | None
    library_id: UUID | None
    queue: QueuePlace | None
    progress: Progress | None
    outputs: list[JobOutput]
    result: dict[str, Any]
    error: JobError | None
    worker: str | None
    metadata: dict[str, Any]
    timeout_s: float
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobPage(Reply):
    items: list[Job]
    next_cursor: str | None


class NextJob(Reply):
    job_id: UUID
    position: int


class MyLane(Reply):
    depth: int
    running: int
    next: Annotated[NextJob | None, Field(description="Your job that is claimed first.")]


class Lane(Reply):
    """The queue of one model."""

    model: str
    depth: Annotated[int, Field(description="Jobs that wait, of everybody.")]
    running: int
    oldest_wait_s: Annotated[float | None, Field(description="How long the oldest of them has waited.")]
    mine: MyLane

    @classmethod
    def of(cls, lane: jobs.Lane) -> dict[str, Any]:
        following = None
        if lane.my_next is not None and lane.my_position is not None:
            following = NextJob(job_id=lane.my_next, position=lane.my_position)
        return cls(
            model=lane.model,
            depth=lane.depth,
            running=lane.running,
            oldest_wait_s=lane.oldest_wait_s,
            mine=MyLane(depth=lane.my_depth, running=lane.my_running, next=following),
        ).model_dump(mode="json")


class QueueState(Reply):
    items: list[Lane]


# ── models ────────────────────────────────────────────────────────────────────────────────────────────


class CheckpointCard(Reply):
    id: str
    name: str
    title: str
    license: str
    commercial_use: bool
    auto: Annotated[bool, Field(description="Whether it may be chosen when no weights are named.")]
    trained: bool
    details: dict[str, Any]


class PluginInfo(Reply):
    name: str
    version: str


class LoadedWeights(Reply):
    name: str
    sha256: str
    source: str
    license: str
    commercial_use: bool
    trained: bool


class ModelWorker(Reply):
    """A live worker of the model, and what it has in memory."""

    worker: str
    state: Literal["idle", "loaded"]
    weights: LoadedWeights | None
    device: str | None
    precision: str | None


class ModelCard(Reply):
    id: str
    title: str
    operation: str
    version: str
    code_license: str
    precisions: list[str]
    params_schema: dict[str, Any]
    checkpoints: list[CheckpointCard]
    plugin: PluginInfo
    state: Annotated[
        Literal["absent", "idle", "loaded"],
        Field(description="absent: no live worker serves it; loaded: in memory."),
    ]
    workers: list[ModelWorker]


class ModelList(Reply):
    items: list[ModelCard]
    next_cursor: None = None


# ── owners and keys ───────────────────────────────────────────────────────────────────────────────────


class NewKey(Request):
    name: Name
    scopes: Annotated[frozenset[Scope], Field(min_length=1)] = frozenset(identity.DEFAULT_SCOPES)
    expires_at: Annotated[
        AwareDatetime | None, AfterValidator(_within_a_century), Field(description="Default: never.")
    ] = None


class Key(Reply):
    """A key as it can be seen later: all but the secret."""

    id: UUID
    name: str
    prefix: Annotated[str, Field(description="How the key begins.")]
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: Annotated[datetime | None, Field(description="To the minute.")]

    @classmethod
    def of(cls, key: entities.Credential) -> dict[str, Any]:
        return cls.model_validate(_key_members(key)).model_dump(mode="json")


class NewKeyReply(Key):
    key: Annotated[str, Field(description="The secret: shown this once and kept nowhere.")]

    @classmethod
    def of_secret(cls, secret: str, key: entities.Credential) -> dict[str, Any]:
        return cls.model_validate({"key": secret, **_key_members(key)}).model_dump(mode="json")


def _key_members(key: entities.Credential) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
    }


class KeyPage(Reply):
    items: list[Key]
    next_cursor: str | None


class Session(Reply):
    """What the cookie is good for."""

    scopes: list[Scope]
    expires_at: datetime

    @classmethod
    def of(cls, session: entities.Credential) -> dict[str, Any]:
        return cls.model_validate(
            {"scopes": sorted(session.scopes), "expires_at": session.expires_at}
        ).model_dump(mode="json")


class OwnerInfo(Reply):
    id: UUID
    issuer: Annotated[str, Field(description="Who vouches for the subject; empty: this installation.")]
    subject: str
    created_at: datetime


class Access(Reply):
    """What the caller's credentials are."""

    by: Literal["nothing", "token", "key", "oidc", "session"]
    scopes: list[Scope]
    key_id: Annotated[UUID | None, Field(description="Of the key, or of the session.")]
    expires_at: datetime | None


class OwnLimits(Reply):
    storage_bytes: Annotated[int | None, Field(description="null: no quota.")]
    upload_bytes: int
    streams: int
    jobs: int


class Usage(Reply):
    storage_bytes: int
    jobs_active: Annotated[int, Field(description="Waiting or running.")]


class Me(Reply):
    owner: OwnerInfo
    access: Access
    limits: OwnLimits
    usage: Usage

    @classmethod
    def of(
        cls, principal: Principal, owner: entities.Owner, usage: Mapping[str, int], limits: Limits
    ) -> dict[str, Any]:
        return cls(
            owner=OwnerInfo(
                id=owner.id, issuer=owner.issuer, subject=owner.subject, created_at=owner.created_at
            ),
            access=Access(
                by=principal.by,
                scopes=sorted(principal.scopes),
                key_id=principal.credential,
                expires_at=principal.expires_at,
            ),
            limits=OwnLimits(
                storage_bytes=limits.storage_bytes_per_owner or None,
                upload_bytes=limits.upload_bytes,
                streams=limits.streams_per_owner,
                jobs=limits.jobs_per_owner,
            ),
            usage=Usage(**usage),
        ).model_dump(mode="json")


# ── operations ────────────────────────────────────────────────────────────────────────────────────────


class Health(Reply):
    status: Literal["ok"]
    version: str


class Readiness(Reply):
    status: Literal["ready"]
    checks: Mapping[str, Literal["ok"]]
