"""A laboratory for runs and derivations: executors that do as they are told, a track, and a real worker."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import soundfile

from crew import at_work
from neuralib import assets, jobs, libraries, runs
from neuralib.db import events as event_rows
from neuralib.db import jobs as job_rows
from neuralib.entities import Job, RunState
from neuralib.errors import ExecutorFailed
from neuralib.executors import AudioOutput, Executor, FileOutput, Output, Params, Plan, Recording, RunContext
from neuralib.executors.registry import Plugin, Registry
from neuralib.pipelines import Pipeline, Step, Takes
from neuralib.runs import RunRequest, RunView
from neuralib.services import Services
from neuralib.weights import Resolver

RATE = 8000
WITHIN_S = 30.0


class Given(Params):
    """Whether to fail, and something that makes a recipe another one."""

    fail: bool = False
    fail_on: str = ""
    salt: str = ""


class Gate:
    """Holds up what asks, until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()


def executor_of(
    operation: str, *, stems: Sequence[str] = (), gate: Gate | None = None
) -> type[Executor[Given]]:
    """One that makes `stems`, or one file; it has a queue of its own."""

    class Made(Executor[Given]):
        name = f"{operation}-{uuid4()}"
        title = operation
        params = Given

        def load(self, *_: Any) -> None: ...

        @classmethod
        def plan(cls, *_: Any) -> Plan:
            return Plan(1)

        def run(self, recording: Recording, params: Given, context: RunContext) -> Output:
            if gate is not None:
                gate.entered.set()
                while not gate.open.wait(0.02):
                    context.progress(1, 2)
            if params.fail:
                raise ExecutorFailed("as it was told to")
            return Output(
                tuple(_stem(each, recording, context) for each in stems), _files(operation, stems, context)
            )

    Made.operation = operation
    return Made


def _stem(name: str, recording: Recording, context: RunContext) -> AudioOutput:
    with context.writer(name, recording) as out:
        out.write(recording.read() * (0.25 + 0.05 * len(name)))
        return AudioOutput("stem", name, out.close())


def _files(operation: str, stems: Sequence[str], context: RunContext) -> tuple[FileOutput, ...]:
    if stems:
        return ()
    path = context.scratch / f"{operation}.json"
    path.write_bytes(uuid4().bytes)
    return (FileOutput("analysis", path.name, "application/json", path),)


SPLIT = Step("split", "split")
NOTES = Step("notes", "listen", Takes(("split",), ("vocals", "bass")))
BEATS = Step("beats", "count")
PIPELINE = Pipeline("breakdown", "A small one.", (SPLIT, NOTES, BEATS))


class Lab:
    """Services with executors of a test's own, and a track."""

    def __init__(self, services: Services, owner: UUID, folder: Path, gate: Gate | None = None) -> None:
        split = executor_of("split", stems=("vocals", "drums", "bass"), gate=gate)
        made = (split, executor_of("listen"), executor_of("count"))
        registry = Registry((each, Plugin("tests", "0")) for each in made)
        self.services = replace(services, registry=registry)
        self.owner = owner
        self.folder = folder
        self._song = folder / "song.wav"
        rng = np.random.default_rng(owner.int % 2**32)  # no two tests share a blob
        soundfile.write(self._song, rng.standard_normal((RATE, 2)) * 0.1, RATE, "PCM_16")
        self.models = {each.operation: each.name for each in made}

    async def track(self) -> UUID:
        library = await libraries.create(self.services, self.owner, name="Tests")

        async def read() -> AsyncIterator[bytes]:
            yield self._song.read_bytes()

        return (
            await assets.upload(self.services, self.owner, library.id, assets.Upload("song.wav", read()))
        ).id

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        services = self.services
        async with at_work(services, services.registry.names, Resolver(self.folder, offline=True)):
            yield

    async def start(self, track: UUID, pipeline: Pipeline = PIPELINE, **more: Any) -> RunView:
        return await runs.start(self.services, self.owner, pipeline, RunRequest(track, **more))

    async def until(self, run: RunView, reached: Callable[[RunView], bool]) -> RunView:
        with self.services.bus.listen(self.owner) as listener:
            async with asyncio.timeout(WITHIN_S):
                while not reached(view := await runs.get(self.services, self.owner, run.run.id)):
                    await listener.wait(0.2)
        return view

    async def ended(self, run: RunView) -> RunView:
        return await self.until(run, lambda view: view.run.state is not RunState.RUNNING)

    async def told(self) -> list[str]:
        async with self.services.db.statements() as db:
            return [event.type for event in await event_rows.after(db, self.owner, 0)]

    async def claim(self, operation: str, lease_s: float = 60.0) -> Job:
        async with self.services.db.statements() as db:
            job = await job_rows.claim(db, self.models[operation], "w", timedelta(seconds=lease_s))
        assert job is not None
        return job

    async def all_jobs(self) -> list[Job]:
        return [view.job for view in await jobs.page(self.services, self.owner, limit=200)]
