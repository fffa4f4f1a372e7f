"""Where a process keeps the files of its jobs and uploads. One that is killed leaves them; the next that opens a scratch
in the same place removes them.

A scratch is a folder and a lock file beside it, which its process holds locked: whoever gets the lock knows that nobody
uses the folder any more.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

import structlog

from .objects.blocks import disk_errors

log = structlog.get_logger(__name__)

PREFIX = "neuralib-scratch-"


@contextmanager
def open_scratch(parent: Path | None) -> Iterator[Path]:
    """A folder below `parent` (None: the system's folder for temporary files), for the length of the block. Blocks.
    Raises StorageUnavailable, StorageFull.
    """
    with disk_errors():
        place = parent or Path(tempfile.gettempdir())
        place.mkdir(parents=True, exist_ok=True)
        remove_abandoned(place)
        path, lock = _new_lock(place)
    with lock:
        try:
            with disk_errors():
                _folder_of(path).mkdir(mode=0o700)
            yield _folder_of(path)
        finally:
            _remove(path)


def remove_abandoned(place: Path) -> int:
    """Remove what killed processes left. How many folders."""
    removed = 0
    for path in place.glob(f"{PREFIX}*.lock"):
        with (
            suppress(OSError),
            path.open("r+") as lock,
        ):  # in use, or somebody was faster, or not ours to remove
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
            removed += 1
    if removed:
        log.info("scratch.abandoned_removed", count=removed)
    return removed


def _new_lock(place: Path) -> tuple[Path, IO[str]]:
    while True:
        path = place / f"{PREFIX}{uuid4().hex}.lock"
        lock = path.open("x")
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                return path, lock
        lock.close()  # in the moment before it was locked somebody took it for abandoned


def _folder_of(lock: Path) -> Path:
    return lock.with_suffix("")


def _remove(lock: Path) -> None:
    shutil.rmtree(_folder_of(lock), ignore_errors=True)
    lock.unlink(missing_ok=True)
