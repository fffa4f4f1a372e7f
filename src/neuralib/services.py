"""What every edge needs, opened once: database, bytes, queues, events, executors.

Which database, store and queue these are was decided by the settings at the top; nothing below asks.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from .config import Settings
from .db import Database, open_database
from .db.migrate import migrate, require_current
from .errors import ConfigurationError
from .events import EventBus, open_bus
from .executors.registry import Registry, load_registry
from .flights import Flights, open_flights
from .objects import ObjectStore, open_objects
from .queues import Queues, open_queues
from .scratch import open_scratch


@dataclass(frozen=True, slots=True)
class Services:
    """Handed down to every use case and to the worker."""

    settings: Settings
    db: Database
    objects: ObjectStore
    queues: Queues
    bus: EventBus
    registry: Registry
    renders: Flights
    """Peaks, previews and onsets on their way."""
    completions: Flights
    """Uploads in parts that are being completed."""


def required_urls(settings: Settings) -> tuple[str, str]:
    """(database, redis). Raises ConfigurationError naming what is missing."""
    missing = [
        name
        for name, url in (
            ("NEURALIB_DATABASE_URL", settings.database.url),
            ("NEURALIB_REDIS_URL", settings.redis.url),
        )
        if url is None
    ]
    if settings.database.url is None or settings.redis.url is None:
        raise ConfigurationError(
            f"{' and '.join(missing)} must be set here; `neuralib up` brings its own servers"
        )
    return settings.database.url.get_secret_value(), settings.redis.url.get_secret_value()


@asynccontextmanager
async def open_services(settings: Settings, *, migrating: bool = False) -> AsyncIterator[Services]:
    """Connect to everything, in the order it is needed, and close it in reverse. With `migrating` the schema is
    brought up to date first. Raises DatabaseUnavailable, QueueUnavailable, StorageUnavailable, DatabaseTooOld,
    DatabaseTooNew.
    """
    database_url, redis_url = required_urls(settings)
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(open_scratch(settings.worker.scratch))
        settings = settings.with_tables(worker={"scratch": scratch})
        db = await stack.enter_async_context(
            open_database(database_url, size=settings.database.pool, timeout_s=settings.database.timeout_s)
        )
        if migrating:
            await migrate(db)
        await require_current(db)
        objects = await stack.enter_async_context(open_objects(settings))
        queues = await stack.enter_async_context(open_queues(redis_url, timeout_s=settings.redis.timeout_s))
        bus = await stack.enter_async_context(open_bus(redis_url, timeout_s=settings.redis.timeout_s))
        renders = await stack.enter_async_context(
            open_flights(settings.limits.renders, settings.limits.renders_waiting)
        )
        completions = await stack.enter_async_context(
            open_flights(settings.limits.renders, settings.limits.renders_waiting)
        )
        yield Services(settings, db, objects, queues, bus, load_registry(), renders, completions)
