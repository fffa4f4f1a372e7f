"""Use cases of many assets at once: all of them change, or none does."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from . import trash
from .db import Connection
from .db import assets as asset_rows
from .db import bulk as rows
from .db import events as event_rows
from .db import libraries as library_rows
from .db import trash as trash_rows
from .entities import new_id
from .errors import AssetInUse, FieldError, ValidationFailed
from .organising import MAX_TAGS
from .pipeline import asset_event
from .services import Services

MAX_TREE = 5000
"""Assets that one request may move or copy, with all that is under them."""


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of all of them; None leaves what was said before."""

    add_tags: Sequence[str] = ()
    remove_tags: Sequence[str] = ()
    rating: int | None = None
    favorite: bool | None = None
    color: str | None = None

    def changed(self) -> list[str]:
        told = [name for name in ("rating", "favorite", "color") if getattr(self, name) is not None]
        return ["tags", *told] if self.add_tags or self.remove_tags else told


async def say(services: Services, owner: UUID, assets: Sequence[UUID], said: Said) -> list[UUID]:
    """Raises NotFound; ValidationFailed when one would have too many tags."""
    async with services.db.transaction() as tx:
        await rows.lock(tx, owner, assets)
        tags = (list(said.add_tags), list(said.remove_tags))
        if await rows.most_tags(tx, owner, assets, *tags) > MAX_TAGS:
            raise _wrong("/add_tags", f"one of them would have more than {MAX_TAGS}")
        await rows.say(tx, owner, assets, *tags, rating=said.rating, favorite=said.favorite, color=said.color)
        await _tell(tx, owner, assets, "updated", said.changed())
    await services.bus.wake(owner)
    return list(assets)


async def move(services: Services, owner: UUID, assets: Sequence[UUID], library: UUID) -> list[UUID]:
    """With everything made from them; what leaves its parent behind becomes a root. Raises NotFound, ValidationFailed;
    AssetInUse while a job reads one of them.
    """
    async with services.db.transaction() as tx:
        tree = await _tree(tx, owner, assets, library)
        if await asset_rows.busy(tx, tree):
            raise AssetInUse("a job is working on one of these assets or on one made from them")
        await rows.move(tx, owner, tree, library)
        await _tell(tx, owner, assets, "updated", ["library_id", "parent_id"])
    await services.bus.wake(owner)
    return list(assets)


async def copy(services: Services, owner: UUID, assets: Sequence[UUID], library: UUID) -> list[UUID]:
    """With everything made from them and their regions; the bytes are shared. The new ids of `assets`, in order. Raises
    NotFound, ValidationFailed.
    """
    async with services.db.transaction() as tx:
        tree = await _tree(tx, owner, assets, library)
        ids = {asset.id: new_id() for asset in await rows.read(tx, owner, tree)}
        await rows.copy(tx, owner, list(ids), list(ids.values()), library)
        await _tell(tx, owner, list(ids.values()), "created", [])
    await services.bus.wake(owner)
    return [ids[asset] for asset in assets]


async def throw(services: Services, owner: UUID, assets: Sequence[UUID]) -> list[UUID]:
    """Into the trash, each with everything made from it. Raises NotFound; AssetInUse while a job reads one of them."""
    async with services.db.transaction() as tx:
        await trash_rows.share_libraries(tx, owner, assets)
        await rows.lock_trees(tx, owner, assets)
        await rows.lock(tx, owner, assets)
        for asset in assets:
            if await asset_rows.find(tx, owner, asset) is not None:  # else it went along with one before
                await trash.throw_in(tx, owner, asset)
    await services.bus.wake(owner)
    return list(assets)


async def restore(services: Services, owner: UUID, assets: Sequence[UUID]) -> list[UUID]:
    """Out of the trash. Raises NotFound; Conflict when one went along with another, or lies under one in the trash."""
    async with services.db.transaction() as tx:
        await trash_rows.share_libraries(tx, owner, assets)
        await rows.lock_trees(tx, owner, assets)
        for asset in assets:
            await trash.take_out(tx, owner, asset)
    await services.bus.wake(owner)
    return list(assets)


async def _tree(tx: Connection, owner: UUID, assets: Sequence[UUID], library: UUID) -> list[UUID]:
    """These and all that is under them, locked, and the library that they come into."""
    await library_rows.share(tx, owner, library)
    await trash_rows.share_libraries(tx, owner, assets)
    tree = await rows.lock_trees(tx, owner, assets)
    await rows.lock(tx, owner, assets)
    if len(tree) > MAX_TREE:
        raise _wrong("/asset_ids", f"{len(tree)} assets with those made from them are more than {MAX_TREE}")
    return tree


async def _tell(
    tx: Connection, owner: UUID, assets: Sequence[UUID], kind: str, changed: Sequence[str]
) -> None:
    more = {"changed": list(changed)} if changed else {}
    for asset in await rows.read(tx, owner, assets):
        await event_rows.append(tx, asset_event(kind, asset, **more))


def _wrong(pointer: str, message: str) -> ValidationFailed:
    return ValidationFailed(f"{pointer}: {message}", fields=[FieldError(pointer, "unfit", message)])
