"""The keeper: the process that owns the embedded PostgreSQL and Valkey.

It starts both, restarts one that dies, and stops them when its parent is gone, however that went: the pipe on
its standard input is the life line, and the kernel closes it even after SIGKILL. It runs in a session of its
own, so that Ctrl-C in a terminal reaches our parent, which drains first, and not the servers.

Run as a script without site-packages (`python -I -S keeper.py`): it is up in some 50 ms, and imports the
standard library only. One JSON line comes in (the plan); JSON lines go out (`ready`, `failed`, `died`, ...).

Two locks make a data directory safe. `lock` is held by the parent alone: whoever gets it knows that no other
NeuraLib lives here. `run/servers.lock` is inherited by every server process: whoever gets it knows that no
server of an earlier run, orphaned or still going down, has the files open. Valkey itself would not notice.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

SILENCE_S = 60.0  # crash recovery may take long, but it shows signs of life
STRAY_S = 30.0  # how long servers of an earlier run may take to go down
STOP_S = 20.0  # how long ours may take before we stop asking kindly
RESTARTS = 5  # deaths of one server in a minute before we give up
LOG_LIMIT = 16 * 2**20
SOCKET_PATH_LIMIT = 100  # the kernel's is 107 bytes on Linux, 103 on macOS
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")


class Failed(Exception):
    """The stores cannot run; `code` is that of the `NeuralibError` which the parent raises."""

    def __init__(self, detail: str, code: str = "store-start-failed") -> None:
        super().__init__(detail)
        self.code = code


class Abandoned(Exception):
    """Our parent is gone, or the other server failed: stop what was begun."""


def report(event: str, **facts: Any) -> None:
    """Tell the parent; if it is gone, nobody needs to know."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps({"event": event, **facts}).encode() + b"\n")


# ── servers of an earlier run ─────────────────────────────────────────────────────────────────────────


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


# ── the ground they stand on ──────────────────────────────────────────────────────────────────────────


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

    def check_reach(self) -> None:
        """Make sure that the servers' account can get at the data directory.

        We let it through our own directory (search permission only); the folders above are the user's.
        """
        if self.owner is None or self._reachable():
            return
        mode = self.data.stat().st_mode & 0o7777
        self.data.chmod(mode | 0o001)
        if self._reachable():
            report("data directory opened for search", mode=oct(mode | 0o001))
            return
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


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# ── the servers ───────────────────────────────────────────────────────────────────────────────────────


class Server:
    """One server process: how it is started, watched and stopped."""

    name: str
    gentle: signal.Signals
    harsh: signal.Signals
    cwd: Path

    def __init__(self, ground: Ground, password: str) -> None:
        self.ground = ground
        self.password = password
        self.log = ground.data / "run" / f"{self.name}.log"
        self.home = ground.data / self.name
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.deaths: list[float] = []
        self.busy = False  # it says itself that it is loading

    def prepare(self) -> None:
        """Bring the files into the shape that the server needs."""
        raise NotImplementedError

    def command(self) -> list[str | Path]:
        """The command line; called for each launch."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the server takes commands now."""
        raise NotImplementedError

    def begin(self) -> None:
        """Prepare, choose a port, launch; another port if somebody was quicker."""
        self.prepare()
        for chance in range(3):
            self.port = free_port()
            begin = size(self.log)
            try:
                return self.launch()
            except Failed:
                if chance == 2 or "Address already in use" not in tail(self.log, begin):
                    raise
        return None

    def launch(self) -> None:
        """Start the process and wait until it answers."""
        written = begin = size(self.log)
        command = self.command()
        self.process = self.ground.spawn(command, cwd=self.cwd, log=self.log, stdin=subprocess.DEVNULL)
        heard = time.monotonic()
        while not self.answers():
            if self.process.poll() is not None:
                raise Failed(f"{self.name} did not start: {last_words(self.log, begin)} (log: {self.log})")
            if self.ground.abandoned(wait=0.01):
                raise Abandoned
            now, grown = time.monotonic(), size(self.log)
            if grown != written or self.busy:
                written, heard = grown, now
            if now - heard > SILENCE_S:
                self.process.send_signal(self.harsh)
                raise Failed(f"{self.name} does not answer: {last_words(self.log, begin)} (log: {self.log})")

    def ask_to_stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(self.gentle)

    def wait_stopped(self) -> None:
        if self.process is None:
            return
        for patience, then in ((STOP_S, self.harsh), (5.0, signal.SIGKILL), (5.0, signal.SIGKILL)):
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.send_signal(then)
            else:
                return

    def trim_log(self) -> None:
        """Keep the log within its limit; what was cut is kept once beside it."""
        if size(self.log) > LOG_LIMIT:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)


