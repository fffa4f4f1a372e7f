"""The object store is down, or takes every connection and never answers, while recordings come in and jobs run."""

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import servers
from faults.ledger import close_the_books
from faults.line import Line, line_to
from faults.load import Load
from faults.recordings import pour_at_once
from faults.row import Row, Scale
from faults.site import Site, open_site, session, write_song
from faults.stores import Stores

DOWN, SILENT = "object store down", "object store silent"
ANSWERED_WITHIN_S = 15.0
BUCKET = "faults"

STARTS = "select count(*) from events where type = 'job.started'"


async def down(scale: Scale, stores: Stores, folder: Path) -> Row:
    return await _storm(DOWN, Line.down, scale, stores, folder)


async def silent(scale: Scale, stores: Stores, folder: Path) -> Row:
    return await _storm(SILENT, Line.silent, scale, stores, folder)


async def _storm(name: str, fault, scale: Scale, stores: Stores, folder: Path) -> Row:
    row, rng = Row(name), scale.chance(name)
    away_s, jobs, uploads = scale.pick((4.0, 10, 4), (60.0, 60, 30))
    async with s3_site(stores, folder, scale) as (site, line), session() as http:
        load, song = Load(site, http), write_song(folder)
        await load.prepare(song)
        whole_s = away_s + 2.0
        pouring = asyncio.gather(
            # As many windows as it takes for some to be computing when the store goes.
            load.pour(jobs, whole_s, rng, windows=10),
            pour_at_once(load, uploads, whole_s, rng, song),
        )
        await asyncio.sleep(1.0)
        await fault(line)
        status, _ = await load.call("GET", f"/assets/{load.track}/content")
        row.claim(status == 503, f"content of a store that is away was answered {status}")
        await asyncio.sleep(away_s)
        waiting = site.logged("job.waits")
        await line.mend()
        await pouring
        await close_the_books(row, site, load)
        async with site.sql() as db:
            again = await db.fetchval(STARTS) - len(load.accepted)
    row.counts |= {
        "uploads": len(load.uploaded),
        "503": load.statuses[503],
        "slowest answer s": round(load.slowest_s, 1),
        "waits": waiting,
        "computed again": again,
    }
    row.claim(waiting > 0, "no job met a store that was away")
    row.claim(load.statuses[503] > 1, "no upload met a store that was away")
    row.claim(again == 0, f"{again} jobs were begun again")
    row.claim(load.slowest_s < ANSWERED_WITHIN_S, f"an answer took {load.slowest_s:.1f} s")
    row.claim(load.statuses[0] == 0, f"{load.statuses[0]} calls were not answered at all")
    return row


@asynccontextmanager
async def s3_site(stores: Stores, folder: Path, scale: Scale) -> AsyncIterator[tuple[Site, Line]]:
    """A site whose objects are in a bucket behind a line."""
    data = Path(tempfile.mkdtemp(prefix="nl-s3-"))  # a socket lies there: its path must be short
    manager = servers.s3_server(data)
    server = await asyncio.to_thread(manager.__enter__)
    try:
        async with line_to(server.endpoint) as line:
            env = {
                "NEURALIB_STORAGE_KIND": "s3",
                "NEURALIB_STORAGE_ENDPOINT": line.url,
                "NEURALIB_STORAGE_BUCKET": BUCKET,
                "NEURALIB_STORAGE_ACCESS_KEY": server.access_key,
                "NEURALIB_STORAGE_SECRET_KEY": server.secret_key,
                "NEURALIB_STORAGE_CREATE_BUCKET": "true",
            }
            if not scale.long:
                env["NEURALIB_STORAGE_TIMEOUT_S"] = "2"
            async with open_site(stores, folder, workers=scale.pick(1, 2), more=env) as site:
                site.digests = partial(_digests, server)
                yield site, line
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)
        shutil.rmtree(data, ignore_errors=True)


def _digests(server: servers.S3Server) -> dict[str, str]:
    client = server.client()
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="blobs/"):
        for item in page.get("Contents", ()):
            body = client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
            found[item["Key"]] = hashlib.sha256(body).hexdigest()
    client.close()
    return found
