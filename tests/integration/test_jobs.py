"""Jobs as the database keeps them: who gets which, who may still end one, and what is left when things go wrong."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from neuralib import assets, jobs, libraries
from neuralib.config import Settings
from neuralib.db import assets as asset_rows
from neuralib.db import events as event_rows
from neuralib.db import jobs as rows
from neuralib.db import libraries as library_rows
from neuralib.db import open_database
from neuralib.entities import Blob, Event, Job, JobState, NewAsset, new_id
from neuralib.errors import (
    AlreadyExists,
    AssetInUse,
    DatabaseUnavailable,
    InputUnsupported,
    Interrupted,
    JobNotCancellable,
    NotFound,
    QuotaExceeded,
    StorageFull,
    StorageUnavailable,
    TooManyJobs,
    UnknownModel,
    ValidationFailed,
)
from neuralib.jobs import JobRequest, JobView, OnExisting
from neuralib.objects import ObjectStore
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUDIO = {
    "format": "wav",
    "codec": "pcm_s16le",
    "subtype": "pcm_16",
    "sample_rate": 44100,
    "channels": 2,
    "frames": 44100,
    "duration_s": 1.0,
}
LEASE = timedelta(seconds=30)
AT_ONCE = timedelta(0)
LIMIT = 5


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(limits={"jobs_per_owner": LIMIT})


@pytest_asyncio.fixture(loop_scope="module")
async def library(services: Services, owner: UUID) -> UUID:
    return (await libraries.create(services, owner, name="Tests")).id


@pytest_asyncio.fixture(loop_scope="module")
async def song(services: Services, owner: UUID, library: UUID) -> UUID:
    return await a_song(services, owner, library)


async def a_song(
    services: Services, owner: UUID, library: UUID, sha256: str | None = None, **more: Any
) -> UUID:
    """An asset's rows; nothing here reads its bytes."""
    new = NewAsset(new_id(), library, more.pop("kind", "audio"), "track", "song", audio=AUDIO, **more)
    blob = Blob(new_id(), sha256 or uuid4().hex, 1, assets.object_key(), "audio/wav")
    async with services.db.transaction() as tx:
        await asset_rows.insert(tx, owner, new, blob)
    return new.id


Submit = Callable[..., Coroutine[Any, Any, Job]]


@pytest_asyncio.fixture(loop_scope="module")
async def lane(services: Services) -> AsyncIterator[str]:
    """The name of a model that only this test's jobs have."""
    yield f"model-{uuid4()}"


def submitter(services: Services, owner: UUID, song: UUID, lane: str) -> Submit:
    async def submit(**more: Any) -> Job:
        view = await jobs.submit(
            services, owner, JobRequest(song, model="echo", **{"on_existing": OnExisting.RERUN, **more})
        )
        async with services.db.statements() as db:
            await db.raw.execute("update jobs set model = $2 where id = $1", view.job.id, lane)
        return replace(view.job, model=lane)

    return submit


@pytest_asyncio.fixture(loop_scope="module")
async def submit(services: Services, owner: UUID, song: UUID, lane: str) -> Submit:
    return submitter(services, owner, song, lane)


@pytest_asyncio.fixture(loop_scope="module")
async def people(services: Services, lane: str) -> list[Submit]:
    """Five others, who submit into the same lane."""
    found = []
    for _ in range(5):
        async with services.db.transaction() as tx:
            other = await library_rows.upsert_owner(tx, f"test-{uuid4()}")
        library = (await libraries.create(services, other, name="Theirs")).id
        found.append(submitter(services, other, await a_song(services, other, library), lane))
    return found


async def claim(services: Services, lane: str, lease: timedelta = LEASE, worker: str = "w") -> Job | None:
    async with services.db.statements() as db:
        return await rows.claim(db, lane, worker, lease)


async def claimed(services: Services, lane: str, lease: timedelta = LEASE) -> Job:
    job = await claim(services, lane, lease)
    assert job is not None
    return job


async def now(services: Services, job: Job) -> Job:
    async with services.db.statements() as db:
        return await rows.get(db, job.owner_id, job.id)


async def told(services: Services, owner: UUID) -> list[str]:
    """The types of the owner's events, after a check that their numbers have no gap."""
    async with services.db.statements() as db:
        events = await event_rows.after(db, owner, 0)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [event.type for event in events]


# ── the claim ─────────────────────────────────────────────────────────────────────────────────────────


async def test_the_most_urgent_goes_first_and_then_the_oldest(
    services: Services, submit: Submit, lane: str
) -> None:
    low, first, second, high = [await submit(priority=p) for p in (-10, 0, 0, 10)]
    order = [(await claimed(services, lane)).id for _ in range(4)]
    assert order == [high.id, first.id, second.id, low.id]
    assert await claim(services, lane) is None


