"""Revisions of transcripts: those that people made. The first one of each is the asset itself."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from neuralib.entities import Job, Revision
from neuralib.errors import NotFound

from . import Connection, Row


def _revision(row: Row) -> Revision:
    return Revision(
        number=row["number"],
        parent=row["parent"],
        restored=row["restored"],
        sha256=row["sha256"],
        bytes=row["bytes"],
        created_at=row["created_at"],
    )


async def of_asset(tx: Connection, owner: UUID, asset: UUID) -> list[Revision]:
    """Newest first."""
    return [_revision(row) for row in await tx.all("list_revisions", owner, asset)]


async def newest(tx: Connection, owner: UUID, asset: UUID) -> Revision | None:
    row = await tx.one("newest_revision", owner, asset)
    return _revision(row) if row else None


async def newest_of(tx: Connection, owner: UUID, assets: Sequence[UUID]) -> dict[UUID, tuple[Revision, str]]:
    """By asset the newest, and its document, where there is one."""
    rows = await tx.all("newest_revisions", owner, assets)
    return {row["asset_id"]: (_revision(row), row["document"]) for row in rows}


async def digests(tx: Connection, owner: UUID, assets: Sequence[UUID]) -> dict[UUID, tuple[int, str]]:
    """By asset the number and the SHA-256 of the newest, where there is one."""
    rows = await tx.all("newest_digests", owner, assets)
    return {row["asset_id"]: (row["number"], row["sha256"]) for row in rows}


async def get(tx: Connection, owner: UUID, asset: UUID, number: int) -> tuple[Revision, str]:
    """It and its document. Raises NotFound."""
    row = await tx.one("get_revision", owner, asset, number)
    if row is None:
        raise NotFound(f"there is no revision {number} of asset {asset}")
    return _revision(row), row["document"]


async def insert(tx: Connection, owner: UUID, asset: UUID, new: Revision, document: str) -> Revision:
    """The asset is locked."""
    row = await tx.one(
        "insert_revision",
        owner,
        asset,
        new.number,
        new.parent,
        new.restored,
        document,
        new.sha256,
        new.bytes,
    )
    return _revision(row)


async def prune(tx: Connection, owner: UUID, asset: UUID, kept: int) -> None:
    """The oldest leave; what a job was given stays."""
    await tx.run("prune_revisions", owner, asset, kept)


async def read_by(tx: Connection, job: Job) -> Mapping[int, str]:
    """By the place of the input what the job was given in place of the asset's bytes. Raises NotFound."""
    rows = await tx.all("revisions_read", job.owner_id, job.id)
    if any(row["document"] is None for row in rows):
        raise NotFound("a revision that this job reads is gone")
    return {row["ord"]: row["document"] for row in rows}


async def index(tx: Connection, owner: UUID, asset: UUID, sung: str) -> None:
    """Searches find the transcript by these words from now on."""
    await tx.run("index_sung", owner, asset, sung.replace("\0", " "))
