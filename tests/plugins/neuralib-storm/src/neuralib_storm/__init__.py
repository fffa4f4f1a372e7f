"""An executor for faults: it spends time window by window and makes some files, or it breaks as it is told to."""

import os
import signal
import time
from typing import Annotated, Literal

from pydantic import Field

from neuralib.executors import Executor, FileOutput, OutOfMemory, Output, Params, Plan

FIRST_BATCH = 8


class StormParams(Params):
    windows: Annotated[int, Field(ge=1, le=10_000)] = 4
    window_s: Annotated[float, Field(ge=0, le=60, description="Spent on each window, without the GIL.")] = (
        0.05
    )
    files: Annotated[int, Field(ge=1, le=8)] = 2
    file_bytes: Annotated[int, Field(ge=16, le=1 << 26)] = 2000
    fault: Literal["none", "die", "memory"] = "none"
    salt: Annotated[int, Field(description="Two jobs that differ in nothing are one.")] = 0
    fits: Annotated[
        int, Field(ge=0, description="With `memory`: the largest batch that the device holds.")
    ] = 0


class Storm(Executor[StormParams]):
    name = "storm"
    title = "Storm"
    operation = "storm"
    code_license = "MIT"
    params = StormParams

    def load(self, weights, device, precision):
        """It needs none."""

    @classmethod
    def plan(cls, info, params, checkpoint):
        return Plan(windows=params.windows)

    def run(self, recording, params, context):
        batch, shrunk = FIRST_BATCH, 0
        if params.fault == "memory":
            while batch > params.fits:
                batch, shrunk = batch // 2, shrunk + 1
                if not batch:
                    raise OutOfMemory("the device has no room for one window")
        for done in range(params.windows):
            context.progress(done, params.windows)
            time.sleep(params.window_s)
            if params.fault == "die" and done * 2 >= params.windows - 1:
                os.kill(os.getpid(), signal.SIGKILL)
        context.progress(params.windows, params.windows)
        files = tuple(self._file(context.scratch / f"part-{n}.bin", params) for n in range(params.files))
        return Output(files=files, facts={"batch": batch, "shrunk": shrunk})

    def _file(self, path, params):
        # Each attempt makes other bytes, as a GPU does: what a fenced attempt left behind is no copy of the result.
        path.write_bytes(os.urandom(params.file_bytes))
        return FileOutput("analysis", path.name, "application/octet-stream", path)
