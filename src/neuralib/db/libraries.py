"""Owners and libraries."""

from collections.abc import Sequence
from dataclasses import fields
from uuid import UUID

from neuralib.entities import Library, Owner, new_id
from neuralib.errors import NotFound, PreconditionFailed

from . import Connection, Row

_COLUMNS = [f.name for f in fields(Library)]


def _library(row: Row) -> Library:
    return Library(**{name: row[name] for name in _COLUMNS if name in row.keys()})  # noqa: SIM118 - a Record


async def upsert_owner(tx: Connection, subject: str, issuer: str = "") -> UUID:
    """The owner whom `issuer` calls `subject`; without an issuer this installation does. Made at first sight."""
    owner: UUID = await tx.value("upsert_owner", new_id(), subject, issuer)
    return owner


async def lock_owner(tx: Connection, owner: UUID) -> None:
    """Until the transaction ends nobody else counts or submits jobs of the owner."""
    await tx.run("lock_owner", owner)


async def find_owner(tx: Connection, subject: str, issuer: str) -> UUID:
    """Raises NotFound."""
    owner: UUID | None = await tx.value("find_owner", subject, issuer)
    if owner is None:
        raise NotFound(f"there is no owner {subject}")
    return owner


async def get_owner(tx: Connection, owner: UUID) -> Owner:
    row = await tx.one("get_owner", owner)
    assert row is not None
    return Owner(row["id"], row["issuer"], row["subject"], row["created_at"])


async def usage(tx: Connection, owner: UUID) -> Row:
    """storage_bytes and jobs_active."""
    return await tx.one("owner_usage", owner)


async def insert(
    tx: Connection,
    owner: UUID,
    name: str,
    description: str,
    color: str | None,
    *,
    id: UUID | None = None,  # noqa: A002 - the column's name
) -> Library:
    return _library(await tx.one("insert_library", id or new_id(), owner, name, description, color))


async def find(tx: Connection, owner: UUID, library: UUID, *, trashed: bool = False) -> Library | None:
    """With `trashed` also in the trash."""
    row = await tx.one("get_library", owner, library, trashed)
    return _library(row) if row else None


async def get(tx: Connection, owner: UUID, library: UUID) -> Library:
    """Raises NotFound."""
    found = await find(tx, owner, library)
    if found is None:
        raise NotFound(f"there is no library {library}")
    return found


async def require(tx: Connection, owner: UUID, library: UUID) -> None:
    """Raises NotFound."""
    if await tx.value("find_library_id", owner, library) is None:
        raise NotFound(f"there is no library {library}")


async def page(tx: Connection, owner: UUID, before: UUID | None, limit: int) -> Sequence[Library]:
    """Newest first; `before` is the last id of the page before."""
    return [_library(row) for row in await tx.all("list_libraries", owner, before, limit)]


async def update(tx: Connection, changed: Library, expected_version: int | None) -> None:
    """Raises NotFound; PreconditionFailed when the row is not at `expected_version` any more."""
    row = await tx.one(
        "update_library",
        changed.owner_id,
        changed.id,
        changed.name,
        changed.description,
        changed.color,
        expected_version,
    )
    if row is None:
        await get(tx, changed.owner_id, changed.id)
        raise PreconditionFailed(f"library {changed.id} changed meanwhile")


async def lock(tx: Connection, owner: UUID, library: UUID) -> int:
    """Its version. Raises NotFound."""
    version: int | None = await tx.value("lock_library", owner, library)
    if version is None:
        raise NotFound(f"there is no library {library}")
    return version


async def share(tx: Connection, owner: UUID, library: UUID) -> None:
    """It cannot be deleted before the transaction ends. Raises NotFound."""
    if await tx.value("share_library", owner, library) is None:
        raise NotFound(f"there is no library {library}")


async def fold_ledgers(tx: Connection, longer_than: int) -> int:
    """Of the libraries whose ledger has more lines. How many lines are left of those."""
    return await tx.run("fold_ledgers", longer_than)


async def delete(tx: Connection, owner: UUID, library: UUID) -> None:
    await tx.run("forget_library", owner, library)
    await tx.run("forget_uploads", owner, library)
    await tx.run("delete_library", owner, library)
