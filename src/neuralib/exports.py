"""Use cases of exports: what goes into an archive, under which names, and the manifest that tells of it.

Nothing is built ahead: the rows are read once, the bytes of each file when its turn in the stream comes.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePosixPath
from uuid import UUID

from . import __version__, assets
from .archives import manifest
from .archives.manifest import AssetPart, DerivationPart, InputPart, LibraryPart, Manifest
from .archives.names import TEMPLATE, Names
from .archives.stream import Member, Stored, Text, measure, stream
from .assets import SUFFIXES
from .db import Connection
from .db import assets as rows
from .db import job_inputs as input_rows
from .db import jobs as job_rows
from .db import libraries as library_rows
from .entities import Asset, AssetKind, Library
from .errors import NotFound, StorageUnavailable, ValidationFailed
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
class Archive:
    """What will be streamed, and how many bytes that is."""

    name: str
    members: Sequence[Member] = field(repr=False)
    size: int

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The zip. Raises StorageUnavailable when a file cannot be read: what came until then is not whole."""
        return stream(self.members)


async def of_library(services: Services, owner: UUID, library: UUID, wanted: Wanted) -> Archive:
    """Everything in a library. Raises NotFound, also when that is nothing; ValidationFailed when it is too much."""
    async with services.db.transaction() as tx:
        whole = await library_rows.get(tx, owner, library)
        found = await rows.of_library(tx, owner, library, manifest.MAX_ASSETS + 1)
        derivations = await _derivations(tx, owner, found)
    return await _archive(services, whole.name, found, derivations, wanted, whole)


async def of_assets(
    services: Services, owner: UUID, ids: Sequence[UUID], wanted: Wanted, *, tree: bool = True
) -> Archive:
    """The assets, with `tree` everything made from them too. Raises NotFound when one is missing, or nothing is left
    to export; ValidationFailed when it is too much.
    """
    async with services.db.transaction() as tx:
        found = await rows.of_ids(tx, owner, ids, tree=tree, limit=manifest.MAX_ASSETS + 1)
        derivations = await _derivations(tx, owner, found)
    there = {asset.id: asset for asset in found}
    for id_ in ids:
        if id_ not in there and len(found) <= manifest.MAX_ASSETS:
            raise NotFound(f"there is no asset {id_}")
    return await _archive(services, there[ids[0]].name if ids[0] in there else "", found, derivations, wanted)


async def _derivations(tx: Connection, owner: UUID, found: Iterable[Asset]) -> list[DerivationPart]:
    jobs = list({asset.job_id for asset in found if asset.job_id})
    inputs = await input_rows.with_digests(tx, owner, jobs)
    return [
        DerivationPart(
            id=job.id,
            operation=job.operation,
            model=job.model,
            checkpoint=job.checkpoint,
            params=dict(job.params),
            output=dict(job.output),
            recipe=recipe or job.result.get("imported_from", {}).get("recipe"),
            inputs=[InputPart(name=n, asset_id=a, sha256=s) for n, a, s in inputs[job.id]],
            result=dict(job.result),
            metadata=dict(job.metadata),
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        )
        for job, recipe in await job_rows.with_recipes(tx, owner, jobs)
    ]


async def _archive(
    services: Services,
    name: str,
    found: Sequence[Asset],
    derivations: Sequence[DerivationPart],
    wanted: Wanted,
    library: Library | None = None,
) -> Archive:
    if len(found) > manifest.MAX_ASSETS:
        raise ValidationFailed(f"an export may hold {manifest.MAX_ASSETS} assets; export it in parts")
    return await asyncio.to_thread(_build, services, name, found, derivations, wanted, library)


def _build(
    services: Services,
    name: str,
    found: Sequence[Asset],
    derivations: Sequence[DerivationPart],
    wanted: Wanted,
    library: Library | None,
) -> Archive:
    places = place(found, wanted)
    if not places:
        raise NotFound("there is nothing in it to export")
    members: list[Member] = [
        Stored(places[asset.id], asset.blob.bytes, asset.created_at, _reader(services, asset))
        for asset in found
        if asset.id in places
    ]
    now = datetime.now(UTC)
    if Part.LICENSES in wanted.include:
        members.append(Text(LICENSES, manifest.licenses(derivations), now))
    if Part.MANIFEST in wanted.include:
        document = Manifest(
            neuralib=__version__,
            exported_at=now,
            library=library
            and LibraryPart(name=library.name, description=library.description, color=library.color),
            assets=[_part(asset, places.get(asset.id)) for asset in found],
            derivations=list(derivations),
        )
        members.append(Text(manifest.FILE, document.document(), now))
    return Archive(name, members, measure(members))


def place(found: Sequence[Asset], wanted: Wanted) -> dict[UUID, str]:
    """Where each asset that is wanted lies in the archive: a folder for each track, with all that was made from it."""
    names, there = Names(manifest.FILE, LICENSES), {asset.id: asset for asset in found}
    folders: dict[UUID, str] = {}
    places = {}
    for asset in found:
        if KINDS[AssetKind(asset.kind)] not in wanted.include:
            continue
        root = _root(asset, there)
        if root.id not in folders:
            folders[root.id] = names.folder(root.name)
        name, suffix = _split(asset)
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


def _split(asset: Asset) -> tuple[str, str]:
    """(name, suffix) of its file."""
    suffix = f".{known}" if (known := SUFFIXES.get(asset.blob.media_type)) else ""
    suffix = suffix or PurePosixPath(str(asset.facts.get("file", ""))).suffix.lower()[:16]
    if suffix and asset.name.lower().endswith(suffix):
        return asset.name[: -len(suffix)], suffix
    return asset.name, suffix


def _part(asset: Asset, file: str | None) -> AssetPart:
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
        created_at=asset.created_at,
    )


def _reader(services: Services, asset: Asset) -> Callable[[], AsyncGenerator[bytes, None]]:
    async def read() -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(assets.content(services, asset)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except NotFound as error:
            raise StorageUnavailable(f"the bytes of asset {asset.id} went away") from error

    return read
