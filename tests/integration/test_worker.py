"""A real worker, carrying out jobs of executors that are made for the test: what becomes of them, whatever happens."""

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
import pytest_asyncio
import soundfile

import servers
from neuralib import assets, jobs, libraries
from neuralib.config import Settings
from neuralib.db import assets as asset_rows
from neuralib.db import events as event_rows
from neuralib.db import jobs as rows
from neuralib.embedded import Stores
from neuralib.entities import Event, Job, JobState, NewAsset, new_id
from neuralib.errors import InputUnsupported, StorageUnavailable
from neuralib.executors import (
    AudioInfo,
    AudioOutput,
    Checkpoint,
    Executor,
    FileOutput,
    OutOfMemory,
    Output,
    Params,
    Plan,
    Recording,
    RunContext,
)
from neuralib.executors.registry import Plugin, Registry
from neuralib.jobs import JobRequest, JobView, OnExisting
from neuralib.pipeline import TERMINAL
from neuralib.services import Services, open_services
from neuralib.weights import Bundled, Resolver
from neuralib.worker import Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 8000
WITHIN_S = 30.0
"""Far more than anything here takes: these machines are busy."""
SOON_S = 5.0
"""Far less than what a slow way would take here."""


@pytest.fixture(scope="module")
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    # Bells and wake-ups carry what must come SOON_S; one that a busy machine loses costs its test this, and no more.
    worker = {"lease_s": 3.0, "poll_s": 2 * SOON_S, "scratch": tmp_path_factory.mktemp("scratch")}
    return settings.with_tables(worker=worker, database={"pool": 10})


Run = Callable[[Recording, RunContext], Output]
Made = type[Executor[Any]]


def copy(recording: Recording, context: RunContext) -> Output:
    """What a run makes when it does nothing else: a stem and a file."""
    with context.writer("copy", recording) as out:
        out.write(recording.read() * 0.5)
        stem = AudioOutput("stem", "vocals", out.close(), facts={"kept": True})
    path = context.scratch / "notes.mid"
    path.write_bytes(b"MThd" + uuid4().bytes)
    return Output((stem,), (FileOutput("midi", "notes.mid", "audio/midi", path),), facts={"windows": 1})


def made_of(
    run: Run = copy, load: Callable[[], None] = lambda: None, weights: tuple[Checkpoint, ...] = ()
) -> Made:
    """An executor that is nobody else's."""

    class Lab(Executor[Params]):
        name = f"lab-{uuid4()}"
        title = "Lab"
        operation = "lab"
        params = Params
        checkpoints = weights

        def load(self, *_: Any) -> None:
            load()

        @classmethod
        def plan(cls, info: AudioInfo, params: Params, checkpoint: Checkpoint | None) -> Plan:
            return Plan(1)

        def run(self, recording: Recording, params: Params, context: RunContext) -> Output:
            return run(recording, context)

    return Lab


