"""One run, from its recording to its stems, in steps between which others have the device."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack

import torch

from neuralib.audio import Recording, resample
from neuralib.executors import Output, Work

from .checkpoints import Shape
from .fidelity import Finisher, WayBack
from .params import DemucsParams
from .separation import Mix, Separation, Voice
from .task import Task

Steps = Generator[int, None, Output]
"""Each says how far it came: in frames while it reads, then in windows."""


class Walk:
    """A run on its way. Its `steps` read the recording until there is a `separation`; from then on, every step wants
    some of its windows looked at and writes down the stems that this finished.
    """

    def __init__(self, work: Work[DemucsParams], shape: Shape, device: torch.device, batch: int) -> None:
        """`batch` is how many windows may share a batch with its own, unless the job says so itself."""
        self.work = work
        self.batch = work.params.batch or batch
        self.separation: Separation | None = None
        self.steps = self._steps()
        self._shape, self._device = shape, device
        self._total = 0

    def tick(self) -> None:
        """Say how far it is. Raises what the context raises."""
        self.work.context.progress(self.separation.done if self.separation else 0, self._total)

    def _steps(self) -> Steps:
        """Raises AudioTooShort, ExecutorFailed, NonFiniteAudio, ValidationFailed."""
        shape, recording = self._shape, self.work.recording
        task = Task(shape, self.work.params, recording)
        self._total = task.count
        separation = self.separation = yield from self._opened(task)
        with ExitStack() as files:
            finisher = self._finisher(task, files)
            back = WayBack(task.pairs, len(task.stems), shape.sample_rate, recording)
            while separation.line is not None:
                yield separation.done
                finisher.write(back.take(separation.pop()))
            finisher.write(back.end())
            finisher.end()
        audio = tuple(map(finisher.output, range(len(task.products()))))
        return Output(audio=audio, facts={**task.facts(), **finisher.facts()})

    def _opened(self, task: Task) -> Generator[int, None, Separation]:
        source = yield from self._at_model_rate(task)
        mix = Mix(source, tuple(task.pairs))
        levels = yield from mix.levels()
        return Separation(
            mix=mix,
            levels=levels,
            grid=task.grid,
            lines=task.lines(),
            voices=_voices(self._shape, task),
            stems=len(task.stems),
            passes=task.shifts,
            device=self._device,
        )

    def _at_model_rate(self, task: Task) -> Generator[int, None, Recording]:
        recording, rate = self.work.recording, self._shape.sample_rate
        if recording.sample_rate == rate:
            return recording
        into = self.work.context.scratch / "model-rate.f32"
        return (yield from resample(recording, into, rate, frames=task.frames))

    def _finisher(self, task: Task, files: ExitStack) -> Finisher:
        recording, context = self.work.recording, self.work.context
        return Finisher(
            recording,
            [
                (product, files.enter_context(context.writer(product.name, recording)))
                for product in task.products()
            ],
            exact=task.params.mode == "exact",
            complete=len(task.stems) == len(self._shape.stems),
            parts=self._shape.parts,
        )


def _voices(shape: Shape, task: Task) -> Mapping[int, Sequence[Voice]]:
    """What each member, which returns only the stems it is heard in, says in the stems to find."""
    asked = [(index, stem, shape.stems.index(stem)) for index, stem in enumerate(task.stems)]
    heard = {member: shape.heard(member) for member in task.members}
    return {
        member: [
            Voice(places.index(place), index, shape.share(member, stem))
            for index, stem, place in asked
            if place in places
        ]
        for member, places in heard.items()
    }
