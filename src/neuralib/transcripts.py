"""Use cases of transcripts: what is sung, as it stands now. Each save makes a revision that nobody changes; the first one
is what the machine wrote, the asset itself, and everything that reads words reads the newest.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NoReturn
from uuid import UUID

from . import quotas, readings
from .db import Connection
from .db import assets as asset_rows
from .db import events as event_rows
from .db import transcripts as rows
from .entities import Asset, Event, Revision
from .errors import FieldError, PreconditionFailed, ValidationFailed
from .executors.whisper import lyrics
from .executors.whisper.document import read_transcript
from .executors.whisper.rewording import reword
from .executors.whisper.transcript import Segment, Transcript, Word
from .organising import MAX_SUNG
from .services import Services

MAX_LINES = 5000
MAX_TEXT = 500
"""Characters of one line."""
MAX_BYTES = 4 << 20
"""Of the JSON of one revision."""
KEPT = 200
"""Revisions of one transcript; older ones leave, except those that a job was given."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line as somebody wants it; without `words` they take their times from what was there."""

    text: str
    start: float
    end: float
    words: Sequence[Word] | None = None


@dataclass(frozen=True, slots=True)
class Edition:
    """A transcript as one of its revisions has it."""

    asset: Asset
    revision: Revision
    transcript: Transcript


async def current(services: Services, owner: UUID, asset: UUID) -> Edition:
    """Of the transcript itself, or of the newest that was made of a recording. Raises NotFound, Conflict when there is
    none, UnsupportedTranscript, StorageUnavailable.
    """
    found = await readings.find_transcript(services, owner, asset)
    async with services.db.statements() as db:
        newest = (await rows.newest_of(db, owner, [found.id])).get(found.id)
    if newest is None:
        return await _machine(services, found)
    return Edition(found, newest[0], await asyncio.to_thread(read_transcript, newest[1].encode()))


async def revision(services: Services, owner: UUID, asset: UUID, number: int) -> Edition:
    """One of them. Raises NotFound, and what `current` raises."""
    found = await readings.find_transcript(services, owner, asset)
    if number == 1:
        return await _machine(services, found)
    async with services.db.statements() as db:
        known, document = await rows.get(db, owner, found.id, number)
    return Edition(found, known, await asyncio.to_thread(read_transcript, document.encode()))


async def revisions(services: Services, owner: UUID, asset: UUID) -> tuple[Asset, list[Revision]]:
    """The transcript, and all that are kept, newest first; the machine's is the last one. Raises NotFound, Conflict."""
    found = await readings.find_transcript(services, owner, asset)
    async with services.db.statements() as db:
        return found, [*await rows.of_asset(db, owner, found.id), _first(found)]


async def save(
    services: Services, owner: UUID, asset: UUID, lines: Sequence[Line], *, expected: int | None = None
) -> Edition:
    """These lines as a new revision; what changes nothing makes none. Lines that are as they were stay so to the word.

    Raises NotFound, Conflict, ValidationFailed, QuotaExceeded; PreconditionFailed when the newest revision is not
    `expected`; UnsupportedTranscript, StorageUnavailable.
    """
    before = await current(services, owner, asset)
    async with services.db.transaction() as tx:
        await asset_rows.lock(tx, owner, before.asset.id)
        base = await _newest(tx, before, expected)
        limit = max(base.transcript.duration, await _length(tx, before.asset))
        wanted = await asyncio.to_thread(_edited, base.transcript, lines, limit)
        document = await asyncio.to_thread(lyrics.as_json, wanted, {})
        if document == await asyncio.to_thread(lyrics.as_json, base.transcript, {}):
            return base
        after = await _insert(tx, services, base, document, wanted.text)
    await services.bus.wake(owner)
    return Edition(before.asset, after, await asyncio.to_thread(read_transcript, document.encode()))


async def restore(
    services: Services, owner: UUID, asset: UUID, number: int, *, expected: int | None = None
) -> Edition:
    """An older revision becomes the newest one again, as a revision of its own. Raises as `save`."""
    wanted = await revision(services, owner, asset, number)
    before = await current(services, owner, wanted.asset.id)
    machine = (await readings.content(services, wanted.asset)).decode() if number == 1 else None
    async with services.db.transaction() as tx:
        await asset_rows.lock(tx, owner, wanted.asset.id)
        base = await _newest(tx, before, expected)
        document = machine or (await rows.get(tx, owner, wanted.asset.id, number))[1]
        if base.revision.sha256 == wanted.revision.sha256:
            return base
        after = await _insert(tx, services, base, document, wanted.transcript.text, restored=number)
    await services.bus.wake(owner)
    return Edition(wanted.asset, after, wanted.transcript)


async def _machine(services: Services, asset: Asset) -> Edition:
    return Edition(asset, _first(asset), await readings.transcript(services, asset))


def _first(asset: Asset) -> Revision:
    return Revision(1, None, None, asset.blob.sha256, asset.blob.bytes, asset.created_at)


