"""One song in, a folder of stems, notes and words out: the same jobs, queue and executors as the server, on embedded
stores that live for as long as the command.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from . import __version__, assets, jobs, libraries, runs
from .entities import Asset, AssetKind, Job, JobState, RunState
from .errors import Cancelled, MissingFile, RunNotCancellable
from .events import Listener
from .jobs import JobView
from .objects import fetch_file
from .pipeline import TERMINAL, snapshot, stamp
from .pipelines import of_models
from .runs import Override, RunRequest, RunView
from .services import Services

POLL_S = 1.0
READ_BYTES = 1 << 20

OnChange = Callable[[UUID, str, dict[str, Any]], None]
"""Called with job id, its label, and its snapshot (progress merged in), whenever something moved."""


@dataclass(slots=True)
class Song:
    """What came of one file."""

    track: Asset
    done: list[JobView] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)

    @property
    def failed(self) -> list[Job]:
        return [view.job for view in self.done if view.job.state is not JobState.SUCCEEDED]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to do with the song: models by operation, and how to write the audio."""

    models: Sequence[str]
    format: str = "wav"
    params: dict[str, dict[str, Any]] = field(default_factory=dict)


async def process(services: Services, path: Path, into: Path, wanted: Wanted, on_change: OnChange) -> Song:
    """Take the song in, run every model on it, write what they made and `manifest.json` into the folder.

    Raises MissingFile, UnsupportedAudio and its kin, UnknownModel; a job that fails is in `Song.failed`.
    """
    operations = {m: services.registry.choose(None, m)[0].operation for m in wanted.models}
    owner = await libraries.ensure_local_owner(services)
    library = await libraries.create(services, owner, name=path.stem[: assets.MAX_NAME] or "song")
    track = await assets.upload(services, owner, library.id, assets.Upload(path.name, _read(path)))
    song = Song(track)
    await asyncio.to_thread(_make_folder, into)
    with services.bus.listen(owner) as listener:
        overrides = {model: Override(params=params) for model, params in wanted.params.items()}
        request = RunRequest(track.id, overrides, wanted.format)
        run = await runs.start(services, owner, of_models(operations), request)
        try:
            await _Following(services, owner, song, on_change).to_the_end(run, listener)
        except asyncio.CancelledError:
            with suppress(RunNotCancellable):
                await runs.cancel(services, owner, run.run.id)
            raise
    if any(view.job.state is JobState.CANCELLED for view in song.done):
        raise Cancelled
    for view in song.done:
        for asset in view.outputs:
            song.files.append(await _write(services, asset, into, song))
    manifest = json.dumps(_manifest(song), indent=2, ensure_ascii=False) + "\n"
    await asyncio.to_thread(_write_whole, into / "manifest.json", manifest.encode())
    return song


class _Following:
    """Tells of the jobs of a run until it has ended."""

    def __init__(self, services: Services, owner: UUID, song: Song, on_change: OnChange) -> None:
        self._services = services
        self._owner = owner
        self._song = song
        self._on_change = on_change
        self._open: dict[UUID, str] = {}
        self._told: set[UUID] = set()

    async def to_the_end(self, run: RunView, listener: Listener) -> None:
        while True:
            await self._look(run)
            if run.run.state is not RunState.RUNNING:
                return
            await listener.wait(POLL_S)
            for data in listener.take_progress():
                job = UUID(str(data["job_id"]))
                if job in self._open:
                    self._on_change(job, self._open[job], {"state": "running", "progress": data})
            run = await runs.get(self._services, self._owner, run.run.id)

    async def _look(self, run: RunView) -> None:
        """What is new and what has ended since the last look."""
        stems = {asset.id: asset.stem or "" for asset in run.outputs}
        steps = {step.id: step.operation for step in run.steps}
        labels = {
            part.job_id: f"{steps[part.step]} {stems.get(part.input_id, '') if part.input_id else ''}".strip()
            for part in run.parts
            if part.job_id is not None and part.job_id not in self._told
        }
        for view in reversed(await jobs.page(self._services, self._owner, ids=list(labels), limit=100)):
            self._tell(view, labels[view.job.id])

    def _tell(self, view: JobView, label: str) -> None:
        job = view.job
        if job.id not in self._open or job.state in TERMINAL:
            self._on_change(job.id, label, snapshot(job))
        self._open[job.id] = label
        if job.state in TERMINAL:
            self._open.pop(job.id)
            self._told.add(job.id)
            self._song.done.append(view)


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────


def file_name(asset: Asset, source: Asset | None) -> str:
    """vocals.wav, bass.mid, lyrics.lrc: short names within the song's own folder."""
    if asset.kind == AssetKind.AUDIO:
        assert asset.audio is not None
        return f"{asset.stem or asset.role}.{asset.audio['format']}"
    made = str(asset.facts["file"])
    if asset.kind == AssetKind.MIDI:
        part = source.stem if source is not None and source.stem else "song"
        return f"{part}.mid" if made.endswith(".mid") else f"{part}.{made}"
    return made


async def _write(services: Services, asset: Asset, into: Path, song: Song) -> dict[str, Any]:
    made = [output for view in song.done for output in view.outputs]
    source = next((output for output in made if output.id == asset.parent_id), None)
    name = file_name(asset, source)
    part = into / f".{name}.part"
    try:
        await fetch_file(services.objects, asset.blob.key, part)
        await asyncio.to_thread(part.replace, into / name)
    finally:
        part.unlink(missing_ok=True)
    return {
        "file": name,
        "kind": asset.kind,
        "stem": asset.stem or (source.stem if source else None),
        "bytes": asset.blob.bytes,
        "sha256": asset.blob.sha256,
        "audio": asset.audio,
        "facts": asset.facts,
        "job": str(asset.job_id),
    }


def _manifest(song: Song) -> dict[str, Any]:
    track = song.track
    return {
        "neuralib": __version__,
        "created_at": stamp(datetime.now(UTC)),
        "track": {
            "name": track.name,
            "sha256": track.blob.sha256,
            "bytes": track.blob.bytes,
            "audio": track.audio,
        },
        "jobs": [_job(view.job) for view in song.done],
        "files": song.files,
    }


def _job(job: Job) -> dict[str, Any]:
    whole = snapshot(job)
    kept = ("id", "operation", "model", "state", "params", "result", "error", "started_at", "finished_at")
    return {name: whole[name] for name in kept}


def _make_folder(into: Path) -> None:
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingFile(f"cannot make the folder {into}: {error.strerror}") from error


def _write_whole(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


async def _read(path: Path) -> AsyncIterator[bytes]:
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise MissingFile(f"{path}: {error.strerror}") from error
    with file:
        while block := await asyncio.to_thread(file.read, READ_BYTES):
            yield block
