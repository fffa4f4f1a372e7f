"""Words with their times, and the revisions that people make of them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from unicodedata import category, normalize
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from neuralib import entities, transcripts
from neuralib.executors.whisper import transcript
from neuralib.transcripts import MAX_LINES, MAX_TEXT

from .base import Reply, Request

MAX_S = 1e6
MAX_WORDS = 500
"""Of one line."""


def _one_line(text: str) -> str:
    if any(category(c) == "Cc" for c in text):
        raise ValueError("a line has no control characters")
    return normalize("NFC", " ".join(text.split()))


Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT),
    AfterValidator(_one_line),
]
Seconds = Annotated[float, Field(ge=0, le=MAX_S, allow_inf_nan=False)]
Format = Annotated[
    Literal["json", "txt", "srt", "vtt", "lrc", "elrc"],
    Field(description="elrc: LRC with the time of every word."),
]


class TranscriptQuery(Request):
    format: Format = "json"


class TimedWord(Reply):
    text: str
    start_s: float
    end_s: float
    probability: Annotated[float, Field(description="1 for what somebody wrote.")]


class Line(Reply):
    text: str
    start_s: float
    end_s: float
    words: list[TimedWord]


class Transcript(Reply):
    asset_id: Annotated[UUID, Field(description="The transcript that was read.")]
    revision: Annotated[int, Field(description="Of it; 1 is what the machine wrote.")]
    language: str | None
    duration_s: float
    text: str
    segments: list[Line]

    @classmethod
    def of(cls, found: transcripts.Edition) -> dict[str, Any]:
        told = found.transcript
        return cls(
            asset_id=found.asset.id,
            revision=found.revision.number,
            language=told.language,
            duration_s=told.duration,
            text=told.text,
            segments=[_line(segment) for segment in told.segments],
        ).model_dump(mode="json")


def _line(segment: transcript.Segment) -> Line:
    words = [
        TimedWord(text=word.text.strip(), start_s=word.start, end_s=word.end, probability=word.probability)
        for word in segment.words
    ]
    return Line(text=segment.text.strip(), start_s=segment.start, end_s=segment.end, words=words)


class NewWord(Request):
    text: Text
    start_s: Seconds
    end_s: Seconds
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0


class NewLine(Request):
    text: Text
    start_s: Seconds
    end_s: Seconds
    words: Annotated[
        list[NewWord] | None,
        Field(
            max_length=MAX_WORDS,
            description="Without them, words that were there keep their times and the others are spread between them.",
        ),
    ] = None

    def line(self) -> transcripts.Line:
        if self.words is None:
            return transcripts.Line(self.text, self.start_s, self.end_s)
        blank = " " if " " in self.text else ""
        words = [transcript.Word(blank + w.text, w.start_s, w.end_s, w.probability) for w in self.words]
        return transcripts.Line(self.text, self.start_s, self.end_s, words)


class TranscriptPatch(Request):
    """A merge patch (RFC 7396): the lines are replaced as a whole. Those that did not change stay as they were to the word."""

    segments: Annotated[
        list[NewLine] | None, Field(max_length=MAX_LINES, description="In order of time.")
    ] = None


class Revision(Reply):
    number: int
    by: Annotated[Literal["machine", "owner"], Field(description="Who made it.")]
    parent: Annotated[int | None, Field(description="The revision that it was made from.")]
    restored: Annotated[int | None, Field(description="The revision that it brings back.")]
    bytes: Annotated[int, Field(description="Of its JSON.")]
    created_at: datetime

    @classmethod
    def of(cls, found: entities.Revision) -> "Revision":
        return cls(
            number=found.number,
            by="machine" if found.parent is None else "owner",
            parent=found.parent,
            restored=found.restored,
            bytes=found.bytes,
            created_at=found.created_at,
        )


class Revisions(Reply):
    asset_id: Annotated[UUID, Field(description="The transcript.")]
    items: Annotated[list[Revision], Field(description="Newest first; the newest is what everything reads.")]
