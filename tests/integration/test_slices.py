"""Slicing over HTTP, by a real worker: the file is fetched and decoded once, and the samples are its own."""

import io
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import pytest_asyncio
import soundfile

from api_client import Api
from crew import at_work
from media import noise, on_grid
from neuralib.config import Settings
from neuralib.objects import ObjectStore
from neuralib.services import Services
from neuralib.weights import Resolver

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 8000
PLAIN = {"snap": "none", "fade_ms": 0}


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(database={"pool": 10})


class Counted:
    """A store that counts how often each object is read from its beginning."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.reads: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        self.reads.append(key)
        return self._store.read(key, start, stop)


@pytest.fixture
def store(services: Services) -> Counted:
    return Counted(services.objects)


@pytest_asyncio.fixture(loop_scope="module")
async def working(services: Services, store: Counted, tmp_path: Path) -> AsyncIterator[None]:
    counted = replace(services, objects=store)
    async with at_work(counted, ["slicer"], Resolver(tmp_path / "weights", offline=True)):
        yield


def song(seconds: float = 2.0) -> bytes:
    file = io.BytesIO()
    samples = on_grid(noise(seconds, RATE, 2, seed=uuid4().int % 2**32), 16)
    soundfile.write(file, samples.T, RATE, "PCM_16", format="WAV")
    return file.getvalue()


async def sliced(api: Api, asset: str, status: int = 200, **params: Any) -> Any:
    body = {"operation": "slice", "inputs": [{"asset_id": asset}], "params": params}
    got = await api.post("/jobs", body, headers={"Prefer": "wait=60"})
    assert got.status == status, got.content
    return got


async def content(api: Api, asset: str) -> np.ndarray:
    got = await api.get(f"/assets/{asset}/content")
    return soundfile.read(io.BytesIO(got.content), dtype="int16")[0]


@pytest.mark.usefixtures("working")
async def test_two_hundred_slices_fetch_the_file_once_and_null_against_it(api: Api, store: Counted) -> None:
    made = await api.asset(song(), "Evening.wav")
    params = {"method": "equal", "parts": 200, "classify": False, "dedupe": None, **PLAIN}
    job = (await sliced(api, made["id"], **params, name_template="{title} {n:03}")).json
    assert job["state"] == "succeeded", job["error"]
    assert len(job["outputs"]) == 200
    assert len(store.reads) == 1
    whole = await content(api, made["id"])
    joined = []
    for n, output in enumerate(job["outputs"], 1):
        asset = (await api.get(f"/assets/{output['asset_id']}")).json
        assert (asset["name"], asset["role"], asset["parent_id"]) == (f"Evening {n:03}", "sample", made["id"])
        part = await content(api, asset["id"])
        assert np.array_equal(part, whole[asset["facts"]["start_frame"] : asset["facts"]["end_frame"]])
        assert asset["audio"]["frames"] == len(part)
        joined.append(part)
    assert np.array_equal(np.concatenate(joined), whole)


@pytest.mark.usefixtures("working")
async def test_region_ids_become_times_when_the_job_is_accepted(api: Api) -> None:
    asset = (await api.asset(song()))["id"]
    where = f"/assets/{asset}/regions"
    region = (await api.post(where, {"start_s": 0.5, "end_s": 1.0, "name": "Fill"})).json
    await api.post(where, {"start_s": 1.0, "end_s": 1.5, "kind": "loop"})
    await api.post(where, {"start_s": 1.2, "kind": "marker"})
    params = {"method": "regions", "classify": False, "name_template": "{title} {name}", **PLAIN}
    job = (await sliced(api, asset, **params, region_ids=[region["id"]])).json
    assert job["params"]["regions"] == [{"start_s": 0.5, "end_s": 1.0, "name": "Fill"}]
    assert job["params"]["region_ids"] == []
    assert [each["name"] for each in job["outputs"]] == ["song Fill"]
    spans = [{"start_s": 0.5, "end_s": 1.0, "name": "Fill"}]
    again = (await sliced(api, asset, **params, regions=spans)).json
    assert (again["id"], again["cached"]) == (job["id"], True)
    everything = (await sliced(api, asset, **params)).json
    assert [each["name"] for each in everything["outputs"]] == ["song Fill", "song"]
    await api.call("PATCH", f"{where}/{region['id']}", json={"start_s": 0.25})
    moved = (await sliced(api, asset, **params, region_ids=[region["id"]])).json
    assert moved["id"] != job["id"]
    assert moved["params"]["regions"][0]["start_s"] == 0.25


@pytest.mark.usefixtures("working")
async def test_silence_is_a_success_without_slices(api: Api) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((RATE, 1)), RATE, "PCM_16", format="WAV")
    job = (await sliced(api, (await api.asset(file.getvalue()))["id"])).json
    assert (job["state"], job["outputs"]) == ("succeeded", [])
    assert job["result"]["facts"]["reason"] == "the recording is silent"


async def test_what_cannot_be_sliced_is_refused_before_it_is_a_job(api: Api) -> None:
    asset, other = [(await api.asset(song()))["id"] for _ in range(2)]
    elsewhere = (await api.post(f"/assets/{other}/regions", {"start_s": 0, "end_s": 1})).json["id"]
    marker = (await api.post(f"/assets/{asset}/regions", {"kind": "cue", "start_s": 0})).json["id"]
    body = {"operation": "slice", "inputs": [{"asset_id": asset}]}
    for params, code, pointer in (
        ({"method": "regions", "regions": [{"start_s": 0, "end_s": 9}]}, "region-out-of-bounds", "/params/regions/0/end_s"),
        ({"method": "regions", "region_ids": [marker]}, "validation-failed", "/params/region_ids/0"),
        ({"method": "regions"}, "validation-failed", "/params/regions"),
        ({"method": "grid"}, "validation-failed", "/params/beats"),
    ):  # fmt: skip
        got = await api.post("/jobs", {**body, "params": params})
        assert (got.status, got.code, got.json["errors"][0]["pointer"]) == (422, code, pointer)
    for id_ in (elsewhere, str(uuid4())):
        got = await api.post("/jobs", {**body, "params": {"method": "regions", "region_ids": [id_]}})
        assert (got.status, got.code) == (404, "not-found")
    assert (await api.get("/jobs")).json["items"] == []


@pytest.mark.usefixtures("working")
async def test_long_titles_give_way_to_what_tells_slices_apart(api: Api) -> None:
    asset = (await api.asset(song(), f"{'x' * 190} ünï✓.wav"))["id"]
    job = (await sliced(api, asset, method="equal", parts=3, classify=False, **PLAIN)).json
    names = [each["name"] for each in job["outputs"]]
    assert len(set(names)) == 3
    assert all(name.endswith(f"slice {n:02}") and len(name) <= 200 for n, name in enumerate(names, 1))
