"""Where checkpoints come from: an explicit path, the cache, a wheel, the package itself, a hub.

Every resolution ends in `Weights`: files, one digest, a licence and the source they came from, all of which travel
into the job, the manifest and the API. Nothing here unpickles anything; executors load tensors.
"""

import hashlib
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog

from .errors import ModelLicenseForbidden, UnknownModel, WeightsChecksumMismatch, WeightsUnavailable

log = structlog.get_logger(__name__)

AUTO = "auto"
PROBE_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 20.0
HUB_DOWN_FOR_S = 300.0
BLOCK = 1 << 20

BytesProgress = Callable[[int, int], None]
"""Called with bytes done and bytes in total (0 when unknown)."""


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
class Checkpoint:
    """One set of weights that an executor can run."""

    name: str
    title: str
    license: str
    commercial_use: bool
    sources: tuple[Source, ...]
    auto: bool = True
    """Whether `auto` may choose it. The first one of an executor that can be had wins."""
    trained: bool = True
    """False for random weights, which only an explicit setting allows."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the executor wants to know of it before it is loaded: stems, languages, parameters."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A checkpoint that is on this machine."""

    model: str
    name: str
    files: tuple[Path, ...]
    sha256: str
    source: str
    license: str
    commercial_use: bool
    trained: bool

    @property
    def id(self) -> str:
        """`demucs/htdemucs@sha256:…`, as jobs and manifests name it."""
        return f"{self.model}/{self.name}@sha256:{self.sha256}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sha256": self.sha256,
            "source": self.source,
            "license": self.license,
            "commercial_use": self.commercial_use,
            "trained": self.trained,
        }


class Resolver:
    """Turns the name of a checkpoint, or `auto`, into files. Blocking: call it in a thread.

    `paths` maps "model" or "model/checkpoint" to a file the operator names; it always wins. `commercial_safe`
    refuses weights whose licence does not allow commercial use and makes `auto` pass over them.
    """

    def __init__(
        self,
        cache: Path,
        *,
        paths: Mapping[str, Path] | None = None,
        offline: bool = False,
        commercial_safe: bool = False,
        allow_untrained: bool = False,
    ) -> None:
        self._cache = cache
        self._paths = dict(paths or {})
        self._offline = offline
        self._commercial_safe = commercial_safe
        self._allow_untrained = allow_untrained
        self._down_until: dict[str, float] = {}

    def resolve(
        self,
        model: str,
        checkpoints: Sequence[Checkpoint],
        wanted: str = AUTO,
        progress: BytesProgress = lambda _done, _total: None,
    ) -> Weights:
        """The weights that run as `model`. Raises UnknownModel, ModelLicenseForbidden, WeightsUnavailable,
        WeightsChecksumMismatch.
        """
        reasons: list[str] = []
        for checkpoint in self._candidates(model, checkpoints, wanted):
            found = self._obtain(model, checkpoint, progress, reasons)
            if found is not None:
                return found
        raise WeightsUnavailable(
            f"no weights for {model} ({wanted}): {'; '.join(reasons) or 'none declared'}"
        )

    def here(self, model: str, checkpoint: Checkpoint) -> str | None:
        """Where a checkpoint comes from when no network is needed for it: path, cache, wheel, bundled."""
        for source in self._sources(model, checkpoint):
            if source.local(self._cache):
                return "cache" if source.kind == "hub" else source.kind
        return None

    def outlook(
        self, model: str, checkpoints: Sequence[Checkpoint], wanted: str = AUTO
    ) -> list[tuple[Checkpoint, str]]:
        """What `resolve` would try, in order, up to the first that is on this machine: (checkpoint, source)."""
        found: list[tuple[Checkpoint, str]] = []
        for checkpoint in self._candidates(model, checkpoints, wanted):
            here = self.here(model, checkpoint)
            if here is not None:
                return [*found, (checkpoint, here)]
            if not self._offline:
                found += [(checkpoint, s.kind) for s in checkpoint.sources if s.kind == "hub"]
        return found

    def _sources(self, model: str, checkpoint: Checkpoint) -> tuple[Source, ...]:
        explicit = self._paths.get(f"{model}/{checkpoint.name}")
        return checkpoint.sources if explicit is None else (File(explicit),)

    def _candidates(self, model: str, checkpoints: Sequence[Checkpoint], wanted: str) -> list[Checkpoint]:
        if wanted != AUTO:
            named = [c for c in checkpoints if c.name == wanted]
            if not named:
                known = ", ".join(c.name for c in checkpoints) or "none"
                raise UnknownModel(f"{model} has no weights named {wanted!r}; it knows: {known}")
            self._refuse(model, named[0])
            return named
        explicit = self._paths.get(model)
        if explicit is not None:
            return [_of_file(explicit)]
        return [
            c
            for c in checkpoints
            if (c.auto and c.trained and (c.commercial_use or not self._commercial_safe))
            or (not c.trained and self._allow_untrained)
        ]

    def _refuse(self, model: str, checkpoint: Checkpoint) -> None:
        if self._commercial_safe and not checkpoint.commercial_use:
            raise ModelLicenseForbidden(f"{model}/{checkpoint.name} is licensed {checkpoint.license}")
        if not checkpoint.trained and not self._allow_untrained:
            raise WeightsUnavailable(
                f"{model}/{checkpoint.name} is untrained; --allow-untrained runs it anyway"
            )

    def _obtain(
        self, model: str, checkpoint: Checkpoint, progress: BytesProgress, reasons: list[str]
    ) -> Weights | None:
        # What lies on this machine comes before any hub: the same weights need no download, and no waiting for a
        # hub that may be out of reach.
        sources = self._sources(model, checkpoint)
        for source in sorted(sources, key=lambda each: not each.local(self._cache)):
            files = source.find(self._cache)
            if files is not None:
                kind = "cache" if source.kind == "hub" else source.kind
                return _weights(model, checkpoint, files, source, kind)
            if source.kind == "hub" and self._offline:
                reasons.append(f"{checkpoint.name}: offline is set")
                continue
            try:
                with self._remember_down(source):
                    files = source.pull(self._cache, progress)
            except WeightsUnavailable as error:
                reasons.append(f"{checkpoint.name} from {source.kind}: {error.detail}")
                continue
            log.info("weights.pulled", model=model, weights=checkpoint.name, source=source.kind)
            return _weights(model, checkpoint, files, source, source.kind)
        return None

    @contextmanager
    def _remember_down(self, source: Source) -> Iterator[None]:
        """A hub that did not answer is not asked again for a while: failing once must be enough."""
        host = getattr(source, "host", None)
        if host and time.monotonic() < self._down_until.get(host, 0.0):
            raise WeightsUnavailable(f"{host} did not answer a moment ago")
        try:
            yield
        except WeightsUnavailable:
            if host:
                self._down_until[host] = time.monotonic() + HUB_DOWN_FOR_S
            raise


