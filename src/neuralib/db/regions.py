"""Regions and markers of assets. The row of the asset counts the changes to its set."""

from collections.abc import Sequence
from uuid import UUID

from neuralib.entities import Region, RegionKind
from neuralib.errors import NotFound

from . import Connection, Row


def _region(row: Row) -> Region:
    return Region(
        id=row["id"],
        owner_id=row["owner_id"],
        asset_id=row["asset_id"],
        kind=RegionKind(row["kind"]),
        name=row["name"],
        start=row["start_s"],
        end=row["end_s"],
        color=row["color"],
        tags=tuple(row["tags"]),
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def version(tx: Connection, owner: UUID, asset: UUID) -> int:
    """Of the set: how often it changed."""
    count: int = await tx.value("regions_version", owner, asset)
    return count


async def raise_version(tx: Connection, owner: UUID, asset: UUID) -> int:
    """The set is about to change; until the transaction ends nobody else changes it. Its new version."""
    count: int = await tx.value("raise_regions_version", owner, asset)
    return count


async def of_asset(tx: Connection, owner: UUID, asset: UUID) -> list[Region]:
    """In order of time."""
    return [_region(row) for row in await tx.all("list_regions", owner, asset)]


async def of_assets(tx: Connection, owner: UUID, assets: Sequence[UUID]) -> dict[UUID, list[Region]]:
    """In order of time, for those that have any."""
    found: dict[UUID, list[Region]] = {}
    for row in await tx.all("list_regions_of", owner, assets):
        found.setdefault(row["asset_id"], []).append(_region(row))
    return found


async def find(tx: Connection, owner: UUID, asset: UUID, region: UUID) -> Region | None:
    row = await tx.one("get_region", owner, asset, region)
    return _region(row) if row else None


async def get(tx: Connection, owner: UUID, asset: UUID, region: UUID) -> Region:
    """Raises NotFound."""
    found = await find(tx, owner, asset, region)
    if found is None:
        raise NotFound(f"there is no region {region}")
    return found


async def put(tx: Connection, region: Region) -> Region:
    """Write it, or write it over the one of the same id."""
    row = await tx.one(
        "put_region",
        region.id,
        region.owner_id,
        region.asset_id,
        region.kind.value,
        region.name,
        region.start,
        region.end,
        region.color,
        region.tags,
    )
    return _region(row)


async def delete(tx: Connection, owner: UUID, asset: UUID, region: UUID) -> None:
    await tx.run("delete_region", owner, asset, region)


async def keep_only(tx: Connection, owner: UUID, asset: UUID, kept: Sequence[UUID]) -> None:
    """The other regions of the asset leave."""
    await tx.run("delete_regions_but", owner, asset, kept)


async def count(tx: Connection, owner: UUID, asset: UUID) -> int:
    number: int = await tx.value("count_regions", owner, asset)
    return number
