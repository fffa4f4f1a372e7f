"""What runs in this process, and in which order it starts and stops. The mode is chosen here and nowhere below.

up      embedded stores, the API and workers of every model
serve   the API over external stores
worker  workers of some models over external stores
"""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import structlog

from . import jobs, trash, uploads
from .api import listening
from .assets import sweep
from .config import Settings
from .devices import find_device
from .embedded import Stores, run_stores
from .errors import NeuralibError, StoreStartFailed, Unavailable
from .libraries import ensure_local_owner
from .services import Services, open_services
from .worker import Worker, make_resolver

log = structlog.get_logger(__name__)

Ready = Callable[[str, Services], Awaitable[None]]
"""Called with the base URL once everything answers."""

RESCUE_S = 5.0


async def up(settings: Settings, data: Path, cache: Path, ready: Ready) -> None:
    """Everything in one process, until a signal. State lives in `data`, weights in `cache`."""
    async with (
        Signals() as signals,
        embedded(settings, data) as (whole, stores),
        open_services(whole, migrating=True) as services,
    ):
        await jobs.take_over(services)
        owner = await ensure_local_owner(services)
        worker = Worker(services, services.registry.names, make_resolver(whole, cache))
        async with (
            working(worker, drain_s=0.0) as task,
            listening(services, owner, whole.server.host, whole.server.port) as url,
        ):
            await ready(url, services)
            await signals.until(task, _lost(stores))


async def serve(settings: Settings, ready: Ready) -> None:
    """The API alone, until a signal."""
    async with Signals() as signals, open_services(settings) as services:
        owner = await ensure_local_owner(services)
        rescuing = asyncio.create_task(_rescue(services), name="rescue")
        try:
            async with listening(services, owner, settings.server.host, settings.server.port) as url:
                await ready(url, services)
                await signals.until(rescuing)
        finally:
            rescuing.cancel()
            with suppress(asyncio.CancelledError):
                await rescuing


async def work(settings: Settings, models: Sequence[str], cache: Path, ready: Ready) -> None:
    """Workers of these models, until a signal. Raises UnknownModel."""
    async with Signals() as signals, open_services(settings) as services:
        for model in models:
            services.registry.get(model)
        worker = Worker(services, models, make_resolver(settings, cache))
        # Seconds of imports: a worker that claimed first would only keep jobs from those that are warm.
        await asyncio.to_thread(find_device, settings.device.name)
        async with working(worker, drain_s=settings.worker.drain_s) as task:
            await ready("", services)
            await signals.until(task)


@asynccontextmanager
async def embedded(settings: Settings, data: Path) -> AsyncIterator[tuple[Settings, Stores]]:
    """Start what the settings do not name, and hand back ordinary settings that name everything."""
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(run_stores(data))
        scratch = data / "scratch"
        await asyncio.to_thread(_empty, scratch)
        storage = settings.storage
        if storage.kind == "local" and storage.path is None:
            storage = storage.model_copy(update={"path": data / "objects"})
        yield (
            settings.with_tables(
                database={"url": stores.database_url},
                redis={"url": stores.redis_url},
                storage=storage.model_dump(),
                worker={"scratch": settings.worker.scratch or scratch},
            ),
            stores,
        )


@asynccontextmanager
async def working(worker: Worker, *, drain_s: float) -> AsyncIterator[asyncio.Task[None]]:
    """Run a worker beside the block and stop it in order afterwards."""
    task = asyncio.create_task(worker.run(), name="worker")
    try:
        yield task
    finally:
        worker.stop(drain_s)
        await task


class Signals:
    """SIGINT and SIGTERM end the wait; a second one ends the process at once."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    async def __aenter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
        return self

    async def __aexit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        # From here on the default action: whoever asks twice does not want to wait.
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        self._asked.set()
        log.info("stopping", signal=signal.Signals(number).name)

    async def until(self, *others: Awaitable[Any]) -> None:
        """Until a signal, or until one of `others` ends; its error is raised."""
        tasks = [asyncio.ensure_future(other) for other in others]
        asked = asyncio.create_task(self._asked.wait())
        try:
            done, _ = await asyncio.wait([asked, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            asked.cancel()
            for task, other in zip(tasks, others, strict=True):
                if task is not other:
                    task.cancel()


async def _lost(stores: Stores) -> None:
    await stores.lost.wait()
    raise StoreStartFailed("an embedded server died and could not be kept alive; its log is in DATA/run")


async def _rescue(services: Services) -> None:
    """An API without workers rescues too: somebody must, when all workers died."""
    while True:
        try:
            await jobs.rescue(services)
            await trash.expire(services)
            await sweep(services)
            await uploads.reap(services)
        except Unavailable as error:
            log.warning("side_task.failed", task="rescue", error=error.detail)
        except Exception:
            log.exception("side_task.failed", task="rescue")
        await asyncio.sleep(RESCUE_S)


def _empty(folder: Path) -> None:
    """What a killed process left is no use to anybody."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise NeuralibError(f"cannot make {folder}: {error.strerror}") from error
