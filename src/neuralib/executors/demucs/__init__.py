"""Demucs: a mix in, its stems out.

The networks are those of the Demucs package; the loop around them is ours and gives the same samples.
Everything heavy is imported by `load`: this module also serves to validate parameters where no torch is.

    checkpoints.py   which weights there are, and their shape before they are loaded
    params.py        what a job may ask of them
    task.py          the work that makes of it
    windows.py       which windows a separation looks at
    networks.py      tensors from disk into networks
    acceleration.py  the same networks, faster: layers.py, attention.py, spectra.py
    separation.py    windows through networks, added up to stems
    fidelity.py      stems at the recording's own rate and channels, adding up to the mix
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from neuralib.audio import Samples, resample
from neuralib.errors import ModelLoadFailed, PrecisionUnsupported
from neuralib.executors import (
    AudioInfo,
    Checkpoint,
    Executor,
    Output,
    Plan,
    Precision,
    Recording,
    RunContext,
    Weights,
)

from .checkpoints import CHECKPOINTS, Shape, shape_of, shape_of_weights
from .fidelity import Finisher, at_rate, fold
from .params import DemucsParams
from .task import Task

if TYPE_CHECKING:
    from .separation import Voice

GPU_BATCH = 16
"""Windows a GPU takes at once unless asked otherwise; halved as long as they do not fit."""


class Demucs(Executor[DemucsParams]):
    """Separates a mix into stems."""

    name = "demucs"
    title = "Demucs"
    operation = "separate"
    version = "1"
    code_license = "MIT"
    params = DemucsParams
    checkpoints = CHECKPOINTS
    # `auto` takes the first that the device has: on a GPU what stock runs its convolutions in, on a CPU all of fp32.
    precisions = ("tf32", "fp32", "bf16", "fp16")

    def load(self, weights: Weights | None, device: str, precision: Precision) -> None:
        """Bring every member of the bag to the device. Raises ModelLoadFailed, PrecisionUnsupported."""
        import torch

        from . import networks

        if weights is None:
            raise ModelLoadFailed("Demucs does not run without weights")
        self._device = torch.device(device)
        self._precision = precision
        if precision not in networks.precisions(self._device):
            raise PrecisionUnsupported(f"{self._device.type} does not run Demucs in {precision}")
        members = [networks.read(path) for path in weights.files] if weights.files else [networks.untrained()]
        self._shape = shape_of_weights(weights)
        self._networks = [
            networks.ready(network, self._shape.heard(member), self._device, precision)
            for member, network in enumerate(members)
        ]

    @classmethod
    def plan(cls, info: AudioInfo, params: DemucsParams, checkpoint: Checkpoint | None) -> Plan:
        """The windows of all passes. Raises ValidationFailed for stems or windows that the weights do not know."""
        task = Task(shape_of(checkpoint), params, info)
        return Plan(windows=task.count, passes=task.passes)

    def run(self, recording: Recording, params: DemucsParams, context: RunContext) -> Output:
        """The stems and mixes, each at the rate, the channels and the frames of the recording.

        A single channel goes into both sides of the model and comes back as their mean. More than two go through
        it in pairs (`channel_pairs`), each one with its own level.
        """
        shape = self._shape
        task = Task(shape, params, recording)
        with ExitStack() as files:
            finisher = Finisher(
                recording,
                [
                    (product, files.enter_context(context.writer(product.name, recording)))
                    for product in task.products()
                ],
                exact=params.mode == "exact",
                complete=len(task.stems) == len(shape.stems),
            )
            stems = fold(self._separated(recording, task, context), task.pairs)
            for block in at_rate(stems, shape.sample_rate, recording.sample_rate, recording.frames):
                finisher.write(block)
        audio = tuple(map(finisher.output, range(len(task.products()))))
        return Output(audio=audio, facts={**task.facts(), **finisher.facts()})

    def _separated(self, recording: Recording, task: Task, context: RunContext) -> Iterator[Samples]:
        """What the networks say, `(stems, 2 * pairs, n)` at their rate, in order of time."""
        from .separation import Mix, Separation

        shape = self._shape
        source = recording
        if recording.sample_rate != shape.sample_rate:
            source = resample(
                recording,
                context.scratch / "model-rate.f32",
                shape.sample_rate,
                frames=task.frames,
                on_block=lambda _: context.progress(0, task.count),
            )
        separation = Separation(
            networks={member: self._networks[member] for member in task.members},
            mix=Mix(source, tuple(task.pairs)),
            grid=task.grid,
            voices={member: _voices(shape, member, task.stems) for member in task.members},
            stems=len(task.stems),
            passes=task.shifts,
            device=self._device,
        )
        batch = task.params.batch or (GPU_BATCH if self._device.type == "cuda" else 1)
        return separation.run(task.lines(), batch, lambda done: context.progress(done, task.count))

    def unload(self) -> None:
        """Give the memory back."""
        self._networks = []
        if self._device.type == "cuda":
            import torch

            torch.cuda.empty_cache()


def _voices(shape: Shape, member: int, stems: Sequence[str]) -> "list[Voice]":
    """What a member, which returns only the stems it is heard in, says in the stems to find."""
    from .separation import Voice

    heard = shape.heard(member)
    asked = [(index, stem, shape.stems.index(stem)) for index, stem in enumerate(stems)]
    return [
        Voice(heard.index(place), index, shape.share(member, stem))
        for index, stem, place in asked
        if place in heard
    ]
