import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from acceptance.harness import Client


@pytest.fixture
async def client() -> AsyncIterator[Callable[[str], Client]]:
    """A client of the server at a URL."""
    async with aiohttp.ClientSession() as session:
        yield lambda url: Client(session, url)


@pytest.fixture
def data():
    """A data directory that the embedded servers can reach: as root they run as another account."""
    with tempfile.TemporaryDirectory(prefix="neuralib-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "data"
