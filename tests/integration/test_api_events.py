"""Event streams: in order, without gaps, resumable, and gone when the process or the client goes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from api_client import Api
from neuralib import libraries
from neuralib.api import listening
from neuralib.config import Settings
from neuralib.db import events as event_rows
from neuralib.db import jobs as job_rows
from neuralib.db import libraries as owner_rows
from neuralib.entities import Event, Job, JobState, new_id
from neuralib.pipeline import job_event
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEARTBEAT_S = 0.2
STREAMS = 30


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(server={"heartbeat_s": HEARTBEAT_S}, limits={"streams_per_owner": STREAMS})


@dataclass
class Told:
    """One event as it came."""

    type: str
    data: dict[str, Any]
    id: int | None


class Stream:
    """Reads events off a reply."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments: list[str] = []

    async def blocks(self) -> AsyncIterator[list[str]]:
        lines: list[str] = []
        async for raw in self.response.content:
            line = raw.decode().rstrip("\n")
            if line:
                lines.append(line)
            else:
                yield lines
                lines = []

    async def __aiter__(self) -> AsyncIterator[Told]:
        async for lines in self.blocks():
            self.comments += [line for line in lines if line.startswith(":")]
            fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
            if "event" in fields:
                told = Told(
                    fields["event"], json.loads(fields["data"]), int(i) if (i := fields.get("id")) else None
                )
                assert told.data["type"] == told.type
                assert told.id is None or told.data["seq"] == told.id
                yield told

    async def take(self, count: int) -> list[Told]:
        async with asyncio.timeout(30), contextlib.aclosing(aiter(self)) as events:
            return [await anext(events) for _ in range(count)]

    async def rest(self) -> list[Told]:
        """All until the server ends the stream."""
        async with asyncio.timeout(30):
            return [told async for told in self]


@contextlib.asynccontextmanager
async def opened(api: Api, path: str, **headers: str) -> AsyncIterator[Stream]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with api.open("GET", path, headers=names) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        stream = Stream(response)
        assert (await response.content.readline()) == b"retry: 3000\n"
        assert (await response.content.readline()).startswith(b": connected ")
        assert (await response.content.readline()) == b"\n"
        yield stream


async def running(services: Services, owner: UUID) -> Job:
    """A job that a worker of a model of its own has claimed."""
    model = f"test-{uuid4()}"
    async with services.db.transaction() as tx:
        library = await owner_rows.insert(tx, owner, "Jobs", "", None)
        job = await job_rows.insert(
            tx,
            id=new_id(),
            owner=owner,
            operation="echo",
            model=model,
            checkpoint=None,
            params={},
            output={},
            recipe=str(uuid4()),
            asset=None,
            library=library.id,
            priority=0,
            max_attempts=3,
            timeout_s=60.0,
            metadata={},
        )
        await event_rows.append(tx, job_event("queued", job))
        claimed = await job_rows.claim(tx, model, "a-worker", timedelta(seconds=60))
        assert claimed is not None
        await event_rows.append(tx, job_event("started", claimed))
    return claimed


async def finish(services: Services, job: Job) -> None:
    async with services.db.transaction() as tx:
        done = await job_rows.finish(tx, job, JobState.SUCCEEDED)
        assert done is not None
        await event_rows.append(tx, job_event("succeeded", done))
    await services.bus.wake(job.owner_id)


def progress(job: Job, fraction: float) -> dict[str, Any]:
    counted = {"stage": "infer", "done": round(10 * fraction), "total": 10}
    return {
        "type": "job.progress",
        "job_id": str(job.id),
        "attempt": job.attempt,
        "fraction": fraction,
        **counted,
    }


async def test_a_stream_begins_now_and_tells_in_order(api: Api, services: Services, owner: UUID) -> None:
    await libraries.create(services, owner, name="before")
    async with opened(api, "/events") as stream:
        made = [await libraries.create(services, owner, name=f"after {i}") for i in range(3)]
        told = await stream.take(3)
    assert [each.type for each in told] == ["library.created"] * 3
    assert [each.data["library_id"] for each in told] == [str(library.id) for library in made]
    assert [each.id for each in told] == [2, 3, 4]
    assert all(each.data["at"].endswith("Z") for each in told)


async def test_who_comes_back_hears_what_was_missed_exactly_once(
    api: Api, services: Services, owner: UUID
) -> None:
    for i in range(4):
        await libraries.create(services, owner, name=f"{i}")
    async with opened(api, "/events", Last_Event_ID="1") as stream:
        assert [each.id for each in await stream.take(3)] == [2, 3, 4]
    async with opened(api, "/events?last_event_id=1", Last_Event_ID="3") as stream:
        await libraries.create(services, owner, name="4")
        assert [each.id for each in await stream.take(2)] == [4, 5]
    async with opened(api, "/events?last_event_id=0") as stream:
        assert [each.id for each in await stream.take(5)] == [1, 2, 3, 4, 5]


async def test_more_than_one_batch_is_replayed_without_a_gap(
    api: Api, services: Services, owner: UUID
) -> None:
    async with services.db.transaction() as tx:
        for i in range(450):
            await event_rows.append(tx, Event("test.counted", {"type": "test.counted", "i": i}, owner))
    async with opened(api, "/events?last_event_id=0") as stream:
        assert [each.id for each in await stream.take(450)] == list(range(1, 451))


