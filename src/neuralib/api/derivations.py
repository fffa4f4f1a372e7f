"""Handlers of what was made from what, and of bytes that go and come again."""

import json
from collections.abc import Iterator

from aiohttp import web

from neuralib import derivations, entities, jobs
from neuralib.pipeline import snapshot

from .calls import Call
from .replies import reply, versioned
from .schemas.assets import Asset
from .schemas.derivations import Lineage, LineageQuery

DOT = "text/vnd.graphviz"


async def get_lineage(call: Call, query: LineageQuery) -> web.Response:
    lineage = await derivations.lineage(call.services, call.owner, call.id("asset"))
    if query.format == "json":
        return reply(Lineage.of(lineage), headers={"Cache-Control": "no-store"})
    return web.Response(
        text="\n".join(as_dot(lineage)) + "\n", content_type=DOT, headers={"Cache-Control": "no-store"}
    )


async def evict_asset(call: Call) -> web.Response:
    asset = await derivations.evict(call.services, call.owner, call.id("asset"))
    return versioned(call, asset.version, Asset.of(asset, await derivations.of(call.services, asset)))


async def rebuild_asset(call: Call) -> web.Response:
    job = await derivations.rebuild(
        call.services, call.owner, call.id("asset"), id=call.new_id() if call.keyed else None
    )
    view = await jobs.get(call.services, call.owner, job.id)
    body = snapshot(view.job, view.outputs, view.position, inputs=view.inputs)
    return reply(body, 202, {"Location": f"/api/v1/jobs/{job.id}"})


def as_dot(lineage: entities.Lineage) -> Iterator[str]:
    """The graph for Graphviz: assets as boxes, dashed when their bytes are gone, and what made one from another."""
    yield "digraph lineage {"
    yield "  rankdir=LR; node [shape=box];"
    made_by = {each.job_id: f"{each.operation} {each.model}" for each in lineage.assets if each.job_id}
    for each in lineage.assets:
        style = (
            ", style=dashed" if each.evicted else ", style=bold" if each.asset_id == lineage.asset_id else ""
        )
        yield f'  "{each.asset_id}" [label={_quoted(f"{each.name} ({each.stem or each.role})")}{style}];'
    for link in lineage.links:
        label = f" [label={_quoted(made_by[link.job_id])}]" if link.job_id in made_by else ""
        yield f'  "{link.source}" -> "{link.target}"{label};'
    yield "}"


def _quoted(text: str) -> str:
    """A string of DOT, in which a backslash begins an escape and only a quote needs one."""
    return json.dumps(text.replace("\\", "⧵"), ensure_ascii=False)