async def test_many_claims_at_once_never_get_the_same_job(
    services: Services, submit: Submit, lane: str
) -> None:
    submitted = {(await submit()).id for _ in range(LIMIT)}
    got = await asyncio.gather(*(claim(services, lane, worker=f"w{n}") for n in range(4 * LIMIT)))
    ids = [job.id for job in got if job is not None]
    assert sorted(ids) == sorted(submitted)
    assert all(job.attempt == 1 and job.state is JobState.RUNNING for job in got if job is not None)


async def test_a_claim_does_not_wait_for_a_job_that_somebody_else_has_locked(
    services: Services, owner: UUID, submit: Submit, lane: str
) -> None:
    locked, free = await submit(), await submit()
    async with services.db.transaction() as tx:
        await rows.get(tx, owner, locked.id, lock=True)
        assert (await claimed(services, lane)).id == free.id


async def test_a_claim_takes_no_job_whose_time_has_not_come(
    services: Services, submit: Submit, lane: str
) -> None:
    await submit()
    job = await claimed(services, lane)
    async with services.db.transaction() as tx:
        await rows.requeue(tx, job, error={"code": "x"}, after=timedelta(minutes=1))
    assert await claim(services, lane) is None


async def test_the_position_of_a_job_is_the_number_of_claims_before_its_own(
    services: Services, owner: UUID, submit: Submit, lane: str
) -> None:
    submitted = [await submit(priority=p) for p in (0, 10, 0)]
    positions = [(await jobs.get(services, owner, job.id)).position for job in submitted]
    assert positions == [1, 0, 2]


# ── fair share ────────────────────────────────────────────────────────────────────────────────────────


class Server:
    """What a worker remembers between its claims."""

    def __init__(self, services: Services, lane: str) -> None:
        self._services = services
        self._lane = lane
        self._served: dict[int, UUID] = {}

    async def claim(self, lease: timedelta = LEASE) -> Job | None:
        async with self._services.db.statements() as db:
            job = await rows.claim(db, self._lane, "w", lease, self._served)
        if job is not None and job.attempt == 1:
            self._served[job.priority] = job.owner_id
        return job

    async def all(self) -> list[Job]:
        found = []
        while (job := await self.claim()) is not None:
            found.append(job)
        return found


@pytest.fixture
def server(services: Services, lane: str) -> Server:
    return Server(services, lane)


@pytest.mark.parametrize("waiting", [(5, 5, 5, 5, 5), (5, 1, 1, 1, 1), (1, 5, 0, 3, 2), (2, 0, 0, 0, 5)])
async def test_in_every_round_each_owner_who_waits_has_one_turn(
    server: Server, people: list[Submit], waiting: tuple[int, ...]
) -> None:
    for submit, count in zip(people, waiting, strict=True):
        for _ in range(count):
            await submit()
    order = [job.owner_id for job in await server.all()]
    assert len(order) == sum(waiting)
    for round_ in range(max(waiting)):
        turns, order = (
            order[: sum(count > round_ for count in waiting)],
            order[sum(count > round_ for count in waiting) :],
        )
        assert len(set(turns)) == len(turns), f"round {round_}"


async def test_who_floods_the_queue_delays_another_by_one_job(server: Server, people: list[Submit]) -> None:
    flood, other = people[:2]
    for _ in range(LIMIT):
        await flood()
    for _ in range(2):
        await server.claim()
    late = await other()
    assert late.id in {job.id for job in (await server.claim(), await server.claim()) if job}


async def test_each_owner_s_own_jobs_go_in_their_order(server: Server, people: list[Submit]) -> None:
    submitted = [(await submit()) for _ in range(4) for submit in people]
    claimed = await server.all()
    for owner in {job.owner_id for job in submitted}:
        mine = [job.id for job in submitted if job.owner_id == owner]
        assert [job.id for job in claimed if job.owner_id == owner] == mine


async def test_what_is_urgent_goes_before_anybody_s_turn_and_costs_nobody_his(
    server: Server, people: list[Submit]
) -> None:
    flood, other, urgent = people[:3]
    normal = [await flood(), await flood(), await other(), await other()]
    turns = []
    for _ in normal:
        hurried = await urgent(priority=10)
        assert (await server.claim()).id == hurried.id
        turns.append((await server.claim()).owner_id)
    assert turns[0] != turns[1] != turns[2] != turns[3]


