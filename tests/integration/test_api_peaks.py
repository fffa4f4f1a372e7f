"""Peaks over HTTP: from the moment of the upload, made once for older bytes, gone with them."""

import asyncio
import io
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
import soundfile

from api_client import Api
from neuralib import assets, renditions
from neuralib.audio.peaks import LEVELS
from neuralib.config import Settings
from neuralib.entities import NewAsset, new_id
from neuralib.errors import NotFound
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 44_100


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(limits={"render_wait_s": 30.0})


def song(seconds: float = 2.0, channels: int = 2) -> tuple[bytes, np.ndarray]:
    """A 16-bit wav that no other test has, and its samples as int16 (channels, frames)."""
    rng = np.random.default_rng(uuid4().int)
    samples = rng.integers(-20_000, 20_000, (round(seconds * RATE), channels), np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, "PCM_16", format="WAV")
    return file.getvalue(), samples.T


def naive(lanes: np.ndarray, level: int) -> list[int]:
    """Low and high of each lane, window by window."""
    starts = range(0, lanes.shape[1], level)
    return [int(f(lane[s : s + level])) for s in starts for lane in lanes for f in (np.min, np.max)]


async def renditions_of(services: Services, asset: dict[str, Any]) -> list[str]:
    async with services.db.transaction() as tx:
        rows = await tx.raw.fetch(
            "select r.key from renditions r join assets a on a.blob_id = r.blob_id where a.id = $1",
            UUID(asset["id"]),
        )
    return [row["key"] for row in rows]


async def forget(services: Services, asset: dict[str, Any]) -> None:
    """As if it had come before there were peaks."""
    async with services.db.transaction() as tx:
        await tx.raw.execute(
            "delete from renditions where blob_id = (select blob_id from assets where id = $1)",
            UUID(asset["id"]),
        )


