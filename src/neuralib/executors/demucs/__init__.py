"""Demucs: a mix in, its stems out.

The networks are those of the Demucs package; the loop around them is ours and gives the same samples.
Everything heavy is imported by `load`: this module also serves to validate parameters where no torch is.

    checkpoints.py   which weights there are, and their shape before they are loaded
    params.py        what a job may ask of them
    task.py          the work that makes of it
    windows.py       which windows a separation looks at
    networks.py      tensors from disk into networks
    acceleration.py  the same networks, faster: layers.py, attention.py, spectra.py
    separation.py    one separation: its windows, and what becomes of them; overlap.py adds them up
    fidelity.py      stems at the recording's own rate and channels, adding up to the mix
    walk.py          one run, step by step
    together.py      windows of one or several runs through the networks
"""

from collections.abc import Callable, Iterator

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
    Work,
)

from .checkpoints import CHECKPOINTS, shape_of, shape_of_weights
from .params import DemucsParams
from .task import Task

GPU_BATCH = 16
"""Windows a GPU takes at once unless asked otherwise; halved as long as they do not fit."""
TOGETHER = 8
"""Recordings side by side on a GPU."""


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
    together = TOGETHER

    def load(self, weights: Weights | None, device: str, precision: Precision) -> None:
        """Bring every member of the bag to the device. Raises ModelLoadFailed, PrecisionUnsupported."""
        import torch

        from . import networks

        if weights is None:
            raise ModelLoadFailed("Demucs does not run without weights")
        self._device = torch.device(device)
        if self._device.type != "cuda":
            self.together = 1  # a CPU is as busy with one window as with several
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
        works = iter([Work(recording, params, context)])
        ((_, result),) = self.run_together(lambda: next(works, None), 1)
        if isinstance(result, Exception):
            raise result
        return result

    def run_together(
        self, take: Callable[[], Work[DemucsParams] | None], size: int = TOGETHER
    ) -> Iterator[tuple[Work[DemucsParams], Output | Exception]]:
        """Several recordings side by side; their windows share batches. Raises OutOfMemory."""
        from .together import Together
        from .walk import Walk

        batch = GPU_BATCH if self._device.type == "cuda" else 1

        def walk() -> Walk | None:
            work = take()
            return Walk(work, self._shape, self._device, batch) if work is not None else None

        for walked, result in Together(self._networks, walk, size, self._device).run():
            yield walked.work, result

    def unload(self) -> None:
        """Give the memory back."""
        self._networks = []
        if self._device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