async def test_what_came_back_goes_before_anybody_s_turn(
    services: Services, server: Server, people: list[Submit]
) -> None:
    lost = [await submit() for submit in people[:2]]
    for _ in lost:
        await server.claim(AT_ONCE)
    for submit in people:
        await submit()
    await jobs.rescue(services)
    again = [await server.claim() for _ in lost]
    assert [job.id for job in again] == [job.id for job in lost], "the older one first"
    assert len({job.owner_id for job in await server.all()}) == len(people)


async def test_while_others_hold_what_is_urgent_a_claim_takes_something_else(
    services: Services, server: Server, people: list[Submit]
) -> None:
    urgent, normal = await people[0](priority=10), await people[1]()
    async with services.db.transaction() as tx:
        await rows.get(tx, urgent.owner_id, urgent.id, lock=True)
        assert (await server.claim()).id == normal.id


async def test_many_workers_at_once_share_out_the_jobs_of_many_owners(
    services: Services, lane: str, people: list[Submit]
) -> None:
    submitted = {(await submit()).id for _ in range(LIMIT) for submit in people}
    servers = [Server(services, lane) for _ in range(8)]
    claimed = [job.id for found in await asyncio.gather(*(each.all() for each in servers)) for job in found]
    assert sorted(claimed) == sorted(submitted)


async def test_the_position_counts_no_more_turns_of_the_others_than_come_before(
    services: Services, people: list[Submit]
) -> None:
    flood, other = people[:2]
    many = [await flood() for _ in range(LIMIT)]
    late = await other()
    at_most = [(await jobs.get(services, job.owner_id, job.id)).position for job in (*many, late)]
    assert at_most == [1, 2, 3, 4, 5, 1]


async def test_no_job_goes_later_than_its_position(
    services: Services, server: Server, people: list[Submit]
) -> None:
    submitted = [await people[n % 3 if n < 9 else 4](priority=10 * (n % 4 == 0)) for n in range(12)]
    at_most = {job.id: (await jobs.get(services, job.owner_id, job.id)).position for job in submitted}
    for before, job in enumerate(await server.all()):
        assert before <= at_most[job.id]


# ── the fence ─────────────────────────────────────────────────────────────────────────────────────────


async def test_an_older_attempt_can_do_nothing_any_more(
    services: Services, owner: UUID, submit: Submit, lane: str
) -> None:
    await submit()
    old = await claimed(services, lane, AT_ONCE)
    assert await jobs.rescue(services) >= 1
    new = await claimed(services, lane)
    assert (new.id, new.attempt, new.crashes) == (old.id, 2, 1)
    async with services.db.transaction() as tx:
        assert await rows.finish(tx, old, JobState.SUCCEEDED) is None
        assert await rows.requeue(tx, old) is None
        assert await rows.renew(tx, [(old.id, old.attempt)], LEASE) == {}
        assert not await rows.save_progress(tx, old.id, old.attempt, {"fraction": 0.9})
        assert await rows.renew(tx, [(old.id, 1), (new.id, 2)], LEASE) == {(new.id, 2): False}
        assert await rows.save_progress(tx, new.id, new.attempt, {"fraction": 0.1})
    after = await now(services, new)
    assert (after.state, after.progress) == (JobState.RUNNING, {"fraction": 0.1})


async def test_a_job_ends_once(services: Services, submit: Submit, lane: str) -> None:
    await submit()
    job = await claimed(services, lane)
    async with services.db.transaction() as tx:
        assert await rows.finish(tx, job, JobState.SUCCEEDED) is not None
    async with services.db.transaction() as tx:
        assert await rows.finish(tx, job, JobState.FAILED) is None
        assert await rows.requeue(tx, job) is None
    assert (await now(services, job)).state is JobState.SUCCEEDED


# ── leases and the rescuer ────────────────────────────────────────────────────────────────────────────


async def test_a_lease_that_runs_is_left_alone(services: Services, submit: Submit, lane: str) -> None:
    await submit()
    job = await claimed(services, lane)
    await jobs.rescue(services)
    assert (await now(services, job)).state is JobState.RUNNING


async def test_a_job_whose_worker_died_is_retried_first_and_then_fails(
    services: Services, owner: UUID, submit: Submit, lane: str
) -> None:
    job = await submit(max_attempts=2)
    later = await submit()
    assert (await claimed(services, lane, AT_ONCE)).id == job.id
    await jobs.rescue(services)
    assert (await now(services, job)).state is JobState.QUEUED
    assert (await claimed(services, lane, AT_ONCE)).id == job.id, "before what was submitted after it"
    await jobs.rescue(services)
    failed = await now(services, job)
    assert (failed.state, failed.crashes, failed.error["code"]) == (JobState.FAILED, 2, "worker-lost")
    assert failed.finished_at is not None
    assert (await now(services, later)).state is JobState.QUEUED
    assert (await told(services, owner))[-2:] == ["job.retrying", "job.failed"]


