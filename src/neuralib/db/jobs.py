"""Jobs: the claim, the lease, the fence. Which job runs is decided here and never by the queue."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any
from uuid import UUID

from neuralib.entities import Job, JobState
from neuralib.errors import NotFound

from . import Connection, Row

FAR = 1000
"""Nobody needs to know how many jobs more than this go before his."""

_COLUMNS = [f.name for f in fields(Job)]


def _job(row: Row) -> Job:
    return Job(**{name: row[name] for name in _COLUMNS} | {"state": JobState(row["state"])})


def one_of(row: Row | None) -> Job | None:
    """The job of a row."""
    return None if row is None else _job(row)


async def insert(
    tx: Connection,
    *,
    id: UUID,  # noqa: A002 - the column's name
    owner: UUID,
    operation: str,
    model: str,
    checkpoint: str | None,
    params: Mapping[str, Any],
    output: Mapping[str, Any],
    asset: UUID | None,
    library: UUID | None,
    priority: int,
    max_attempts: int,
    timeout_s: float,
    metadata: Mapping[str, Any],
    recipe: str | None,
    retry_of: UUID | None = None,
) -> Job:
    row = await tx.one(
        "insert_job",
        id,
        owner,
        operation,
        model,
        checkpoint,
        params,
        output,
        asset,
        library,
        priority,
        max_attempts,
        timeout_s,
        metadata,
        recipe,
        retry_of,
    )
    return _job(row)


async def find(tx: Connection, owner: UUID, job: UUID, *, lock: bool = False) -> Job | None:
    return one_of(await tx.one("lock_job" if lock else "get_job", owner, job))


async def get(tx: Connection, owner: UUID, job: UUID, *, lock: bool = False) -> Job:
    """Raises NotFound."""
    found = await find(tx, owner, job, lock=lock)
    if found is None:
        raise NotFound(f"there is no job {job}")
    return found


async def find_same(tx: Connection, owner: UUID, recipe: str, asset: UUID, library: UUID) -> Job | None:
    """The newest job of the recipe on this asset into this library that waits, runs, or whose outputs are there."""
    return one_of(await tx.one("find_same_job", owner, recipe, asset, library))


async def page(
    tx: Connection,
    owner: UUID,
    *,
    states: Sequence[str] | None = None,
    operation: str | None = None,
    asset: UUID | None = None,
    ids: Sequence[UUID] | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[Job]:
    """Newest first."""
    rows = await tx.all("list_jobs", owner, states, operation, asset, ids, before, limit)
    return [_job(row) for row in rows]


async def with_recipes(tx: Connection, owner: UUID, ids: Sequence[UUID]) -> list[tuple[Job, str | None]]:
    """Those jobs, each with its recipe."""
    return [(_job(row), row["recipe"]) for row in await tx.all("export_jobs", owner, ids)]


async def count_active(tx: Connection, owner: UUID) -> int:
    count: int = await tx.value("count_active_jobs", owner)
    return count


async def count_waiting(tx: Connection, stop: int) -> int:
    """Of all owners; counting stops at `stop`."""
    count: int = await tx.value("count_waiting_jobs", stop)
    return count


async def lanes(tx: Connection, owner: UUID) -> Sequence[Row]:
    """For each model that has any: depth, running, oldest_wait_s of everybody's jobs; my_depth, my_running."""
    return await tx.all("list_lanes", owner)


async def next_jobs(tx: Connection, owner: UUID) -> dict[str, UUID]:
    """By model, the owner's job that is claimed first."""
    return {row["model"]: row["id"] for row in await tx.all("list_next_jobs", owner)}


async def position(tx: Connection, job: UUID) -> int:
    """How many jobs of its model go before a queued one, as things stand and at most; owners take turns, so others
    may still come in between. Counting stops at FAR.
    """
    count: int = await tx.value("queue_position", job, FAR)
    return count


async def claim(
    tx: Connection, model: str, worker: str, lease: timedelta, served: Mapping[int, UUID] | None = None
) -> Job | None:
    """Take the next job of a model: highest priority first; then owners in turn, and of each the job that waited
    longest. `served` is whom this worker served last at each priority; the first in line without it.
    """
    last = served or {}
    return one_of(await tx.one("claim_job", model, worker, lease, list(last), list(last.values())))


async def renew(
    tx: Connection, held: Sequence[tuple[UUID, int]], lease: timedelta
) -> dict[tuple[UUID, int], bool]:
    """For each (job, attempt) that is still ours: whether somebody asked to cancel it."""
    rows = await tx.all("renew_leases", [j for j, _ in held], [a for _, a in held], lease)
    return {(row["id"], row["attempt"]): row["cancel_requested"] for row in rows}


async def save_progress(tx: Connection, job: UUID, attempt: int, progress: Mapping[str, Any]) -> bool:
    """False when the job is not ours any more."""
    return await tx.run("save_progress", job, attempt, progress) == 1


async def finish(
    tx: Connection,
    job: Job,
    state: JobState,
    *,
    result: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
    progress: Mapping[str, Any] | None = None,
) -> Job | None:
    """End a job. None when another worker holds it by now: then nothing of ours may become visible."""
    failed = 1 if state is JobState.FAILED else 0
    return one_of(
        await tx.one(
            "finish_job", job.id, job.attempt, state.value, result or {}, error, failed, progress or {}
        )
    )


async def requeue(
    tx: Connection,
    job: Job,
    *,
    error: Mapping[str, Any] | None = None,
    after: timedelta = timedelta(0),
) -> Job | None:
    """Give a job back: with an error it counts as an attempt, without one as a drain, which is free. None when another
    worker holds it by now, or when somebody asked to cancel it: then it must end.
    """
    failed = error is not None
    return one_of(
        await tx.one("requeue_job", job.id, job.attempt, error, int(failed), int(not failed), after)
    )


async def request_cancel(tx: Connection, job: UUID) -> Job | None:
    return one_of(await tx.one("request_cancel", job))


async def cancel_queued(tx: Connection, job: UUID, error: Mapping[str, Any]) -> Job | None:
    return one_of(await tx.one("cancel_queued", job, error))


async def lead_rescue(tx: Connection) -> bool:
    """Whether this transaction is the only one that rescues."""
    return bool(await tx.value("lead_rescue"))


async def lost(tx: Connection, limit: int) -> list[Job]:
    """Running jobs whose lease ran out, locked."""
    return [_job(row) for row in await tx.all("lost_jobs", limit)]


async def rescue(tx: Connection, job: UUID, state: JobState, error: Mapping[str, Any] | None) -> Job:
    return _job(await tx.one("rescue_job", job, state.value, error))


async def release_leases(tx: Connection) -> int:
    return await tx.run("release_leases")
