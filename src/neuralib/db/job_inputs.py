"""What jobs read: their inputs, in order."""

from collections.abc import Sequence
from uuid import UUID

from neuralib.entities import Job, JobInput

from . import Connection


async def insert(tx: Connection, job: Job, inputs: Sequence[JobInput]) -> None:
    ids, names = [each.asset_id for each in inputs], [each.name for each in inputs]
    revisions = [each.revision for each in inputs]
    await tx.run("insert_job_inputs", job.id, job.owner_id, ids, names, revisions)


async def of_jobs(tx: Connection, owner: UUID, jobs: Sequence[UUID]) -> dict[UUID, list[JobInput]]:
    """By job, the inputs that are still there."""
    inputs: dict[UUID, list[JobInput]] = {job: [] for job in jobs}
    for row in await tx.all("list_job_inputs", owner, jobs):
        inputs[row["job_id"]].append(JobInput(row["asset_id"], row["name"], row["revision"]))
    return inputs


async def with_digests(
    tx: Connection, owner: UUID, jobs: Sequence[UUID]
) -> dict[UUID, list[tuple[str | None, UUID | None, str | None]]]:
    """By job: (name, asset, its SHA-256) of each input, also of those that are gone."""
    inputs: dict[UUID, list[tuple[str | None, UUID | None, str | None]]] = {job: [] for job in jobs}
    for row in await tx.all("export_inputs", owner, jobs):
        inputs[row["job_id"]].append((row["name"], row["asset_id"], row["sha256"]))
    return inputs
