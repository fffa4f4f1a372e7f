"""Bytes on their way: streams cut into blocks, and files that appear whole or not at all.

Everything that touches a disk runs in a thread, a block of 1 MiB at a time, so that neither the event loop waits nor a
thread is woken for every packet of an upload.
"""

import asyncio
import io
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from neuralib.errors import MissingFile, StorageFull, StorageUnavailable

from .room import is_full

BLOCK = 1 << 20

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Block = TypeVar("_Block", bound=io.BytesIO)


async def in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run blocking disk work in a thread. A cancelled caller still waits for the thread: nobody may close or remove a
    file while a thread has it in its hands.

    Raises:
        StorageFull, StorageUnavailable: for the OSErrors of `disk_errors`.
    """

    def translated() -> _T:
        with disk_errors():
            return work(*args, **kwargs)

    running = asyncio.ensure_future(asyncio.to_thread(translated))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # seen: the cancellation is what the caller hears of
        raise


@contextmanager
def disk_errors() -> Iterator[None]:
    """OSErrors of a disk as ours, without its paths."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageFull("The disk has no room left.") from error
        raise StorageUnavailable(f"The disk refuses: {error.strerror or type(error).__name__}.") from error


async def gathered(
    chunks: AsyncIterable[bytes], size: int, kind: type[_Block]
) -> AsyncGenerator[_Block, None]:
    """The same bytes in rewound buffers of exactly `size`, but for a shorter last one. No chunks give no buffers.

    Buffers, not bytes: they grow in place, so that one block costs its size once, and close when they are done with.
    """
    block = kind()
    async for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            taken = block.write(rest[: size - block.tell()])
            rest = rest[taken:]
            if block.tell() == size:
                block.seek(0)
                yield block
                block = kind()
    if block.tell():
        block.seek(0)
        yield block


async def read_blocks(path: Path, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
    """The bytes [start, stop) of a file. The file stays the one that was opened, whatever happens to its name.

    Raises:
        MissingFile: there is no such file.
        StorageUnavailable: the disk refuses.
    """
    reader = _Reader(path, start)
    left = stop - start if stop is not None else None
    try:
        await in_thread(reader.open)
        while left is None or left > 0:
            block = await in_thread(reader.read, BLOCK if left is None else min(BLOCK, left))
            if not block:
                break
            if left is not None:
                left -= len(block)
            yield block
    finally:
        await in_thread(reader.close)


class _Reader:
    """A file that is opened in one thread call and closed in another, also when the caller was cancelled in between."""

    def __init__(self, path: Path, start: int) -> None:
        self._path = path
        self._start = start
        self._file: BinaryIO | None = None

    def open(self) -> None:
        try:
            self._file = self._path.open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise MissingFile from error
        self._file.seek(self._start)

    def read(self, size: int) -> bytes:
        assert self._file is not None
        return self._file.read(size)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class WholeFile:
    """A file written beside its place and moved there when complete: after a crash its name shows all of it or nothing.

    `open`, `write`..., `publish`; then `discard` in any case. The partial file must be on the target's disk.
    """

    def __init__(self, partial: Path, target: Path) -> None:
        self.size = 0
        self._partial = partial
        self._target = target
        self._file: BinaryIO | None = None

    def open(self) -> None:
        self._file = self._partial.open("wb")

    def write(self, block: io.BytesIO) -> None:
        assert self._file is not None
        with block.getbuffer() as content:
            self._file.write(content)
            self.size += content.nbytes

    def publish(self) -> None:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        make_folder(self._target.parent)
        self._partial.replace(self._target)
        sync_folder(self._target.parent)

    def discard(self) -> None:
        """Remove what was not published. Never fails: it runs when something else already has."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()  # may try to flush to a full disk
            with suppress(OSError):
                self._partial.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Like mkdir -p, and every new name survives a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
