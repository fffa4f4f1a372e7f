"""When each word was said: dynamic time warping over the attention heads that follow the words.

The method and its constants are openai's (`whisper.timing`): attention of the known text to the window, normalised
over tokens, smoothed by a median over time, averaged over heads; the cheapest monotone path through it gives
every token its time. We read the text with the window's cached encoding and trace the path diagonal by diagonal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from numpy.typing import NDArray
from torch import Tensor
from whisper.timing import WordTiming, merge_punctuations
from whisper.tokenizer import Tokenizer

from .caches import Audio
from .features import FRAMES_PER_SECOND
from .model import Model
from .transcript import Segment, Word

PREPENDED = "\"'“¿([{-"
APPENDED = "\"'.。,，!！?？:：”)]}、"
SENTENCE_ENDS = ".。!！?？"
MEDIAN_WIDTH = 7
TOKENS_PER_SECOND = 50


@dataclass(frozen=True, slots=True)
class Aligner:
    """Finds the words of one window. `size` is its frames of sound."""

    model: Model
    tokenizer: Tokenizer
    audio: Audio
    size: int

    def align(self, tokens: Sequence[int]) -> list[WordTiming]:
        """Time of every word of a text that was said in the window; seconds from the window's start."""
        tokenizer = self.tokenizer
        if not tokens:
            return []
        start = len(tokenizer.sot_sequence)
        output, scores = self.model.read_along(
            self.audio, [*tokenizer.sot_sequence, tokenizer.no_timestamps, *tokens, tokenizer.eot]
        )
        words, parts = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
        if len(parts) <= 1:
            return []
        chances = self.model.logits(output[start : start + len(tokens)])[:, : tokenizer.eot].softmax(dim=-1)
        chosen = chances[torch.arange(len(tokens)), torch.tensor(tokens)].tolist()
        path = warp(-_follow(scores[:, :, : self.size // 2])[start:-1].double().cpu().numpy())
        edges = np.cumsum([0, *(len(part) for part in parts[:-1])])
        times = (path[edges] / TOKENS_PER_SECOND).tolist()
        return [
            WordTiming(
                words[i], parts[i], times[i], times[i + 1], float(np.mean(chosen[edges[i] : edges[i + 1]]))
            )
            for i in range(len(parts) - 1)
        ]


def add_words(aligner: Aligner, segments: Sequence[Segment], last_speech: float) -> None:
    """Give the segments of one window their words, and move the segments' ends to them. `last_speech` is the time
    at which the text before the window ended.
    """
    if not segments:
        return
    texts = [[token for token in segment.tokens if token < aligner.tokenizer.eot] for segment in segments]
    timings = aligner.align(list(chain.from_iterable(texts)))
    usual, longest = _usual_durations(timings)
    _shorten_at_sentence_ends(timings, longest)
    merge_punctuations(timings, PREPENDED, APPENDED)
    offset = segments[0].seek / FRAMES_PER_SECOND
    rest = iter(timings)
    for segment, text in zip(segments, texts, strict=True):
        segment.words = _take_words(rest, len(text), offset)
        if segment.words:
            _fit_ends(segment, last_speech, usual, longest)
            last_speech = segment.end


def _follow(scores: Tensor) -> Tensor:
    """Attention scores `(heads, tokens, times)` as one matrix `(tokens, times)` that is large along the words."""
    weights = scores.softmax(dim=-1)
    std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    return median((weights - mean) / std).mean(dim=0)


EXCHANGES = (
    (0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4),
)  # fmt: skip
"""Sorts the middle of seven values into place (N. Devillard, "Fast median search", 1998)."""


def median(x: Tensor) -> Tensor:
    """Running median of seven along the last axis, mirrored at the ends; `x` itself where it is shorter than
    four. A network of exchanges over whole rows, many times faster than sorting every seven.
    """
    if x.shape[-1] <= MEDIAN_WIDTH // 2:
        return x
    padded = F.pad(x, (MEDIAN_WIDTH // 2, MEDIAN_WIDTH // 2, 0, 0), mode="reflect")
    shifted = [padded[..., i : i + x.shape[-1]] for i in range(MEDIAN_WIDTH)]
    for low, high in EXCHANGES:
        a, b = shifted[low], shifted[high]
        shifted[low], shifted[high] = torch.minimum(a, b), torch.maximum(a, b)
    return shifted[3]


def warp(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Dynamic time warping of `cost` `(tokens, times)`: the time at which each token's stretch begins.

    Ties break as in `whisper.timing.dtw_cpu`: the diagonal when it is less than both others, else a step in tokens
    when that is, else a step in time. Sums are kept in float32 as there. Cell (i, j) lies on diagonal i + j and
    needs only the two diagonals before it, so each diagonal is one vector over i.
    """
    rows, columns = cost.shape
    skewed = np.zeros((rows + columns, rows))
    for i in range(rows):
        skewed[i : i + columns, i] = cost[i]
    along_tokens = np.zeros(skewed.shape, dtype=bool)
    along_both = np.zeros(skewed.shape, dtype=bool)
    older, newer = np.full(rows + 1, np.inf, np.float32), np.full(rows + 1, np.inf, np.float32)
    older[0] = 0.0
    for diagonal in range(rows + columns - 1):
        first, last = max(0, diagonal - columns + 1), min(rows, diagonal + 1)
        both, token, time = older[first:last], newer[first:last], newer[first + 1 : last + 1]
        here = slice(first, last)
        np.less(both, np.minimum(token, time), out=along_both[diagonal, here])
        np.less(token, np.minimum(both, time), out=along_tokens[diagonal, here])
        best = np.where(along_both[diagonal, here], both, np.where(along_tokens[diagonal, here], token, time))
        current = np.full(rows + 1, np.inf, np.float32)
        current[first + 1 : last + 1] = skewed[diagonal, here] + best
        older, newer = newer, current
    return _beginnings(along_both, along_tokens, rows, columns)


def _beginnings(
    along_both: NDArray[np.bool_], along_tokens: NDArray[np.bool_], rows: int, columns: int
) -> NDArray[np.int64]:
    """Walk the path back from its end; the last time seen in a row is where that row begins."""
    begins = np.zeros(rows, dtype=np.int64)
    i, j = rows - 1, columns - 1
    while i >= 0:
        begins[i] = max(j, 0)
        if j < 0 or along_tokens[i + j, i]:
            i -= 1
        elif along_both[i + j, i]:
            i, j = i - 1, j - 1
        else:
            j -= 1
    return begins


def _usual_durations(timings: Sequence[WordTiming]) -> tuple[float, float]:
    """The median duration of the words that last at all, at most 0.7 s; and twice that, the longest believed."""
    durations = [t.end - t.start for t in timings if t.end != t.start]
    usual = min(0.7, float(np.median(durations))) if durations else 0.0
    return usual, usual * 2


def _shorten_at_sentence_ends(timings: Sequence[WordTiming], longest: float) -> None:
    """Pauses between sentences are not part of the words around them."""
    if longest == 0.0:
        return
    for before, word in pairwise(timings):
        if word.end - word.start > longest:
            if word.word in SENTENCE_ENDS:
                word.end = word.start + longest
            elif before.word in SENTENCE_ENDS:
                word.start = word.end - longest


def _take_words(timings: Iterator[WordTiming], count: int, offset: float) -> list[Word]:
    """The words that `count` tokens of a segment make. Punctuation that was merged away leaves empty ones."""
    words, taken = [], 0
    while taken < count and (timing := next(timings, None)) is not None:
        taken += len(timing.tokens)
        if timing.word:
            start, end = round(float(offset + timing.start), 2), round(float(offset + timing.end), 2)
            words.append(Word(timing.word, start, end, timing.probability))
    return words


def _fit_ends(segment: Segment, last_speech: float, usual: float, longest: float) -> None:
    """Cut first words that a pause made long, then let segment and words agree on where they begin and end."""
    words = segment.words
    first, second = words[0], words[1] if len(words) > 1 else None
    slow = first.end - first.start > longest or (
        second is not None and second.end - first.start > longest * 2
    )
    if first.end - last_speech > usual * 4 and slow:
        if second is not None and second.end - second.start > longest:
            first.end = second.start = max(second.end / 2, second.end - longest)
        first.start = max(0, first.end - longest)
    if segment.start < first.end and segment.start - 0.5 > first.start:
        first.start = max(0, min(first.end - usual, segment.start))
    else:
        segment.start = first.start
    last = words[-1]
    if segment.end > last.start and segment.end + 0.5 < last.end:
        last.end = max(last.start + usual, segment.end)
    else:
        segment.end = last.end
