"""Use case of pulls: weights fetched from their hub by a worker of the model, as a job like any other."""

import asyncio
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from .config import Settings
from .db import events as event_rows
from .db import jobs as rows
from .db import libraries as owner_rows
from .db import models as pull_rows
from .entities import new_id
from .errors import ModelLicenseForbidden, NotFound, NothingToFetch, Offline, UnknownModel
from .executors import Checkpoint, Hub, registry
from .jobs import JobView
from .pipeline import PRIORITIES, job_event
from .services import Services

OPERATION = "pull"
TIMEOUT_S = 86400.0
"""A day: gigabytes over a slow line."""


class Fetch(StrEnum):
    """Whether weights may be fetched here."""

    ALLOWED = "allowed"
    NO_HUB = "no-hub"
    LICENSE = "license"
    OFFLINE = "offline"


def fetch_of(settings: Settings, model: str, checkpoint: Checkpoint) -> Fetch:
    """What the rules of this installation say."""
    rules = settings.weights
    if rules.commercial_safe and not checkpoint.commercial_use:
        return Fetch.LICENSE
    if _hub(checkpoint) is None or f"{model}/{checkpoint.name}" in rules.paths:
        return Fetch.NO_HUB
    return Fetch.OFFLINE if rules.offline else Fetch.ALLOWED


def host_of(settings: Settings, checkpoint: Checkpoint) -> str | None:
    """Who is asked for the weights; None where no hub has them."""
    hub = _hub(checkpoint)
    url = hub and (settings.weights.mirror or hub.urls[0])
    return urlsplit(url).hostname if url else None


def is_pinned(checkpoint: Checkpoint) -> bool:
    """Whether its publisher says what every file must be."""
    hub = _hub(checkpoint)
    return all(pin is not None for pin in hub.pins) if hub else True


def _hub(checkpoint: Checkpoint) -> Hub | None:
    return next((source for source in checkpoint.sources if isinstance(source, Hub)), None)


async def pull(
    services: Services,
    owner: UUID,
    model: str,
    name: str,
    *,
    id: UUID | None = None,  # noqa: A002 - the job's
) -> JobView:
    """Have one worker of the model fetch these weights into its cache, and hold them to what was published; where they are
    already, they are only checked. The job that does so already is the answer. Raises NotFound, ModelLicenseForbidden,
    NothingToFetch, Offline.
    """
    checkpoint = _find(services, model, name)
    _require(services.settings, model, checkpoint)
    async with services.db.transaction() as tx:
        await owner_rows.lock_owner(tx, owner)  # of two clicks at once, the second finds the first one's job
        if id is not None and (made := await rows.find(tx, owner, id)):
            return JobView(made)
        same = await pull_rows.find_pull(tx, owner, OPERATION, model, name)
        if same is not None:
            return JobView(same, existing=True)
        job = await rows.insert(
            tx,
            id=id or new_id(),
            owner=owner,
            operation=OPERATION,
            model=model,
            checkpoint=name,
            params={},
            output={},
            asset=None,
            library=None,
            priority=PRIORITIES["high"],
            max_attempts=services.settings.worker.max_attempts,
            timeout_s=TIMEOUT_S,
            metadata={},
            recipe=None,
        )
        await event_rows.append(tx, job_event("queued", job))
    await asyncio.gather(services.bus.wake(owner), services.queues.ring(model))
    return JobView(job)


def _find(services: Services, model: str, name: str) -> Checkpoint:
    executor: Any
    try:
        executor = services.registry.get(model)
        return registry.checkpoint(executor, name)
    except UnknownModel as error:
        raise NotFound(error.detail) from error


def _require(settings: Settings, model: str, checkpoint: Checkpoint) -> None:
    match fetch_of(settings, model, checkpoint):
        case Fetch.LICENSE:
            raise ModelLicenseForbidden(f"{model}/{checkpoint.name} is licensed {checkpoint.license}")
        case Fetch.NO_HUB:
            raise NothingToFetch(f"no hub has {model}/{checkpoint.name}")
        case Fetch.OFFLINE:
            raise Offline
