"""Changes of many assets at once. Everything is locked in the order of ids."""

from collections.abc import Sequence
from uuid import UUID

from neuralib.entities import Asset
from neuralib.errors import NotFound

from . import Connection
from .assets import asset_of


async def lock(tx: Connection, owner: UUID, assets: Sequence[UUID]) -> None:
    """Raises NotFound unless all are there."""
    found = {row["id"] for row in await tx.all("lock_assets_to_change", owner, assets)}
    if missing := [id_ for id_ in assets if id_ not in found]:
        raise NotFound(f"there is no asset {missing[0]}")


async def lock_trees(tx: Connection, owner: UUID, assets: Sequence[UUID]) -> list[UUID]:
    """These and everything under them, from the trash too."""
    return [row["id"] for row in await tx.all("lock_subtrees", owner, assets)]


async def most_tags(
    tx: Connection, owner: UUID, assets: Sequence[UUID], add: Sequence[str], remove: Sequence[str]
) -> int:
    """How many tags one of them would have."""
    most: int = await tx.value("most_tags", owner, assets, add, remove)
    return most


async def say(
    tx: Connection,
    owner: UUID,
    assets: Sequence[UUID],
    add: Sequence[str],
    remove: Sequence[str],
    *,
    rating: int | None,
    favorite: bool | None,
    color: str | None,
) -> None:
    await tx.run("say_of_assets", owner, assets, add, remove, rating, favorite, color)


async def move(tx: Connection, owner: UUID, assets: Sequence[UUID], library: UUID) -> None:
    await tx.run("move_assets", owner, assets, library)


async def copy(tx: Connection, owner: UUID, old: Sequence[UUID], new: Sequence[UUID], library: UUID) -> None:
    """With their regions and revisions, and the tree that they are."""
    await tx.run("copy_assets", owner, old, new, library)
    await tx.run("copy_regions", owner, old, new)
    await tx.run("copy_revisions", owner, old, new)


async def read(tx: Connection, owner: UUID, assets: Sequence[UUID]) -> list[Asset]:
    """Those that are not in the trash."""
    return [asset_of(row) for row in await tx.all("live_assets_of", owner, assets)]
