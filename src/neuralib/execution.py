"""One job, from its claim to its commit: fetch, decode, load, infer, encode, store.

Nothing a job makes is visible before the last transaction, which writes assets, events and the job's end together and
only for the worker that still holds the job.
"""

import asyncio
import hashlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import structlog

from . import analyses, derivations, quotas, succession
from .assets import MAX_NAME, MEDIA_TYPES, clean_name, decode_limits, object_key, scratch_room
from .audio import Recording, decode, encode
from .db import Connection
from .db import assets as asset_rows
from .db import events as event_rows
from .db import jobs as rows
from .db import transcripts as transcript_rows
from .entities import Asset, AssetKind, Blob, Job, JobState, NewAsset, new_id, nth_id
from .errors import Cancelled, Interrupted, JobTimeout, NeuralibError, StorageFull, Unavailable
from .executors import AudioOutput, FileOutput, Input, registry
from .objects import fetch_file, is_full, put_file
from .objects.blocks import disk_errors
from .orders import REBUILDS
from .organising import sung
from .pipeline import TERMINAL, asset_event, job_event
from .progress import Progress
from .runner import Outcome, Runner, outlasting
from .services import Services

log = structlog.get_logger(__name__)

PUBLISH_EVERY_S = 0.25
SAVE_EVERY_S = 1.0
ALONE_WITHIN_S = 60.0
"""How long a job that should run alone waits for the others to end."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0
"""Between two attempts to reach a server that is away; each pause is twice the one before."""


_Given = tuple[str | None, Asset]
"""An input with its name."""


@dataclass(frozen=True, slots=True)
class _Made:
    """One finished file, about to be stored."""

    name: str
    """What the job calls it."""
    new: NewAsset
    path: Path
    blob: Blob


class Execution:
    """Carries out one claimed job, once those of `after` have ended that do so soon."""

    def __init__(
        self, services: Services, job: Job, runner: Runner, after: Sequence[asyncio.Task[None]] = ()
    ) -> None:
        self.job = job
        self._services = services
        self._runner = runner
        self._after = after
        self._progress = Progress()
        self._timings: dict[str, float] = {}
        self._room = scratch_room(services.settings)
        self._keys: list[str] = []
        self._stored: set[str] = set()
        self._reason: NeuralibError | None = None
        self._handing_over = False
        self._work: asyncio.Task[None] | None = None

    def stop(self, reason: NeuralibError) -> None:
        """End as soon as possible: at once, or at the next window while the model's thread is busy with it. The first
        reason counts. A job whose result is being committed is not stopped any more.
        """
        if self._reason is None and not self._handing_over:
            self._reason = reason
            if self._work is not None:
                self._work.cancel()

    def abandon(self, reason: NeuralibError) -> None:
        """Do not wait for the thread any longer. What it makes is lost."""
        self._reason = self._reason or reason
        if self._work is not None:
            self._work.cancel()

    async def carry_out(self) -> float | None:
        """To the end, whatever it is; in how many seconds the job is due again when it went back to its queue. Raises
        only when the database is away: then the lease runs out and the job is rescued.
        """
        job = self.job
        with structlog.contextvars.bound_contextvars(job=str(job.id), model=job.model, attempt=job.attempt):
            log.info("job.started", operation=job.operation)
            late = JobTimeout(f"the job ran longer than {job.timeout_s:g} s")
            timer = asyncio.get_running_loop().call_later(job.timeout_s, self.stop, late)
            self._work = asyncio.create_task(self._pipe(), name=f"pipe-{job.id}")
            if self._reason is not None:
                self._work.cancel()
            try:
                async with self._telling():
                    await self._work
            except asyncio.CancelledError:
                if self._reason is None:
                    raise
                return await self._end_badly(self._reason)
            except NeuralibError as error:
                return await self._end_badly(self._reason or error)
            except Exception as error:
                if is_full(error):
                    return await self._end_badly(StorageFull("the scratch folder has no room left"))
                log.exception("job.crashed")
                return await self._end_badly(
                    NeuralibError("something broke inside NeuraLib; the log of the worker has it")
                )
            finally:
                timer.cancel()
        return None

    async def _pipe(self) -> None:
        services, job = self._services, self.job
        if self._after:
            await asyncio.wait(self._after, timeout=ALONE_WITHIN_S)
        async with services.db.transaction() as tx:
            given = await asset_rows.read_by(tx, job)
            edited = await transcript_rows.read_by(tx, job)
            await event_rows.append(tx, job_event("started", job))
        await services.bus.wake(job.owner_id)
        params = registry.validate(services.registry.get(job.model), dict(job.params))
        async with _scratch(services.settings.worker.scratch) as scratch:
            (scratch / "inputs").mkdir()
            async with self._stage("fetch"):
                self._room.require(sum(each.blob.bytes + _decoded_bytes(each) for _, each in given))
                await self._patiently(lambda: self._fetch(given, edited, scratch / "inputs"))
            async with self._stage("decode"):
                inputs = await self._decode(given, scratch / "inputs")
            async with self._stage("load"):
                await self._runner.load(job.checkpoint)
            recording, asset = inputs[0].content, given[0][1]
            assert isinstance(recording, Recording)
            self._progress.audio_s = recording.duration
            (scratch / "run").mkdir()
            async with self._stage("infer"):
                outcome = await self._runner.run(
                    job.checkpoint, recording, params, scratch / "run", self._reporter(), inputs
                )
            async with self._stage("encode"):
                made = await self._encode(outcome, asset, scratch)
            async with self._stage("store"):
                await self._patiently(lambda: self._store(made))
                self._handing_over = True
                await self._patiently(lambda: self._commit(made, outcome, recording))

    @asynccontextmanager
    async def _stage(self, stage: str) -> AsyncIterator[None]:
        self._progress.enter(stage)
        started = time.monotonic()
        yield
        self._timings[f"{stage}_s"] = round(time.monotonic() - started, 3)

    def _check(self) -> None:
        """On any thread: raises why the job should end."""
        if self._reason is not None:
            raise self._reason
        self._room.require()

    def _reporter(self) -> Callable[[int, int], None]:
        loop, progress = asyncio.get_running_loop(), self._progress

        def report(done: int, total: int) -> None:
            self._check()
            loop.call_soon_threadsafe(progress.count, done, total)

        return report

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> None:
        """Servers restart: what took an hour to compute is not thrown away because one is away for a minute, and a job
        that cannot begin keeps its place. Raises Unavailable when `worker.patience_s` is over.
        """
        until = time.monotonic() + self._services.settings.worker.patience_s
        pause = FIRST_PAUSE_S
        while True:
            try:
                return await step()
            except Unavailable as error:
                if time.monotonic() + pause > until:
                    raise
                log.warning("job.waits", error=error.detail, pause_s=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _fetch(self, given: Sequence[_Given], edited: Mapping[int, str], folder: Path) -> None:
        """Each into a file that its place names; what an earlier try brought is not fetched again. `edited`: what is read
        in place of an asset's bytes.
        """
        for place, (_, asset) in enumerate(given):
            if (path := folder / str(place)).exists():
                continue
            if place in edited:
                await asyncio.to_thread(path.write_bytes, edited[place].encode())
            else:
                await fetch_file(self._services.objects, asset.blob.key, path)

    async def _decode(self, given: Sequence[_Given], folder: Path) -> list[Input]:
        limits = decode_limits(self._services.settings.limits)
        inputs = []
        for place, (name, asset) in enumerate(given):
            content: Recording | Path = folder / str(place)
            if asset.kind == AssetKind.AUDIO:
                content, _ = await decode(folder / str(place), folder / f"{place}.f32", limits)
            inputs.append(Input(asset.kind, content, name))
        return inputs

    # ── telling the world ─────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _telling(self) -> AsyncIterator[None]:
        telling = asyncio.create_task(self._tell(), name=f"progress-{self.job.id}")
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.wait([telling])

    async def _tell(self) -> None:
        """Each change to who listens, and at most once a second, but the last one always, into the job's row."""
        saved, unsaved = -SAVE_EVERY_S, False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SAVE_EVERY_S if unsaved else None):
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
            unsaved = time.monotonic() - saved < SAVE_EVERY_S
            if not unsaved:
                saved = time.monotonic()
                with suppress(Unavailable):
                    async with self._services.db.statements() as db:
                        await rows.save_progress(db, self.job.id, self.job.attempt, body)
            await asyncio.sleep(PUBLISH_EVERY_S)

    # ── what it made ──────────────────────────────────────────────────────────────────────────────────

    async def _encode(self, outcome: Outcome, asset: Asset, scratch: Path) -> list[_Made]:
        """Audio in threads side by side; libsndfile lets go of the interpreter while it works. All of them have ended
        when this returns or raises.
        """
        folder = scratch / "encoded"
        folder.mkdir()
        audio = [asyncio.to_thread(self._encode_audio, asset, o, folder) for o in outcome.output.audio]
        files = [asyncio.to_thread(self._take_file, asset, o) for o in outcome.output.files]
        ended = await outlasting(asyncio.gather(*audio, *files, return_exceptions=True))
        made, first = [], new_id()
        for n, each in enumerate(ended):
            if isinstance(each, BaseException):
                raise each
            in_order = replace(
                each.new, id=nth_id(first, n)
            )  # as the run made them: outputs are listed by id
            made.append(replace(each, new=in_order))
        return made

    def _encode_audio(self, asset: Asset, output: AudioOutput, folder: Path) -> _Made:
        self._check()
        format_ = str(self.job.output.get("format", "wav"))
        path = folder / f"{output.name}.{format_}"
        encoded = encode(output.recording, path, format=format_, on_block=lambda _: self._check())
        recording = output.recording
        new = NewAsset(
            **self._new(
                asset,
                AssetKind.AUDIO,
                output.role,
                _labelled(asset, output.label, f"{{title}} [{output.name}]"),
            ),
            stem=output.name if output.role == "stem" else None,
            audio={
                "format": format_,
                "codec": encoded.codec,
                "subtype": encoded.subtype,
                "sample_rate": recording.sample_rate,
                "channels": recording.channels,
                "frames": recording.frames,
                "duration_s": recording.duration,
            },
            facts={**output.facts, "clipped": encoded.clipped},
        )
        output.recording.path.unlink(missing_ok=True)
        return _Made(output.name, new, path, _blob(path, MEDIA_TYPES[format_]))

    def _take_file(self, asset: Asset, output: FileOutput) -> _Made:
        file = PurePosixPath(output.name)
        new = NewAsset(
            **self._new(
                asset,
                output.kind,
                output.role or output.kind,
                _labelled(asset, output.label, f"{{title}} [{file.stem}]{file.suffix}"),
            ),
            audio=output.audio,
            facts={**output.facts, "file": output.name},
            search_text=sung(output.kind, output.media_type, output.path),
        )
        return _Made(output.name, new, output.path, _blob(output.path, output.media_type))

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
        self._keys = [item.blob.key for item in made]
        async with self._services.db.transaction() as tx:
            for key in self._keys:
                await asset_rows.add_pending(tx, key)
        for item in made:
            if item.blob.key not in self._stored:  # by an earlier attempt
                await put_file(
                    self._services.objects, item.blob.key, item.path, content_type=item.blob.media_type
                )
                self._stored.add(item.blob.key)

    async def _commit(self, made: Sequence[_Made], outcome: Outcome, recording: Recording) -> None:
        job, by = self.job, outcome.by
        again = REBUILDS in job.output
        result = {
            "model": by.weights.id if by.weights else job.model,
            **by.as_dict(),
            "executor": {"name": job.model, "version": by.executor.version},
            "facts": dict(outcome.output.facts),
            **({} if again else _noted(made)),
            "timings": self._timings,
            "realtime_factor": round(recording.duration / outcome.infer_s, 2) if outcome.infer_s else None,
        }
        self._progress.stage = "done"
        async with self._services.db.transaction() as tx:
            finished = await rows.finish(
                tx, job, JobState.SUCCEEDED, result=result, progress=self._progress.as_dict()
            )
            if finished is None:
                await asset_rows.expire_pending(tx, self._keys)
                log.warning("job.fenced")
                return
            outputs = await (self._restore if again else self._keep)(tx, made)
            await event_rows.append(tx, job_event("succeeded", finished, outputs))
            await quotas.require_kept(tx, self._services.settings.limits, job.owner_id)
            following = await succession.follow(tx, finished)
        log.info("job.succeeded", **self._timings)
        await self._call(following)

    async def _keep(self, tx: Connection, made: Sequence[_Made]) -> list[Asset]:
        owner = self.job.owner_id
        for item in made:
            await asset_rows.insert(tx, owner, item.new, item.blob)
            if self.job.operation == analyses.OPERATION and item.new.kind == AssetKind.ANALYSIS:
                assert self.job.asset_id is not None
                found = await asyncio.to_thread(analyses.read, item.path)
                await analyses.keep(tx, owner, self.job.asset_id, item.new.id, found)
        outputs = [await asset_rows.get(tx, owner, item.new.id) for item in made]
        for output in outputs:
            await event_rows.append(tx, asset_event("created", output))
        return outputs

    async def _restore(self, tx: Connection, made: Sequence[_Made]) -> list[Asset]:
        return await derivations.restore(
            tx, self.job, {item.name: (item.blob, item.new.audio) for item in made}
        )

    async def _call(self, models: set[str]) -> None:
        """Tell who listens, and the workers that have something to do now."""
        await self._services.bus.wake(self.job.owner_id)
        for model in models:
            await self._services.queues.ring(model)

    # ── other ends ────────────────────────────────────────────────────────────────────────────────────

    async def _end_badly(self, error: NeuralibError) -> float | None:
        """What `carry_out` returns."""
        after: Job | None = None
        kind, delay = "", timedelta(0)
        following: set[str] = set()

        async def end() -> None:
            nonlocal after, kind, delay, following
            async with self._services.db.transaction() as tx:
                after, kind, delay = await self._change(tx, error)
                await asset_rows.expire_pending(tx, self._keys)
                if after is not None:
                    await event_rows.append(
                        tx, job_event(kind, after, error=dict(after.error or error.as_dict()))
                    )
                    if after.state in TERMINAL:
                        following = await succession.follow(tx, after)

        await self._patiently(end)
        log.info("job.ended", kind=kind, code=error.code, detail=error.detail, fenced=after is None)
        again = after is not None and after.state is JobState.QUEUED
        await self._call({self.job.model} if again else following)
        return delay.total_seconds() if again else None

    async def _change(self, tx: Connection, error: NeuralibError) -> tuple[Job | None, str, timedelta]:
        """The job after this error, the event that tells of it, and how long it waits. None: it is not ours any more."""
        job, body = self.job, error.as_dict()
        delay = timedelta(0)
        if isinstance(error, Cancelled):
            return await rows.finish(tx, job, JobState.CANCELLED, error=body), "cancelled", delay
        if isinstance(error, JobTimeout):
            return await rows.finish(tx, job, JobState.TIMED_OUT, error=body), "timed_out", delay
        if isinstance(error, Interrupted):
            after = await rows.requeue(tx, job)
        elif error.retryable and job.errors + job.crashes + 1 < job.max_attempts:
            delay = backoff(job.errors)
            after = await rows.requeue(tx, job, error=body, after=delay)
        else:
            return await rows.finish(tx, job, JobState.FAILED, error=body), "failed", delay
        if (
            after is None
        ):  # somebody wants it cancelled, so it must not wait for another turn; or it is not ours
            cancelled = await rows.finish(tx, job, JobState.CANCELLED, error=Cancelled().as_dict())
            return cancelled, "cancelled", timedelta(0)
        return after, "retrying", delay


