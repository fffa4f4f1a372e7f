"""The embedded servers: real PostgreSQL and Valkey, real processes, real kill -9."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
import redis.asyncio
from arq.connections import RedisSettings, create_pool

from neuralib.embedded import Program, Stores, describe, run_stores
from neuralib.embedded.programs import find_valkey, owner_of, within_reach
from neuralib.errors import ConfigurationError, DataDirIncompatible, DataDirInUse

WITHIN_S = 30.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

# The other process of these tests: starts the stores, says where they are, waits to be killed.
UP = """
import asyncio, sys
from pathlib import Path
from neuralib.embedded import run_stores
from neuralib.errors import NeuralibError
from neuralib.logs import configure

async def main():
    try:
        async with run_stores(Path(sys.argv[1])) as stores:
            print(stores.database_url, stores.redis_url, flush=True)
            await asyncio.Event().wait()
    except NeuralibError as error:
        print(error.code, error.detail, flush=True)

configure("error")  # on standard error
asyncio.run(main())
"""


def open_folder() -> Path:
    """A temporary folder that another account can reach: pytest's own tmp_path is closed when root runs it."""
    folder = Path(tempfile.mkdtemp(prefix="nl-"))
    folder.chmod(0o711)
    return folder


@pytest.fixture
def fresh() -> Iterator[Path]:
    """A data directory that does not exist yet."""
    folder = open_folder()
    yield folder / "data"
    wait_for_the_end(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A data directory that the tests below use in turn, each for rows of its own: initdb costs a second."""
    folder = open_folder()
    yield folder / "data"
    wait_for_the_end(folder)
    shutil.rmtree(folder)


@pytest.fixture
def up() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Start `UP` on a data directory; whatever is left of it at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(data: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", UP, data], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(WITHIN_S)
        assert process.stdout is not None
        process.stdout.close()


def wait_for_the_end(folder: Path) -> None:
    deadline = time.monotonic() + WITHIN_S
    while living(folder):
        assert time.monotonic() < deadline, "servers were left behind"
        time.sleep(0.02)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def living(data: Path) -> set[int]:
    """The processes whose command line or working directory lies in the data directory."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
            inside = os.fsencode(data) in words or str((entry / "cwd").readlink()).startswith(str(data))
        except OSError:
            continue
        if inside and UP.encode() not in words:
            found.add(int(entry.name))
    return found


async def until(condition: Callable[[], Awaitable[bool]], within: float) -> None:
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() - began < within, "it never became true"
        await asyncio.sleep(0.02)


def servers(data: Path) -> tuple[int, int]:
    postgres = (data / "postgres/postmaster.pid").read_text().split("\n")[0]
    return int(postgres), int((data / "valkey/valkey.pid").read_text())


def keeper(data: Path) -> int:
    """The parent of the servers."""
    status = Path(f"/proc/{servers(data)[0]}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])


async def write(database_url: str) -> UUID:
    """Write a row that no other test has; give its value."""
    value = uuid4()
    connection = await asyncpg.connect(database_url, timeout=WITHIN_S)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (value uuid)")
        await connection.execute("INSERT INTO kept VALUES ($1)", value)
    finally:
        await connection.close()
    return value


async def has(stores: Stores, *values: UUID) -> bool:
    connection = await asyncpg.connect(stores.database_url, timeout=WITHIN_S)
    try:
        return {*values} <= {row["value"] for row in await connection.fetch("SELECT value FROM kept")}
    finally:
        await connection.close()


async def test_what_was_written_is_there_after_a_restart(data: Path):
    async with run_stores(data) as stores:
        row = await write(stores.database_url)
        arq = await create_pool(RedisSettings.from_dsn(stores.redis_url))
        await arq.set("kept", "yes")
        await arq.aclose()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(stores.database_url.replace("postgres:", "postgres:not"), timeout=WITHIN_S)
    assert living(data) == set()
    assert (data / "secrets").stat().st_mode & 0o777 == 0o600

    async with run_stores(data) as stores:
        assert await has(stores, row)
        async with redis.asyncio.from_url(stores.redis_url) as client:
            assert await client.get("kept") == b"yes"
        with pytest.raises(redis.ConnectionError, match="invalid username-password"):
            async with redis.asyncio.from_url(stores.redis_url.replace("//:", "//:not")) as client:
                await client.ping()
        # A second NeuraLib on the same directory is told at once who is there.
        with pytest.raises(DataDirInUse, match=f"process {os.getpid()} "):
            async with run_stores(data):
                pass


async def test_another_process_is_told_who_uses_the_directory(data: Path, up):
    async with run_stores(data):
        second = up(data)
        assert said(second).startswith(f"data-dir-in-use process {os.getpid()} uses ")
        assert second.wait(WITHIN_S) == 0


async def test_killing_us_stops_the_servers_and_the_next_start_finds_every_row(data: Path, up):
    first = up(data)
    database_url, _ = said(first).split()
    row = await write(database_url)
    first.kill()
    first.wait(WITHIN_S)
    # At once, while the servers are still on their way down.
    async with run_stores(data) as stores:
        assert await has(stores, row)
    second = up(data)
    said(second)
    second.kill()
    second.wait(WITHIN_S)

    async def gone() -> bool:
        return not living(data)

    await until(gone, within=WITHIN_S)


async def test_orphaned_servers_are_replaced_when_everything_else_was_killed(data: Path, up):
    process = up(data)
    database_url, _ = said(process).split()
    row = await write(database_url)
    orphans = servers(data)
    os.kill(keeper(data), signal.SIGKILL)
    process.kill()
    process.wait(WITHIN_S)
    assert set(orphans) <= living(data)
    async with run_stores(data) as stores:
        assert await has(stores, row)
        assert not set(orphans) & living(data)
        # Then everything dies at once, as in a power cut: the log is replayed, and the stale pid file is no obstacle.
        second = await write(stores.database_url)
        for pid in (keeper(data), *servers(data)):
            os.kill(pid, signal.SIGKILL)
        await asyncio.wait_for(stores.lost.wait(), WITHIN_S)
    # A pid that is now somebody else's: ours.
    pidfile = data / "postgres/postmaster.pid"
    pidfile.write_text("\n".join([str(os.getpid()), *pidfile.read_text().split("\n")[1:]]))
    async with run_stores(data) as stores:
        assert await has(stores, row, second)


async def test_a_server_that_dies_is_restarted_where_it_was(data: Path):
    async with run_stores(data) as stores:
        row = await write(stores.database_url)
        dead = servers(data)
        for pid in dead:
            os.kill(pid, signal.SIGKILL)

        async def answers() -> bool:
            try:
                async with redis.asyncio.from_url(stores.redis_url) as client:
                    return await client.ping() and await has(stores, row)
            except (OSError, asyncpg.PostgresError, redis.ConnectionError):
                return False

        await until(answers, within=WITHIN_S)
        assert not set(dead) & set(servers(data))
        assert not stores.lost.is_set()


async def test_data_of_another_postgresql_is_left_alone(fresh: Path):
    (fresh / "postgres").mkdir(parents=True)
    (fresh / "postgres/PG_VERSION").write_text("12\n")
    if os.geteuid() == 0:
        shutil.chown(fresh / "postgres", "nobody")
    with pytest.raises(DataDirIncompatible, match="made by PostgreSQL 12"):
        async with run_stores(fresh):
            pass
    assert [path.name for path in (fresh / "postgres").iterdir()] == ["PG_VERSION"]
    assert living(fresh) == set()


async def test_a_lost_file_of_secrets_costs_nothing(data: Path):
    async with run_stores(data) as stores:
        row = await write(stores.database_url)
    (data / "secrets").unlink()
    async with run_stores(data) as stores:
        assert await has(stores, row)


async def test_a_first_start_that_was_cut_short_begins_anew(fresh: Path, up):
    half_made = fresh / "postgres.new"

    async def begun() -> bool:
        return (half_made / "PG_VERSION").exists()

    async def gone() -> bool:
        return not living(fresh)

    killed = up(fresh)
    await until(begun, within=WITHIN_S)
    killed.kill()
    killed.wait(WITHIN_S)
    await until(gone, within=WITHIN_S)
    shutil.rmtree(half_made)

    async def start() -> UUID:
        async with run_stores(fresh) as stores:
            return await write(stores.database_url)

    cancelled = asyncio.create_task(start())
    await until(begun, within=WITHIN_S)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await until(gone, within=WITHIN_S)

    row = await start()
    async with run_stores(fresh) as stores:
        assert await has(stores, row)


@pytest.fixture
def deep(data: Path) -> Iterator[Path]:
    """The same data directory, for one test, at the end of a long path with spaces in it."""
    data.mkdir(exist_ok=True)
    place = data.parent / ("long and deep " * 8) / "data"
    place.parent.mkdir(mode=0o711)
    data.rename(place)
    yield place
    place.rename(data)


async def test_a_directory_too_deep_for_a_socket_works(deep: Path):
    async with run_stores(deep) as stores:
        assert stores.redis_url.startswith("redis://")
        row = await write(stores.database_url)
        assert await has(stores, row)
        async with redis.asyncio.from_url(stores.redis_url) as client:
            assert await client.ping()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")
async def test_root_is_told_when_the_directory_is_out_of_reach_for_nobody(fresh: Path):
    closed = fresh.parent / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match="choose another directory with --data"):
        async with run_stores(closed / "data"):
            pass
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")
def test_a_wheel_that_nobody_cannot_reach_is_copied_into_the_data_directory(fresh: Path):
    fresh.mkdir(mode=0o711)
    nobody = owner_of(fresh, "nobody")
    wheel = find_valkey()
    assert wheel.root is not None
    assert within_reach(wheel, nobody, fresh) == wheel
    closed = fresh.parent / "closed"
    closed.mkdir(mode=0o700)
    shutil.copy(wheel.path, closed)
    (closed / wheel.path.name).chmod(0o700)
    shut = replace(wheel, path=closed / wheel.path.name, root=closed, parts=(wheel.path.name,))
    copied = within_reach(shut, nobody, fresh)
    assert copied.path.is_relative_to(fresh / "programs")
    assert subprocess.run([copied.path, "--version"], user="nobody", check=False, timeout=10).returncode == 0
    assert closed.stat().st_mode & 0o777 == 0o700


def test_doctor_hears_where_the_programs_are_from():
    found = describe()
    assert set(found) == {"postgres", "valkey"}
    for program in found.values():
        assert isinstance(program, Program)
        assert program.path.exists()
        assert program.origin in str(program)