class Gate:
    """A run that goes from window to window until it is let go; deaf, it is one long window."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.runs = 0
        self._deaf = deaf

    def __call__(self, recording: Recording, context: RunContext) -> Output:
        self.runs += 1
        self.entered.set()
        until = time.monotonic() + WITHIN_S
        while not self.open.wait(WITHIN_S if self._deaf else 0.02) and time.monotonic() < until:
            context.progress(1, 10)
        return copy(recording, context)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def deaf() -> Iterator[Gate]:
    gate = Gate(deaf=True)
    yield gate
    gate.open.set()


class Lab:
    """Services with the executors of a test, a song, and a view of what became of everything."""

    def __init__(self, services: Services, owner: UUID, song: Path, *executors: Made) -> None:
        registry = Registry((executor, Plugin("tests", "0")) for executor in executors)
        self.services = replace(services, registry=registry)
        self.owner = owner
        self._path = song
        self._song: UUID | None = None
        self.keys_before: set[str] = set()

    @asynccontextmanager
    async def working(
        self,
        services: Services | None = None,
        drain_s: float = 0.0,
        *,
        commercial_safe: bool = False,
        **options: Any,
    ) -> AsyncIterator[Worker]:
        services = services or self.services
        cache = self._path.parent / "weights"
        resolver = Resolver(cache, offline=True, commercial_safe=commercial_safe)
        worker = Worker(services, self.services.registry.names, resolver, **options)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop(drain_s)
            async with asyncio.timeout(WITHIN_S):
                await task

    def like(self, opened: Services) -> Services:
        """These services with the executors of this test."""
        return replace(opened, registry=self.services.registry)

    async def submit(self, executor: Made, checkpoint: str | None = None, **more: Any) -> Job:
        song = self._song or await self._bring_in()
        model = f"{executor.name}/{checkpoint}" if checkpoint else executor.name
        request = JobRequest(song, model=model, on_existing=OnExisting.RERUN, **more)
        return (await jobs.submit(self.services, self.owner, request)).job

    async def ended(self, job: Job) -> JobView:
        return await self.until(job, lambda view: view.job.state in TERMINAL)

    async def until(self, job: Job, reached: Callable[[JobView], bool]) -> JobView:
        with self.services.bus.listen(self.owner) as listener:
            async with asyncio.timeout(WITHIN_S):
                while not reached(view := await jobs.get(self.services, self.owner, job.id)):
                    await listener.wait(0.2)
        return view

    async def stage(self, job: Job, stage: str) -> None:
        """Returns once the job is in this stage."""
        await self.until(job, lambda view: view.job.progress.get("stage") == stage)

    async def events(self, job: Job) -> list[Event]:
        async with self.services.db.statements() as db:
            events = await event_rows.after(db, self.owner, 0)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return [event for event in events if event.job_id == job.id]

    async def story(self, job: Job) -> list[str]:
        return [event.type.removeprefix("job.") for event in await self.events(job)]

    async def steal(self, job: Job) -> None:
        """What happens in the database when the lease ran out and another worker claimed the job."""
        async with self.services.db.statements() as db:
            await db.raw.execute(
                "update jobs set attempt = attempt + 1, crashes = crashes + 1, worker = 'another', "
                "lease_until = now() + interval '1 hour' where id = $1",
                job.id,
            )

    async def left(self) -> tuple[set[str], list[str]]:
        """Objects that are new, after the sweeper came by, and what is still in the scratch folder."""
        await assets.sweep(self.services)
        scratch = self.services.settings.worker.scratch
        assert scratch is not None
        return await self._keys() - self.keys_before, [path.name for path in scratch.iterdir()]

    async def _bring_in(self) -> UUID:
        library = await libraries.create(self.services, self.owner, name="Tests")
        content = self._path.read_bytes()
        audio = {
            "format": "wav",
            "codec": "pcm_s16le",
            "subtype": "pcm_16",
            "sample_rate": RATE,
            "channels": 2,
        }
        new = NewAsset(
            new_id(), library.id, "audio", "track", "song", audio={**audio, "frames": RATE, "duration_s": 1.0}
        )
        sha256 = hashlib.sha256(content).hexdigest()
        asset = await assets.store(
            self.services, self.owner, new, self._path, sha256, len(content), "audio/wav"
        )
        self._song = asset.id
        self.keys_before = await self._keys()
        return asset.id

    async def _keys(self) -> set[str]:
        return {stat.key async for stat in self.services.objects.list("blobs/")}


@pytest_asyncio.fixture(loop_scope="module")
async def lab(services: Services, owner: UUID, tmp_path: Path) -> Callable[..., Lab]:
    song = tmp_path / "song.wav"
    rng = np.random.default_rng(owner.int % 2**32)  # no two tests share a blob
    soundfile.write(song, rng.standard_normal((RATE, 2)) * 0.1, RATE, "PCM_16")
    return lambda *executors: Lab(services, owner, song, *executors)


# ── success ───────────────────────────────────────────────────────────────────────────────────────────


async def test_success_is_assets_events_and_state_at_once(lab: Callable[..., Lab]) -> None:
    executor = made_of()
    here = lab(executor)
    job = await here.submit(executor)
    async with here.working():
        view = await here.ended(job)
        events = await here.events(job)
    assert view.job.state is JobState.SUCCEEDED
    kinds = {(asset.kind, asset.role, asset.stem): asset for asset in view.outputs}
    stem, midi = kinds["audio", "stem", "vocals"], kinds["midi", "midi", None]
    assert (stem.parent_id, stem.audio["frames"], stem.audio["subtype"]) == (
        view.job.asset_id,
        RATE,
        "pcm_16",
    )
    assert stem.facts == {"kept": True, "clipped": 0}
    assert midi.facts == {"file": "notes.mid"}
    for asset in (stem, midi):
        content = b"".join([chunk async for chunk in assets.content(here.services, asset)])
        assert hashlib.sha256(content).hexdigest() == asset.blob.sha256
    assert [event.type for event in events] == [
        "job.queued",
        "job.started",
        "asset.created",
        "asset.created",
        "job.succeeded",
    ]
    told = events[-1].data["job"]
    assert {output["asset_id"] for output in told["outputs"]} == {str(stem.id), str(midi.id)}
    assert told["progress"]["fraction"] == 1.0
    assert view.job.result["facts"] == {"windows": 1}
    assert set(view.job.result["timings"]) == {"fetch_s", "decode_s", "load_s", "infer_s", "encode_s"}
    left, scratch = await here.left()
    assert left == {stem.blob.key, midi.blob.key}
    assert scratch == []


async def test_what_a_job_made_past_the_quota_is_thrown_away_and_the_job_fails(
    lab: Callable[..., Lab], tmp_path: Path
) -> None:
    here = lab(executor := made_of())
    job = await here.submit(executor, max_attempts=3)
    quota = 3 * (tmp_path / "song.wav").stat().st_size // 2
    tight = here.services.settings.with_tables(limits={"storage_bytes_per_owner": quota})
    async with here.working(replace(here.services, settings=tight)):
        view = await here.ended(job)
    assert (view.job.state, view.job.error["code"], view.job.attempt) == (
        JobState.FAILED,
        "quota-exceeded",
        1,
    )
    assert view.outputs == []
    left, scratch = await here.left()
    assert (left, scratch) == (set(), [])


async def test_a_second_job_loads_nothing(lab: Callable[..., Lab]) -> None:
    loads = []
    executor = made_of(load=lambda: loads.append(threading.current_thread().name))
    here = lab(executor)
    async with here.working():
        for _ in range(2):
            assert (await here.ended(await here.submit(executor))).job.state is JobState.SUCCEEDED
    assert len(loads) == 1


async def test_one_decodes_while_the_other_infers(lab: Callable[..., Lab], gate: Gate) -> None:
    executor = made_of(gate)
    here = lab(executor)
    async with here.working():
        first = await here.submit(executor)
        await here.stage(first, "infer")
        second = await here.submit(executor)
        await here.stage(second, "load")  # decoded, and in line for the thread
        assert (await jobs.get(here.services, here.owner, first.id)).job.state is JobState.RUNNING
        gate.open.set()
        for job in (first, second):
            assert (await here.ended(job)).job.state is JobState.SUCCEEDED


# ── failure ───────────────────────────────────────────────────────────────────────────────────────────


def refuses(error: BaseException) -> Run:
    def run(recording: Recording, context: RunContext) -> Output:
        copy(recording, context)
        raise error

    return run


async def test_what_breaks_in_an_executor_fails_its_job_and_nothing_else(lab: Callable[..., Lab]) -> None:
    broken = {
        "model-input-unsupported": made_of(refuses(InputUnsupported("too odd"))),
        "executor-error": made_of(refuses(ZeroDivisionError("/home/somebody/secret.py"))),
        "executor-error ": made_of(refuses(SystemExit(3))),
        "weights-unavailable": made_of(
            weights=(Checkpoint("w", "W", license="MIT", commercial_use=True, sources=()),)
        ),
    }
    fine = made_of()
    here = lab(*broken.values(), fine)
    async with here.working():
        submitted = {code: await here.submit(executor) for code, executor in broken.items()}
        for code, job in submitted.items():
            view = await here.ended(job)
            assert (view.job.state, view.job.error["code"]) == (JobState.FAILED, code.strip()), code
            assert "secret" not in str(view.job.error)
            assert view.outputs == []
            assert await here.story(job) == ["queued", "started", "failed"]
        assert (await here.ended(await here.submit(fine))).job.state is JobState.SUCCEEDED
    left, scratch = await here.left()
    assert len(left) == 2, "of the one that succeeded"
    assert scratch == []


async def test_weights_that_are_not_cleared_fail_the_job_that_names_them_and_are_passed_over_by_others(
    lab: Callable[..., Lab], tmp_path: Path
) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights")
    source = Bundled((path,), (hashlib.sha256(b"weights").hexdigest(),))
    executor = made_of(
        weights=(
            Checkpoint("big", "Big", license="unclear", commercial_use=False, sources=(source,)),
            Checkpoint("small", "Small", license="MIT", commercial_use=True, sources=(source,)),
        )
    )
    here = lab(executor)
    async with here.working(commercial_safe=True):
        refused = (await here.ended(await here.submit(executor, "big"))).job
        chosen = (await here.ended(await here.submit(executor))).job
    assert (refused.state, refused.error["code"]) == (JobState.FAILED, "model-license-forbidden")
    assert chosen.state is JobState.SUCCEEDED
    assert chosen.result["weights"] == {
        "name": "small",
        "sha256": source.sha256[0],
        "source": "bundled",
        "license": "MIT",
        "commercial_use": True,
        "trained": True,
        "demo": False,
    }


async def test_what_may_pass_is_tried_again_after_a_while(lab: Callable[..., Lab]) -> None:
    errors = [OutOfMemory("the device is full")]

    def run(recording: Recording, context: RunContext) -> Output:
        if errors:
            raise errors.pop()
        return copy(recording, context)

    executor = made_of(run)
    here = lab(executor)
    async with here.working():
        job = await here.submit(executor)
        view = await here.ended(job)
    assert (view.job.state, view.job.attempt, view.job.errors) == (JobState.SUCCEEDED, 2, 1)
    started = [event.at for event in await here.events(job) if event.type == "job.started"]
    assert timedelta(seconds=2) <= started[1] - started[0] < timedelta(seconds=2 + SOON_S)
    story = await here.story(job)
    assert story[:4] == ["queued", "started", "retrying", "started"]


async def test_what_does_not_pass_fails_when_its_attempts_are_used_up(lab: Callable[..., Lab]) -> None:
    executor = made_of(refuses(OutOfMemory("the device is full")))
    here = lab(executor)
    async with here.working():
        view = await here.ended(await here.submit(executor, max_attempts=1))
    assert (view.job.state, view.job.error["code"]) == (JobState.FAILED, "out-of-memory")


async def test_a_job_that_takes_too_long_is_timed_out(lab: Callable[..., Lab], gate: Gate) -> None:
    executor = made_of(gate)
    here = lab(executor)
    async with here.working():
        job = await here.submit(executor, timeout_s=2.0)
        view = await here.ended(job)
    assert (view.job.state, view.job.error["code"]) == (JobState.TIMED_OUT, "timeout")
    assert (await here.left()) == (set(), [])


# ── cancel ────────────────────────────────────────────────────────────────────────────────────────────


async def cancelled(here: Lab, job: Job) -> JobView:
    """Cancel the job; it must be over soon."""
    asked = time.monotonic()
    await jobs.cancel(here.services, here.owner, job.id)
    view = await here.ended(job)
    assert view.job.state is JobState.CANCELLED
    assert time.monotonic() - asked < SOON_S
    assert (await here.story(job))[-1] == "cancelled"
    return view


async def test_a_cancel_in_the_middle_stops_the_run_and_leaves_nothing(
    lab: Callable[..., Lab], gate: Gate
) -> None:
    executor = made_of(gate)
    here = lab(executor)
    async with here.working():
        job = await here.submit(executor)
        await here.stage(job, "infer")
        assert (await cancelled(here, job)).outputs == []
        assert await here.left() == (set(), [])
        gate.open.set()
        assert (await here.ended(await here.submit(executor))).job.state is JobState.SUCCEEDED


async def test_a_cancel_whose_bell_was_lost_is_heard_with_the_lease(
    lab: Callable[..., Lab], gate: Gate
) -> None:
    executor = made_of(gate)
    here = lab(executor)
    async with here.working():
        job = await here.submit(executor)
        await here.stage(job, "infer")
        async with here.services.db.statements() as db:
            await rows.request_cancel(db, job.id)
        assert (await here.ended(job)).job.state is JobState.CANCELLED


async def test_a_job_in_line_for_the_thread_is_cancelled_at_once(lab: Callable[..., Lab], deaf: Gate) -> None:
    executor = made_of(deaf)
    here = lab(executor)
    async with here.working():
        first = await here.submit(executor)
        await here.stage(first, "infer")
        second = await here.submit(executor)
        await here.stage(second, "load")
        await cancelled(here, second)
        deaf.open.set()
        assert (await here.ended(first)).job.state is JobState.SUCCEEDED
    assert deaf.runs == 1


class Store:
    """The object store, with a say in every put, read and delete."""

    def __init__(self, inner: Any, **say: Any) -> None:
        self._inner = inner
        self._say = say

    async def put(self, key: str, chunks: Any, **more: Any) -> int:
        size: int = await self._inner.put(key, chunks, **more)
        await self._ask("put")
        return size

    async def read(self, key: str, *span: Any) -> AsyncIterator[bytes]:
        await self._ask("read")
        async for chunk in self._inner.read(key, *span):
            yield chunk

    async def delete(self, key: str) -> None:
        await self._ask("delete")
        await self._inner.delete(key)

    async def _ask(self, what: str) -> None:
        if what in self._say:
            await self._say[what]()


async def never() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(("call", "stage"), [("read", "fetch"), ("put", "store")])
async def test_a_store_that_hangs_does_not_hold_up_a_cancel(
    lab: Callable[..., Lab], call: str, stage: str
) -> None:
    executor = made_of()
    here = lab(executor)
    store: Any = Store(here.services.objects, **{call: never})
    async with here.working(replace(here.services, objects=store)):
        job = await here.submit(executor)
        await here.stage(job, stage)
        await cancelled(here, job)
    assert await here.left() == (set(), [])


async def test_a_job_to_be_cancelled_is_not_retried(lab: Callable[..., Lab], deaf: Gate) -> None:
    def run(recording: Recording, context: RunContext) -> Output:
        deaf(recording, context)
        raise OutOfMemory

    executor = made_of(run)
    here = lab(executor)
    async with here.working():
        job = await here.submit(executor)
        await here.stage(job, "infer")
        async with here.services.db.statements() as db:
            await rows.request_cancel(db, job.id)
        deaf.open.set()
        assert (await here.ended(job)).job.state is JobState.CANCELLED


# ── leases ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_lost_lease_stops_the_run(lab: Callable[..., Lab], gate: Gate) -> None:
    executor = made_of(gate)
    here = lab(executor)
    async with here.working():
        job = await here.submit(executor)
        await here.stage(job, "infer")
        await here.steal(job)
        async with asyncio.timeout(WITHIN_S):
            while (await here.left())[1]:
                pass
    after = (await jobs.get(here.services, here.owner, job.id)).job
    assert (after.state, after.attempt, after.worker) == (JobState.RUNNING, 2, "another")
    assert await here.story(job) == ["queued", "started"]


async def test_what_a_fenced_attempt_made_is_never_seen_and_swept(
    lab: Callable[..., Lab], deaf: Gate
) -> None:
    executor = made_of(deaf)
    here = lab(executor)
    long = here.services.settings.with_tables(
        worker={"lease_s": 600.0}
    )  # it will not hear of it before it commits
    stored = []

    async def note() -> None:
        stored.append(1)

    store: Any = Store(here.services.objects, put=note)
    async with here.working(replace(here.services, settings=long, objects=store), drain_s=WITHIN_S):
        job = await here.submit(executor)
        await here.stage(job, "infer")
        await here.steal(job)
        deaf.open.set()
    assert len(stored) == 2, "it got as far as its commit"
    view = await jobs.get(here.services, here.owner, job.id)
    assert (view.job.state, view.job.attempt, view.outputs) == (JobState.RUNNING, 2, [])
    assert await here.story(job) == ["queued", "started"]
    assert await here.left() == (set(), [])


async def test_a_job_that_comes_back_to_its_own_worker_obeys_in_its_new_attempt(
    lab: Callable[..., Lab], deaf: Gate
) -> None:
    executor = made_of(deaf)
    here = lab(executor)
    async with here.working():
        job = await here.submit(executor)
        await here.stage(job, "infer")
        async with here.services.db.statements() as db:
            # as if the database had been away for longer than the lease
            await db.raw.execute("update jobs set lease_until = now() - interval '1 s' where id = $1", job.id)
        await jobs.rescue(here.services)
        await here.until(job, lambda view: view.job.attempt == 2)
        await cancelled(here, job)
        deaf.open.set()
    assert (await jobs.get(here.services, here.owner, job.id)).job.state is JobState.CANCELLED
    assert (await here.story(job)).count("cancelled") == 1
    assert await here.left() == (set(), [])


class Crowd:
    """Runs that wait a moment for company, and who met whom."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.met: set[frozenset[str]] = set()
        self._inside: set[str] = set()
        self._news = threading.Condition()

    def member(self, name: str) -> Run:
        def run(recording: Recording, context: RunContext) -> Output:
            self.entered.set()
            with self._news:
                self.met |= {frozenset({name, other}) for other in self._inside}
                self._inside.add(name)
                self._news.wait(1.0)
                self._inside.remove(name)
            return copy(recording, context)

        return run


