"""Use cases of libraries."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypedDict
from uuid import UUID

from . import analyses
from .db import assets as asset_rows
from .db import events as event_rows
from .db import libraries as rows
from .db import trash as trash_rows
from .entities import Event, Library
from .errors import AssetInUse, NotFound, PreconditionFailed
from .services import Services

LOCAL_SUBJECT = "local"
"""The one owner of a single-user installation."""


async def ensure_local_owner(services: Services) -> UUID:
    async with services.db.statements() as db:
        return await rows.upsert_owner(db, LOCAL_SUBJECT)


async def create(
    services: Services,
    owner: UUID,
    *,
    name: str,
    description: str = "",
    color: str | None = None,
    id: UUID | None = None,  # noqa: A002 - a member's name
) -> Library:
    """`id`, when it is given, is what the library will be called; one that has it already is the answer."""
    async with services.db.transaction() as tx:
        if id is not None:
            await rows.lock_owner(tx, owner)
            if made := await rows.find(tx, owner, id, trashed=True):
                return made
        library = await rows.insert(tx, owner, name, description, color, id=id)
        await event_rows.append(tx, event("created", library))
    await services.bus.wake(owner)
    return library


async def get_any(services: Services, owner: UUID, library: UUID) -> Library:
    """Also from the trash. Raises NotFound."""
    async with services.db.statements() as db:
        found = await rows.find(db, owner, library, trashed=True)
    if found is None:
        raise NotFound(f"there is no library {library}")
    return found


async def get(services: Services, owner: UUID, library: UUID) -> Library:
    """Raises NotFound."""
    async with services.db.statements() as db:
        return await rows.get(db, owner, library)


async def page(services: Services, owner: UUID, *, before: UUID | None, limit: int) -> Sequence[Library]:
    """Newest first."""
    async with services.db.statements() as db:
        return await rows.page(db, owner, before, limit)


LEDGER_LINES = 100
"""What a library holds may take so many to add up."""


class LibraryChanges(TypedDict, total=False):
    """What may change of a library; what is left out stays as it is."""

    name: str
    description: str
    color: str | None


async def update(
    services: Services,
    owner: UUID,
    library: UUID,
    changes: LibraryChanges,
    *,
    expected_version: int | None = None,
) -> Library:
    """Raises NotFound; PreconditionFailed when the library is not at `expected_version` any more."""
    async with services.db.transaction() as tx:
        await rows.lock(tx, owner, library)  # or of two changes at once, one would undo the other
        before = await rows.get(tx, owner, library)
        await rows.update(tx, replace(before, **changes), expected_version)
        after = await rows.get(tx, owner, library)
        await event_rows.append(tx, event("updated", after))
    await services.bus.wake(owner)
    return after


async def fold_ledgers(services: Services) -> None:
    """So that reading what a library holds stays cheap."""
    async with services.db.statements() as db:
        await rows.fold_ledgers(db, LEDGER_LINES)


async def delete(
    services: Services,
    owner: UUID,
    library: UUID,
    *,
    trashed: bool = False,
    expected_version: int | None = None,
) -> None:
    """The library and everything in it, for good; with `trashed` only when it lies in the trash. Raises NotFound,
    PreconditionFailed; AssetInUse while a job works in it.
    """
    async with services.db.transaction() as tx:
        thrown = await trash_rows.lock_library(tx, owner, library)
        before = await rows.find(tx, owner, library, trashed=True)
        if before is None or (trashed and not thrown):
            raise NotFound(f"there is no library {library} in the trash")
        version = before.version
        if expected_version not in {None, version}:
            raise PreconditionFailed(f"library {library} changed meanwhile")
        found = await asset_rows.lock_library(tx, owner, library)
        await analyses.give_way(tx, [a for a, _ in found])
        if await asset_rows.library_busy(tx, library) or await asset_rows.busy(tx, [a for a, _ in found]):
            raise AssetInUse("a job is working on an asset of this library, or writes into it")
        await asset_rows.delete(tx, found)
        await rows.delete(tx, owner, library)
        await event_rows.append(tx, event("deleted", before, trashed=False))
    await services.bus.wake(owner)


def event(kind: str, library: Library, **more: Any) -> Event:
    """`library.created`, `library.updated`, `library.deleted`, `library.restored`."""
    data = {
        "type": f"library.{kind}",
        "library_id": str(library.id),
        "name": library.name,
        "version": library.version,
        **more,
    }
    return Event(f"library.{kind}", data, library.owner_id)
