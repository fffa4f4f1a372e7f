"""Notes and words, as they were written down."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from .base import Reply, Request


class NotesQuery(Request):
    format: Annotated[
        Literal["json", "csv"], Field(description="csv: start_s, end_s, pitch and velocity of each note.")
    ] = "json"


class TranscriptQuery(Request):
    format: Annotated[
        Literal["json", "txt", "srt", "vtt", "lrc", "elrc"],
        Field(description="elrc: LRC with the time of every word."),
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


class TimedWord(Reply):
    text: str
    start_s: float
    end_s: float
    probability: float


class Line(Reply):
    text: str
    start_s: float
    end_s: float
    words: list[TimedWord]


class Transcript(Reply):
    asset_id: Annotated[UUID, Field(description="The transcript that was read.")]
    language: str | None
    duration_s: float
    text: str
    segments: list[Line]
