"""Servers that several test modules share: each is started at its first use, once a session."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with hardly any room. Only root may mount one; elsewhere the test is skipped."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False, timeout=10).returncode:
        pytest.skip("cannot mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=10)