async def test_peaks_are_those_of_the_samples(api: Api) -> None:
    content, samples = song()
    asset = await api.asset(content)
    for level in (64, 1024):
        split = (await api.get(f"{asset['urls']['peaks']}?level={level}&channels=split")).json
        assert split["data"] == naive(samples, level)
        assert (split["channels"], split["length"]) == (2, -(-samples.shape[1] // level))
        mixed = (await api.get(f"{asset['urls']['peaks']}?level={level}")).json
        mean = np.rint(samples.astype(np.float64).mean(axis=0)).astype(int)
        assert mixed["data"] == naive(mean[None], level)


async def test_a_span_is_a_slice_of_the_whole(api: Api) -> None:
    content, samples = song()
    url = (await api.asset(content))["urls"]["peaks"]
    whole = (await api.get(f"{url}?level=64&channels=split")).json["data"]
    for start_s, end_s in ((0.5, 0.75), (0, 0.001), (1.9999, 99), (0.0001, 0.0002)):
        first = int(start_s * RATE) // 64
        last = min(-(-int(np.ceil(end_s * RATE)) // 64), -(-samples.shape[1] // 64))
        query = f"{url}?level=64&channels=split&start_s={start_s}&end_s={end_s}"
        assert (await api.get(query)).json["data"] == whole[first * 4 : last * 4], (start_s, end_s)


async def test_the_binary_form_says_the_same(api: Api) -> None:
    content, _ = song()
    url = (await api.asset(content))["urls"]["peaks"]
    for bits, kind in ((16, "<i2"), (8, "i1")):
        told = (await api.get(f"{url}?level=256&bits={bits}")).json
        got = await api.get(f"{url}?level=256&bits={bits}&format=bin")
        assert got.headers["Content-Type"] == "application/octet-stream"
        head = struct.unpack("<iIiiIi", got.content[:24])
        assert head == (2, bits == 8, RATE, 256, told["length"], 1)
        assert np.frombuffer(got.content[24:], kind).tolist() == told["data"]
        assert told["bits"] == bits


async def test_auto_is_the_finest_level_that_is_not_too_much(api: Api) -> None:
    content, _ = song(seconds=7.0)
    url = (await api.asset(content))["urls"]["peaks"]
    told = (await api.get(url)).json
    assert told["samples_per_pixel"] == 256
    assert told["length"] <= renditions.AUTO_POINTS
    assert (await api.get(f"{url}?start_s=1&end_s=2")).json["samples_per_pixel"] == 64


async def test_peaks_are_cached_for_ever(api: Api) -> None:
    content, _ = song(0.2)
    url = (await api.asset(content))["urls"]["peaks"]
    got = await api.get(url)
    assert "immutable" in got.headers["Cache-Control"]
    assert (await api.get(url, headers={"If-None-Match": got.headers["ETag"]})).status == 304


async def test_concurrent_requests_make_the_peaks_of_old_bytes_once(api: Api, services: Services) -> None:
    content, samples = song()
    asset = await api.asset(content)
    await forget(services, asset)
    answers = await asyncio.gather(*(api.get(f"{asset['urls']['peaks']}?level=4096") for _ in range(8)))
    assert {got.status for got in answers} == {200}
    mean = np.rint(samples.astype(np.float64).mean(axis=0)).astype(int)
    assert all(got.json["data"] == naive(mean[None], 4096) for got in answers)
    assert len(await renditions_of(services, asset)) == 1


async def test_a_request_that_would_wait_too_long_is_told_to_come_again(
    api: Api, services: Services, owner: UUID
) -> None:
    content, _ = song()
    asset = await api.asset(content)
    await forget(services, asset)
    row = await assets.get(services, owner, UUID(asset["id"]))
    hasty = replace(services, settings=services.settings.with_tables(limits={"render_wait_s": 0.001}))
    assert await renditions.peaks(hasty, row, renditions.View()) is None
    got = await api.get(asset["urls"]["peaks"])  # joins what is on its way
    assert got.status == 200
    assert len(await renditions_of(services, asset)) == 1


async def test_assets_of_the_same_bytes_share_their_peaks_and_the_last_takes_them_along(
    api: Api, services: Services
) -> None:
    content, _ = song()
    one, two = await api.asset(content), await api.asset(content)
    keys = await renditions_of(services, one)
    assert keys == await renditions_of(services, two)
    assert len(keys) == 1
    await assets.sweep(services)
    assert (await api.call("DELETE", f"/assets/{one['id']}?purge=true")).status == 204
    await assets.sweep(services)
    assert (await api.get(two["urls"]["peaks"])).status == 200
    assert (await api.call("DELETE", f"/assets/{two['id']}?purge=true")).status == 204
    await assets.sweep(services)
    assert [stat async for stat in services.objects.list(keys[0])] == []
    assert (await api.get(two["urls"]["peaks"])).status == 404


async def test_peaks_whose_asset_goes_while_they_are_made_leave_nothing(
    api: Api, services: Services, owner: UUID
) -> None:
    content, _ = song()
    asset = await api.asset(content)
    await forget(services, asset)
    row = await assets.get(services, owner, UUID(asset["id"]))
    before = {stat.key async for stat in services.objects.list("blobs/")}

    async def render(file: Path, folder: Path) -> assets.Beside:
        assert (await api.call("DELETE", f"/assets/{asset['id']}?purge=true")).status == 204
        return assets.Beside(assets.PEAKS, file, "application/octet-stream", {})

    with pytest.raises(NotFound):
        await renditions.once(services, row, assets.PEAKS, render)
    await assets.sweep(services)
    assert {stat.key async for stat in services.objects.list("blobs/")} < before


async def test_what_holds_no_sound_has_no_peaks(
    api: Api, services: Services, owner: UUID, tmp_path: Path
) -> None:
    library = UUID((await api.library())["id"])
    (tmp_path / "song.mid").write_bytes(b"MThd")
    new = NewAsset(new_id(), library, "midi", "midi", "song")
    midi = await assets.store(services, owner, new, tmp_path / "song.mid", uuid4().hex, 4, "audio/midi")
    got = await api.get(f"/assets/{midi.id}/peaks")
    assert (got.status, got.code) == (422, "not-audio")
    assert (await api.get(f"/assets/{midi.id}")).json["urls"]["peaks"] is None


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("start_s=1&end_s=1", 400, "invalid-parameter"),
        ("start_s=2&end_s=1", 400, "invalid-parameter"),
        ("start_s=-1", 400, "invalid-parameter"),
        ("end_s=nan", 400, "invalid-parameter"),
        ("start_s=inf", 400, "invalid-parameter"),
        ("level=100", 400, "invalid-parameter"),
        ("level=0", 400, "invalid-parameter"),
        ("channels=left", 400, "invalid-parameter"),
        ("format=xml", 400, "invalid-parameter"),
        ("bits=24", 400, "invalid-parameter"),
        ("start_s=0.2", 422, "validation-failed"),
        ("start_s=1e9", 422, "validation-failed"),
    ],
)
async def test_a_view_of_nothing_is_refused(api: Api, query: str, status: int, code: str) -> None:
    content, _ = song(0.2)
    url = (await api.asset(content))["urls"]["peaks"]
    got = await api.get(f"{url}?{query}")
    assert (got.status, got.code) == (status, code), got.json


async def test_more_than_an_answer_holds_is_refused_by_name(
    services: Services, api: Api, owner: UUID
) -> None:
    content, _ = song(0.2)
    asset = await api.asset(content)
    async with services.db.transaction() as tx:
        await tx.raw.execute(
            """update renditions set facts = '{"sample_rate": 48000, "channels": 2, "frames": 691200000}'
            where blob_id = (select blob_id from assets where id = $1)""",
            UUID(asset["id"]),
        )
    got = await api.get(f"{asset['urls']['peaks']}?level=64")
    assert (got.status, got.code) == (422, "validation-failed")
    assert got.json["errors"][0]["pointer"] == "/query/level"
    cut_short = await api.get(f"{asset['urls']['peaks']}?level=16384")
    assert (cut_short.status, cut_short.code) == (503, "storage-unavailable")


async def test_lists_hold_no_peaks(api: Api) -> None:
    content, _ = song(0.2)
    asset = await api.asset(content)
    listed = (await api.get(f"/libraries/{asset['library_id']}/assets")).json["items"][0]
    assert listed == asset
    assert '"data"' not in json.dumps(listed)
    assert {64, 256, 1024, 4096} <= set(LEVELS)
