"""Open services on the shared servers, once a module; each test has an owner, and so a world, of its own.

A module that uses them says `pytestmark = pytest.mark.asyncio(loop_scope="module")`: their connections live in the
module's event loop. It may override `settings`.
"""

import contextlib
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from api_client import Api
from neuralib.api import listening
from neuralib.config import Settings, load_settings
from neuralib.db import libraries as owner_rows
from neuralib.embedded import Stores
from neuralib.services import Services, open_services


@pytest.fixture(scope="module")
def settings(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(
        database={"url": stores.database_url, "pool": 4},
        redis={"url": stores.redis_url},
        storage={"path": tmp_path_factory.mktemp("objects")},
        ingest={"analyze": False},  # tests of it say so
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services(settings: Settings) -> AsyncIterator[Services]:
    async with open_services(settings) as services:
        yield services


@pytest_asyncio.fixture(loop_scope="module")
async def owner(services: Services) -> UUID:
    async with services.db.transaction() as tx:
        return await owner_rows.upsert_owner(tx, f"test-{uuid4()}")


@pytest_asyncio.fixture(loop_scope="module")
async def api(services: Services, owner: UUID) -> AsyncIterator[Api]:
    """A client of a real server on a free port; it holds every reply to the documentation."""
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(listening(services, owner, "127.0.0.1", 0))
        yield await stack.enter_async_context(Api(url))
