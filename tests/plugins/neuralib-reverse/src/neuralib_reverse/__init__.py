"""A whole third-party model: one class, one entry point."""

from typing import Annotated

from pydantic import Field

from neuralib.executors import AudioOutput, Executor, Output, Params, Plan


class ReverseParams(Params):
    block: Annotated[int, Field(ge=1, le=1 << 20, description="Frames per window.")] = 1 << 16


class Reverse(Executor[ReverseParams]):
    name = "reverse"
    title = "Reverse"
    operation = "reverse"
    code_license = "MIT"
    params = ReverseParams

    def load(self, weights, device, precision):
        """It knows how to count."""

    @classmethod
    def plan(cls, info, params, checkpoint):
        return Plan(windows=-(-info.frames // params.block))

    def run(self, recording, params, context):
        total = -(-recording.frames // params.block)
        with context.writer("reverse", recording) as out:
            for done in range(total):
                context.progress(done, total)
                stop = recording.frames - done * params.block
                out.write(recording.read(max(stop - params.block, 0), stop)[:, ::-1])
            context.progress(total, total)
            return Output(audio=(AudioOutput("mix", "reverse", out.close()),), facts={"backwards": True})
