"""Whisper: what was said or sung, and when. Our own walk over the recording on openai's weights and rules.

Importing this module is light; torch and openai's package load with the weights.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from neuralib.errors import (
    FieldError,
    ModelLoadFailed,
    NeuralibError,
    PrecisionUnsupported,
    WeightsChecksumMismatch,
)
from neuralib.executors import (
    AudioInfo,
    Checkpoint,
    Executor,
    FileOutput,
    OutOfMemory,
    Output,
    Params,
    Plan,
    Precision,
    Recording,
    RunContext,
    ValidationFailed,
    Weights,
    Work,
)

from . import lyrics
from .checkpoints import CHECKPOINTS, PINS
from .languages import LANGUAGES, Language
from .transcript import Transcript

if TYPE_CHECKING:
    from .decoding import Decoded, Request
    from .model import Model
    from .together import Walk

WINDOW_S = 30
TOGETHER = 8
"""Recordings side by side, unless the caller says otherwise."""
TICK_S = 0.25
"""Progress is reported at most this often between windows."""


class WhisperParams(Params):
    """What a transcription may ask. Thresholds mean what they mean to openai's package; null switches one off."""

    language: Annotated[
        Language | None, Field(description="The language spoken, as a code (en, de, ja); null detects it.")
    ] = None
    task: Annotated[
        Literal["transcribe", "translate"], Field(description="translate writes English whatever is spoken.")
    ] = "transcribe"
    word_timestamps: Annotated[bool, Field(description="Give every word its time and probability.")] = True
    initial_prompt: Annotated[
        str | None,
        Field(
            max_length=2000, description="Text that sets style and spelling, as if it had been said before."
        ),
    ] = None
    temperature: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1)], ...],
        Field(min_length=1, max_length=10, description="Tried in this order until the thresholds are met."),
    ] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    beam_size: Annotated[int | None, Field(ge=1, le=10, description="Beams at temperature 0.")] = None
    best_of: Annotated[int | None, Field(ge=1, le=10, description="Draws at temperatures above 0.")] = None
    no_speech_threshold: Annotated[float | None, Field(ge=0, le=1)] = 0.6
    logprob_threshold: Annotated[float | None, Field(ge=-20, le=0)] = -1.0
    compression_ratio_threshold: Annotated[float | None, Field(ge=0, le=100)] = 2.4
    hallucination_silence_threshold: Annotated[
        float | None, Field(ge=0, le=30, description="Drop improbable words between silences this long (s).")
    ] = None
    condition_on_previous_text: Annotated[
        bool, Field(description="Prompt each window with the text before it. Music then tends to loop.")
    ] = False
    silence_dbfs: Annotated[
        float | None,
        Field(ge=-120, le=0, description="Pass over windows and lines no louder than this (dBFS)."),
    ] = -55.0
    max_repeats: Annotated[
        int | None, Field(ge=1, le=1000, description="Keep the same line at most this often in a row.")
    ] = 8
    seed: Annotated[int, Field(ge=0, lt=2**63, description="Of the draws at temperatures above 0.")] = 0


class Whisper(Executor[WhisperParams]):
    """Writes down the words of a recording."""

    name = "whisper"
    title = "Whisper"
    operation = "transcribe"
    code_license = "MIT"
    params = WhisperParams
    checkpoints = CHECKPOINTS
    precisions = ("fp16", "fp32", "bf16")
    together = TOGETHER

    def __init__(self) -> None:
        self._model: Model | None = None
        self._weights: Weights | None = None
        self._precision: Precision = "fp32"

    def load(self, weights: Weights | None, device: str, precision: Precision) -> None:
        """Raises ModelLoadFailed, PrecisionUnsupported, WeightsChecksumMismatch, OutOfMemory."""
        if weights is None:
            raise ModelLoadFailed("Whisper needs weights")
        if precision == "tf32" or (precision == "fp16" and device == "cpu"):
            raise PrecisionUnsupported(f"Whisper does not run in {precision} on {device}")
        _check(weights)
        import torch

        from .loading import alignment_heads, read_checkpoint
        from .model import Model

        dims, tensors = read_checkpoint(weights.files[0])
        dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
        with _memory():
            self._model = Model(dims, tensors, alignment_heads(weights.name, dims), device, dtype)
        self._weights, self._precision = weights, precision

    @classmethod
    def plan(cls, info: AudioInfo, params: WhisperParams, checkpoint: Checkpoint | None) -> Plan:
        """Windows of 30 s. Raises ValidationFailed for a language or a task that these weights do not know."""
        if checkpoint is not None:
            languages = checkpoint.details.get("languages", len(LANGUAGES))
            _refuse(checkpoint.name, languages, params, translates=checkpoint.details.get("translates", True))
        return Plan(windows=_windows(info.frames, info.sample_rate))

    def run(self, recording: Recording, params: WhisperParams, context: RunContext) -> Output:
        """Raises NonFiniteAudio, ValidationFailed, OutOfMemory."""
        import torch

        from .together import alone

        with torch.inference_mode(), _memory():
            return alone(self._loaded()[0], self._walk(Work(recording, params, context), []))

    def run_together(
        self, take: "Callable[[], Work[WhisperParams] | None]", size: int = TOGETHER
    ) -> "Iterator[tuple[Work[WhisperParams], Output | Exception]]":
        """Several recordings side by side: the decoder reads its weights once for all of them. Each one's progress
        goes to its own context.
        """
        import torch

        from .together import Together, Walk

        works: dict[int, Work[WhisperParams]] = {}
        beside: list[_Progress] = []

        def walk() -> Walk[Output] | None:
            work = take()
            if work is None:
                return None
            made = self._walk(work, beside)
            works[id(made)] = work
            return made

        together = Together(self._loaded()[0], walk, size).run()
        while True:
            with torch.inference_mode(), _memory():  # never while the caller has the word
                ended = next(together, None)
            if ended is None:
                return
            walked, output, error = ended
            result = output or error
            assert result is not None
            yield works.pop(id(walked)), result

    def _walk(self, work: Work[WhisperParams], beside: "list[_Progress]") -> "Walk[Output]":
        from .together import Walk

        progress = _Progress(work, beside)
        return Walk(self._steps(work, progress), progress.again)

    def _steps(
        self, work: Work[WhisperParams], progress: "_Progress"
    ) -> "Generator[Request, Decoded, Output]":
        from .features import extract
        from .windows import Options, Transcription

        model, weights = self._loaded()
        params = work.params
        languages = model.dims.num_languages if model.dims.is_multilingual else 1
        _refuse(weights.name, languages, params, translates=model.dims.is_multilingual)
        with progress:
            features = extract(work.recording, model.dims.n_mels, progress.again)
            options = Options(**params.model_dump(exclude={"temperature"}), temperatures=params.temperature)
            transcription = Transcription(model, features, options, progress.at)
            transcript = yield from transcription.steps()
            progress.end()
        guards = asdict(transcription.counts)
        model_facts = {"name": weights.id, "precision": self._precision, "version": self.version}
        facts = {"task": params.task, "model": model_facts, "guards": guards}
        return Output(files=_write(transcript, params, work.context, facts), facts=_facts(transcript, guards))

    def unload(self) -> None:
        self._model = None

    def _loaded(self) -> "tuple[Model, Weights]":
        if self._model is None or self._weights is None:
            raise ModelLoadFailed("Whisper is not loaded")
        return self._model, self._weights


