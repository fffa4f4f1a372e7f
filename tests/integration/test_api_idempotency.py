"""Idempotency-Key: a POST that is sent again is answered as the first time, whatever died in between."""

import asyncio
import contextlib
import io
import math
import struct
import wave
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from api_client import Api, Got
from neuralib import jobs, libraries
from neuralib.api import listening
from neuralib.api.openapi import describe
from neuralib.api.routes import ROUTES
from neuralib.config import Settings
from neuralib.db import assets as asset_rows
from neuralib.db import idempotency as rows
from neuralib.db import libraries as owner_rows
from neuralib.db.idempotency import Answer, Key, Turn
from neuralib.entities import new_id, nth_id
from neuralib.errors import StorageUnavailable
from neuralib.jobs import JobRequest
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 3
LEASE = timedelta(seconds=30)
DEAD = timedelta(0)
"""The lease of a request whose process died."""


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(limits={"jobs_per_owner": LIMIT})


def tone(hz: float = 440.0) -> bytes:
    frames = [round(12000 * math.sin(2 * math.pi * hz * n / 8000)) for n in range(1600)]
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(struct.pack(f"<{len(frames)}h", *frames))
    return file.getvalue()


@pytest_asyncio.fixture(loop_scope="module")
async def song(api: Api) -> str:
    return (await api.asset(tone()))["id"]


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def echo(asset: str, **more: Any) -> dict[str, Any]:
    return {"model": "echo", "inputs": [{"asset_id": asset}], "on_existing": "rerun", **more}


async def job_ids(api: Api) -> list[str]:
    return [job["id"] for job in (await api.get("/jobs")).json["items"]]


def assert_replayed(got: Got, first: Got) -> None:
    assert "Idempotent-Replayed" not in first.headers
    assert got.headers["Idempotent-Replayed"] == "true"
    assert (got.status, got.content) == (first.status, first.content)
    for name in ("Content-Type", "Location", "ETag"):
        assert got.headers.get(name) == first.headers.get(name)


async def took(
    services: Services, owner: UUID, route: str, key: dict[str, str], print_: str | None, lease: timedelta
) -> Turn:
    """A request that is being carried out by another process."""
    async with services.db.statements() as db:
        turn = await rows.take(db, Key(owner, route, key["Idempotency-Key"]), print_, lease)
    assert turn is not None
    return turn


# ── replies ───────────────────────────────────────────────────────────────────────────────────────────


async def test_the_same_request_again_is_answered_as_the_first_time(
    api: Api, song: str, key: dict[str, str]
) -> None:
    first = await api.post("/jobs", echo(song), headers=key)
    assert first.status == 202
    await api.post(f"/jobs/{first.json['id']}/cancel")
    again = await api.post("/jobs", echo(song), headers=key)
    assert_replayed(again, first)
    assert again.json["state"] == "queued", "the original answer, not a look at the job"
    assert await job_ids(api) == [first.json["id"]]


async def test_fifty_of_the_same_request_at_once_make_one_job(
    api: Api, song: str, key: dict[str, str]
) -> None:
    async def persist() -> Got:
        while (got := await api.post("/jobs", echo(song), headers=key)).status == 409:
            assert (got.code, got.headers["Retry-After"]) == ("idempotency-in-progress", "1")
            await asyncio.sleep(0.05)
        return got

    answers = await asyncio.gather(*(persist() for _ in range(50)))
    assert {got.status for got in answers} == {202}
    assert len({got.content for got in answers}) == 1
    assert ["Idempotent-Replayed" in got.headers for got in answers].count(False) == 1
    assert await job_ids(api) == [answers[0].json["id"]]


async def test_without_a_key_the_same_request_is_another_one(api: Api) -> None:
    ids = {(await api.library())["id"] for _ in range(2)}
    assert len(ids) == 2


async def test_a_library_is_made_once(api: Api, key: dict[str, str]) -> None:
    first = await api.post("/libraries", {"name": "Once"}, headers=key)
    assert_replayed(await api.post("/libraries", {"name": "Once"}, headers=key), first)
    assert [each["id"] for each in (await api.get("/libraries")).json["items"]] == [first.json["id"]]


