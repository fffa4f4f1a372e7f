"""An order: one job, understood and ready to be written. Whoever makes jobs places orders: requests and runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from . import quotas
from .config import Limits
from .db import Connection, job_inputs
from .db import events as event_rows
from .db import jobs as rows
from .entities import Asset, Job, JobInput, new_id
from .errors import AssetEvicted, TooManyJobs
from .pipeline import job_event

REBUILDS = "rebuilds"
"""In the output of a job that makes an asset again: which one."""


@dataclass(frozen=True, slots=True)
class Order:
    """Everything that a job's row needs. `recipe` says which other jobs would make the same things; None: no
    request is answered with this one.
    """

    owner: UUID
    operation: str
    model: str
    checkpoint: str | None
    params: Mapping[str, Any]
    output: Mapping[str, Any]
    asset: UUID
    library: UUID
    recipe: str | None
    priority: int
    max_attempts: int
    timeout_s: float
    metadata: Mapping[str, Any] = field(default_factory=dict)
    id: UUID | None = None
    retry_of: UUID | None = None
    inputs: Sequence[JobInput] = ()
    """All of them, `asset` first, when there are several or the only one has a name."""


async def require_place(tx: Connection, limits: Limits, owner: UUID, jobs: int = 1) -> None:
    """Whether so many jobs more may wait; the owner is locked. Raises TooManyJobs, QuotaExceeded."""
    if await rows.count_active(tx, owner) + jobs > limits.jobs_per_owner:
        raise TooManyJobs(
            f"{limits.jobs_per_owner} of your jobs may wait or run; {jobs} more would be too many"
        )
    if await rows.count_waiting(tx, limits.jobs_waiting) >= limits.jobs_waiting:
        raise TooManyJobs(f"the queue is full: {limits.jobs_waiting} jobs are waiting")
    await quotas.require_room(tx, limits, owner)


def require_bytes(assets: Sequence[Asset]) -> None:
    """Raises AssetEvicted for what a job could not read."""
    for asset in assets:
        if asset.blob.evicted:
            raise AssetEvicted(f"the bytes of asset {asset.id} were let go")


async def find_same(tx: Connection, order: Order) -> Job | None:
    """The job that makes or has made the same things in the same place."""
    if order.recipe is None:
        return None
    return await rows.find_same(tx, order.owner, order.recipe, order.asset, order.library)


async def place(tx: Connection, order: Order) -> Job:
    """Write the job and its event; ring the bell of its model once that is committed."""
    job = await rows.insert(
        tx,
        id=order.id or new_id(),
        owner=order.owner,
        operation=order.operation,
        model=order.model,
        checkpoint=order.checkpoint,
        params=order.params,
        output=order.output,
        asset=order.asset,
        library=order.library,
        priority=order.priority,
        max_attempts=order.max_attempts,
        timeout_s=order.timeout_s,
        metadata=order.metadata,
        recipe=order.recipe,
        retry_of=order.retry_of,
    )
    await job_inputs.insert(tx, job, order.inputs or [JobInput(order.asset)])
    await event_rows.append(tx, job_event("queued", job))
    return job