async def test_a_dead_worker_s_job_that_was_to_be_cancelled_is(
    services: Services, owner: UUID, submit: Submit, lane: str
) -> None:
    job = await submit()
    await claimed(services, lane, AT_ONCE)
    await jobs.cancel(services, owner, job.id)
    await jobs.rescue(services)
    assert (await now(services, job)).state is JobState.CANCELLED
    assert (await told(services, owner))[-1] == "job.cancelled"


async def test_two_rescuers_at_once_rescue_once(
    services: Services, owner: UUID, submit: Submit, lane: str
) -> None:
    for _ in range(3):
        await submit()
        await claimed(services, lane, AT_ONCE)
    rescued = await asyncio.gather(*(jobs.rescue(services) for _ in range(4)))
    assert sum(rescued) >= 3
    assert (await told(services, owner)).count("job.retrying") == 3


async def test_while_one_rescues_the_others_need_not(services: Services, submit: Submit, lane: str) -> None:
    await submit()
    job = await claimed(services, lane, AT_ONCE)
    async with services.db.transaction() as tx:
        assert await rows.lead_rescue(tx)
        assert await jobs.rescue(services) == 0
        assert (await now(services, job)).state is JobState.RUNNING
    await jobs.rescue(services)
    assert (await now(services, job)).state is JobState.QUEUED, "a leader that ended left its place"


async def test_drains_cost_nothing_and_errors_do(services: Services, submit: Submit, lane: str) -> None:
    await submit(max_attempts=2)
    for drains in range(1, 4):
        job = await claimed(services, lane)
        async with services.db.transaction() as tx:
            after = await rows.requeue(tx, job)
        assert after is not None
        assert (after.drains, after.errors, after.crashes, after.error) == (drains, 0, 0, None)
    job = await claimed(services, lane)
    async with services.db.transaction() as tx:
        after = await rows.requeue(tx, job, error={"code": "x"})
    assert after is not None
    assert (after.drains, after.errors) == (3, 1)


async def test_the_only_worker_takes_over_without_waiting_for_leases(
    services: Services, submit: Submit, lane: str
) -> None:
    job = await submit()
    await claimed(services, lane)
    await jobs.take_over(services)
    assert (await now(services, job)).state is JobState.QUEUED


# ── cancel ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_waiting_job_is_cancelled_at_once_and_twice_is_fine(
    services: Services, owner: UUID, submit: Submit, lane: str
) -> None:
    job = await submit()
    for _ in range(2):
        assert (await jobs.cancel(services, owner, job.id)).job.state is JobState.CANCELLED
    assert (await told(services, owner)).count("job.cancelled") == 1
    assert await claim(services, lane) is None


async def test_a_running_job_learns_of_it_with_its_lease(
    services: Services, owner: UUID, submit: Submit, lane: str
) -> None:
    await submit()
    job = await claimed(services, lane)
    for _ in range(2):
        after = (await jobs.cancel(services, owner, job.id)).job
        assert (after.state, after.cancel_requested) == (JobState.RUNNING, True)
    async with services.db.statements() as db:
        assert await rows.renew(db, [(job.id, 1)], LEASE) == {(job.id, 1): True}


async def test_a_job_that_is_to_be_cancelled_never_goes_back_to_its_queue(
    services: Services, owner: UUID, submit: Submit, lane: str
) -> None:
    await submit()
    job = await claimed(services, lane)
    await jobs.cancel(services, owner, job.id)
    async with services.db.transaction() as tx:
        assert await rows.requeue(tx, job) is None
        assert await rows.requeue(tx, job, error={"code": "x"}) is None
        assert await rows.finish(tx, job, JobState.CANCELLED) is not None


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.TIMED_OUT])
async def test_what_has_ended_cannot_be_cancelled(
    services: Services, owner: UUID, submit: Submit, lane: str, state: JobState
) -> None:
    await submit()
    job = await claimed(services, lane)
    async with services.db.transaction() as tx:
        await rows.finish(tx, job, state)
    with pytest.raises(JobNotCancellable, match=state.value):
        await jobs.cancel(services, owner, job.id)


async def test_nobody_cancels_the_job_of_another(services: Services, submit: Submit) -> None:
    job = await submit()
    with pytest.raises(NotFound):
        await jobs.cancel(services, uuid4(), job.id)
    assert (await now(services, job)).state is JobState.QUEUED


