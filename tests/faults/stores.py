"""PostgreSQL and Valkey that can be killed and started again where they were. They are gone when we are."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

import servers
from neuralib.embedded.programs import Owner, find_postgres, find_valkey, owner_of, within_reach

PASSWORD = "faults"
READY_WITHIN_S = 60.0


class Daemon:
    """One server process."""

    def __init__(
        self, command: Sequence[str | Path], log: Path, answers: Callable[[], Awaitable[None]]
    ) -> None:
        self._command = [str(word) for word in command]
        self._log = log
        self._answers = answers
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns once it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                return await self._answers()
            except (OSError, asyncpg.PostgresError, RedisError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Returns once it is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            await asyncio.to_thread(self._process.wait, READY_WITHIN_S)


@dataclass(frozen=True)
class Stores:
    """Both servers, and where they are."""

    postgres: Daemon
    valkey: Daemon
    postgres_url: str
    """Without a database: each site makes its own."""
    redis_url: str

    async def stop_postgres(self) -> None:
        """`pg_ctl stop -m immediate`: as when the power goes, but for the disk's own memory."""
        await self.postgres.kill(signal.SIGQUIT)


@asynccontextmanager
async def running_stores(more: Sequence[str] = ()) -> AsyncIterator[Stores]:
    """A cluster and a Valkey without persistence, on free ports of loopback, and of `more` addresses of this host. About
    4 s.
    """
    folder = Path(tempfile.mkdtemp(prefix="nl-faults-"))
    folder.chmod(0o711)
    try:
        owner = owner_of(folder, "nobody")
        port, redis_port = servers.free_ports(2)
        hosts = ["127.0.0.1", *more]
        postgres = within_reach(find_postgres(), owner, folder).path
        database_url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port}"
        redis_url = f"redis://:{PASSWORD}@127.0.0.1:{redis_port}/0"

        async def database_answers() -> None:
            await (await asyncpg.connect(f"{database_url}/postgres", timeout=5)).close()

        async def redis_answers() -> None:
            async with Redis.from_url(redis_url, socket_connect_timeout=5) as redis:
                await redis.ping()

        await asyncio.to_thread(_make_cluster, folder, postgres, owner)
        options = ["-c", f"unix_socket_directories={folder / 'cluster'}", "-c", "max_connections=200"]
        stores = Stores(
            Daemon(
                [*_bound(owner), postgres, "-D", folder / "cluster", "-h", ",".join(hosts), "-p", str(port), *options],
                folder / "postgres.log",
                database_answers,
            ),
            Daemon(
                [*_bound(None), find_valkey().path, "--port", str(redis_port), "--bind", *hosts,
                 "--requirepass", PASSWORD, "--save", "", "--dir", folder],
                folder / "valkey.log",
                redis_answers,
            ),
            database_url,
            redis_url,
        )  # fmt: skip
        try:
            await stores.postgres.start()
            await stores.valkey.start()
            yield stores
        finally:
            await stores.valkey.kill()
            await stores.postgres.kill(signal.SIGINT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_cluster(folder: Path, postgres: Path, owner: Owner | None) -> None:
    if owner is not None:
        os.chown(folder, *owner)
    (folder / "pw").write_text(PASSWORD)
    (folder / "pw").chmod(0o644)
    options = ["-U", "postgres", "--auth=scram-sha-256", f"--pwfile={folder / 'pw'}", "--encoding=UTF8"]
    command = [*_bound(owner), postgres.with_name("initdb"), "-D", folder / "cluster", "--no-sync", *options]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, cwd="/")
    with (folder / "cluster" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all samenet scram-sha-256\n")


def _bound(owner: Owner | None) -> list[str]:
    """What to put before a command that must run as `owner` and die with us."""
    if owner is None:
        return [sys.executable, "-I", "-S", "-c", servers.GUARD, str(os.getpid())]
    # Changing the user takes back what the guard asked of the kernel; this asks again.
    program = shutil.which("setpriv") or "/usr/bin/setpriv"
    return [program, f"--reuid={owner[0]}", f"--regid={owner[1]}", "--clear-groups", "--pdeathsig=KILL", "--"]
