"""GET /models: the cards of what is installed, and what live workers have in memory."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from aiohttp import web

from neuralib.db import events as worker_rows
from neuralib.executors import Checkpoint, Executor
from neuralib.executors.registry import Registry

from .calls import Call
from .replies import reply
from .schemas.models import CheckpointCard, InputsTaken, ModelCard, ModelsQuery, ModelWorker, PluginInfo

ALIVE_WITHIN = timedelta(seconds=15)
"""Three missed beats of a worker."""


async def list_models(call: Call, query: ModelsQuery) -> web.Response:
    workers = await live_workers(call)
    registry = call.services.registry
    cards = [
        _card(executor, registry, workers.get(executor.name, []))
        for executor in sorted(registry, key=lambda executor: executor.name)
        if query.operation in {None, executor.operation}
    ]
    return reply({"items": cards, "next_cursor": None})


async def live_workers(call: Call) -> Mapping[str, list[ModelWorker]]:
    """By model, the workers that serve it."""
    found: dict[str, list[ModelWorker]] = {}
    async with call.services.db.transaction() as tx:
        rows = await worker_rows.live_workers(tx, ALIVE_WITHIN)
    for row in rows:
        for served in row["models"]:
            worker = ModelWorker(
                worker=row["name"],
                state=served["state"],
                weights=served.get("weights"),
                device=served.get("device"),
                precision=served.get("precision"),
            )
            found.setdefault(served["model"], []).append(worker)
    return found


def _card(executor: type[Executor[Any]], registry: Registry, workers: list[ModelWorker]) -> dict[str, Any]:
    plugin = registry.plugin(executor.name)
    loaded = any(worker.state == "loaded" for worker in workers)
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
        checkpoints=[_checkpoint(executor.name, each) for each in executor.checkpoints],
        plugin=PluginInfo(name=plugin.name, version=plugin.version),
        state="loaded" if loaded else "idle" if workers else "absent",
        workers=workers,
    ).model_dump(mode="json")


def _checkpoint(model: str, checkpoint: Checkpoint) -> CheckpointCard:
    return CheckpointCard(
        id=f"{model}/{checkpoint.name}",
        name=checkpoint.name,
        title=checkpoint.title,
        license=checkpoint.license,
        commercial_use=checkpoint.commercial_use,
        auto=checkpoint.auto,
        trained=checkpoint.trained,
        details=dict(checkpoint.details),
    )
