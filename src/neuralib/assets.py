"""Use cases of assets: bytes come in, are probed, and become visible all at once or not at all."""

import asyncio
import hashlib
import io
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from unicodedata import category, normalize
from uuid import UUID

from . import analyses, quotas
from .audio import AudioInfo, DecodeLimits, probe
from .audio.peaks import FORMAT_VERSION
from .config import Limits, Settings
from .db import Connection
from .db import assets as rows
from .db import events as event_rows
from .db import libraries as library_rows
from .db import renditions as rendition_rows
from .db import trash as trash_rows
from .entities import Asset, AssetKind, Blob, Facts, NewAsset, Rendition, new_id
from .errors import (
    AssetInUse,
    EmptyUpload,
    IdempotencyKeyReused,
    NeuralibError,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
)
from .objects import Room, put_file
from .objects.blocks import disk_errors
from .objects.store import OCTETS
from .pipeline import asset_event
from .services import Services

MAX_NAME = 200
PEAKS = f"peaks-{FORMAT_VERSION}"
"""What a blob's peaks are called among its renditions."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One file on its way in. `filename` is what the client says: it names the asset and nothing else."""

    filename: str
    chunks: AsyncIterable[bytes]
    name: str | None = None
    role: str = "track"
    id: UUID = field(default_factory=new_id)
    """What the asset will be called. One that has it already, of the same bytes, is the answer."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A file that is to be stored beside the asset's blob."""

    kind: str
    path: Path
    media_type: str
    facts: Facts


async def upload(services: Services, owner: UUID, library: UUID, incoming: Upload) -> Asset:
    """Take in one audio file: spooled to disk as it comes, probed by its content, stored, committed.

    Memory does not grow with the file. Raises NotFound, EmptyUpload, PayloadTooLarge, QuotaExceeded, UnsupportedAudio
    and its kin, StorageUnavailable, StorageFull; in every such case neither row nor object is left.
    """
    async with services.db.statements() as db:
        await library_rows.get(db, owner, library)
        await quotas.require_room(db, services.settings.limits, owner)
    with scratch(services.settings.worker.scratch) as folder:
        path, room = folder / "input", scratch_room(services.settings)
        sha256, size = await spool(incoming.chunks, path, services.settings.limits.upload_bytes, room)
        info = await probe(path, decode_limits(services.settings.limits), peaks=folder / "peaks")
        new, media_type = new_audio(library, incoming, info), media_type_of(info)
        beside = [peaks_beside(folder / "peaks", info)]
        return await store(services, owner, new, path, sha256, size, media_type, beside=beside)


def new_audio(library: UUID, incoming: Upload, info: AudioInfo) -> NewAsset:
    """The asset that an upload becomes."""
    return NewAsset(
        id=incoming.id,
        library_id=library,
        kind=AssetKind.AUDIO,
        role=incoming.role,
        name=clean_name(incoming.name or PurePosixPath(incoming.filename.replace("\\", "/")).stem),
        audio=audio_facts(info),
        facts={"filename": clean_name(incoming.filename), "warnings": list(info.warnings)},
        metadata=dict(info.tags),
    )


def media_type_of(info: AudioInfo) -> str:
    return MEDIA_TYPES.get(info.format, "audio/x-unknown")


async def store(
    services: Services,
    owner: UUID,
    new: NewAsset,
    path: Path,
    sha256: str,
    size: int,
    media_type: str,
    *,
    beside: Sequence[Beside] = (),
) -> Asset:
    """Put the bytes, then commit the row and its event. A key that no row came to own is swept. An asset that has the
    id of `new` already was made by the same request, and is the answer.
    """
    blob = Blob(new_id(), sha256, size, object_key(), media_type)
    async with pending(services, blob.key):
        await put_file(services.objects, blob.key, path, content_type=media_type)
        async with kept_beside(services, beside) as renditions, services.db.transaction() as tx:
            asset = await commit(services, tx, owner, new, blob, renditions)
    await asyncio.gather(analyses.ring(services), services.bus.wake(owner))
    return asset


