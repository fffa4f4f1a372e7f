"""Uploads in parts, in a folder: each has a folder of its own, each part a file there."""

import shutil
from collections.abc import AsyncIterable, Sequence
from contextlib import aclosing
from io import BytesIO
from pathlib import Path
from uuid import uuid4

from neuralib.errors import NotFound

from .blocks import BLOCK, WholeFile, gathered, in_thread, make_folder
from .parts import Part
from .room import Room
from .store import check_key


class LocalParts:
    """A PartStore in `folder`, whose objects are made in `partials` and named by `target`."""

    def __init__(self, folder: Path, partials: Path, room: Room) -> None:
        self._folder = folder
        self._partials = partials
        self._room = room
        self._objects = folder.parent

    async def begin(self, key: str) -> str:  # noqa: ARG002 - S3 wants to know
        """See `PartStore.begin`."""
        handle = uuid4().hex
        await in_thread(make_folder, self._folder / handle)
        return handle

    async def put(self, key: str, handle: str, number: int, chunks: AsyncIterable[bytes]) -> int:  # noqa: ARG002
        """See `PartStore.put`."""
        upload = await self._find(handle)
        file = WholeFile(self._partials / uuid4().hex, upload / f"{number:05}")
        try:
            await in_thread(file.open)
            async with aclosing(gathered(chunks, BLOCK, BytesIO)) as blocks:
                async for block in blocks:
                    self._room.require(block.getbuffer().nbytes)
                    await in_thread(file.write, block)
            await self._find(handle)
            await in_thread(file.publish)
        finally:
            await in_thread(file.discard)
        return file.size

    async def list(self, key: str, handle: str) -> Sequence[Part]:  # noqa: ARG002
        """See `PartStore.list`."""
        return await in_thread(_parts, await self._find(handle))

    async def join(self, key: str, handle: str) -> None:
        """See `PartStore.join`."""
        target = self._objects / check_key(key)
        upload = await self._find(handle)
        parts = await in_thread(_parts, upload)
        self._room.require(sum(part.bytes for part in parts))
        file = WholeFile(self._partials / uuid4().hex, target)
        try:
            await in_thread(file.open)
            for part in parts:
                await in_thread(_append, file, upload / f"{part.number:05}")
            await in_thread(file.publish)
        finally:
            await in_thread(file.discard)
        await in_thread(shutil.rmtree, upload)

    async def abort(self, key: str, handle: str) -> None:  # noqa: ARG002
        """See `PartStore.abort`."""
        await in_thread(shutil.rmtree, await self._find(handle))

    async def link(self, key: str, handle: str, part: Part, ttl_s: int) -> str | None:  # noqa: ARG002
        """See `PartStore.link`: there is no server here."""
        return None

    def sweep(self, before: float) -> int:
        """Remove uploads whose last part came before this time. Blocking; how many."""
        swept = 0
        for upload in self._folder.iterdir() if self._folder.is_dir() else ():
            if upload.stat().st_mtime < before:
                shutil.rmtree(upload, ignore_errors=True)
                swept += 1
        return swept

    async def _find(self, handle: str) -> Path:
        upload = self._folder / handle
        if not await in_thread(upload.is_dir):
            raise NotFound("There is no such upload.")
        return upload


def _parts(upload: Path) -> Sequence[Part]:
    return sorted(
        (Part(int(path.name), path.stat().st_size) for path in upload.iterdir()), key=lambda part: part.number
    )


def _append(file: WholeFile, path: Path) -> None:
    with path.open("rb") as part:
        while block := part.read(BLOCK):
            file.write(BytesIO(block))
