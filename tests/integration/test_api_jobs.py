"""Jobs over HTTP: submit, look, wait, cancel. Nobody runs them here: that is the worker's own test."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from api_client import Api
from neuralib import jobs
from neuralib.config import Settings
from neuralib.db import assets as asset_rows
from neuralib.db import events as event_rows
from neuralib.db import jobs as job_rows
from neuralib.entities import Blob, JobState, NewAsset, new_id
from neuralib.pipeline import job_event
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(limits={"jobs_per_owner": 4})


async def stored_asset(services: Services, owner: UUID, library: str, kind: str = "audio") -> str:
    """An asset's row; nothing here reads its bytes."""
    audio = {"format": "wav", "codec": "pcm_s16le", "subtype": "pcm_16", "sample_rate": 8000, "channels": 1}
    new = NewAsset(
        new_id(), UUID(library), kind, "track", "song", audio={**audio, "frames": 8000, "duration_s": 1.0}
    )
    blob = Blob(new_id(), uuid4().hex, 1, f"blobs/{new.id.hex}", "audio/wav")
    async with services.db.transaction() as tx:
        await asset_rows.insert(tx, owner, new, blob)
    return str(new.id)


@pytest_asyncio.fixture(loop_scope="module")
async def song(api: Api, services: Services, owner: UUID) -> str:
    return await stored_asset(services, owner, (await api.library())["id"])


def echo(asset: str, **more: Any) -> dict[str, Any]:
    """Another one each time, unless it says otherwise."""
    return {"model": "echo", "inputs": [{"asset_id": asset}], "on_existing": "rerun", **more}


async def finish(services: Services, owner: UUID, job: str, **result: Any) -> None:
    """What a worker does at the end, without the work."""
    async with services.db.transaction() as tx:
        await tx.raw.execute(
            "update jobs set model = $2 where id = $1", UUID(job), job
        )  # ours alone to claim
        claimed = await job_rows.claim(tx, job, "a-worker", timedelta(seconds=30))
        assert claimed is not None
        done = await job_rows.finish(tx, claimed, JobState.SUCCEEDED, result={"model": "echo", **result})
        assert done is not None
        await event_rows.append(tx, job_event("succeeded", done))
    await services.bus.wake(owner)


async def test_a_job_is_accepted_listed_and_cancelled(api: Api, song: str) -> None:
    asked = echo(
        song, params={"gain": 0.5}, outputs={"format": "flac"}, priority="high", metadata={"my": ["tag"]}
    )
    made = await api.post("/jobs", asked)
    assert made.status == 202
    job = made.json
    assert made.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["state"], job["operation"], job["priority"], job["asset_id"]) == (
        "queued",
        "echo",
        "high",
        song,
    )
    assert (job["params"]["gain"], job["output"], job["metadata"]) == (
        0.5,
        {"format": "flac"},
        {"my": ["tag"]},
    )
    assert job["queue"]["position"] >= 0
    assert (await api.get(made.headers["Location"])).json["id"] == job["id"]
    cancelled = await api.post(f"/jobs/{job['id']}/cancel")
    assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")
    assert cancelled.json["error"]["code"] == "cancelled"
    assert (await api.post(f"/jobs/{job['id']}/cancel")).status == 200


async def test_the_queue_tells_who_goes_first(api: Api, song: str, services: Services) -> None:
    first = (await api.post("/jobs", echo(song))).json
    later = (await api.post("/jobs", echo(song))).json
    urgent = (await api.post("/jobs", echo(song, priority="high"))).json
    places = [
        (await api.get(f"/jobs/{job['id']}")).json["queue"]["position"] for job in (urgent, first, later)
    ]
    assert places == sorted(places)
    assert places[2] > places[1]


async def test_the_queue_is_shown_with_one_s_own_place(api: Api, song: str) -> None:
    job = (await api.post("/jobs", echo(song))).json
    (lane,) = [each for each in (await api.get("/queue")).json["items"] if each["model"] == "echo"]
    assert lane["depth"] >= lane["mine"]["depth"] == 1
    assert lane["mine"]["next"] == {"job_id": job["id"], "position": job["queue"]["position"]}


