"""What one signal and two do to a worker whose model is in the middle of a window without end."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from faults.load import Load
from faults.site import Process, open_site, session, write_song
from faults.stores import Stores

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]


@asynccontextmanager
async def stuck(
    stores: Stores, folder: Path, *, drain_s: float
) -> AsyncIterator[tuple[Process, asyncpg.Connection]]:
    """A worker inside such a window, and a look at its job."""
    more = {"NEURALIB_WORKER_DRAIN_S": str(drain_s)}
    async with (
        open_site(stores, folder, workers=1, more=more) as site,
        session() as http,
        site.sql() as db,
    ):
        load = Load(site, http)
        await load.prepare(write_song(folder))
        job = await load.submit(windows=1, window_s=60.0)
        stage = None
        while stage != "infer":
            _, body = await load.call("GET", f"/jobs/{job}?wait_s=1")
            stage = (body["progress"] or {}).get("stage")
        yield site.workers[0], db


async def test_a_stuck_worker_gives_its_job_back_and_leaves_in_peace(
    fault_stores: Stores, tmp_path: Path
) -> None:
    async with stuck(fault_stores, tmp_path, drain_s=0.5) as (worker, db):
        worker.signal(signal.SIGTERM)
        assert await worker.gone() == 0
        job = await db.fetchrow("select state, drains, errors, crashes from jobs")
        assert tuple(job) == ("queued", 1, 0, 0)


async def test_a_second_signal_ends_it_at_once(fault_stores: Stores, tmp_path: Path) -> None:
    async with stuck(fault_stores, tmp_path, drain_s=600.0) as (worker, db):
        worker.signal(signal.SIGTERM)
        while not worker.logged('"event": "stopping"'):
            assert worker.alive
        worker.signal(signal.SIGTERM)
        assert await worker.gone() == -signal.SIGTERM
        assert await db.fetchval("select state from jobs") == "running", "until its lease ends"