async def commit(
    services: Services,
    tx: Connection,
    owner: UUID,
    new: NewAsset,
    blob: Blob,
    renditions: Sequence[Rendition],
) -> Asset:
    """Give the stored bytes their rows, with the event that tells of the asset; or the asset that has its id already, and
    the keys to the sweeper. Raises NotFound, IdempotencyKeyReused, QuotaExceeded.
    """
    await library_rows.lock(tx, owner, new.library_id)  # and who sends it twice comes one by one
    if made := await rows.find(tx, owner, new.id, trashed=True):
        await rows.expire_pending(tx, [blob.key, *(each.key for each in renditions)])
        return _same(made, blob)
    await rows.insert(tx, owner, new, blob)
    asset = await rows.get(tx, owner, new.id)
    for each in renditions:
        await rendition_rows.insert(tx, owner, asset.blob.id, each)
    await event_rows.append(tx, asset_event("created", asset))
    await analyses.order(services, tx, asset)
    await quotas.require_kept(tx, services.settings.limits, owner)
    return asset


@asynccontextmanager
async def pending(services: Services, key: str) -> AsyncIterator[None]:
    """Around what writes the bytes of `key` and gives them an owner: they are noted before, and when it fails they are
    the sweeper's at once.
    """
    async with services.db.statements() as db:
        await rows.add_pending(db, key)
    try:
        yield
    except BaseException:
        with suppress(NeuralibError):  # else the sweeper takes it tomorrow
            async with services.db.statements() as db:
                await rows.expire_pending(db, [key])
        raise


@asynccontextmanager
async def kept_beside(services: Services, beside: Sequence[Beside]) -> AsyncIterator[Sequence[Rendition]]:
    """The files stored, for the block to give them an owner. Each has a key that nobody else has."""
    async with AsyncExitStack() as stack:
        renditions = []
        for each in beside:
            key = object_key()
            await stack.enter_async_context(pending(services, key))
            size = await put_file(services.objects, key, each.path, content_type=each.media_type)
            renditions.append(Rendition(each.kind, key, size, each.media_type, each.facts))
        yield renditions


def peaks_beside(path: Path, info: AudioInfo) -> Beside:
    """The file of peaks that `probe` wrote."""
    shape = {"sample_rate": info.sample_rate, "channels": info.channels, "frames": info.frames}
    return Beside(PEAKS, path, OCTETS, shape)


def _same(made: Asset, blob: Blob) -> Asset:
    if made.blob.sha256 != blob.sha256:
        raise IdempotencyKeyReused(f"asset {made.id} was made under this key from other bytes")
    return made


async def get(services: Services, owner: UUID, asset: UUID, *, trashed: bool = False) -> Asset:
    """With `trashed` also from the trash. Raises NotFound."""
    async with services.db.statements() as db:
        return await rows.get(db, owner, asset, trashed=trashed)


async def duplicate_of(services: Services, asset: Asset) -> UUID | None:
    """The oldest other asset of its library that has the same bytes."""
    async with services.db.statements() as db:
        return await rows.find_duplicate(db, asset)


async def delete(
    services: Services,
    owner: UUID,
    asset: UUID,
    *,
    trashed: bool = False,
    expected_version: int | None = None,
) -> None:
    """The asset and everything made from it, for good; with `trashed` only what lies in the trash. Raises NotFound,
    PreconditionFailed; AssetInUse while a job reads one of them.
    """
    async with services.db.transaction() as tx:
        await trash_rows.share_libraries(tx, owner, [asset])
        found = await rows.lock_subtree(tx, owner, asset)
        before = await rows.get(tx, owner, asset, trashed=True)
        if trashed and before.trashed_at is None:
            raise NotFound(f"there is no asset {asset} in the trash")
        if expected_version not in {None, before.version}:
            raise PreconditionFailed(f"asset {asset} changed meanwhile")
        await analyses.give_way(tx, [id_ for id_, _ in found])
        if await rows.busy(tx, [id_ for id_, _ in found]):
            raise AssetInUse(f"a job is working on asset {asset} or on one made from it")
        await rows.delete(tx, found)
        await event_rows.append(tx, asset_event("deleted", before, trashed=False))
    await services.bus.wake(owner)


