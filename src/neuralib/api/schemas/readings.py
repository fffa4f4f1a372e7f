"""Notes, as they were written down."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from .base import Reply, Request


class NotesQuery(Request):
    format: Annotated[
        Literal["json", "csv"], Field(description="csv: start_s, end_s, pitch and velocity of each note.")
    ] = "json"


class Note(Reply):
    start_s: float
    end_s: float
    pitch: Annotated[int, Field(description="MIDI number.")]
    velocity: int
    bend: Annotated[
        list[float] | None, Field(description="Semitones, evenly spread over the note; null: not known.")
    ]


class NoteList(Reply):
    asset_id: Annotated[UUID, Field(description="The MIDI asset that was read.")]
    tempo: Annotated[float, Field(description="Quarter notes a minute, at the beginning.")]
    notes: list[Note]
