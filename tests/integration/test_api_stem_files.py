"""A stem file over HTTP: ordered for a track, made by a worker, fetched, exported."""

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import av
import numpy as np
import pytest
import pytest_asyncio

from neuralib.config import Settings
from neuralib.executors.stem_file import StemFile
from neuralib.executors.stem_file.container import read_atom
from neuralib.services import Services
from studio import Studio, open_studio

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 44_100
QUARTERS = dict.fromkeys(("vocals", "drums", "bass", "other"), 0.25)


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(database={"pool": 8})


@pytest_asyncio.fixture(loop_scope="module")
async def studio(services: Services, owner: UUID, tmp_path: Path) -> AsyncIterator[Studio]:
    quarters = np.random.default_rng(owner.int % 2**32).integers(-8000, 8000, (RATE // 2, 2), np.int16)
    async with open_studio(services, owner, tmp_path, StemFile, quarters * 4, RATE) as studio:
        yield studio


async def test_a_separated_track_becomes_a_stem_file_that_holds_it_to_the_last_bit(
    studio: Studio, tmp_path: Path
) -> None:
    await studio.separate(QUARTERS)
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
    await studio.separate({"vocals": 0.25, "instrumental": 0.75})
    got = await studio.post(f"/assets/{studio.song}/stem-file", {})
    assert (got.status, got.code) == (422, "model-input-unsupported")
    assert "instrumental, vocals" in got.json["detail"]


async def test_a_codec_that_the_format_has_not_is_refused(studio: Studio) -> None:
    got = await studio.post(f"/assets/{studio.song}/stem-file", {"codec": "mp3"})
    assert (got.status, got.code) == (422, "validation-failed")
