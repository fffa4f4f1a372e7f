"""The things NeuraLib keeps, as plain frozen data. Rows become these in `db/`, JSON in `api/schemas/`."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

Facts = Mapping[str, Any]


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): time-ordered, so that ids sort and index as rows arrive. PostgreSQL makes them only
    since 18, Python since 3.14.
    """
    stamp = time.time_ns() // 1_000_000
    value = (stamp << 80) | (0x7 << 76) | (secrets.randbits(12) << 64) | (0b10 << 62) | secrets.randbits(62)
    return UUID(int=value)


def nth_id(first: UUID, n: int) -> UUID:
    """The n-th of 65,536 ids that follow from one, in order."""
    return UUID(int=(first.int & ~0xFFFF) | n)


class JobState(StrEnum):
    """Where a job stands. The allowed changes are in `pipeline.TRANSITIONS`."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class RunState(StrEnum):
    """Where a run stands. `partial`: some of it did well."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AssetKind(StrEnum):
    """What an asset's bytes are."""

    AUDIO = "audio"
    MIDI = "midi"
    TRANSCRIPT = "transcript"
    ANALYSIS = "analysis"


class RegionKind(StrEnum):
    """What is marked in a recording: spans, which have an end, and points, which have none."""

    REGION = "region"
    LOOP = "loop"
    MARKER = "marker"
    CUE = "cue"

    @property
    def is_span(self) -> bool:
        return self in {RegionKind.REGION, RegionKind.LOOP}


class Scope(StrEnum):
    """What a credential may be used for."""

    READ = "read"
    WRITE = "write"
    JOBS = "jobs"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose everything is. `issuer` vouches for `subject`; it is empty for owners that this installation named."""

    id: UUID
    issuer: str
    subject: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Credential:
    """A key, or a browser session that was made from one. The secret itself is not kept."""

    id: UUID
    owner_id: UUID
    parent_id: UUID | None
    kind: str
    name: str
    prefix: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Library:
    """A named collection of assets. `bytes` and `duration` are sums over its assets."""

    id: UUID
    owner_id: UUID
    name: str
    description: str
    color: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    asset_count: int = 0
    bytes: int = 0
    duration: float = 0.0
    trashed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Blob:
    """Immutable bytes in the object store. One owner's identical bytes are one blob."""

    id: UUID
    sha256: str
    bytes: int
    key: str
    media_type: str

    @property
    def evicted(self) -> bool:
        """Whether the bytes are gone, to be made again when somebody wants them."""
        return self.is_nowhere(self.key)

    @staticmethod
    def is_nowhere(key: str) -> bool:
        """What the key of an evicted blob looks like."""
        return key.startswith("evicted/")


@dataclass(frozen=True, slots=True)
class Rendition:
    """Bytes that are made once from a blob and stored beside it, such as its peaks. `facts` say how to read them."""

    kind: str
    key: str
    bytes: int
    media_type: str
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartedUpload:
    """An upload that comes in parts. `bytes` and `sha256` are what the client announced, `handle` is the object store's
    name for it; `state` is open, completed or failed.
    """

    id: UUID
    owner_id: UUID
    library_id: UUID | None
    filename: str
    bytes: int
    sha256: str | None
    meta: Facts
    part_bytes: int
    key: str
    handle: str
    state: str
    error: Facts | None
    completing: bool
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NewAsset:
    """An asset about to be written: everything but what the database gives it. `search_text` is what else it is found
    by, and of a transcript what is sung: then the recordings above it are found by it too.
    """

    id: UUID
    library_id: UUID
    kind: str
    role: str
    name: str
    parent_id: UUID | None = None
    stem: str | None = None
    audio: Facts | None = None
    facts: Facts = field(default_factory=dict)
    job_id: UUID | None = None
    tags: Sequence[str] = ()
    rating: int | None = None
    favorite: bool = False
    color: str | None = None
    notes: str = ""
    metadata: Facts = field(default_factory=dict)
    search_text: str = ""


