"""Files of hubs, brought to their place: whole and verified, or not there.

What came before a line broke lies beside that place and is gone on with, by whoever wants the file next. Two who want
the same file make one download: the second waits for the first.
"""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import Cancelled, StorageFull, WeightsChecksumMismatch, WeightsUnavailable

PROBE_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 20.0
BLOCK = 1 << 20
ATTEMPTS = 5
"""How often a line may break before a download is given up; each one must have brought something."""
LOOK_S = 0.2
"""How often we look whether somebody else's download of the same file has ended."""

BytesProgress = Callable[[int, int], None]
"""Called with bytes done and bytes in total (0 when unknown). What it raises stops the download."""


class _BrokenOff(Exception):
    """The line broke; what came is kept."""


def part_of(path: Path) -> Path:
    """Where what came of a file is kept until it is whole."""
    return path.with_name(f".part-{path.name}")


def reach(url: str) -> None:
    """Fail in seconds where no hub is reachable, whatever the resolver or firewall does with packets. Raises
    WeightsUnavailable.
    """
    parts = urlsplit(url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=PROBE_TIMEOUT_S).close()
    except OSError as error:
        raise WeightsUnavailable(f"{parts.hostname} is not reachable ({error.strerror or error})") from error


def size_of(url: str) -> int:
    """Bytes of the file, as its hub says; 0 when it does not. Raises WeightsUnavailable."""
    with _open(url, {}, method="HEAD") as reply:
        return int(reply.headers.get("Content-Length") or 0)


def download(url: str, sha256: str | None, path: Path, progress: BytesProgress) -> None:
    """Have the file at `path`; without a `sha256` that was published, TLS is trusted. Raises WeightsUnavailable,
    WeightsChecksumMismatch, StorageFull. Cancelled, it leaves nothing behind; otherwise what came.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _held(path, progress) as part:
        if path.is_file():
            return  # somebody else brought it while we waited
        try:
            _fill(url, part, progress, pinned=sha256 is not None)
            part.verify(sha256, progress)
        except (Cancelled, WeightsChecksumMismatch):
            part.discard()
            raise
        part.place.replace(path)
        part.mark.unlink(missing_ok=True)


# ── the file that grows ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Part:
    """What came so far, held by a lock. `mark` keeps what the hub called that version of the file."""

    place: Path
    file: Any

    @property
    def mark(self) -> Path:
        return self.place.with_name(f"{self.place.name}.etag")

    @property
    def size(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    @property
    def etag(self) -> str | None:
        return self.mark.read_text() if self.mark.is_file() else None

    def begin(self, etag: str | None) -> None:
        """The file from its first byte."""
        self.file.truncate(0)
        if etag and not etag.startswith("W/"):
            self.mark.write_text(etag)
        else:
            self.mark.unlink(missing_ok=True)

    def write(self, block: bytes) -> None:
        try:
            self.file.write(block)
            self.file.flush()
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StorageFull("the cache of weights has no room left") from error
            raise

    def verify(self, sha256: str | None, progress: BytesProgress) -> None:
        os.fsync(self.file.fileno())
        if sha256 is None:
            return
        hasher, size = hashlib.sha256(), self.size
        self.file.seek(0)
        while block := self.file.read(BLOCK):
            hasher.update(block)
            progress(size, size)
        if hasher.hexdigest() != sha256:
            name = self.place.name.removeprefix(".part-")
            raise WeightsChecksumMismatch(f"{name} has sha256 {hasher.hexdigest()}, not {sha256}")

    def discard(self) -> None:
        self.place.unlink(missing_ok=True)
        self.mark.unlink(missing_ok=True)


@contextmanager
def _held(path: Path, progress: BytesProgress) -> Iterator[_Part]:
    """The part of a file, for us alone among all processes and threads that share the cache."""
    part = _lock(part_of(path), progress)
    try:
        yield part
        # Renamed, it is not at its place any more; the lock ends with the file.
    finally:
        if part.size == 0:
            part.discard()
        part.file.close()


def _lock(place: Path, progress: BytesProgress) -> _Part:
    while True:
        file = place.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, place):  # else it was renamed or removed before we had it
                return _Part(place, file)
        except BlockingIOError:
            time.sleep(LOOK_S)
            progress(os.fstat(file.fileno()).st_size, 0)
        except BaseException:
            file.close()
            raise
        file.close()


def _is_at(file: Any, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), place.stat())
    except FileNotFoundError:
        return False


# ── what fills it ─────────────────────────────────────────────────────────────────────────────────────


def _fill(url: str, part: _Part, progress: BytesProgress, *, pinned: bool) -> None:
    for _ in range(ATTEMPTS):
        before = part.size
        try:
            return _receive(url, part, progress, pinned=pinned)
        except _BrokenOff as error:
            reason = str(error)
            if part.size <= before:
                break
    raise WeightsUnavailable(f"{urlsplit(url).hostname} broke off: {reason}")


def _receive(url: str, part: _Part, progress: BytesProgress, *, pinned: bool) -> None:
    """Once, from where it stands when that is still the same file: its digest or the hub's own mark says so."""
    have, etag = part.size, part.etag
    headers = {"Range": f"bytes={have}-"} if have and (etag or pinned) else {}
    headers |= {"If-Range": etag} if headers and etag else {}
    with _open(url, headers) as reply:
        if reply.status == 416:
            _settle(part, reply.headers.get("Content-Range", ""))
        else:
            _take(reply, part, progress, have)