async def test_a_key_stands_for_one_request(api: Api, song: str, key: dict[str, str]) -> None:
    first = await api.post("/jobs", echo(song), headers=key)
    for body in (echo(song, params={"gain": 0.5}), echo(str(uuid4()))):
        got = await api.post("/jobs", body, headers=key)
        assert (got.status, got.code) == (422, "idempotency-key-reused")
    one, other = [(await api.post("/jobs", echo(song))).json["id"] for _ in range(2)]
    assert (await api.post(f"/jobs/{one}/cancel", headers=key)).status == 200
    assert (await api.post(f"/jobs/{other}/cancel", headers=key)).code == "idempotency-key-reused"
    assert_replayed(await api.post("/jobs", echo(song), headers=key), first)


async def test_a_key_is_one_owner_s_and_one_route_s(
    api: Api, services: Services, song: str, key: dict[str, str]
) -> None:
    mine = await api.post("/libraries", {"name": "Mine"}, headers=key)
    job = await api.post("/jobs", echo(song), headers=key)
    assert (mine.status, job.status) == (201, 202)
    async with services.db.transaction() as tx:
        another = await owner_rows.upsert_owner(tx, f"test-{uuid4()}")
    async with listening(services, another, "127.0.0.1", 0) as url, Api(url) as theirs:
        got = await theirs.post("/libraries", {"name": "Mine"}, headers=key)
    assert (got.status, got.json["id"] == mine.json["id"]) == (201, False)


async def test_a_refusal_is_an_answer_and_what_may_pass_is_none(api: Api, song: str) -> None:
    missing = {"Idempotency-Key": "missing"}
    first = await api.post("/jobs", echo(str(uuid4())), headers=missing)
    assert first.status == 404
    for _ in range(LIMIT):
        last = (await api.post("/jobs", echo(song))).json["id"]
    crowded = {"Idempotency-Key": "crowded"}
    assert (await api.post("/jobs", echo(song), headers=crowded)).status == 429
    await api.post(f"/jobs/{last}/cancel")
    assert (await api.post("/jobs", echo(song), headers=crowded)).status == 202


async def test_a_body_that_is_not_understood_uses_no_key(api: Api, key: dict[str, str]) -> None:
    assert (await api.post("/libraries", {"nam": "x"}, headers=key)).status == 422
    assert (await api.post("/libraries", {"name": "x"}, headers=key)).status == 201


@pytest.mark.parametrize("given", ["", "x" * 256, "tab\tin", "ümlaut"])
async def test_a_key_that_cannot_be_one_is_refused(api: Api, given: str) -> None:
    got = await api.post("/libraries", {"name": "x"}, headers={"Idempotency-Key": given})
    assert (got.status, got.code) == (400, "invalid-parameter")
    assert (await api.get("/libraries")).json["items"] == []


async def test_the_longest_key_counts_to_its_last_letter(api: Api) -> None:
    bodies = [
        (await api.post("/libraries", {"name": "x"}, headers={"Idempotency-Key": "k" * 254 + last})).content
        for last in "aab"
    ]
    assert bodies[0] == bodies[1] != bodies[2]


async def test_every_post_takes_a_key_and_nothing_else_does() -> None:
    for path, operations in describe(ROUTES)["paths"].items():
        for method, operation in operations.items():
            named = {each["name"] for each in operation["parameters"] if each["in"] == "header"}
            assert ("Idempotency-Key" in named) == (method == "post"), (method, path)


async def test_an_answer_that_holds_a_secret_is_not_kept(
    api: Api, services: Services, owner: UUID, key: dict[str, str]
) -> None:
    first = await api.post("/keys", {"name": "laptop"}, headers=key)
    assert first.status == 201
    async with services.db.statements() as db:
        kept = await db.raw.fetch("select * from idempotency_keys where owner_id = $1", owner)
    assert kept[-1]["status"] == 201
    assert first.json["key"] not in str([tuple(row) for row in kept])
    again = await api.post("/keys", {"name": "laptop"}, headers=key)
    assert (again.status, again.code) == (409, "conflict")
    assert [each["id"] for each in (await api.get("/keys")).json["items"]] == [first.json["id"]]


async def test_the_secret_of_a_session_is_not_kept_either(
    services: Services, owner: UUID, key: dict[str, str]
) -> None:
    token = "a token of sixteen characters or more"
    settings = services.settings.with_tables(auth={"mode": "token", "token": token})
    async with (
        listening(replace(services, settings=settings), owner, "127.0.0.1", 0) as url,
        Api(url, {"Authorization": f"Bearer {token}"}) as api,
    ):
        first = await api.post("/session", headers=key)
        again = await api.post("/session", headers=key)
    assert (first.status, again.status, "Set-Cookie" in again.headers) == (201, 409, False)
    secret = first.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    async with services.db.statements() as db:
        kept = await db.raw.fetch("select * from idempotency_keys where owner_id = $1", owner)
    assert [row["status"] for row in kept] == [201]
    assert secret not in str([tuple(row) for row in kept])


