"""The JSON of a transcript, read: what `lyrics.as_json` wrote, or what somebody made of it."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from neuralib.errors import UnsupportedTranscript

from .transcript import Segment, Transcript, Word

Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=10_000)]


class Timed(BaseModel):
    """What begins and ends."""

    text: Text
    start: Seconds
    end: Seconds

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError("ends before it starts")
        return self


class WordDocument(Timed):
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0


class SegmentDocument(Timed):
    words: Annotated[list[WordDocument], Field(max_length=10_000)] = []
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_prob: float = 0.0

    def segment(self) -> Segment:
        return Segment(
            0,
            self.start,
            self.end,
            f" {self.text}",
            [],
            self.temperature,
            self.avg_logprob,
            self.compression_ratio,
            self.no_speech_prob,
            self._words(),
        )

    def _words(self) -> list[Word]:
        """With the blanks that the JSON leaves out, as the segment's text has them: not every script has any."""
        words, at = [], 0
        for word in self.words:
            found = max(self.text.find(word.text, at), at)
            blank = " " if self.text[at:found].isspace() or (found == 0 and " " in self.text) else ""
            words.append(Word(blank + word.text, word.start, word.end, word.probability))
            at = found + len(word.text)
        return words


class Document(BaseModel):
    language: str | None = None
    language_probability: float | None = None
    duration: Seconds = 0.0
    segments: Annotated[list[SegmentDocument], Field(max_length=100_000)]

    def transcript(self) -> Transcript:
        segments = [each.segment() for each in self.segments]
        duration = max(self.duration, *(each.end for each in segments), 0.0)
        return Transcript(segments, self.language, self.language_probability, duration)


def read_transcript(content: bytes) -> Transcript:
    """Raises UnsupportedTranscript."""
    try:
        return Document.model_validate_json(content).transcript()
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = "/".join(str(part) for part in first["loc"])
        raise UnsupportedTranscript(f"/{where}: {first['msg']}") from error
