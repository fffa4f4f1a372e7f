"""The use case of imports: an archive of ours becomes a tree of assets again, all of it or nothing.

Everything gets a new id and remembers the old one (`facts.imported_from`), by which the same archive is known when it
comes again: what is there already is reported, what is missing is restored. Each file is held to its digest, and audio is
probed like any upload: what it is, is what was found in it, not what the manifest says.
"""

import asyncio
import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from . import quotas
from .archives.manifest import AssetPart, DerivationPart, Manifest
from .archives.reading import extract, opened, read_manifest
from .assets import MEDIA_TYPES, audio_facts, clean_name, decode_limits, object_key, scratch_room
from .audio import probe
from .audio.spans import frames_between, require_within
from .db import Connection
from .db import assets as rows
from .db import events as event_rows
from .db import imports as import_rows
from .db import libraries as library_rows
from .db import regions as region_rows
from .db import transcripts as transcript_rows
from .entities import AssetKind, Blob, NewAsset, Region, Revision, new_id
from .errors import BadRequest, InvalidArchive, NeuralibError, RegionOutOfBounds, UnsupportedTranscript
from .executors.whisper.document import read_transcript
from .objects import put_file
from .objects.blocks import in_thread
from .organising import MAX_SUNG, sung
from .pipeline import asset_event
from .services import Services

AT_ONCE = 4
"""Files that are checked and stored side by side."""
MAX_TEXT = 64 << 20
TEXTS = frozenset(
    {"application/json", "application/x-subrip", "text/plain; charset=utf-8", "text/plain", "text/vtt"}
)
MIDI = "audio/midi"
OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of each asset of the manifest, by its old id: its id here, or None when its bytes were left out."""

    made: Mapping[UUID, UUID]
    there: Mapping[UUID, UUID]
    left_out: Sequence[UUID]
    derivations: int


@dataclass(frozen=True, slots=True)
class _Ready:
    """A file that was checked and stored, and waits for its row."""

    part: AssetPart
    blob: Blob
    audio: Mapping[str, Any] | None
    sung: str
    edited: str = ""
    """What its newest revision says."""


@dataclass(slots=True)
class _Import:
    services: Services
    owner: UUID
    library: UUID
    archive: zipfile.ZipFile
    manifest: Manifest
    folder: Path
    keys: list[str] = field(default_factory=list)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def known(self, tx: Connection) -> dict[UUID, UUID]:
        """Assets of the manifest that the library has: itself, or from an earlier import."""
        wanted = {part.id: part.sha256 for part in self.manifest.assets}
        found = await import_rows.known(tx, self.owner, self.library, list(wanted))
        return {old: id_ for old, id_, sha256 in found if wanted[old] == sha256}

    async def ready(self, part: AssetPart) -> _Ready:
        """Raises InvalidArchive, StorageUnavailable, StorageFull."""
        async with self.slots:
            path = self.folder / part.id.hex
            scratch_room(self.services.settings).require(part.bytes)
            await in_thread(extract, self.archive, part, path)
            audio, media_type = await self._recognise(part, path)
            _check_regions(part, audio)
            blob = Blob(new_id(), part.sha256, part.bytes, object_key(), media_type)
            async with self.services.db.statements() as db:
                await rows.add_pending(db, blob.key)
            self.keys.append(blob.key)
            await put_file(self.services.objects, blob.key, path, content_type=media_type)
            words = await in_thread(sung, part.kind, media_type, path)
            edited = await in_thread(_edited, part, media_type)
            await in_thread(path.unlink)
            return _Ready(part, blob, audio, words, edited)

    async def _recognise(self, part: AssetPart, path: Path) -> tuple[Mapping[str, Any] | None, str]:
        """(audio facts, media type), by what is in the file."""
        if part.kind is not AssetKind.AUDIO:
            return None, await in_thread(_media_type, part, path)
        try:
            info = await probe(path, decode_limits(self.services.settings.limits))
        except BadRequest as error:
            raise InvalidArchive(f"{part.file}: {error.detail}") from error
        return audio_facts(info), MEDIA_TYPES.get(info.format, "audio/x-unknown")


async def restore(services: Services, owner: UUID, library: UUID, path: Path) -> Restored:
    """Bring the archive in `path` into the library; `path` lies in a scratch folder, which is used too. Raises
    InvalidArchive, NotFound, QuotaExceeded, StorageUnavailable, StorageFull; then nothing of it is left.
    """
    async with services.db.statements() as db:
        await quotas.require_room(db, services.settings.limits, owner)
    with ExitStack() as stack:
        archive = await in_thread(stack.enter_context, opened(path))
        manifest = await in_thread(read_manifest, archive, services.settings.limits.upload_bytes)
        return await _restore(_Import(services, owner, library, archive, manifest, path.parent))


async def _restore(work: _Import) -> Restored:
    order = _parents_first(work.manifest.assets)
    async with work.services.db.statements() as db:
        there = await work.known(db)
    try:
        ready = await _all(work, [part for part in order if part.file is not None and part.id not in there])
        async with work.services.db.transaction() as tx:
            restored = await _commit(tx, work, order, ready)
    except BaseException:
        with suppress(NeuralibError):  # else the sweeper takes them tomorrow
            async with work.services.db.statements() as db:
                await rows.expire_pending(db, work.keys)
        raise
    await work.services.bus.wake(work.owner)
    return restored


async def _all(work: _Import, parts: Sequence[AssetPart]) -> dict[UUID, _Ready]:
    """The first failure ends all."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work.ready(part)) for part in parts]
    except BaseExceptionGroup as failures:
        failure = failures.exceptions[0]
        raise failure from failure.__cause__
    return {task.result().part.id: task.result() for task in tasks}


