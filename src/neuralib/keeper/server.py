"""One server process: how it is started, watched and stopped."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from neuralib.keeper.ground import Ground, last_words, size, tail
from neuralib.keeper.strays import STOP_S, Abandoned, Failed

SILENCE_S = 60.0  # crash recovery may take long, but it shows signs of life
LOG_LIMIT = 16 * 2**20


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