class Postgres(Server):
    """PostgreSQL on 127.0.0.1, with a password, durable, sized for one machine."""

    name = "postgres"
    gentle = signal.SIGINT  # "fast": clients are dropped, everything is written
    harsh = signal.SIGQUIT
    cwd = Path("/")

    def __init__(
        self, ground: Ground, password: str, *, server: Path, major: int, new_password: bool
    ) -> None:
        super().__init__(ground, password)
        self.server = server
        self.major = major
        self.new_password = new_password

    def prepare(self) -> None:
        if not self.home.exists() or not any(self.home.iterdir()):
            return self._create()
        version = self.home / "PG_VERSION"
        made_by = version.read_text().strip() if version.exists() else "something else"
        if made_by != str(self.major):
            raise Failed(
                f"{self.home} was made by PostgreSQL {made_by}; this is PostgreSQL {self.major}",
                "data-dir-incompatible",
            )
        if self.new_password:  # the file of secrets was lost; the data was not
            self._forget_stale_pid()
            self._single_user(self.home, self._set_password())
        return None

    def _create(self) -> None:
        """Make the cluster and the database beside its place, then move it there: all or nothing."""
        staging = self.home.with_suffix(".new")
        shutil.rmtree(staging, ignore_errors=True)
        if self.home.exists():
            self.home.rmdir()
        self.ground.folder(staging)
        initdb: list[str | Path] = [self.server.with_name("initdb"), "-D", staging]
        locale = ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]
        if self.major >= 17:
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        options = [
            "--username=postgres",
            "--auth=reject",
            "--encoding=UTF8",
            "--no-instructions",
            "--no-sync",
        ]
        self.ground.run([*initdb, *options, *locale], log=self.log)
        self.ground.write(staging / "pg_hba.conf", "host all all 127.0.0.1/32 scram-sha-256\n")
        self._single_user(staging, self._set_password(), "CREATE DATABASE neuralib;", "-c", "fsync=off")
        self.ground.run([*initdb, "--sync-only"], log=self.log)
        staging.rename(self.home)
        sync_folder(self.home.parent)

    def _set_password(self) -> str:
        return f"ALTER ROLE postgres PASSWORD '{self.password}';"  # 48 hex digits: nothing to quote

    def _single_user(self, home: Path, *words: str) -> None:
        """Run SQL commands in a server without network. `words` that do not end in `;` are options."""
        commands = "".join(word + "\n" for word in words if word.endswith(";"))
        options = [word for word in words if not word.endswith(";")]
        said = self.ground.run(
            [self.server, "--single", "-D", home, *options, "postgres"], log=self.log, text=commands
        )
        if "ERROR:" in said:  # the exit code does not tell
            raise Failed(f"postgres could not be set up: {last_words(self.log, 0)} (log: {self.log})")

    def _forget_stale_pid(self) -> None:
        """PostgreSQL would refuse to start if the pid in the file happens to be alive as something else.

        We hold the lock that every one of our servers inherits, so none of ours runs; a server that somebody
        else started on this directory is told by its command line, and by PostgreSQL's shared memory check.
        """
        pidfile = self.home / "postmaster.pid"
        if read_pid(pidfile, self.home) is None:
            pidfile.unlink(missing_ok=True)

    def command(self) -> list[str | Path]:
        self._forget_stale_pid()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",  # a socket's path has 107 bytes; a data directory's may have more
            "max_connections": 60,
            "shared_buffers": "64MB",
            "max_wal_size": "512MB",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            "ssl": "off",
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [self.server, "-D", self.home, *options]

    def answers(self) -> bool:
        assert self.process is not None
        try:
            lines = (self.home / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready"

    def url(self) -> str:
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/neuralib"


class Valkey(Server):
    """Valkey on a private Unix socket, or on 127.0.0.1 where the socket's path would be too long."""

    name = "valkey"
    gentle = signal.SIGTERM
    harsh = signal.SIGKILL

    def __init__(self, ground: Ground, password: str, *, server: Path) -> None:
        super().__init__(ground, password)
        self.server = server
        self.cwd = self.home
        self.socket = self.home / "valkey.sock"
        # Clients disagree on how to unquote a socket's path in a URL, so only plain ones are used.
        self.over_socket = len(str(self.socket)) <= SOCKET_PATH_LIMIT and PLAIN.issuperset(str(self.socket))

    def prepare(self) -> None:
        self.ground.folder(self.home)

    def command(self) -> list[str | Path]:
        # Names are relative to `cwd`: the home's own path may hold anything.
        where = ["port 0", "unixsocket valkey.sock", "unixsocketperm 700"]
        if not self.over_socket:
            where = [f"port {self.port}", "bind 127.0.0.1"]
        settings = [
            *where,
            f"requirepass {self.password}",
            "pidfile valkey.pid",
            "set-proc-title no",  # the command line is how we know it again
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
        ]
        self.ground.write(self.home / "valkey.conf", "\n".join(settings) + "\n")
        return [self.server, self.home / "valkey.conf"]

    def answers(self) -> bool:
        self.busy = False
        family, address = (socket.AF_UNIX, str(self.socket)) if self.over_socket else (socket.AF_INET, None)
        try:
            with socket.socket(family) as client:
                client.settimeout(1.0)
                client.connect(address or ("127.0.0.1", self.port))
                client.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                with client.makefile("rb") as replies:
                    return self._understood(replies)
        except OSError:
            return False

    def _understood(self, replies: IO[bytes]) -> bool:
        allowed, pong = replies.readline(256), replies.readline(256)
        self.busy = pong.startswith(b"-LOADING")
        return allowed == b"+OK\r\n" and pong == b"+PONG\r\n"

    def url(self) -> str:
        if self.over_socket:
            return f"unix://:{self.password}@{self.socket}?db=0"
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


# ── keeping them ──────────────────────────────────────────────────────────────────────────────────────


def read_secrets(path: Path) -> tuple[dict[str, str], bool]:
    """The passwords of this data directory, and whether they were made just now."""
    if path.exists():
        known: dict[str, str] = json.loads(path.read_text())
        return known, False
    made = {name: os.urandom(24).hex() for name in ("postgres", "valkey")}
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with create(draft) as file:
        json.dump(made, file)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_folder(path.parent)
    return made, True


def begin_together(ground: Ground, servers: Sequence[Server]) -> None:
    """Start all servers at once; the first that fails stops the others and is the reason given."""
    failures: list[Exception] = []

    def begin(server: Server) -> None:
        try:
            server.begin()
        except (Failed, Abandoned, OSError) as failure:
            failures.append(failure)
            ground.giving_up.set()

    threads = [threading.Thread(target=begin, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def watch(ground: Ground, servers: Sequence[Server]) -> None:
    """Until the parent goes: restart a server that died, on the port it had."""
    while not ground.abandoned(wait=0.25):
        for server in servers:
            server.trim_log()
            if server.process is None or server.process.poll() is None:
                continue
            now = time.monotonic()
            server.deaths = [at for at in server.deaths if now - at < 60] + [now]
            if len(server.deaths) > RESTARTS:
                raise Failed(f"{server.name} died {len(server.deaths)} times in a minute (log: {server.log})")
            report("died", server=server.name, exit=server.process.returncode, log=str(server.log))
            if ground.abandoned(wait=0.2 * (len(server.deaths) - 1)):
                return
            with contextlib.suppress(Failed):  # then it is dead again at the next look
                server.launch()
                report("restarted", server=server.name)


def keep(plan: dict[str, Any]) -> None:
    """Run both servers until the parent goes. Raises Failed when they cannot run."""
    data = Path(plan["data"])
    owner = None if plan["owner"] is None else (plan["owner"][0], plan["owner"][1])
    ground = Ground(data, owner, plan["parent"])
    ground.check_reach()
    secrets, new = read_secrets(data / "secrets")
    postgres = Postgres(
        ground, secrets["postgres"], server=Path(plan["postgres"]), major=plan["major"], new_password=new
    )
    valkey = Valkey(ground, secrets["valkey"], server=Path(plan["valkey"]))
    servers = (postgres, valkey)
    try:
        begin_together(ground, servers)
        report("ready", database_url=postgres.url(), redis_url=valkey.url())
        watch(ground, servers)
    finally:
        for server in servers:
            server.ask_to_stop()
        for server in servers:
            server.wait_stopped()


def main() -> int:
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A handler, not SIG_IGN: the servers would inherit that. We go when the parent goes.
        signal.signal(number, lambda *_: None)
    try:
        keep(json.loads(sys.stdin.buffer.readline()))
    except Abandoned:
        return 0
    except Failed as failed:
        report("failed", code=failed.code, detail=str(failed))
        return 1
    except OSError as error:
        report("failed", code="store-start-failed", detail=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
