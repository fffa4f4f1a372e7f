"""Use cases of runs: start a pipeline on a track, look, cancel. What follows a job is in succession.py."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from . import orders, recipes, references, succession
from .db import Connection
from .db import assets as asset_rows
from .db import events as event_rows
from .db import jobs as job_rows
from .db import libraries as library_rows
from .db import runs as rows
from .entities import Asset, Part, Run, RunState, new_id
from .errors import (
    Cancelled,
    FieldError,
    NeuralibError,
    RunNotCancellable,
    ValidationFailed,
)
from .executors import registry
from .jobs import check, require_format
from .pipeline import job_event
from .pipelines import Pipeline, RunStep, Step, run_event
from .services import Services


@dataclass(frozen=True, slots=True)
class Override:
    """What a run changes of one step: another model, and these parameters over those of the pipeline."""

    model: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What somebody wants done to a track."""

    asset_id: UUID
    overrides: Mapping[str, Override] = field(default_factory=dict)
    format: str = "wav"
    priority: int = 0
    timeout_s: float = 3600.0
    """Of each job."""
    max_attempts: int | None = None
    rerun: bool = False
    """Do again what has been done."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    id: UUID | None = None
    """What the run will be called. One that has the id already is the answer: it was made by this request."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run, its steps and parts; and what their jobs made, when that was asked for."""

    run: Run
    steps: Sequence[RunStep]
    parts: Sequence[Part]
    outputs: Sequence[Asset] = ()


async def start(services: Services, owner: UUID, pipeline: Pipeline, request: RunRequest) -> RunView:
    """Accept a run: its first jobs wait when this returns, and each of the others as soon as what it takes is there.

    Its steps count as jobs from now on. Raises NotFound, UnknownModel, UnknownOperation, ValidationFailed,
    InputUnsupported, TooManyJobs, QuotaExceeded.
    """
    require_format(request.format)
    steps = look_up(services, pipeline, request.overrides)
    async with services.db.transaction() as tx:
        (track,) = await asset_rows.share(tx, owner, [request.asset_id])
        steps = [await _filled_in(tx, services, step, track) for step in steps]
        await library_rows.lock_owner(tx, owner)
        if request.id is not None and (made := await rows.find(tx, owner, request.id)):
            return await _view(tx, made)
        await orders.require_place(tx, services.settings.limits, owner, jobs=len(steps))
        run = _run(services, track, pipeline, await _weighed(tx, steps), request)
        started = await rows.insert(tx, run)
        await event_rows.append(tx, run_event("started", started, steps, ()))
        ringing = await succession.proceed(tx, started)
        view = await _view(tx, await rows.get(tx, owner, started.id))
    await _call(services, owner, ringing)
    return view


def look_up(services: Services, pipeline: Pipeline, overrides: Mapping[str, Override]) -> list[RunStep]:
    """The steps with their models, and parameters with their defaults. Raises UnknownOperation and UnknownModel for
    what is not installed, ValidationFailed for a wrong parameter or an override of no step.
    """
    known = {step.id for step in pipeline.steps}
    if strange := [name for name in overrides if name not in known]:
        detail = f"{pipeline.slug} has no such step; it has {', '.join(sorted(known))}"
        raise ValidationFailed(
            f"/overrides/{strange[0]}: {detail}",
            fields=[FieldError(f"/overrides/{name}", "unknown", detail) for name in strange],
        )
    return [_look_up(services, pipeline, step, overrides.get(step.id, Override())) for step in pipeline.steps]


def _look_up(services: Services, pipeline: Pipeline, step: Step, override: Override) -> RunStep:
    try:
        executor, checkpoint = services.registry.choose(step.operation, override.model or step.model)
        params = registry.validate(executor, {**step.params, **override.params})
    except NeuralibError as error:
        raise error.within(f"/overrides/{step.id}", f"step {step.id} of {pipeline.slug}") from error
    return RunStep(
        id=step.id,
        operation=executor.operation,
        takes=step.takes,
        on_failure=step.on_failure,
        model=executor.name,
        checkpoint=checkpoint,
        params=params.model_dump(mode="json"),
        ingredients=recipes.ingredients(services.settings, executor, checkpoint),
    )


