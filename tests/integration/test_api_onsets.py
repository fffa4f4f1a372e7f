"""Onsets over HTTP: what a page needs to show where slicing will cut, and slicing cuts just there."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
import pytest_asyncio
import soundfile

import songs
from api_client import Api
from crew import at_work
from neuralib import assets, renditions
from neuralib.config import Settings
from neuralib.entities import NewAsset, new_id
from neuralib.errors import DecodeFailed
from neuralib.services import Services
from neuralib.weights import Resolver

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIN_MS = 50


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(limits={"render_wait_s": 30.0})


@pytest_asyncio.fixture(loop_scope="module")
async def working(services: Services, tmp_path: Path) -> AsyncIterator[None]:
    async with at_work(services, ["slicer"], Resolver(tmp_path / "weights", offline=True)):
        yield


def wav(samples: np.ndarray, rate: int = songs.RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples.T, rate, "PCM_16", format="WAV")
    return file.getvalue()


def beat(seed: int, seconds: float = 4.0) -> bytes:
    """Drums; each test has its own, so that none was listened to before."""
    return wav(0.5 * np.atleast_2d(songs.drums(120, "break", seconds=seconds, seed=seed).samples))


def starts_at(heard: dict[str, Any], sensitivity: float) -> list[int]:
    """By the rule that the reference tells."""
    kept: list[int] = []
    for start, needed in zip(heard["start_frames"], heard["sensitivities"], strict=True):
        soon = kept and start - kept[-1] < MIN_MS / 1000 * heard["sample_rate"]
        if needed <= sensitivity and not soon:
            kept.append(start)
    return kept or ([] if heard["silent"] else [0])


async def sliced(api: Api, asset: str, **params: Any) -> list[tuple[int, int]]:
    params = {"snap": "none", "fade_ms": 0, "min_ms": MIN_MS, "classify": False, "dedupe": None, **params}
    body = {"operation": "slice", "inputs": [{"asset_id": asset}], "params": params}
    job = (await api.post("/jobs", body, headers={"Prefer": "wait=60"})).json
    assert job["state"] == "succeeded", job
    facts = [(await api.get(f"/assets/{each['asset_id']}")).json["facts"] for each in job["outputs"]]
    return [(each["start_frame"], each["end_frame"]) for each in facts]


@pytest.mark.usefixtures("working")
async def test_slicing_cuts_where_the_onsets_say(api: Api) -> None:
    asset = (await api.asset(beat(6)))["id"]  # some of its strokes are faint
    heard = (await api.get(f"/assets/{asset}/onsets")).json
    counts = []
    for sensitivity in (0.0, 0.35, 0.8, 1.0):
        starts = starts_at(heard, sensitivity)
        assert await sliced(api, asset, sensitivity=sensitivity) == list(pairwise([*starts, heard["frames"]]))
        counts.append(len(starts))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    snapped = await sliced(api, asset, sensitivity=0.8, snap="zero")
    apart = np.array([start for start, _ in snapped]) - starts_at(heard, 0.8)
    assert np.abs(apart).max() <= 0.005 * heard["sample_rate"]


@pytest.mark.usefixtures("working")
@pytest.mark.parametrize("level", [0.0, 0.3])
async def test_silence_makes_no_slice_and_what_never_begins_one(api: Api, level: float) -> None:
    frames = 8000 + uuid4().int % 1000
    asset = (await api.asset(wav(np.full((1, frames), level), 8000)))["id"]
    heard = (await api.get(f"/assets/{asset}/onsets")).json
    assert (heard["silent"], heard["frames"]) == (level == 0, frames)
    assert await sliced(api, asset) == ([(0, frames)] if level else [])


async def test_they_are_looked_for_once_and_cached_for_ever(api: Api, services: Services) -> None:
    asset = await api.asset(beat(1, 1.0))
    url = f"/assets/{asset['id']}/onsets"
    answers = await asyncio.gather(*(api.get(url) for _ in range(4)))
    assert {got.status for got in answers} == {200}
    assert len({got.content for got in answers}) == 1
    got = answers[0]
    assert "immutable" in got.headers["Cache-Control"]
    assert (await api.get(url, headers={"If-None-Match": got.headers["ETag"]})).status == 304
    async with services.db.transaction() as tx:
        kinds = await tx.raw.fetch(
            "select r.kind from renditions r join assets a on a.blob_id = r.blob_id where a.id = $1",
            UUID(asset["id"]),
        )
    assert [row["kind"] for row in kinds].count(renditions.ONSETS) == 1


async def test_nobody_waits_too_long(api: Api, services: Services, owner: UUID) -> None:
    made = await api.asset(beat(2, 2.0))
    asset = await assets.get(services, owner, UUID(made["id"]))

    def limited(**limits: float) -> Services:
        return replace(services, settings=services.settings.with_tables(limits=limits))

    assert await renditions.onsets(limited(render_wait_s=0.001), asset) is None
    assert (await api.get(f"/assets/{made['id']}/onsets")).status == 200  # joins what is on its way
    other = await assets.get(services, owner, UUID((await api.asset(beat(3, 2.0)))["id"]))
    with pytest.raises(DecodeFailed, match="took longer"):
        await renditions.onsets(limited(decode_s=0.0001, render_wait_s=30.0), other)


async def test_what_is_not_there_or_holds_no_sound_has_none(
    api: Api, services: Services, owner: UUID, tmp_path: Path
) -> None:
    assert (await api.get(f"/assets/{uuid4()}/onsets")).code == "not-found"
    library = UUID((await api.library())["id"])
    (tmp_path / "song.mid").write_bytes(b"MThd")
    new = NewAsset(new_id(), library, "midi", "midi", "song")
    midi = await assets.store(services, owner, new, tmp_path / "song.mid", uuid4().hex, 4, "audio/midi")
    got = await api.get(f"/assets/{midi.id}/onsets")
    assert (got.status, got.code) == (422, "not-audio")
