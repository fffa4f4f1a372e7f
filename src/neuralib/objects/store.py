"""The seam that every object store fits, and what is built on it for all of them alike."""

import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Protocol

from .blocks import BLOCK, WholeFile, gathered, in_thread, read_blocks
from .parts import PartStore

OCTETS = "application/octet-stream"
ABANDONED_AFTER = timedelta(days=1)
"""What a killed put left behind is swept when it is older than this: no live put is."""

_KEY = re.compile(r"[a-z0-9_-][a-z0-9_.-]*(/[a-z0-9_-][a-z0-9_.-]*)*")
_PREFIX = re.compile(r"([a-z0-9_-][a-z0-9_.-]*/?)*")
_KEY_LIMIT = 512


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """One stored object. `bytes` is its length, `modified_at` an aware datetime."""

    key: str
    bytes: int
    modified_at: datetime


class ObjectStore(Protocol):
    """Named immutable-by-habit byte strings. Every implementation passes `neuralib.testing.ObjectStoreConformance`.

    Keys are made of our own ids: `[a-z0-9/_.-]`, no part of the path starts with a dot, at most 512 characters, and no
    key is the folder of another. Any method raises StorageUnavailable when the store does not answer in time or
    refuses us, StorageFull when it has no room, and ValueError for a key that breaks the rules.
    """

    async def put(self, key: str, chunks: AsyncIterable[bytes], *, content_type: str = OCTETS) -> int:
        """Store all chunks under the key and return how many bytes that was.

        Memory stays below 40 MiB whatever the size. The key shows the old object, or none, until the new one is
        complete and durable; a put that fails or is cancelled leaves nothing. Of concurrent puts one wins, whole.
        """
        ...

    @property
    def parts(self) -> PartStore:
        """Objects that come in parts."""
        ...

    async def link(self, key: str, ttl_s: int, *, content_type: str, disposition: str) -> str | None:
        """A URL at which anybody may GET the object for so long, with these headers; None: clients cannot reach the store."""
        ...

    def read(self, key: str, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes [start, stop) in chunks of any size, clipped to the object's end.

        Close it (`contextlib.aclosing`) when leaving early: it holds a file or a connection.

        Raises:
            NotFound: at the first chunk, when nothing is stored under the key.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; a missing one is fine."""
        ...

    def list(self, prefix: str) -> AsyncIterator[ObjectStat]:
        """Every complete object whose key starts with the prefix, in any order."""
        ...

    async def check(self) -> None:
        """A real round trip, for /readyz: returns when the store answers and lets us in."""
        ...


def check_key(key: str) -> str:
    """The key, unless it breaks the rules. Raises ValueError: keys are ours, never a client's."""
    if len(key) > _KEY_LIMIT or not _KEY.fullmatch(key):
        raise ValueError(f"not an object key: {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix, unless no key could start with it. Raises ValueError."""
    if len(prefix) > _KEY_LIMIT or not _PREFIX.fullmatch(prefix):
        raise ValueError(f"not the start of an object key: {prefix!r}")
    return prefix


def check_range(start: int, stop: int | None) -> None:
    """Raises ValueError for a negative position: ranges here count from the front only."""
    if start < 0 or (stop is not None and stop < 0):
        raise ValueError(f"not a range: [{start}, {stop})")


async def put_file(store: ObjectStore, key: str, path: Path, content_type: str = OCTETS) -> int:
    """Store a local file; returns its size in bytes. Raises MissingFile, and what `ObjectStore.put` raises."""
    async with aclosing(read_blocks(path)) as blocks:
        return await store.put(key, blocks, content_type=content_type)


async def fetch_file(store: ObjectStore, key: str, path: Path) -> int:
    """Bring an object to a local file; returns its size in bytes. The file appears complete or not at all.

    Raises:
        NotFound: nothing is stored under the key.
        StorageUnavailable, StorageFull: the store failed, or the disk that the file is on.
    """
    file = WholeFile(path.with_name(f".{path.name}.partial"), path)
    try:
        await in_thread(file.open)
        async with aclosing(store.read(key)) as chunks, aclosing(gathered(chunks, BLOCK, BytesIO)) as blocks:
            async for block in blocks:
                await in_thread(file.write, block)
        await in_thread(file.publish)
    finally:
        await in_thread(file.discard)
    return file.size
