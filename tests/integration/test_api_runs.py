"""Pipelines and runs over HTTP. Nobody works here: how runs go on is in test_runs.py."""

from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from api_client import Api
from neuralib.config import Settings
from neuralib.db import assets as asset_rows
from neuralib.entities import Blob, NewAsset, new_id
from neuralib.executors.registry import load_registry
from neuralib.pipelines import PIPELINES
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(limits={"jobs_per_owner": 4})


@pytest_asyncio.fixture(loop_scope="module")
async def song(api: Api, services: Services, owner: UUID) -> str:
    library = UUID((await api.library())["id"])
    audio = {"format": "wav", "codec": "pcm_s16le", "subtype": "pcm_16", "sample_rate": 8000, "channels": 1}
    new = NewAsset(
        new_id(), library, "audio", "track", "song", audio={**audio, "frames": 8000, "duration_s": 1.0}
    )
    async with services.db.transaction() as tx:
        await asset_rows.insert(
            tx, owner, new, Blob(new_id(), uuid4().hex, 1, f"blobs/{new.id.hex}", "audio/wav")
        )
    return str(new.id)


async def start(api: Api, song: str, slug: str = "lyrics", **more: Any) -> Any:
    return await api.post(f"/pipelines/{slug}/runs", {"asset_id": song, **more})


async def test_the_pipelines_tell_what_they_do_and_what_is_missing(api: Api) -> None:
    listed = (await api.get("/pipelines")).json["items"]
    assert [each["slug"] for each in listed] == list(PIPELINES)
    there = {executor.operation for executor in load_registry()}
    for each in listed:
        assert each["missing"] == sorted({step["operation"] for step in each["steps"]} - there)
    lyrics = (await api.get("/pipelines/lyrics")).json
    assert [(step["id"], step["operation"], step["takes"]["steps"]) for step in lyrics["steps"]] == [
        ("separate", "separate", []),
        ("lyrics", "transcribe", ["separate"]),
    ]
    assert (await api.get("/pipelines/nowhere")).status == 404


@pytest.mark.parametrize("slug", PIPELINES)
async def test_every_pipeline_that_ships_can_be_started(api: Api, song: str, slug: str) -> None:
    missing = (await api.get(f"/pipelines/{slug}")).json["missing"]
    made = await start(api, song, slug)
    if missing:
        assert (made.status, made.code) == (422, "unknown-operation")
        assert missing[0] in made.json["detail"]
        return
    assert made.status == 202, made.content
    run = made.json
    assert made.headers["Location"] == f"/api/v1/runs/{run['id']}"
    assert (run["pipeline"], run["state"], run["fraction"]) == (slug, "running", 0.0)
    assert run["steps"][0]["state"] == "running"
    (part,) = run["steps"][0]["parts"]
    assert (part["input_id"], part["state"], part["reused"]) == (song, "queued", False)
    job = (await api.get(f"/jobs/{part['job_id']}")).json
    assert (job["operation"], job["asset_id"]) == ("separate", song)
    assert {step["state"] for step in run["steps"][1:]} <= {"waiting", "running"}
    assert (await api.get(made.headers["Location"])).json == run


async def test_a_run_changes_what_it_asks_to_change(api: Api, song: str) -> None:
    overrides = {
        "separate": {"model": "demucs/hdemucs_mini", "params": {"shifts": 2}},
        "lyrics": {"params": {"language": "de"}},
    }
    run = (await start(api, song, overrides=overrides, format="flac", priority="high")).json
    separate, lyrics = run["steps"]
    assert separate["model"] == "demucs/hdemucs_mini"
    assert (separate["params"]["shifts"], separate["params"]["stems"]) == (2, ["vocals"])
    assert lyrics["params"]["language"] == "de"
    job = (await api.get(f"/jobs/{separate['parts'][0]['job_id']}")).json
    assert (job["output"], job["priority"]) == ({"format": "flac"}, "high")


@pytest.mark.parametrize(
    ("overrides", "pointer"),
    [
        ({"separate": {"params": {"shifts": 99}}}, "/overrides/separate/params/shifts"),
        ({"separate": {"model": "nothing"}}, "/overrides/separate/model"),
        ({"separate": {"model": "whisper"}}, "/overrides/separate/model"),
        ({"dance": {}}, "/overrides/dance"),
        ({"separate": {"stems": []}}, "/overrides/separate/stems"),
    ],
)
async def test_a_wrong_change_is_named(api: Api, song: str, overrides: Any, pointer: str) -> None:
    refused = await start(api, song, overrides=overrides)
    assert refused.status == 422
    assert [each["pointer"] for each in refused.json["errors"]] == [pointer]
    assert (await api.get("/runs")).json["items"] == []


async def test_stems_that_the_weights_do_not_have_are_refused_at_once(api: Api, song: str) -> None:
    overrides = {"separate": {"model": "demucs/htdemucs", "params": {"stems": ["piano"]}}}
    refused = await start(api, song, "stems", overrides=overrides)
    assert (refused.status, refused.code) == (422, "validation-failed")


async def test_the_same_request_starts_one_run(api: Api, song: str) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    first, second = [await start_with(api, song, key) for _ in range(2)]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert first.json == second.json
    assert len((await api.get("/runs")).json["items"]) == 1


async def start_with(api: Api, song: str, headers: dict[str, str]) -> Any:
    return await api.post("/pipelines/stems/runs", {"asset_id": song}, headers=headers)


async def test_runs_are_listed_and_cancelled(api: Api, song: str) -> None:
    first = (await start(api, song, "stems")).json
    second = (await start(api, song, "karaoke")).json
    assert [each["id"] for each in (await api.get("/runs")).json["items"]] == [second["id"], first["id"]]
    page = (await api.get("/runs?limit=1")).json
    assert [each["id"] for each in page["items"]] == [second["id"]]
    rest = (await api.get(f"/runs?limit=1&cursor={page['next_cursor']}")).json
    assert [each["id"] for each in rest["items"]] == [first["id"]]
    cancelled = await api.post(f"/runs/{first['id']}/cancel")
    assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")
    assert cancelled.json["steps"][0]["parts"][0]["error"]["code"] == "cancelled"
    found = (await api.get(f"/runs?state=cancelled&asset_id={song}")).json["items"]
    assert [each["id"] for each in found] == [first["id"]]


async def test_a_full_queue_refuses_a_run(api: Api, song: str) -> None:
    for shifts in (1, 2):
        assert (await start(api, song, overrides={"separate": {"params": {"shifts": shifts}}})).status == 202
    refused = await start(api, song, overrides={"separate": {"params": {"shifts": 3}}})
    assert (refused.status, refused.code) == (429, "too-many-jobs")


async def test_the_stream_tells_of_runs(api: Api, song: str) -> None:
    run = (await start(api, song, "stems")).json
    await api.post(f"/runs/{run['id']}/cancel")
    text = ""
    async with api.open("GET", "/events?last_event_id=0") as response:
        while "run.cancelled" not in text:
            text += (await response.content.readline()).decode()
    assert "event: run.started" in text
