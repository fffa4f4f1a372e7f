"""Runs and their parts. Whoever changes a run holds the owner's lock."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

from neuralib.entities import Job, JobState, Part, Run, RunState
from neuralib.errors import NotFound

from . import Connection, Row

_COLUMNS = [f.name for f in fields(Run)]


def _run(row: Row) -> Run:
    return Run(**{name: row[name] for name in _COLUMNS} | {"state": RunState(row["state"])})


def _part(row: Row) -> Part:
    return Part(
        run_id=row["run_id"],
        step=row["step"],
        input_id=row["input_id"],
        job_id=row["job_id"],
        made=row["made"],
        fraction=row["fraction"],
        error=row["error"],
        state=JobState(row["state"]) if row["state"] else None,
        job_error=row["job_error"],
    )


async def insert(tx: Connection, run: Run) -> Run:
    """Its times are the database's."""
    row = await tx.one(
        "insert_run",
        run.id,
        run.owner_id,
        run.pipeline,
        run.steps,
        run.asset_id,
        run.output,
        run.priority,
        run.max_attempts,
        run.timeout_s,
        run.rerun,
        run.metadata,
        run.waiting,
    )
    return _run(row)


async def find(tx: Connection, owner: UUID, run: UUID) -> Run | None:
    row = await tx.one("get_run", owner, run)
    return _run(row) if row else None


async def get(tx: Connection, owner: UUID, run: UUID) -> Run:
    """Raises NotFound."""
    found = await find(tx, owner, run)
    if found is None:
        raise NotFound(f"there is no run {run}")
    return found


async def page(
    tx: Connection,
    owner: UUID,
    *,
    states: Sequence[str] | None,
    asset: UUID | None,
    before: UUID | None,
    limit: int,
) -> list[Run]:
    """Newest first."""
    return [_run(row) for row in await tx.all("list_runs", owner, states, asset, before, limit)]


async def of_job(tx: Connection, job: UUID) -> list[Run]:
    """The runs that wait for this job."""
    return [_run(row) for row in await tx.all("list_runs_of_job", job)]


async def parts(tx: Connection, runs: Sequence[UUID]) -> list[Part]:
    return [_part(row) for row in await tx.all("list_parts", runs)]


async def add_part(
    tx: Connection,
    run: Run,
    step: str,
    input_id: UUID | None,
    *,
    job: Job | None = None,
    made: bool = False,
    error: Mapping[str, Any] | None = None,
) -> None:
    await tx.run(
        "insert_part", run.id, run.owner_id, step, input_id, None if job is None else job.id, made, error
    )


async def save(tx: Connection, run: UUID, state: RunState, waiting: int) -> Run:
    return _run(await tx.one("save_run", run, state.value, waiting))


async def request_cancel(tx: Connection, run: UUID) -> None:
    """Nothing of it begins any more."""
    await tx.run("request_cancel_run", run)


async def lock_jobs(tx: Connection, run: UUID) -> list[UUID]:
    """The jobs that wait or run for this run alone."""
    return [row["id"] for row in await tx.all("lock_run_jobs", run)]


async def let_go(tx: Connection, run: UUID, error: Mapping[str, Any]) -> None:
    """The run waits no longer for jobs that go on without it."""
    await tx.run("let_go", run, error)


async def speeds(tx: Connection, models: Sequence[str]) -> dict[str, float | None]:
    """By model, how many seconds it computes for a second of audio; None when it never did."""
    return {row["model"]: row["seconds"] for row in await tx.all("model_speeds", models)}