def _noted(made: Sequence[_Made]) -> dict[str, Any]:
    """How many things a job made, and which asset is what: to tell them apart when they are made again."""
    return {"outputs": len(made), "made": {item.name: str(item.new.id) for item in made}}


def backoff(errors: int) -> timedelta:
    """How long a job waits after its n-th passing error: 2, 4, 8… seconds, a minute at most."""
    return timedelta(seconds=min(2.0 ** (errors + 1), 60.0))


def _labelled(asset: Asset, label: str | None, otherwise: str) -> str:
    """The name of what it becomes. A long title gives way, so that what tells two of them apart stays."""
    label = label or otherwise
    room = MAX_NAME - len(label.replace("{title}", ""))
    return label.replace("{title}", asset.name[: max(room, 0)])


def _decoded_bytes(asset: Asset) -> int:
    """Of the recording as float32, by what was counted when it came in."""
    audio = asset.audio or {}
    return int(audio.get("frames", 0)) * int(audio.get("channels", 0)) * 4


def _blob(path: Path, media_type: str) -> Blob:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Blob(new_id(), sha256, path.stat().st_size, object_key(), media_type)


@asynccontextmanager
async def _scratch(parent: Path | None) -> AsyncIterator[Path]:
    """A folder for the length of the block. Removing gigabytes takes a while, so a thread does it, and whoever is stopped
    meanwhile waits for it.
    """
    with disk_errors():
        folder = Path(tempfile.mkdtemp(prefix="neuralib-job-", dir=parent))
    try:
        yield folder
    finally:
        removing = asyncio.create_task(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
        await outlasting(removing)