# ── submit ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_refused_job_leaves_neither_row_nor_event(
    services: Services, owner: UUID, library: UUID, song: UUID
) -> None:
    before = await told(services, owner)
    midi = await a_song(services, owner, library, kind="midi")
    refused = [
        (JobRequest(song, model="nobody"), UnknownModel),
        (JobRequest(song, model="echo", params={"gain": 7}), ValidationFailed),
        (JobRequest(song, model="echo", format="exe"), ValidationFailed),
        (JobRequest(midi, model="echo"), InputUnsupported),
        (JobRequest(uuid4(), model="echo"), NotFound),
        (JobRequest(song, model="echo", library_id=uuid4()), NotFound),
    ]
    for request, error in refused:
        with pytest.raises(error):
            await jobs.submit(services, owner, request)
    assert await jobs.page(services, owner) == []
    assert await told(services, owner) == before


async def test_too_many_jobs_are_refused_until_some_have_ended(
    services: Services, owner: UUID, submit: Submit, lane: str
) -> None:
    several = [await submit() for _ in range(LIMIT)]
    with pytest.raises(TooManyJobs):
        await submit()
    await jobs.cancel(services, owner, several[0].id)
    await submit()


async def test_submitting_at_once_numbers_the_events_without_gaps(
    services: Services, owner: UUID, submit: Submit
) -> None:
    await asyncio.gather(*(submit() for _ in range(LIMIT)))
    assert (await told(services, owner)).count("job.queued") == LIMIT


async def test_an_event_vanishes_with_the_transaction_that_wrote_it(
    services: Services, owner: UUID, submit: Submit, lane: str
) -> None:
    await submit()
    job = await claimed(services, lane)
    before = await told(services, owner)
    with contextlib.suppress(Interrupted):
        async with services.db.transaction() as tx:
            done = await rows.finish(tx, job, JobState.SUCCEEDED)
            assert done is not None
            await event_rows.append(tx, jobs.job_event("succeeded", done))
            raise Interrupted
    assert (await now(services, job)).state is JobState.RUNNING
    await submit()
    assert await told(services, owner) == [*before, "job.queued"]


# ── the same job again ────────────────────────────────────────────────────────────────────────────────


Again = Callable[..., Coroutine[Any, Any, JobView]]


@pytest.fixture
def again(services: Services, owner: UUID, song: UUID) -> Again:
    async def again(**more: Any) -> JobView:
        return await jobs.submit(services, owner, JobRequest(song, **{"model": "echo", **more}))

    return again


async def end(services: Services, job: Job, state: JobState, **result: Any) -> Job:
    """The job as a worker leaves it."""
    async with services.db.transaction() as tx:
        attempt = await tx.raw.fetchval(
            "update jobs set state = 'running', attempt = attempt + 1 where id = $1 returning attempt", job.id
        )
        ended = await rows.finish(tx, replace(job, attempt=attempt), state, result=result)
    assert ended is not None
    return ended


async def test_fifty_clicks_at_once_are_one_job(services: Services, owner: UUID, again: Again) -> None:
    views = await asyncio.gather(*(again() for _ in range(50)))
    assert len({view.job.id for view in views}) == 1
    assert [view.existing for view in views].count(False) == 1
    assert await told(services, owner) == ["library.created", "job.queued"]


async def test_the_same_job_is_found_while_it_waits_and_while_it_runs(
    services: Services, owner: UUID, again: Again
) -> None:
    first = (await again()).job
    async with services.db.statements() as db:
        await db.raw.execute("update jobs set state = 'running' where id = $1", first.id)
    running = await again()
    assert (running.job.id, running.job.state, running.existing) == (first.id, JobState.RUNNING, True)
    await jobs.cancel(services, owner, first.id)
    assert not (await again()).existing, "it is being stopped"


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT])
async def test_a_job_that_ended_badly_is_run_again(services: Services, again: Again, state: JobState) -> None:
    first = (await again()).job
    await end(services, first, state, outputs=0)
    view = await again()
    assert (view.job.id != first.id, view.existing) == (True, False)


async def test_what_was_made_is_found_until_one_of_it_is_gone(
    services: Services, owner: UUID, library: UUID, again: Again
) -> None:
    first = (await again()).job
    stems = [await a_song(services, owner, library, job_id=first.id) for _ in range(2)]
    await end(services, first, JobState.SUCCEEDED, outputs=2)
    view = await again()
    assert (view.job.id, view.existing, view.job.state) == (first.id, True, JobState.SUCCEEDED)
    assert {asset.id for asset in view.outputs} == set(stems)
    await assets.delete(services, owner, stems[0])
    assert not (await again()).existing


