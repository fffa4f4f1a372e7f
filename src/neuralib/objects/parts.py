"""Objects that come in parts, over days if need be: what a store that holds some of them has to be able to do."""

from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass
from typing import Protocol

MOST_PARTS = 10_000
PART = 8 << 20
"""Bytes of a part, the last one aside, as long as MOST_PARTS of them are enough: one is held in memory on its way."""


@dataclass(frozen=True, slots=True)
class Part:
    """One that is there, whole. Numbers begin with 1."""

    number: int
    bytes: int


class PartStore(Protocol):
    """Uploads in parts, each known by its key and the handle that `begin` gave. Every implementation passes
    `neuralib.testing.PartStoreConformance`.

    Any method but `begin` raises NotFound for an upload that is not there (any more), and any raises StorageUnavailable and
    StorageFull. Nothing of an upload is an object, or is listed as one, until it is joined.
    """

    async def begin(self, key: str) -> str:
        """A new upload's handle."""
        ...

    async def put(self, key: str, handle: str, number: int, chunks: AsyncIterable[bytes]) -> int:
        """Store a part of at most a few MiB, in the place of an earlier one of its number; its bytes. One that fails leaves
        nothing. Of two that differ and come within a second a store may keep either.
        """
        ...

    async def list(self, key: str, handle: str) -> Sequence[Part]:
        """Those that are there, by number."""
        ...

    async def join(self, key: str, handle: str) -> None:
        """Make them one object under the key, in the order of their numbers; the upload is over. At least one must be there,
        and S3 wants 5 MiB of all but the last.
        """
        ...

    async def abort(self, key: str, handle: str) -> None:
        """Forget the upload and its parts."""
        ...

    async def link(self, key: str, handle: str, part: Part, ttl_s: int) -> str | None:
        """A URL to which anybody may PUT this part, of exactly so many bytes; None: clients cannot reach the store."""
        ...


def part_size(size: int) -> int:
    """Bytes of each part, less the last, of an object of `size` bytes: whole MiB."""
    mib = 1 << 20
    return max(PART, -(-size // MOST_PARTS // mib) * mib)


def sizes(size: int, part: int) -> list[int]:
    """Of all parts of `part` bytes that make up `size`."""
    return [min(part, size - start) for start in range(0, size, part)]
