"""kill -9 of a worker, at random moments."""

import asyncio
import random
import time
from pathlib import Path

from faults.ledger import close_the_books
from faults.load import Load
from faults.row import Row, Scale, percentile
from faults.site import Site, open_site, session, write_song
from faults.stores import Stores

NAME = "kill -9 a worker"
RECOVERY_P95_S = 15.0

HELD = "select id, attempt from jobs where state = 'running' and worker like $1"
BEGAN_AGAIN = """
select extract(epoch from min(at))::float8 from events
where job_id = $1 and type = 'job.started' and (data -> 'job' ->> 'attempt')::int > $2
"""


async def run(scale: Scale, stores: Stores, folder: Path) -> Row:
    row, rng = Row(NAME), scale.chance(NAME)
    kills, jobs, workers, every_s = scale.pick((3, 15, 2, 1.0), (50, 200, 4, 2.5))
    more = {"NEURALIB_WORKER_LEASE_S": "3"} if not scale.long else {}
    async with open_site(stores, folder, workers=workers, more=more) as site, session() as http:
        load = Load(site, http)
        await load.prepare(write_song(folder))
        held: list[tuple[str, int, float]] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(kills):
                await several_up(site)
                group.create_task(load.pour(jobs // kills, every_s, rng, windows=8, window_s=0.1))
                await asyncio.sleep(rng.uniform(0, every_s))
                held += await kill_one(site, rng)
        await all_up(site)
        await close_the_books(row, site, load)
        recoveries = await recovered(site, held)
        again = await site.value("select count(*) from jobs where attempt > 1")
    p95 = percentile(recoveries, 0.95)
    row.counts |= {
        "kills": kills,
        "interrupted": len(held),
        "run again": again,
        "recovery p50 s": round(percentile(recoveries, 0.5), 1),
        "recovery p95 s": round(p95, 1),
    }
    row.claim(bool(held), "no kill met a running job")
    if scale.long:  # a figure of speed: not for machines that do something else besides
        row.claim(p95 < RECOVERY_P95_S, f"recovery took {p95:.1f} s (p95)")
    return row


async def several_up(site: Site) -> None:
    """Until there is one to kill and one to go on: how soon a process starts is not what this measures."""
    while sum(worker.works for worker in site.workers) < 2:
        await asyncio.sleep(0.1)


async def all_up(site: Site) -> None:
    """What a killed worker had on disk goes when the next one starts in its place."""
    while not all(worker.works for worker in site.workers):
        await asyncio.sleep(0.1)


async def kill_one(site: Site, rng: random.Random) -> list[tuple[str, int, float]]:
    """Kill a worker that is up and start it again; (job, attempt, time of the kill) of what it had."""
    victim = rng.choice([worker for worker in site.workers if worker.works])
    at = time.time()
    await victim.kill()
    async with site.sql() as db:
        lost = await db.fetch(HELD, f"%-{victim.pid}-%")
    await victim.start(wait=False)
    return [(str(job["id"]), job["attempt"], at) for job in lost]


async def recovered(site: Site, held: list[tuple[str, int, float]]) -> list[float]:
    """Seconds from each kill to the next start of each job that it interrupted."""
    async with site.sql() as db:
        began = [await db.fetchval(BEGAN_AGAIN, job, attempt) for job, attempt, _ in held]
    return [then - at for then, (_, _, at) in zip(began, held, strict=True) if then is not None]
