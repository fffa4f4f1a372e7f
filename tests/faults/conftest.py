from collections.abc import AsyncIterator

import pytest_asyncio

from faults.stores import Stores, running_stores


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fault_stores() -> AsyncIterator[Stores]:
    async with running_stores() as stores:
        yield stores