async def test_what_makes_no_difference_makes_no_other_job_and_what_does_does(
    services: Services, owner: UUID, library: UUID, again: Again
) -> None:
    first = (await again()).job.id
    for same in ({"params": {"gain": 1.0}}, {"operation": "echo"}, {"priority": 10}, {"timeout_s": 9.0},
                 {"metadata": {"click": 2}}, {"library_id": library}):  # fmt: skip
        assert (await again(**same)).job.id == first, same
    elsewhere = (await libraries.create(services, owner, name="Elsewhere")).id
    for other in ({"params": {"gain": 0.5}}, {"format": "flac"}, {"library_id": elsewhere}):
        assert not (await again(**other)).existing, other


async def test_the_same_bytes_as_another_asset_are_another_job(
    services: Services, owner: UUID, library: UUID, again: Again
) -> None:
    twins = [await a_song(services, owner, library, "twins") for _ in range(2)]
    views = [await jobs.submit(services, owner, JobRequest(twin, model="echo")) for twin in twins]
    assert [view.existing for view in views] == [False, False], "each has its own children"
    async with services.db.statements() as db:
        recipes = await db.raw.fetch("select recipe from jobs where asset_id = any($1)", twins)
    assert len({row["recipe"] for row in recipes}) == 1


async def test_whoever_asks_may_have_it_run_again_or_refused(again: Again) -> None:
    first = (await again(on_existing=OnExisting.FAIL)).job
    with pytest.raises(AlreadyExists, match=str(first.id)):
        await again(on_existing=OnExisting.FAIL)
    assert (await again(on_existing=OnExisting.RERUN)).job.id != first.id


async def test_the_same_job_counts_once_toward_the_limit(services: Services, again: Again) -> None:
    for gain in range(LIMIT):
        await again(params={"gain": gain / LIMIT})
    with pytest.raises(TooManyJobs):
        await again(params={"gain": 0.99})
    assert (await again(params={"gain": 0.0})).existing


async def test_no_crowd_of_submissions_gets_past_the_limit(again: Again) -> None:
    many = [again(params={"gain": n / 100}) for n in range(4 * LIMIT)]
    results = await asyncio.gather(*many, return_exceptions=True)
    assert sum(isinstance(each, JobView) for each in results) == LIMIT
    assert all(isinstance(each, JobView | TooManyJobs) for each in results)


# ── quotas and limits ─────────────────────────────────────────────────────────────────────────────────


def limited(services: Services, **limits: int) -> Services:
    return replace(services, settings=services.settings.with_tables(limits=limits))


async def test_what_does_not_fit_into_the_quota_is_refused_and_leaves_nothing(
    services: Services, owner: UUID, upload
) -> None:
    small = limited(services, storage_bytes_per_owner=10)
    first = await upload(b"8 bytes!", into=small)
    await assets.sweep(services)
    before = await all_keys(services.objects)
    with pytest.raises(QuotaExceeded):
        await upload(b"3 b", into=small)
    await assets.sweep(services)
    assert await all_keys(services.objects) == before
    await upload(b"2b", into=small)
    await upload(b"8 bytes!", into=small)  # there already
    await assets.delete(services, owner, first.id)
    with pytest.raises(QuotaExceeded):
        await upload(b"3 b", into=small)


async def test_of_two_uploads_that_fit_alone_one_is_refused(services: Services, upload) -> None:
    small = limited(services, storage_bytes_per_owner=10)
    both = [upload(content, into=small) for content in (b"six  1", b"six  2")]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(each).__name__ for each in results) == ["Asset", "QuotaExceeded"]


async def test_with_the_quota_used_up_no_job_is_taken_and_what_was_made_is_still_found(
    services: Services, owner: UUID, song: UUID
) -> None:
    full = limited(services, storage_bytes_per_owner=1)
    with pytest.raises(QuotaExceeded):
        await jobs.submit(full, owner, JobRequest(song, model="echo"))
    made = await jobs.submit(services, owner, JobRequest(song, model="echo"))
    assert (await jobs.submit(full, owner, JobRequest(song, model="echo"))).job.id == made.job.id


async def test_a_full_queue_takes_nobody_s_jobs(
    services: Services, owner: UUID, song: UUID, people: list[Submit]
) -> None:
    async with services.db.statements() as db:
        waiting = await rows.count_waiting(db, 100_000)
        assert await rows.count_waiting(db, 3) == min(waiting, 3)
    tight = limited(services, jobs_waiting=waiting + 1)
    await people[0]()
    with pytest.raises(TooManyJobs, match="queue is full"):
        await jobs.submit(tight, owner, JobRequest(song, model="echo"))


