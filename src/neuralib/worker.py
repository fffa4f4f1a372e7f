"""A worker: hear the bell, claim, run, store what it made. Any number of them, anywhere, over one database.

For every model it serves there is one thread that computes (runner.py) and `worker.slots` jobs in flight around it, so
that one decodes or uploads while another infers.
"""

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog

from . import jobs
from .assets import sweep
from .config import Settings
from .db import events as event_rows
from .db import jobs as rows
from .entities import Job
from .errors import Cancelled, Interrupted, NeuralibError, Unavailable
from .execution import Execution
from .queues import Bells
from .runner import Runner
from .services import Services, required_urls
from .weights import Resolver

log = structlog.get_logger(__name__)

BEAT_S = 5.0
RESCUE_S = 2.0
SWEEP_S = 60.0
KEEP_EVENTS = timedelta(hours=24)
STOP_GRACE_S = 10.0
"""How long a stopping worker waits for its threads to reach the next window."""


class Worker:
    """Serves some models until it is told to stop."""

    def __init__(self, services: Services, models: Sequence[str], resolver: Resolver) -> None:
        settings = services.settings
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        self._services = services
        self._lease = timedelta(seconds=settings.worker.lease_s)
        self._runners = {model: _runner(services, model, resolver) for model in models}
        self._rung = {model: asyncio.Event() for model in models}
        self._running: dict[UUID, Execution] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop` is called, then return once nothing is in flight."""
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
            asyncio.create_task(self._every(settings.worker.lease_s / 3, self._renew), name="leases"),
            asyncio.create_task(self._every(BEAT_S, self._beat), name="beat"),
            asyncio.create_task(self._every(RESCUE_S, self._rescue), name="rescue"),
            asyncio.create_task(self._every(SWEEP_S, self._clean), name="sweep"),
        ]
        lanes = [asyncio.create_task(self._serve(model), name=f"lane-{model}") for model in self._runners]
        try:
            await _first_failure([*sides, *lanes], until=self._stopping)
            await asyncio.gather(*lanes)
            await asyncio.gather(*self._tasks)
        finally:
            for task in (*sides, *lanes):
                task.cancel()
            await asyncio.gather(*sides, *lanes, return_exceptions=True)
            for runner in self._runners.values():
                runner.close()
            with suppress(NeuralibError):
                async with self._services.db.statements() as db:
                    await event_rows.remove_worker(db, self.name)
        log.info("worker.stopped", worker=self.name)

    async def stop(self, drain_s: float) -> None:
        """Take no more jobs, let those in flight end within `drain_s` seconds, give the rest back unharmed."""
        self._stopping.set()
        for rung in self._rung.values():
            rung.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(drain_s, 0.001))
        for execution in self._running.values():
            execution.stop.set(Interrupted("the worker is shutting down"))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_GRACE_S)

    # ── jobs ──────────────────────────────────────────────────────────────────────────────────────────

    async def _serve(self, model: str) -> None:
        """Claim while there is a free slot; otherwise sleep until the bell rings or the poll is due."""
        slots = asyncio.Semaphore(self._services.settings.worker.slots)
        rung = self._rung[model]
        while not self._stopping.is_set():
            await slots.acquire()
            rung.clear()
            job = None if self._stopping.is_set() else await self._claim(model)
            if job is not None:
                self._start(job, slots)
                continue
            slots.release()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._services.settings.worker.poll_s):
                    await rung.wait()

    async def _claim(self, model: str) -> Job | None:
        try:
            async with self._services.db.statements() as db:
                return await rows.claim(db, model, self.name, self._lease)
        except Unavailable as error:
            log.warning("claim.failed", model=model, error=error.detail)
            return None

    def _start(self, job: Job, slots: asyncio.Semaphore) -> None:
        execution = Execution(self._services, job, self._runners[job.model])
        self._running[job.id] = execution
        task = asyncio.create_task(self._carry_out(execution), name=f"job-{job.id}")
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if self._running.get(job.id) is execution:
                del self._running[job.id]
            slots.release()
            self._rung[job.model].set()

        task.add_done_callback(ended)

    async def _carry_out(self, execution: Execution) -> None:
        try:
            await execution.carry_out()
        except Unavailable as error:
            log.warning("job.left_to_the_rescuer", job=str(execution.job.id), error=error.detail)

    def _cancel(self, job: UUID) -> None:
        execution = self._running.get(job)
        if execution is not None:
            execution.stop.set(Cancelled())

    # ── side tasks ────────────────────────────────────────────────────────────────────────────────────

    async def _every(self, seconds: float, what: Any) -> None:
        """Again and again; what fails because a server is away is tried next time."""
        while True:
            try:
                await what()
            except Unavailable as error:
                log.warning("side_task.failed", task=what.__name__, error=error.detail)
            await asyncio.sleep(seconds)

    async def _renew(self) -> None:
        """Keep the leases of what is running; hear of cancels whose bell was lost; drop what is not ours any more."""
        held = [(e.job.id, e.job.attempt) for e in self._running.values()]
        if not held:
            return
        async with self._services.db.statements() as db:
            ours = await rows.renew(db, held, self._lease)
        for job, attempt in held:
            execution = self._running.get(job)
            if execution is None or execution.job.attempt != attempt:
                continue
            if job not in ours:
                execution.stop.set(Interrupted("the lease was lost"))
            elif ours[job]:
                execution.stop.set(Cancelled())

    async def _beat(self) -> None:
        async with self._services.db.statements() as db:
            await event_rows.beat_worker(db, self.name, socket.gethostname(), os.getpid(), self._states())
        for runner in self._runners.values():
            await runner.unload_idle(self._services.settings.worker.idle_unload_s)

    def _states(self) -> list[Mapping[str, Any]]:
        return [
            {
                "model": model,
                "state": "loaded" if runner.loaded else "idle",
                **(runner.loaded[-1].as_dict() if runner.loaded else {}),
            }
            for model, runner in self._runners.items()
        ]

    async def _rescue(self) -> None:
        await jobs.rescue(self._services)

    async def _clean(self) -> None:
        await sweep(self._services)
        async with self._services.db.statements() as db:
            await event_rows.prune(db, KEEP_EVENTS)
            await event_rows.prune_workers(db, timedelta(seconds=20 * BEAT_S))


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
    )


def _runner(services: Services, model: str, resolver: Resolver) -> Runner:
    settings = services.settings
    return Runner(
        services.registry.get(model),
        resolver,
        device=settings.device.name,
        precision=settings.device.precision,
        threads=settings.device.threads,
        default=settings.weights.default.get(model, "auto"),
    )