async def _filled_in(tx: Connection, services: Services, step: RunStep, track: Asset) -> RunStep:
    """What the parameters leave to the library is looked up now, and what they cannot ask for refused: stems are as long
    and wide as their track.
    """
    executor = services.registry.get(step.model)
    try:
        params = registry.validate(executor, dict(step.params))
        params = await references.fill_in(tx, track, executor, params)
        check(executor, step.checkpoint, params, [(None, track)])
    except NeuralibError as error:
        raise error.within(f"/overrides/{step.id}", f"step {step.id}") from error
    return replace(step, params=params.model_dump(mode="json"))


async def _weighed(tx: Connection, steps: Sequence[RunStep]) -> list[RunStep]:
    """Steps weigh what their models take here for a second of audio, once for each stem they name; all the same while
    one of them has never been measured.
    """
    speeds = await rows.speeds(tx, [step.model for step in steps])
    weights = [(speeds[step.model] or 0.0) * len(step.takes.stems or ("track",)) for step in steps]
    return [
        replace(step, weight=weight if all(weights) else 1.0)
        for step, weight in zip(steps, weights, strict=True)
    ]


def _run(
    services: Services, track: Asset, pipeline: Pipeline, steps: Sequence[RunStep], request: RunRequest
) -> Run:
    return Run(
        id=request.id or new_id(),
        owner_id=track.owner_id,
        pipeline=pipeline.slug,
        steps=[step.as_dict() for step in steps],
        asset_id=track.id,
        output={"format": request.format},
        priority=request.priority,
        max_attempts=request.max_attempts or services.settings.worker.max_attempts,
        timeout_s=request.timeout_s,
        rerun=request.rerun,
        metadata=request.metadata,
        waiting=len(steps),
    )


async def get(services: Services, owner: UUID, run: UUID) -> RunView:
    """Raises NotFound."""
    async with services.db.statements() as db:
        return await _view(db, await rows.get(db, owner, run))


async def page(
    services: Services,
    owner: UUID,
    *,
    states: Sequence[str] | None = None,
    asset: UUID | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[RunView]:
    """Newest first, without what they made."""
    async with services.db.statements() as db:
        found = await rows.page(db, owner, states=states, asset=asset, before=before, limit=limit)
        parts = await rows.parts(db, [run.id for run in found])
    return [RunView(run, _steps(run), [p for p in parts if p.run_id == run.id]) for run in found]


async def cancel(services: Services, owner: UUID, run: UUID) -> RunView:
    """What waits is cancelled at once, what runs within one window; jobs that others want too go on without the run.
    Cancelling twice is fine. Raises NotFound; RunNotCancellable when it ended otherwise.
    """
    async with services.db.transaction() as tx:
        await library_rows.lock_owner(tx, owner)
        found = await rows.get(tx, owner, run)
        if found.state is RunState.CANCELLED:
            return await _view(tx, found)
        if found.state is not RunState.RUNNING:
            raise RunNotCancellable(f"run {run} has {found.state.value}")
        await rows.request_cancel(tx, run)
    # Nothing of it begins any more. Jobs are locked before their owner, as by everybody who ends one.
    async with services.db.transaction() as tx:
        mine = await rows.lock_jobs(tx, run)
        await library_rows.lock_owner(tx, owner)
        ringing = await _cancel_jobs(tx, mine)
        await rows.let_go(tx, run, Cancelled("the run was cancelled; the job goes on for others").as_dict())
        if (found := await rows.get(tx, owner, run)).state is RunState.RUNNING:
            ringing |= await succession.proceed(tx, found)
        view = await _view(tx, await rows.get(tx, owner, run))
    await asyncio.gather(*(services.queues.ring_cancel(job) for job in mine))
    await _call(services, owner, ringing)
    return view


async def _cancel_jobs(tx: Connection, jobs: Sequence[UUID]) -> set[str]:
    ringing: set[str] = set()
    for job in jobs:
        if (cancelled := await job_rows.cancel_queued(tx, job, Cancelled().as_dict())) is None:
            await job_rows.request_cancel(tx, job)
        else:
            await event_rows.append(tx, job_event("cancelled", cancelled))
            ringing |= await succession.follow(tx, cancelled)
    return ringing


async def _view(db: Connection, run: Run) -> RunView:
    parts = await rows.parts(db, [run.id])
    jobs = [part.job_id for part in parts if part.job_id]
    return RunView(run, _steps(run), parts, await asset_rows.of_jobs(db, run.owner_id, jobs))


def _steps(run: Run) -> list[RunStep]:
    return [RunStep.of(each) for each in run.steps]


async def _call(services: Services, owner: UUID, models: set[str]) -> None:
    await asyncio.gather(services.bus.wake(owner), *(services.queues.ring(model) for model in models))