def content(
    services: Services, asset: Asset, start: int = 0, stop: int | None = None
) -> AsyncGenerator[bytes, None]:
    """The bytes [start, stop) of an asset."""
    return services.objects.read(asset.blob.key, start, stop)


async def sweep(services: Services, limit: int = 500) -> int:
    """Delete the bytes that no row owns, and forget their keys. How many."""
    async with services.db.statements() as db:
        keys = await rows.due_pending(db, limit)
    for key in keys:
        await services.objects.delete(key)
    if keys:
        async with services.db.statements() as db:
            await rows.drop_pending(db, keys)
    return len(keys)


def object_key() -> str:
    """A fresh key; it says nothing about its content or owner."""
    id_ = new_id().hex
    return f"blobs/{id_[-2:]}/{id_}"


def clean_name(name: str) -> str:
    """A display name: NFC, without control and bidirectional characters, at most 200 characters."""
    kept = "".join(c for c in normalize("NFC", name) if category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn"})
    return kept.strip()[:MAX_NAME] or "untitled"


def audio_facts(info: AudioInfo) -> dict[str, object]:
    """What the API says of an audio asset."""
    return {
        "format": info.format,
        "codec": info.codec,
        "subtype": info.subtype,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "frames": info.frames,
        "duration_s": info.duration,
    }


def decode_limits(limits: Limits) -> DecodeLimits:
    """The part of the configuration that the decoder obeys."""
    return DecodeLimits(seconds=limits.audio_s, channels=limits.audio_channels, wall=limits.decode_s)


MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "m4a": "audio/mp4",
    "mp4": "audio/mp4",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "webm": "audio/webm",
    "caf": "audio/x-caf",
}
SUFFIXES = {
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/mp4": "m4a",
    "audio/aac": "aac",
    "audio/aiff": "aiff",
    "audio/webm": "webm",
    "audio/x-caf": "caf",
    "audio/midi": "mid",
}
ALSO = {
    "audio/mp4": (".stem.mp4", ".mp4"),
    "audio/midi": (".midi",),
    "audio/aiff": (".aif",),
    "audio/ogg": (".opus",),
}
"""Suffixes that a name may have instead."""


def split_name(asset: Asset) -> tuple[str, str]:
    """(name, suffix) of its file: what it is called, and what it is. A name that says the same otherwise keeps its way."""
    known = SUFFIXES.get(asset.blob.media_type)
    suffix = f".{known}" if known else PurePosixPath(str(asset.facts.get("file", ""))).suffix.lower()[:16]
    for each in (suffix, *ALSO.get(asset.blob.media_type, ())):
        if each and asset.name.lower().endswith(each):
            return asset.name[: -len(each)], asset.name[-len(each) :]
    return asset.name, suffix


async def spool(chunks: AsyncIterable[bytes], path: Path, limit: int, room: Room) -> tuple[str, int]:
    """Write what comes to a file: (sha256, bytes). Raises EmptyUpload, PayloadTooLarge, StorageFull. Written in the event loop's thread in small pieces: the page cache takes them at once."""
    hasher, size = hashlib.sha256(), 0
    with disk_errors():
        file = path.open("wb", buffering=0)
    with file:
        async for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise PayloadTooLarge(f"the upload exceeds {limit} bytes")
            hasher.update(chunk)
            room.require(len(chunk))
            with disk_errors():
                _write(file, chunk)
    if size == 0:
        raise EmptyUpload
    return hasher.hexdigest(), size


def _write(file: io.FileIO, chunk: bytes) -> None:
    """All of it: a disk that is nearly full takes a part first."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def scratch(parent: Path | None) -> Iterator[Path]:
    """A folder for the length of the block. Raises StorageFull, StorageUnavailable."""
    with disk_errors():
        folder = tempfile.mkdtemp(prefix="neuralib-upload-", dir=parent)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def scratch_room(settings: Settings) -> Room:
    """What uploads and jobs may write on the way."""
    return Room(settings.worker.scratch or Path(tempfile.gettempdir()), settings.storage.spare_bytes)
