from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from acceptance.harness import Client


@pytest.fixture
async def client() -> AsyncIterator[Callable[[str], Client]]:
    """A client of the server at a URL."""
    async with aiohttp.ClientSession() as session:
        yield lambda url: Client(session, url)
