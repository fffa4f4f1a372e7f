"""The walk over a recording, window by window: where to look next, what to keep, when to try again.

The rules of seek, prompt, fallback and hallucination are those of `whisper.transcribe` and give its tokens; a window
is encoded once for all of them. On top come guards for music, each of which can be switched off and counts how
often it acted.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from whisper.tokenizer import Tokenizer

from .caches import Audio
from .decoding import TIMESTAMP_S, Decoded, Request, detect_language, tokenizer_for
from .features import FRAMES_PER_SECOND, WINDOW, Features
from .guards import Counts, Repeats
from .model import Model
from .transcript import Segment, Transcript, Word
from .words import APPENDED, PREPENDED, Aligner, add_words

FRAMES_PER_TIMESTAMP = 2
HOT = 0.5
"""Text of a higher temperature is no prompt for the next window."""


SURE = 0.8
"""A language this probable is not asked for twice."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to transcribe. The first group means what it means to `whisper.transcribe`; None switches a rule off."""

    language: str | None = None
    task: str = "transcribe"
    word_timestamps: bool = True
    initial_prompt: str | None = None
    temperatures: Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    beam_size: int | None = None
    best_of: int | None = None
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    condition_on_previous_text: bool = True
    hallucination_silence_threshold: float | None = None
    seed: int = 0
    silence_dbfs: float | None = None
    """Windows and segments in which no 10 ms are louder than this are passed over."""
    max_repeats: int | None = None
    """The same line is kept at most this many times in a row."""


@dataclass(slots=True)
class _Window:
    """The window at `seek`: `size` frames of sound."""

    seek: int
    size: int
    audio: Audio

    @property
    def start(self) -> float:
        return self.seek / FRAMES_PER_SECOND

    @property
    def end(self) -> float:
        """Where a whole window ends, in seconds, past the end of the recording too."""
        return (self.seek + WINDOW) / FRAMES_PER_SECOND

    @property
    def duration(self) -> float:
        return self.size / FRAMES_PER_SECOND


