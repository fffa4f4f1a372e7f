"""A whole installation under a fault: processes of `neuralib` over stores that can be killed, and its HTTP API."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg
from redis.asyncio import Redis

import servers
from acceptance.harness import write_tones
from faults.stores import Stores
from neuralib.db import open_database
from neuralib.db.migrate import migrate

PLUGIN = Path(__file__).parents[1] / "plugins" / "neuralib-storm"
READY_WITHIN_S = 90.0
LEAVES_WITHIN_S = 60.0


class Process:
    """One process of `neuralib` that can be killed, frozen and started again."""

    def __init__(self, folder: Path, name: str, words: list[str], env: Mapping[str, str], says: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._out = folder / f"{name}.out"
        self._words = words
        self._env = env
        self._says = says
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self, *, wait: bool = True) -> None:
        """Returns once it says that it is ready; without `wait`, at once."""
        guard = [sys.executable, "-I", "-S", "-c", servers.GUARD, str(os.getpid())]
        with self._out.open("wb") as out, self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*guard, sys.executable, "-m", "neuralib", *self._words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self._env},
            )
        if wait:
            await self.ready()

    async def ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not re.search(self._says, self._out.read_text()):
            if not self.alive or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} did not come up:\n{self.log.read_text()[-3000:]}")
            await asyncio.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """kill -9."""
        if self.alive:
            self.signal(signal.SIGKILL)
        await self.gone()

    async def gone(self, within_s: float = LEAVES_WITHIN_S) -> int:
        """Its exit code. Raises TimeoutExpired."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, within_s)

    def logged(self, event: str) -> int:
        """How often a line of its log tells of this event."""
        return self.log.read_text(errors="replace").count(f'"event": "{event}"') if self.log.exists() else 0

    def leave(self) -> None:
        if self.alive:
            self.signal(signal.SIGKILL)
            assert self._process is not None
            self._process.wait()


class Site:
    """The installation. `url` stays the same across restarts of the API."""

    def __init__(self, stores: Stores, folder: Path, database_url: str, more: Mapping[str, str]) -> None:
        self.stores = stores
        self.folder = folder
        self.database_url = database_url
        self.objects = folder / "objects"
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.workers: list[Process] = []
        self._numbers = count(1)
        self._port = servers.free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self._port}"
        self.env = {
            "NEURALIB_DATABASE_URL": database_url,
            "NEURALIB_REDIS_URL": stores.redis_url,
            "NEURALIB_STORAGE_PATH": str(self.objects),
            "NEURALIB_WORKER_SCRATCH": str(self.scratch),
            "NEURALIB_DEVICE_NAME": "cpu",
            "NEURALIB_WEIGHTS_OFFLINE": "1",
            "NEURALIB_LIMITS_STREAMS_PER_OWNER": "2000",
            "NEURALIB_LOG_FORMAT": "json",
            "PYTHONPATH": str(_installed_plugin(folder)),
            **more,
        }
        self.api = self.serve()

    def serve(self, **env: str) -> Process:
        words = ["serve", "--port", str(self._port)]
        return Process(
            self.folder, f"api-{next(self._numbers)}", words, {**self.env, **env}, r"is up at http"
        )

    def worker(self, model: str = "storm", **env: str) -> Process:
        """One more worker, not started yet."""
        words = ["worker", "--model", model]
        name = f"worker-{next(self._numbers)}"
        worker = Process(self.folder, name, words, {**self.env, **env}, r"device ")
        self.workers.append(worker)
        return worker

    async def start(self, workers: int) -> None:
        """The API and so many workers, all answering."""
        all_ = [self.api, *(self.worker() for _ in range(workers))]
        for process in all_:
            await process.start(wait=False)
        for process in all_:
            await process.ready()

    @asynccontextmanager
    async def sql(self) -> AsyncIterator[asyncpg.Connection]:
        """A look at the database past our own code."""
        connection = await asyncpg.connect(self.database_url, timeout=10, command_timeout=30)
        try:
            yield connection
        finally:
            await connection.close()

    def logged(self, event: str) -> int:
        return sum(worker.logged(event) for worker in self.workers)


@asynccontextmanager
async def open_site(
    stores: Stores, folder: Path, *, workers: int = 0, more: Mapping[str, str] | None = None
) -> AsyncIterator[Site]:
    """A fresh installation with the API and so many workers running; with `workers=0` nothing runs yet. `more` are
    NEURALIB_* of all its processes. Every process is killed at the end.
    """
    async with AsyncExitStack() as stack:
        database = f"site_{uuid4().hex}"
        admin = await asyncpg.connect(f"{stores.postgres_url}/postgres", timeout=10)
        await admin.execute(f"create database {database}")
        await admin.close()
        url = f"{stores.postgres_url}/{database}"
        async with open_database(url, size=1) as db:
            await migrate(db)
        async with Redis.from_url(stores.redis_url) as redis:
            await redis.flushall()
        folder = folder / database
        folder.mkdir(parents=True)
        site = Site(stores, folder, url, more or {})

        def leave() -> None:
            for process in (site.api, *site.workers):
                process.leave()

        stack.callback(leave)
        if workers:
            await site.start(workers)
        yield site


def write_song(folder: Path, seconds: float = 0.5) -> Path:
    """A small track to work on."""
    return write_tones(folder / "song.wav", seconds, rate=8000)


def session() -> aiohttp.ClientSession:
    """For load: as many connections as it takes, none of which waits for ever."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=False),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60),
    )


def _installed_plugin(folder: Path) -> str:
    """A path on which Python finds the storm's executor, by its entry point."""
    about = folder / "packages" / "neuralib_storm-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: neuralib-storm\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[neuralib.executors]\nstorm = neuralib_storm:Storm\n")
    return os.pathsep.join([str(about.parent), str(PLUGIN / "src")])