@dataclass(frozen=True, slots=True)
class Asset:
    """An immutable stored file and its row: track, stem, sample, mix, MIDI, transcript."""

    id: UUID
    owner_id: UUID
    library_id: UUID
    parent_id: UUID | None
    kind: str
    role: str
    stem: str | None
    name: str
    audio: Facts | None
    facts: Facts
    job_id: UUID | None
    version: int
    created_at: datetime
    updated_at: datetime
    blob: Blob
    tags: Sequence[str] = ()
    rating: int | None = None
    favorite: bool = False
    color: str | None = None
    notes: str = ""
    metadata: Facts = field(default_factory=dict)
    bpm: float | None = None
    musical_key: str | None = None
    trashed_at: datetime | None = None
    analysis: Facts | None = None


@dataclass(frozen=True, slots=True)
class JobInput:
    """One asset that a job reads, and what its parameters call it. `revision`: of a transcript that somebody edited, what
    is read in place of the asset's own bytes.
    """

    asset_id: UUID
    name: str | None = None
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """What somebody made of a transcript, from the revision `parent` on; `restored` is the one that it brings back. The
    first revision is the asset itself, as a machine wrote it. `sha256` and `bytes` are those of its JSON.
    """

    number: int
    parent: int | None
    restored: int | None
    sha256: str
    bytes: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Region:
    """A selection or a point in the recording of an asset, in seconds. `end` is None where the kind is a point."""

    id: UUID
    owner_id: UUID
    asset_id: UUID
    kind: RegionKind
    name: str | None
    start: float
    end: float | None
    color: str | None
    tags: tuple[str, ...]
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """One executor run on its inputs, the first of which is `asset_id`: the unit of queueing, retry, cancel and progress.

    `attempt` rises with every claim and is the fencing token: who holds an older one may not commit. `errors`,
    `crashes` and `drains` are counted apart, because only the first two use up attempts.
    """

    id: UUID
    owner_id: UUID
    operation: str
    model: str
    checkpoint: str | None
    params: Facts
    output: Facts
    asset_id: UUID | None
    library_id: UUID | None
    state: JobState
    priority: int
    attempt: int
    max_attempts: int
    errors: int
    crashes: int
    drains: int
    timeout_s: float
    cancel_requested: bool
    progress: Facts
    result: Facts
    error: Facts | None
    worker: str | None
    lease_until: datetime | None
    created_at: datetime
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    metadata: Facts
    retry_of: UUID | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """The jobs of one pipeline on one track, in their order. `steps` are as `pipelines.RunStep` writes them; `waiting`
    of them have not begun.
    """

    id: UUID
    owner_id: UUID
    pipeline: str
    steps: Sequence[Facts]
    asset_id: UUID | None
    output: Facts
    priority: int
    max_attempts: int
    timeout_s: float
    rerun: bool
    metadata: Facts
    waiting: int
    state: RunState = RunState.RUNNING
    cancel_requested: bool = False
    created_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One input of one step of a run, and its job; without one, `error` says why, or there was nothing to do. `made`:
    the job is there because of this run. `fraction` is the farthest that the job has been.
    """

    run_id: UUID
    step: str
    input_id: UUID | None
    job_id: UUID | None = None
    made: bool = False
    fraction: float = 0.0
    error: Facts | None = None
    state: JobState | None = None
    job_error: Facts | None = None


@dataclass(frozen=True, slots=True)
class Derivation:
    """An asset as its lineage tells of it, and the job that made it."""

    asset_id: UUID
    library_id: UUID
    kind: str
    role: str
    stem: str | None
    name: str
    evicted: bool
    job_id: UUID | None
    operation: str | None
    model: str | None
    params: Facts | None
    recipe: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """`target` was made from `source`; without a job it was put under it."""

    source: UUID
    target: UUID
    job_id: UUID | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """What an asset was made from, and what was made from it. `truncated`: there is more."""

    asset_id: UUID
    assets: Sequence[Derivation]
    links: Sequence[Link]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Event:
    """A fact, past tense. Durable ones carry `seq`, which counts up by one per owner."""

    type: str
    data: Facts
    owner_id: UUID
    seq: int | None = None
    job_id: UUID | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """An order for an archive: a library, assets, with `tree` what was made from them, or all of these."""

    id: UUID
    owner_id: UUID
    library_id: UUID | None
    asset_ids: tuple[UUID, ...]
    tree: bool
    include: tuple[str, ...]
    name_template: str
    created_at: datetime | None = None
    expires_at: datetime | None = None
    expired: bool = False
