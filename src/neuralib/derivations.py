"""Use cases of derivations: what was made from what; bytes that go and are made again by their recipe."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from . import orders
from .db import Connection, job_inputs
from .db import assets as asset_rows
from .db import derivations as rows
from .db import events as event_rows
from .db import jobs as job_rows
from .db import libraries as library_rows
from .entities import Asset, Blob, Derivation, Facts, Job, JobInput, Lineage
from .errors import AssetInUse, CannotRebuild, Conflict, ExecutorFailed, NotFound, UnknownModel
from .executors import registry
from .orders import REBUILDS, Order
from .pipeline import asset_event, stamp
from .services import Services

DEPTH = 32
MOST = 500
"""How far a lineage reaches each way, and of how many assets it tells."""


async def lineage(services: Services, owner: UUID, asset: UUID, *, most: int = MOST) -> Lineage:
    """What it was made from and what was made from it, `most` assets each way. Raises NotFound."""
    async with services.db.transaction() as tx:
        await asset_rows.get(tx, owner, asset)
        return await rows.lineage(tx, owner, asset, depth=DEPTH, limit=most)


async def of(services: Services, asset: Asset) -> Derivation | None:
    """How an asset came about; None when nothing here made it. Raises NotFound when it is gone."""
    if asset.job_id is None:
        return None
    async with services.db.statements() as db:
        return await rows.derivation(db, asset)


async def evict(services: Services, owner: UUID, asset: UUID) -> Asset:
    """Let the bytes of an asset go; its row stays, and `rebuild` makes them again. Doing it twice is fine.

    Raises NotFound; CannotRebuild for what nothing could make again; AssetInUse while a job reads it; Conflict when
    other assets have the same bytes, for then nothing would be saved.
    """
    async with services.db.transaction() as tx:
        found = await rows.lock(tx, owner, asset)
        if found.blob.evicted:
            return found
        job, _ = await _recipe_of(tx, found)
        output_of(job, found)
        if await asset_rows.busy(tx, [asset]):
            raise AssetInUse(f"a job is reading asset {asset}")
        if others := await rows.count_other_users(tx, found):
            raise Conflict(f"{others} other assets have the same bytes, so that they would stay")
        await rows.evict(tx, found)
        after = await asset_rows.get(tx, owner, asset)
        await event_rows.append(tx, asset_event("updated", after))
    await services.bus.wake(owner)
    return after


async def rebuild(services: Services, owner: UUID, asset: UUID, *, id: UUID | None = None) -> Job:  # noqa: A002 - the job's
    """A job that makes the bytes of an evicted asset again, by the recipe that made them first: the same model, weights,
    parameters and inputs. One that waits or runs to do so already is the answer.

    Raises NotFound; Conflict when the bytes are there; CannotRebuild when an input was deleted, or the model is not
    installed any more; AssetEvicted when an input must be made again first; TooManyJobs, QuotaExceeded.
    """
    async with services.db.transaction() as tx:
        (found,) = await asset_rows.share(tx, owner, [asset])
        await library_rows.lock_owner(tx, owner)
        if id is not None and (made := await job_rows.find(tx, owner, id)):
            return made
        if not found.blob.evicted:
            raise Conflict(f"the bytes of asset {asset} are there")
        if (going := await rows.find_rebuild(tx, owner, asset)) is not None:
            return going
        job, inputs = await _recipe_of(tx, found)
        await asset_rows.share(tx, owner, [each.asset_id for each in inputs])
        await orders.require_place(tx, services.settings.limits, owner)
        again = await orders.place(tx, _order(services, job, inputs, found, id))
    await asyncio.gather(services.queues.ring(again.model), services.bus.wake(owner))
    return again


async def _recipe_of(tx: Connection, asset: Asset) -> tuple[Job, list[JobInput]]:
    if asset.job_id is None:
        raise CannotRebuild(f"asset {asset.id} was uploaded")
    job = await job_rows.get(tx, asset.owner_id, asset.job_id)
    try:
        given = await asset_rows.read_by(tx, job)
    except NotFound as error:
        raise CannotRebuild(f"asset {asset.id} was made from one that has been deleted") from error
    if any(each.trashed_at for _, each in given):
        raise CannotRebuild(f"asset {asset.id} was made from one that is in the trash")
    orders.require_bytes([each for _, each in given] if asset.blob.evicted else [])
    return job, (await job_inputs.of_jobs(tx, asset.owner_id, [job.id]))[job.id]


def _order(services: Services, job: Job, inputs: list[JobInput], asset: Asset, id_: UUID | None) -> Order:
    try:
        executor = services.registry.get(job.model)
    except UnknownModel as error:
        raise CannotRebuild(f"asset {asset.id} was made by {job.model}, which is not installed") from error
    ran = (job.result.get("weights") or {}).get("name")  # `auto` might take others by now
    checkpoint = ran if ran in {each.name for each in executor.checkpoints} else job.checkpoint
    if checkpoint is not None:
        registry.checkpoint(executor, checkpoint)
    return Order(
        owner=job.owner_id,
        operation=job.operation,
        model=job.model,
        checkpoint=checkpoint,
        params=job.params,
        output={**job.output, REBUILDS: str(asset.id)},
        asset=inputs[0].asset_id,
        inputs=inputs if len(inputs) > 1 or inputs[0].name else (),
        library=asset.library_id,
        recipe=None,  # it answers no other request: what it makes has its place already
        priority=job.priority,
        max_attempts=services.settings.worker.max_attempts,
        timeout_s=job.timeout_s,
        metadata=job.metadata,
        id=id_,
    )


def output_of(job: Job, asset: Asset) -> str:
    """What the job that made an asset called it among its outputs. Raises CannotRebuild when nobody noted that."""
    known = {str(asset.id), asset.facts.get("imported_from", {}).get("asset_id")}
    for name, made in job.result.get("made", {}).items():
        if made in known:
            return str(name)
    found = asset.stem or asset.facts.get("file")
    if found is None:
        raise CannotRebuild(f"nobody noted what job {job.id} called asset {asset.id}")
    return str(found)


async def restore(tx: Connection, job: Job, made: Mapping[str, tuple[Blob, Facts | None]]) -> list[Asset]:
    """Give the asset that `job` makes again its bytes, of all that was `made`; it, unless it was deleted meanwhile. The
    caller holds the job. Raises ExecutorFailed when the job did not make it this time.
    """
    asset = await asset_rows.find(tx, job.owner_id, UUID(job.output[REBUILDS]))
    kept: Blob | None = None
    outputs = []
    if asset is not None and asset.job_id is not None:
        name = output_of(await job_rows.get(tx, asset.owner_id, asset.job_id), asset)
        if name not in made:
            raise ExecutorFailed(f"{job.model} has made no {name} this time")
        kept, audio = made[name]
        outputs = [await rows.refill(tx, asset, kept, audio, {"rebuilt": _told(job, asset, kept)})]
        await event_rows.append(tx, asset_event("updated", outputs[0]))
    await asset_rows.expire_pending(tx, [blob.key for blob, _ in made.values() if blob is not kept])
    return outputs


def _told(job: Job, before: Asset, blob: Blob) -> dict[str, Any]:
    """What an asset says of how it was made again; `same`: to the last bit."""
    same = blob.sha256 == before.blob.sha256
    return {
        "job_id": str(job.id),
        "at": stamp(datetime.now(UTC)),
        "same": same,
        "sha256_before": before.blob.sha256,
    }
