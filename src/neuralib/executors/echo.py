"""The smallest executor: it gives the recording back, window by window. Copy it to start your own.

Then name it in your package's pyproject.toml:

    [project.entry-points."neuralib.executors"]
    my-model = "my_package:MyModel"
"""

import time
from typing import Annotated

from pydantic import Field

from . import (
    AudioInfo,
    AudioOutput,
    Checkpoint,
    Executor,
    Output,
    Params,
    Plan,
    Precision,
    Recording,
    RunContext,
    Weights,
)

WINDOW_S = 1.0


class EchoParams(Params):
    """What a job may ask."""

    gain: Annotated[float, Field(ge=-1, le=1, description="Every sample is multiplied by it.")] = 1.0
    window_s: Annotated[
        float, Field(ge=0, le=60, description="Spend this long on each window, in seconds.")
    ] = 0.0


class Echo(Executor[EchoParams]):
    """Returns the recording as a mix."""

    name = "echo"
    title = "Echo"
    operation = "echo"
    code_license = "MIT"
    params = EchoParams

    def load(self, weights: Weights | None, device: str, precision: Precision) -> None:
        """There is nothing to load."""

    @classmethod
    def plan(cls, info: AudioInfo, params: EchoParams, checkpoint: Checkpoint | None) -> Plan:
        return Plan(windows=max(1, -(-info.frames // round(WINDOW_S * info.sample_rate))))

    def run(self, recording: Recording, params: EchoParams, context: RunContext) -> Output:
        window = round(WINDOW_S * recording.sample_rate)
        total = max(1, -(-recording.frames // window))
        with context.writer("echo", recording) as out:
            for done, block in enumerate(recording.blocks(window)):
                until = time.monotonic() + params.window_s
                context.progress(done, total)
                while (left := until - time.monotonic()) > 0:
                    time.sleep(min(left, 0.1))
                    context.progress(done, total)
                out.write(block * params.gain)
            context.progress(total, total)
            return Output(audio=(AudioOutput("mix", "echo", out.close()),))
