"""What was made from what; bytes that may go because a recipe makes them again."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from neuralib.entities import Asset, Blob, Derivation, Facts, Job, Lineage, Link
from neuralib.errors import NotFound

from . import Connection, Row
from . import assets as asset_rows
from . import jobs as job_rows


async def lock(tx: Connection, owner: UUID, asset: UUID) -> Asset:
    """Nobody begins to read it before the transaction ends. Raises NotFound."""
    if await tx.one("lock_derived", owner, asset) is None:
        raise NotFound(f"there is no asset {asset}")
    return await asset_rows.get(tx, owner, asset)


async def count_other_users(tx: Connection, asset: Asset) -> int:
    """How many other assets have the same bytes; nobody else comes to use them before the transaction ends."""
    await tx.all("lock_blobs", [asset.blob.id])
    count: int = await tx.value("count_other_users", asset.blob.id, asset.id)
    return count


async def evict(tx: Connection, asset: Asset) -> None:
    """Leave its bytes to the sweeper."""
    await tx.run("evict_blob", asset.blob.id)
    await tx.run("touch_asset", asset.id)


async def find_rebuild(tx: Connection, owner: UUID, asset: UUID) -> Job | None:
    """The job that waits or runs to make the asset again."""
    job = await tx.value("find_rebuild", owner, asset)
    return None if job is None else await job_rows.get(tx, owner, job)


async def refill(
    tx: Connection, asset: Asset, blob: Blob, audio: Facts | None, told: Mapping[str, Any]
) -> Asset:
    """Give the asset these bytes, and its facts what is `told` of it. The blob that it had leaves when nobody else has
    it.
    """
    blob_id = await asset_rows.keep_blob(tx, asset.owner_id, blob)
    await tx.run("refill_asset", asset.id, blob_id, audio, told)
    await tx.all("doom_blobs", [asset.blob.id])
    return await asset_rows.get(tx, asset.owner_id, asset.id)


# ── lineage ───────────────────────────────────────────────────────────────────────────────────────────


async def lineage(tx: Connection, owner: UUID, asset: UUID, *, depth: int, limit: int) -> Lineage:
    """What it was made from and what was made from it, `depth` steps each way and the nearest `limit` of each, without
    what is in the trash.
    """
    up = [row["id"] for row in await tx.all("list_ancestors", owner, asset, depth, limit + 1)]
    down = [row["id"] for row in await tx.all("list_descendants", owner, asset, depth, limit + 1)]
    found = await tx.all("list_lineage", owner, list({*up[:limit], *down[:limit]}))
    ids = [row["id"] for row in found]
    return Lineage(
        asset_id=asset,
        assets=[_derivation(row) for row in found],
        links=[Link(r["source"], r["target"], r["job_id"]) for r in await tx.all("list_lineage_edges", ids)],
        truncated=max(len(up), len(down)) > limit,
    )


async def derivation(tx: Connection, asset: Asset) -> Derivation:
    (row,) = await tx.all("list_lineage", asset.owner_id, [asset.id])
    return _derivation(row)


def _derivation(row: Row) -> Derivation:
    named = f"{row['model']}/{row['checkpoint']}" if row["checkpoint"] else row["model"]
    return Derivation(
        asset_id=row["id"],
        library_id=row["library_id"],
        kind=row["kind"],
        role=row["role"],
        stem=row["stem"],
        name=row["name"],
        evicted=Blob.is_nowhere(row["key"]),
        job_id=row["job_id"],
        operation=row["operation"],
        model=row["ran"] or named,
        params=row["params"],
        recipe=row["recipe"],
    )
