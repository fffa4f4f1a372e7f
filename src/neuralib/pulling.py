"""One job that fetches weights, from its claim to its end: what other jobs compute, it downloads."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from .db import events as event_rows
from .db import jobs as rows
from .entities import Job, JobState
from .execution import Execution
from .executors import Weights, registry
from .pipeline import job_event
from .progress import Fetching
from .runner import THREADS, Runner
from .services import Services
from .weights import Resolver

log = structlog.get_logger(__name__)


class Pulling(Execution):
    """Carries out one claimed pull. `tell` has the world know what lies here now."""

    def __init__(
        self,
        services: Services,
        job: Job,
        runner: Runner,
        after: Sequence[asyncio.Task[None]] = (),
        *,
        resolver: Resolver,
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(services, job, runner, after)
        self._progress = Fetching()
        self._resolver = resolver
        self._tell_of_weights = tell

    async def _pipe(self) -> None:
        services, job = self._services, self.job
        async with services.db.transaction() as tx:
            await event_rows.append(tx, job_event("started", job))
        await services.bus.wake(job.owner_id)
        async with self._stage("download"):
            weights = await self._download()
        self._handing_over = True
        await self._patiently(self._tell_of_weights)
        await self._patiently(lambda: self._end_well(weights))

    async def _download(self) -> Weights:
        """On a thread of its own, which ends at its next block when this does not wait for it any more."""
        job, report = self.job, self._reporter()
        executor = self._services.registry.get(job.model)
        checkpoint = registry.checkpoint(executor, job.checkpoint or "")
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"{THREADS}pull")
        try:
            pulled = thread.submit(self._resolver.pull, job.model, checkpoint, report)
            return await asyncio.wrap_future(pulled)
        finally:
            thread.shutdown(wait=False)

    async def _end_well(self, weights: Weights) -> None:
        size = sum(path.stat().st_size for path in weights.files)
        result = {
            "model": weights.id,
            "weights": weights.as_dict(),
            "bytes": size,
            "host": socket.gethostname(),
            "timings": self._timings,
        }
        self._progress.stage = "done"
        async with self._services.db.transaction() as tx:
            finished = await rows.finish(
                tx, self.job, JobState.SUCCEEDED, result=result, progress=self._progress.as_dict()
            )
            if finished is None:
                log.warning("job.fenced")
                return
            await event_rows.append(tx, job_event("succeeded", finished))
        log.info("job.succeeded", **self._timings)
        await self._call(set())
