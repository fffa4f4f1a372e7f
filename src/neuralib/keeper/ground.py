"""What both servers stand on: the data directory, the account they run as, the lock, the life line."""

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from neuralib.keeper.strays import STOP_S, Abandoned, Failed, claim


class Ground:
    """What both servers share: the data directory, the account they run as, the lock, the life line."""

    def __init__(self, data: Path, owner: tuple[int, int] | None, parent: int) -> None:
        self.data = data
        self.owner = owner
        self.parent = parent
        self.giving_up = threading.Event()
        self.lock = claim(data, self.abandoned)

    def abandoned(self, wait: float = 0.0) -> bool:
        """Whether it is time to stop; looks for up to `wait` seconds."""
        # The parent sends one line ever, so anything readable now is the end of the file. The parent's pid
        # covers the case that a forked child of it holds the pipe open.
        readable, _, _ = select.select([0], [], [], wait)
        return bool(readable) or os.getppid() != self.parent or self.giving_up.is_set()

    def spawn(
        self, command: Sequence[str | Path], *, cwd: Path, log: Path, **more: Any
    ) -> subprocess.Popen[bytes]:
        """Start a process as the servers' account; it inherits the lock and none of our environment."""
        if self.owner is not None:
            more |= {"user": self.owner[0], "group": self.owner[1], "extra_groups": []}
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb") as out:
            return subprocess.Popen(
                command,
                cwd=cwd,
                env={**kept, "LC_ALL": "C"},
                stdout=out,
                stderr=out,
                pass_fds=(self.lock,),
                **more,
            )

    def run(self, command: Sequence[str | Path], *, log: Path, text: str = "") -> str:
        """Run a command to its end with `text` on its standard input; give what it printed."""
        begin = size(log)
        process = self.spawn(command, cwd=Path("/"), log=log, stdin=subprocess.PIPE, process_group=0)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(text.encode())
        while process.poll() is None:
            if self.abandoned(wait=0.01):
                os.killpg(process.pid, signal.SIGKILL)  # with its children; what it was making is discarded
                process.wait(STOP_S)
                raise Abandoned
        if process.returncode:
            raise Failed(f"{Path(command[0]).name} failed: {last_words(log, begin)} (log: {log})")
        return tail(log, begin)

    def folder(self, path: Path) -> Path:
        """Make a folder that only the servers' account enters."""
        if not path.exists():
            path.mkdir(mode=0o700)
            if self.owner is not None:
                os.chown(path, *self.owner)
        return path

    def write(self, path: Path, text: str) -> None:
        """Write a file that only the servers' account reads."""
        path.unlink(missing_ok=True)
        with create(path) as file:
            file.write(text)
            if self.owner is not None:
                os.fchown(file.fileno(), *self.owner)  # not by name: the folder is not ours

    def open_way(self) -> bool:
        """Make sure that the servers' account can get at the data directory; whether that changed anything.

        We let it through our own directory (search permission only); the folders above are the user's.
        """
        if self.owner is None or self._reachable():
            return False
        mode = self.data.stat().st_mode & 0o7777
        self.data.chmod(mode | 0o001)
        if self._reachable():
            return True
        self.data.chmod(mode)
        raise Failed(
            f"PostgreSQL never runs as root, and the account it would run as (uid {self.owner[0]}) cannot reach "
            f"{self.data}: choose another directory with --data, such as /var/lib/neuralib",
            "configuration",
        )

    def _reachable(self) -> bool:
        assert self.owner is not None
        child = os.fork()  # no thread runs yet
        if child == 0:
            code = 2
            with contextlib.suppress(OSError):
                os.setgroups([])
                os.setgid(self.owner[1])
                os.setuid(self.owner[0])
                code = 0 if os.access(self.data, os.X_OK) else 1
            os._exit(code)
        _, status = os.waitpid(child, 0)
        return status == 0


def create(path: Path) -> IO[str]:
    """Open a new file, readable by its owner alone from its first moment."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")


def sync_folder(path: Path) -> None:
    """Make a rename inside the folder survive a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def tail(log: Path, begin: int) -> str:
    """What was written to a log from the byte `begin` on, the last 64 KiB of it."""
    try:
        with log.open("rb") as file:
            file.seek(max(begin, log.stat().st_size - 2**16))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def last_words(log: Path, begin: int) -> str:
    """The line of a log that says why a server gave up."""
    lines = [line.strip() for line in tail(log, begin).splitlines() if line.strip()]
    telling = [
        line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "ERROR:", " error: "))
    ]
    return (telling or lines or ["it said nothing"])[-1]