async def _newest(tx: Connection, before: Edition, expected: int | None) -> Edition:
    """What stands now, under the lock: somebody may have saved since `before` was read. Raises PreconditionFailed."""
    asset, base = before.asset, before
    newest = (await rows.newest_of(tx, asset.owner_id, [asset.id])).get(asset.id)
    if newest is not None and newest[0].number != base.revision.number:
        base = Edition(asset, newest[0], await asyncio.to_thread(read_transcript, newest[1].encode()))
    if expected not in {None, base.revision.number}:
        raise PreconditionFailed(f"it is at revision {base.revision.number} now")
    return base


async def _length(tx: Connection, asset: Asset) -> float:
    """Seconds of the recording that it was heard in, as far as that is known."""
    above = await asset_rows.find(tx, asset.owner_id, asset.parent_id) if asset.parent_id else None
    return float(above.audio["duration_s"]) if above and above.audio else 0.0


async def _insert(
    tx: Connection, services: Services, base: Edition, document: str, text: str, restored: int | None = None
) -> Revision:
    asset, raw = base.asset, document.encode()
    if len(raw) > MAX_BYTES:
        _refuse("/segments", "too_long", f"it would have {len(raw)} bytes as JSON, more than {MAX_BYTES}")
    number = base.revision.number + 1
    digest = hashlib.sha256(raw).hexdigest()
    new = Revision(number, base.revision.number, restored, digest, len(raw), datetime.now(UTC))
    made = await rows.insert(tx, asset.owner_id, asset.id, new, document)
    await rows.prune(tx, asset.owner_id, asset.id, KEPT)
    await rows.index(tx, asset.owner_id, asset.id, text[:MAX_SUNG])
    await event_rows.append(tx, event(asset, made))
    await quotas.require_kept(tx, services.settings.limits, asset.owner_id)
    return made


def event(asset: Asset, made: Revision) -> Event:
    """`transcript.updated`."""
    data: dict[str, Any] = {
        "type": "transcript.updated",
        "asset_id": str(asset.id),
        "library_id": str(asset.library_id),
        "parent_id": str(asset.parent_id) if asset.parent_id else None,
        "revision": made.number,
        "restored": made.restored,
    }
    return Event("transcript.updated", data, asset.owner_id)


# ── from lines to a transcript ────────────────────────────────────────────────────────────────────────


def _edited(base: Transcript, lines: Sequence[Line], limit: float) -> Transcript:
    """Raises ValidationFailed."""
    same = {_known(s): s for s in base.segments}
    heard = sorted(base.words, key=lambda word: word.start)
    segments: list[Segment] = []
    for n, line in enumerate(lines):
        kept = same.get(_known(line))
        if kept is not None and line.words is None:
            segments.append(kept)
            continue
        _require_place(line, limit, segments[-1].start if segments else 0.0, f"/segments/{n}")
        segments.append(_segment(line, _words(line, heard, base)))
    duration = max([base.duration, *(each.end for each in segments)])
    return Transcript(segments, base.language, base.language_probability, duration)


def _known(line: Line | Segment) -> tuple[str, float, float]:
    """What makes two lines the same."""
    return " ".join(line.text.split()), round(line.start, 3), round(line.end, 3)


def _words(line: Line, heard: Sequence[Word], base: Transcript) -> list[Word]:
    """A transcript that has no words gets none."""
    if line.words is not None:
        return list(line.words)
    inside = [word for word in heard if word.end > line.start and word.start < line.end]
    timed = bool(heard) or not base.segments
    return reword(line.text, line.start, line.end, inside) if timed else []


def _segment(line: Line, words: list[Word]) -> Segment:
    return Segment(0, line.start, line.end, f" {line.text}", [], 0.0, 0.0, 0.0, 0.0, words)


def _require_place(line: Line, limit: float, earliest: float, pointer: str) -> None:
    """Lines lie in the recording and in order, and so do their words, which spell them."""
    if line.end <= line.start:
        _refuse(f"{pointer}/end_s", "out_of_order", "a line ends after it starts")
    if line.start < earliest:
        _refuse(f"{pointer}/start_s", "out_of_order", "a line starts before the one above it")
    if line.end > limit + 0.001:
        _refuse(f"{pointer}/end_s", "out_of_bounds", f"the recording ends at {limit:.3f} s")
    if line.words is None:
        return
    times = list(chain.from_iterable((word.start, word.end) for word in line.words))
    if times != sorted(times) or (times and (times[0] < line.start or times[-1] > line.end)):
        _refuse(f"{pointer}/words", "out_of_order", "words follow each other inside their line")
    if _spelt("".join(word.text for word in line.words)) != _spelt(line.text):
        _refuse(f"{pointer}/words", "misspelt", "words spell the text of their line")


def _spelt(text: str) -> str:
    """Without blanks, which not every script has."""
    return "".join(text.split())


def _refuse(pointer: str, code: str, message: str) -> NoReturn:
    raise ValidationFailed(f"{pointer}: {message}", fields=[FieldError(pointer, code, message)])
