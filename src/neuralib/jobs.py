"""Use cases of jobs: submit, read, cancel; and what the rescuer does for the ones whose worker died."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from . import orders, recipes, references, succession
from .audio import AudioInfo
from .config import Settings
from .db import Connection, job_inputs
from .db import assets as asset_rows
from .db import events as event_rows
from .db import jobs as rows
from .db import libraries as library_rows
from .db import transcripts as transcript_rows
from .entities import Asset, Job, JobInput, JobState
from .errors import (
    AlreadyExists,
    Cancelled,
    FieldError,
    JobNotCancellable,
    NeuralibError,
    ValidationFailed,
    WorkerLost,
)
from .executors import Executor, InputInfo, Params, registry
from .executors.inputs import check_inputs
from .orders import Order
from .pipeline import TERMINAL, job_event, next_after_crash
from .services import Services

FORMATS = ("wav", "flac", "mp3", "ogg")


class OnExisting(StrEnum):
    """What becomes of a request whose job is there already: see `submit`."""

    REUSE = "reuse"
    RERUN = "rerun"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What somebody wants computed. `model` may name a checkpoint: demucs/htdemucs_ft."""

    asset_id: UUID
    operation: str | None = None
    model: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    format: str = "wav"
    """Of audio that the job makes; the sample format is the source's."""
    library_id: UUID | None = None
    priority: int = 0
    timeout_s: float = 3600.0
    max_attempts: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    on_existing: OnExisting = OnExisting.REUSE
    id: UUID | None = None
    """What the job will be called. A job that has the id already is the answer: it was made by this request."""
    inputs: Sequence[JobInput] = ()
    """All of them, `asset_id` first, when there are several or the only one has a name."""
    retry_of: UUID | None = None
    """The job that ended badly and is asked for again."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job, what it reads of what is still there, what it made, and how many go before it while it waits.
    `existing`: a submission found it there.
    """

    job: Job
    inputs: Sequence[JobInput] = ()
    outputs: Sequence[Asset] = ()
    position: int | None = None
    existing: bool = False


async def submit(services: Services, owner: UUID, request: JobRequest) -> JobView:
    """Accept a job: after this returns it will end in exactly one result or one typed error.

    The same job (one recipe, one first input, one library) that waits or runs is the answer itself, and so is one that
    succeeded while all that it made is there, unless `on_existing` says otherwise. One that ended badly never is.

    Raises NotFound, UnknownModel, UnknownOperation, ValidationFailed, RegionOutOfBounds, InputUnsupported, AlreadyExists,
    TooManyJobs, QuotaExceeded.
    """
    (view,) = await _submit(services, owner, [request])
    return view


async def submit_all(services: Services, owner: UUID, requests: Sequence[JobRequest]) -> list[JobView]:
    """Accept all of these jobs, or none: what is wrong is raised as `submit` would, with the number of the request."""
    return await _submit(services, owner, requests, numbered=True)


async def _submit(
    services: Services, owner: UUID, requests: Sequence[JobRequest], *, numbered: bool = False
) -> list[JobView]:
    async with services.db.transaction() as tx:
        works = []
        for number, request in enumerate(requests):
            with _numbered(number if numbered else None):
                works.append(await _understand(tx, services, owner, request))
        await library_rows.lock_owner(
            tx, owner
        )  # of two clicks at once, the second finds the first one's job
        found = []
        for number, (request, work) in enumerate(zip(requests, works, strict=True)):
            with _numbered(number if numbered else None):
                found.append(await _find_or_place(tx, services, request, work))
    placed = {job.model for job, existing in found if not existing}
    if placed:
        await asyncio.gather(services.bus.wake(owner), *(services.queues.ring(model) for model in placed))
    return [
        await _submitted(services, job, work, existing=existing)
        for (job, existing), work in zip(found, works, strict=True)
    ]


@contextmanager
def _numbered(number: int | None) -> Iterator[None]:
    try:
        yield
    except NeuralibError as error:
        if number is None:
            raise
        raise error.within(f"/jobs/{number}", f"job {number}") from error


