"""PostgreSQL stops as if the power went, and comes back."""

import asyncio
from pathlib import Path

from faults.ledger import close_the_books, every_event_once
from faults.load import Follower, Load
from faults.row import Row, Scale
from faults.site import open_site, session, write_song
from faults.stores import Stores

NAME = "PostgreSQL immediate stop and start"
ANSWERED_WITHIN_S = 15.0


async def run(scale: Scale, stores: Stores, folder: Path) -> Row:
    row, rng = Row(NAME), scale.chance(NAME)
    stops, jobs, uploads, every_s = scale.pick((1, 15, 5, 5.0), (5, 100, 40, 12.0))
    async with open_site(stores, folder, workers=scale.pick(1, 2)) as site, session() as http:
        load, song = Load(site, http), write_song(folder)
        await load.prepare(song)
        async with Follower.many(site, http, scale.pick(3, 10), rng) as followers:
            pouring = asyncio.gather(
                load.pour(jobs, stops * every_s, rng),
                load.pour_uploads(uploads, stops * every_s, rng, song),
            )
            for _ in range(stops):
                await asyncio.sleep(rng.uniform(1.0, every_s / 2))
                await stores.stop_postgres()
                await asyncio.sleep(rng.uniform(0.5, every_s / 3))
                await stores.postgres.start()
            await pouring
            await close_the_books(row, site, load)
            await every_event_once(row, site, followers)
    row.counts |= {
        "stops": stops,
        "uploads": len(load.uploaded),
        "503": load.statuses[503],
        "slowest answer s": round(load.slowest_s, 1),
    }
    row.claim(load.slowest_s < ANSWERED_WITHIN_S, f"an answer took {load.slowest_s:.1f} s")
    return row
