"""One job, from its claim to its commit: fetch, decode, load, infer, encode, store.

Nothing a job makes is visible before the last transaction, which writes assets, events and the job's end together and
only for the worker that still holds the job.
"""

import asyncio
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import structlog

from .assets import MEDIA_TYPES, clean_name, decode_limits, object_key
from .audio import Recording, decode, encode
from .db import assets as asset_rows
from .db import events as event_rows
from .db import jobs as rows
from .entities import Asset, AssetKind, Blob, Job, JobState, NewAsset, new_id
from .errors import Cancelled, DatabaseUnavailable, Interrupted, JobTimeout, NeuralibError
from .executors import AudioOutput, FileOutput, registry
from .objects import fetch_file, put_file
from .pipeline import STAGES, asset_event, job_event, stamp
from .runner import Outcome, Runner
from .services import Services

log = structlog.get_logger(__name__)

PUBLISH_EVERY_S = 0.25
SAVE_EVERY_S = 1.0
INFER_SHARE = 0.95
"""How much of `fraction` belongs to inference; encoding and storing share the rest."""


@dataclass(slots=True)
class StopSignal:
    """Why a run should end before it is done. Set on the event loop, read on the model's thread."""

    reason: NeuralibError | None = None

    def set(self, reason: NeuralibError) -> None:
        """The first reason counts."""
        self.reason = self.reason or reason

    def check(self) -> None:
        if self.reason is not None:
            raise self.reason


@dataclass(slots=True)
class Progress:
    """How far a job is. Windows are counted, not guessed; `fraction` never falls within an attempt."""

    stage: str = STAGES[0]
    done: int = 0
    total: int = 0
    audio_s: float = 0.0
    infer_started: float | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def enter(self, stage: str) -> None:
        self.stage = stage
        if stage == "infer":
            self.infer_started = time.monotonic()
        self.changed.set()

    def count(self, done: int, total: int) -> None:
        self.done, self.total = max(done, self.done), total
        self.changed.set()

    def as_dict(self) -> dict[str, Any]:
        windows = self.done / self.total if self.total else 0.0
        fraction = {"encode": INFER_SHARE, "store": 0.98, "done": 1.0}.get(self.stage, INFER_SHARE * windows)
        elapsed = time.monotonic() - self.infer_started if self.infer_started else 0.0
        measured = self.stage == "infer" and self.done > 0 and elapsed > 0
        return {
            "fraction": round(fraction, 4),
            "stage": self.stage,
            "stage_index": STAGES.index(self.stage) if self.stage in STAGES else len(STAGES),
            "stages": list(STAGES),
            "done": self.done,
            "total": self.total,
            "unit": "windows",
            "rate_x": round(self.audio_s * windows / elapsed, 2) if measured else None,
            "eta_s": round(elapsed / windows - elapsed, 1) if measured else None,
            "updated_at": stamp(datetime.now(UTC)),
        }


@dataclass(frozen=True, slots=True)
class _Made:
    """One finished file, about to be stored."""

    new: NewAsset
    path: Path
    blob: Blob


