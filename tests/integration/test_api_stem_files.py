"""A stem file over HTTP: ordered for a track, made by a worker, fetched, exported."""

import asyncio
import contextlib
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import av
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
from neuralib.executors.registry import Plugin, Registry
from neuralib.executors.stem_file import StemFile
from neuralib.executors.stem_file.container import read_atom
from neuralib.services import Services
from neuralib.weights import Resolver
from neuralib.worker import Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 44_100


class SplitParams(Params):
    names: tuple[str, ...] = ("vocals", "drums", "bass", "other")


class Splitter(Executor[SplitParams]):
    """Gives each stem a quarter of the song."""

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
        outputs = []
        for name in params.names:
            with context.writer(name, recording) as out:
                out.write(recording.read() / 4)
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

    async def separate(self, **params: Any) -> None:
        body = {"operation": "separate", "inputs": [{"asset_id": self.song}], "params": params}
        assert (await self.post("/jobs", body)).json["state"] == "succeeded"


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
    services = replace(
        services, registry=Registry((each, Plugin("tests", "0")) for each in (Splitter, StemFile))
    )
    samples = np.random.default_rng(owner.int % 2**32).integers(-8000, 8000, (RATE // 2, 2), np.int16) * 4
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.int16), RATE, "PCM_16", format="WAV")
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(working(services, tmp_path))
        url = await stack.enter_async_context(listening(services, owner, "127.0.0.1", 0))
        api = await stack.enter_async_context(Api(url))
        yield Studio(api, (await api.asset(file.getvalue()))["id"], samples)


async def test_a_separated_track_becomes_a_stem_file_that_holds_it_to_the_last_bit(
    studio: Studio, tmp_path: Path
) -> None:
    await studio.separate()
    got = await studio.post(f"/assets/{studio.song}/stem-file", {})
    assert (got.status, got.json["state"]) == (200, "succeeded"), got.content
    (output,) = got.json["outputs"]
    asset = (await studio.api.get(f"/assets/{output['asset_id']}")).json
    assert (asset["name"], asset["role"], asset["parent_id"]) == ("song.stem.mp4", "stem-file", studio.song)
    assert (asset["audio"]["codec"], asset["audio"]["subtype"]) == ("alac", "pcm_16")
    content = await studio.api.get(asset["urls"]["content"], params={"download": "true"})
    assert 'filename="song.stem.mp4"' in content.headers["Content-Disposition"]
    path = tmp_path / "song.stem.mp4"
    path.write_bytes(content.content)
    told = read_atom(path)
    assert told is not None
    assert [stem["name"] for stem in told["stems"]] == ["Drums", "Bass", "Other", "Vocals"]
    with av.open(str(path)) as file:
        assert len(file.streams.audio) == 5
        whole = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1)
    assert np.array_equal(whole.T, studio.samples)
    archive = await studio.api.get(f"/assets/{asset['id']}/export.zip")
    assert "song.stem.mp4" in zipfile.ZipFile(io.BytesIO(archive.content)).namelist()[0]


async def test_a_track_without_the_four_stems_is_refused_by_what_it_has(studio: Studio) -> None:
    got = await studio.post(f"/assets/{studio.song}/stem-file", {})
    assert (got.status, got.code) == (422, "model-input-unsupported")
    assert "separate it first" in got.json["detail"]
    await studio.separate(names=["vocals", "instrumental"])
    got = await studio.post(f"/assets/{studio.song}/stem-file", {})
    assert (got.status, got.code) == (422, "model-input-unsupported")
    assert "instrumental, vocals" in got.json["detail"]


async def test_a_codec_that_the_format_has_not_is_refused(studio: Studio) -> None:
    got = await studio.post(f"/assets/{studio.song}/stem-file", {"codec": "mp3"})
    assert (got.status, got.code) == (422, "validation-failed")