@pytest.mark.parametrize("last", ["2", "999"])
async def test_a_place_that_is_not_kept_any_more_is_reset(
    api: Api, services: Services, owner: UUID, last: str
) -> None:
    for i in range(5):
        await libraries.create(services, owner, name=f"{i}")
    async with services.db.transaction() as tx:
        await tx.raw.execute("delete from events where owner_id = $1 and seq < 5", owner)
    async with opened(api, "/events", Last_Event_ID=last) as stream:
        (reset,) = await stream.take(1)
        assert (reset.type, reset.data["head_seq"], reset.id) == ("stream.reset", 5, None)
        await libraries.create(services, owner, name="new")
        assert (await stream.take(1))[0].id == 6


async def test_nobody_hears_another_owners_events(api: Api, services: Services, owner: UUID) -> None:
    async with services.db.transaction() as tx:
        other = await owner_rows.upsert_owner(tx, f"test-{uuid4()}")
    theirs = await running(services, other)
    async with opened(api, "/events") as stream:
        await services.bus.progress(other, theirs.id, progress(theirs, 0.5))
        await finish(services, theirs)
        mine = await libraries.create(services, owner, name="mine")
        assert (await stream.take(1))[0].data["library_id"] == str(mine.id)
    assert (await api.get(f"/jobs/{theirs.id}/events")).status == 404


async def test_a_jobs_stream_tells_all_of_it_and_ends(api: Api, services: Services, owner: UUID) -> None:
    job, other = await running(services, owner), await running(services, owner)
    async with opened(api, f"/jobs/{job.id}/events") as stream:
        assert [each.type for each in await stream.take(2)] == ["job.queued", "job.started"]
        await services.bus.progress(owner, other.id, progress(other, 0.9))
        await services.bus.progress(owner, job.id, progress(job, 0.5))
        (half,) = await stream.take(1)
        assert (half.type, half.data["fraction"], half.id) == ("job.progress", 0.5, None)
        await finish(services, other)
        await finish(services, job)
        (last,) = await stream.rest()
        assert (last.type, last.data["job"]["state"]) == ("job.succeeded", "succeeded")
    async with opened(api, f"/jobs/{job.id}/events") as stream:
        assert [each.type for each in await stream.rest()] == ["job.queued", "job.started", "job.succeeded"]
    again = await api.get(f"/jobs/{job.id}/events", headers={"Last-Event-ID": str(last.id)})
    assert again.status == 204


async def test_who_connects_late_hears_how_far_a_job_is(api: Api, services: Services, owner: UUID) -> None:
    job = await running(services, owner)
    kept = {
        name: value
        for name, value in progress(job, 0.4).items()
        if name in {"fraction", "stage", "done", "total"}
    }
    async with services.db.transaction() as tx:
        assert await job_rows.save_progress(tx, job.id, job.attempt, kept)
    for path in ("/events", f"/jobs/{job.id}/events?last_event_id=2"):
        async with opened(api, path) as stream:
            (told,) = await stream.take(1)
            assert (told.type, told.data["job_id"], told.data["fraction"]) == (
                "job.progress",
                str(job.id),
                0.4,
            )
            await services.bus.progress(owner, job.id, progress(job, 0.2))  # late, from before
            await services.bus.progress(owner, job.id, progress(job, 0.6))
            assert (await stream.take(1))[0].data["fraction"] == 0.6


async def test_an_event_that_redis_lost_is_told_all_the_same(
    api: Api, services: Services, owner: UUID
) -> None:
    async with opened(api, "/events") as stream:
        async with services.db.transaction() as tx:  # and nobody rings
            await event_rows.append(tx, Event("test.silent", {"type": "test.silent"}, owner))
        assert (await stream.take(1))[0].type == "test.silent"


async def test_a_quiet_stream_beats(api: Api) -> None:
    async with opened(api, "/events") as stream, asyncio.timeout(30):
        async for lines in stream.blocks():
            assert lines == [": hb"]
            break


async def test_an_owner_has_so_many_streams_and_gets_their_places_back(api: Api) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(STREAMS):
            await stack.enter_async_context(opened(api, "/events"))
        refused = await api.get("/events")
        assert (refused.status, refused.code) == (429, "too-many-streams")
        assert refused.headers["Retry-After"]
    async with asyncio.timeout(30):  # noticed at the next heartbeat
        while True:
            with contextlib.suppress(AssertionError):
                async with opened(api, "/events"):
                    break
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 30])
async def test_a_place_that_is_no_number_is_refused(api: Api, last: str) -> None:
    assert (await api.get("/events", headers={"Last-Event-ID": last})).code == "invalid-parameter"
    assert (await api.get(f"/events?last_event_id={last}")).code == "invalid-parameter"


async def test_streams_and_waits_end_at_once_when_the_process_stops(services: Services, owner: UUID) -> None:
    job = await running(services, owner)
    async with contextlib.AsyncExitStack() as clients:
        server = contextlib.AsyncExitStack()
        api = await clients.enter_async_context(
            Api(await server.enter_async_context(listening(services, owner, "127.0.0.1", 0)))
        )
        streams = [await clients.enter_async_context(opened(api, "/events")) for _ in range(STREAMS)]
        look = asyncio.create_task(api.get(f"/jobs/{job.id}?wait_s=30"))
        while services.bus.listeners(owner) <= STREAMS:  # noqa: ASYNC110 - nobody tells of listeners
            await asyncio.sleep(0.01)
        async with asyncio.timeout(services.settings.server.shutdown_s - 1):
            await server.aclose()
        assert [await stream.rest() for stream in streams] == [[]] * STREAMS
        assert (await look).json["state"] == "running"
