"""Runs as they go on: by real workers, after deaths, failures and cancels, and two at once."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from lab import BEATS, NOTES, SPLIT, WITHIN_S, Gate, Lab
from neuralib import assets, jobs, runs, succession
from neuralib.config import Settings
from neuralib.db import assets as asset_rows
from neuralib.db import events as event_rows
from neuralib.db import jobs as job_rows
from neuralib.db import runs as run_rows
from neuralib.entities import Job, JobState, NewAsset, Part, RunState, new_id
from neuralib.errors import (
    NotFound,
    RunNotCancellable,
    TooManyJobs,
    UnknownOperation,
    ValidationFailed,
)
from neuralib.jobs import JobRequest
from neuralib.objects import put_file
from neuralib.pipeline import job_event
from neuralib.pipelines import TRACK, OnFailure, Pipeline, Step, Takes, fraction, standing
from neuralib.runs import Override, RunView
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 12


@pytest.fixture(scope="module")
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    # A bell may be lost, say one that is rung before the worker listens: then the poll finds the job.
    worker = {"lease_s": 3.0, "poll_s": 2.0, "scratch": tmp_path_factory.mktemp("scratch")}
    return settings.with_tables(worker=worker, limits={"jobs_per_owner": LIMIT}, database={"pool": 10})


@pytest.fixture
def lab(services: Services, owner: UUID, tmp_path: Path) -> Callable[..., Lab]:
    return lambda gate=None: Lab(services, owner, tmp_path, gate)


def of(view: RunView, step: str) -> list[Part]:
    return [part for part in view.parts if part.step == step]


def words(view: RunView, step: str) -> list[str]:
    return sorted(standing(part) for part in of(view, step))


# ── to the end ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_run_goes_on_by_itself_until_everything_is_made(lab: Callable[..., Lab]) -> None:
    here = lab()
    async with here.working():
        begun = await here.start(await here.track(), format="flac", metadata={"my": "tag"})
        assert (begun.run.state, begun.run.waiting) == (RunState.RUNNING, 1)
        view = await here.ended(begun)
    assert view.run.state is RunState.SUCCEEDED
    assert view.run.finished_at is not None
    assert {step: words(view, step) for step in ("split", "notes", "beats")} == {
        "split": ["succeeded"],
        "notes": ["succeeded"] * 2,
        "beats": ["succeeded"],
    }
    stems = {asset.id: asset for asset in view.outputs if asset.stem}
    assert {stems[part.input_id].stem for part in of(view, "notes")} == {"vocals", "bass"}
    assert {asset.audio["format"] for asset in stems.values()} == {"flac"}
    assert all(part.made for part in view.parts)
    assert {job.metadata["my"] for job in await here.all_jobs()} == {"tag"}
    assert fraction(view.steps, view.parts) == 1.0
    told = [kind for kind in await here.told() if kind.startswith("run.")]
    assert told == ["run.started", "run.succeeded"]


async def test_what_was_done_before_is_taken_as_it_is(lab: Callable[..., Lab]) -> None:
    here = lab()
    track = await here.track()
    async with here.working():
        first = await here.ended(await here.start(track))
    second = await here.start(track)
    assert second.run.state is RunState.SUCCEEDED  # and nobody works here any more
    assert {part.job_id for part in second.parts} == {part.job_id for part in first.parts}
    assert not any(part.made for part in second.parts)
    assert len(await here.all_jobs()) == 4
    again = await here.start(track, rerun=True)
    assert again.run.state is RunState.RUNNING
    assert not {part.job_id for part in again.parts} & {part.job_id for part in first.parts}


async def test_two_runs_on_one_track_share_their_jobs_and_both_end(lab: Callable[..., Lab]) -> None:
    here = lab(gate := Gate())
    track = await here.track()
    async with here.working():
        both = await asyncio.gather(here.start(track), here.start(track))
        await asyncio.to_thread(gate.entered.wait, WITHIN_S)
        late = await here.start(track)
        gate.open.set()
        ended = [await here.ended(run) for run in (*both, late)]
    assert [view.run.state for view in ended] == [RunState.SUCCEEDED] * 3
    assert len(await here.all_jobs()) == 4
    assert sum(part.made for view in ended for part in view.parts) == 4


# ── failure ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_that_fails_takes_with_it_what_needs_it_and_nothing_else(lab: Callable[..., Lab]) -> None:
    here = lab()
    async with here.working():
        view = await here.ended(
            await here.start(await here.track(), overrides={"split": Override(params={"fail": True})})
        )
    assert view.run.state is RunState.PARTIAL
    (notes,) = of(view, "notes")
    assert (notes.job_id, notes.error["code"]) == (None, "dependency-failed")
    assert words(view, "beats") == ["succeeded"]
    assert "run.partial" in await here.told()


async def test_a_run_of_which_nothing_came_has_failed(lab: Callable[..., Lab]) -> None:
    here = lab()
    pipeline = Pipeline("short", "", (SPLIT, NOTES))
    async with here.working():
        failing = {"split": Override(params={"fail": True})}
        view = await here.ended(await here.start(await here.track(), pipeline, overrides=failing))
    assert view.run.state is RunState.FAILED


async def test_where_a_step_may_fail_the_next_takes_the_track(lab: Callable[..., Lab]) -> None:
    here = lab()
    track = await here.track()
    pipeline = Pipeline("short", "", (replace(SPLIT, on_failure=OnFailure.SKIP), NOTES))
    async with here.working():
        failing = {"split": Override(params={"fail": True})}
        view = await here.ended(await here.start(track, pipeline, overrides=failing))
    assert [(part.input_id, standing(part)) for part in of(view, "notes")] == [(track, "succeeded")]
    assert view.run.state is RunState.PARTIAL


# ── deaths ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_worker_that_dies_in_the_middle_costs_a_run_nothing(lab: Callable[..., Lab]) -> None:
    here = lab()
    run = await here.start(await here.track())
    dead = await here.claim("split", lease_s=0.0)
    async with here.services.db.statements() as db:
        await job_rows.save_progress(db, dead.id, dead.attempt, {"fraction": 0.5})
    half = await runs.get(here.services, here.owner, run.run.id)
    assert fraction(half.steps, half.parts) == round(0.5 / 3, 4)
    while await jobs.rescue(here.services):
        pass
    put_back = await runs.get(here.services, here.owner, run.run.id)
    assert fraction(put_back.steps, put_back.parts) == fraction(half.steps, half.parts)
    async with here.working():
        view = await here.ended(run)
    assert view.run.state is RunState.SUCCEEDED
    assert len(await here.all_jobs()) == 4


async def test_the_rescuer_takes_a_run_on_when_a_job_has_used_up_its_attempts(
    lab: Callable[..., Lab],
) -> None:
    here = lab()
    run = await here.start(await here.track(), max_attempts=1)
    await here.claim("split", lease_s=0.0)
    while await jobs.rescue(here.services):
        pass
    view = await runs.get(here.services, here.owner, run.run.id)
    assert [part.error["code"] for part in of(view, "notes")] == ["dependency-failed"]
    assert view.run.state is RunState.RUNNING  # the beats are to come
    async with here.working():
        assert (await here.ended(run)).run.state is RunState.PARTIAL


JOIN = Pipeline("join", "", (SPLIT, BEATS, Step("after", "listen", Takes(("split", "beats")))))


class Moment:
    """How far an ending job has come, and when it may commit."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.followed = asyncio.Event()
        self.commit = asyncio.Event()


