"""Assets, the blobs they share, and the keys that are waiting for an owner or for the sweeper."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from neuralib.entities import Asset, Blob, Job, NewAsset
from neuralib.errors import NotFound

from . import Connection, Row

PENDING_FOR = timedelta(hours=24)


def _blob(row: Row, id_column: str) -> Blob:
    return Blob(row[id_column], row["sha256"], row["bytes"], row["key"], row["media_type"])


def asset_of(row: Row) -> Asset:
    return Asset(
        id=row["id"],
        owner_id=row["owner_id"],
        library_id=row["library_id"],
        parent_id=row["parent_id"],
        kind=row["kind"],
        role=row["role"],
        stem=row["stem"],
        name=row["name"],
        audio=row["audio"],
        facts=row["facts"],
        job_id=row["job_id"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        blob=_blob(row, "blob_id"),
        tags=row["tags"],
        rating=row["rating"],
        favorite=row["favorite"],
        color=row["color"],
        notes=row["notes"],
        metadata=row["metadata"],
        bpm=row["bpm"],
        musical_key=row["musical_key"],
        trashed_at=row["trashed_at"],
        analysis=row["analysis"],
    )


async def add_pending(tx: Connection, key: str) -> None:
    """Before the first byte of `key` is written."""
    await tx.run("add_pending", key, PENDING_FOR)


async def drop_pending(tx: Connection, keys: Sequence[str]) -> None:
    """In the transaction that gives `keys` an owner, or after their bytes are gone."""
    await tx.run("drop_pending", keys)


async def expire_pending(tx: Connection, keys: Sequence[str]) -> None:
    """Nobody will ever own these keys: the sweeper may take them now."""
    await tx.run("expire_pending", keys)


async def due_pending(tx: Connection, limit: int) -> list[str]:
    return [row["key"] for row in await tx.all("due_pending", limit)]


async def keep_blob(tx: Connection, owner: UUID, blob: Blob) -> UUID:
    """Its id, or that of the owner's blob of the same bytes when there is one; then `blob.key` becomes due for the
    sweeper. A blob whose bytes had been evicted has them back.
    """
    row = await tx.one("upsert_blob", blob.id, owner, blob.sha256, blob.bytes, blob.key, blob.media_type)
    assert row is not None
    if row["key"] == blob.key:
        await drop_pending(tx, [blob.key])
    else:
        await expire_pending(tx, [blob.key])
    kept: UUID = row["id"]
    return kept


async def insert(tx: Connection, owner: UUID, new: NewAsset, blob: Blob) -> None:
    """Write an asset over `blob`, or over the owner's blob of the same bytes: see `keep_blob`."""
    blob_id = await keep_blob(tx, owner, blob)
    await tx.run(
        "insert_asset",
        new.id,
        owner,
        new.library_id,
        new.parent_id,
        new.kind,
        new.role,
        new.stem,
        new.name,
        new.audio,
        new.facts,
        new.job_id,
        blob_id,
        list(new.tags),
        new.rating,
        new.favorite,
        new.color,
        new.notes,
        new.metadata,
        new.search_text.replace("\0", " "),
    )


async def lock(tx: Connection, owner: UUID, asset: UUID) -> int:
    """Its version. Jobs may go on reading it. Raises NotFound."""
    version: int | None = await tx.value("lock_asset", owner, asset)
    if version is None:
        raise NotFound(f"there is no asset {asset}")
    return version


async def update(tx: Connection, after: Asset) -> None:
    """What people say of a locked asset."""
    await tx.run(
        "update_asset",
        after.owner_id,
        after.id,
        after.name,
        after.role,
        after.stem,
        list(after.tags),
        after.rating,
        after.favorite,
        after.color,
        after.notes,
        after.metadata,
    )


async def get(tx: Connection, owner: UUID, asset: UUID, *, trashed: bool = False) -> Asset:
    """With `trashed` also from the trash. Raises NotFound."""
    found = await find(tx, owner, asset, trashed=trashed)
    if found is None:
        raise NotFound(f"there is no asset {asset}")
    return found


