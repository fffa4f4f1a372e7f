"""Objects as files in one folder: what `neuralib up` uses.

A key is a path below the folder. Uploads grow in `.partial/` beside them, so that a rename is all it takes to show one,
and a killed process leaves only a file there, which `list` never shows and the next `open_local` after a day removes.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import islice
from pathlib import Path
from uuid import uuid4

import structlog

from neuralib.errors import MissingFile, NotFound, StorageUnavailable

from .blocks import BLOCK, WholeFile, disk_errors, gathered, in_thread, make_folder, read_blocks
from .local_parts import LocalParts
from .room import Room
from .store import ABANDONED_AFTER, OCTETS, ObjectStat, check_key, check_prefix, check_range

log = structlog.get_logger(__name__)

CHECK_TIMEOUT_S = 5.0
_LIST_BATCH = 1000


class LocalObjects:
    """An ObjectStore in a folder. Content types are not kept: the database knows them."""

    def __init__(self, folder: Path, spare: int = 0) -> None:
        self._folder = folder
        self._partials = folder / ".partial"
        self._room = Room(folder, spare)
        self.parts = LocalParts(folder / ".parts", self._partials, self._room)

    async def put(self, key: str, chunks: AsyncIterable[bytes], *, content_type: str = OCTETS) -> int:  # noqa: ARG002 - S3 keeps it
        """See `ObjectStore.put`."""
        file = WholeFile(self._partials / uuid4().hex, self._file(key))
        try:
            await in_thread(file.open)
            async with aclosing(gathered(chunks, BLOCK, BytesIO)) as blocks:
                async for block in blocks:
                    self._room.require(block.getbuffer().nbytes)
                    await in_thread(file.write, block)
            await in_thread(file.publish)
        finally:
            await in_thread(file.discard)
        return file.size

    async def read(self, key: str, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """See `ObjectStore.read`."""
        check_range(start, stop)
        try:
            async with aclosing(read_blocks(self._file(key), start, stop)) as blocks:
                async for block in blocks:
                    yield block
        except MissingFile as error:
            raise NotFound("Nothing is stored under this key.") from error

    async def link(self, key: str, ttl_s: int, *, content_type: str, disposition: str) -> str | None:  # noqa: ARG002
        """See `ObjectStore.link`: there is no server here."""
        return None

    async def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        await in_thread(self._file(key).unlink, missing_ok=True)

    async def list(self, prefix: str) -> AsyncIterator[ObjectStat]:
        """See `ObjectStore.list`."""
        found = self._walk(check_prefix(prefix))
        while batch := await in_thread(lambda: [*islice(found, _LIST_BATCH)]):
            for stat in batch:
                yield stat

    async def check(self) -> None:
        """See `ObjectStore.check`: writes and removes a small file. A disk that hangs fails after 5 s."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await asyncio.to_thread(self._probe)
        except TimeoutError as error:
            raise StorageUnavailable(f"The disk did not answer within {CHECK_TIMEOUT_S:g} s.") from error

    async def sweep(self, older_than: timedelta = ABANDONED_AFTER) -> int:
        """Remove uploads that nobody wrote to for so long; returns how many."""
        return await in_thread(self._sweep, time.time() - older_than.total_seconds())

    async def prepare(self) -> None:
        """Make the folder. Raises StorageUnavailable when that is not allowed."""
        await in_thread(make_folder, self._partials)

    def _file(self, key: str) -> Path:
        return self._folder / check_key(key)

    def _walk(self, prefix: str) -> Iterator[ObjectStat]:
        folders = [self._folder / prefix.rpartition("/")[0]]
        while folders:
            for path in _children(folders.pop()):
                key = path.relative_to(self._folder).as_posix()
                if path.is_dir():
                    folders.append(path)
                elif key.startswith(prefix):
                    yield from _stat(key, path)

    def _probe(self) -> None:
        probe = self._partials / uuid4().hex
        with disk_errors():
            probe.write_bytes(b"probe")
            probe.unlink()

    def _sweep(self, before: float) -> int:
        swept = self.parts.sweep(before)
        for path in self._partials.iterdir():
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
                swept += 1
        return swept


def _children(folder: Path) -> list[Path]:
    """What is in a folder, less hidden names; nothing when it has just gone."""
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _stat(key: str, path: Path) -> Iterator[ObjectStat]:
    """One stat, or none when the file was deleted meanwhile."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return
    yield ObjectStat(key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))


@asynccontextmanager
async def open_local(
    path: Path, spare: int = 0, abandoned_after: timedelta = ABANDONED_AFTER
) -> AsyncIterator[LocalObjects]:
    """The store in this folder, which is made when missing. It leaves the last `spare` bytes of the disk free, and uploads
    that nobody wrote to for so long are removed.

    Raises:
        StorageUnavailable: the folder cannot be made or written.
    """
    store = LocalObjects(path, spare)
    await store.prepare()
    await store.check()
    if swept := await store.sweep(abandoned_after):
        log.info("abandoned uploads removed", count=swept)
    yield store
