"""A worker of this process, for as long as a test needs one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from neuralib.services import Services
from neuralib.weights import Resolver
from neuralib.worker import Worker

ENDS_WITHIN_S = 30.0


@asynccontextmanager
async def at_work(services: Services, models: Sequence[str], resolver: Resolver) -> AsyncIterator[Worker]:
    """It takes jobs of these models until the block ends; then what it has in flight is given back."""
    worker = Worker(services, models, resolver)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop(0.0)
        async with asyncio.timeout(ENDS_WITHIN_S):
            await task
