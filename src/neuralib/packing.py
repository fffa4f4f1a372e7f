"""What goes into an archive, under which names, and the manifest that tells of it.

Nothing is built ahead: the bytes of each file are read when its turn in the stream comes.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from . import __version__, assets
from .archives import manifest
from .archives.manifest import AssetPart, DerivationPart, LibraryPart, Manifest, RegionPart
from .archives.names import TEMPLATE, Names
from .archives.stream import Member, Stored, Text, measure, stream
from .assets import split_name
from .entities import Asset, AssetKind, Library, Region
from .errors import NotFound, StorageUnavailable
from .services import Services

LICENSES = "LICENSES.txt"
MAX_DEPTH = 100
"""From a file to the track whose folder it lies in."""


class Part(StrEnum):
    """What may be in an archive."""

    AUDIO = "audio"
    MIDI = "midi"
    LYRICS = "lyrics"
    ANALYSIS = "analysis"
    MANIFEST = "manifest"
    LICENSES = "licenses"


KINDS = {
    AssetKind.AUDIO: Part.AUDIO,
    AssetKind.MIDI: Part.MIDI,
    AssetKind.TRANSCRIPT: Part.LYRICS,
    AssetKind.ANALYSIS: Part.ANALYSIS,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants in it, and how the files are called."""

    include: frozenset[Part] = frozenset(Part)
    template: str = TEMPLATE


@dataclass(frozen=True, slots=True)
class Selection:
    """What is exported: assets, oldest first, how they were made, and what is marked in them."""

    name: str
    assets: Sequence[Asset]
    derivations: Sequence[DerivationPart] = ()
    regions: Mapping[UUID, Sequence[Region]] = field(default_factory=dict)
    library: Library | None = None


@dataclass(frozen=True, slots=True)
class Archive:
    """What will be streamed, under which file name, and how many bytes that is."""

    file_name: str
    members: Sequence[Member] = field(repr=False)
    size: int

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The zip. Raises StorageUnavailable when a file cannot be read: what came until then is not whole."""
        return stream(self.members)


async def pack(services: Services, selection: Selection, wanted: Wanted) -> Archive:
    """Raises NotFound when nothing of it is wanted."""
    members = await asyncio.to_thread(_members, services, selection, wanted)
    return Archive(f"{selection.name}.zip", members, await asyncio.to_thread(measure, members))


def _members(services: Services, selection: Selection, wanted: Wanted) -> list[Member]:
    places = place(selection.assets, wanted)
    if not places:
        raise NotFound("there is nothing in it to export")
    members: list[Member] = [
        Stored(places[asset.id], asset.blob.bytes, asset.created_at, reader(services, asset))
        for asset in selection.assets
        if asset.id in places
    ]
    now = datetime.now(UTC)
    if Part.LICENSES in wanted.include:
        members.append(Text(LICENSES, manifest.licenses(selection.derivations), now))
    if Part.MANIFEST in wanted.include:
        members.append(Text(manifest.FILE, _manifest(selection, places, now).document(), now))
    return members


def _manifest(selection: Selection, places: Mapping[UUID, str], now: datetime) -> Manifest:
    library = selection.library
    return Manifest(
        neuralib=__version__,
        exported_at=now,
        library=library
        and LibraryPart(name=library.name, description=library.description, color=library.color),
        assets=[
            _part(asset, places.get(asset.id), selection.regions.get(asset.id, ()))
            for asset in selection.assets
        ],
        derivations=list(selection.derivations),
    )


def place(found: Sequence[Asset], wanted: Wanted) -> dict[UUID, str]:
    """Where each asset that is wanted lies in the archive: a folder for each track, with all that was made from it.
    What has been evicted is only in the manifest, with its recipe.
    """
    names, there = Names(manifest.FILE, LICENSES), {asset.id: asset for asset in found}
    folders: dict[UUID, str] = {}
    places = {}
    for asset in found:
        if asset.blob.evicted or KINDS[AssetKind(asset.kind)] not in wanted.include:
            continue
        root = _root(asset, there)
        if root.id not in folders:
            folders[root.id] = names.folder(root.name)
        name, suffix = split_name(asset)
        fields = {"track": folders[root.id], "name": name, "role": asset.role, "kind": asset.kind}
        places[asset.id] = names.file(wanted.template, {**fields, "stem": asset.stem or asset.role}, suffix)
    return places


def _root(asset: Asset, there: dict[UUID, Asset]) -> Asset:
    """The highest of what it was made from that is exported too."""
    for _ in range(MAX_DEPTH):
        if asset.parent_id not in there:
            break
        asset = there[asset.parent_id]
    return asset


def _part(asset: Asset, file: str | None, regions: Sequence[Region]) -> AssetPart:
    return AssetPart(
        id=asset.id,
        parent_id=asset.parent_id,
        kind=asset.kind,
        role=asset.role,
        stem=asset.stem,
        name=asset.name,
        file=file,
        sha256=asset.blob.sha256,
        bytes=asset.blob.bytes,
        media_type=asset.blob.media_type,
        audio=dict(asset.audio) if asset.audio else None,
        facts=dict(asset.facts),
        derivation=asset.job_id,
        regions=[
            RegionPart(
                kind=r.kind, name=r.name, start_s=r.start, end_s=r.end, color=r.color, tags=list(r.tags)
            )
            for r in regions
        ],
        tags=list(asset.tags),
        rating=asset.rating,
        favorite=asset.favorite,
        color=asset.color,
        notes=asset.notes,
        metadata=dict(asset.metadata),
        created_at=asset.created_at,
    )


def reader(services: Services, asset: Asset) -> Callable[[], AsyncGenerator[bytes, None]]:
    """Reads the asset when its turn comes. Raises StorageUnavailable, also when its bytes were deleted meanwhile."""

    async def read() -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(assets.content(services, asset)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except NotFound as error:
            raise StorageUnavailable(f"the bytes of asset {asset.id} went away") from error

    return read