async def test_jobs_are_found_by_state_asset_operation_and_id(api: Api, song: str) -> None:
    ids = [(await api.post("/jobs", echo(song))).json["id"] for _ in range(3)]
    await api.post(f"/jobs/{ids[0]}/cancel")

    async def found(query: str) -> list[str]:
        return [item["id"] for item in (await api.get(f"/jobs?{query}")).json["items"]]

    assert await found("") == ids[::-1]
    assert await found("state=queued,running") == [ids[2], ids[1]]
    assert await found("state=cancelled") == [ids[0]]
    assert await found(f"asset_id={song}&operation=echo&limit=1") == [ids[2]]
    assert await found(f"asset_id={uuid4()}") == []
    assert await found(f"ids={ids[1]},{uuid4()}") == [ids[1]]
    first = (await api.get("/jobs?limit=2")).json
    assert await found(f"limit=2&cursor={first['next_cursor']}") == [ids[0]]


@pytest.mark.parametrize(
    ("change", "status", "code", "pointer"),
    [
        ({"model": "nosuch"}, 422, "unknown-model", "/model"),
        ({"model": "echo/large"}, 422, "unknown-model", "/model"),
        ({"model": None, "operation": "sing"}, 422, "unknown-operation", "/operation"),
        ({"model": None}, 422, "validation-failed", "/operation"),
        ({"operation": "separate"}, 422, "validation-failed", "/model"),
        ({"params": {"gain": 7}}, 422, "validation-failed", "/params/gain"),
        ({"params": {"volume": 1}}, 422, "validation-failed", "/params/volume"),
        ({"inputs": [{"asset_id": str(uuid4())}]}, 404, "not-found", None),
        ({"outputs": {"library_id": str(uuid4())}}, 404, "not-found", None),
        ({"metadata": {"x": "y" * 17000}}, 422, "validation-failed", "/metadata"),
    ],
)
async def test_a_job_that_cannot_run_is_refused(
    api: Api, song: str, change: dict[str, Any], status: int, code: str, pointer: str | None
) -> None:
    got = await api.post("/jobs", echo(song) | change)
    assert (got.status, got.code) == (status, code)
    assert [each["pointer"] for each in got.json["errors"]] == ([pointer] if pointer else [])
    assert (await api.get("/jobs")).json["items"] == []


async def test_a_model_takes_audio_only(api: Api, services: Services, owner: UUID) -> None:
    notes = await stored_asset(services, owner, (await api.library())["id"], kind="midi")
    got = await api.post("/jobs", echo(notes))
    assert (got.status, got.code) == (422, "model-input-unsupported")


async def test_an_owner_may_have_only_so_many_jobs_waiting(api: Api, song: str) -> None:
    jobs_made = [(await api.post("/jobs", echo(song))).status for _ in range(4)]
    refused = await api.post("/jobs", echo(song))
    assert (jobs_made, refused.status, refused.code) == ([202] * 4, 429, "too-many-jobs")
    assert refused.headers["Retry-After"]


async def test_a_second_click_is_answered_with_the_first_one_s_job(
    api: Api, song: str, services: Services, owner: UUID
) -> None:
    body = {"model": "echo", "inputs": [{"asset_id": song}]}
    first = await api.post("/jobs", body)
    second = await api.post("/jobs", body)
    assert (first.status, second.status) == (202, 200)
    assert second.json == first.json
    assert second.headers["Location"] == first.headers["Location"]
    await finish(services, owner, first.json["id"], outputs=0)
    done = await api.post("/jobs", body)
    assert (done.status, done.json["id"], done.json["cached"]) == (200, first.json["id"], True)
    refused = await api.post("/jobs", {**body, "on_existing": "fail"})
    assert (refused.status, refused.code) == (409, "already-exists")
    once_more = await api.post("/jobs", {**body, "on_existing": "rerun"})
    assert (once_more.status, once_more.json["cached"]) == (202, False)
    assert once_more.json["id"] != first.json["id"]


async def test_a_finished_job_is_not_cancelled(api: Api, song: str, services: Services, owner: UUID) -> None:
    job = (await api.post("/jobs", echo(song))).json["id"]
    await finish(services, owner, job)
    got = await api.post(f"/jobs/{job}/cancel")
    assert (got.status, got.code) == (409, "job-not-cancellable")


async def test_a_look_that_waits_returns_when_the_state_changes(
    api: Api, song: str, services: Services, owner: UUID
) -> None:
    job = (await api.post("/jobs", echo(song))).json["id"]
    look = asyncio.create_task(api.get(f"/jobs/{job}?wait_s=60"))
    await until_somebody_listens(services, owner)
    await jobs.cancel(services, owner, UUID(job))
    async with asyncio.timeout(30):
        assert (await look).json["state"] == "cancelled"
    assert (await api.get(f"/jobs/{job}?wait_s=20")).json["state"] == "cancelled"


