"""Handlers of /models: the cards of what is installed, what live workers have of it, and the fetching of weights."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from aiohttp import web

from neuralib import pulls
from neuralib.config import Settings
from neuralib.db import Row
from neuralib.db import events as worker_rows
from neuralib.db import models as speed_rows
from neuralib.executors import Checkpoint, Executor
from neuralib.executors.registry import Registry
from neuralib.pipeline import snapshot

from .calls import Call
from .replies import reply
from .schemas.models import (
    CheckpointCard,
    InputsTaken,
    ModelCard,
    ModelsQuery,
    ModelWorker,
    Place,
    PluginInfo,
    Speed,
)

ALIVE_WITHIN = timedelta(seconds=15)
"""Three missed beats of a worker."""
NEWEST = 100
"""Jobs of each model that its speed is taken from."""


@dataclass(slots=True)
class Service:
    """What lives of a model: its workers, and by checkpoint the places that have it."""

    workers: list[ModelWorker] = field(default_factory=list)
    places: defaultdict[str, dict[str, Place]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, row: Row, served: Mapping[str, Any]) -> None:
        self.workers.append(
            ModelWorker(
                worker=row["name"],
                host=row["host"],
                state=served["state"],
                choice=served.get("choice"),
                weights=served.get("weights"),
                device=served.get("device"),
                precision=served.get("precision"),
            )
        )
        for each in served.get("checkpoints", ()):
            place = Place(host=row["host"], **{k: v for k, v in each.items() if k != "name"})
            before = self.places[each["name"]].get(place.host)
            if before is None or _knows_more(place, before):
                self.places[each["name"]][place.host] = place


def _knows_more(one: Place, other: Place) -> bool:
    """Workers of one host share its cache; one may have read what another has only seen."""
    return (one.source is not None, one.sha256 is not None) > (
        other.source is not None,
        other.sha256 is not None,
    )


async def list_models(call: Call, query: ModelsQuery) -> web.Response:
    registry, settings = call.services.registry, call.services.settings
    chosen = [
        executor
        for executor in sorted(registry, key=lambda executor: executor.name)
        if query.operation in {None, executor.operation}
    ]
    alive = await live_services(call)
    async with call.services.db.statements() as db:
        rows = await speed_rows.measured_speeds(db, [executor.name for executor in chosen], NEWEST)
    speeds: defaultdict[str, list[Speed]] = defaultdict(list)
    for row in rows:
        speeds[row["model"]].append(_speed(row))
    cards = [
        _card(executor, registry, settings, alive.get(executor.name, Service()), speeds[executor.name])
        for executor in chosen
    ]
    return reply({"items": cards, "next_cursor": None}, headers={"Cache-Control": "no-store"})


async def pull_weights(call: Call) -> web.Response:
    """202; 200 for the pull that is there already."""
    path = call.request.match_info
    name = call.new_id() if call.keyed else None
    view = await pulls.pull(call.services, call.owner, path["model"], path["checkpoint"], id=name)
    headers = {"Location": f"/api/v1/jobs/{view.job.id}"}
    return reply(snapshot(view.job, position=view.position), 200 if view.existing else 202, headers)


async def live_services(call: Call) -> Mapping[str, Service]:
    """By model, what serves it."""
    found: defaultdict[str, Service] = defaultdict(Service)
    async with call.services.db.transaction() as tx:
        rows = await worker_rows.live_workers(tx, ALIVE_WITHIN)
    for row in rows:
        for served in row["models"]:
            found[served["model"]].add(row, served)
    return found


def _speed(row: Row) -> Speed:
    return Speed(
        checkpoint=row["checkpoint"],
        device=row["device"],
        precision=row["precision"],
        realtime_factor=round(row["factor"], 2),
        jobs=row["jobs"],
    )


def _card(
    executor: type[Executor[Any]],
    registry: Registry,
    settings: Settings,
    service: Service,
    speeds: Sequence[Speed],
) -> dict[str, Any]:
    plugin = registry.plugin(executor.name)
    loaded = any(worker.state == "loaded" for worker in service.workers)
    return ModelCard(
        id=executor.name,
        title=executor.title,
        operation=executor.operation,
        version=executor.version,
        code_license=executor.code_license,
        precisions=list(executor.precisions),
        params_schema=executor.params.model_json_schema(),
        takes=[
            InputsTaken(**asdict(each) | {"media_types": list(each.media_types)}) for each in executor.takes
        ],
        checkpoints=[
            _checkpoint(executor.name, each, settings, [*service.places[each.name].values()])
            for each in executor.checkpoints
        ],
        plugin=PluginInfo(name=plugin.name, version=plugin.version),
        state="loaded" if loaded else "idle" if service.workers else "absent",
        workers=service.workers,
        speeds=list(speeds),
    ).model_dump(mode="json")


def _checkpoint(
    model: str, checkpoint: Checkpoint, settings: Settings, places: Sequence[Place]
) -> CheckpointCard:
    return CheckpointCard(
        id=f"{model}/{checkpoint.name}",
        name=checkpoint.name,
        title=checkpoint.title,
        license=checkpoint.license,
        commercial_use=checkpoint.commercial_use,
        auto=checkpoint.auto,
        trained=checkpoint.trained,
        demo=checkpoint.demo,
        hub=pulls.host_of(settings, checkpoint),
        pinned=pulls.is_pinned(checkpoint),
        fetch=pulls.fetch_of(settings, model, checkpoint).value,
        places=list(places),
        details=dict(checkpoint.details),
    )
