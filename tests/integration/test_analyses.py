"""Analysis: every upload is analysed by a real worker; what was found is part of the asset, and is gone with it."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import mir_eval
import numpy as np
import pytest
import pytest_asyncio
import soundfile

import songs
from api_client import Api
from crew import at_work
from neuralib.config import Settings
from neuralib.db import events as event_rows
from neuralib.services import Services
from neuralib.weights import Resolver

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 3


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(
        ingest={"analyze": True}, limits={"jobs_per_owner": LIMIT}, database={"pool": 10}
    )


@pytest_asyncio.fixture(loop_scope="module")
async def working(services: Services, tmp_path: Path) -> AsyncIterator[None]:
    async with at_work(services, ["analyzer", "slicer"], Resolver(tmp_path / "weights", offline=True)):
        yield


@pytest.fixture(scope="module")
def song() -> songs.Song:
    return songs.render(songs.plans()[1])


def wav(song: songs.Song) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, song.samples.T, songs.RATE, "PCM_16", format="WAV")
    return file.getvalue()


async def the_job(api: Api, asset: str) -> dict[str, Any]:
    (job,) = (await api.get(f"/jobs?asset_id={asset}&operation=analyze")).json["items"]
    return job


async def analysed(api: Api, content: bytes) -> dict[str, Any]:
    """The asset once its job is over."""
    asset = await api.asset(content)
    job = await the_job(api, asset["id"])
    async with api.open("GET", f"/jobs/{job['id']}/events") as events:
        async with asyncio.timeout(60):
            await events.read()
    assert (await the_job(api, asset["id"]))["state"] == "succeeded"
    return (await api.get(f"/assets/{asset['id']}")).json


async def test_an_upload_is_analysed_by_itself(api: Api, working: None, song: songs.Song) -> None:
    asset = await analysed(api, wav(song))
    found = asset["analysis"]
    assert found["bpm"]["value"] == pytest.approx(90.66, rel=0.02)
    assert found["key"] == {"value": "C# major", "camelot": "3B", "confidence": found["key"]["confidence"]}
    assert -30 < found["lufs_i"] < 0
    assert found["true_peak_dbfs"] == pytest.approx(20 * np.log10(0.8), abs=1)
    assert (asset["bpm"], asset["musical_key"]) == (pytest.approx(90.66, rel=0.02), "C# major")
    assert asset["version"] == 2

    whole = await api.get(f"/assets/{asset['id']}/analysis")
    strokes = songs.merged(song.strokes)
    times = np.array([onset["time"] for onset in whole.json["onsets"]])
    assert mir_eval.onset.f_measure(strokes, times)[2] > 0.9  # all strokes are among the onsets
    assert len(whole.json["beats"]) == pytest.approx(24 * 90.66 / 60, abs=2)
    tag = {"If-None-Match": whole.headers["ETag"]}
    assert (await api.get(f"/assets/{asset['id']}/analysis", headers=tag)).status == 304


async def test_the_world_is_told_that_the_asset_changed(
    api: Api, services: Services, owner: UUID, working: None, song: songs.Song
) -> None:
    asset = await analysed(api, wav(song))
    async with services.db.statements() as db:
        events = await event_rows.after(db, owner, 0)
    told = [event.data for event in events if event.type == "asset.updated"]
    assert [(each["asset_id"], each["version"]) for each in told] == [(asset["id"], 2)]
    job = await the_job(api, asset["id"])
    assert job["priority"] == "low"
    assert [output["kind"] for output in job["outputs"]] == ["analysis"]


async def test_slices_go_by_the_beats_of_an_analysis(api: Api, working: None, song: songs.Song) -> None:
    asset = await analysed(api, wav(song))
    beats = (await api.get(f"/assets/{asset['id']}/analysis")).json["beats"]
    params = {"method": "grid", "snap": "none", "fade_ms": 0}
    (file,) = (await the_job(api, asset["id"]))["outputs"]
    inputs = [{"asset_id": asset["id"]}, {"asset_id": file["asset_id"]}]
    body = {"operation": "slice", "inputs": inputs, "params": params}
    job = await api.post("/jobs", body, headers={"Prefer": "wait=60"})
    assert job.json["state"] == "succeeded", job.json
    assert len(job.json["outputs"]) == pytest.approx(len(beats), abs=1)


async def test_what_was_not_analysed_has_no_analysis(api: Api, song: songs.Song) -> None:
    asset = await api.asset(wav(song))
    assert asset["analysis"] is None
    got = await api.get(f"/assets/{asset['id']}/analysis")
    assert (got.status, got.code) == (409, "not-analysed")


async def test_a_full_queue_refuses_no_upload(api: Api, song: songs.Song) -> None:
    content = wav(song)
    assets = [await api.asset(content) for _ in range(LIMIT + 1)]
    jobs = (await api.get("/jobs")).json["items"]
    assert {job["asset_id"] for job in jobs} == {asset["id"] for asset in assets[:LIMIT]}


async def test_an_analysis_goes_with_its_asset(
    api: Api, working: None, services: Services, song: songs.Song
) -> None:
    asset = await analysed(api, wav(song))
    job = await the_job(api, asset["id"])
    (file,) = job["outputs"]
    assert (await api.call("DELETE", f"/assets/{asset['id']}")).status == 204
    for gone in (f"/assets/{asset['id']}/analysis", f"/assets/{file['asset_id']}"):
        assert (await api.get(gone)).status == 404


async def test_an_analysis_that_waits_does_not_hold_up_who_deletes(api: Api, song: songs.Song) -> None:
    asset = await api.asset(wav(song))
    job = await the_job(api, asset["id"])
    assert (await api.call("DELETE", f"/assets/{asset['id']}")).status == 204
    assert (await api.get(f"/jobs/{job['id']}")).json["state"] == "cancelled"
    other = await api.asset(wav(song))
    assert (await api.call("DELETE", f"/libraries/{other['library_id']}")).status == 204