async def _understand(tx: Connection, services: Services, owner: UUID, request: JobRequest) -> "_Work":
    executor, checkpoint = services.registry.choose(request.operation, request.model)
    params = registry.validate(executor, dict(request.params))
    require_format(request.format)
    inputs = request.inputs or [JobInput(request.asset_id)]
    assets = await asset_rows.share(tx, owner, [each.asset_id for each in inputs])
    params = await references.fill_in(tx, assets[0], executor, params)
    edited = await transcript_rows.digests(tx, owner, [each.id for each in assets])
    inputs = [
        replace(each, revision=edited[each.asset_id][0]) if each.asset_id in edited else each
        for each in inputs
    ]
    work = _Work(
        executor, checkpoint, params, inputs, assets, {id_: sha256 for id_, (_, sha256) in edited.items()}
    )
    check(executor, checkpoint, params, work.named)
    if request.library_id is not None:
        await library_rows.share(tx, owner, request.library_id)
    return work


async def _submitted(services: Services, job: Job, work: "_Work", *, existing: bool) -> JobView:
    if existing:
        return replace(await get(services, job.owner_id, job.id), existing=True)
    async with services.db.statements() as db:
        return JobView(job, work.inputs, (), await rows.position(db, job.id))


def require_format(name: str) -> None:
    """Raises ValidationFailed unless audio can be written so."""
    if name not in FORMATS:
        detail = f"must be one of {', '.join(FORMATS)}"
        raise ValidationFailed(f"format {detail}", fields=[FieldError("/outputs/format", "enum", detail)])


@dataclass(frozen=True, slots=True)
class _Work:
    """A request, understood."""

    executor: type[Executor[Any]]
    checkpoint: str | None
    params: Params
    inputs: Sequence[JobInput]
    assets: Sequence[Asset]
    edited: Mapping[UUID, str]
    """By asset the digest of the revision that is read in place of its bytes."""

    def digest(self, asset: Asset) -> str:
        """Of what is read."""
        return self.edited.get(asset.id, asset.blob.sha256)

    @property
    def named(self) -> list[tuple[str | None, Asset]]:
        return [(each.name, asset) for each, asset in zip(self.inputs, self.assets, strict=True)]


def check(
    executor: type[Executor[Any]],
    checkpoint: str | None,
    params: Params,
    given: Sequence[tuple[str | None, Asset]],
) -> None:
    """What a schema cannot say, such as a stem these weights do not have, the executor refuses. Each input comes with
    its name. Raises AssetEvicted too.
    """
    orders.require_bytes([asset for _, asset in given])
    infos = [
        InputInfo(asset.kind, asset.blob.media_type, name, info_of(asset) if asset.audio else None)
        for name, asset in given
    ]
    check_inputs(executor.name, executor.takes, infos)
    executor.check(infos, params)
    weights = registry.checkpoint(executor, checkpoint) if checkpoint else None
    executor.plan(info_of(given[0][1]), params, weights)


async def _find_or_place(
    tx: Connection, services: Services, request: JobRequest, work: _Work
) -> tuple[Job, bool]:
    """The job, and whether it was there before."""
    order = _order(services.settings, request, work)
    if request.id is not None and (made := await rows.find(tx, order.owner, request.id)):
        return made, False
    if request.on_existing is not OnExisting.RERUN:
        same = await orders.find_same(tx, order)
        if same is not None and request.on_existing is OnExisting.FAIL:
            raise AlreadyExists(f"job {same.id} is the same and {_standing(same)}")
        if same is not None:
            return same, True
    await orders.require_place(tx, services.settings.limits, order.owner)
    return await orders.place(tx, order), False


def _order(settings: Settings, request: JobRequest, work: _Work) -> Order:
    chosen = {"params": work.params.model_dump(mode="json"), "output": {"format": request.format}}
    model = recipes.ingredients(settings, work.executor, work.checkpoint)
    first, several = work.assets[0], bool(request.inputs)
    hashed = [(name, work.digest(asset)) for name, asset in work.named] if several else []
    return Order(
        owner=first.owner_id,
        operation=work.executor.operation,
        model=work.executor.name,
        checkpoint=work.checkpoint,
        **chosen,
        asset=first.id,
        library=request.library_id or first.library_id,
        recipe=recipes.digest(model, sha256=first.blob.sha256, inputs=hashed, **chosen),
        priority=request.priority,
        max_attempts=request.max_attempts or settings.worker.max_attempts,
        timeout_s=request.timeout_s,
        metadata=request.metadata,
        id=request.id,
        inputs=work.inputs if several else (),
        retry_of=request.retry_of,
    )


def _standing(job: Job) -> str:
    return "has succeeded" if job.state is JobState.SUCCEEDED else f"is {job.state.value}"


@dataclass(frozen=True, slots=True)
class Lane:
    """The queue of one model: everybody's jobs, and the asker's own."""

    model: str
    depth: int
    running: int
    oldest_wait_s: float | None
    my_depth: int
    my_running: int
    my_next: UUID | None
    my_position: int | None