async def test_a_job_whose_worker_died_runs_alone(lab: Callable[..., Lab]) -> None:
    crowd = Crowd()
    executors = [made_of(crowd.member(name)) for name in ("before", "suspect", "after")]
    before, suspect, after = executors
    here = lab(*executors)
    async with here.working() as worker:
        submitted = [await here.submit(before)]
        await asyncio.to_thread(crowd.entered.wait, WITHIN_S)
        async with worker._claiming:
            submitted.append(await here.submit(suspect))
            async with here.services.db.statements() as db:
                await db.raw.execute("update jobs set crashes = 1 where id = $1", submitted[1].id)
        submitted.append(await here.submit(after))
        for job in submitted:
            assert (await here.ended(job)).job.state is JobState.SUCCEEDED
    assert not [pair for pair in crowd.met if "suspect" in pair]


# ── stopping ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stop_lets_a_job_end_that_can(lab: Callable[..., Lab], gate: Gate) -> None:
    executor = made_of(gate)
    here = lab(executor)
    async with here.working(drain_s=WITHIN_S):
        job = await here.submit(executor)
        await here.stage(job, "infer")
        gate.open.set()
    assert (await jobs.get(here.services, here.owner, job.id)).job.state is JobState.SUCCEEDED


async def test_a_stop_gives_jobs_back_at_no_cost_and_another_worker_does_them(
    lab: Callable[..., Lab], gate: Gate
) -> None:
    executor = made_of(gate)
    here = lab(executor)
    async with here.working():
        several = [await here.submit(executor, max_attempts=1) for _ in range(3)]
        await asyncio.to_thread(gate.entered.wait, WITHIN_S)
    for job in several:
        after = (await jobs.get(here.services, here.owner, job.id)).job
        assert (after.state, after.errors, after.crashes) == (JobState.QUEUED, 0, 0)
    assert (await here.story(several[0]))[-1] == "retrying"
    assert await here.left() == (set(), [])
    gate.open.set()
    async with here.working():
        for job in several:
            assert (await here.ended(job)).job.state is JobState.SUCCEEDED


