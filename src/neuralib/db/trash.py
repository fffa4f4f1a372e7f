"""What was thrown away and may still come back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from neuralib.errors import NotFound

from . import Connection


@dataclass(frozen=True, slots=True)
class Thrown:
    """An asset or a library in the trash, and how many assets come back with it."""

    kind: str
    id: UUID
    library_id: UUID
    name: str
    trashed_at: datetime
    assets: int


async def share_libraries(tx: Connection, owner: UUID, assets: Sequence[UUID]) -> None:
    """The libraries of these assets stay until the transaction ends."""
    await tx.all("share_libraries_of", owner, assets)


async def put_assets(tx: Connection, owner: UUID, assets: Sequence[UUID], along_with: UUID) -> None:
    """What is there already stays as it came."""
    await tx.run("trash_assets", owner, assets, along_with)


async def put_library(tx: Connection, owner: UUID, library: UUID) -> None:
    await tx.run("trash_library", owner, library)


async def lock_asset(tx: Connection, owner: UUID, asset: UUID) -> UUID | None:
    """What it was thrown away with. Raises NotFound."""
    row = await tx.one("lock_trashed_asset", owner, asset)
    if row is None:
        raise NotFound(f"there is no asset {asset}")
    thrown: UUID | None = row["trashed_with"]
    return thrown


async def under_trash(tx: Connection, asset: UUID) -> bool:
    """Whether what a locked asset was made from, or its library, lies in the trash."""
    return bool(await tx.value("above_in_trash", asset))


async def lock_library(tx: Connection, owner: UUID, library: UUID) -> bool:
    """Whether it lies in the trash. Raises NotFound."""
    row = await tx.one("lock_trashed_library", owner, library)
    if row is None:
        raise NotFound(f"there is no library {library}")
    return row["trashed_at"] is not None


async def take_out(tx: Connection, owner: UUID, thrown: UUID) -> None:
    """All that went along with it."""
    await tx.run("restore_assets", owner, thrown)


async def take_out_library(tx: Connection, owner: UUID, library: UUID) -> None:
    await tx.run("restore_library", owner, library)


async def page(tx: Connection, owner: UUID, after: tuple[datetime, UUID] | None, limit: int) -> list[Thrown]:
    """Newest first."""
    at, id_ = after or (None, None)
    return [Thrown(**dict(row)) for row in await tx.all("list_trash", owner, at, id_, limit)]


async def due(
    tx: Connection, owner: UUID | None, before: datetime, limit: int
) -> list[tuple[str, UUID, UUID]]:
    """(kind, owner, id) of what was thrown away until then; the oldest first."""
    rows = await tx.all("due_trash", owner, before, limit)
    return [(row["kind"], row["owner_id"], row["id"]) for row in rows]
