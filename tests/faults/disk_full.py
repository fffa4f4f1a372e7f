"""The disk of the data directory of `up` is full: what the service itself brings in leaves room for the database, and
when somebody else fills it to the last byte everything is refused by name until there is room again.
"""

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import numpy as np

import servers
from corpus import wav
from faults.ledger import close_the_books
from faults.load import Load
from faults.row import Row, Scale
from faults.site import Process, Site, digests, session, write_song
from faults.stores import Stores

NAME = "disk full on the data directory"
DISK, SPARE, RECORDING = 224 << 20, 48 << 20, 8 << 20
MOST_UPLOADS = DISK // RECORDING
REFUSED = {503, 507}
BLOCK = 1 << 16

FAILED = "select count(*) from jobs where state = 'failed' and error ->> 'code' = 'storage-full'"


async def run(scale: Scale, stores: Stores, folder: Path) -> Row:
    row, rng = Row(NAME), np.random.default_rng(scale.seed)
    with small_disk() as disk:
        if disk is None:
            row.counts["skipped"] = "only root may mount a small file system"
            return row
        site = up_on(disk, stores, folder)
        try:
            await start(site, disk)
            async with session() as http:
                load = Load(site, http)
                await load.prepare(write_song(folder))
                await fill_by_uploads(row, load, rng)
                await fill_to_the_last_byte(row, load, disk, scale.pick(3.0, 15.0), rng)
                await make_room(row, load, site, disk)
                await goes_on(row, load, site, rng)
        finally:
            site.api.leave()
    return row


async def fill_by_uploads(row: Row, load: Load, rng: np.random.Generator) -> None:
    """Until the service says that it is enough; the database must not have felt it."""
    status, body = 201, None
    while status == 201 and len(load.uploaded) < MOST_UPLOADS:
        status, body = await upload(load, rng)
    row.counts["uploads until refused"] = len(load.uploaded)
    row.claim(
        (status, code_of(body)) == (507, "storage-full"), f"the last upload was answered {status} {body}"
    )
    status, body = await load.call("POST", "/libraries", json={"name": "room is left"})
    row.claim(status == 201, f"beside a disk that we filled, a library was answered {status} {body}")
    # Its input alone is larger than what is left.
    body = await load.insist("POST", "/jobs", 202, json=order(load, load.uploaded[-1], max_attempts=1))
    load.accepted.append(body["id"])
    body = (await load.call("GET", f"/jobs/{body['id']}?wait_s=20"))[1]
    error = body["error"] or {}
    row.claim(error.get("code") == "storage-full", f"a job on a full disk {body['state']}: {error}")


async def fill_to_the_last_byte(
    row: Row, load: Load, disk: Path, seconds: float, rng: np.random.Generator
) -> None:
    """Somebody else does; the database gets no room either, not even for a checkpoint."""
    await asyncio.to_thread(_fill, disk / "somebody-else")
    before = load.statuses.copy()
    with suppress(asyncpg.PostgresError, OSError):
        async with load.site.sql() as db:
            await db.execute("checkpoint")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await upload(load, rng)
        await load.call("POST", "/libraries", json={"name": "x" * 200, "description": "y" * 4000})
        await load.call("GET", "/jobs")
        status, body = await load.call("POST", "/jobs", json=order(load, load.track))
        if status == 202:
            load.accepted.append(body["id"])
        await asyncio.sleep(0.1)
    met = load.statuses - before
    row.counts |= {f"{status} meanwhile": count for status, count in sorted(met.items())}
    wrong = {status for status in met if status >= 500 or status == 0} - REFUSED
    row.claim(not wrong, f"on a full disk there were answers {sorted(wrong)}")
    row.claim(met[507] > 0, "nobody was told that the disk is full")
    row.claim(load.site.api.alive, "the service did not stay up")


async def make_room(row: Row, load: Load, site: Site, disk: Path) -> None:
    """Somebody else leaves, three recordings go, and the power as well."""
    await asyncio.to_thread((disk / "somebody-else").unlink)
    for asset in load.uploaded[:3]:
        await load.insist("DELETE", f"/assets/{asset}?purge=true", 204)
    del load.uploaded[:3]
    await site.api.kill()
    await start(site, disk)
    status, _ = await load.call("GET", "/jobs")
    row.claim(status == 200, f"after the restart jobs were answered {status}")


async def goes_on(row: Row, load: Load, site: Site, rng: np.random.Generator) -> None:
    began = time.monotonic()
    status, body = await upload(load, rng)
    row.claim(status == 201, f"with room again, an upload was answered {status} {code_of(body)}")
    row.counts["again after s"] = round(time.monotonic() - began, 1)
    for _ in range(3):
        await load.submit(windows=1)
    await load.settled(60.0)
    async with site.sql() as db:
        await db.execute("update pending_objects set delete_after = now()")
        failed = await db.fetchval(FAILED)
    await site.api.kill()  # a start sweeps at once
    await start(site, site.objects.parents[1])
    row.counts["jobs failed as storage-full"] = failed
    await close_the_books(row, site, load, succeed=len(load.accepted) - failed)


# ── the place ─────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """A file system of its own, None where we may not mount one."""
    folder = Path(tempfile.mkdtemp(prefix="nl-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=711", "tmpfs", str(folder)]
    try:
        if subprocess.run(mount, capture_output=True, check=False, timeout=10).returncode:
            yield None
            return
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def up_on(disk: Path, stores: Stores, folder: Path) -> Site:
    """An installation in one process, with everything it knows on this disk."""
    folder = folder / f"up-{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    site = Site(stores, folder, "", {"NEURALIB_STORAGE_SPARE_BYTES": str(SPARE)})
    port, data = servers.free_ports(1)[0], disk / "data"
    own = {"DATABASE_URL", "REDIS_URL", "STORAGE_PATH", "WORKER_SCRATCH"}
    env = {name: value for name, value in site.env.items() if name.removeprefix("NEURALIB_") not in own}
    words = ["up", "--data", str(data), "--port", str(port)]
    site.api = Process(folder, "up", words, env, r"is up at http")
    site.url = f"http://127.0.0.1:{port}"
    site.urls = [site.url]
    site.objects = data / "objects"
    site.digests = partial(digests, site.objects)
    return site


async def start(site: Site, disk: Path) -> None:
    await site.api.start()
    data = disk / "data"
    password = json.loads((data / "secrets").read_text())["postgres"]
    port = (data / "postgres" / "postmaster.pid").read_text().splitlines()[3]
    site.database_url = f"postgresql://postgres:{password}@127.0.0.1:{port}/neuralib"


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(BLOCK))


# ── the load ──────────────────────────────────────────────────────────────────────────────────────────


def recording(rng: np.random.Generator) -> bytes:
    return wav(rng.bytes(RECORDING))


async def upload(load: Load, rng: np.random.Generator) -> tuple[int, Any]:
    """Once: status and body."""
    form = aiohttp.FormData()
    form.add_field("file", BytesIO(recording(rng)), filename="more.wav")
    status, body = await load.call("POST", f"/libraries/{load.library}/assets", data=form)
    if status == 201:
        load.uploaded.append(body["items"][0]["asset"]["id"])
    return status, body


def order(load: Load, asset: str, **more: Any) -> dict[str, Any]:
    """A job that is no other's twin."""
    params = {"windows": 1, "salt": 1000 + sum(load.statuses.values())}
    return {"operation": "storm", "inputs": [{"asset_id": asset}], "params": params, **more}


def code_of(body: Any) -> Any:
    return body.get("code") if isinstance(body, dict) else None
