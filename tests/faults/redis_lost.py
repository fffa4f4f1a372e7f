"""Redis loses everything and goes away for a moment, or falls silent: it takes connections and never answers."""

import asyncio
import signal
from pathlib import Path

from redis.asyncio import Redis

from faults.ledger import close_the_books, every_event_once
from faults.load import Follower, Load
from faults.row import Row, Scale
from faults.site import open_site, session, write_song
from faults.stores import Stores

NAME = "Redis FLUSHALL and restart"
ANSWERED_WITHIN_S = 4.0
"""Less than redis.timeout_s."""


async def run(scale: Scale, stores: Stores, folder: Path) -> Row:
    row, rng = Row(NAME), scale.chance(NAME)
    losses, jobs, every_s = scale.pick((2, 20, 3.0), (10, 100, 5.0))
    async with open_site(stores, folder, workers=scale.pick(1, 2)) as site, session() as http:
        load = Load(site, http)
        await load.prepare(write_song(folder))
        async with Follower.many(site, http, scale.pick(3, 10), rng) as followers:
            pouring = asyncio.create_task(load.pour(jobs, losses * every_s, rng))
            for _ in range(losses):
                await asyncio.sleep(rng.uniform(0, every_s))
                async with Redis.from_url(stores.redis_url) as redis:
                    await redis.flushall()
                await stores.valkey.kill()
                await asyncio.sleep(rng.uniform(0, every_s / 2))
                await stores.valkey.start()
                await asyncio.sleep(rng.uniform(0, every_s / 4))
                stores.valkey.send(signal.SIGSTOP)
                await asyncio.sleep(every_s / 4)
                stores.valkey.send(signal.SIGCONT)
            await pouring
            await close_the_books(row, site, load)
            await every_event_once(row, site, followers)
        doubled = await site.value("select count(*) from jobs where attempt > 1")
    row.counts |= {
        "losses": losses,
        "silences": losses,
        "doubled": doubled,
        "slowest answer s": round(load.slowest_s, 2),
    }
    row.claim(doubled == 0, f"{doubled} jobs ran twice")
    row.claim(load.slowest_s < ANSWERED_WITHIN_S, f"an answer took {load.slowest_s:.1f} s")
    row.claim(not load.statuses[503], f"{load.statuses[503]} calls were refused for want of Redis")
    return row
