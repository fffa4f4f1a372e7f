"""Times for words that somebody typed: those that were heard keep theirs, the others share what lies between them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from .transcript import Word

LEAST_S = 0.04
"""What a word should have at least: with less between its neighbours, they give some of theirs."""

_TOKENS = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)
"""Words as blanks divide them; kana and Chinese characters, which stand without any, one by one."""


def reword(text: str, start: float, end: float, heard: Sequence[Word]) -> list[Word]:
    """The words of `text`, from `start` to `end` in order: those that stand in `heard` keep their time as far as it lies
    in there, the others are spread over the gaps in proportion to their length and are certain, because somebody wrote
    them. The first begins with the line. `heard` is in order of time.
    """
    tokens = _TOKENS.findall(text)
    if not tokens:
        return []
    words = _kept(tokens, start, end, [piece for word in heard for piece in _pieces(word)])
    for first, stop in _gaps(words):
        left, right, low, high = _room(words, first, stop, start, end)
        words[left:right] = _spread(tokens[left:right], low, high, words[left:right])
    placed = [word for word in words if word is not None]
    placed[0] = replace(placed[0], start=start)
    return [replace(word, text=f" {word.text}") for word in placed] if " " in text.strip() else placed


def _kept(tokens: Sequence[str], start: float, end: float, heard: Sequence[Word]) -> list[Word | None]:
    """At the place of each token the word that was heard there."""
    words: list[Word | None] = [None] * len(tokens)
    inside = [word for word in heard if word.end > start and word.start < end]
    reached = start
    for old, new in _pairs([_plain(word.text) for word in inside], [_plain(token) for token in tokens]):
        begins = max(inside[old].start, reached)
        reached = max(begins, min(inside[old].end, end))
        words[new] = Word(tokens[new], begins, reached, inside[old].probability)
    return words


def _pairs(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(place in `old`, place in `new`) of what is the same, in order. What frames a change is found first: songs say
    things again, and a longest run of equal words might be another one.
    """
    least = min(len(old), len(new))
    head = next((n for n in range(least) if old[n] != new[n]), least)
    tail = next((n for n in range(least - head) if old[-1 - n] != new[-1 - n]), least - head)
    yield from ((n, n) for n in range(head))
    middle = SequenceMatcher(None, old[head : len(old) - tail], new[head : len(new) - tail], autojunk=False)
    for a, b, size in middle.get_matching_blocks():
        yield from ((head + a + n, head + b + n) for n in range(size))
    yield from ((len(old) - n, len(new) - n) for n in range(tail, 0, -1))


def _gaps(words: Sequence[Word | None]) -> Iterator[tuple[int, int]]:
    """[first, stop) of each run that has no time yet."""
    at = 0
    while at < len(words):
        stop = at
        while stop < len(words) and words[stop] is None:
            stop += 1
        if stop > at:
            yield at, stop
        at = stop + 1


def _room(
    words: Sequence[Word | None], first: int, stop: int, start: float, end: float
) -> tuple[int, int, float, float]:
    """[left, right) and the time between what stands beside them: a neighbour is taken in while it is too little."""
    while True:
        before, after = words[first - 1] if first else None, words[stop] if stop < len(words) else None
        low, high = before.end if before else start, after.start if after else end
        if high - low >= LEAST_S * (stop - first) or (before is None and after is None):
            return first, stop, low, max(low, high)
        if before is not None:
            first -= 1
        else:
            stop += 1


def _spread(tokens: Sequence[str], low: float, high: float, known: Sequence[Word | None]) -> list[Word]:
    """Over [low, high] in proportion to their length."""
    lengths = [len(token) for token in tokens]
    step = (high - low) / sum(lengths)
    ends = [low + step * sum(lengths[: n + 1]) for n in range(len(tokens))]
    ends[-1] = high
    return [
        Word(token, begins, ends_at, before.probability if before else 1.0)
        for token, begins, ends_at, before in zip(tokens, [low, *ends[:-1]], ends, known, strict=True)
    ]


def _pieces(word: Word) -> list[Word]:
    """A word that was heard, as the tokens of a text are cut."""
    tokens = _TOKENS.findall(word.text)
    if len(tokens) < 2:
        return [replace(word, text=token) for token in tokens]
    return _spread(tokens, word.start, word.end, [word] * len(tokens))


def _plain(token: str) -> str:
    """As words are compared: without case and punctuation, unless there is nothing else."""
    return re.sub(r"[\W_]+", "", token.casefold()) or token