# ── processes that die ────────────────────────────────────────────────────────────────────────────────


async def test_while_the_first_is_carried_out_the_second_waits_for_it(
    api: Api, services: Services, owner: UUID, song: str, key: dict[str, str]
) -> None:
    waiting = asyncio.create_task(api.post("/jobs", echo(song), headers={**key, "Prefer": "wait=20"}))
    async with asyncio.timeout(30):
        while not (made := await job_ids(api)):
            pass
    got = await api.post("/jobs", echo(song), headers=key)
    assert (got.status, got.code, got.headers["Retry-After"]) == (409, "idempotency-in-progress", "1")
    assert (await api.post("/jobs", echo(song, priority="low"), headers=key)).code == "idempotency-key-reused"
    await jobs.cancel(services, owner, UUID(made[0]))
    first = await waiting
    assert_replayed(await api.post("/jobs", echo(song), headers=key), first)
    assert await job_ids(api) == made


@pytest.fixture
def interrupted(api: Api, services: Services, owner: UUID, key: dict[str, str]) -> Callable[..., Any]:
    async def interrupted(route: str, path: str, **body: Any) -> Got:
        """A request as a process leaves it that dies between the commit and the answer."""
        got = await api.post(path, headers=key, **body)
        assert got.status in {201, 202}, got.content
        async with services.db.statements() as db:
            await db.raw.execute(
                "update idempotency_keys set status = null, body = null, lease_until = now() "
                "where owner_id = $1 and route = $2 and key = $3",
                owner, route, key["Idempotency-Key"],
            )  # fmt: skip
        return got

    return interrupted


async def test_a_job_that_was_committed_and_not_answered_is_not_made_again(
    api: Api, song: str, key: dict[str, str], interrupted: Callable[..., Any]
) -> None:
    first = await interrupted("create_job", "/jobs", body=echo(song))
    again = await api.post("/jobs", echo(song), headers=key)
    assert (again.status, again.json["id"]) == (202, first.json["id"])
    assert "Idempotent-Replayed" not in again.headers
    assert await job_ids(api) == [first.json["id"]]


async def test_a_library_that_was_committed_and_not_answered_is_not_made_again(
    api: Api, key: dict[str, str], interrupted: Callable[..., Any]
) -> None:
    first = await interrupted("create_library", "/libraries", body={"name": "x"})
    assert (await api.post("/libraries", {"name": "x"}, headers=key)).json == first.json
    assert len((await api.get("/libraries")).json["items"]) == 1


async def test_a_request_whose_process_died_before_the_commit_is_carried_out_by_one(
    api: Api, song: str, services: Services, owner: UUID, key: dict[str, str]
) -> None:
    made = await api.post("/jobs", echo(song), headers=key)
    async with services.db.statements() as db:
        await db.raw.execute("delete from jobs where id = $1", UUID(made.json["id"]))
        await db.raw.execute(
            "update idempotency_keys set status = null, lease_until = now() where owner_id = $1", owner
        )
    answers = await asyncio.gather(*(api.post("/jobs", echo(song), headers=key) for _ in range(10)))
    assert {got.status for got in answers} <= {202, 409}
    assert await job_ids(api) == [made.json["id"]]


async def test_who_wakes_up_after_the_lease_neither_doubles_nor_answers(
    services: Services, owner: UUID, api: Api, song: str
) -> None:
    """Both think that it is their turn: they make one thing, and the later one's answer counts."""
    key = {"Idempotency-Key": "stopped"}
    asleep = await took(services, owner, "create_job", key, "print", DEAD)
    awake = await took(services, owner, "create_job", key, "print", LEASE)
    assert (awake.first_id, awake.attempt) == (asleep.first_id, asleep.attempt + 1)
    request = JobRequest(
        UUID(song), model="echo", id=nth_id(awake.first_id, 0), on_existing=jobs.OnExisting.RERUN
    )
    views = await asyncio.gather(*(jobs.submit(services, owner, request) for _ in range(2)))
    assert len({view.job.id for view in views}) == 1
    made = await asyncio.gather(
        *(libraries.create(services, owner, name="x", id=nth_id(awake.first_id, 1)) for _ in range(2))
    )
    assert len({library.id for library in made}) == 1
    async with services.db.statements() as db:
        assert not await rows.answer(db, asleep, Answer("print", 202, {}, b"{}"))
        assert not await rows.renew(db, asleep, DEAD)
        assert await rows.answer(db, awake, Answer("print", 202, {}, b"{}"))
        assert not await rows.answer(db, awake, Answer("print", 500, {}, b"{}")), "once"


