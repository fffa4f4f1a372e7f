"""Servers that several test modules share: each is started at its first use, once a session."""

from collections.abc import Iterator

import pytest

import servers
from neuralib.embedded import Stores

pytest.register_assert_rewrite("neuralib.testing")  # its suites tell what they saw


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.S3Server]:
    with servers.s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    with servers.embedded_stores() as running:
        yield running
