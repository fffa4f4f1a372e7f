"""SIGSTOP of a worker past its lease, then SIGCONT: it wakes up and believes that its jobs are still its own.

Half of the freezes are at random moments, the others in the middle of a commit: we lock the owner's row until commits
wait for it, freeze one worker, and let go.
"""

import asyncio
import random
import time
from pathlib import Path

import asyncpg

from faults.ledger import close_the_books
from faults.load import Load
from faults.row import Row, Scale
from faults.site import Process, Site, open_site, session, write_song
from faults.stores import Stores

NAME = "SIGSTOP a worker past its lease, then SIGCONT"
FROZEN_WITHIN_S = 30.0
TAKEN_WITHIN_S = 60.0

HELD = "select id from jobs where state = 'running' and worker like $1"
STARTED = """
select count(*) from jobs j join events e on e.job_id = j.id and e.type = 'job.started' where j.state = 'running'
"""
FREE = HELD + " for update skip locked"


async def run(scale: Scale, stores: Stores, folder: Path) -> Row:
    row, rng = Row(NAME), scale.chance(NAME)
    freezes, jobs, lease_s = scale.pick((1, 20, 3.0), (4, 100, 10.0))
    more = {"NEURALIB_WORKER_LEASE_S": str(lease_s)}
    async with open_site(stores, folder, workers=scale.pick(2, 3), more=more) as site, session() as http:
        load = Load(site, http)
        await load.prepare(write_song(folder))
        await load.submit()
        await load.settled(60.0)
        pouring = asyncio.create_task(load.pour(jobs, freezes * (lease_s + 6.0), rng, windows=6))
        met = 0
        for number in range(freezes):
            victim = rng.choice(site.workers)
            await (freeze_at_work(site, victim, rng) if number % 2 else freeze_in_commit(site))
            frozen = next(w for w in site.workers if w.frozen)
            met += await outlive_the_lease(site, frozen, lease_s)
            frozen.thaw()
        await pouring
        await close_the_books(row, site, load)
        fenced = site.logged('"event": "job.fenced"')
        dropped = site.logged('"event": "job.ended"', '"fenced": true')
    row.counts |= {
        "freezes": freezes,
        "jobs taken over": met,
        "fenced commits": fenced,
        "fenced ends": dropped,
    }
    row.claim(fenced > 0, "no late commit was seen, so none was fenced")
    return row


async def freeze_at_work(site: Site, victim: Process, rng: random.Random) -> None:
    """While it has a job."""
    async with site.sql() as db, asyncio.timeout(FROZEN_WITHIN_S):
        while not await db.fetch(HELD, of(victim)):
            await asyncio.sleep(0.02)
    await asyncio.sleep(rng.uniform(0, 0.2))
    victim.freeze()


async def freeze_in_commit(site: Site) -> None:
    """A worker of which a commit has begun and not ended."""
    async with asyncio.timeout(FROZEN_WITHIN_S):
        while not await caught(site):
            pass


async def caught(site: Site) -> bool:
    """Whether, while nobody else may write events, a worker came to its commit and was frozen there: it has locked the
    job's row and waits for the owner's.
    """
    async with site.sql() as db, site.sql() as eye, db.transaction():
        while not await eye.fetchval(STARTED):
            await asyncio.sleep(0.02)
        await db.fetch("select from owners for no key update")
        before: set[Process] = set()
        for _ in range(20):
            now = {worker for worker in site.workers if await commits(eye, worker)}
            if both := before & now:
                min(both, key=lambda worker: worker.name).freeze()
                return True
            before = now
            await asyncio.sleep(0.1)
    return False


async def commits(db: asyncpg.Connection, worker: Process) -> bool:
    held = await db.fetch(HELD, of(worker))
    return len(await db.fetch(FREE, of(worker))) < len(held)


async def outlive_the_lease(site: Site, frozen: Process, lease_s: float) -> int:
    """Wait until others hold what the frozen one held; how many jobs that was."""
    began = time.monotonic()
    async with site.sql() as db:
        held = await db.fetch(HELD, of(frozen))
        while await db.fetch(HELD, of(frozen)) and time.monotonic() - began < TAKEN_WITHIN_S:
            await asyncio.sleep(0.1)
    await asyncio.sleep(max(0.0, began + lease_s - time.monotonic()))
    return len(held)


def of(worker: Process) -> str:
    """What the names of its claims look like."""
    return f"%-{worker.pid}-%"
