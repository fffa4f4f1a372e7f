"""The seam between NeuraLib and a model. Plug-in authors import from here and from nowhere else.

An executor is synchronous: a recording in, recordings and files and facts out. It knows no asyncio, no
storage, no database, no queue. The smallest one is `echo.py`; the entry point group is "neuralib.executors".

    load(weights, device, precision)      once; the weights stay resident
    plan(info, params, checkpoint)        how much work a run will be; cheap, loads nothing
    run(recording, params, context)       as often as jobs come; always on the thread that called load
    unload()                              give the memory back

A model that gains from several runs side by side says so in `together` and has a `run_together` of its own. One that
takes more than a recording says so in `takes` and finds it in `context.inputs`; `check` may refuse it beforehand.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from neuralib.audio import AudioInfo, Recording, RecordingWriter
from neuralib.errors import (
    Cancelled,
    ExecutorFailed,
    NeuralibError,
    OutOfMemory,
    ValidationFailed,
)
from neuralib.weights import Bundled, Checkpoint, Hub, Untrained, Weights, Wheel

from .inputs import Input, InputInfo, Takes

__all__ = [
    "AudioInfo",
    "AudioOutput",
    "Bundled",
    "Cancelled",
    "Checkpoint",
    "Executor",
    "ExecutorFailed",
    "FileOutput",
    "Hub",
    "Input",
    "InputInfo",
    "Known",
    "NeuralibError",
    "OutOfMemory",
    "Output",
    "Params",
    "Plan",
    "Precision",
    "Recording",
    "RecordingWriter",
    "RunContext",
    "Takes",
    "Untrained",
    "ValidationFailed",
    "Weights",
    "Wheel",
    "Work",
]

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Known = Literal["regions"]
"""`regions`: start_s, end_s and name of those that `region_ids` names, or of all of the asset."""


class Params(BaseModel):
    """What a job may ask of an executor. Unknown names are refused; field constraints become the JSON Schema."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def missing(self) -> frozenset[Known]:
        """What the request leaves to the library, which knows it of the input. It is filled in before a job is accepted,
        so that the params of a job say all that it depends on.
        """
        return frozenset()


ParamsT = TypeVar("ParamsT", bound=Params)


@dataclass(frozen=True, slots=True)
class Plan:
    """The work of one run. `windows` is what `progress` will count up to."""

    windows: int
    passes: int = 1
    """How often the model goes over the audio: members of a bag, shifts."""


@dataclass(frozen=True, slots=True)
class AudioOutput:
    """One recording that a run made, still as float32 on disk; the worker encodes and stores it."""

    role: Literal["stem", "mix", "sample"]
    name: str
    """vocals, drums, instrumental: unique within a run."""
    recording: Recording
    facts: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None
    """What its asset is called, `{title}` being the name of the input; None: the title and the name."""


@dataclass(frozen=True, slots=True)
class FileOutput:
    """One finished file that a run made."""

    kind: Literal["audio", "midi", "transcript", "analysis"]
    name: str
    """notes.mid, lyrics.lrc: unique within a run; the suffix tells the format."""
    media_type: str
    path: Path
    facts: Mapping[str, Any] = field(default_factory=dict)
    role: str | None = None
    """What its asset is to others; None: its kind."""
    label: str | None = None
    """What its asset is called, `{title}` being the name of the input; None: the title and the name."""
    audio: Mapping[str, Any] | None = None
    """Of audio that comes encoded: format, codec, subtype, sample_rate, channels, frames, duration_s."""


