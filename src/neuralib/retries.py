"""Use case of retries: ask again for a job that has ended badly."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from . import jobs, pulls
from .db import assets as asset_rows
from .db import jobs as job_rows
from .entities import JobInput, JobState
from .errors import JobNotRetryable, NotFound, SourceDeleted
from .jobs import JobRequest, JobView
from .orders import REBUILDS
from .pipeline import TERMINAL
from .services import Services


async def retry(
    services: Services,
    owner: UUID,
    job: UUID,
    params: Mapping[str, Any],
    *,
    id: UUID | None = None,  # noqa: A002 - the new job's
) -> JobView:
    """Ask again for a job that has ended badly, with `params` over those that it had. Raises NotFound; JobNotRetryable
    when it did not; SourceDeleted when an input is gone; and what `submit` raises.
    """
    async with services.db.statements() as db:
        before = await job_rows.get(db, owner, job)
        if before.state not in TERMINAL - {JobState.SUCCEEDED}:
            raise JobNotRetryable(f"job {job} is {before.state.value}")
        if before.operation == pulls.OPERATION:
            raise JobNotRetryable("ask for the weights to be pulled again")
        if REBUILDS in before.output:
            raise JobNotRetryable("ask for the asset to be rebuilt again")
        try:
            inputs = [JobInput(asset.id, name) for name, asset in await asset_rows.read_by(db, before)]
        except NotFound as error:
            raise SourceDeleted(f"job {job} read what is not there any more") from error
    request = JobRequest(
        inputs[0].asset_id,
        inputs=inputs if len(inputs) > 1 or inputs[0].name else (),
        model=f"{before.model}/{before.checkpoint}" if before.checkpoint else before.model,
        params={**before.params, **params},
        format=before.output["format"],
        library_id=before.library_id,
        priority=before.priority,
        timeout_s=before.timeout_s,
        max_attempts=before.max_attempts,
        metadata=before.metadata,
        retry_of=before.id,
        id=id,
    )
    return await jobs.submit(services, owner, request)