async def test_a_stop_does_not_wait_for_a_window_without_end(lab: Callable[..., Lab], deaf: Gate) -> None:
    executor = made_of(deaf)
    here = lab(executor)
    async with here.working(grace_s=0.1):
        job = await here.submit(executor)
        await here.stage(job, "infer")
        stopped = time.monotonic()
    assert time.monotonic() - stopped < SOON_S
    after = (await jobs.get(here.services, here.owner, job.id)).job
    assert (after.state, after.drains) == (JobState.QUEUED, 1)
    deaf.open.set()
    assert (await here.left())[0] == set()


async def test_a_job_that_a_stop_finds_between_claim_and_start_goes_back(
    lab: Callable[..., Lab], gate: Gate
) -> None:
    executor = made_of(gate)
    here = lab(executor)
    several = [await here.submit(executor) for _ in range(2)]
    async with here.working(), asyncio.timeout(WITHIN_S):
        while not [job for job in several if (await here.until(job, bool)).job.attempt]:
            pass  # the claim has been committed: stop now, whatever the worker has heard of it
    for job in several:
        assert (await jobs.get(here.services, here.owner, job.id)).job.state is JobState.QUEUED


# ── servers that are away ─────────────────────────────────────────────────────────────────────────────


async def test_a_store_that_is_away_for_a_moment_costs_no_inference(
    lab: Callable[..., Lab], gate: Gate
) -> None:
    gate.open.set()
    executor = made_of(gate)
    here = lab(executor)
    puts = []

    async def twice() -> None:
        puts.append(1)
        if len(puts) <= 2:
            raise StorageUnavailable("away")

    store: Any = Store(here.services.objects, put=twice)
    async with here.working(replace(here.services, objects=store)):
        view = await here.ended(await here.submit(executor))
    assert (view.job.state, view.job.attempt, gate.runs) == (JobState.SUCCEEDED, 1, 1)
    assert (await here.left())[0] == {asset.blob.key for asset in view.outputs}