async def _commit(
    tx: Connection, work: _Import, order: Sequence[AssetPart], ready: Mapping[UUID, _Ready]
) -> Restored:
    """All rows at once. What another import of the same archive has brought meanwhile stays the one there is."""
    await library_rows.lock(tx, work.owner, work.library)
    there = await work.known(tx)
    made = {part.id: new_id() for part in order if part.id in ready and part.id not in there}
    ids = {**there, **made}
    jobs = await _insert_jobs(tx, work, {part.derivation for part in order if part.id in made})
    parents = _parents(order, ids)
    for part in order:
        if part.id in made:
            await rows.insert(
                tx, work.owner, _new(work, ready[part.id], made[part.id], parents, jobs), ready[part.id].blob
            )
    await _link_jobs(tx, work, ids, jobs)
    await _insert_regions(tx, work, [ready[id_] for id_ in made], made)
    await _insert_revisions(tx, work, [ready[id_] for id_ in made], made)
    await rows.expire_pending(tx, [each.blob.key for id_, each in ready.items() if id_ not in made])
    for id_ in made.values():
        await event_rows.append(tx, asset_event("created", await rows.get(tx, work.owner, id_)))
    await quotas.require_kept(tx, work.services.settings.limits, work.owner)
    left_out = [part.id for part in order if part.id not in ids]
    return Restored(made, there, left_out, len(jobs))


async def _insert_jobs(tx: Connection, work: _Import, wanted: set[UUID | None]) -> dict[UUID, UUID]:
    """Lineage as finished jobs: by the old id, the new one."""
    jobs = {part.id: new_id() for part in work.manifest.derivations if part.id in wanted}
    for part in work.manifest.derivations:
        if part.id in jobs:
            await import_rows.insert_job(tx, work.owner, jobs[part.id], part, work.library, _told(part))
    return jobs


async def _link_jobs(
    tx: Connection, work: _Import, ids: Mapping[UUID, UUID], jobs: Mapping[UUID, UUID]
) -> None:
    """What the jobs read, as far as it is here."""
    for part in work.manifest.derivations:
        if part.id in jobs:
            read = [(ids.get(each.asset_id) if each.asset_id else None, each.name) for each in part.inputs]
            await import_rows.link_job(tx, work.owner, jobs[part.id], read)


async def _insert_regions(
    tx: Connection, work: _Import, files: Sequence[_Ready], made: Mapping[UUID, UUID]
) -> None:
    now = datetime.now(UTC)
    for each in files:
        for part in each.part.regions:
            region = Region(
                id=new_id(),
                owner_id=work.owner,
                asset_id=made[each.part.id],
                kind=part.kind,
                name=clean_name(part.name) if part.name else None,
                start=part.start_s,
                end=part.end_s,
                color=part.color,
                tags=tuple(part.tags),
                version=1,
                created_at=now,
                updated_at=now,
            )
            await region_rows.put(tx, region)


async def _insert_revisions(
    tx: Connection, work: _Import, files: Sequence[_Ready], made: Mapping[UUID, UUID]
) -> None:
    """What somebody made of a transcript is its second revision here: those before it stayed where they were."""
    for each in files:
        if (part := each.part.revision) is None:
            continue
        raw = part.document.encode()
        digest = hashlib.sha256(raw).hexdigest()
        revision = Revision(2, 1, None, digest, len(raw), part.created_at)
        asset = made[each.part.id]
        await transcript_rows.insert(tx, work.owner, asset, revision, part.document)
        await transcript_rows.index(tx, work.owner, asset, each.edited[:MAX_SUNG])


