"""Uploads that come in parts."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import timedelta
from uuid import UUID

from neuralib.entities import Facts, PartedUpload
from neuralib.errors import NotFound

from . import Connection, Row
from . import assets as asset_rows

_COLUMNS = [f.name for f in fields(PartedUpload)]


def _upload(row: Row) -> PartedUpload:
    return PartedUpload(**{name: row[name] for name in _COLUMNS})


async def insert(
    tx: Connection,
    owner: UUID,
    id: UUID,  # noqa: A002 - the column's name
    library: UUID,
    *,
    filename: str,
    size: int,
    sha256: str | None,
    meta: Facts,
    part_bytes: int,
    key: str,
    handle: str,
    expiry: timedelta,
) -> None:
    await tx.run(
        "insert_upload", id, owner, library, filename, size, sha256, meta, part_bytes, key, handle, expiry
    )


async def find(tx: Connection, owner: UUID, upload: UUID) -> PartedUpload | None:
    row = await tx.one("get_upload", owner, upload)
    return _upload(row) if row else None


async def get(tx: Connection, owner: UUID, upload: UUID) -> PartedUpload:
    """Raises NotFound, also when it has expired."""
    found = await find(tx, owner, upload)
    if found is None:
        raise NotFound(f"there is no upload {upload}")
    return found


async def count_open(tx: Connection, owner: UUID) -> tuple[int, int]:
    """How many an owner has begun and not ended, and the bytes that they announced."""
    row = await tx.one("open_uploads", owner)
    assert row is not None
    return row["count"], row["bytes"]


async def claim(tx: Connection, upload: UUID, lease: timedelta) -> bool:
    """Whether it is ours to complete until the lease ends."""
    return await tx.value("claim_upload", upload, lease) is not None


async def renew(tx: Connection, upload: UUID, lease: timedelta) -> None:
    """A lease of nothing gives it back."""
    await tx.run("renew_upload", upload, lease)


async def end(tx: Connection, upload: UUID, state: str, error: Facts | None = None) -> None:
    await tx.run("end_upload", upload, state, error)


async def expired(tx: Connection, limit: int) -> Sequence[PartedUpload]:
    return [_upload(row) for row in await tx.all("expired_uploads", limit)]


async def delete(tx: Connection, upload: PartedUpload) -> None:
    """And leave what was joined of it, if no asset came to own that, to the sweeper."""
    await tx.run("delete_upload", upload.id)
    await asset_rows.expire_pending(tx, [upload.key])
