"""What a transcription is made of. Times are seconds from the start of the recording."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Word:
    """One word with the blanks and punctuation that belong to it, as the tokenizer cut it: " dog."."""

    text: str
    start: float
    end: float
    probability: float


@dataclass(slots=True)
class Segment:
    """One timed line. `tokens` are the tokenizer's, timestamps included; `seek` is the window's start in mel
    frames of 10 ms. Mutable because word timing moves the ends.
    """

    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: list[Word] = field(default_factory=list)

    def clear(self) -> None:
        """Keep the place in time, drop what was said."""
        self.text, self.tokens, self.words = "", [], []


@dataclass(slots=True)
class Transcript:
    """The text of one recording. `language` is None when nothing was there to detect it from."""

    segments: list[Segment]
    language: str | None
    language_probability: float | None
    duration: float

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()

    @property
    def words(self) -> Iterator[Word]:
        return (word for segment in self.segments for word in segment.words)
