"""Which notes a word is sung on: a line of notes, one at a time, and the words that lie over it."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from neuralib.executors.whisper.transcript import Word
from neuralib.midi import Note

CHORD_S = 0.05
"""Notes that begin closer together are a chord; of a voice, the longest and loudest of them is what was sung."""
SHORTEST_S = 0.06
"""A note is not divided between words into parts shorter than this."""
REACH_S = 0.3
"""A word may be held this much longer than its end says, if the next one lets it: Whisper ends words early."""


@dataclass(slots=True)
class Sung:
    """A word and its notes, which may be none."""

    word: Word
    notes: list[Note] = field(default_factory=list)

    @property
    def start(self) -> float:
        return self.notes[0].start if self.notes else self.word.start

    @property
    def end(self) -> float:
        return self.notes[-1].end if self.notes else self.word.end


def melody(notes: Sequence[Note]) -> list[Note]:
    """One note at a time: of a chord the weightiest, and a note ends where the next one begins."""
    line: list[Note] = []
    for note in sorted(notes, key=lambda note: note.start):
        if line and note.start - line[-1].start < CHORD_S:
            line[-1] = max(line[-1], note, key=_weight)
            continue
        if line and line[-1].end > note.start:
            line[-1] = replace(line[-1], end=note.start)
        line.append(note)
    return line


def _weight(note: Note) -> float:
    return (note.end - note.start) * note.velocity


def divided(line: Sequence[Note], words: Sequence[Word]) -> list[Note]:
    """The notes, cut where a word begins within one: two words on one pitch are often heard as one note."""
    starts = sorted(word.start for word in words)
    parts = []
    for note in line:
        cut = note.start
        for start in starts[bisect_right(starts, note.start) : bisect_left(starts, note.end)]:
            if start - cut >= SHORTEST_S and note.end - start >= SHORTEST_S:
                parts.append(replace(note, start=cut, end=start))
                cut = start
        parts.append(replace(note, start=cut))
    return parts


def sung(words: Sequence[Word], line: Sequence[Note], pulse: Callable[[], None] = lambda: None) -> list[Sung]:
    """Every word once, in order, with the notes of the line that it takes. Each note goes to one word at most, and no
    word takes a note that lies before one of an earlier word. Of all such ways, this is one whose notes lie under their
    words for the longest time in all. `pulse` is called for every note, and ends the work by raising.
    """
    spans = _Spans(words)
    best = _Best(len(words))
    for place, note in enumerate(line):
        pulse()
        found = [(word, overlap, best.up_to(word)) for word, overlap in spans.over(note)]
        for word, overlap, before in found:  # after all have been asked: a note is taken once
            best.add(_Chain(overlap + (before.length if before else 0.0), word, place, before))
    result = [Sung(word) for word in words]
    whole = best.up_to(len(words) - 1)
    for word, place in whole.links() if whole else ():
        result[word].notes.insert(0, line[place])
    return result


class _Spans:
    """When each word may sound."""

    def __init__(self, words: Sequence[Word]) -> None:
        after = [*(word.start for word in words[1:]), math.inf]
        self._starts = [word.start for word in words]
        self._ends = [
            max(word.end, min(word.end + REACH_S, following))
            for word, following in zip(words, after, strict=False)
        ]
        self._ended = list(accumulate(self._ends, max))
        self._begun = list(accumulate(reversed(self._starts), min))[::-1]

    def over(self, note: Note) -> Iterator[tuple[int, float]]:
        """The words that lie over a note, and for how long."""
        for word in range(bisect_right(self._ended, note.start), bisect_left(self._begun, note.end)):
            overlap = min(self._ends[word], note.end) - max(self._starts[word], note.start)
            if overlap > 0:
                yield word, overlap


@dataclass(frozen=True, slots=True)
class _Chain:
    """Notes given to words, the last of them first: for how long they lie under them in all."""

    length: float
    word: int
    note: int
    before: "_Chain | None"

    def links(self) -> Iterator[tuple[int, int]]:
        """(word, note), last first."""
        chain: _Chain | None = self
        while chain is not None:
            yield chain.word, chain.note
            chain = chain.before


class _Best:
    """The longest chain that ends with a word up to a given one: a Fenwick tree of maxima."""

    def __init__(self, words: int) -> None:
        self._tree: list[_Chain | None] = [None] * (words + 1)

    def up_to(self, word: int) -> _Chain | None:
        found, at = None, word + 1
        while at:
            chain = self._tree[at]
            if chain is not None and (found is None or chain.length > found.length):
                found = chain
            at &= at - 1
        return found

    def add(self, chain: _Chain) -> None:
        at = chain.word + 1
        while at < len(self._tree):
            there = self._tree[at]
            if there is None or chain.length > there.length:
                self._tree[at] = chain
            at += at & -at
