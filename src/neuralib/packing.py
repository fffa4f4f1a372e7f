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
from .archives.editions import editions
from .archives.manifest import AssetPart, DerivationPart, LibraryPart, Manifest, RegionPart, RevisionPart
from .archives.names import TEMPLATE, Names
from .archives.stream import Member, Stored, Text, measure, stream
from .assets import split_name
from .entities import Asset, AssetKind, Library, Region, Revision
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
    edited: Mapping[UUID, tuple[Revision, str]] = field(default_factory=dict)
    """By transcript its newest revision, where somebody made one, and the JSON of it."""
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


@dataclass(frozen=True, slots=True)
class Places:
    """By asset where its file lies, and where the words of its newest revision do."""

    files: dict[UUID, str]
    editions: dict[UUID, str]


async def pack(services: Services, selection: Selection, wanted: Wanted) -> Archive:
    """Raises NotFound when nothing of it is wanted."""
    members = await asyncio.to_thread(_members, services, selection, wanted)
    return Archive(f"{selection.name}.zip", members, await asyncio.to_thread(measure, members))


def _members(services: Services, selection: Selection, wanted: Wanted) -> list[Member]:
    texts = editions(selection.assets, {id_: document for id_, (_, document) in selection.edited.items()})
    places = place(selection.assets, wanted, frozenset(texts))
    if not places.files and not places.editions:
        raise NotFound("there is nothing in it to export")
    members: list[Member] = [
        Stored(places.files[asset.id], asset.blob.bytes, asset.created_at, reader(services, asset))
        for asset in selection.assets
        if asset.id in places.files
    ]
    now = datetime.now(UTC)
    members += [Text(name, texts[id_], now) for id_, name in places.editions.items()]
    if Part.LICENSES in wanted.include:
        members.append(Text(LICENSES, manifest.licenses(selection.derivations), now))
    if Part.MANIFEST in wanted.include:
        members.append(Text(manifest.FILE, _manifest(selection, places, now).document(), now))
    return members


def _manifest(selection: Selection, places: Places, now: datetime) -> Manifest:
    library = selection.library
    return Manifest(
        neuralib=__version__,
        exported_at=now,
        library=library
        and LibraryPart(name=library.name, description=library.description, color=library.color),
        assets=[_part(asset, selection, places) for asset in selection.assets],
        derivations=list(selection.derivations),
    )


def place(found: Sequence[Asset], wanted: Wanted, edited: frozenset[UUID] = frozenset()) -> Places:
    """Where each asset that is wanted lies in the archive: a folder for each track, with all that was made from it.
    What has been evicted is only in the manifest, with its recipe. Of what is `edited` the words as they stand now have
    the name, and the machine's lie beside them.
    """
    names, there = Names(manifest.FILE, LICENSES), {asset.id: asset for asset in found}
    folders: dict[UUID, str] = {}
    places = Places({}, {})
    for asset in found:
        if (asset.blob.evicted and asset.id not in edited) or KINDS[
            AssetKind(asset.kind)
        ] not in wanted.include:
            continue
        root = _root(asset, there)
        if root.id not in folders:
            folders[root.id] = names.folder(root.name)
        name, suffix = split_name(asset)
        fields = {"track": folders[root.id], "name": name, "role": asset.role, "kind": asset.kind}
        fields["stem"] = asset.stem or asset.role
        if asset.id in edited:
            places.editions[asset.id] = names.file(wanted.template, fields, suffix)
            fields["name"] = f"{name} [machine]"
        if not asset.blob.evicted:
            places.files[asset.id] = names.file(wanted.template, fields, suffix)
    return places


def _root(asset: Asset, there: dict[UUID, Asset]) -> Asset:
    """The highest of what it was made from that is exported too."""
    for _ in range(MAX_DEPTH):
        if asset.parent_id not in there:
            break
        asset = there[asset.parent_id]
    return asset


def _part(asset: Asset, selection: Selection, places: Places) -> AssetPart:
    regions = selection.regions.get(asset.id, ())
    return AssetPart(
        id=asset.id,
        parent_id=asset.parent_id,
        kind=asset.kind,
        role=asset.role,
        stem=asset.stem,
        name=asset.name,
        file=places.files.get(asset.id),
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
        revision=_revision(asset, selection, places),
        tags=list(asset.tags),
        rating=asset.rating,
        favorite=asset.favorite,
        color=asset.color,
        notes=asset.notes,
        metadata=dict(asset.metadata),
        created_at=asset.created_at,
    )


def _revision(asset: Asset, selection: Selection, places: Places) -> RevisionPart | None:
    if asset.id not in selection.edited:
        return None
    newest, document = selection.edited[asset.id]
    return RevisionPart(
        number=newest.number,
        created_at=newest.created_at,
        file=places.editions.get(asset.id),
        document=document,
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
