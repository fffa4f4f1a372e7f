"""Handlers of /jobs."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aiohttp import web

from neuralib import jobs, retries
from neuralib.entities import JobInput, JobState
from neuralib.jobs import JobRequest, JobView, OnExisting
from neuralib.pipeline import PRIORITIES, TERMINAL, snapshot

from .calls import Call, decode_cursor
from .replies import page, reply
from .schemas.jobs import JobBatch, JobOptions, JobQuery, JobRetry, JobsQuery, Lane, NewJob


async def create_job(call: Call, body: NewJob) -> web.Response:
    return await accept(call, _request(body), body)


async def accept(call: Call, request: JobRequest, body: JobOptions) -> web.Response:
    """Submit what is asked with the options of the body. 202; 200 for a job that was there already, or when
    `Prefer: wait=N` saw it end.
    """
    view = await jobs.submit(call.services, call.owner, _with_options(call, request, body))
    return await _accepted(call, view)


async def retry_job(call: Call, body: JobRetry) -> web.Response:
    """202; 200 for the same job that was there already."""
    name = call.new_id() if call.keyed else None
    view = await retries.retry(call.services, call.owner, call.id("job"), body.params, id=name)
    return await _accepted(call, view)


async def create_jobs(call: Call, body: JobBatch) -> web.Response:
    """202: all of them are accepted; or none, and the refusal names the first that cannot be."""
    requests = [_with_options(call, _request(job), job, n) for n, job in enumerate(body.jobs)]
    views = await jobs.submit_all(call.services, call.owner, requests)
    return reply({"items": [_body(view, cached=_is_cached(view)) for view in views]}, 202)


def _request(body: NewJob) -> JobRequest:
    return JobRequest(
        body.inputs[0].asset_id,
        inputs=_inputs(body),
        operation=body.operation,
        model=body.model,
        params=body.params,
    )


def _with_options(call: Call, request: JobRequest, body: JobOptions, number: int = 0) -> JobRequest:
    return replace(
        request,
        format=body.outputs.format,
        library_id=body.outputs.library_id,
        priority=PRIORITIES[body.priority],
        timeout_s=body.timeout_s,
        max_attempts=body.max_attempts,
        metadata=body.metadata,
        on_existing=OnExisting(body.on_existing),
        id=call.new_id(number) if call.keyed else None,
    )


async def _accepted(call: Call, view: JobView) -> web.Response:
    existing, cached = view.existing, _is_cached(view)
    headers = {"Location": f"/api/v1/jobs/{view.job.id}"}
    wait_s = call.wanted_wait()
    if wait_s is not None:
        headers["Preference-Applied"] = f"wait={wait_s:g}"
        view = await _wait(call, view, wait_s, _has_ended)
    status = 200 if existing or _has_ended(view) else 202
    return reply(_body(view, cached=cached), status, headers)


def _is_cached(view: JobView) -> bool:
    return view.existing and view.job.state is JobState.SUCCEEDED


async def list_jobs(call: Call, query: JobsQuery) -> web.Response:
    found = await jobs.page(
        call.services,
        call.owner,
        states=query.state,
        operation=query.operation,
        asset=query.asset_id,
        ids=query.ids,
        before=decode_cursor(query.cursor),
        limit=query.limit + 1,
    )
    shown = found[: query.limit]
    return page(call, [_body(each) for each in shown], shown[-1].job.id if len(found) > len(shown) else None)


async def get_job(call: Call, query: JobQuery) -> web.Response:
    view = await jobs.get(call.services, call.owner, call.id("job"))
    before = snapshot(view.job)["state"]
    view = await _wait(
        call, view, query.wait_s, lambda now: _has_ended(now) or snapshot(now.job)["state"] != before
    )
    return reply(_body(view), headers={"Cache-Control": "no-store"})


async def get_queue(call: Call) -> web.Response:
    lanes = await jobs.queue(call.services, call.owner)
    return reply({"items": [Lane.of(each) for each in lanes]}, headers={"Cache-Control": "no-store"})


async def cancel_job(call: Call) -> web.Response:
    """200 when the job is cancelled, 202 while it is still being stopped."""
    view = await jobs.cancel(call.services, call.owner, call.id("job"))
    return reply(_body(view), 200 if _has_ended(view) else 202)


async def _wait(call: Call, view: JobView, seconds: float, enough: Callable[[JobView], bool]) -> JobView:
    """The job once it is `enough`, or after `seconds`, or when this process stops."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    with call.services.bus.listen(call.owner) as listener:
        while not enough(view) and not call.streams.closing.is_set() and (left := deadline - clock()) > 0:
            if listener.news:
                listener.news = False
                view = await jobs.get(call.services, call.owner, view.job.id)
            else:
                await listener.wait(left)
    return view


def _has_ended(view: JobView) -> bool:
    return view.job.state in TERMINAL


def _body(view: JobView, *, cached: bool = False) -> dict[str, Any]:
    return snapshot(view.job, view.outputs, view.position, inputs=view.inputs, cached=cached)


def _inputs(body: NewJob) -> list[JobInput]:
    """None where the first says it all: a job of one input is the same with and without a list."""
    inputs = [JobInput(each.asset_id, each.name) for each in body.inputs]
    return inputs if len(inputs) > 1 or inputs[0].name else []
