"""A worker: hear the bell, claim, run, store what it made. Any number of them, anywhere, over one database.

For every model it serves there is one thread that computes (runner.py) and `worker.slots` jobs in flight around it, so
that one decodes or uploads while another infers.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog

from . import jobs, libraries, trash, uploads
from .assets import sweep
from .config import Settings
from .db import events as event_rows
from .db import idempotency as key_rows
from .db import jobs as rows
from .entities import Job
from .errors import Cancelled, Interrupted, NeuralibError, Unavailable
from .execution import Execution
from .pulling import Pulling
from .pulls import OPERATION as PULL
from .queues import Bells
from .residency import Residency
from .runner import Runner
from .services import Services, required_urls
from .weights import AUTO, Resolver

log = structlog.get_logger(__name__)

BEAT_S = 5.0
RESCUE_S = 1.0
SWEEP_S = 60.0
KEEP_EVENTS = timedelta(hours=24)
KEEP_KEYS = timedelta(hours=24)
"""How long a request with an Idempotency-Key is answered as the first time."""
STOP_GRACE_S = 10.0
"""How long a stopping worker waits for its threads to reach the next window."""
SUSPECT_S = 60.0
"""For how long nobody joins a job that saw one worker die: those that kill theirs mostly do it at once."""
GIVE_BACK_S = 2.0
"""How long giving back jobs may take whose threads did not."""


class Worker:
    """Serves some models until it is told to stop."""

    def __init__(
        self,
        services: Services,
        models: Sequence[str],
        resolver: Resolver,
        *,
        grace_s: float = STOP_GRACE_S,
    ) -> None:
        settings = services.settings
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        self._services = services
        self._lease = timedelta(seconds=settings.worker.lease_s)
        self._resolver = resolver
        residency = Residency(settings.device.memory_mib << 20)
        self._runners = {model: _runner(services, model, resolver, residency) for model in models}
        self._rung = {model: asyncio.Event() for model in models}
        self._served: dict[str, dict[int, UUID]] = {model: {} for model in models}
        """Whom the last job was claimed for, at each priority: owners take turns."""
        # A job may be here twice: fenced and still on the thread, and claimed anew.
        self._running: set[Execution] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._claiming = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._drain_s = 0.0
        self._grace_s = grace_s

    async def run(self) -> None:
        """Work until `stop` is called, then return once nothing is in flight. That takes a bounded time, whatever a
        model's thread is doing.
        """
        settings = self._services.settings
        bells = Bells(
            required_urls(settings)[1],
            list(self._runners),
            on_bell=lambda model: self._rung[model].set(),
            on_cancel=self._cancel,
            timeout_s=settings.redis.timeout_s,
        )
        log.info("worker.started", worker=self.name, models=list(self._runners))
        sides = [
            asyncio.create_task(bells.run(), name="bells"),
            self._every("leases", settings.worker.lease_s / 3, self._renew),
            self._every("beat", BEAT_S, self._beat),
            self._every("idle", BEAT_S, self._unload),
            self._every("rescue", RESCUE_S, self._rescue),
            self._every("sweep", SWEEP_S, self._clean),
        ]
        lanes = [asyncio.create_task(self._serve(model), name=f"lane-{model}") for model in self._runners]
        try:
            await _first_failure([*sides, *lanes], until=self._stopping)
        finally:
            self._stopping.set()
            await self._drain(lanes)
            for task in (*sides, *lanes):
                task.cancel()
            await asyncio.gather(*sides, *lanes, return_exceptions=True)
            for runner in self._runners.values():
                runner.close()
            with suppress(NeuralibError):
                async with self._services.db.statements() as db:
                    await event_rows.remove_worker(db, self.name)
            log.info("worker.stopped", worker=self.name)

    def stop(self, drain_s: float) -> None:
        """Have `run` take no more jobs, let those in flight end within `drain_s` seconds, give the rest back unharmed,
        and return.
        """
        self._drain_s = drain_s
        self._stopping.set()
        for rung in self._rung.values():
            rung.set()

    async def _drain(self, lanes: Sequence[asyncio.Task[None]]) -> None:
        why = Interrupted("the worker is shutting down")
        if await self._quiet(lanes, self._drain_s):
            return
        for execution in self._running:
            execution.stop(why)
        if await self._quiet(lanes, self._grace_s):
            return
        for execution in self._running:
            log.warning("job.abandoned", job=str(execution.job.id), model=execution.job.model)
            execution.abandon(why)
        await self._quiet(lanes, GIVE_BACK_S)

    async def _quiet(self, lanes: Sequence[asyncio.Task[None]], seconds: float) -> bool:
        """Whether no job is in flight or being claimed, within so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while left := [task for task in (*lanes, *self._tasks) if not task.done()]:
                    await asyncio.wait(left)
        return not left

    # ── jobs ──────────────────────────────────────────────────────────────────────────────────────────

    async def _serve(self, model: str) -> None:
        """Claim while there is a free slot; otherwise sleep until the bell rings or the poll is due."""
        rung = self._rung[model]
        while True:
            rung.clear()
            if self._stopping.is_set():
                return
            if self._has_room(model) and await self._take(model):
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._services.settings.worker.poll_s):
                    await rung.wait()

    def _has_room(self, model: str) -> bool:
        """Whether a job more could decode while others compute: how many those are may change with the device."""
        held = sum(
            execution.job.model == model and not isinstance(execution, Pulling) for execution in self._running
        )
        return held < self._runners[model].together + self._services.settings.worker.slots - 1

    async def _take(self, model: str) -> bool:
        """Claim and start a job; whether there was one. A job whose worker died runs alone: it may be what killed that
        worker, and whoever ran beside it would lose an attempt each time. After the first death, only for a while.
        """
        async with self._claiming:
            if self._stopping.is_set():
                return False
            job = await self._claim(model)
            if job is None:
                return False
            before = [*self._tasks] if job.crashes else []
            started = self._start(job, before)
            if job.crashes:
                await asyncio.wait([started], timeout=SUSPECT_S if job.crashes == 1 else None)
            return True

    async def _claim(self, model: str) -> Job | None:
        try:
            async with self._services.db.statements() as db:
                return await rows.claim(db, model, self.name, self._lease, self._served[model])
        except Unavailable as error:
            log.warning("claim.failed", model=model, error=error.detail)
        except Exception:
            log.exception("claim.failed", model=model)
        return None

    def _start(self, job: Job, before: Sequence[asyncio.Task[None]]) -> asyncio.Task[None]:
        """Carry out a job after those `before` it have ended."""
        if job.attempt == 1:  # else it had its turn before
            self._served[job.model][job.priority] = job.owner_id
        execution = self._execution(job, before)
        self._running.add(execution)
        if self._stopping.is_set():  # claimed in the moment of the stop
            execution.stop(Interrupted("the worker is shutting down"))
        task = asyncio.create_task(self._carry_out(execution), name=f"job-{job.id}")
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._running.discard(execution)
            self._rung[job.model].set()

        task.add_done_callback(ended)
        return task

    def _execution(self, job: Job, before: Sequence[asyncio.Task[None]]) -> Execution:
        runner = self._runners[job.model]
        if job.operation == PULL:
            return Pulling(self._services, job, runner, before, resolver=self._resolver, tell=self._beat)
        return Execution(self._services, job, runner, before)

    async def _carry_out(self, execution: Execution) -> None:
        try:
            due_in = await execution.carry_out()
        except Unavailable as error:
            log.warning("job.left_to_the_rescuer", job=str(execution.job.id), error=error.detail)
        except Exception:
            log.exception("job.left_to_the_rescuer", job=str(execution.job.id))
        else:
            if due_in:
                asyncio.get_running_loop().call_later(due_in, self._rung[execution.job.model].set)

    def _cancel(self, job: UUID) -> None:
        for execution in self._running:
            if execution.job.id == job:
                execution.stop(Cancelled())

    # ── side tasks ────────────────────────────────────────────────────────────────────────────────────

    def _every(self, name: str, seconds: float, what: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Again and again; what fails is tried next time."""

        async def repeat() -> None:
            while True:
                try:
                    await what()
                except Unavailable as error:
                    log.warning("side_task.failed", task=name, error=error.detail)
                except Exception:
                    log.exception("side_task.failed", task=name)
                await asyncio.sleep(seconds)

        return asyncio.create_task(repeat(), name=name)

    async def _renew(self) -> None:
        """Keep the leases of what is running; hear of cancels whose bell was lost; drop what is not ours any more."""
        held = list(self._running)
        if not held:
            return
        async with self._services.db.statements() as db:
            ours = await rows.renew(db, [(e.job.id, e.job.attempt) for e in held], self._lease)
        for execution in held:
            wanted = ours.get((execution.job.id, execution.job.attempt))
            if wanted is None:
                execution.stop(Interrupted("the lease was lost"))
            elif wanted:
                execution.stop(Cancelled())

    async def _beat(self) -> None:
        states = await asyncio.to_thread(self._states)
        async with self._services.db.statements() as db:
            await event_rows.beat_worker(db, self.name, socket.gethostname(), os.getpid(), states)

    def _states(self) -> list[Mapping[str, Any]]:
        """Of each model: what it has in memory, what lies on this machine, and what it takes of that by itself."""
        return [
            {
                "model": model,
                "state": "loaded" if (loaded := runner.loaded) else "idle",
                **(loaded[-1].as_dict() if loaded else {}),
                **self._weights_of(model),
            }
            for model, runner in self._runners.items()
        ]

    def _weights_of(self, model: str) -> Mapping[str, Any]:
        checkpoints = self._services.registry.get(model).checkpoints
        wanted = self._services.settings.weights.default.get(model, AUTO)
        choice = self._resolver.choice(model, checkpoints, wanted)
        standings = [self._resolver.standing(model, each) for each in checkpoints]
        return {
            "choice": choice.name if choice else None,
            "checkpoints": [asdict(each) for each in standings],
        }

    async def _unload(self) -> None:
        idle_s = self._services.settings.worker.idle_unload_s
        await asyncio.gather(*(runner.unload_idle(idle_s) for runner in self._runners.values()))

    async def _rescue(self) -> None:
        await jobs.rescue(self._services)

    async def _clean(self) -> None:
        await trash.expire(self._services)
        await sweep(self._services)
        await uploads.reap(self._services)
        await libraries.fold_ledgers(self._services)
        async with self._services.db.statements() as db:
            await event_rows.prune(db, KEEP_EVENTS)
            await event_rows.prune_workers(db, timedelta(seconds=20 * BEAT_S))
            await key_rows.prune(db, KEEP_KEYS)


async def _first_failure(tasks: Sequence[asyncio.Task[None]], *, until: asyncio.Event) -> None:
    """Wait for `until`; if one of the tasks breaks before, raise what broke it."""
    waiting = asyncio.create_task(until.wait())
    try:
        done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        waiting.cancel()


def make_resolver(settings: Settings, cache: Any) -> Resolver:
    """The resolver that these settings describe."""
    return Resolver(
        settings.weights.cache or cache,
        paths=settings.weights.paths,
        offline=settings.weights.offline,
        commercial_safe=settings.weights.commercial_safe,
        allow_untrained=settings.weights.allow_untrained,
        mirror=settings.weights.mirror,
    )


def _runner(services: Services, model: str, resolver: Resolver, residency: Residency) -> Runner:
    settings = services.settings
    return Runner(
        services.registry.get(model),
        resolver,
        device=settings.device.name,
        precision=settings.device.precision,
        threads=settings.device.threads,
        default=settings.weights.default.get(model, "auto"),
        together=settings.worker.together,
        residency=residency,
    )
