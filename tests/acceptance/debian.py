"""PostgreSQL and Redis from Debian's packages, started by the tests in folders of their own."""

import asyncio
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

import servers


def programs() -> tuple[Path, Path] | None:
    """(folder of PostgreSQL's programs, redis-server) when both are installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    redis = shutil.which("redis-server")
    return (found[-1].parent, Path(redis)) if found and redis else None


@contextmanager
def stores(postgres: Path, redis: Path) -> Iterator[tuple[str, str]]:
    """(database URL, redis URL) of two fresh servers. As root PostgreSQL runs as `nobody`."""
    password = secrets.token_hex(8)
    port, redis_port = servers.free_ports(2)
    with tempfile.TemporaryDirectory(prefix="nl-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        drop = _dropper(folder)
        (folder / "pw").write_text(password)
        (folder / "pw").chmod(0o644)
        data = folder / "pg"
        words = [
            "-D",
            data,
            "-U",
            "neuralib",
            "--auth=scram-sha-256",
            f"--pwfile={folder / 'pw'}",
            "--encoding=UTF8",
        ]
        subprocess.run(
            [*drop, postgres / "initdb", *words, "--no-sync"], check=True, capture_output=True, cwd="/"
        )
        run = [
            *drop,
            str(postgres / "postgres"),
            "-D",
            str(data),
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-k",
            str(data),
        ]
        cache = ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--requirepass", password]
        cache[0] = str(redis)
        (folder / "redis").mkdir()
        (folder / "logs").mkdir()
        with (
            servers.running([*run], folder / "logs", dict(os.environ)),
            servers.running(
                [*cache, "--save", "", "--dir", str(folder / "redis")], folder / "redis", dict(os.environ)
            ),
        ):
            url = f"postgresql://neuralib:{password}@127.0.0.1:{port}"
            _make_database(url, time.monotonic() + servers.READY_WITHIN_S)
            yield f"{url}/neuralib", f"redis://:{password}@127.0.0.1:{redis_port}/0"


def _dropper(folder: Path) -> list[str]:
    if os.geteuid() != 0:
        return []
    account = pwd.getpwnam("nobody")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return [
        shutil.which("setpriv") or "setpriv",
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
    ]


def _make_database(url: str, deadline: float) -> None:
    async def make() -> None:
        connection = await asyncpg.connect(f"{url}/postgres", timeout=5)
        try:
            await connection.execute("create database neuralib")
        finally:
            await connection.close()

    while True:
        try:
            return asyncio.run(make())
        except (OSError, asyncpg.PostgresError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