class Execution:
    """Carries out one claimed job. `stop` ends it at the next window."""

    def __init__(self, services: Services, job: Job, runner: Runner) -> None:
        self.job = job
        self.stop = StopSignal()
        self._services = services
        self._runner = runner
        self._progress = Progress()
        self._timings: dict[str, float] = {}

    async def carry_out(self) -> None:
        """To the end, whatever it is. Raises only when the database is away: then the lease runs out and the job
        is rescued.
        """
        job = self.job
        with structlog.contextvars.bound_contextvars(job=str(job.id), model=job.model, attempt=job.attempt):
            log.info("job.started", operation=job.operation)
            try:
                async with self._telling():
                    timer = asyncio.get_running_loop().call_later(
                        job.timeout_s,
                        self.stop.set,
                        JobTimeout(f"the job ran longer than {job.timeout_s:g} s"),
                    )
                    try:
                        await self._pipe()
                    finally:
                        timer.cancel()
            except NeuralibError as error:
                await self._end_badly(error)
            except Exception:
                log.exception("job.crashed")
                await self._end_badly(
                    NeuralibError("something broke inside NeuraLib; the log of the worker has it")
                )

    async def _pipe(self) -> None:
        services, job = self._services, self.job
        assert job.asset_id is not None
        async with services.db.transaction() as tx:
            asset = await asset_rows.get(tx, job.owner_id, job.asset_id)
            await event_rows.append(tx, job_event("started", job))
        await services.bus.wake(job.owner_id)
        params = registry.validate(services.registry.get(job.model), dict(job.params))
        with tempfile.TemporaryDirectory(
            prefix="neuralib-job-", dir=services.settings.worker.scratch
        ) as folder:
            scratch = Path(folder)
            async with self._stage("fetch"):
                await fetch_file(services.objects, asset.blob.key, scratch / "input")
            async with self._stage("decode"):
                limits = decode_limits(services.settings.limits)
                recording, _ = await decode(scratch / "input", scratch / "input.f32", limits)
            async with self._stage("load"):
                loaded = await self._runner.load(job.checkpoint)
            self._progress.audio_s = recording.duration
            (scratch / "run").mkdir()
            async with self._stage("infer"):
                outcome = await self._runner.run(loaded, recording, params, scratch / "run", self._reporter())
            async with self._stage("encode"):
                made = await self._encode(outcome, asset, scratch)
            async with self._stage("store"):
                await self._store(made)
                await self._commit(made, outcome, recording)

    @asynccontextmanager
    async def _stage(self, stage: str) -> AsyncIterator[None]:
        self.stop.check()
        self._progress.enter(stage)
        started = time.monotonic()
        yield
        self._timings[f"{stage}_s"] = round(time.monotonic() - started, 3)

    def _reporter(self) -> Callable[[int, int], None]:
        loop, progress, stop = asyncio.get_running_loop(), self._progress, self.stop

        def report(done: int, total: int) -> None:
            stop.check()
            loop.call_soon_threadsafe(progress.count, done, total)

        return report

    # ── telling the world ─────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _telling(self) -> AsyncIterator[None]:
        telling = asyncio.create_task(self._tell(), name=f"progress-{self.job.id}")
        try:
            yield
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling

    async def _tell(self) -> None:
        saved = 0.0
        while True:
            await self._progress.changed.wait()
            self._progress.changed.clear()
            body = self._progress.as_dict()
            data = {
                "type": "job.progress",
                "job_id": str(self.job.id),
                "asset_id": str(self.job.asset_id),
                "attempt": self.job.attempt,
                **body,
            }
            await self._services.bus.progress(self.job.owner_id, self.job.id, data)
            if time.monotonic() - saved >= SAVE_EVERY_S:
                saved = time.monotonic()
                with suppress(DatabaseUnavailable):
                    async with self._services.db.statements() as db:
                        await rows.save_progress(db, self.job.id, self.job.attempt, body)
            await asyncio.sleep(PUBLISH_EVERY_S)

    # ── what it made ──────────────────────────────────────────────────────────────────────────────────

    async def _encode(self, outcome: Outcome, asset: Asset, scratch: Path) -> list[_Made]:
        """Audio in threads side by side; libsndfile lets go of the interpreter while it works."""
        folder = scratch / "encoded"
        folder.mkdir()
        audio = [asyncio.to_thread(self._encode_audio, asset, o, folder) for o in outcome.output.audio]
        files = [asyncio.to_thread(self._take_file, asset, o) for o in outcome.output.files]
        return list(await asyncio.gather(*audio, *files))

    def _encode_audio(self, asset: Asset, output: AudioOutput, folder: Path) -> _Made:
        self.stop.check()
        format_ = str(self.job.output.get("format", "wav"))
        path = folder / f"{output.name}.{format_}"
        encoded = encode(output.recording, path, format=format_)
        recording = output.recording
        new = NewAsset(
            **self._new(asset, AssetKind.AUDIO, output.role, f"{asset.name} [{output.name}]"),
            stem=output.name if output.role == "stem" else None,
            audio={
                "format": format_,
                "codec": encoded.format,
                "subtype": encoded.subtype,
                "sample_rate": recording.sample_rate,
                "channels": recording.channels,
                "frames": recording.frames,
                "duration_s": recording.duration,
            },
            facts={**output.facts, "clipped": encoded.clipped},
        )
        output.recording.path.unlink(missing_ok=True)
        return _Made(new, path, _blob(path, MEDIA_TYPES[format_]))

    def _take_file(self, asset: Asset, output: FileOutput) -> _Made:
        file = PurePosixPath(output.name)
        new = NewAsset(
            **self._new(asset, output.kind, output.kind, f"{asset.name} [{file.stem}]{file.suffix}"),
            facts={**output.facts, "file": output.name},
        )
        return _Made(new, output.path, _blob(output.path, output.media_type))

    def _new(self, asset: Asset, kind: str, role: str, name: str) -> dict[str, Any]:
        return {
            "id": new_id(),
            "library_id": self.job.library_id or asset.library_id,
            "parent_id": asset.id if self.job.library_id in {None, asset.library_id} else None,
            "kind": kind,
            "role": role,
            "name": clean_name(name),
            "job_id": self.job.id,
        }

    async def _store(self, made: Sequence[_Made]) -> None:
        async with self._services.db.transaction() as tx:
            for item in made:
                await asset_rows.add_pending(tx, item.blob.key)
        for item in made:
            self.stop.check()
            await put_file(
                self._services.objects, item.blob.key, item.path, content_type=item.blob.media_type
            )

    async def _commit(self, made: Sequence[_Made], outcome: Outcome, recording: Recording) -> None:
        job, by = self.job, outcome.by
        result = {
            "model": by.weights.id if by.weights else job.model,
            **by.as_dict(),
            "executor": {"name": job.model, "version": by.executor.version},
            "facts": dict(outcome.output.facts),
            "timings": self._timings,
            "realtime_factor": round(recording.duration / outcome.infer_s, 2) if outcome.infer_s else None,
        }
        self._progress.stage = "done"
        async with self._services.db.transaction() as tx:
            finished = await rows.finish(
                tx, job, JobState.SUCCEEDED, result=result, progress=self._progress.as_dict()
            )
            if finished is None:
                await asset_rows.expire_pending(tx, [item.blob.key for item in made])
                log.warning("job.fenced")
                return
            outputs = []
            for item in made:
                await asset_rows.insert(tx, job.owner_id, item.new, item.blob)
                outputs.append(await asset_rows.get(tx, job.owner_id, item.new.id))
            for output in outputs:
                await event_rows.append(tx, asset_event("created", output))
            await event_rows.append(tx, job_event("succeeded", finished, outputs))
        log.info("job.succeeded", **self._timings)
        await self._services.bus.wake(job.owner_id)

    # ── other ends ────────────────────────────────────────────────────────────────────────────────────

    async def _end_badly(self, error: NeuralibError) -> None:
        job, body = self.job, error.as_dict()
        async with self._services.db.transaction() as tx:
            if isinstance(error, Interrupted):
                after, kind = await rows.requeue(tx, job), "retrying"
            elif isinstance(error, Cancelled):
                after, kind = await rows.finish(tx, job, JobState.CANCELLED, error=body), "cancelled"
            elif isinstance(error, JobTimeout):
                after, kind = await rows.finish(tx, job, JobState.TIMED_OUT, error=body), "timed_out"
            elif error.retryable and job.errors + job.crashes + 1 < job.max_attempts:
                after, kind = await rows.requeue(tx, job, error=body, after=backoff(job.errors)), "retrying"
            else:
                after, kind = await rows.finish(tx, job, JobState.FAILED, error=body), "failed"
            if after is not None:
                await event_rows.append(tx, job_event(kind, after, error=body))
        log.info("job.ended", kind=kind, code=error.code, detail=error.detail, fenced=after is None)
        if kind == "retrying" and after is not None:
            await self._services.queues.ring(job.model)
        await self._services.bus.wake(job.owner_id)


def backoff(errors: int) -> timedelta:
    """How long a job waits after its n-th passing error: 2, 4, 8… seconds, a minute at most."""
    return timedelta(seconds=min(2.0 ** (errors + 1), 60.0))


def _blob(path: Path, media_type: str) -> Blob:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Blob(new_id(), sha256, path.stat().st_size, object_key(), media_type)