async def test_a_server_that_stops_gives_the_key_back(
    services: Services, owner: UUID, song: str, key: dict[str, str]
) -> None:
    """The next process need not wait for the lease; and finds the job that the first one made."""
    hasty = replace(services, settings=services.settings.with_tables(server={"shutdown_s": 0.1}))
    async with contextlib.AsyncExitStack() as second, contextlib.AsyncExitStack() as first:
        api = await first.enter_async_context(
            Api(await first.enter_async_context(listening(hasty, owner, "127.0.0.1", 0)))
        )
        cut = asyncio.create_task(api.post("/jobs", echo(song), headers={**key, "Prefer": "wait=60"}))
        async with asyncio.timeout(30):
            while not (made := await job_ids(api)):
                pass
        cut.cancel()
        await first.aclose()
        url = await second.enter_async_context(listening(services, owner, "127.0.0.1", 0))
        again = await (await second.enter_async_context(Api(url))).post("/jobs", echo(song), headers=key)
    assert (again.status, again.json["id"]) == (202, made[0])


async def test_answers_are_forgotten_after_a_day(api: Api, services: Services, owner: UUID) -> None:
    headers = {"Idempotency-Key": "old"}
    first = await api.post("/libraries", {"name": "x"}, headers=headers)
    async with services.db.statements() as db:
        await rows.prune(db, timedelta(hours=24))
    assert_replayed(await api.post("/libraries", {"name": "x"}, headers=headers), first)
    async with services.db.statements() as db:
        await db.raw.execute(
            "update idempotency_keys set created_at = now() - interval '25 hours' where owner_id = $1", owner
        )
        await rows.prune(db, timedelta(hours=24))
    assert (await api.post("/libraries", {"name": "x"}, headers=headers)).json["id"] != first.json["id"]


# ── uploads ───────────────────────────────────────────────────────────────────────────────────────────


def form(
    *files: bytes, name: str = "song.wav", boundary: str = "B", meta: str = "", end: bool = True
) -> dict[str, Any]:
    parts = []
    for content in files:
        if meta:
            parts.append(
                b'--%s\r\nContent-Disposition: form-data; name="meta"\r\n\r\n%s\r\n'
                % (boundary.encode(), meta.encode())
            )
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    parts.append(f"--{boundary}--\r\n".encode() if end else f"--{boundary}\r\nContent-Disp".encode())
    return {"data": b"".join(parts), "type": f"multipart/form-data; boundary={boundary}"}


Send = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="module")
async def library(api: Api) -> str:
    return (await api.library())["id"]


@pytest.fixture
def send(api: Api, library: str, key: dict[str, str]) -> Send:
    async def send(sent: dict[str, Any]) -> Got:
        headers = {**key, "Content-Type": sent["type"]}
        return await api.post(f"/libraries/{library}/assets", data=sent["data"], headers=headers)

    return send


async def stored(services: Services, library: str) -> tuple[int, int]:
    """(assets of the library, objects that were ever put and are still there)"""
    async with services.db.statements() as db:
        count = await db.raw.fetchval("select count(*) from assets where library_id = $1", UUID(library))
    return count, len([stat async for stat in services.objects.list("blobs/")])


async def test_an_upload_that_is_sent_again_is_stored_once(
    services: Services, library: str, send: Send
) -> None:
    first = await send(form(tone(), tone(220)))
    before = await stored(services, library)
    assert_replayed(await send(form(tone(), tone(220), boundary="another")), first)
    assert (await stored(services, library), before[0]) == (before, 2)


