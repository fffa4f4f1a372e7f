"""Use cases of the trash: what is thrown away goes with all that was made from it, is found nowhere but here, and comes
back as it was, until the trash is emptied or its time is over.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from . import analyses, assets, libraries
from .db import Connection
from .db import assets as asset_rows
from .db import events as event_rows
from .db import libraries as library_rows
from .db import trash as rows
from .db.trash import Thrown
from .entities import Asset, Library
from .errors import AssetInUse, Conflict, NotFound, PreconditionFailed
from .pipeline import asset_event
from .services import Services

AT_ONCE = 100
"""How much is deleted before the next is looked for."""


async def throw_asset(
    services: Services, owner: UUID, asset: UUID, *, expected_version: int | None = None
) -> None:
    """With everything made from it. Raises NotFound, PreconditionFailed; AssetInUse while a job reads one of them."""
    async with services.db.transaction() as tx:
        await throw_in(tx, owner, asset, expected_version=expected_version)
    await services.bus.wake(owner)


async def throw_in(tx: Connection, owner: UUID, asset: UUID, *, expected_version: int | None = None) -> None:
    """The same in a transaction."""
    await rows.share_libraries(tx, owner, [asset])
    found = [id_ for id_, _ in await asset_rows.lock_subtree(tx, owner, asset)]
    before = await asset_rows.get(tx, owner, asset)
    if expected_version not in {None, before.version}:
        raise PreconditionFailed(f"asset {asset} changed meanwhile")
    await analyses.give_way(tx, found)
    if await asset_rows.busy(tx, found):
        raise AssetInUse(f"a job is working on asset {asset} or on one made from it")
    await rows.put_assets(tx, owner, found, asset)
    await event_rows.append(tx, asset_event("deleted", before, trashed=True))


async def throw_library(
    services: Services, owner: UUID, library: UUID, *, expected_version: int | None = None
) -> None:
    """With everything in it. Raises NotFound, PreconditionFailed; AssetInUse while a job works in it."""
    async with services.db.transaction() as tx:
        version = await library_rows.lock(tx, owner, library)
        if expected_version not in {None, version}:
            raise PreconditionFailed(f"library {library} changed meanwhile")
        found = [id_ for id_, _ in await asset_rows.lock_library(tx, owner, library)]
        await analyses.give_way(tx, found)
        if await asset_rows.library_busy(tx, library) or await asset_rows.busy(tx, found):
            raise AssetInUse("a job is working on an asset of this library, or writes into it")
        before = await library_rows.get(tx, owner, library)
        await rows.put_assets(tx, owner, found, library)
        await rows.put_library(tx, owner, library)
        await event_rows.append(tx, libraries.event("deleted", before, trashed=True))
    await services.bus.wake(owner)


async def restore_asset(services: Services, owner: UUID, asset: UUID) -> Asset:
    """With what went along with it; one that was not thrown away is left as it is. Raises NotFound; Conflict when it went
    along with another, or lies under one that is in the trash.
    """
    async with services.db.transaction() as tx:
        after = await take_out(tx, owner, asset)
    await services.bus.wake(owner)
    return after


async def take_out(tx: Connection, owner: UUID, asset: UUID) -> Asset:
    """The same in a transaction."""
    await rows.share_libraries(tx, owner, [asset])
    thrown = await rows.lock_asset(tx, owner, asset)
    if thrown is None:
        return await asset_rows.get(tx, owner, asset)
    if thrown != asset:
        raise Conflict(f"asset {asset} went along with {thrown}: restore that")
    if await rows.under_trash(tx, asset):
        raise Conflict(
            f"what asset {asset} was made from, or its library, is in the trash: restore that first"
        )
    await rows.take_out(tx, owner, asset)
    after = await asset_rows.get(tx, owner, asset)
    await event_rows.append(tx, asset_event("restored", after))
    return after


async def restore_library(services: Services, owner: UUID, library: UUID) -> Library:
    """With what went along with it. Raises NotFound."""
    async with services.db.transaction() as tx:
        thrown = await rows.lock_library(tx, owner, library)
        if thrown:
            await rows.take_out_library(tx, owner, library)
            await rows.take_out(tx, owner, library)
        after = await library_rows.get(tx, owner, library)
        if thrown:
            await event_rows.append(tx, libraries.event("restored", after))
    await services.bus.wake(owner)
    return after


async def page(
    services: Services, owner: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> list[Thrown]:
    """Newest first."""
    async with services.db.statements() as db:
        return await rows.page(db, owner, after, limit)


async def empty(services: Services, owner: UUID) -> int:
    """Delete for good what is in the trash now. How many assets and libraries had been thrown away."""
    return await _purge(services, owner, datetime.now(UTC))


async def expire(services: Services) -> int:
    """Delete for good what has been in the trash for longer than `storage.trash_days`; 0 keeps it for ever."""
    days = services.settings.storage.trash_days
    return await _purge(services, None, datetime.now(UTC) - timedelta(days=days)) if days else 0


async def _purge(services: Services, owner: UUID | None, before: datetime) -> int:
    purged = 0
    while True:
        async with services.db.statements() as db:
            due = await rows.due(db, owner, before, AT_ONCE)
        for kind, whose, id_ in due:
            delete = assets.delete if kind == "asset" else libraries.delete
            try:
                await delete(services, whose, id_, trashed=True)
            except NotFound:  # it was restored, or went with another
                continue
            purged += 1
        if len(due) < AT_ONCE:
            return purged