@dataclass(frozen=True, slots=True)
class Output:
    """Everything that a run made. `facts` are small and go into the job and the manifest as they are."""

    audio: tuple[AudioOutput, ...] = ()
    files: tuple[FileOutput, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a run may use besides its input."""

    scratch: Path
    """An empty folder for this run alone. It is deleted afterwards."""
    report: Callable[[int, int], None]
    """Receives windows done and windows in total; raises Cancelled or Interrupted."""
    inputs: tuple[Input, ...] = ()
    """Everything the job was given, in its order: the first is the recording of `run`."""

    def progress(self, done: int, total: int) -> None:
        """Say how far the run is, at least once a second and once a window. This is the point where a cancelled
        run stops: let what it raises pass through.
        """
        self.report(done, total)

    def files(self, kind: str) -> list[Path]:
        """The inputs of a kind that is no audio."""
        return [each.content for each in self.inputs if each.kind == kind and isinstance(each.content, Path)]

    def writer(self, name: str, like: Recording, *, channels: int | None = None) -> RecordingWriter:
        """A new recording in the scratch folder with the rate and sample format of `like`."""
        path = self.scratch / f"{name}.f32"
        return RecordingWriter(path, like.sample_rate, channels or like.channels, like.subtype)


@dataclass(frozen=True, slots=True, eq=False)
class Work(Generic[ParamsT]):
    """One run of several that share a model."""

    recording: Recording
    params: ParamsT
    context: RunContext


class Executor(ABC, Generic[ParamsT]):
    """A model that NeuraLib can run. One instance holds one loaded checkpoint and is used by one thread."""

    name: ClassVar[str]
    """What users type: demucs. Lower case, digits and hyphens."""
    title: ClassVar[str]
    operation: ClassVar[str]
    """separate, midi, transcribe, or a word of your own."""
    version: ClassVar[str] = "1"
    """Raise it when the same input would give another output: recipes contain it."""
    code_license: ClassVar[str] = "unknown"
    params: ClassVar[type[Params]]
    takes: ClassVar[tuple[Takes, ...]] = (Takes("audio"),)
    """The inputs of a job, by kind; the first of them is always audio."""
    checkpoints: ClassVar[tuple[Checkpoint, ...]] = ()
    """In the order `auto` tries them; empty for a model without weights."""
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32",)
    """The ones it can run in; `auto` takes the first that the device supports."""

    together: int = 1
    """How many runs gain from going side by side; more than one needs a `run_together` of its own. `load` may lower
    it where the device gains nothing.
    """

    @abstractmethod
    def load(self, weights: Weights | None, device: str, precision: Precision) -> None:
        """Bring the weights to the device. Heavy imports belong here. `weights` is None when `checkpoints` is
        empty. `device` is a torch name: cpu, cuda:0, mps. Raises ModelLoadFailed, PrecisionUnsupported.
        """

    @classmethod
    @abstractmethod
    def plan(cls, info: AudioInfo, params: ParamsT, checkpoint: Checkpoint | None) -> Plan:
        """How much work `run` will be for such audio with these weights. Cheap: it loads nothing, so that the API
        can show it before a job runs.
        """

    @classmethod
    def check(cls, inputs: Sequence[InputInfo], params: ParamsT) -> None:
        """Refuse, before a job is accepted, what neither `takes` nor the params' schema can tell: params that name an
        input which is not there. Raises ValidationFailed, InputUnsupported. This one refuses nothing.
        """

    @abstractmethod
    def run(self, recording: Recording, params: ParamsT, context: RunContext) -> Output:
        """Do the work. Raises any NeuralibError; anything else becomes `executor-error`."""

    def run_together(
        self, take: Callable[[], Work[ParamsT] | None], size: int
    ) -> Iterator[tuple[Work[ParamsT], Output | Exception]]:
        """Several runs side by side, `size` at most, each with its output or the error that ended it, as they end.
        `take` gives the next one, or None when there is none for now; ask again whenever there is room. What this
        raises ends all of them. This one runs them one after another.
        """
        del size
        while (work := take()) is not None:
            try:
                yield work, self.run(work.recording, work.params, work.context)
            except Exception as error:  # noqa: BLE001 - it belongs to this run alone
                yield work, error

    def unload(self) -> None:
        """Give the memory back. The instance is not used again."""