async def queue(services: Services, owner: UUID) -> list[Lane]:
    """Of every model that has jobs waiting or running."""
    async with services.db.statements() as db:
        first = await rows.next_jobs(db, owner)
        places = {model: await rows.position(db, job) for model, job in first.items()}
        return [
            Lane(**dict(row), my_next=first.get(row["model"]), my_position=places.get(row["model"]))
            for row in await rows.lanes(db, owner)
        ]


async def get(services: Services, owner: UUID, job: UUID) -> JobView:
    """Raises NotFound."""
    async with services.db.statements() as db:
        found = await rows.get(db, owner, job)
        inputs = await job_inputs.of_jobs(db, owner, [job])
        outputs = await asset_rows.of_jobs(db, owner, [job])
        position = await rows.position(db, job) if found.state is JobState.QUEUED else None
    return JobView(found, inputs[job], outputs, position)


async def page(
    services: Services,
    owner: UUID,
    *,
    states: Sequence[str] | None = None,
    operation: str | None = None,
    asset: UUID | None = None,
    ids: Sequence[UUID] | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[JobView]:
    """Newest first."""
    async with services.db.statements() as db:
        found = await rows.page(
            db, owner, states=states, operation=operation, asset=asset, ids=ids, before=before, limit=limit
        )
        shown = [job.id for job in found]
        inputs = await job_inputs.of_jobs(db, owner, shown)
        made = await asset_rows.of_jobs(db, owner, shown)
    return [JobView(job, inputs[job.id], [a for a in made if a.job_id == job.id]) for job in found]


async def cancel(services: Services, owner: UUID, job: UUID) -> JobView:
    """A waiting job is cancelled at once; a running one within one window. Cancelling twice is fine. Raises
    NotFound; JobNotCancellable when it ended otherwise.
    """
    ringing: set[str] = set()
    async with services.db.transaction() as tx:
        found = await rows.get(tx, owner, job, lock=True)
        inputs = (await job_inputs.of_jobs(tx, owner, [job]))[job]
        if found.state in TERMINAL:
            if found.state is not JobState.CANCELLED:
                raise JobNotCancellable(f"job {job} has {found.state.value}")
            return JobView(found, inputs)
        cancelled = await rows.cancel_queued(tx, job, Cancelled().as_dict())
        if cancelled is not None:
            await event_rows.append(tx, job_event("cancelled", cancelled))
            ringing = await succession.follow(tx, cancelled)
        after = cancelled or await rows.request_cancel(tx, job)
    assert after is not None
    await asyncio.gather(
        services.queues.ring_cancel(job),
        *(services.queues.ring(model) for model in ringing),
        services.bus.wake(owner),
    )
    return JobView(after, inputs)


async def rescue(services: Services, limit: int = 100) -> int:
    """Take back what dead workers held. Any process may do this at any time; while one does, the others need not. How
    many.
    """
    owners, models = set(), set()
    async with services.db.transaction() as tx:
        if not await rows.lead_rescue(tx):
            return 0
        found = await rows.lost(tx, limit)
        for lost in sorted(found, key=lambda job: job.owner_id):  # two rescuers lock owners in the same order
            state = next_after_crash(lost)
            error = Cancelled() if state is JobState.CANCELLED else WorkerLost(f"worker {lost.worker} died")
            job = await rows.rescue(tx, lost.id, state, error.as_dict())
            kind = "retrying" if state is JobState.QUEUED else state.value
            await event_rows.append(tx, job_event(kind, job, error=error.as_dict()))
            owners.add(job.owner_id)
            models |= {job.model} if state is JobState.QUEUED else await succession.follow(tx, job)
    for model in models:
        await services.queues.ring(model)
    for owner in owners:
        await services.bus.wake(owner)
    return len(found)


async def take_over(services: Services) -> None:
    """For the one process that knows that no other worker lives: what was running when the last one died goes back
    to its queue now, not when its lease ends.
    """
    async with services.db.transaction() as tx:
        await rows.release_leases(tx)
    while await rescue(services):
        pass


def info_of(asset: Asset) -> AudioInfo:
    """What `Executor.plan` wants to know, from the asset's row."""
    audio = asset.audio or {}
    return AudioInfo(
        format=audio["format"],
        codec=audio["codec"],
        subtype=audio["subtype"],
        sample_rate=audio["sample_rate"],
        channels=audio["channels"],
        frames=audio["frames"],
    )
