"""Servers of an earlier run: wait for them, end them, and know that they are gone."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

STOP_S = 20.0  # how long a server may take before we stop asking kindly
STRAY_S = 30.0  # how long servers of an earlier run may take to go down


class Failed(Exception):
    """The stores cannot run; `code` is that of the `NeuralibError` which the parent raises."""

    def __init__(self, detail: str, code: str = "store-start-failed") -> None:
        super().__init__(detail)
        self.code = code


class Abandoned(Exception):
    """Our parent is gone, or the other server failed: stop what was begun."""


def command_line(pid: int) -> str:
    """The command line of a process, empty when there is none."""
    if sys.platform == "linux":
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ")
        except OSError:
            return ""
    asked = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10).stdout


def read_pid(path: Path, belongs_to: Path) -> int | None:
    """The pid in the first line of `path`, if it lives and its command line names `belongs_to`.

    A bare pid proves nothing: after a reboot, or in a container, it may be anybody's.
    """
    try:
        pid = int(path.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None
    return pid if pid > 0 and str(belongs_to) in command_line(pid) else None


def signal_strays(data: Path, *, gently: bool) -> None:
    """Ask the servers that an earlier run left behind to stop."""
    postgres = read_pid(data / "postgres/postmaster.pid", data / "postgres")
    valkey = read_pid(data / "valkey/valkey.pid", data / "valkey/valkey.conf")
    for pid, kind, harsh in (
        (postgres, signal.SIGINT, signal.SIGQUIT),
        (valkey, signal.SIGTERM, signal.SIGKILL),
    ):
        if pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, kind if gently else harsh)


def claim(data: Path, abandoned: Callable[[], bool]) -> int:
    """Take `run/servers.lock`, ending what an earlier run left behind; give its file descriptor.

    Only for the holder of the data directory's own lock, and while it lives: the servers of its successor are
    no strays. Raises Failed after 30 s, and Abandoned.
    """
    lock = os.open(data / "run/servers.lock", os.O_RDWR | os.O_CREAT, 0o600)
    began = time.monotonic()
    asked = 0
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if abandoned():
                os.close(lock)
                raise Abandoned from None
            waited = time.monotonic() - began
            if waited > STRAY_S:
                os.close(lock)
                raise Failed(f"servers of an earlier run still use {data} and do not stop") from None
            if waited >= asked * STRAY_S / 3:
                signal_strays(data, gently=asked < 2)
                asked += 1
            time.sleep(0.02)
        else:
            return lock
