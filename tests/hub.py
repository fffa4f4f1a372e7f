"""A model hub on this machine: files by path, with ranges and marks, and everything that goes wrong at one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class LocalHub:
    """`files` are what it has. `asked` is every request: (method, path, Range)."""

    files: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"one"'
    breaks_after: int | None = None
    """Of every answer only so many bytes come, and the line breaks."""
    waits_after: int | None = None
    """So many bytes of an answer come; the rest when `go_on` is set."""
    go_on: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    @property
    def downloads(self) -> int:
        return sum(method == "GET" for method, _, _ in self.asked)


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    hub = LocalHub()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {"hub": hub})) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield hub
        finally:
            hub.go_on.set()
            server.shutdown()
            thread.join()


class _Answers(BaseHTTPRequestHandler):
    hub: LocalHub

    def do_HEAD(self) -> None:
        self._answer(0)

    def do_GET(self) -> None:
        self._answer(None)

    def _answer(self, most: int | None) -> None:
        hub, asked = self.hub, self.headers.get("Range")
        hub.asked.append((self.command, self.path, asked))
        content = hub.files.get(self.path)
        if content is None:
            return self.send_error(404)
        since = 0
        if asked and self.headers.get("If-Range", hub.etag) == hub.etag:
            since = int(asked.removeprefix("bytes=").removesuffix("-"))
            if since >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
        self.send_response(206 if since else 200)
        if since:
            self.send_header("Content-Range", f"bytes {since}-{len(content) - 1}/{len(content)}")
        if hub.etag:
            self.send_header("ETag", hub.etag)
        self.send_header("Content-Length", str(len(content) - since))
        self.end_headers()
        self._send(content[since:][:most])
        return None

    def _send(self, content: bytes) -> None:
        hub, after = self.hub, self.hub.waits_after
        try:
            if hub.breaks_after is not None and len(content) > hub.breaks_after:
                self.wfile.write(content[: hub.breaks_after])
            elif after is not None and len(content) > after:
                self.wfile.write(content[:after])
                hub.waiting.set()
                hub.go_on.wait(60)
                self.wfile.write(content[after:])
            else:
                self.wfile.write(content)
        except OSError:
            pass  # whoever asked is gone

    def log_message(self, *_: Any) -> None:
        pass
