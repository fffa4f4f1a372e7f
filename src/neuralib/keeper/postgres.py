"""PostgreSQL: how its cluster is made, configured and asked whether it is ready."""

import shutil
import signal
import sys
from pathlib import Path

from neuralib.keeper.ground import Ground, last_words, sync_folder
from neuralib.keeper.server import Server
from neuralib.keeper.strays import Failed, read_pid


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
            # Nobody replicates us; and a checkpoint that cannot note origins of replication on a full disk is a panic.
            "max_active_replication_origins" if self.major >= 18 else "max_replication_slots": 0,
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
