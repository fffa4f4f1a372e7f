"""One job kills the process it runs in, among others that do no harm."""

import asyncio
from pathlib import Path

from faults.ledger import close_the_books
from faults.load import Load
from faults.row import Row, Scale
from faults.site import open_site, session, write_song
from faults.stores import Stores

NAME = "poison job that kills its process"


async def run(scale: Scale, stores: Stores, folder: Path) -> Row:
    row, rng = Row(NAME), scale.chance(NAME)
    innocent, attempts = scale.pick((7, 2), (19, 5))
    more = {"NEURALIB_WORKER_LEASE_S": "3", "NEURALIB_WORKER_MAX_ATTEMPTS": "2"} if not scale.long else {}
    async with open_site(stores, folder, workers=scale.pick(1, 2), more=more) as site, session() as http:
        load = Load(site, http)
        await load.prepare(write_song(folder))
        supervising = asyncio.create_task(site.supervise())
        try:
            at = rng.randrange(innocent)
            for number in range(innocent + 1):
                await load.submit(windows=6, window_s=0.1, fault="die" if number == at else "none")
            await close_the_books(row, site, load, succeed=innocent)
            starts = sum(worker.starts for worker in site.workers)
        finally:
            supervising.cancel()
        async with site.sql() as db:
            poison = await db.fetchrow("select * from jobs where id = $1::uuid", load.accepted[at])
            hurt = await db.fetchval("select max(crashes) from jobs where state = 'succeeded'")
    row.counts |= {
        "crashes of the poison": poison["crashes"],
        "crashed workers": starts,
        "most crashes of another": hurt,
        "poison": poison["state"],
    }
    code = (poison["error"] or "")[:500]
    row.claim(poison["state"] == "failed" and "worker-lost" in code, f"the poison {poison['state']}: {code}")
    row.claim(poison["crashes"] == starts == attempts, f"{starts} workers died of {attempts} attempts")
    row.claim(hurt <= 1, f"another job lost {hurt} attempts to the poison")
    return row
