"""Use cases of uploads in parts: for files so large, or lines so bad, that one request would not do.

The object store knows which parts are there, so an upload goes on after anything. Clients bring the parts to us, or, where
`storage.public_url` says how they reach the store, straight there. When all are there they are joined to one object, which
is then read once to be hashed and probed like any upload; the asset gets the upload's id.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from . import analyses, assets, quotas
from .audio import probe
from .db import Connection
from .db import assets as asset_rows
from .db import libraries as library_rows
from .db import uploads as rows
from .entities import Asset, Blob, Facts, PartedUpload, new_id
from .errors import (
    BadRequest,
    Conflict,
    FieldError,
    NeuralibError,
    NotFound,
    PayloadTooLarge,
    QuotaExceeded,
    StorageUnavailable,
    TooManyUploads,
    Unavailable,
    UnsatisfiedChecksum,
    ValidationFailed,
)
from .objects import Part
from .objects.parts import part_size, sizes
from .services import Services

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=60)
RENEW_S = 15.0
LINKS = 100
"""Parts whose links one answer holds."""
NAMED = 20
"""Missing parts that one refusal names."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What a client is going to bring. `id`: what the upload, and then its asset, is called."""

    library: UUID
    filename: str
    bytes: int
    sha256: str | None = None
    name: str | None = None
    role: str = "track"
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Where a part is to be PUT: a signed URL of the store, or None for our own route."""

    part: Part
    url: str | None


async def begin(services: Services, owner: UUID, announced: Announced) -> PartedUpload:
    """Raises NotFound, PayloadTooLarge, QuotaExceeded, TooManyUploads, StorageUnavailable. One that has the id already was
    begun by the same request, and is the answer.
    """
    limits, storage = services.settings.limits, services.settings.storage
    if announced.bytes > limits.upload_bytes:
        raise PayloadTooLarge(f"an upload may have {limits.upload_bytes} bytes")
    id_, key = announced.id or new_id(), assets.object_key()
    async with services.db.statements() as db:
        await library_rows.get(db, owner, announced.library)
        if made := await rows.find(db, owner, id_):
            return made
    handle = await services.objects.parts.begin(key)  # should we die now, the store's own sweep takes it
    try:
        async with services.db.transaction() as tx:
            await library_rows.lock_owner(tx, owner)
            await library_rows.share(tx, owner, announced.library)
            await _require_room(services, tx, owner, announced.bytes)
            await rows.insert(
                tx,
                owner,
                id_,
                announced.library,
                filename=assets.clean_name(announced.filename),
                size=announced.bytes,
                sha256=announced.sha256,
                meta={"name": announced.name, "role": announced.role},
                part_bytes=part_size(announced.bytes),
                key=key,
                handle=handle,
                expiry=timedelta(seconds=storage.upload_expiry_s),
            )
            return await rows.get(tx, owner, id_)
    except NeuralibError:
        with suppress(NeuralibError):
            await services.objects.parts.abort(key, handle)
        raise


async def get(services: Services, owner: UUID, upload: UUID) -> tuple[PartedUpload, Sequence[Part]]:
    """The upload and the parts that are there; none any more when they have been joined. Raises NotFound."""
    async with services.db.statements() as db:
        found = await rows.get(db, owner, upload)
    return found, await _parts(services, found) or ()


async def links(
    services: Services, owner: UUID, upload: UUID, first: int = 1, last: int | None = None
) -> list[Link]:
    """Where the parts `first` to `last`, at most LINKS of them, go. Raises NotFound, Conflict, ValidationFailed."""
    async with services.db.statements() as db:
        found = _open(await rows.get(db, owner, upload))
    wanted = sizes(found.bytes, found.part_bytes)
    if not 1 <= first <= len(wanted) or (last is not None and last < first):
        raise _no_such_part("/from", found)
    made = []
    for number in range(first, min(last or len(wanted), first + LINKS - 1, len(wanted)) + 1):
        part = Part(number, wanted[number - 1])
        ttl_s = services.settings.storage.link_s
        made.append(Link(part, await services.objects.parts.link(found.key, found.handle, part, ttl_s)))
    return made


async def expected(services: Services, owner: UUID, upload: UUID, number: int) -> tuple[PartedUpload, int]:
    """The upload, and how many bytes its part of this number has. Raises NotFound, Conflict, ValidationFailed."""
    async with services.db.statements() as db:
        found = _open(await rows.get(db, owner, upload))
    wanted = sizes(found.bytes, found.part_bytes)
    if not 1 <= number <= len(wanted):
        raise _no_such_part("/path/number", found)
    return found, wanted[number - 1]


async def put_part(
    services: Services, upload: PartedUpload, number: int, size: int, chunks: AsyncIterable[bytes]
) -> None:
    """One part that came to us, whole or not at all. Raises ValidationFailed, StorageUnavailable, StorageFull."""

    async def measured() -> AsyncIterator[bytes]:
        came = 0
        async for chunk in chunks:
            if (came := came + len(chunk)) > size:
                break
            yield chunk
        if came != size:
            raise wrong_length(number, size, came)

    await services.objects.parts.put(upload.key, upload.handle, number, measured())


def wrong_length(number: int, size: int, came: int) -> ValidationFailed:
    """A part is shorter or longer than it has to be."""
    detail = f"part {number} has {size} bytes, and {'more' if came > size else came} came"
    return ValidationFailed(detail, fields=[FieldError("/body", "length", detail)])


async def complete(services: Services, owner: UUID, upload: UUID) -> Asset | None:
    """The asset that the parts make. None: that takes longer than somebody should wait, ask again.

    Raises NotFound; ValidationFailed naming parts that are missing, UnsatisfiedChecksum, and what `assets.upload` raises.
    What is wrong with the bytes ends the upload for good; after anything else it can be completed again.
    """
    async with services.db.statements() as db:
        found = await rows.get(db, owner, upload)
        if found.state == "completed":
            return await asset_rows.get(db, owner, upload)
    _open(found)
    if not found.completing and (parts := await _parts(services, found)) is not None:
        _require_all(found, parts)
    return await services.completions.join(
        found.id, lambda: _complete(services, found), services.settings.limits.render_wait_s
    )


async def abort(services: Services, owner: UUID, upload: UUID) -> None:
    """Forget it and its parts; the asset of a completed one stays. Raises NotFound, Conflict while it is completed."""
    async with services.db.statements() as db:
        found = await rows.get(db, owner, upload)
    if found.completing:
        raise Conflict(f"upload {upload} is being completed")
    await _forget(services, found)


async def reap(services: Services, limit: int = 100) -> int:
    """Forget uploads that nobody completed in time. How many."""
    async with services.db.statements() as db:
        expired = await rows.expired(db, limit)
    for upload in expired:
        await _forget(services, upload)
    return len(expired)


async def _forget(services: Services, upload: PartedUpload) -> None:
    with suppress(NotFound):
        await services.objects.parts.abort(upload.key, upload.handle)
    async with services.db.transaction() as tx:
        await rows.delete(tx, upload)


async def _require_room(services: Services, tx: Connection, owner: UUID, size: int) -> None:
    """For one more, with all that others have announced. Raises QuotaExceeded, TooManyUploads."""
    limits = services.settings.limits
    count, announced = await rows.count_open(tx, owner)
    if count >= limits.uploads_per_owner:
        raise TooManyUploads(f"{count} uploads are open, which is the limit")
    await quotas.require_room(tx, limits, owner, size + announced)


def _open(upload: PartedUpload) -> PartedUpload:
    if upload.state != "open":
        why = f": {upload.error['detail']}" if upload.error else ""
        raise Conflict(f"upload {upload.id} has {upload.state}{why}")
    return upload


def _no_such_part(pointer: str, upload: PartedUpload) -> ValidationFailed:
    count = len(sizes(upload.bytes, upload.part_bytes))
    detail = f"the parts of this upload are 1 to {count}"
    return ValidationFailed(detail, fields=[FieldError(pointer, "no_such_part", detail)])


async def _parts(services: Services, upload: PartedUpload) -> Sequence[Part] | None:
    """None when they have been joined."""
    try:
        return await services.objects.parts.list(upload.key, upload.handle)
    except NotFound:
        return None


def _require_all(upload: PartedUpload, parts: Sequence[Part]) -> None:
    """Raises ValidationFailed naming what is not there, or not as long as it has to be."""
    there = {part.number: part.bytes for part in parts}
    wanted = dict(enumerate(sizes(upload.bytes, upload.part_bytes), 1))
    wrong = [number for number in sorted(there.keys() | wanted) if there.get(number) != wanted.get(number)]
    if wrong:
        fields = [
            FieldError(
                f"/parts/{number}",
                "missing" if number not in there else "length",
                f"{there.get(number, 0)} of {wanted.get(number, 0)} bytes are there",
            )
            for number in wrong[:NAMED]
        ]
        raise ValidationFailed(f"{len(wrong)} of {len(wanted)} parts are missing or wrong", fields=fields)


# ── completion ────────────────────────────────────────────────────────────────────────────────────────


async def _complete(services: Services, upload: PartedUpload) -> Asset | None:
    """None: another process is at it."""
    async with services.db.statements() as db:
        if not await rows.claim(db, upload.id, LEASE):
            return None
    async with _held(services, upload):
        try:
            return await _take_in(services, upload)
        except (QuotaExceeded, Unavailable):
            raise
        except BadRequest as error:
            await _fail(services, upload, error)
            raise


@asynccontextmanager
async def _held(services: Services, upload: PartedUpload) -> AsyncIterator[None]:
    """The lease renewed for the length of the block, then given back."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            with suppress(Unavailable):
                async with services.db.statements() as db:
                    await rows.renew(db, upload.id, LEASE)

    renewing = asyncio.create_task(renew(), name=f"upload-{upload.id}")
    try:
        yield
    finally:
        renewing.cancel()
        with suppress(NeuralibError):  # else it runs out
            async with services.db.statements() as db:
                await rows.renew(db, upload.id, timedelta(0))


