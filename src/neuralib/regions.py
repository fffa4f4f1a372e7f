"""Use cases of regions and markers: the regions of an asset are one set, which changes as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypedDict
from uuid import UUID

from .audio.spans import frames_between, require_within
from .db import Connection
from .db import assets as asset_rows
from .db import events as event_rows
from .db import regions as rows
from .entities import Asset, AssetKind, Event, Region, RegionKind, new_id
from .errors import FieldError, InputUnsupported, PreconditionFailed, ValidationFailed
from .services import Services

MAX_REGIONS = 1000
"""Of one asset."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A region as somebody wants it. With an `id` it is one that is there already."""

    kind: RegionKind
    start: float
    end: float | None = None
    name: str | None = None
    color: str | None = None
    tags: tuple[str, ...] = ()
    id: UUID | None = None


class RegionChanges(TypedDict, total=False):
    """What may change of a region; what is left out stays as it is."""

    kind: RegionKind
    start: float
    end: float | None
    name: str | None
    color: str | None
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RegionSet:
    """All regions of an asset in order of time, and how often they changed."""

    version: int
    regions: Sequence[Region]


async def of_asset(services: Services, owner: UUID, asset: UUID) -> RegionSet:
    """Raises NotFound."""
    async with services.db.transaction() as tx:
        await asset_rows.get(tx, owner, asset)
        # In this order: a change in between gives an older version to newer regions, which the next If-Match notices.
        return RegionSet(await rows.version(tx, owner, asset), await rows.of_asset(tx, owner, asset))


async def get(services: Services, owner: UUID, asset: UUID, region: UUID) -> Region:
    """Raises NotFound."""
    async with services.db.statements() as db:
        await asset_rows.get(db, owner, asset)
        return await rows.get(db, owner, asset, region)


async def replace_all(
    services: Services,
    owner: UUID,
    asset: UUID,
    drafts: Sequence[Draft],
    *,
    expected_version: int | None = None,
) -> RegionSet:
    """The set becomes these, all at once. Drafts with an id keep it; an id that the set does not have is not found.

    Raises NotFound, InputUnsupported, ValidationFailed, RegionOutOfBounds, PreconditionFailed.
    """
    async with services.db.transaction() as tx:
        found = await _audio(tx, owner, asset)
        made = [_region(found, draft, f"/items/{i}") for i, draft in enumerate(drafts)]
        version = await rows.raise_version(tx, owner, asset)
        _expect(expected_version, version - 1)
        for draft in drafts:
            if draft.id is not None:
                await rows.get(tx, owner, asset, draft.id)
        await rows.keep_only(tx, owner, asset, [region.id for region in made])
        for region in made:
            await rows.put(tx, region)
        after = RegionSet(version, await rows.of_asset(tx, owner, asset))
        await event_rows.append(tx, _event("replaced", found, version))
    await services.bus.wake(owner)
    return after


async def create(
    services: Services,
    owner: UUID,
    asset: UUID,
    draft: Draft,
    *,
    id: UUID | None = None,  # noqa: A002 - a member's name
) -> Region:
    """`id`, when it is given, is what the region will be called; one that has it already is the answer.

    Raises NotFound, InputUnsupported, ValidationFailed, RegionOutOfBounds.
    """
    async with services.db.transaction() as tx:
        found = await _audio(tx, owner, asset)
        version = await rows.raise_version(tx, owner, asset)
        if id is not None and (made := await rows.find(tx, owner, asset, id)):
            return made
        if await rows.count(tx, owner, asset) >= MAX_REGIONS:
            message = f"an asset has at most {MAX_REGIONS} regions"
            raise ValidationFailed(message, fields=[FieldError("", "too_many", message)])
        region = await rows.put(tx, replace(_region(found, draft), id=id or new_id()))
        await event_rows.append(tx, _event("created", found, version, region))
    await services.bus.wake(owner)
    return region


async def update(
    services: Services,
    owner: UUID,
    asset: UUID,
    region: UUID,
    changes: RegionChanges,
    *,
    expected_version: int | None = None,
) -> Region:
    """Raises NotFound, ValidationFailed, RegionOutOfBounds, PreconditionFailed."""
    async with services.db.transaction() as tx:
        found = await _audio(tx, owner, asset)
        version = await rows.raise_version(tx, owner, asset)
        before = await rows.get(tx, owner, asset, region)
        _expect(expected_version, before.version)
        wanted = replace(before, **changes)
        _require_place(found, wanted.kind, wanted.start, wanted.end)
        after = await rows.put(tx, wanted)
        await event_rows.append(tx, _event("updated", found, version, after))
    await services.bus.wake(owner)
    return after


async def delete(
    services: Services, owner: UUID, asset: UUID, region: UUID, *, expected_version: int | None = None
) -> None:
    """Raises NotFound, PreconditionFailed."""
    async with services.db.transaction() as tx:
        found = await asset_rows.get(tx, owner, asset)
        version = await rows.raise_version(tx, owner, asset)
        before = await rows.get(tx, owner, asset, region)
        _expect(expected_version, before.version)
        await rows.delete(tx, owner, asset, region)
        await event_rows.append(tx, _event("deleted", found, version, before))
    await services.bus.wake(owner)


async def _audio(tx: Connection, owner: UUID, asset: UUID) -> Asset:
    found = await asset_rows.get(tx, owner, asset)
    if found.kind != AssetKind.AUDIO:
        raise InputUnsupported(f"asset {asset} is {found.kind}, not audio: it has no regions")
    return found


def _expect(wanted: int | None, version: int) -> None:
    if wanted not in {None, version}:
        raise PreconditionFailed(f"it is at version {version} now")


def _region(asset: Asset, draft: Draft, pointer: str = "") -> Region:
    _require_place(asset, draft.kind, draft.start, draft.end, pointer)
    now = datetime.now(UTC)
    return Region(
        id=draft.id or new_id(),
        owner_id=asset.owner_id,
        asset_id=asset.id,
        kind=draft.kind,
        name=draft.name,
        start=draft.start,
        end=draft.end,
        color=draft.color,
        tags=draft.tags,
        version=1,
        created_at=now,
        updated_at=now,
    )


def _require_place(
    asset: Asset, kind: RegionKind, start: float, end: float | None, pointer: str = ""
) -> None:
    """Raises ValidationFailed when the end is missing, or is there where it does not belong; RegionOutOfBounds."""
    assert asset.audio is not None
    size = {"sample_rate": asset.audio["sample_rate"], "frames": asset.audio["frames"]}
    if kind.is_span != (end is not None):
        message = f"a {kind.value} has an end" if kind.is_span else f"a {kind.value} has no end"
        field = FieldError(f"{pointer}/end_s", "missing" if kind.is_span else "unexpected", message)
        raise ValidationFailed(f"{field.pointer}: {message}", fields=[field])
    if end is None:
        require_within(start, **size, pointer=pointer)
    else:
        frames_between(start, end, **size, pointer=pointer)


def _event(change: str, asset: Asset, version: int, region: Region | None = None) -> Event:
    """`region.changed`: `region_id` is null when the whole set was replaced."""
    data: dict[str, Any] = {
        "type": "region.changed",
        "change": change,
        "asset_id": str(asset.id),
        "library_id": str(asset.library_id),
        "region_id": str(region.id) if region else None,
        "version": version,
    }
    return Event("region.changed", data, asset.owner_id)