async def test_the_queue_tells_of_every_lane_and_of_one_s_own_place(
    services: Services, owner: UUID, submit: Submit, lane: str, people: list[Submit]
) -> None:
    theirs = [await people[0]() for _ in range(3)]
    mine = [await submit(), await submit(priority=10)]
    await people[1](priority=10)
    (found,) = [each for each in await jobs.queue(services, owner) if each.model == lane]
    assert (found.depth, found.running, found.my_depth, found.my_running) == (6, 0, 2, 0)
    assert (found.my_next, found.my_position) == (mine[1].id, 1)
    assert found.oldest_wait_s > 0
    for _ in range(6):
        await claimed(services, lane)
    (found,) = [each for each in await jobs.queue(services, owner) if each.model == lane]
    assert (found.depth, found.running, found.my_running, found.oldest_wait_s) == (0, 6, 2, None)
    assert (found.my_next, found.my_position) == (None, None)
    async with services.db.transaction() as tx:
        for job in (*theirs, *mine):
            await rows.finish(tx, replace(job, attempt=1), JobState.SUCCEEDED)


# ── assets and libraries in use ───────────────────────────────────────────────────────────────────────


async def test_what_a_job_reads_cannot_be_deleted(
    services: Services, owner: UUID, library: UUID, submit: Submit, song: UUID
) -> None:
    job = await submit()
    with pytest.raises(AssetInUse):
        await assets.delete(services, owner, song)
    with pytest.raises(AssetInUse):
        await libraries.delete(services, owner, library)
    await jobs.cancel(services, owner, job.id)
    await assets.delete(services, owner, song)
    assert (await jobs.get(services, owner, job.id)).job.asset_id is None


async def test_a_library_that_a_job_will_write_into_cannot_be_deleted(
    services: Services, owner: UUID, submit: Submit
) -> None:
    target = (await libraries.create(services, owner, name="Target")).id
    job = await submit(library_id=target)
    with pytest.raises(AssetInUse):
        await libraries.delete(services, owner, target)
    await jobs.cancel(services, owner, job.id)
    await libraries.delete(services, owner, target)


async def test_a_library_that_goes_while_a_job_is_submitted_is_not_found(
    services: Services, owner: UUID, submit: Submit
) -> None:
    target = (await libraries.create(services, owner, name="Target")).id
    async with services.db.transaction() as tx:
        await tx.raw.execute("delete from libraries where id = $1", target)
        submitting = asyncio.create_task(submit(library_id=target))
        await waiting_for_a_lock(services)
    with pytest.raises(NotFound):
        await submitting


async def waiting_for_a_lock(services: Services) -> None:
    """Returns once some statement waits for another transaction."""
    async with asyncio.timeout(30), services.db.statements() as db:
        while not await db.raw.fetchval("select exists (select from pg_locks where not granted)"):
            pass


async def test_deleting_an_asset_spares_bytes_that_are_just_being_uploaded_again(
    services: Services, owner: UUID, library: UUID
) -> None:
    old = await a_song(services, owner, library, "the same")
    new = NewAsset(new_id(), library, "audio", "track", "again", audio={})
    async with services.db.transaction() as tx:
        await asset_rows.insert(
            tx, owner, new, Blob(new_id(), "the same", 1, assets.object_key(), "audio/wav")
        )
        deleting = asyncio.create_task(assets.delete(services, owner, old))
        await waiting_for_a_lock(services)
    await deleting
    kept = await assets.get(services, owner, new.id)
    assert kept.blob.sha256 == "the same"
    assert await pending(services, [kept.blob.key]) == {}


# ── bytes ─────────────────────────────────────────────────────────────────────────────────────────────


async def pending(services: Services, keys: list[str]) -> dict[str, bool]:
    """The pending ones among the keys, and whether the sweeper may take them now."""
    async with services.db.statements() as db:
        found = await db.raw.fetch(
            "select key, delete_after <= now() as due from pending_objects where key = any($1)", keys
        )
    return {row["key"]: row["due"] for row in found}


async def all_keys(objects: ObjectStore) -> set[str]:
    return {stat.key async for stat in objects.list("blobs/")}


@pytest.fixture
def upload(services: Services, owner: UUID, library: UUID, tmp_path):
    async def upload(content: bytes = b"a song", into: Services = services) -> Any:
        path = tmp_path / "input"
        path.write_bytes(content)
        new = NewAsset(new_id(), library, "audio", "track", "song", audio={})
        return await assets.store(into, owner, new, path, f"sha-{content!r}", len(content), "audio/wav")

    return upload