def away(times: int) -> Callable[[], Awaitable[None]]:
    """A store that is away so many times."""
    left = iter(range(times))

    async def ask() -> None:
        if next(left, None) is not None:
            raise StorageUnavailable("away")

    return ask


async def test_a_job_whose_input_cannot_be_fetched_for_a_moment_keeps_its_place(
    lab: Callable[..., Lab],
) -> None:
    executor = made_of()
    here = lab(executor)
    job = await here.submit(executor)
    store: Any = Store(here.services.objects, read=away(2))
    async with here.working(replace(here.services, objects=store)):
        view = await here.ended(job)
    assert (view.job.state, view.job.attempt) == (JobState.SUCCEEDED, 1)


async def test_what_is_stored_is_not_sent_again_when_the_store_comes_back(lab: Callable[..., Lab]) -> None:
    executor = made_of()
    here = lab(executor)
    puts = []

    async def first_alone() -> None:
        puts.append(1)
        if len(puts) == 2:
            raise StorageUnavailable("away")

    store: Any = Store(here.services.objects, put=first_alone)
    async with here.working(replace(here.services, objects=store)):
        view = await here.ended(await here.submit(executor))
    assert (len(view.outputs), len(puts)) == (2, 3)


async def test_a_store_that_stays_away_beyond_the_patience_costs_an_attempt(lab: Callable[..., Lab]) -> None:
    executor = made_of()
    here = lab(executor)
    job = await here.submit(executor, max_attempts=1)
    impatient = here.services.settings.with_tables(worker={"patience_s": 0.1})
    store: Any = Store(here.services.objects, read=away(1000))
    async with here.working(replace(here.services, objects=store, settings=impatient)):
        view = await here.ended(job)
    assert (view.job.state, view.job.error["code"]) == (JobState.FAILED, "storage-unavailable")


