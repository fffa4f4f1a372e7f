"""An archive that came in, of which nothing is believed: no name in it is ever a path of ours, every size is bounded
before it is read, and every file is held to the digest that its manifest gives.
"""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, cast

from neuralib.errors import InvalidArchive

from . import manifest
from .manifest import AssetPart, Manifest

MAX_DIRECTORY = 8 << 20
"""Bytes of a zip's own table of contents: ours has under 300 for each file."""
MAX_FILES = manifest.MAX_ASSETS + 100
BLOCK = 1 << 20


class _Bounded(io.FileIO):
    """The file, which zipfile may ask for the table of contents of an archive, but not for one that fills memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise zipfile.BadZipFile("its table of contents is too large")
        return super().read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if whence == 0 and offset < 0:
            raise zipfile.BadZipFile("its table of contents lies outside")
        return super().seek(offset, whence)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive in a file. Raises InvalidArchive. Blocking, as is everything here."""
    with _Bounded(path) as file:
        with _translated():
            archive = zipfile.ZipFile(cast("IO[bytes]", file))
        with archive:
            _check_members(archive.infolist())
            yield archive


def read_manifest(archive: zipfile.ZipFile, limit: int) -> Manifest:
    """What the archive says is in it, when all of that is there and `limit` bytes hold it. Raises InvalidArchive."""
    members = {info.filename: info for info in archive.infolist()}
    info = members.get(manifest.FILE)
    if info is None:
        raise InvalidArchive(f"there is no {manifest.FILE} in it")
    if info.file_size > manifest.MAX_BYTES:
        raise InvalidArchive(
            f"its {manifest.FILE} has {info.file_size} bytes, more than {manifest.MAX_BYTES}"
        )
    with _translated(), archive.open(info) as file:
        found = manifest.read(file.read(manifest.MAX_BYTES))
    parts = [part for part in found.assets if part.file is not None]
    if sum(part.bytes for part in parts) > limit:
        raise InvalidArchive(f"unpacked it has more than {limit} bytes")
    for part in parts:
        member = members.get(part.file or "")
        if member is None or member.file_size != part.bytes:
            raise InvalidArchive(f"{part.file}: is not in the archive as its manifest says")
    return found


def extract(archive: zipfile.ZipFile, part: AssetPart, path: Path) -> None:
    """The bytes of one asset into a file of our own naming. Raises InvalidArchive when they are not what the manifest
    says, OSError when the disk refuses.
    """
    digest, left = hashlib.sha256(), part.bytes
    with _translated(), archive.open(part.file or "") as file, path.open("wb") as out:
        while block := file.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            digest.update(block)
            out.write(block)
    if left or digest.hexdigest() != part.sha256:
        raise InvalidArchive(f"{part.file}: its bytes are not what the manifest says")


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_FILES:
        raise InvalidArchive(f"it holds {len(members)} files, more than {MAX_FILES}")
    if len({info.filename for info in members}) != len(members):
        raise InvalidArchive("it holds two files of one name")
    for info in members:
        if info.flag_bits & 0x1:
            raise InvalidArchive(f"{info.filename!r} is encrypted")
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise InvalidArchive(f"{info.filename!r} is compressed in a way that is not taken")
        if not _is_inside(info.filename):
            raise InvalidArchive(f"{info.filename!r} leads out of the archive")


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return not path.is_absolute() and ".." not in path.parts and ":" not in name


@contextmanager
def _translated() -> Iterator[None]:
    """What zipfile raises for an archive that is broken."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        KeyError,
    ) as error:
        raise InvalidArchive(f"it is no zip that can be read: {error}") from error
