"""A whole installation under a fault: processes of `neuralib` over stores that can be killed, and its HTTP API."""

import asyncio
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
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

    def __init__(
        self,
        folder: Path,
        name: str,
        words: list[str],
        env: Mapping[str, str],
        says: str,
        prefix: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._out = folder / f"{name}.out"
        self._words = words
        self._prefix = prefix
        self._env = env
        self._says = says
        self._process: subprocess.Popen[bytes] | None = None
        self.frozen = False
        self.starts = 0
        """How often a supervisor had to."""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def works(self) -> bool:
        """Whether it came up and was not stopped since."""
        return self.alive and re.search(self._says, self._out.read_text()) is not None

    async def start(self, *, wait: bool = True) -> None:
        """Returns once it says that it is ready; without `wait`, at once."""
        guard = [sys.executable, "-I", "-S", "-c", servers.GUARD, str(os.getpid())]
        with self._out.open("wb") as out, self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*guard, *self._prefix, sys.executable, "-m", "neuralib", *self._words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self._env},
            )
        if wait:
            await self.ready()

    async def ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not self.works:
            if not self.alive or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} did not come up:\n{self.log.read_text()[-3000:]}")
            await asyncio.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)
        self.frozen = False

    async def kill(self) -> None:
        """kill -9."""
        if self.alive:
            self.signal(signal.SIGKILL)
        await self.gone()

    async def gone(self, within_s: float = LEAVES_WITHIN_S) -> int:
        """Its exit code. Raises TimeoutExpired."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, within_s)

    def logged(self, *marks: str) -> int:
        """How many lines of its log hold all of these."""
        if not self.log.exists():
            return 0
        return sum(
            all(m in line for m in marks) for line in self.log.read_text(errors="replace").splitlines()
        )

    def leave(self) -> None:
        if self.alive:
            self.signal(signal.SIGKILL)
            assert self._process is not None
            self._process.wait()


class Site:
    """The installation: an API at `url`, workers, a folder of objects."""

    def __init__(self, stores: Stores, folder: Path, database_url: str, more: Mapping[str, str]) -> None:
        self.stores = stores
        self.folder = folder
        self.database_url = database_url
        self.objects = folder / "objects"
        self.digests: Callable[[], dict[str, str]] = partial(digests, self.objects)
        """Of every object that is stored, by its key."""
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.workers: list[Process] = []
        self._numbers = count(1)
        self.env = {
            "NEURALIB_DATABASE_URL": database_url,
            "NEURALIB_REDIS_URL": stores.redis_url,
            "NEURALIB_STORAGE_PATH": str(self.objects),
            "NEURALIB_WORKER_SCRATCH": str(self.scratch),
            "NEURALIB_DEVICE_NAME": "cpu",
            "NEURALIB_INGEST_ANALYZE": "false",  # the ledger knows every job
            "NEURALIB_WEIGHTS_OFFLINE": "1",
            "NEURALIB_LIMITS_STREAMS_PER_OWNER": "2000",
            "NEURALIB_LIMITS_REQUESTS_PER_S": "0",  # all of the load is one owner's
            "NEURALIB_LOG_FORMAT": "json",
            "PYTHONPATH": str(_installed_plugin(folder)),
            **more,
        }
        self.api, self.url = self.serve()
        self.urls = [self.url]
        """Of every API that followers may turn to."""

    def serve(self) -> tuple[Process, str]:
        """One API, not started yet, and where it will be, also after each restart."""
        port = servers.free_ports(1)[0]
        name = f"api-{next(self._numbers)}"
        words = ["serve", "--port", str(port)]
        return Process(self.folder, name, words, self.env, r"is up at http"), f"http://127.0.0.1:{port}"

    def worker(self, model: str = "storm", prefix: Sequence[str] = (), **env: str) -> Process:
        """One more worker, not started yet. `prefix` stands before its command."""
        words = ["worker", "--model", model]
        name = f"worker-{next(self._numbers)}"
        worker = Process(self.folder, name, words, {**self.env, **env}, r"device ", prefix)
        self.workers.append(worker)
        return worker

    async def supervise(self) -> None:
        """Start workers again that died, until cancelled: what an init system does."""
        while True:
            for worker in self.workers:
                if not worker.alive:
                    worker.starts += 1
                    await worker.start()
            await asyncio.sleep(0.1)

    async def start(self, workers: int) -> None:
        """The API, the workers that there are and so many more, all answering."""
        for _ in range(workers):
            self.worker()
        all_ = [self.api, *self.workers]
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

    async def value(self, query: str, *args: Any) -> Any:
        async with self.sql() as db:
            return await db.fetchval(query, *args)

    def logged(self, *marks: str) -> int:
        return sum(worker.logged(*marks) for worker in self.workers)


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


def digests(objects: Path) -> dict[str, str]:
    return {
        path.relative_to(objects).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (objects / "blobs").rglob("*")
        if path.is_file()
    }


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
    already = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(about.parent), str(PLUGIN / "src"), *([already] if already else [])])