async def find(tx: Connection, owner: UUID, asset: UUID, *, trashed: bool = False) -> Asset | None:
    """With `trashed` also in the trash."""
    row = await tx.one("get_asset", owner, asset, trashed)
    return asset_of(row) if row else None


async def find_duplicate(tx: Connection, asset: Asset) -> UUID | None:
    """The oldest other asset of its library that has the same bytes."""
    duplicate: UUID | None = await tx.value("find_duplicate", asset.library_id, asset.blob.id, asset.id)
    return duplicate


async def of_jobs(tx: Connection, owner: UUID, jobs: Sequence[UUID]) -> list[Asset]:
    """What these jobs made."""
    return [asset_of(row) for row in await tx.all("list_job_assets", owner, jobs)]


async def of_library(tx: Connection, owner: UUID, library: UUID, limit: int) -> list[Asset]:
    """Everything in a library, oldest first."""
    return [asset_of(row) for row in await tx.all("export_library", owner, library, limit)]


async def of_ids(tx: Connection, owner: UUID, ids: Sequence[UUID], *, tree: bool, limit: int) -> list[Asset]:
    """Those of the assets that are there, oldest first; with `tree` everything made from them too."""
    return [asset_of(row) for row in await tx.all("export_assets", owner, ids, tree, limit)]


async def newest_child(
    tx: Connection, owner: UUID, asset: UUID, kind: str, media_types: Sequence[str]
) -> Asset | None:
    """Of this kind and of the first of these types that there is any of."""
    row = await tx.one("newest_child", owner, asset, kind, media_types)
    return asset_of(row) if row else None


async def newest_stems(tx: Connection, owner: UUID, asset: UUID) -> list[Asset]:
    """What the last separation of the asset made and is still there, by name."""
    return [asset_of(row) for row in await tx.all("newest_stems", owner, asset)]


async def share(tx: Connection, owner: UUID, assets: Sequence[UUID]) -> list[Asset]:
    """These assets, in this order; they cannot be deleted before the transaction ends. Raises NotFound."""
    found = {row["id"]: asset_of(row) for row in await tx.all("share_assets", owner, assets)}
    for asset in assets:
        if asset not in found:
            raise NotFound(f"there is no asset {asset}")
    return [found[asset] for asset in assets]


async def read_by(tx: Connection, job: Job) -> list[tuple[str | None, Asset]]:
    """What the job was given, in its order, each with its name. Raises NotFound when something of it is gone."""
    rows = await tx.all("list_assets_read", job.owner_id, job.id)
    if not rows or any(row["id"] is None for row in rows):
        raise NotFound("an asset that this job reads is gone")
    return [(row["input_name"], asset_of(row)) for row in rows]


async def stored_bytes(tx: Connection, owner: UUID) -> int:
    count: int = await tx.value("stored_bytes", owner)
    return count


async def lock_subtree(tx: Connection, owner: UUID, asset: UUID) -> list[tuple[UUID, UUID]]:
    """(asset, blob) of the asset and everything under it. Raises NotFound."""
    rows = await tx.all("lock_subtree", owner, asset)
    if not rows:
        raise NotFound(f"there is no asset {asset}")
    return [(row["id"], row["blob_id"]) for row in rows]


async def lock_library(tx: Connection, owner: UUID, library: UUID) -> list[tuple[UUID, UUID]]:
    """(asset, blob) of everything in the library."""
    return [(r["id"], r["blob_id"]) for r in await tx.all("lock_library_assets", owner, library)]


async def busy(tx: Connection, assets: Sequence[UUID]) -> bool:
    """Whether a job waits for or reads one of them."""
    return bool(await tx.value("assets_busy", assets))


async def library_busy(tx: Connection, library: UUID) -> bool:
    """Whether a job will write into the library."""
    return bool(await tx.value("library_busy", library))


async def delete(tx: Connection, found: Sequence[tuple[UUID, UUID]]) -> None:
    """The rows go now; bytes that nobody else uses are left to the sweeper."""
    blobs = sorted({blob for _, blob in found})
    await tx.run("delete_assets", [asset for asset, _ in found])
    await tx.all("lock_blobs", blobs)
    await tx.all("doom_blobs", blobs)