async def _fail(services: Services, upload: PartedUpload, error: BadRequest) -> None:
    log.info("upload.failed", upload=str(upload.id), code=error.code)
    async with services.db.transaction() as tx:
        await rows.end(tx, upload.id, "failed", error.as_dict())
        await asset_rows.expire_pending(tx, [upload.key])


async def _take_in(services: Services, upload: PartedUpload) -> Asset:
    if upload.library_id is None:
        raise NotFound("the library of this upload was deleted")
    settings = services.settings
    await _join(services, upload)
    with assets.scratch(settings.worker.scratch) as folder:
        path, room = folder / "input", assets.scratch_room(settings)
        try:
            async with aclosing(services.objects.read(upload.key)) as chunks:
                sha256, size = await assets.spool(chunks, path, settings.limits.upload_bytes, room)
        except NotFound as error:
            raise StorageUnavailable(f"the bytes of upload {upload.id} are missing") from error
        _check(upload, sha256, size)
        info = await probe(path, assets.decode_limits(settings.limits), peaks=folder / "peaks")
        incoming = _incoming(upload, chunks)
        new = assets.new_audio(upload.library_id, incoming, info)
        blob = Blob(new_id(), sha256, size, upload.key, assets.media_type_of(info))
        beside = [assets.peaks_beside(folder / "peaks", info)]
        async with assets.kept_beside(services, beside) as renditions, services.db.transaction() as tx:
            asset = await assets.commit(services, tx, upload.owner_id, new, blob, renditions)
            await rows.end(tx, upload.id, "completed")
    await asyncio.gather(analyses.ring(services), services.bus.wake(upload.owner_id))
    return asset


async def _join(services: Services, upload: PartedUpload) -> None:
    """An earlier try may have got so far."""
    async with services.db.statements() as db:
        await asset_rows.add_pending(db, upload.key)
    with suppress(NotFound):
        await services.objects.parts.join(upload.key, upload.handle)


def _check(upload: PartedUpload, sha256: str, size: int) -> None:
    if size != upload.bytes:
        raise UnsatisfiedChecksum(f"the parts have {size} bytes, announced were {upload.bytes}")
    if upload.sha256 not in {None, sha256}:
        raise UnsatisfiedChecksum(f"the SHA-256 of the bytes is {sha256}, announced was {upload.sha256}")


def _incoming(upload: PartedUpload, chunks: AsyncIterable[bytes]) -> assets.Upload:
    meta: Facts = upload.meta
    return assets.Upload(upload.filename, chunks, name=meta["name"], role=meta["role"], id=upload.id)
