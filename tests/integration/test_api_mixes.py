"""A track's stems mixed anew over HTTP: what comes out is what was in the song, to the last bit."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import pytest_asyncio
import soundfile

from api_client import Api, Got
from neuralib.api import listening
from neuralib.config import Settings
from neuralib.executors import (
    AudioInfo,
    AudioOutput,
    Checkpoint,
    Executor,
    Output,
    Params,
    Plan,
    Recording,
    RunContext,
)
from neuralib.executors.mixer import Mixer
from neuralib.executors.registry import Plugin, Registry
from neuralib.services import Services
from neuralib.weights import Resolver
from neuralib.worker import Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 8000
WITHIN_S = 30.0


class SplitParams(Params):
    vocals: float = 0.25


class Splitter(Executor[SplitParams]):
    """Says that a share of the song is vocals and the rest is drums: they add up to the last bit."""

    name = "splitter"
    title = "Splitter"
    operation = "separate"
    params = SplitParams

    def load(self, *_: Any) -> None:
        pass

    @classmethod
    def plan(cls, info: AudioInfo, params: SplitParams, checkpoint: Checkpoint | None) -> Plan:
        return Plan(1)

    def run(self, recording: Recording, params: SplitParams, context: RunContext) -> Output:
        mix = recording.read()
        vocals = np.rint(mix * params.vocals * 32768).astype(np.float32) / 32768
        outputs = []
        for name, samples in (("vocals", vocals), ("drums", mix - vocals)):
            with context.writer(name, recording) as out:
                out.write(samples)
                outputs.append(AudioOutput("stem", name, out.close()))
        return Output(tuple(outputs))


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(database={"pool": 8})


@dataclass
class Studio:
    api: Api
    song: str
    samples: np.ndarray[Any, Any]

    async def post(self, path: str, body: dict[str, Any]) -> Got:
        return await self.api.post(path, body, headers={"Prefer": "wait=30"})

    async def separate(self, vocals: float = 0.25) -> dict[str, str]:
        """The stems' ids by name."""
        body = {"operation": "separate", "inputs": [{"asset_id": self.song}], "params": {"vocals": vocals}}
        job = (await self.post("/jobs", body)).json
        assert job["state"] == "succeeded", job["error"]
        return {output["stem"]: output["asset_id"] for output in job["outputs"]}

    async def mix(self, **body: Any) -> dict[str, Any]:
        got = await self.post(f"/assets/{self.song}/mix", body)
        assert (got.status, got.json["state"]) == (200, "succeeded"), got.content
        return got.json

    async def read(self, asset: str) -> np.ndarray[Any, Any]:
        content = (await self.api.get(f"/assets/{asset}/content")).content
        return soundfile.read(io.BytesIO(content), dtype="int16")[0]

    async def made(self, job: dict[str, Any]) -> np.ndarray[Any, Any]:
        (output,) = job["outputs"]
        return await self.read(output["asset_id"])


@asynccontextmanager
async def working(services: Services, folder: Path) -> AsyncIterator[None]:
    worker = Worker(services, services.registry.names, Resolver(folder, offline=True))
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop(0.0)
        await task


@pytest_asyncio.fixture(loop_scope="module")
async def studio(services: Services, owner: UUID, tmp_path: Path) -> AsyncIterator[Studio]:
    registry = Registry((each, Plugin("tests", "0")) for each in (Splitter, Mixer))
    services = replace(services, registry=registry)
    samples = np.random.default_rng(owner.int % 2**32).integers(-20_000, 20_000, (RATE, 2), np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, "PCM_16", format="WAV")
    async with (
        working(services, tmp_path),
        listening(services, owner, "127.0.0.1", 0) as url,
        Api(url) as api,
    ):
        song = (await api.asset(file.getvalue()))["id"]
        yield Studio(api, song, samples)


async def test_a_mix_of_all_stems_is_the_song_and_one_without_the_vocals_is_the_rest(studio: Studio) -> None:
    stems = await studio.separate()
    whole = await studio.mix()
    assert np.array_equal(await studio.made(whole), studio.samples)
    karaoke = await studio.mix(gains_db={"vocals": None})
    assert np.array_equal(await studio.made(karaoke), await studio.read(stems["drums"]))
    (output,) = karaoke["outputs"]
    asset = (await studio.api.get(f"/assets/{output['asset_id']}")).json
    assert (asset["parent_id"], asset["role"], asset["name"]) == (studio.song, "mix", "song [without vocals]")
    assert asset["audio"]["subtype"] == "pcm_16"
    assert [each["asset_id"] for each in karaoke["inputs"]] == [studio.song, stems["drums"], stems["vocals"]]
    again = await studio.post(f"/assets/{studio.song}/mix", {"gains_db": {"vocals": None, "drums": 0}})
    assert (again.json["cached"], again.json["id"]) == (True, karaoke["id"])


async def test_levels_change_and_what_clips_is_counted(studio: Studio) -> None:
    stems = await studio.separate()
    job = await studio.mix(gains_db={"drums": 20, "vocals": None}, outputs={"format": "wav"})
    assert job["outputs"][0]["name"] == "song [mix]"
    loud = (await studio.read(stems["drums"])).astype(np.float64) * 10
    made = await studio.made(job)
    assert np.abs(made - np.clip(loud, -32768, 32767)).max() <= 1
    asset = (await studio.api.get(f"/assets/{job['outputs'][0]['asset_id']}")).json
    assert (
        asset["facts"]["clipped"] == np.count_nonzero((np.rint(loud) > 32767) | (np.rint(loud) < -32768)) > 0
    )
    quiet = await studio.mix(gains_db={"drums": 20, "vocals": None}, normalize="peak", name="Quiet")
    assert quiet["result"]["facts"]["peak_dbfs"] == -1.0
    assert np.abs(await studio.made(quiet)).max() == round(32768 * 10 ** (-1 / 20))


async def test_the_stems_are_those_of_the_newest_separation(studio: Studio) -> None:
    await studio.separate(0.25)
    newer = await studio.separate(0.75)
    assert [each["asset_id"] for each in (await studio.mix())["inputs"][1:]] == [
        newer[stem] for stem in sorted(newer)
    ]
    assert (await studio.api.call("DELETE", f"/assets/{newer['vocals']}")).status == 204
    left = await studio.mix()
    assert [each["name"] for each in left["inputs"]] == [None, "drums"]
    refused = await studio.api.post(f"/assets/{studio.song}/mix", {"gains_db": {"vocals": None}})
    assert (refused.status, refused.code) == (422, "validation-failed")
    assert [each["pointer"] for each in refused.json["errors"]] == ["/gains_db/vocals"]


async def test_without_stems_the_song_is_all_there_is(studio: Studio) -> None:
    assert np.array_equal(await studio.made(await studio.mix()), studio.samples)
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