@contextmanager
def _memory() -> Iterator[None]:
    """A device that is full is our error, which a later attempt may escape."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory from error


def _check(weights: Weights) -> None:
    """A file that openai pins is openai's, whoever put it into the cache."""
    pin = PINS.get(weights.name)
    if weights.source in {"hub", "cache"} and weights.files[0].suffix == ".pt" and weights.sha256 != pin:
        raise WeightsChecksumMismatch(f"{weights.files[0].name} has sha256 {weights.sha256}, not {pin}")


def _refuse(name: str, languages: int, params: WhisperParams, *, translates: bool) -> None:
    """Say no to what weights cannot do, before they write nonsense. They know the first so many languages."""
    if params.language not in (None, *LANGUAGES[:languages]):
        known = "only writes English down" if languages == 1 else f"knows {languages} languages, this one not"
        wrong, message = "language", f"{name} {known}: {params.language}"
    elif params.task == "translate" and not translates:
        wrong, message = "task", f"{name} was not taught to translate"
    else:
        return
    raise ValidationFailed(message, fields=[FieldError(f"/params/{wrong}", "unsupported", message)])


class _Progress:
    """Turns the frame that a walk has reached into windows; never goes back, and asks now and then whether the job
    still lives. While one of several jobs holds the model, it asks for those `beside` it too.
    """

    def __init__(self, work: Work[WhisperParams], beside: "list[_Progress]") -> None:
        self._context = work.context
        self._total = _windows(work.recording.frames, work.recording.sample_rate)
        self._done, self._reported_at = 0, -TICK_S
        self._beside = beside
        self._stopped: NeuralibError | None = None

    def __enter__(self) -> None:
        self._beside.append(self)

    def __exit__(self, *_: object) -> None:
        self._beside.remove(self)

    def at(self, frame: int) -> None:
        """A frame of 10 ms has been reached. Raises what the context raises."""
        done = min(frame // (WINDOW_S * 100), self._total)
        if done > self._done:
            self._done, self._reported_at = done, -TICK_S
        self.again()
        for other in self._beside:
            if other is not self:
                other.ask()

    def again(self) -> None:
        """Nothing was reached, but time has passed."""
        if self._stopped is not None:
            raise self._stopped
        now = time.monotonic()
        if now - self._reported_at >= TICK_S:
            self._reported_at = now
            self._context.progress(self._done, self._total)

    def ask(self) -> None:
        """Keep what the context raises for when it is this job's turn."""
        try:
            self.again()
        except NeuralibError as error:
            self._stopped = error

    def end(self) -> None:
        self._context.progress(self._total, self._total)


def _windows(frames: int, sample_rate: int) -> int:
    return max(1, -(-frames // (WINDOW_S * sample_rate)))


def _facts(transcript: Transcript, guards: dict[str, int]) -> dict[str, Any]:
    return {
        "language": transcript.language,
        "language_probability": transcript.language_probability,
        "segments": len(transcript.segments),
        "words": sum(1 for _ in transcript.words),
        "guards": guards,
    }


def _write(
    transcript: Transcript, params: WhisperParams, context: RunContext, facts: dict[str, Any]
) -> tuple[FileOutput, ...]:
    texts = {
        "lyrics.json": ("application/json", lyrics.as_json(transcript, facts)),
        "lyrics.txt": ("text/plain; charset=utf-8", lyrics.as_txt(transcript)),
        "lyrics.srt": ("application/x-subrip", lyrics.as_srt(transcript)),
        "lyrics.vtt": ("text/vtt", lyrics.as_vtt(transcript)),
        "lyrics.lrc": ("application/x-lrc", lyrics.as_lrc(transcript)),
    }
    if params.word_timestamps:
        texts["lyrics.enhanced.lrc"] = ("application/x-lrc", lyrics.as_enhanced_lrc(transcript))
    for name, (_, text) in texts.items():
        (context.scratch / name).write_text(text, encoding="utf-8", newline="")
    return tuple(
        FileOutput("transcript", name, media_type, context.scratch / name)
        for name, (media_type, _) in texts.items()
    )
