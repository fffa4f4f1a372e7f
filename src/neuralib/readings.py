"""Use cases of what models wrote down: the notes of a MIDI asset and the words of a transcript, or the newest ones that
were made of a recording.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, ValidationError

from . import assets, orders
from .db import assets as rows
from .entities import Asset, AssetKind
from .errors import Conflict, UnsupportedMidi, UnsupportedTranscript
from .executors.whisper.document import read_transcript
from .executors.whisper.transcript import Transcript
from .midi import read_midi
from .services import Services

MIDI, JSON = "audio/midi", "application/json"
MOST_BYTES = 32 << 20
"""Of a file that is read whole."""


@dataclass(frozen=True, slots=True)
class PlayedNote:
    """A note in seconds. `bend` in semitones, evenly spread over it, where somebody wrote it down."""

    start: float
    end: float
    pitch: int
    velocity: int
    bend: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Notes:
    """Notes in order of time, and the tempo that they begin with in quarter notes a minute."""

    tempo: float
    notes: Sequence[PlayedNote]


async def find_notes(services: Services, owner: UUID, asset: UUID) -> Asset:
    """The asset itself when it is MIDI (or the table of it), else the newest made of it. Raises NotFound, Conflict."""
    return await _find(services, owner, asset, AssetKind.MIDI, (JSON, MIDI))


async def find_transcript(services: Services, owner: UUID, asset: UUID) -> Asset:
    """The asset itself when it is a transcript in JSON, else the newest made of it. Raises NotFound, Conflict."""
    return await _find(services, owner, asset, AssetKind.TRANSCRIPT, (JSON,))


async def notes(services: Services, asset: Asset) -> Notes:
    """Raises UnsupportedMidi, StorageUnavailable."""
    if asset.blob.bytes > MOST_BYTES:
        raise UnsupportedMidi(f"asset {asset.id} is larger than {MOST_BYTES} bytes")
    read = _midi_notes if asset.blob.media_type == MIDI else _table_notes
    return await asyncio.to_thread(read, await content(services, asset))


async def transcript(services: Services, asset: Asset) -> Transcript:
    """Raises UnsupportedTranscript, StorageUnavailable."""
    if asset.blob.bytes > MOST_BYTES:
        raise UnsupportedTranscript(f"asset {asset.id} is larger than {MOST_BYTES} bytes")
    return await asyncio.to_thread(read_transcript, await content(services, asset))


async def _find(
    services: Services, owner: UUID, asset: UUID, kind: AssetKind, media_types: Sequence[str]
) -> Asset:
    async with services.db.statements() as db:
        given = await rows.get(db, owner, asset)
        if given.kind == kind and given.blob.media_type in media_types:
            return given
        found = await rows.newest_child(db, owner, asset, kind, media_types)
    if found is None:
        raise Conflict(f"of asset {asset} there is no {kind} yet")
    return found


async def content(services: Services, asset: Asset) -> bytes:
    """All of it: ask for its size first. Raises AssetEvicted, StorageUnavailable."""
    orders.require_bytes([asset])
    return b"".join([chunk async for chunk in assets.content(services, asset)])


def _midi_notes(content: bytes) -> Notes:
    file = read_midi(content)
    return Notes(file.clock.tempo, [PlayedNote(n.start, n.end, n.pitch, n.velocity) for n in file.notes])


class _Row(BaseModel):
    start: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    end: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    pitch: Annotated[int, Field(ge=0, le=127)]
    velocity: Annotated[int, Field(ge=0, le=127)]
    bends: list[int] | None = None


class _Table(BaseModel):
    """The JSON that Basic Pitch writes beside its MIDI."""

    tempo: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    bends_per_semitone: Annotated[int, Field(ge=1)] = 3
    notes: list[_Row]


def _table_notes(content: bytes) -> Notes:
    try:
        table = _Table.model_validate_json(content)
    except ValidationError as error:
        raise UnsupportedMidi("this is no table of notes") from error
    steps = table.bends_per_semitone
    return Notes(
        table.tempo,
        [
            PlayedNote(
                row.start,
                row.end,
                row.pitch,
                row.velocity,
                None if row.bends is None else [round(bend / steps, 3) for bend in row.bends],
            )
            for row in table.notes
        ],
    )