def _take(reply: Any, part: _Part, progress: BytesProgress, have: int) -> None:
    """The rest of a file of which we have so much; all of it when the hub begins at its beginning."""
    if reply.status != 206:
        part.begin(reply.headers.get("ETag"))
        have = 0
    elif not _begins_at(reply, have):
        raise WeightsUnavailable("the hub sent another range than was asked for")
    coming = int(reply.headers.get("Content-Length") or 0)
    _require_room(part.place.parent, coming)
    _pour(reply, part, progress, have, have + coming if coming else 0)


def _settle(part: _Part, told: str) -> None:
    """The hub has no bytes after ours: either they are all there, or they are those of another file."""
    if told != f"bytes */{part.size}":
        part.begin(None)
        raise _BrokenOff("the part that was here belongs to another file")


def _begins_at(reply: Any, have: int) -> bool:
    return re.match(rf"bytes {have}-\d+/", reply.headers.get("Content-Range", "")) is not None


def _pour(reply: Any, part: _Part, progress: BytesProgress, done: int, total: int) -> None:
    progress(done, total)
    while block := _read(reply):
        part.write(block)
        done += len(block)
        progress(done, total)
    if total and done != total:
        raise _BrokenOff(f"{done} of {total} bytes came")


def _read(reply: Any) -> bytes:
    """What there is, a block at most: who cancels on a slow line need not wait for a whole one."""
    try:
        return bytes(reply.read1(BLOCK))
    except (OSError, HTTPException) as error:
        raise _BrokenOff(str(error) or type(error).__name__) from error


@contextmanager
def _open(url: str, headers: dict[str, str], method: str = "GET") -> Iterator[Any]:
    """An answer that has bytes, or 416. Raises WeightsUnavailable."""
    request = urllib.request.Request(url, headers={"User-Agent": "neuralib", **headers}, method=method)  # noqa: S310 - ours or the operator's
    try:
        reply = urllib.request.urlopen(request, timeout=READ_TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code != 416:
            error.close()
            raise WeightsUnavailable(f"{urlsplit(url).hostname} answered {error.code}") from error
        reply = error
    except (OSError, HTTPException) as error:
        raise WeightsUnavailable(f"{urlsplit(url).hostname} did not answer: {error}") from error
    with reply:
        yield reply


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StorageFull(f"the cache of weights needs {size} bytes and has {free}")
