"""Handlers of /pipelines and /runs."""

from aiohttp import web

from neuralib import runs
from neuralib.entities import RunState
from neuralib.errors import NotFound
from neuralib.pipeline import PRIORITIES
from neuralib.pipelines import PIPELINES
from neuralib.pipelines import Pipeline as Definition
from neuralib.runs import Override, RunRequest

from .calls import Call, decode_cursor
from .replies import page, reply
from .schemas.runs import NewRun, Pipeline, Run, RunsQuery


async def list_pipelines(call: Call) -> web.Response:
    return reply({"items": [Pipeline.of(each, call.services.registry) for each in PIPELINES.values()]})


async def get_pipeline(call: Call) -> web.Response:
    return reply(Pipeline.of(_pipeline(call), call.services.registry))


async def create_run(call: Call, body: NewRun) -> web.Response:
    """202; 200 for a run that is over because everything had been done."""
    request = RunRequest(
        asset_id=body.asset_id,
        overrides={name: Override(each.model, each.params) for name, each in body.overrides.items()},
        format=body.format,
        priority=PRIORITIES[body.priority],
        timeout_s=body.timeout_s,
        max_attempts=body.max_attempts,
        rerun=body.on_existing == "rerun",
        metadata=body.metadata,
        id=call.new_id() if call.keyed else None,
    )
    view = await runs.start(call.services, call.owner, _pipeline(call), request)
    status = 202 if view.run.state is RunState.RUNNING else 200
    return reply(Run.of(view), status, {"Location": f"/api/v1/runs/{view.run.id}"})


async def list_runs(call: Call, query: RunsQuery) -> web.Response:
    found = await runs.page(
        call.services,
        call.owner,
        states=query.state,
        asset=query.asset_id,
        before=decode_cursor(query.cursor),
        limit=query.limit + 1,
    )
    shown = found[: query.limit]
    more_after = shown[-1].run.id if len(found) > len(shown) else None
    return page(call, [Run.of(each) for each in shown], more_after)


async def get_run(call: Call) -> web.Response:
    view = await runs.get(call.services, call.owner, call.id("run"))
    return reply(Run.of(view), headers={"Cache-Control": "no-store"})


async def cancel_run(call: Call) -> web.Response:
    """200 when the run is cancelled, 202 while some of its jobs are still being stopped."""
    view = await runs.cancel(call.services, call.owner, call.id("run"))
    return reply(Run.of(view), 202 if view.run.state is RunState.RUNNING else 200)


def _pipeline(call: Call) -> Definition:
    slug = call.request.match_info["slug"]
    if slug not in PIPELINES:
        raise NotFound(f"there is no such pipeline; there are {', '.join(PIPELINES)}")
    return PIPELINES[slug]
