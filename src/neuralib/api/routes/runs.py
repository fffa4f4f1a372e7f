"""Pipelines, and their runs."""

from neuralib import errors
from neuralib.api import runs
from neuralib.api.schemas.runs import NewRun, Pipeline, PipelineList, Run, RunPage, RunsQuery
from neuralib.entities import Scope

from .route import V1, Route, json_of

ROUTES: tuple[Route, ...] = (
    Route(
        "list_pipelines",
        "GET",
        f"{V1}/pipelines",
        runs.list_pipelines,
        "The named lists of jobs that can be run over a track.",
        {200: json_of(PipelineList)},
        scope=Scope.READ,
    ),
    Route(
        "get_pipeline",
        "GET",
        f"{V1}/pipelines/{{slug}}",
        runs.get_pipeline,
        "One pipeline.",
        {200: json_of(Pipeline)},
        scope=Scope.READ,
    ),
    Route(
        "create_run",
        "POST",
        f"{V1}/pipelines/{{slug}}/runs",
        runs.create_run,
        "Run a pipeline over a track: its jobs follow each other by themselves.",
        {
            202: json_of(Run, "Accepted: every step will end in results or in an error.", "Location"),
            200: json_of(Run, "Everything had been done before: it is over.", "Location"),
        },
        body=NewRun,
        problems=(
            errors.NotFound,
            errors.UnknownModel,
            errors.UnknownOperation,
            errors.InputUnsupported,
            errors.AssetEvicted,
            errors.TooManyJobs,
            errors.QuotaExceeded,
        ),
        scope=Scope.JOBS,
    ),
    Route(
        "list_runs",
        "GET",
        f"{V1}/runs",
        runs.list_runs,
        "Your runs, newest first, without what they made.",
        {200: json_of(RunPage, "A page.", "Link")},
        query=RunsQuery,
        problems=(errors.InvalidCursor,),
        scope=Scope.READ,
    ),
    Route(
        "get_run",
        "GET",
        f"{V1}/runs/{{run}}",
        runs.get_run,
        "One run: its steps, their jobs, and how far they are.",
        {200: json_of(Run)},
        scope=Scope.READ,
    ),
    Route(
        "cancel_run",
        "POST",
        f"{V1}/runs/{{run}}/cancel",
        runs.cancel_run,
        "Cancel a run: what waits at once, what runs within one window; jobs that others want too go on.",
        {200: json_of(Run, "It is cancelled."), 202: json_of(Run, "It is being stopped.")},
        problems=(errors.RunNotCancellable,),
        scope=Scope.JOBS,
    ),
)
