"""The claim on a deep queue: fair between owners beside first come, first served, in one run.

    python scripts/bench/claims.py [--jobs 100000] [--owners 1000] [--rounds 2000] [--explain]

Two queues of one table, alike: every owner with as many jobs, submitted owner by owner. Both sides claim in turn, each
in a transaction of its own; first come, first served is the claim that a single owner would need, with the index it
needs. The gate: nothing is claimed twice, and of any `owners` fair claims in a row each owner got one.
"""

import sys

del sys.path[0]  # this folder: a file of it is called like a module of Python itself

import argparse  # noqa: E402
import asyncio  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from datetime import timedelta  # noqa: E402
from pathlib import Path  # noqa: E402
from uuid import UUID  # noqa: E402

from neuralib import logs  # noqa: E402
from neuralib.config import load_settings  # noqa: E402
from neuralib.db import QUERIES, Connection, Database, open_database  # noqa: E402
from neuralib.db import jobs as rows  # noqa: E402
from neuralib.db.migrate import migrate  # noqa: E402
from neuralib.orchestrator import embedded  # noqa: E402

LEASE = timedelta(minutes=10)
AT_MOST = 1.5
"""Of first come, first served."""

FILL = """
with people as (
    insert into owners (id, subject)
    select gen_random_uuid(), 'owner ' || n from generate_series(1, $2::int) n returning id
), numbered as (select id, row_number() over () as n from people)
insert into jobs (id, owner_id, operation, model, params, max_attempts, timeout_s, queued_at)
select gen_random_uuid(), o.id, 'echo', side, '{"gain": 1.0}', 3, 60,
       now() - interval '1 hour' + (o.n * 1000 + j) * interval '1 microsecond'
from numbered o cross join generate_series(1, $1::int / $2::int) j
cross join unnest(array['fair', 'first come']) side
"""
FIFO_INDEX = "create index bench_fifo on jobs (model, priority desc, queued_at, id) where state = 'queued' and model = 'first come'"
FIFO = """
with next as materialized (
    select id from jobs where state = 'queued' and model = 'first come' and not_before <= now()
    order by priority desc, queued_at, id
    for update skip locked limit 1
)
update jobs j
set state = 'running', attempt = attempt + 1, worker = $1, lease_until = now() + $2::interval,
    started_at = coalesce(started_at, now()), progress = '{}'
from next where j.id = next.id
returning j.*
"""


async def main(jobs: int, owners: int, rounds: int, *, explain: bool) -> None:
    logs.configure("error")
    with tempfile.TemporaryDirectory(prefix="neuralib-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        async with embedded(load_settings(), folder / "data") as (settings, _):
            assert settings.database.url is not None
            async with open_database(settings.database.url.get_secret_value()) as db:
                await migrate(db)
                async with db.statements() as tx:
                    await tx.script(FILL, jobs, owners, timeout_s=300)
                    await tx.script(FIFO_INDEX, timeout_s=300)
                    await tx.script("analyze jobs", timeout_s=300)
                    if explain:
                        await show(tx)
                taken, served, places = await measure(db, rounds, owners)
    report(jobs, owners, taken, served, places)


async def show(tx: Connection) -> None:
    """The plan, without carrying it out for good."""
    async with tx.raw.transaction():
        owner = await tx.raw.fetchval("select owner_id from jobs order by random() limit 1")
        plan = await tx.raw.fetch(
            f"explain (analyze, buffers, costs off) {QUERIES['claim_job']}", "fair", "w", LEASE, [0], [owner]
        )
        print("\n".join(row[0] for row in plan), "\n")
        await tx.raw.execute("update jobs set state = 'queued', attempt = 0 where state = 'running'")


async def measure(
    db: Database, rounds: int, owners: int
) -> tuple[dict[str, list[float]], list[UUID], list[float]]:
    taken: dict[str, list[float]] = {"fair": [], "first come": []}
    ids: set[UUID] = set()
    order: list[UUID] = []
    served: dict[int, UUID] = {}
    places: list[float] = []
    async with db.statements() as tx:
        for n in range(rounds):
            for side in ("fair", "first come") if n % 2 else ("first come", "fair"):
                began = time.perf_counter()
                if side == "fair":
                    job = await rows.claim(tx, side, "bench", LEASE, served)
                    assert job is not None
                    id_, served[job.priority] = job.id, job.owner_id
                    order.append(job.owner_id)
                else:
                    id_ = (await tx.raw.fetchrow(FIFO, "bench", LEASE))["id"]
                taken[side].append((time.perf_counter() - began) * 1000)
                assert id_ not in ids, "claimed twice"
                ids.add(id_)
        for row in await tx.raw.fetch(
            "select id from jobs where state = 'queued' and model = 'fair' order by random() limit 50"
        ):
            began = time.perf_counter()
            await rows.position(tx, row["id"])
            places.append((time.perf_counter() - began) * 1000)
    for first in range(0, rounds - owners + 1, owners):
        most = Counter(order[first : first + owners]).most_common(1)[0][1]
        assert most == 1, f"one owner got {most} turns of a round"
    return taken, order, places


def report(
    jobs: int, owners: int, taken: dict[str, list[float]], served: list[UUID], places: list[float]
) -> None:
    print(
        f"{jobs} queued jobs of {owners} owners, {len(served)} claims each, gate: nothing twice, one turn each a round"
    )
    print(f"{'':14}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}{'owners served':>15}")
    for side, values in taken.items():
        p95 = sorted(values)[round(0.95 * (len(values) - 1))]
        many = str(len(set(served))) if side == "fair" else ""
        print(f"{side:14}{statistics.median(values):9.2f}{p95:9.2f}{max(values):9.2f}{many:>15}")
    print(f"{'position':14}{statistics.median(places):9.2f}{max(places):18.2f}")
    ratio = statistics.median(a / b for a, b in zip(taken["fair"], taken["first come"], strict=True))
    verdict = "holds" if ratio <= AT_MOST else "DOES NOT HOLD"
    print(f"a fair claim takes {ratio:.2f}x, {AT_MOST:g}x allowed: {verdict}")
    raise SystemExit(0 if ratio <= AT_MOST else 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--owners", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--explain", action="store_true")
    options = parser.parse_args()
    asyncio.run(main(options.jobs, options.owners, options.rounds, explain=options.explain))