async def test_a_store_that_stays_away_is_waited_for_no_longer_than_the_job_may_take(
    lab: Callable[..., Lab],
) -> None:
    executor = made_of()
    here = lab(executor)
    store: Any = Store(here.services.objects, put=away(1000))
    async with here.working(replace(here.services, objects=store)):
        job = await here.submit(executor, timeout_s=4.0)
        assert (await here.ended(job)).job.state is JobState.TIMED_OUT
    assert await here.left() == (set(), [])


async def test_a_store_that_breaks_fails_the_job_and_leaves_nothing(lab: Callable[..., Lab]) -> None:
    async def broken() -> None:
        raise KeyError("a bug")

    executor = made_of()
    here = lab(executor)
    store: Any = Store(here.services.objects, put=broken)
    async with here.working(replace(here.services, objects=store)):
        view = await here.ended(await here.submit(executor))
    assert (view.job.state, view.job.error["code"]) == (JobState.FAILED, "internal")
    assert await here.left() == (set(), [])


async def test_a_side_task_that_breaks_does_not_end_the_worker(lab: Callable[..., Lab]) -> None:
    swept = asyncio.Event()

    async def broken() -> None:
        swept.set()
        raise KeyError("a bug")

    executor = made_of()
    here = lab(executor)
    async with here.services.db.statements() as db:
        key = assets.object_key()
        await asset_rows.add_pending(db, key)
        await asset_rows.expire_pending(db, [key])
    store: Any = Store(here.services.objects, delete=broken)
    async with here.working(replace(here.services, objects=store)):
        await swept.wait()
        assert (await here.ended(await here.submit(executor))).job.state is JobState.SUCCEEDED
    await here.left()


