"""Which checkpoint a name means, and its files: found on this machine or fetched, and held to their digests."""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from neuralib.downloads import BytesProgress
from neuralib.errors import (
    ModelLicenseForbidden,
    NeuralibError,
    NothingToFetch,
    Offline,
    UnknownModel,
    WeightsChecksumMismatch,
    WeightsUnavailable,
)

from .sources import File, Hub, Source

log = structlog.get_logger(__name__)

AUTO = "auto"
HUB_DOWN_FOR_S = 300.0


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
    demo: bool = False
    """A small stand-in for better ones: whoever hears what it made is told."""
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
    demo: bool = False

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
            "demo": self.demo,
        }


@dataclass(frozen=True, slots=True)
class Standing:
    """How a checkpoint stands on this machine."""

    name: str
    source: str | None
    """path, cache, wheel, bundled, untrained; None: not here."""
    bytes: int | None
    """Of its files, when they lie ready to be loaded."""
    partial_bytes: int
    """Of a download that has not ended."""
    sha256: str | None
    """Of these very files, if this process has read them; then they were held to what was published."""


class Resolver:
    """Turns the name of a checkpoint, or `auto`, into files. Blocking: call it in a thread.

    `paths` maps "model" or "model/checkpoint" to a file the operator names; it always wins. `commercial_safe`
    refuses weights whose licence does not allow commercial use and makes `auto` pass over them. `mirror` is asked in
    place of every hub, for the same paths, and nobody else is.
    """

    def __init__(
        self,
        cache: Path,
        *,
        paths: Mapping[str, Path] | None = None,
        offline: bool = False,
        commercial_safe: bool = False,
        allow_untrained: bool = False,
        mirror: str | None = None,
    ) -> None:
        self._mirror = mirror
        self._read: dict[str, tuple[object, str]] = {}
        """By checkpoint, which files were read last, and the digest they had."""
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

    def pull(
        self,
        model: str,
        checkpoint: Checkpoint,
        progress: BytesProgress = lambda _done, _total: None,
    ) -> Weights:
        """Have the files that a hub has of a checkpoint here, and as they were published: those that changed are
        fetched again. Raises ModelLicenseForbidden, NothingToFetch, Offline, WeightsUnavailable, WeightsChecksumMismatch,
        StorageFull.
        """
        hub = self.fetchable(model, checkpoint)
        files = hub.find(self._cache)
        if files is not None:
            with suppress(WeightsChecksumMismatch):
                return self._weights(model, checkpoint, files, hub, "cache")
            for path in files:
                path.unlink(missing_ok=True)
        if self._offline:
            raise Offline
        files = hub.pull(self._cache, progress)
        self._down_until.pop(hub.host, None)
        log.info("weights.pulled", model=model, weights=checkpoint.name, source=hub.host)
        return self._weights(model, checkpoint, files, hub, "hub")

    def fetchable(self, model: str, checkpoint: Checkpoint) -> Hub:
        """The hub that has a checkpoint which may run here. Raises ModelLicenseForbidden, WeightsUnavailable,
        NothingToFetch.
        """
        self._refuse(model, checkpoint)
        for source in self._sources(model, checkpoint):
            if isinstance(source, Hub):
                return source
        raise NothingToFetch(f"no hub has {model}/{checkpoint.name}")

    def standing(self, model: str, checkpoint: Checkpoint) -> Standing:
        """How it stands on this machine, as the file system says; touches no network."""
        sources = self._sources(model, checkpoint)
        local = next((source for source in sources if source.local(self._cache)), None)
        files = local.find(self._cache) if local else None
        stamp, sha256 = self._read.get(f"{model}/{checkpoint.name}", (None, None))
        return Standing(
            name=checkpoint.name,
            source=self.here(model, checkpoint),
            bytes=None if files is None else sum(path.stat().st_size for path in files),
            partial_bytes=sum(s.partial_bytes(self._cache) for s in sources if isinstance(s, Hub)),
            sha256=sha256 if files and stamp == _stamp(files) else None,
        )

    def choice(self, model: str, checkpoints: Sequence[Checkpoint], wanted: str = AUTO) -> Checkpoint | None:
        """What `wanted` runs as long as nothing is fetched; None when nothing that may run is here."""
        try:
            candidates = self._candidates(model, checkpoints, wanted)
        except NeuralibError:
            return None
        return next((each for each in candidates if self.here(model, each) is not None), None)

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
        if explicit is not None:
            return (File(explicit),)
        if self._mirror is None:
            return checkpoint.sources
        return tuple(s.at(self._mirror) if isinstance(s, Hub) else s for s in checkpoint.sources)

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
                return self._weights(model, checkpoint, files, source, kind)
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
            return self._weights(model, checkpoint, files, source, source.kind)
        return None

    def _weights(
        self, model: str, checkpoint: Checkpoint, files: tuple[Path, ...], source: Source, kind: str
    ) -> Weights:
        """Every file is read and held to its pin each time: what is loaded is what is reported."""
        stamp = _stamp(files)
        digests = [_file_digest(path) for path in files]
        for path, found, pin in zip(files, digests, source.pins, strict=True):
            if pin is not None and found != pin:
                raise WeightsChecksumMismatch(f"{path.name} has sha256 {found}, not {pin}")
        sha256 = _joined(digests) if files else hashlib.sha256(checkpoint.name.encode()).hexdigest()
        self._read[f"{model}/{checkpoint.name}"] = (stamp, sha256)
        return Weights(
            model=model,
            name=checkpoint.name,
            files=files,
            sha256=sha256,
            source=kind,
            license=checkpoint.license,
            commercial_use=checkpoint.commercial_use,
            trained=checkpoint.trained,
            demo=checkpoint.demo,
        )

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


def _stamp(files: Sequence[Path]) -> object:
    """Differs once a file was written anew."""
    stats = [path.stat() for path in files]
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in zip(files, stats, strict=True)]


def _joined(digests: Sequence[str]) -> str:
    """The digest of one file; of several, the SHA-256 of their digests in order."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