async def test_a_submission_may_wait_for_the_end(
    api: Api, song: str, services: Services, owner: UUID
) -> None:
    waiting = asyncio.create_task(api.post("/jobs", echo(song), headers={"Prefer": "respond-async, wait=60"}))
    await until_somebody_listens(services, owner)
    (made,) = (await api.get("/jobs")).json["items"]
    await finish(services, owner, made["id"])
    async with asyncio.timeout(30):
        got = await waiting
    assert (got.status, got.json["state"]) == (200, "succeeded")
    assert got.headers["Preference-Applied"] == "wait=60"


async def test_a_wait_that_runs_out_tells_how_it_stands(api: Api, song: str) -> None:
    got = await api.post("/jobs", echo(song), headers={"Prefer": "wait=0"})
    assert (got.status, got.json["state"], got.headers["Preference-Applied"]) == (202, "queued", "wait=0")
    assert (await api.get(f"/jobs/{got.json['id']}?wait_s=0.05")).json["state"] == "queued"
    assert (await api.get(f"/jobs/{got.json['id']}?wait_s=61")).code == "invalid-parameter"


async def until_somebody_listens(services: Services, owner: UUID) -> None:
    async with asyncio.timeout(30):
        while not services.bus.listeners(owner):  # noqa: ASYNC110 - nobody tells of listeners
            await asyncio.sleep(0.01)


# ── again, and many at once ───────────────────────────────────────────────────────────────────────────


async def test_a_job_that_ended_badly_is_asked_for_again(api: Api, song: str) -> None:
    asked = echo(song, params={"gain": 0.5}, outputs={"format": "flac"}, metadata={"my": "tag"})
    first = (await api.post("/jobs", asked)).json
    refused = await api.post(f"/jobs/{first['id']}/retry", {})
    assert (refused.status, refused.code) == (409, "job-not-retryable")
    await api.post(f"/jobs/{first['id']}/cancel")
    again = await api.post(f"/jobs/{first['id']}/retry", {"params": {"gain": 0.25}})
    assert again.status == 202
    job = again.json
    assert job["id"] != first["id"]
    assert (job["retry_of"], job["params"]["gain"]) == (first["id"], 0.25)
    assert (job["output"], job["metadata"], job["asset_id"]) == ({"format": "flac"}, {"my": "tag"}, song)
    twice = await api.post(f"/jobs/{first['id']}/retry", {"params": {"gain": 0.25}})
    assert (twice.status, twice.json["id"]) == (200, job["id"])
    wrong = await api.post(f"/jobs/{first['id']}/retry", {"params": {"gain": 9}})
    assert [each["pointer"] for each in wrong.json["errors"]] == ["/params/gain"]


async def test_what_succeeded_is_not_asked_for_again(
    api: Api, song: str, services: Services, owner: UUID
) -> None:
    job = (await api.post("/jobs", echo(song))).json
    await finish(services, owner, job["id"])
    assert (await api.post(f"/jobs/{job['id']}/retry", {})).code == "job-not-retryable"


async def test_many_jobs_are_accepted_at_once(api: Api, song: str) -> None:
    bodies = [echo(song, params={"gain": n / 10}, priority="high") for n in range(3)]
    key = {"Idempotency-Key": uuid4().hex}
    made = await api.post("/jobs/batch", {"jobs": bodies}, headers=key)
    assert made.status == 202
    assert [job["params"]["gain"] for job in made.json["items"]] == [0.0, 0.1, 0.2]
    again = await api.post("/jobs/batch", {"jobs": bodies}, headers=key)
    assert again.json == made.json
    assert len((await api.get("/jobs")).json["items"]) == 3


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [({"params": {"gain": 9}}, "/jobs/1/params/gain"), ({"model": "none"}, "/jobs/1/model")],
)
async def test_one_wrong_job_keeps_all_from_being_accepted(
    api: Api, song: str, wrong: dict[str, Any], pointer: str
) -> None:
    refused = await api.post("/jobs/batch", {"jobs": [echo(song), echo(song, **wrong)]})
    assert refused.status == 422
    assert [each["pointer"] for each in refused.json["errors"]] == [pointer]
    assert (await api.get("/jobs")).json["items"] == []


async def test_more_jobs_at_once_than_may_wait_are_refused_whole(api: Api, song: str) -> None:
    refused = await api.post("/jobs/batch", {"jobs": [echo(song) for _ in range(5)]})
    assert (refused.status, refused.code) == (429, "too-many-jobs")
    assert (await api.get("/jobs")).json["items"] == []
    missing = await api.post("/jobs/batch", {"jobs": [echo(song), echo(str(uuid4()))]})
    assert (missing.status, missing.code) == (404, "not-found")
