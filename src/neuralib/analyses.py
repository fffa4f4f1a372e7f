"""Use cases of analyses: what one found becomes part of the asset it looked at; and every upload is looked at.

The file with all of it is an asset like others. The asset that was analysed carries the summary, and other jobs go by
the beats.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from uuid import UUID

import structlog
from pydantic import BaseModel, Field, ValidationError

from . import orders, recipes
from .db import Connection
from .db import analyses as rows
from .db import assets as asset_rows
from .db import events as event_rows
from .db import jobs as job_rows
from .db import libraries as library_rows
from .entities import Asset, AssetKind
from .errors import (
    AssetEvicted,
    Cancelled,
    ExecutorFailed,
    NotAnalysed,
    QuotaExceeded,
    TooManyJobs,
    UnknownOperation,
)
from .orders import Order
from .pipeline import PRIORITIES, asset_event, job_event
from .services import Services

OPERATION = "analyze"
SURE = 0.3
"""A key that is less sure is told, but nobody wants to find the asset by it."""
Confidence = Annotated[float, Field(ge=0, le=1, description="0 to 1.")]

log = structlog.get_logger(__name__)


class Tempo(BaseModel):
    value: Annotated[float, Field(gt=0, le=1000, description="Beats a minute.")]
    confidence: Confidence
    alternative: Annotated[
        float | None, Field(description="The tempo one might tap as well: half or double.")
    ] = None


class Key(BaseModel):
    value: Annotated[str, Field(max_length=20, description="Such as `A minor`.")]
    camelot: Annotated[str, Field(max_length=3, description="Its place on the wheel of DJs: 8A.")]
    confidence: Confidence


class AnalysisSummary(BaseModel):
    """What is null the recording does not have: a tempo where nothing repeats, loudness in silence."""

    bpm: Tempo | None
    key: Key | None
    lufs_i: Annotated[float | None, Field(description="Integrated loudness, LUFS (ITU-R BS.1770).")]
    true_peak_dbfs: float | None
    loudness_range_lu: float | None = None


class Onset(BaseModel):
    time: Annotated[float, Field(ge=0, description="Seconds, on a sample of the recording.")]
    strength: Annotated[float, Field(ge=0, le=1, description="Beside the strongest.")]


class Analysis(AnalysisSummary):
    duration: float
    beats: Annotated[list[float], Field(description="Seconds.")]
    onsets: list[Onset]
    loudness: Annotated[
        list[float | None], Field(description="Short-term loudness (LUFS) around each second.")
    ]


def read(path: Path) -> Analysis:
    """What an executor wrote. Raises ExecutorFailed when it is no analysis."""
    try:
        return Analysis.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ExecutorFailed(f"the analysis is none: {where}: {first['msg']}") from error


async def keep(tx: Connection, owner: UUID, asset: UUID, file: UUID, found: Analysis) -> None:
    """In the transaction that writes the file. Its caller locks nothing of the owner before."""
    summary = AnalysisSummary.model_validate(found.model_dump())
    key = found.key if found.key and found.key.confidence >= SURE else None
    await rows.keep(
        tx,
        owner,
        asset,
        file,
        summary=summary.model_dump(mode="json"),
        bpm=found.bpm.value if found.bpm and found.bpm.value >= 1 else None,
        musical_key=key.value if key else None,
        beats=found.beats,
    )
    after = await asset_rows.get(tx, owner, asset)
    await event_rows.append(tx, asset_event("updated", after, changed=["analysis", "bpm", "musical_key"]))


async def get(services: Services, owner: UUID, asset: UUID) -> tuple[Asset, Analysis]:
    """The file's asset and what it says. Raises NotFound, NotAnalysed, AssetEvicted."""
    async with services.db.statements() as db:
        await asset_rows.get(db, owner, asset)
        file = await rows.file_of(db, owner, asset)
        if file is None:
            raise NotAnalysed(f"asset {asset} has not been analysed")
        found = await asset_rows.get(db, owner, file)
    if found.blob.evicted:
        raise AssetEvicted(f"the bytes of analysis {found.id} were let go")
    content = b"".join([chunk async for chunk in services.objects.read(found.blob.key, 0, None)])
    return found, Analysis.model_validate_json(content)


async def order(services: Services, tx: Connection, asset: Asset) -> None:
    """An analysis of what has just come in, when `ingest.analyze` wants it and there is room in the queue; else none, which
    never refuses the upload.
    """
    settings = services.settings
    if not settings.ingest.analyze or asset.kind != AssetKind.AUDIO:
        return
    try:
        executor = services.registry.for_operation(OPERATION)
        await library_rows.lock_owner(tx, asset.owner_id)
        await orders.require_place(tx, settings.limits, asset.owner_id)
    except (UnknownOperation, TooManyJobs, QuotaExceeded) as error:
        log.warning("ingest.not_analysed", asset=str(asset.id), code=error.code, detail=error.detail)
        return
    params, output = executor.params().model_dump(mode="json"), {"format": "wav"}
    model = recipes.ingredients(settings, executor, None)
    await orders.place(
        tx,
        Order(
            owner=asset.owner_id,
            operation=executor.operation,
            model=executor.name,
            checkpoint=None,
            params=params,
            output=output,
            asset=asset.id,
            library=asset.library_id,
            recipe=recipes.digest(model, sha256=asset.blob.sha256, params=params, output=output),
            priority=PRIORITIES["low"],
            max_attempts=settings.worker.max_attempts,
            timeout_s=3600.0,
        ),
    )


async def give_way(tx: Connection, assets: Sequence[UUID]) -> None:
    """What waits to analyse these uploads holds up nobody who deletes them."""
    for job in await rows.waiting(tx, assets, PRIORITIES["low"]):
        cancelled = await job_rows.cancel_queued(tx, job, Cancelled().as_dict())
        assert cancelled is not None
        await event_rows.append(tx, job_event("cancelled", cancelled))


async def ring(services: Services) -> None:
    """After the transaction of `order`."""
    if services.settings.ingest.analyze:
        with suppress(UnknownOperation):
            await services.queues.ring(services.registry.for_operation(OPERATION).name)