def _told(part: DerivationPart) -> dict[str, Any]:
    """What the job says of itself. Its recipe answers no later request: nobody here saw it carried out."""
    origin = {
        "job_id": str(part.id),
        "recipe": part.recipe,
        "inputs": [i.model_dump(mode="json") for i in part.inputs],
    }
    return {**part.result, "imported_from": origin}


def _new(
    work: _Import, ready: _Ready, id_: UUID, parents: Mapping[UUID, UUID | None], jobs: Mapping[UUID, UUID]
) -> NewAsset:
    part = ready.part
    return NewAsset(
        id=id_,
        library_id=work.library,
        parent_id=parents[part.id],
        kind=part.kind,
        role=part.role,
        stem=part.stem,
        name=clean_name(part.name),
        audio=ready.audio,
        facts={
            **part.facts,
            "imported_from": {"asset_id": str(part.id), "exported_at": work.manifest.exported_at.isoformat()},
        },
        job_id=jobs.get(part.derivation) if part.derivation else None,
        tags=part.tags,
        rating=part.rating,
        favorite=part.favorite,
        color=part.color,
        notes=part.notes,
        metadata=part.metadata,
        search_text=ready.sung,
    )


def _parents(order: Sequence[AssetPart], ids: Mapping[UUID, UUID]) -> dict[UUID, UUID | None]:
    """For each asset the nearest one above it that is here."""
    nearest: dict[UUID, UUID | None] = {}
    found: dict[UUID, UUID | None] = {}
    for part in order:
        found[part.id] = nearest.get(part.parent_id) if part.parent_id else None
        nearest[part.id] = ids.get(part.id, found[part.id])
    return found


def _parents_first(parts: Sequence[AssetPart]) -> list[AssetPart]:
    """Raises InvalidArchive when an asset would be made from itself."""
    ids = {part.id for part in parts}
    under: dict[UUID | None, list[AssetPart]] = {}
    for part in parts:
        under.setdefault(part.parent_id if part.parent_id in ids else None, []).append(part)
    order: list[AssetPart] = list(under.get(None, ()))
    for part in order:  # which grows
        order.extend(under.get(part.id, ()))
    if len(order) < len(parts):
        raise InvalidArchive("an asset of its manifest is made from itself")
    return order


def _check_regions(part: AssetPart, audio: Mapping[str, Any] | None) -> None:
    """Raises InvalidArchive for a region that lies outside the recording, or in none."""
    try:
        for region in part.regions:
            if audio is None:
                raise InvalidArchive(f"{part.file}: only recordings have regions")
            size: Any = {"sample_rate": audio["sample_rate"], "frames": audio["frames"]}
            require_within(region.start_s, **size)
            if region.end_s is not None:
                frames_between(region.start_s, region.end_s, **size)
    except RegionOutOfBounds as error:
        raise InvalidArchive(f"{part.file}: a region does not fit: {error.detail}") from error


def _edited(part: AssetPart, media_type: str) -> str:
    """What its newest revision says. Raises InvalidArchive for one that cannot be read, or is of something else."""
    if part.revision is None:
        return ""
    if part.kind is not AssetKind.TRANSCRIPT or media_type != "application/json":
        raise InvalidArchive(f"{part.file}: only transcripts in JSON have revisions")
    try:
        return read_transcript(part.revision.document.encode()).text
    except (UnsupportedTranscript, UnicodeError) as error:
        raise InvalidArchive(f"{part.file}: its revision cannot be read: {error}") from error


def _media_type(part: AssetPart, path: Path) -> str:
    """What the file may be called: the claim holds when the content bears it out. Raises InvalidArchive for text that is
    none.
    """
    if part.kind is AssetKind.MIDI and part.media_type == MIDI:
        with path.open("rb") as file:
            if file.read(4) != b"MThd":
                raise InvalidArchive(f"{part.file}: is no MIDI file")
        return MIDI
    if part.media_type not in TEXTS:
        return OCTETS
    if part.bytes > MAX_TEXT:
        raise InvalidArchive(f"{part.file}: {part.bytes} bytes are too many for text")
    try:
        text = path.read_bytes().decode()
        if part.media_type == "application/json":
            json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArchive(f"{part.file}: is not the text it says: {error}") from error
    return part.media_type
