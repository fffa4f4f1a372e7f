"""A track's stems mixed anew over HTTP: what comes out is what was in the song, to the last bit."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import pytest_asyncio

from neuralib.config import Settings
from neuralib.executors.mixer import Mixer
from neuralib.services import Services
from studio import Studio, open_studio

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 8000
SHARES = {"vocals": 0.25, "drums": 0.75}


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(database={"pool": 8})


@pytest_asyncio.fixture(loop_scope="module")
async def studio(services: Services, owner: UUID, tmp_path: Path) -> AsyncIterator[Studio]:
    samples = np.random.default_rng(owner.int % 2**32).integers(-20_000, 20_000, (RATE, 2), np.int16)
    async with open_studio(services, owner, tmp_path, Mixer, samples, RATE) as studio:
        yield studio


async def mix(studio: Studio, **body: Any) -> dict[str, Any]:
    got = await studio.post(f"/assets/{studio.song}/mix", body)
    assert (got.status, got.json["state"]) == (200, "succeeded"), got.content
    return got.json


async def test_a_mix_of_all_stems_is_the_song_and_one_without_the_vocals_is_the_rest(studio: Studio) -> None:
    stems = await studio.separate(SHARES)
    whole = await mix(studio)
    assert np.array_equal(await studio.made(whole), studio.samples)
    karaoke = await mix(studio, gains_db={"vocals": None})
    assert np.array_equal(await studio.made(karaoke), await studio.read(stems["drums"]))
    (output,) = karaoke["outputs"]
    asset = (await studio.api.get(f"/assets/{output['asset_id']}")).json
    assert (asset["parent_id"], asset["role"], asset["name"]) == (studio.song, "mix", "song [without vocals]")
    assert asset["audio"]["subtype"] == "pcm_16"
    assert [each["asset_id"] for each in karaoke["inputs"]] == [studio.song, stems["drums"], stems["vocals"]]
    again = await studio.post(f"/assets/{studio.song}/mix", {"gains_db": {"vocals": None, "drums": 0}})
    assert (again.json["cached"], again.json["id"]) == (True, karaoke["id"])


async def test_levels_change_and_what_clips_is_counted(studio: Studio) -> None:
    stems = await studio.separate(SHARES)
    job = await mix(studio, gains_db={"drums": 20, "vocals": None}, outputs={"format": "wav"})
    assert job["outputs"][0]["name"] == "song [mix]"
    loud = (await studio.read(stems["drums"])).astype(np.float64) * 10
    made = await studio.made(job)
    assert np.abs(made - np.clip(loud, -32768, 32767)).max() <= 1
    asset = (await studio.api.get(f"/assets/{job['outputs'][0]['asset_id']}")).json
    assert (
        asset["facts"]["clipped"] == np.count_nonzero((np.rint(loud) > 32767) | (np.rint(loud) < -32768)) > 0
    )
    quiet = await mix(studio, gains_db={"drums": 20, "vocals": None}, normalize="peak", name="Quiet")
    assert quiet["result"]["facts"]["peak_dbfs"] == -1.0
    assert np.abs(await studio.made(quiet)).max() == round(32768 * 10 ** (-1 / 20))


async def test_the_stems_are_those_of_the_newest_separation(studio: Studio) -> None:
    await studio.separate(SHARES)
    newer = await studio.separate({"vocals": 0.75, "drums": 0.25})
    assert [each["asset_id"] for each in (await mix(studio))["inputs"][1:]] == [
        newer[stem] for stem in sorted(newer)
    ]
    assert (await studio.api.call("DELETE", f"/assets/{newer['vocals']}")).status == 204
    left = await mix(studio)
    assert [each["name"] for each in left["inputs"]] == [None, "drums"]
    refused = await studio.api.post(f"/assets/{studio.song}/mix", {"gains_db": {"vocals": None}})
    assert (refused.status, refused.code) == (422, "validation-failed")
    assert [each["pointer"] for each in refused.json["errors"]] == ["/gains_db/vocals"]


async def test_without_stems_the_song_is_all_there_is(studio: Studio) -> None:
    assert np.array_equal(await studio.made(await mix(studio)), studio.samples)
    refused = await studio.api.post(f"/assets/{studio.song}/mix", {"gains_db": {"vocals": None}})
    assert "separate it first" in refused.json["detail"]


async def test_tracks_of_any_job_are_mixed_by_name(studio: Studio) -> None:
    inputs = [{"asset_id": studio.song, "name": "song"}]
    tracks = [{"input": "song", "gain_db": -6}, {"input": "song", "offset_s": 0.5, "pan": -1}]
    body = {"operation": "mix", "inputs": inputs, "params": {"tracks": tracks, "name": "Echo"}}
    job = (await studio.post("/jobs", body)).json
    made = await studio.made(job)
    wanted = np.zeros((RATE * 3 // 2, 2))
    wanted[:RATE] += studio.samples * 10 ** (-6 / 20)
    wanted[RATE // 2 :, 0] += studio.samples[:, 0]
    assert np.abs(made - np.clip(np.rint(wanted), -32768, 32767)).max() <= 1
    body["params"] = {"tracks": [{"input": "drums"}]}
    refused = await studio.api.post("/jobs", body)
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/params/tracks/0/input")
