"""The books of a site after a storm: every accepted job ended once, every byte has an owner, every event its number."""

import asyncio
import time
from collections.abc import Sequence

import asyncpg

from faults.load import Follower, Load
from faults.row import Row
from faults.site import Site

FILES = 2
"""What a storm job makes unless it is told otherwise."""
SWEPT_WITHIN_S = 20.0
TOLD_WITHIN_S = 30.0

ENDINGS = "('job.succeeded', 'job.failed', 'job.cancelled', 'job.timed_out')"
TWICE_OR_NEVER = f"""
select count(*) from jobs j
where (select count(*) from events e where e.job_id = j.id and e.type in {ENDINGS})
   <> case when j.state in ('queued', 'running') then 0 else 1 end
"""
WRONG_SETS = """
select count(*) from jobs j
where (select count(*) from assets a where a.job_id = j.id) <> case when j.state = 'succeeded' then $1 else 0 end
"""
GAPS = """
select count(*) from owners o
where o.event_seq <> (select count(*) from events e where e.owner_id = o.id)
   or o.event_seq <> (select coalesce(max(seq), 0) from events e where e.owner_id = o.id)
"""


async def close_the_books(
    row: Row,
    site: Site,
    load: Load,
    *,
    succeed: int | None = None,
    files: int = FILES,
    settle_s: float = 120.0,
) -> None:
    """Wait until everything ended, then hold the site to the promise. `succeed`: how many jobs must have succeeded;
    None: all.
    """
    left = await load.settled(settle_s)
    row.claim(left == 0, f"{left} jobs did not end within {settle_s:g} s")
    async with site.sql() as db:
        states = dict(await db.fetch("select state, count(*) from jobs group by state"))
        known = {str(r["id"]) for r in await db.fetch("select id from jobs")}
        assets = {str(r["id"]) for r in await db.fetch("select id from assets")}
        wrong = await db.fetchval(TWICE_OR_NEVER)
        sets = await db.fetchval(WRONG_SETS, files)
        gaps = await db.fetchval(GAPS)
    lost = set(load.accepted) - known
    wanted = len(known) if succeed is None else succeed
    succeeded = states.get("succeeded", 0)
    row.counts |= {"jobs": len(load.accepted), "succeeded": succeeded, "lost": len(lost)}
    row.claim(not lost, f"{len(lost)} accepted jobs are not in the database")
    row.claim(succeeded == wanted, f"{succeeded} jobs succeeded instead of {wanted}: {states}")
    row.claim(wrong == 0, f"{wrong} jobs have not exactly one last event")
    row.claim(sets == 0, f"{sets} jobs have not exactly the assets they should")
    row.claim(gaps == 0, f"the events of {gaps} owners have gaps")
    unacknowledged = set(load.uploaded) - assets
    row.claim(not unacknowledged, f"{len(unacknowledged)} acknowledged uploads are gone")
    row.claim(500 not in load.statuses, f"{load.statuses[500]} answers were 500")
    row.counts["orphans"] = await count_orphans(row, site)
    left = [path for path in site.scratch.rglob("*") if path.is_file() and path.suffix != ".lock"]
    row.claim(not left, f"{len(left)} temporary files were left behind")


async def count_orphans(row: Row, site: Site) -> int:
    """Let the site sweep what waits for its day, then count the objects that nobody owns; owned ones must be whole."""
    async with site.sql() as db:
        await db.execute("update pending_objects set delete_after = now()")
        deadline = time.monotonic() + SWEPT_WITHIN_S
        while left := await db.fetchval("select count(*) from pending_objects"):
            if time.monotonic() > deadline:
                row.claim(False, f"{left} keys were not swept within {SWEPT_WITHIN_S:g} s")
                break
            await asyncio.sleep(0.2)
        owned = {r["key"]: r["sha256"] for r in await db.fetch("select key, sha256 from blobs")}
        beside = {r["key"] for r in await db.fetch("select key from renditions")}
    found = await asyncio.to_thread(site.digests)
    missing = [key for key, sha256 in owned.items() if found.get(key) != sha256]
    row.claim(not missing, f"{len(missing)} objects are missing or damaged")
    lost = beside - found.keys()
    row.claim(not lost, f"{len(lost)} renditions are missing")
    orphans = found.keys() - owned.keys() - beside
    row.claim(not orphans, f"{len(orphans)} objects belong to nobody")
    return len(orphans)


async def every_event_once(row: Row, site: Site, followers: Sequence[Follower]) -> None:
    """Each client was told 1, 2, 3… to the newest, whatever broke in between."""
    async with site.sql() as db:
        head = await db.fetchval("select max(event_seq) from owners")
    await asyncio.gather(*(follower.reached(head, TOLD_WITHIN_S) for follower in followers))
    wrong = [f for f in followers if f.seqs != list(range(1, head + 1)) or f.resets]
    row.counts |= {
        "streams": len(followers),
        "events each": head,
        "resumes": sum(follower.connects - 1 for follower in followers),
    }
    row.claim(not wrong, f"{len(wrong)} of {len(followers)} streams did not tell every event exactly once")


async def database_clock(db: asyncpg.Connection) -> float:
    return float(await db.fetchval("select extract(epoch from clock_timestamp())"))
