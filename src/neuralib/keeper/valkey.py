"""Valkey (or Redis): its configuration, and how it is asked whether it is ready."""

import signal
import socket
from pathlib import Path
from typing import IO

from neuralib.keeper.ground import Ground
from neuralib.keeper.server import Server

SOCKET_PATH_LIMIT = 100  # the kernel's is 107 bytes on Linux, 103 on macOS
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")


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
