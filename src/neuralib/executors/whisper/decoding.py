"""From one encoded window to tokens: openai's decoding rules on our model.

Same rules, same order, same stop as `whisper.decoding.DecodingTask` (beam search is that package's own class).
Sampling draws from a generator of its own, so that a run can be repeated.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from whisper.decoding import BeamSearchDecoder
from whisper.tokenizer import Tokenizer, get_tokenizer

from .caches import Audio, Cache
from .loading import Dims
from .model import Model, Tick

MAX_INITIAL_TIMESTAMP_S = 1.0
TIMESTAMP_S = 0.02


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one pass over a window gave. `tokens` end before the end-of-text token."""

    tokens: list[int]
    text: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    compression_ratio: float


def detect_language(model: Model, audio: Audio) -> tuple[str, float]:
    """The most probable language of a window of a multilingual model, and its probability among all languages."""
    tokenizer = get_tokenizer(multilingual=True, num_languages=model.dims.num_languages)
    _, logits = model.start(audio, [tokenizer.sot], 1, [0])
    chances = logits[0, list(tokenizer.all_language_tokens)].softmax(dim=-1)
    best = int(chances.argmax())
    return tokenizer.all_language_codes[best], float(chances[best])


def tokenizer_for(dims: Dims, language: str, task: str) -> Tokenizer:
    return get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages, language=language, task=task)


@dataclass(frozen=True, slots=True)
class Request:
    """One window, to be decoded once. `beam_size` counts at temperature 0, `best_of` above it."""

    audio: Audio
    prompt: Sequence[int]
    """Tokens of the text before it."""
    temperature: float
    tokenizer: Tokenizer
    """Of the language and the task."""
    random: torch.Generator
    beam_size: int | None = None
    best_of: int | None = None

    @property
    def beams(self) -> int | None:
        return self.beam_size if self.temperature == 0 else None

    @property
    def rows(self) -> int:
        """How many texts are searched side by side."""
        return self.beams or (self.best_of if self.temperature > 0 else None) or 1