class Transcription:
    """One run over one recording. `at` is called with the frame reached, at every window and every token."""

    def __init__(self, model: Model, features: Features, options: Options, at: Callable[[int], None]) -> None:
        self.counts = Counts()
        self._model, self._features, self._options, self._at = model, features, options, at
        self._repeats = Repeats(options.max_repeats)
        self._seek = 0
        self._segments: list[Segment] = []
        self._tokens: list[int] = []
        self._prompt_from = 0
        self._last_speech = 0.0
        self._encoded: tuple[int, int, Audio] | None = None
        self._random = torch.Generator(model.device).manual_seed(options.seed)

    def steps(self) -> Generator[Request, Decoded, Transcript]:
        """The walk. It asks for one window at a time to be decoded and receives what that gave."""
        language, probability = self._language()
        duration = self._features.frames / FRAMES_PER_SECOND
        if language is None:
            return Transcript([], None, None, duration)
        tokenizer = tokenizer_for(self._model.dims, language, self._options.task)
        if self._options.initial_prompt is not None:
            self._tokens = tokenizer.encode(" " + self._options.initial_prompt.strip())
        while self._seek < self._features.frames:
            self.tick()
            seek = self._seek
            size = min(WINDOW, self._features.frames - seek)
            if self._is_silent(seek, seek + size):
                self.counts.silent_windows += 1
                self._seek += size
                continue
            yield from self._window(_Window(seek, size, self._encode(seek, size)), tokenizer)
            self._seek = max(self._seek, seek + 1)  # a walk that ends, whatever the words' times say
        self._at(self._features.frames)
        return Transcript([s for s in self._segments if s.text], language, probability, duration)

    def tick(self) -> None:
        """Say how far it is."""
        self._at(self._seek)

    def _encode(self, seek: int, size: int) -> Audio:
        if self._encoded is None or self._encoded[:2] != (seek, size):
            self._encoded = seek, size, self._model.encode(self._features.window(seek, size), self.tick)
        return self._encoded[2]

    def _is_silent(self, start: int, stop: int) -> bool:
        limit = self._options.silence_dbfs
        return limit is not None and self._features.is_silent(start, stop, limit)

    def _language(self) -> tuple[str | None, float | None]:
        """What is spoken in the first window that is not silent. In openai's, that window goes on into the silence
        behind a short recording, where decoding pads with zeros: it is encoded so only when in doubt.
        """
        if self._options.language is not None:
            return self._options.language, None
        starts = range(0, self._features.frames, WINDOW)
        seek = next((s for s in starts if not self._is_silent(s, s + WINDOW)), None)
        if seek is None:
            self.counts.silent_windows = len(starts)
            return None, None
        if not self._model.dims.is_multilingual:
            return "en", None
        size = min(WINDOW, self._features.frames - seek)
        found = detect_language(self._model, self._encode(seek, size))
        if size < WINDOW and found[1] < SURE:
            audio = self._model.encode(self._features.window(seek, WINDOW), self.tick)
            found = detect_language(self._model, audio)
        return found

    # ── one window ────────────────────────────────────────────────────────────────────────────────────

    def _window(self, window: _Window, tokenizer: Tokenizer) -> Generator[Request, Decoded, None]:
        result = yield from self._decode(window, tokenizer)
        if self._nothing_said(result):
            self._seek += window.size
            return
        segments, ends_quiet = self._cut(window, result, tokenizer)
        if self._options.word_timestamps:
            aligner = Aligner(self._model, tokenizer, window.audio, window.size)
            add_words(aligner, segments, self._last_speech)
            if not self._seek_by_words(window, segments, ends_quiet=ends_quiet):
                return
            self._last_speech = _end_of_words(segments, self._last_speech)
        self._keep(segments)
        if not self._options.condition_on_previous_text or result.temperature > HOT:
            self._prompt_from = len(self._tokens)

    def _decode(self, window: _Window, tokenizer: Tokenizer) -> Generator[Request, Decoded, Decoded]:
        """Rising temperatures until the text is neither repetitive nor improbable; silence needs no second try."""
        o = self._options
        prompt = self._tokens[self._prompt_from :]
        for temperature in o.temperatures:
            result = yield Request(
                window.audio, prompt, temperature, tokenizer, self._random, o.beam_size, o.best_of
            )
            repetitive = _above(result.compression_ratio, o.compression_ratio_threshold)
            improbable = _below(result.avg_logprob, o.logprob_threshold)
            silent = _above(result.no_speech_prob, o.no_speech_threshold) and improbable
            if silent or not (repetitive or improbable):
                break
        return result

    def _nothing_said(self, result: Decoded) -> bool:
        o = self._options
        if not _above(result.no_speech_prob, o.no_speech_threshold):
            return False
        return o.logprob_threshold is None or result.avg_logprob <= o.logprob_threshold

    def _cut(self, window: _Window, result: Decoded, tokenizer: Tokenizer) -> tuple[list[Segment], bool]:
        """Cut a window's tokens into segments between pairs of timestamps, and seek past what they cover. Also
        says whether one timestamp ends the text: then nothing was said after it.
        """
        tokens, begin = result.tokens, tokenizer.timestamp_begin
        stamps = [token >= begin for token in tokens]
        ends_quiet = stamps[-2:] == [False, True]
        cuts = [i for i in range(1, len(tokens)) if stamps[i - 1] and stamps[i]]

        def time(token: int) -> float:
            return window.start + float(token - begin) * TIMESTAMP_S

        if not cuts:
            last = next(
                (token for token, stamp in zip(tokens[::-1], stamps[::-1], strict=True) if stamp), begin
            )
            end = time(last) if last != begin else window.start + window.duration
            self._seek += window.size
            return [_segment(window, (window.start, end), tokens, result, tokenizer)], ends_quiet
        if ends_quiet:
            cuts.append(len(tokens))
            self._seek += window.size
        else:
            self._seek += (tokens[cuts[-1] - 1] - begin) * FRAMES_PER_TIMESTAMP
        parts = [tokens[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
        return [_segment(window, (time(p[0]), time(p[-1])), p, result, tokenizer) for p in parts], ends_quiet

    def _seek_by_words(self, window: _Window, segments: list[Segment], *, ends_quiet: bool) -> bool:
        """Go on where the last word ended. With a threshold for hallucinations: skip the silence before improbable
        words and drop those that stand between silences. False when the window is to be read again, further on.
        """
        limit = self._options.hallucination_silence_threshold
        ended = _end_of_words(segments, window.start)
        if not ends_quiet and ended > window.start:
            enough = limit is None or window.end - ended > limit
            self._seek = round(ended * FRAMES_PER_SECOND) if enough else window.seek + window.size
        if limit is None:
            return True
        first = _first_with_words(segments)
        if first is not None and _is_anomalous(first) and first.start - window.start > limit:
            self._seek = window.seek + round((first.start - window.start) * FRAMES_PER_SECOND)
            return False
        self._drop_islands(window, segments, limit)
        return True

    def _drop_islands(self, window: _Window, segments: list[Segment], limit: float) -> None:
        """Cut the segments off at the first anomalous one with silence, or another anomaly, on both sides."""
        before = self._last_speech
        for number, segment in enumerate(segments):
            if not segment.words:
                continue
            if _is_anomalous(segment):
                after = _first_with_words(segments[number + 1 :])
                resumes = after.words[0].start if after else window.start + window.duration
                quiet_before = (
                    segment.start - before > limit
                    or segment.start < limit
                    or segment.start - window.start < 2.0
                )
                quiet_after = (
                    resumes - segment.end > limit
                    or (after is not None and _is_anomalous(after))
                    or window.end - segment.end < 2.0
                )
                if quiet_before and quiet_after:
                    self._seek = round(max(window.start + 1, segment.start) * FRAMES_PER_SECOND)
                    if self._features.frames / FRAMES_PER_SECOND - segment.end < limit:
                        self._seek = self._features.frames
                    del segments[number:]
                    return
            before = segment.end

    def _keep(self, segments: Sequence[Segment]) -> None:
        """Empty the segments that say nothing, or that a guard objects to; remember the rest."""
        for segment in segments:
            if segment.start == segment.end or not segment.text.strip():
                segment.clear()
            elif self._is_silent(*(round(t * FRAMES_PER_SECOND) for t in (segment.start, segment.end))):
                self.counts.silent_segments += 1
                segment.clear()
            elif not self._repeats.admit(segment.text):
                self.counts.repeated_segments += 1
                segment.clear()
            self._segments.append(segment)
            self._tokens.extend(segment.tokens)


def _segment(
    window: _Window, span: tuple[float, float], tokens: list[int], result: Decoded, tokenizer: Tokenizer
) -> Segment:
    return Segment(
        seek=window.seek,
        start=span[0],
        end=span[1],
        text=tokenizer.decode([token for token in tokens if token < tokenizer.eot]),
        tokens=tokens,
        temperature=result.temperature,
        avg_logprob=result.avg_logprob,
        compression_ratio=result.compression_ratio,
        no_speech_prob=result.no_speech_prob,
    )


def _above(value: float, threshold: float | None) -> bool:
    return threshold is not None and value > threshold


def _below(value: float, threshold: float | None) -> bool:
    return threshold is not None and value < threshold


def _end_of_words(segments: Sequence[Segment], otherwise: float) -> float:
    """When the last word of the segments ended; without words when they do; without segments `otherwise`."""
    for segment in reversed(segments):
        if segment.words:
            return segment.words[-1].end
    return segments[-1].end if segments else otherwise


def _first_with_words(segments: Sequence[Segment]) -> Segment | None:
    return next((segment for segment in segments if segment.words), None)


def _is_anomalous(segment: Segment) -> bool:
    """Whether the first words of a segment are so improbable, short or long that nobody may have said them."""
    words = [word for word in segment.words if word.text not in PREPENDED + APPENDED][:8]
    score = sum(_strangeness(word) for word in words)
    return score >= 3 or score + 0.01 >= len(words)


def _strangeness(word: Word) -> float:
    duration = word.end - word.start
    improbable = 1.0 if word.probability < 0.15 else 0.0
    return improbable + max(0.133 - duration, 0.0) * 15 + max(duration - 2.0, 0.0)
