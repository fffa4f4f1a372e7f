"""Assets, their bytes, and the form that brings them in."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from neuralib import entities
from neuralib.analyses import AnalysisSummary
from neuralib.assets import clean_name
from neuralib.organising import MAX_TAGS

from .base import Color, Name, Reply, Request, Word
from .problems import Problem


def _tag(text: str) -> str:
    """Tags are compared without case; a comma parts them in queries."""
    tag = " ".join(text.lower().split())
    if not tag or len(tag) > MAX_TAG or "," in tag or clean_name(tag) != tag:
        raise ValueError(f"must have 1 to {MAX_TAG} printable characters and no comma")
    return tag


MAX_TAG, MAX_METADATA = 64, 16384
Tag = Annotated[str, AfterValidator(_tag)]
Tags = Annotated[
    list[Tag], Field(max_length=MAX_TAGS), AfterValidator(lambda tags: list(dict.fromkeys(tags)))
]
Rating = Annotated[int, Field(ge=0, le=5)]
Role = Literal["track", "stem", "mix", "sample"]


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(metadata)) > MAX_METADATA:
        raise ValueError(f"may have {MAX_METADATA} bytes as JSON")
    return metadata


class AssetPatch(Request):
    """A merge patch (RFC 7396): what is absent stays, null clears, `metadata` is merged by member."""

    name: Name = ""
    tags: Tags | None = None
    rating: Rating | None = None
    favorite: bool | None = None
    color: Color | None = None
    notes: Annotated[str, StringConstraints(max_length=10_000)] | None = None
    role: Annotated[Role, Field(description="Of audio.")] = "track"
    stem: Annotated[Word | None, Field(description="Of what has the role `stem`.")] = None
    metadata: Annotated[dict[str, Any], AfterValidator(_small)] | None = None


class UploadMeta(Request):
    """The optional `meta` part before a `file` part."""

    name: Name | None = None
    role: Role = "track"


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
    """The job that made an asset. In lists only its id is told."""

    job_id: UUID
    operation: str | None = None
    model: Annotated[str | None, Field(description="With the digest of the weights that ran.")] = None
    params: dict[str, Any] | None = None
    recipe: Annotated[
        str | None, Field(description="The digest of all that determines what the job makes.")
    ] = None

    @classmethod
    def of(cls, derivation: entities.Derivation) -> Self | None:
        if derivation.job_id is None:
            return None
        return cls(
            job_id=derivation.job_id,
            operation=derivation.operation,
            model=derivation.model,
            params=dict(derivation.params or {}),
            recipe=derivation.recipe,
        )


class Urls(Reply):
    content: str
    peaks: str | None


class Asset(Reply):
    id: UUID
    library_id: UUID
    parent_id: UUID | None
    kind: str
    role: str
    stem: str | None
    name: str
    status: Annotated[
        Literal["ready", "evicted"], Field(description="evicted: its bytes are gone and can be made again.")
    ]
    audio: Audio | None
    facts: dict[str, Any]
    blob: BlobInfo
    derived_from: DerivedFrom | None
    urls: Urls
    version: int
    created_at: datetime
    updated_at: datetime
    tags: list[str]
    rating: int | None
    favorite: bool
    color: str | None
    notes: str
    metadata: Annotated[dict[str, Any], Field(description="Artist, title and the like.")]
    bpm: float | None
    musical_key: Annotated[str | None, Field(description="Such as `A minor`.")]
    analysis: Annotated[AnalysisSummary | None, Field(description="Of audio that was analysed.")]
    trashed_at: datetime | None
    made: Annotated[
        list[str] | None,
        Field(description="In lists with `include=made`: the names of its stems, `lyrics`, `notes`."),
    ] = None

    @classmethod
    def of(cls, asset: entities.Asset, derivation: entities.Derivation | None = None) -> dict[str, Any]:
        derived_from = DerivedFrom.of(derivation) if derivation else None
        return cls(
            id=asset.id,
            library_id=asset.library_id,
            parent_id=asset.parent_id,
            kind=asset.kind,
            role=asset.role,
            stem=asset.stem,
            name=asset.name,
            status="evicted" if asset.blob.evicted else "ready",
            audio=Audio.model_validate(asset.audio) if asset.audio else None,
            facts=dict(asset.facts),
            blob=BlobInfo(sha256=asset.blob.sha256, bytes=asset.blob.bytes, media_type=asset.blob.media_type),
            derived_from=derived_from or (DerivedFrom(job_id=asset.job_id) if asset.job_id else None),
            urls=_urls(asset),
            version=asset.version,
            created_at=asset.created_at,
            updated_at=asset.updated_at,
            tags=list(asset.tags),
            rating=asset.rating,
            favorite=asset.favorite,
            color=asset.color,
            notes=asset.notes,
            metadata=dict(asset.metadata),
            bpm=round(asset.bpm, 3) if asset.bpm is not None else None,
            musical_key=asset.musical_key,
            analysis=AnalysisSummary.model_validate(asset.analysis) if asset.analysis else None,
            trashed_at=asset.trashed_at,
        ).model_dump(mode="json")


def _urls(asset: entities.Asset) -> Urls:
    base = f"/api/v1/assets/{asset.id}"
    return Urls(
        content=f"{base}/content", peaks=f"{base}/peaks" if asset.kind == entities.AssetKind.AUDIO else None
    )


class AssetPage(Reply):
    items: list[Asset]
    next_cursor: str | None
    total: Annotated[int | None, Field(description="With `count=true`.")] = None


class UploadOutcome(Reply):
    """What became of one file: `asset` or `problem`."""

    status: int
    asset: Asset | None = None
    duplicate_of: Annotated[
        UUID | None,
        Field(
            description="The oldest other asset of the library with the same bytes, which are stored once."
        ),
    ] = None
    problem: Problem | None = None

    @classmethod
    def of(cls, asset: entities.Asset, duplicate_of: UUID | None) -> dict[str, Any]:
        double = {"duplicate_of": str(duplicate_of)} if duplicate_of else {}
        return {"status": 201, "asset": Asset.of(asset), **double}


class UploadResult(Reply):
    items: list[UploadOutcome]
