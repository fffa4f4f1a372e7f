"""kill -9 of one of two APIs while clients read their event streams and come back to either."""

import asyncio
from pathlib import Path

from faults.ledger import close_the_books, every_event_once
from faults.load import Follower, Load
from faults.row import Row, Scale
from faults.site import open_site, session, write_song
from faults.stores import Stores

NAME = "kill -9 the API"


async def run(scale: Scale, stores: Stores, folder: Path) -> Row:
    row, rng = Row(NAME), scale.chance(NAME)
    kills, clients, jobs, every_s = scale.pick((2, 10, 10, 1.5), (20, 50, 100, 3.0))
    async with open_site(stores, folder, workers=scale.pick(1, 2)) as site, session() as http:
        second, url = site.serve()
        await second.start()
        try:
            site.urls.append(url)
            load = Load(site, http)
            await load.prepare(write_song(folder))
            async with Follower.many(site, http, clients, rng) as followers:
                pouring = asyncio.create_task(load.pour(jobs, kills * every_s, rng))
                for _ in range(kills):
                    await asyncio.sleep(rng.uniform(0, every_s))
                    victim = rng.choice([site.api, second])
                    await victim.kill()
                    await asyncio.sleep(rng.uniform(0, every_s / 4))
                    await victim.start()
                await pouring
                await close_the_books(row, site, load)
                await every_event_once(row, site, followers)
        finally:
            second.leave()
    row.counts |= {"kills": kills, "broken calls": load.statuses[0]}
    row.claim(int(row.counts["resumes"]) > 0, "the kills broke no stream")
    return row
