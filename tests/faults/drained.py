"""SIGTERM to everything at once, under load: half of the workers may finish what they have, the others give it back."""

import asyncio
import signal
import time
from pathlib import Path

from faults.ledger import close_the_books, every_event_once
from faults.load import Follower, Load
from faults.row import Row, Scale
from faults.site import Process, open_site, session, write_song
from faults.stores import Stores

NAME = "SIGTERM under load"
SLOTS = 4
SHORT_DRAIN_S = 0.5
LONG_DRAIN_S = 20.0
MARGIN_S = 15.0
"""What giving back, closing and leaving Python may take on top."""

RUNNING = "select count(*) from jobs where state = 'running'"


async def run(scale: Scale, stores: Stores, folder: Path) -> Row:
    row, rng = Row(NAME), scale.chance(NAME)
    patient, hasty, clients = scale.pick((1, 1, 5), (2, 3, 20))
    more = {"NEURALIB_WORKER_SLOTS": str(SLOTS)}
    async with open_site(stores, folder, more=more) as site, session() as http:
        for drain_s in [LONG_DRAIN_S] * patient + [SHORT_DRAIN_S] * hasty:
            site.worker(NEURALIB_WORKER_DRAIN_S=str(drain_s))
        await site.start(workers=0)
        load = Load(site, http)
        await load.prepare(write_song(folder))
        wanted = SLOTS * (patient + hasty)
        async with Follower.many(site, http, clients, rng) as followers:
            for _ in range(2 * wanted):
                await load.submit(windows=10, window_s=0.2)
            async with site.sql() as db, asyncio.timeout(60.0):
                while (running := await db.fetchval(RUNNING)) < wanted:
                    await asyncio.sleep(0.05)
            asked = time.monotonic()
            everybody = [site.api, *site.workers]
            for process in everybody:
                process.signal(signal.SIGTERM)
            codes = await asyncio.gather(*(left(process, asked) for process in everybody))
            async with site.sql() as db:
                still = await db.fetchval(RUNNING)
                drains = await db.fetchval("select sum(drains) from jobs")
            for process in everybody:
                await process.start(wait=False)
            await close_the_books(row, site, load)
            await every_event_once(row, site, followers)
        async with site.sql() as db:
            used = await db.fetchval("select count(*) from jobs where errors + crashes > 0")
    row.counts |= {
        "running": running,
        "given back": drains,
        "attempts used": used,
        "API left after s": round(codes[0][1], 1),
        "slowest worker s": round(max(seconds for _, seconds in codes[1:]), 1),
    }
    row.claim(all(code == 0 for code, _ in codes), f"exit codes {[code for code, _ in codes]}")
    row.claim(still == 0, f"{still} jobs were left running")
    row.claim(used == 0, f"{used} jobs lost an attempt")
    row.claim(drains > 0, "no job was given back")
    return row


async def left(process: Process, asked: float) -> tuple[int, float]:
    """Exit code, and seconds since the signal."""
    code = await process.gone(LONG_DRAIN_S + MARGIN_S)
    return code, time.monotonic() - asked
