"""Every fault of the table, by the name that `scripts/chaos.py --only` knows."""

import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from faults import (
    api_killed,
    disk_full,
    drained,
    fuzz,
    many_streams,
    memory_full,
    poison_job,
    postgres_stopped,
    redis_absent,
    redis_lost,
    storage_away,
    worker_frozen,
    worker_killed,
)
from faults.row import Row, Scale
from faults.stores import Stores

Fault = Callable[[Scale, Stores, Path], Awaitable[Row]]

FAULTS: Mapping[str, tuple[str, Fault]] = {
    "worker-killed": (worker_killed.NAME, worker_killed.run),
    "api-killed": (api_killed.NAME, api_killed.run),
    "redis-lost": (redis_lost.NAME, redis_lost.run),
    "postgres-stopped": (postgres_stopped.NAME, postgres_stopped.run),
    "redis-absent": (redis_absent.NAME, redis_absent.run),
    "worker-frozen": (worker_frozen.NAME, worker_frozen.run),
    "poison-job": (poison_job.NAME, poison_job.run),
    "drained": (drained.NAME, drained.run),
    "storage-down": (storage_away.DOWN, storage_away.down),
    "storage-silent": (storage_away.SILENT, storage_away.silent),
    "disk-full": (disk_full.NAME, disk_full.run),
    "memory-full": (memory_full.NAME, memory_full.run),
    "many-streams": (many_streams.NAME, many_streams.run),
    "malformed": (fuzz.REQUESTS, fuzz.requests),
    "media": (fuzz.MEDIA, fuzz.media),
}


async def run_fault(name: str, scale: Scale, stores: Stores, folder: Path) -> Row:
    """One row. What breaks on the way is a claim that did not hold, so that the other rows still run."""
    title, fault = FAULTS[name]
    began = time.monotonic()
    try:
        row = await fault(scale, stores, folder)
    except Exception as error:  # noqa: BLE001 - told in the row
        traceback.print_exception(error)
        row = Row(title, broken=[f"{type(error).__name__}: {error}"])
    row.seconds = time.monotonic() - began
    return row
