"""There is no Redis, from before the first process starts to after the last job ended."""

from pathlib import Path

from faults.ledger import close_the_books
from faults.load import Load
from faults.row import Row, Scale, percentile
from faults.site import open_site, session, write_song
from faults.stores import Stores

NAME = "no Redis at all"
START_P95_S = 2.5

WAITED = (
    "select extract(epoch from started_at - created_at)::float8 as s from jobs order by created_at offset 1"
)


async def run(scale: Scale, stores: Stores, folder: Path) -> Row:
    row, rng = Row(NAME), scale.chance(NAME)
    jobs, over_s = scale.pick((8, 4.0), (50, 40.0))
    async with open_site(stores, folder) as site, session() as http:
        await stores.valkey.kill()
        try:
            await site.start(workers=2)
            load = Load(site, http)
            await load.prepare(write_song(folder))
            await load.submit()  # the first one loads the model
            await load.settled(60.0)
            await load.pour(jobs, over_s, rng, windows=1)
            await close_the_books(row, site, load)
        finally:
            await stores.valkey.start()
        async with site.sql() as db:
            waited = [r["s"] for r in await db.fetch(WAITED)]
    p95 = percentile(waited, 0.95)
    row.counts |= {"start p50 s": round(percentile(waited, 0.5), 2), "start p95 s": round(p95, 2)}
    row.counts["slowest answer s"] = round(load.slowest_s, 2)
    if scale.long:
        row.claim(p95 < START_P95_S, f"jobs waited {p95:.1f} s (p95) to start")
    return row