async def test_a_worker_goes_on_without_redis(lab: Callable[..., Lab], stores: Stores) -> None:
    executor = made_of()
    here = lab(executor)
    async with servers.redis_line(stores.redis_url) as line:
        settings = here.services.settings.with_tables(redis={"url": line.url}, worker={"poll_s": 0.2})
        async with open_services(settings) as opened, here.working(here.like(opened)):
            await line.cut()
            job = await here.submit(executor)
            assert (await here.ended(job)).job.state is JobState.SUCCEEDED
    assert (await here.story(job))[-1] == "succeeded"


async def test_a_worker_hears_bells_again_when_redis_is_back(lab: Callable[..., Lab], stores: Stores) -> None:
    executor = made_of()
    here = lab(executor)
    async with servers.redis_line(stores.redis_url) as line:
        settings = here.services.settings.with_tables(redis={"url": line.url}, worker={"poll_s": 600.0})
        async with open_services(settings) as opened, here.working(here.like(opened)):
            assert (await here.ended(await here.submit(executor))).job.state is JobState.SUCCEEDED
            await line.cut()
            job = await here.submit(executor)
            await line.mend()
            assert (await here.ended(job)).job.state is JobState.SUCCEEDED


async def test_a_worker_is_known_while_it_lives(lab: Callable[..., Lab], gate: Gate) -> None:
    executor = made_of(gate)
    here = lab(executor)

    async def known() -> list[Any]:
        async with here.services.db.statements() as db:
            found = await event_rows.live_workers(db, timedelta(seconds=15))
        return [model for row in found for model in row["models"] if model["model"] == executor.name]

    async with here.working():
        job = await here.submit(executor)
        await here.stage(job, "infer")
        assert [model["state"] for model in await known()] == ["idle"]
    assert await known() == []