async def test_bytes_of_a_deleted_asset_are_swept(services: Services, owner: UUID, upload) -> None:
    asset = await upload()
    assert asset.blob.key in await all_keys(services.objects)
    await assets.sweep(services)
    assert asset.blob.key in await all_keys(services.objects), "somebody owns it"
    await assets.delete(services, owner, asset.id)
    await assets.sweep(services)
    assert asset.blob.key not in await all_keys(services.objects)
    assert await pending(services, [asset.blob.key]) == {}


async def test_the_same_bytes_twice_are_kept_once(services: Services, owner: UUID, upload) -> None:
    first, second = await upload(b"twice"), await upload(b"twice")
    assert first.blob.key == second.blob.key
    await assets.sweep(services)
    await assets.delete(services, owner, first.id)
    await assets.sweep(services)
    assert b"".join([chunk async for chunk in assets.content(services, second)]) == b"twice"


class Broken:
    """A store that takes bytes and then says it did not."""

    def __init__(self, inner: ObjectStore, error: Exception) -> None:
        self._inner = inner
        self._error = error

    async def put(self, key: str, chunks: Any, **more: Any) -> int:
        await self._inner.put(key, chunks, **more)
        raise self._error


@pytest.mark.parametrize("error", [StorageUnavailable("away"), StorageFull("full"), OSError("odd")])
async def test_an_upload_that_fails_leaves_nothing(services: Services, upload, error: Exception) -> None:
    await assets.sweep(services)
    before = await all_keys(services.objects)
    broken: Any = Broken(services.objects, error)
    with pytest.raises(type(error)):
        await upload(b"fails", into=replace(services, objects=broken))
    left = list(await all_keys(services.objects) - before)
    assert await pending(services, left) == dict.fromkeys(left, True)
    await assets.sweep(services)
    assert await all_keys(services.objects) == before


async def test_an_upload_into_a_library_that_is_gone_leaves_nothing(
    services: Services, owner: UUID, library: UUID, upload
) -> None:
    await assets.sweep(services)
    before = await all_keys(services.objects)
    await libraries.delete(services, owner, library)
    with pytest.raises(NotFound):
        await upload()
    await assets.sweep(services)
    assert await all_keys(services.objects) == before


# ── the database itself ───────────────────────────────────────────────────────────────────────────────


async def test_a_deadlock_is_passed_on_as_an_outage_that_may_pass(services: Services, owner: UUID) -> None:
    keys = [f"blobs/{uuid4()}" for _ in range(2)]
    async with services.db.statements() as db:
        for key in keys:
            await asset_rows.add_pending(db, key)
    reached = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> None:
        async with services.db.transaction() as tx:
            await asset_rows.expire_pending(tx, [first])
            await reached.wait()
            await asset_rows.expire_pending(tx, [second])

    results = await asyncio.gather(lock(*keys), lock(*reversed(keys)), return_exceptions=True)
    assert {type(each) for each in results} == {DatabaseUnavailable, type(None)}


async def test_a_transaction_that_nobody_goes_on_with_holds_up_others_only_for_a_moment(
    settings: Settings, services: Services, owner: UUID
) -> None:
    url = settings.database.url.get_secret_value()
    async with open_database(url, size=1, timeout_s=1.0) as frozen:
        with pytest.raises(DatabaseUnavailable):  # noqa: PT012 - it hears of it at its end
            async with frozen.transaction() as tx:
                await event_rows.append(tx, Event("test", {}, owner))
                async with services.db.transaction() as other:  # the lock of this one's owner is waited for
                    assert await event_rows.append(other, Event("test", {}, owner)) == 1


async def test_a_cancelled_transaction_leaves_its_connection_clean(services: Services) -> None:
    key = f"blobs/{uuid4()}"

    async def begin() -> None:
        async with services.db.transaction() as tx:
            await asset_rows.add_pending(tx, key)
            await tx.raw.execute("select pg_sleep(30)")

    for _ in range(2 * services.settings.database.pool):
        task = asyncio.create_task(begin())
        await asyncio.wait([task], timeout=0.02)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert await pending(services, [key]) == {}


async def test_a_stem_that_the_weights_do_not_have_is_refused_before_anything_is_queued(
    services: Services, owner: UUID, song: UUID
) -> None:
    request = JobRequest(song, model="demucs/htdemucs", params={"stems": ["guitar"]})
    with pytest.raises(ValidationFailed, match="guitar"):
        await jobs.submit(services, owner, request)
    assert await jobs.page(services, owner) == []