class Pass:
    """One request on its way through the model: feed it logits, step the model with what it chooses."""

    def __init__(self, model: Model, rules: "Rules", request: Request) -> None:
        self._request, self._rules, self._dims = request, rules, model.dims
        tokenizer = request.tokenizer
        prefix = list(tokenizer.sot_sequence)
        if request.prompt:
            prompt = request.prompt[-(model.dims.n_text_ctx // 2 - 1) :]
            prefix = [tokenizer.sot_prev, *prompt, *prefix]
        wanted = [prefix.index(tokenizer.sot), len(prefix) - 1]
        self.cache, logits = model.start(request.audio, prefix, request.rows, wanted)
        self.first = logits[1:].repeat(request.rows, 1)
        """The logits to begin with, `(rows, n_vocab)`."""
        self._no_speech = float(logits[0].softmax(dim=-1)[tokenizer.no_speech])
        self._length = len(prefix)
        self.search: _Search = (
            _Beams(request.beams, tokenizer.eot, self.cache)
            if request.beams
            else _Sampler(request.rows, tokenizer.eot, request.temperature, request.random)
        )

    def choose(self, logits: Tensor) -> Tensor | None:
        """The next token of every row; None when all rows have ended, half the text context is full, or all of
        it is. The rules have been applied to `logits`.
        """
        chosen = self.search.advance(logits)
        self._length += 1
        sampled = len(self.search.texts[0])
        full = sampled >= self._dims.n_text_ctx // 2 or self._length > self._dims.n_text_ctx
        return None if full else chosen

    def run(self, model: Model, tick: Tick) -> Decoded:
        """To the end, alone."""
        logits = self.first
        while True:
            self._rules.apply(logits, self.search.texts)
            chosen = self.choose(logits)
            if chosen is None:
                return self.result()
            tick()
            logits = model.step(chosen, self.cache)

    def result(self) -> Decoded:
        """The likeliest text for its length."""
        tokens, logprob = max(self.search.candidates(), key=lambda found: found[1] / len(found[0]))
        text = self._request.tokenizer.decode(tokens).strip()
        return Decoded(
            tokens=tokens,
            text=text,
            avg_logprob=logprob / (len(tokens) + 1),
            no_speech_prob=self._no_speech,
            temperature=self._request.temperature,
            compression_ratio=compression_ratio(text),
        )


def compression_ratio(text: str) -> float:
    """How far zlib shrinks a text: loops shrink well."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw))


# ── the rules ─────────────────────────────────────────────────────────────────────────────────────────


class Rules:
    """Which tokens may come next: no blanks first, no sound effects, timestamps in rising pairs. The same for every
    language and task of a model.
    """

    def __init__(self, dims: Dims, device: torch.device) -> None:
        tokenizer, n_vocab = tokenizer_for(dims, "en", "transcribe"), dims.n_vocab
        self._begin, self._eot = tokenizer.timestamp_begin, tokenizer.eot
        never = [
            *tokenizer.non_speech_tokens,
            tokenizer.transcribe,
            tokenizer.translate,
            tokenizer.sot,
            tokenizer.sot_prev,
            tokenizer.sot_lm,
            tokenizer.no_speech,
            tokenizer.no_timestamps,
        ]
        self._never = torch.zeros(n_vocab, device=device)
        self._never[never] = -torch.inf
        # A window starts with a timestamp of its first second: that also rules out a blank or empty start.
        latest = self._begin + round(MAX_INITIAL_TIMESTAMP_S / TIMESTAMP_S)
        self._first = torch.full((n_vocab,), -torch.inf, device=device)
        self._first[self._begin : latest + 1] = 0.0

    def apply(self, logits: Tensor, texts: Sequence[Sequence[int]]) -> None:
        """Set the logits `(rows, n_vocab)` of forbidden tokens to minus infinity, in place. `texts` are the tokens
        that each row has chosen so far.
        """
        logits += self._never
        if not texts[0]:
            logits += self._first
            return
        for row, text in enumerate(texts):
            self._pair(logits[row], text)
        timestamps = logits[:, self._begin :].logsumexp(dim=-1)
        words = logits[:, : self._begin].amax(dim=-1)
        logits[:, : self._begin].masked_fill_((timestamps > words)[:, None], -torch.inf)

    def _pair(self, logits: Tensor, text: Sequence[int]) -> None:
        """Timestamps come as end and start of neighbours, or one before the end of text, and never go back."""
        begin = self._begin
        last = text[-1] >= begin
        before = len(text) < 2 or text[-2] >= begin
        if last and before:
            logits[begin:] = -torch.inf
        elif last:
            logits[: self._eot] = -torch.inf
        latest = next((token for token in reversed(text) if token >= begin), None)
        if latest is not None:
            logits[begin : latest if last and not before else latest + 1] = -torch.inf


# ── the searches ──────────────────────────────────────────────────────────────────────────────────────


class _Search(Protocol):
    texts: list[list[int]]

    def advance(self, logits: Tensor) -> Tensor | None:
        """Take the next token of every row and return them, or None when the search is over."""

    def candidates(self) -> list[tuple[list[int], float]]:
        """Tokens up to the end of text, and their summed log probability."""


class _Sampler:
    """The best token at temperature 0, else a random draw; each row for itself."""

    def __init__(self, rows: int, eot: int, temperature: float, random: torch.Generator) -> None:
        self.texts: list[list[int]] = [[] for _ in range(rows)]
        self._eot, self._temperature, self._random = eot, temperature, random
        self._total = torch.zeros(rows, device=random.device)

    def advance(self, logits: Tensor) -> Tensor | None:
        if self._temperature == 0:
            chosen = logits.argmax(dim=-1)
        else:
            chances = (logits / self._temperature).softmax(dim=-1)
            chosen = torch.multinomial(chances, 1, replacement=True, generator=self._random)[:, 0]
        ended = torch.tensor([self._eot in text[-1:] for text in self.texts], device=logits.device)
        logprobs = logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(dim=-1)
        self._total += logprobs.masked_fill(ended, 0.0)
        chosen = chosen.masked_fill(ended, self._eot)
        for text, token in zip(self.texts, chosen.tolist(), strict=True):
            text.append(token)
        return None if all(text[-1] == self._eot for text in self.texts) else chosen

    def candidates(self) -> list[tuple[list[int], float]]:
        cut = [text[: text.index(self._eot)] if self._eot in text else text for text in self.texts]
        return list(zip(cut, self._total.tolist(), strict=True))


class _Beams:
    """Beam search, by openai's own class."""

    def __init__(self, beams: int, eot: int, cache: Cache) -> None:
        self.texts: list[list[int]] = [[] for _ in range(beams)]
        self._eot = eot
        self._beams = BeamSearchDecoder(beams, eot, cache)
        device = cache.keys.device
        self._tokens = torch.empty((beams, 0), dtype=torch.long, device=device)
        self._total = torch.zeros(beams, device=device)

    def advance(self, logits: Tensor) -> Tensor | None:
        self._tokens, completed = self._beams.update(self._tokens, logits, self._total)
        self.texts = self._tokens.tolist()
        return None if completed else self._tokens[:, -1]

    def candidates(self) -> list[tuple[list[int], float]]:
        texts, totals = self._beams.finalize(self._tokens[None], self._total[None])
        cut = [tokens.tolist() for tokens in texts[0]]
        return [(t[: t.index(self._eot)], total) for t, total in zip(cut, totals[0], strict=True)]