def _of_file(path: Path) -> Checkpoint:
    return Checkpoint(
        name=path.stem, title=path.name, license="unknown", commercial_use=False, sources=(File(path),)
    )


def _weights(
    model: str, checkpoint: Checkpoint, files: tuple[Path, ...], source: Source, kind: str
) -> Weights:
    """Every file is read and held to its pin each time: what is loaded is what is reported."""
    digests = [_file_digest(path) for path in files]
    for path, found, pin in zip(files, digests, source.pins, strict=True):
        if pin is not None and found != pin:
            raise WeightsChecksumMismatch(f"{path.name} has sha256 {found}, not {pin}")
    return Weights(
        model=model,
        name=checkpoint.name,
        files=files,
        sha256=_joined(digests) if files else hashlib.sha256(checkpoint.name.encode()).hexdigest(),
        source=kind,
        license=checkpoint.license,
        commercial_use=checkpoint.commercial_use,
        trained=checkpoint.trained,
    )


def _joined(digests: Sequence[str]) -> str:
    """The digest of one file; of several, the SHA-256 of their digests in order."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ── sources ───────────────────────────────────────────────────────────────────────────────────────────


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

    def pull(self, cache: Path, progress: BytesProgress) -> tuple[Path, ...]:
        _probe(self.host)
        files = self._files(cache)
        for url, sha256, path in zip(self.urls, self.sha256, files, strict=True):
            if not path.is_file():
                _download(url, sha256, path, progress)
        return files

    def _files(self, cache: Path) -> tuple[Path, ...]:
        return tuple(cache / self.folder / Path(urlsplit(url).path).name for url in self.urls)


def _probe(host: str) -> None:
    """Fail in seconds where no hub is reachable, whatever the resolver or firewall does with packets."""
    try:
        socket.create_connection((host, 443), timeout=PROBE_TIMEOUT_S).close()
    except OSError as error:
        raise WeightsUnavailable(f"{host} is not reachable ({error.strerror or error})") from error


def _download(url: str, sha256: str | None, path: Path, progress: BytesProgress) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    hasher = hashlib.sha256()
    with _part(path) as part:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "neuralib"})  # noqa: S310 - https, ours
            with urllib.request.urlopen(request, timeout=READ_TIMEOUT_S) as reply:  # noqa: S310
                total, done = int(reply.headers.get("Content-Length") or 0), 0
                while block := reply.read(BLOCK):
                    part.write(block)
                    hasher.update(block)
                    done += len(block)
                    progress(done, total)
        except OSError as error:
            raise WeightsUnavailable(f"{urlsplit(url).hostname} broke off: {error}") from error
        if total and done != total:
            raise WeightsUnavailable(f"{urlsplit(url).hostname} sent {done} of {total} bytes")
        if sha256 is not None and hasher.hexdigest() != sha256:
            raise WeightsChecksumMismatch(f"{path.name} has sha256 {hasher.hexdigest()}, not {sha256}")
        part.flush()
        Path(part.name).replace(path)


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
    """A file that ships inside neuralib."""

    path: Path
    sha256: str
    kind: str = "bundled"

    @property
    def pins(self) -> tuple[str | None, ...]:
        return (self.sha256,)

    def local(self, cache: Path) -> bool:
        return self.path.is_file()

    def find(self, cache: Path) -> tuple[Path, ...] | None:
        return (self.path,) if self.path.is_file() else None

    def pull(self, cache: Path, progress: BytesProgress) -> tuple[Path, ...]:
        raise WeightsUnavailable(f"{self.path.name} is not in this installation")


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