async def test_another_upload_under_the_key_is_refused(services: Services, library: str, send: Send) -> None:
    assert (await send(form(tone(), tone(220)))).status == 201
    before = await stored(services, library)
    for other in (
        form(tone(), tone(221)),
        form(tone()),
        form(tone(220), tone()),
        form(tone() + tone(220)),
        form(tone(), tone(220), name="other.wav"),
        form(tone(), tone(220), meta='{"role":"stem"}'),
    ):
        got = await send(other)
        assert (got.status, got.code) == (422, "idempotency-key-reused")
    assert await stored(services, library) == before


async def test_a_file_that_is_no_audio_is_told_again_as_it_was(
    services: Services, library: str, send: Send
) -> None:
    first = await send(form(tone(), b"no audio"))
    assert [item["status"] for item in first.json["items"]] == [201, 415]
    assert_replayed(await send(form(tone(), b"no audio")), first)
    assert (await stored(services, library))[0] == 1


async def test_an_upload_that_broke_off_goes_on_where_it_was(
    services: Services, library: str, send: Send
) -> None:
    cut = await send(form(tone(), end=False))
    assert [item["status"] for item in cut.json["items"]] == [201, 400]
    whole = await send(form(tone(), tone(220)))
    assert [item["status"] for item in whole.json["items"]] == [201, 201]
    assert "Idempotent-Replayed" not in whole.headers
    assert whole.json["items"][0] == cut.json["items"][0]
    assert (await stored(services, library))[0] == 2
    assert_replayed(await send(form(tone(), tone(220))), whole)


async def test_other_bytes_after_an_upload_that_broke_off_are_refused(
    services: Services, library: str, send: Send
) -> None:
    await send(form(tone(), end=False))
    got = await send(form(tone(220)))
    assert (got.status, got.code) == (422, "idempotency-key-reused")
    assert (await stored(services, library))[0] == 1


async def test_an_upload_whose_process_died_is_not_stored_twice(
    services: Services, library: str, send: Send
) -> None:
    sent = form(tone(), tone(220))
    first = await send(sent)
    async with services.db.statements() as db:
        await db.raw.execute(
            "update idempotency_keys set status = null, fingerprint = null, lease_until = now() where body = $1",
            first.content,
        )
    before = await stored(services, library)
    again = await send(sent)
    assert (again.status, again.json) == (201, first.json)
    async with services.db.statements() as db:
        due = await asset_rows.due_pending(db, 1000)
    assert (await stored(services, library))[0] == before[0] == 2
    assert len(due) >= 2, "its second copies are left to the sweeper"


async def test_while_an_upload_comes_in_the_same_one_waits(
    services: Services, owner: UUID, api: Api, library: str, send: Send, key: dict[str, str]
) -> None:
    sent, gate = form(tone()), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield sent["data"][:300]
        await gate.wait()
        yield sent["data"][300:]

    headers = {**key, "Content-Type": sent["type"]}
    first = asyncio.create_task(api.post(f"/libraries/{library}/assets", data=slowly(), headers=headers))
    async with asyncio.timeout(30), services.db.statements() as db:
        while await rows.find(db, Key(owner, "upload_assets", key["Idempotency-Key"])) is None:
            pass
    got = await send(sent)
    assert (got.status, got.code) == (409, "idempotency-in-progress")
    gate.set()
    done = await first
    assert_replayed(await send(sent), done)
    assert (await stored(services, library))[0] == 1


class Away:
    """An object store that takes nothing."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, *_: Any, **__: Any) -> int:
        raise StorageUnavailable


async def test_an_answer_that_the_world_may_mend_is_not_kept(
    services: Services, owner: UUID, library: str, send: Send, key: dict[str, str]
) -> None:
    broken: Any = replace(services, objects=Away(services.objects))
    sent = form(tone())
    async with listening(broken, owner, "127.0.0.1", 0) as url, Api(url) as unlucky:
        headers = {**key, "Content-Type": sent["type"]}
        got = await unlucky.post(f"/libraries/{library}/assets", data=sent["data"], headers=headers)
        assert (got.status, got.code) == (503, "storage-unavailable")
    got = await send(sent)
    assert (got.status, "Idempotent-Replayed" in got.headers) == (201, False)
    assert (await stored(services, library))[0] == 1


async def test_ids_that_follow_from_one_are_in_order_and_of_version_seven() -> None:
    first = new_id()
    ids = [nth_id(first, n) for n in range(300)]
    assert ids == sorted(set(ids))
    assert {id_.version for id_ in ids} == {7}
    assert [nth_id(id_, 5) for id_ in ids] == [ids[5]] * 300
