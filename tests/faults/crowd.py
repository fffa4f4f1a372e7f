"""Workers side by side on one queue: what more of them bring, and who waits when one owner floods it.

Jobs are the echo executor's, which sleeps: what is measured is the queue, not the machine. The objects lie in a folder
that all see; PostgreSQL and Valkey are reached over TCP.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from faults.row import Row
from faults.site import Process, Site, open_site, write_song
from faults.stores import Stores
from neuralib import assets, jobs, libraries
from neuralib.config import load_settings
from neuralib.db import libraries as owner_rows
from neuralib.jobs import JobRequest, OnExisting
from neuralib.services import Services, open_services

MODEL = "echo"
AT_ONCE = 8
SETTLED_WITHIN_S = 300.0

STORY = """
select j.id, j.worker, j.attempt, j.state,
       extract(epoch from j.started_at)::float8 as started, extract(epoch from j.finished_at)::float8 as finished,
       (select count(*) from events e where e.job_id = j.id and e.type = 'job.started') as starts,
       (select count(*) from events e where e.job_id = j.id and e.type = 'job.succeeded') as ends,
       (select count(*) from assets a where a.job_id = j.id) as assets
from jobs j where owner_id = $1 order by j.finished_at
"""
PASSED = """
select count(*) from jobs other, jobs mine
where mine.id = $1 and other.owner_id <> mine.owner_id
  and other.started_at > mine.created_at and other.started_at < mine.started_at
"""
WAITED = "select extract(epoch from started_at - created_at)::float8 from jobs where id = $1"


@dataclass(frozen=True)
class Place:
    """Where a worker runs: what stands before its command, and the host at which it finds the servers."""

    prefix: tuple[str, ...] = ()
    host: str = "127.0.0.1"


HERE = Place()


class Owner:
    """Somebody with one track, who wants it echoed again and again."""

    def __init__(self, services: Services, id_: UUID, track: UUID) -> None:
        self.id = id_
        self._services = services
        self._track = track

    @classmethod
    async def bring_in(cls, services: Services, song: Path) -> "Owner":
        async def content() -> AsyncIterator[bytes]:
            yield song.read_bytes()

        async with services.db.transaction() as tx:
            id_ = await owner_rows.upsert_owner(tx, f"crowd-{uuid4()}")
        library = await libraries.create(services, id_, name="Crowd")
        track = await assets.upload(services, id_, library.id, assets.Upload(song.name, content()))
        return cls(services, id_, track.id)

    async def submit(self, seconds: float) -> UUID:
        """A job that sleeps for so long."""
        request = JobRequest(
            self._track, model=MODEL, params={"window_s": seconds}, on_existing=OnExisting.RERUN
        )
        return (await jobs.submit(self._services, self.id, request)).job.id

    async def submit_many(self, count: int, seconds: float) -> None:
        left = iter(range(count))

        async def some() -> None:
            for _ in left:
                await self.submit(seconds)

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))


@asynccontextmanager
async def crowd(
    stores: Stores, folder: Path, places: Sequence[Place]
) -> AsyncIterator[tuple[Site, Services]]:
    """A site with one worker in each place, and its services for a client."""
    async with open_site(stores, folder) as site:
        workers = [start_in(site, place) for place in places]
        for worker in workers:
            await worker.start(wait=False)
        for worker in workers:
            await worker.ready()
        settings = load_settings(
            database={"url": site.database_url},
            redis={"url": stores.redis_url},
            storage={"path": site.objects},
            ingest={"analyze": False},
        )
        async with open_services(settings) as services:
            yield site, services


def start_in(site: Site, place: Place) -> Process:
    urls = {
        name: site.env[name].replace("127.0.0.1", place.host)
        for name in ("NEURALIB_DATABASE_URL", "NEURALIB_REDIS_URL")
    }
    return site.worker(MODEL, place.prefix, **urls)


async def throughput(
    row: Row, stores: Stores, folder: Path, places: Sequence[Place], each: int, seconds: float
) -> float:
    """Jobs a second of so many workers, in the time in which all of them are busy; and nothing is done twice."""
    async with crowd(stores, folder, places) as (site, services):
        owner = await Owner.bring_in(services, write_song(folder))
        await owner.submit_many(each * len(places), seconds)
        await settled(site, owner)
        async with site.sql() as db:
            story = await db.fetch(STORY, owner.id)
        begun = site.logged("job.started")
    count = len(places)
    by = {job["worker"] for job in story}
    odd = [
        j
        for j in story
        if (j["state"], j["attempt"], j["starts"], j["ends"], j["assets"]) != ("succeeded", 1, 1, 1, 1)
    ]
    row.claim(not odd, f"{len(odd)} of {len(story)} jobs were not done once: {odd[:3]}")
    row.claim(begun == len(story) == each * count, f"{begun} runs of {len(story)} jobs")
    row.claim(len(by) == count, f"{len(by)} of {count} workers had work")
    ends = [job["finished"] for job in story][
        count - 1 : len(story) - 2 * count
    ]  # neither the start nor the end
    return (len(ends) - 1) / (ends[-1] - ends[0]) if len(ends) > 1 else 0.0


@dataclass(frozen=True)
class Share:
    """How the jobs of one fared beside another's flood."""

    flood: int
    passed: list[int]
    """For each of them, how many jobs of the flood were begun between its submission and its own start."""
    waited_s: list[float]


async def fair_share(
    row: Row, stores: Stores, folder: Path, places: Sequence[Place], flood: int, others: int, seconds: float
) -> Share:
    """One floods the queue, then another wants one job after the other."""
    async with crowd(stores, folder, places) as (site, services):
        first, second = [await Owner.bring_in(services, write_song(folder)) for _ in range(2)]
        await first.submit_many(flood, seconds)
        passed, waited = [], []
        async with site.sql() as db:
            for _ in range(others):
                job = await second.submit(seconds)
                await ended(services, second.id, job)
                passed.append(await db.fetchval(PASSED, job))
                waited.append(await db.fetchval(WAITED, job))
            left = await db.fetchval(
                "select count(*) from jobs where owner_id = $1 and state = 'queued'", first.id
            )
    row.claim(left > 0, "the flood was over before the others were done: it proves nothing")
    row.claim(
        max(passed) <= len(places), f"{max(passed)} jobs of the flood went before one of the other: {passed}"
    )
    return Share(flood, passed, waited)


async def ended(services: Services, owner: UUID, job: UUID) -> None:
    with services.bus.listen(owner) as listener:
        async with asyncio.timeout(SETTLED_WITHIN_S):
            while (await jobs.get(services, owner, job)).job.finished_at is None:
                await listener.wait(1.0)


async def settled(site: Site, owner: Owner) -> None:
    deadline = time.monotonic() + SETTLED_WITHIN_S
    async with site.sql() as db:
        while await db.fetchval(
            "select count(*) from jobs where owner_id = $1 and finished_at is null", owner.id
        ):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the jobs did not end within {SETTLED_WITHIN_S:g} s")
            await asyncio.sleep(0.2)
