"""Jobs and their queues."""

from collections.abc import Mapping

from neuralib import errors
from neuralib.api import jobs
from neuralib.api.schemas.jobs import (
    Job,
    JobBatch,
    JobPage,
    JobQuery,
    JobRetry,
    JobsAccepted,
    JobsQuery,
    NewJob,
    QueueState,
)
from neuralib.entities import Scope

from .route import V1, Answer, Route, json_of

SUBMITTED: Mapping[int, Answer] = {
    202: json_of(Job, "Accepted: it will end in one result or one error.", "Location"),
    200: json_of(
        Job, "The same job was there already, or it ended within the wait that was asked for.", "Location"
    ),
}
WAIT = {"Prefer": "wait=N: answer when the job has ended, or after N seconds (at most 60)."}
REFUSED = (
    errors.NotFound,
    errors.UnknownModel,
    errors.UnknownOperation,
    errors.InputUnsupported,
    errors.AssetEvicted,
    errors.RegionOutOfBounds,
    errors.AlreadyExists,
    errors.TooManyJobs,
    errors.QuotaExceeded,
)
"""Of whatever submits a job: its answers, its header, its problems."""

ROUTES: tuple[Route, ...] = (
    Route(
        "list_jobs",
        "GET",
        f"{V1}/jobs",
        jobs.list_jobs,
        "Your jobs, newest first.",
        {200: json_of(JobPage, "A page.", "Link")},
        query=JobsQuery,
        problems=(errors.InvalidCursor,),
        scope=Scope.READ,
    ),
    Route(
        "create_job",
        "POST",
        f"{V1}/jobs",
        jobs.create_job,
        "Run a model on an asset.",
        SUBMITTED,
        body=NewJob,
        headers=WAIT,
        problems=REFUSED,
        scope=Scope.JOBS,
    ),
    Route(
        "create_jobs",
        "POST",
        f"{V1}/jobs/batch",
        jobs.create_jobs,
        "Accept up to 200 jobs, all of them or none.",
        {202: json_of(JobsAccepted, "All are accepted; some may have been there already.")},
        body=JobBatch,
        problems=REFUSED,
        scope=Scope.JOBS,
    ),
    Route(
        "retry_job",
        "POST",
        f"{V1}/jobs/{{job}}/retry",
        jobs.retry_job,
        "Ask again for a job that failed, was cancelled or took too long, with other parameters if you like.",
        SUBMITTED,
        body=JobRetry,
        headers=WAIT,
        problems=(*REFUSED, errors.JobNotRetryable, errors.SourceDeleted),
        scope=Scope.JOBS,
    ),
    Route(
        "get_job",
        "GET",
        f"{V1}/jobs/{{job}}",
        jobs.get_job,
        "One job, with its progress.",
        {200: json_of(Job)},
        query=JobQuery,
        scope=Scope.READ,
    ),
    Route(
        "get_queue",
        "GET",
        f"{V1}/queue",
        jobs.get_queue,
        "What waits and runs, by model; and where you stand.",
        {200: json_of(QueueState)},
        scope=Scope.READ,
    ),
    Route(
        "cancel_job",
        "POST",
        f"{V1}/jobs/{{job}}/cancel",
        jobs.cancel_job,
        "Cancel a job: at once while it waits, within one window while it runs.",
        {200: json_of(Job, "It is cancelled."), 202: json_of(Job, "It is being stopped.")},
        problems=(errors.JobNotCancellable,),
        scope=Scope.JOBS,
    ),
)