async def end(lab: Lab, job: Job, moment: Moment) -> None:
    """What a worker does last, with one stem, and with a pause before the commit."""
    folder = lab.folder
    services = lab.services
    async with services.db.statements() as db:
        track = await asset_rows.get(db, lab.owner, job.asset_id)
    path = folder / f"{job.id}.wav"
    path.write_bytes(job.id.bytes)
    blob = replace(track.blob, id=new_id(), sha256=job.id.hex, bytes=16, key=assets.object_key())
    await put_file(services.objects, blob.key, path, content_type="audio/wav")
    made = NewAsset(
        new_id(), track.library_id, "audio", "stem", "x", stem="x", audio=track.audio, job_id=job.id
    )
    async with services.db.transaction() as tx:
        done = await job_rows.finish(tx, job, JobState.SUCCEEDED, result={"outputs": 1})
        assert done is not None
        await asset_rows.insert(tx, lab.owner, made, blob)
        moment.ended.set()
        await event_rows.append(tx, job_event("succeeded", done))
        await succession.follow(tx, done)
        moment.followed.set()
        await moment.commit.wait()


async def test_two_branches_that_end_in_one_moment_take_the_run_on_once(lab: Callable[..., Lab]) -> None:
    here = lab()
    run = await here.start(await here.track(), JOIN)
    first, second = await here.claim("split"), await here.claim("count")
    one, two = Moment(), Moment()
    async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
        group.create_task(end(here, first, one))
        await one.followed.wait()
        group.create_task(end(here, second, two))
        await two.ended.wait()  # both have ended their jobs, and neither has committed
        two.commit.set()
        one.commit.set()
    view = await runs.get(here.services, here.owner, run.run.id)
    assert words(view, "after") == ["queued", "queued"]
    assert len({part.input_id for part in of(view, "after")}) == 2
    assert len(await here.all_jobs()) == 4


async def test_nothing_of_a_run_is_begun_twice(lab: Callable[..., Lab]) -> None:
    here = lab()
    run = await here.start(await here.track())
    async with here.services.db.transaction() as tx:
        for _ in range(3):
            assert await succession.proceed(tx, run.run) == set()
    assert len(await here.all_jobs()) == 2


# ── cancelling ────────────────────────────────────────────────────────────────────────────────────────


