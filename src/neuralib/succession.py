"""What follows when a job of a run has ended. It is written in the transaction that ends the job, so that a run goes on
whoever ends it, and whatever dies then. It needs no models: everything was looked up when the run began.
"""

from collections.abc import Sequence
from uuid import UUID

from . import orders, recipes
from .db import Connection
from .db import assets as asset_rows
from .db import events as event_rows
from .db import runs as rows
from .entities import Asset, AssetKind, Job, JobState, Part, Run, RunState
from .errors import InputUnsupported, NeuralibError, NotFound, SourceDeleted
from .orders import Order
from .pipelines import Due, RunStep, due, outcome, run_event


async def follow(tx: Connection, job: Job) -> set[str]:
    """Take the runs of an ended job one step on; the models whose bells are to be rung after the commit. Its event has
    been appended before: that locked the owner, so that of two jobs that end at once the second sees the first.
    """
    ringing: set[str] = set()
    for run in await rows.of_job(tx, job.id):
        ringing |= await proceed(tx, run)
    return ringing


async def proceed(tx: Connection, run: Run) -> set[str]:
    """Begin what is due, and end the run when nothing is left. What was done before it was asked for makes more due at
    once. The owner is locked. Gives what `follow` gives.
    """
    steps = [RunStep.of(each) for each in run.steps]
    ringing: set[str] = set()
    parts = await rows.parts(tx, [run.id])
    while dues := [] if run.cancel_requested else await _due(tx, run, steps, parts):  # a step is due once
        for each in dues:
            ringing |= await _begin(tx, run, each)
        parts = await rows.parts(tx, [run.id])
    state = outcome(steps, parts, cancelled=run.cancel_requested)
    after = await rows.save(tx, run.id, state, len({s.id for s in steps} - {part.step for part in parts}))
    if state is not RunState.RUNNING:
        await event_rows.append(tx, run_event(state.value, after, steps, parts))
    return ringing


async def _due(tx: Connection, run: Run, steps: Sequence[RunStep], parts: Sequence[Part]) -> list[Due]:
    done = [part.job_id for part in parts if part.job_id and part.state is JobState.SUCCEEDED]
    made: dict[UUID, list[Asset]] = {job: [] for job in done}
    for asset in await asset_rows.of_jobs(tx, run.owner_id, done):
        assert asset.job_id is not None
        made[asset.job_id].append(asset)
    return due(steps, parts, made, run.asset_id or run.id)  # the latter is no asset: it was deleted


async def _begin(tx: Connection, run: Run, due: Due) -> set[str]:
    """One part, with its job if there can be one."""
    if due.input_id is None or due.error is not None:
        await rows.add_part(tx, run, due.step.id, due.input_id, error=due.error)
        return set()
    try:
        order = await _order(tx, run, due.step, due.input_id)
    except NeuralibError as error:
        await rows.add_part(tx, run, due.step.id, due.input_id, error=error.as_dict())
        return set()
    same = None if run.rerun else await orders.find_same(tx, order)
    job = same or await orders.place(tx, order)
    await rows.add_part(tx, run, due.step.id, due.input_id, job=job, made=same is None)
    return set() if same else {job.model}


async def _order(tx: Connection, run: Run, step: RunStep, input_id: UUID) -> Order:
    """Raises SourceDeleted, InputUnsupported; they are the part's, not the run's."""
    try:
        (asset,) = await asset_rows.share(tx, run.owner_id, [input_id])
    except NotFound:
        raise SourceDeleted(f"asset {input_id} is not there any more") from None
    orders.require_bytes([asset])
    if asset.kind != AssetKind.AUDIO:
        raise InputUnsupported(f"asset {asset.id} is {asset.kind}, not audio")
    return Order(
        owner=run.owner_id,
        operation=step.operation,
        model=step.model,
        checkpoint=step.checkpoint,
        params=step.params,
        output=run.output,
        asset=asset.id,
        library=asset.library_id,
        recipe=recipes.digest(
            step.ingredients, sha256=asset.blob.sha256, params=step.params, output=run.output
        ),
        priority=run.priority,
        max_attempts=run.max_attempts,
        timeout_s=run.timeout_s,
        metadata=run.metadata,
    )
