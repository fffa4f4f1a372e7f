"""Uploads in parts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from neuralib import entities, uploads
from neuralib.objects import Part
from neuralib.objects.parts import MOST_PARTS, sizes

from .assets import UploadMeta
from .base import Reply, Request
from .problems import JobError

Number = Annotated[int, Field(ge=1, le=MOST_PARTS)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class NewUpload(Request):
    library_id: UUID
    filename: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    bytes: Annotated[int, Field(ge=1, le=1 << 50)]
    sha256: Annotated[
        Sha256 | None, Field(description="Of the whole file: held against what came before it is taken in.")
    ] = None
    meta: UploadMeta = UploadMeta()


class LinksQuery(Request):
    first: Annotated[Number, Field(description="The part to begin with.")] = 1
    last: Annotated[
        Number | None, Field(description=f"The last one; {uploads.LINKS} at most are told at once.")
    ] = None


class UploadPart(Reply):
    number: int
    bytes: int

    @classmethod
    def of(cls, part: Part) -> "UploadPart":
        return cls(number=part.number, bytes=part.bytes)


class PartLink(UploadPart):
    """PUT the part's bytes to `url`: as it is when it is `signed`, else with your credentials."""

    url: str
    signed: bool


class PartLinks(Reply):
    items: list[PartLink]

    @classmethod
    def of(cls, upload: UUID, links: Sequence[uploads.Link]) -> dict[str, Any]:
        items = [
            PartLink(
                number=link.part.number,
                bytes=link.part.bytes,
                url=link.url or f"/api/v1/uploads/{upload}/parts/{link.part.number}",
                signed=link.url is not None,
            )
            for link in links
        ]
        return cls(items=items).model_dump(mode="json")


class Upload(Reply):
    id: Annotated[UUID, Field(description="Of the upload, and then of the asset that it becomes.")]
    library_id: UUID | None
    state: Literal["open", "completing", "completed", "failed"]
    filename: str
    bytes: int
    sha256: str | None
    part_bytes: Annotated[int, Field(description="Of every part but the last.")]
    part_count: int
    parts: Annotated[list[UploadPart], Field(description="Those that are there.")]
    asset_id: Annotated[UUID | None, Field(description="When it is completed.")]
    error: Annotated[JobError | None, Field(description="When it has failed.")]
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, upload: entities.PartedUpload, parts: Sequence[Part] = ()) -> dict[str, Any]:
        return cls(
            id=upload.id,
            library_id=upload.library_id,
            state="completing" if upload.completing and upload.state == "open" else upload.state,
            filename=upload.filename,
            bytes=upload.bytes,
            sha256=upload.sha256,
            part_bytes=upload.part_bytes,
            part_count=len(sizes(upload.bytes, upload.part_bytes)),
            parts=[UploadPart.of(part) for part in parts],
            asset_id=upload.id if upload.state == "completed" else None,
            error=JobError.model_validate(upload.error) if upload.error else None,
            created_at=upload.created_at,
            expires_at=upload.expires_at,
        ).model_dump(mode="json")
