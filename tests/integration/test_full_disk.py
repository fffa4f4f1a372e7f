"""A disk without room: uploads and jobs hear of it by name, nothing half-made stays, and what is kept free stays free."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from api_client import Api
from corpus import wav
from crew import at_work
from neuralib.api import listening
from neuralib.services import Services
from neuralib.weights import Resolver

pytestmark = pytest.mark.asyncio(loop_scope="module")

MORE_THAN_ANY_DISK_HAS = 1 << 60
WITHIN_S = 30.0


def sound(seed: int) -> bytes:
    return wav(np.random.default_rng(seed).bytes(200_000))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def with_settings(services: Services, **tables: Any) -> Services:
    return replace(services, settings=services.settings.with_tables(**tables))


@asynccontextmanager
async def api_of(services: Services, owner: UUID) -> AsyncIterator[Api]:
    async with listening(services, owner, "127.0.0.1", 0) as url, Api(url) as api:
        yield api


async def test_an_upload_that_fills_the_disk_is_storage_full_and_leaves_nothing(
    services: Services, owner: UUID, full_disk: Path
) -> None:
    cramped = with_settings(services, worker={"scratch": full_disk}, storage={"spare_bytes": 0})
    async with api_of(cramped, owner) as api:
        library = (await api.library())["id"]
        got = await api.upload(library, sound(1))
        assert (got.status, got.code) == (507, "storage-full")
        (full_disk / "rest").write_bytes(bytes(64 * 1024))
        got = await api.upload(library, sound(1))
        assert (got.status, got.code) == (507, "storage-full")
        assert (await api.get(f"/libraries/{library}/assets?tree=true")).json["items"] == []
    assert names(full_disk) == ["rest"]


async def test_uploads_and_jobs_leave_free_what_is_to_be_kept_free(
    services: Services, owner: UUID, tmp_path: Path
) -> None:
    async with api_of(services, owner) as api:
        asset = await api.asset(sound(2))
    tables: Any = {"worker": {"scratch": tmp_path}, "storage": {"spare_bytes": MORE_THAN_ANY_DISK_HAS}}
    careful = with_settings(services, **tables)
    async with api_of(careful, owner) as api:
        got = await api.upload((await api.library())["id"], sound(3))
        assert (got.status, got.code) == (507, "storage-full")
        order = {"operation": "echo", "inputs": [{"asset_id": asset["id"]}], "max_attempts": 1}
        job = (await api.post("/jobs", order)).json
        resolver = Resolver(tmp_path / "weights", offline=True)
        async with at_work(careful, ["echo"], resolver), asyncio.timeout(WITHIN_S):
            while job["state"] in {"queued", "running"}:
                job = (await api.get(f"/jobs/{job['id']}?wait_s=5")).json
    assert (job["state"], job["error"]["code"], job["outputs"]) == ("failed", "storage-full", [])
    assert names(tmp_path) == []