async def test_cancelling_a_run_ends_what_waits_at_once_and_begins_nothing(lab: Callable[..., Lab]) -> None:
    here = lab()
    run = await here.start(await here.track())
    view = await runs.cancel(here.services, here.owner, run.run.id)
    assert view.run.state is RunState.CANCELLED
    assert {job.state for job in await here.all_jobs()} == {JobState.CANCELLED}
    assert of(view, "notes") == []
    assert (await runs.cancel(here.services, here.owner, run.run.id)).run.state is RunState.CANCELLED
    assert [kind for kind in await here.told() if kind.startswith("run.")] == ["run.started", "run.cancelled"]


async def test_cancelling_a_run_stops_what_runs(lab: Callable[..., Lab]) -> None:
    here = lab(gate := Gate())
    async with here.working():
        run = await here.start(await here.track())
        await asyncio.to_thread(gate.entered.wait, WITHIN_S)
        view = await runs.cancel(here.services, here.owner, run.run.id)
        assert view.run.cancel_requested
        view = await here.ended(run)
    assert view.run.state is RunState.CANCELLED
    assert words(view, "split") == ["cancelled"]


async def test_a_job_that_others_want_goes_on_without_a_cancelled_run(lab: Callable[..., Lab]) -> None:
    here = lab()
    track = await here.track()
    one, other = await here.start(track), await here.start(track)
    view = await runs.cancel(here.services, here.owner, one.run.id)
    assert view.run.state is RunState.CANCELLED
    async with here.working():
        assert (await here.ended(other)).run.state is RunState.SUCCEEDED


async def test_a_run_that_has_ended_cannot_be_cancelled(lab: Callable[..., Lab]) -> None:
    here = lab()
    async with here.working():
        run = await here.ended(await here.start(await here.track()))
    with pytest.raises(RunNotCancellable):
        await runs.cancel(here.services, here.owner, run.run.id)
    with pytest.raises(NotFound):
        await runs.cancel(here.services, here.owner, uuid4())


async def test_cancelling_one_job_takes_its_run_on(lab: Callable[..., Lab]) -> None:
    here = lab()
    run = await here.start(await here.track())
    (split,) = of(run, "split")
    await jobs.cancel(here.services, here.owner, split.job_id)
    view = await runs.get(here.services, here.owner, run.run.id)
    assert [part.error["code"] for part in of(view, "notes")] == ["dependency-failed"]


# ── what may begin ────────────────────────────────────────────────────────────────────────────────────


async def test_a_run_counts_as_so_many_jobs_as_it_has_steps_and_is_never_stuck(
    lab: Callable[..., Lab],
) -> None:
    here = lab()
    track = await here.track()
    salted = [
        {"split": Override(params={"salt": str(n)}), "beats": Override(params={"salt": str(n)})}
        for n in range(5)
    ]
    begun = [await here.start(track, overrides=salt) for salt in salted[: LIMIT // 3]]
    with pytest.raises(TooManyJobs):
        await here.start(track, overrides=salted[4])
    with pytest.raises(TooManyJobs):
        await jobs.submit(here.services, here.owner, JobRequest(track, model=here.models["listen"]))
    async with here.working():
        assert {(await here.ended(run)).run.state for run in begun} == {RunState.SUCCEEDED}
        await here.ended(await here.start(track, overrides=salted[4]))


async def test_a_run_that_is_sent_twice_is_one(lab: Callable[..., Lab]) -> None:
    here = lab()
    track, name = await here.track(), new_id()
    first, second = await asyncio.gather(here.start(track, id=name), here.start(track, id=name))
    assert first.run.id == second.run.id == name
    assert len(await here.all_jobs()) == 2


async def test_what_cannot_be_run_is_refused_by_name_and_leaves_nothing(lab: Callable[..., Lab]) -> None:
    here = lab()
    track = await here.track()
    with pytest.raises(UnknownOperation, match=r"step fly of strange.*'fly'"):
        await here.start(track, Pipeline("strange", "", (SPLIT, Step("fly", "fly", TRACK))))
    with pytest.raises(ValidationFailed) as refused:
        await here.start(track, overrides={"notes": Override(params={"fail": "perhaps"})})
    assert [field.pointer for field in refused.value.fields] == ["/overrides/notes/params/fail"]
    with pytest.raises(ValidationFailed, match="has no such step"):
        await here.start(track, overrides={"nowhere": Override()})
    with pytest.raises(NotFound):
        await here.start(uuid4())
    assert await here.all_jobs() == []
    assert await runs.page(here.services, here.owner) == []


async def test_steps_weigh_what_their_models_took_before(lab: Callable[..., Lab]) -> None:
    here = lab()
    track = await here.track()
    async with here.working():
        first = await here.ended(await here.start(track))
    assert [step.weight for step in first.steps] == [1.0, 1.0, 1.0]
    async with here.services.db.statements() as db:
        for factor, operation in ((2, "split"), (10, "listen"), (5, "count")):
            await db.raw.execute(
                "update jobs set result = result || jsonb_build_object('realtime_factor', $2::int) where model = $1",
                here.models[operation],
                factor,
            )
        assert await run_rows.speeds(db, [here.models["split"]]) == {here.models["split"]: 0.5}
    again = await here.start(track, rerun=True)
    assert [round(step.weight, 6) for step in again.steps] == [0.5, 0.2, 0.2]
