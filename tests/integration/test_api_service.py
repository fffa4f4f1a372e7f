"""What holds for every route: who may call, ids, limits, problems; and the routes about the service itself."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from api_client import Api
from neuralib.api import listening, make_app
from neuralib.api.openapi import describe
from neuralib.api.page import PATHS as PAGE
from neuralib.api.routes import ROUTES
from neuralib.config import Settings
from neuralib.db import events as worker_rows
from neuralib.db import libraries as owner_rows
from neuralib.errors import ConfigurationError, PortInUse
from neuralib.executors import Executor
from neuralib.services import Services, open_services

pytestmark = pytest.mark.asyncio(loop_scope="module")

IDLE_S = 1.0
TOKEN = "a token of sixteen characters or more"


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(limits={"body_bytes": 20_000, "idle_body_s": IDLE_S})


@contextlib.asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[tuple[Api, Services]]:
    """A server with settings of its own."""
    async with open_services(settings) as services:
        async with services.db.transaction() as tx:
            owner = await owner_rows.upsert_owner(tx, f"test-{uuid4()}")
        async with listening(services, owner, "127.0.0.1", 0) as url, Api(url) as api:
            yield api, services


# ── the table ─────────────────────────────────────────────────────────────────────────────────────────


async def test_every_registered_route_is_documented(services: Services, owner: UUID) -> None:
    registered = {
        (route.method.lower(), route.resource.canonical)
        for route in make_app(services, owner).router.routes()
        if route.resource.canonical not in PAGE
    }
    described = {(m, p) for p, operations in describe(ROUTES)["paths"].items() for m in operations}
    assert registered == described


async def test_the_description_is_served(api: Api) -> None:
    got = await api.get("/openapi.json")
    assert got.json == describe(ROUTES)
    assert (await api.get("/openapi.json", headers={"If-None-Match": got.headers["ETag"]})).status == 304
    page = await api.get("/docs")
    assert page.content.decode().count("<tr>") == len(ROUTES) + 1


# ── who may call ──────────────────────────────────────────────────────────────────────────────────────


async def test_with_a_token_nobody_enters_without_it(settings: Settings) -> None:
    guarded = settings.with_tables(auth={"mode": "token", "token": TOKEN})
    async with served(guarded) as (api, _):
        for header in (None, "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \udcff", TOKEN):
            got = await api.get("/libraries", headers={"Authorization": header} if header else {})
            assert (got.status, got.code) == (401, "unauthenticated"), header
            assert got.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await api.get("/libraries", headers={"Authorization": f"bearer {TOKEN}"})).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://other.example"}, 201),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost:1234"}, 201),
        ({"Host": "[::1]:1234"}, 201),
    ],
)
async def test_a_page_of_another_site_changes_nothing(api: Api, headers: dict[str, str], status: int) -> None:
    got = await api.post("/libraries", {"name": "x"}, headers=headers)
    assert got.status == status
    assert len((await api.get("/libraries")).json["items"]) == (status == 201)


async def test_a_name_that_was_made_to_point_here_reads_nothing(api: Api) -> None:
    assert (await api.get("/libraries", headers={"Host": "rebound.example:80"})).code == "cross-origin"


# ── requests and their problems ───────────────────────────────────────────────────────────────────────


async def test_a_request_id_is_kept_when_it_is_harmless_and_made_otherwise(api: Api) -> None:
    kept = await api.get("/libraries", headers={"X-Request-ID": "abc-1.2_3"})
    assert kept.headers["X-Request-ID"] == "abc-1.2_3"
    for harmful in ("a b", "x" * 65, "<script>", ""):
        made = await api.get("/libraries", headers={"X-Request-ID": harmful})
        assert UUID(made.headers["X-Request-ID"]).version == 7


async def test_what_is_not_there_is_a_problem_too(api: Api) -> None:
    nowhere = await api.get("/nowhere?a=b")
    assert (nowhere.status, nowhere.code, nowhere.json["instance"]) == (404, "not-found", "/nowhere")
    wrong = await api.call("PUT", "/libraries")
    assert (wrong.status, wrong.code, wrong.headers["Allow"]) == (405, "method-not-allowed", "GET, POST")


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b'{"name": "x"}', {"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
        (b'{"name": "x"}', {}, 415, "unsupported-media-type"),
        (
            b"\x1f\x8b",
            {"Content-Type": "application/json", "Content-Encoding": "gzip"},
            415,
            "unsupported-media-type",
        ),
        (b"{", {"Content-Type": "application/json"}, 400, "invalid-json"),
        (
            b'{"name": "' + b"x" * 20_000 + b'"}',
            {"Content-Type": "application/json"},
            413,
            "payload-too-large",
        ),
    ],
)
async def test_a_body_of_the_wrong_kind_is_refused(
    api: Api, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    got = await api.call("POST", "/libraries", data=body, headers=headers, skip_auto_headers=["Content-Type"])
    assert (got.status, got.code) == (status, code)


async def test_a_body_without_a_length_is_cut_at_the_limit_and_at_its_time(api: Api) -> None:
    async def large() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 1000

    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    headers = {"Content-Type": "application/json"}
    assert (await api.post("/libraries", data=large(), headers=headers)).code == "payload-too-large"
    assert (await api.post("/libraries", data=stalled(), headers=headers)).code == "request-timeout"


async def test_the_log_has_a_line_a_request_and_no_query(api: Api) -> None:
    with capture_logs() as lines:
        await api.get("/libraries?limit=7", headers={"X-Request-ID": "req-1"})
    (line,) = [each for each in lines if each["event"] == "request"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/v1/libraries", 200)
    assert "limit" not in json.dumps(line)


# ── the service itself ────────────────────────────────────────────────────────────────────────────────


async def test_ready_means_all_of_it(api: Api, services: Services) -> None:
    assert (await api.get("/healthz")).json["status"] == "ok"
    async with services.db.transaction() as tx:
        await tx.raw.execute("delete from workers")  # of other tests, killed on purpose
    alone = await api.get("/readyz")
    assert (alone.status, alone.code) == (503, "not-ready")
    assert [each["pointer"] for each in alone.json["errors"]] == ["/workers"]
    ours = sorted(set(services.registry.names) - {"echo"})
    assert {"basic-pitch", "demucs", "whisper"} <= set(ours)
    assert ", ".join(ours) in alone.json["errors"][0]["message"]
    async with services.db.transaction() as tx:
        served_by_it = [{"model": model, "state": "idle"} for model in ours]
        await worker_rows.beat_worker(tx, "a-worker", "here", 1, served_by_it)
    try:
        ready = await api.get("/readyz")
        assert (ready.status, ready.json["status"]) == (200, "ready")
    finally:
        async with services.db.transaction() as tx:
            await worker_rows.remove_worker(tx, "a-worker")


async def test_models_tell_what_they_take_and_who_has_them_loaded(api: Api, services: Services) -> None:
    weights = {"name": "w", "sha256": "0" * 64, "source": "cache", "license": "MIT", "commercial_use": True}
    loaded = {"model": "echo", "state": "loaded", "weights": {**weights, "trained": True}}
    async with services.db.transaction() as tx:
        held = [{**loaded, "device": "cpu", "precision": "fp32"}]
        await worker_rows.beat_worker(tx, "b-worker", "here", 1, held)
    try:
        cards = {card["id"]: card for card in (await api.get("/models")).json["items"]}
    finally:
        async with services.db.transaction() as tx:
            await worker_rows.remove_worker(tx, "b-worker")
    assert cards.keys() == set(services.registry.names)
    echo = cards["echo"]
    assert (echo["operation"], echo["plugin"]["name"], echo["state"]) == ("echo", "neuralib", "loaded")
    assert "gain" in echo["params_schema"]["properties"]
    assert (echo["workers"][0]["device"], echo["workers"][0]["weights"]["sha256"]) == ("cpu", "0" * 64)
    only = (await api.get("/models?operation=echo")).json["items"]
    assert [(card["id"], card["state"]) for card in only] == [("echo", "absent")]


async def test_every_card_names_its_weights_and_their_licences(api: Api, services: Services) -> None:
    cards = {card["id"]: card for card in (await api.get("/models")).json["items"]}
    executor: type[Executor[Any]]
    for executor in services.registry:
        told = cards[executor.name]["checkpoints"]
        assert [each["name"] for each in told] == [each.name for each in executor.checkpoints]
        assert all(each["license"] for each in told)


async def test_while_the_database_is_away_clients_are_told_to_come_back(settings: Settings) -> None:
    async with served(settings) as (api, services):
        await services.db._pool.close()
        got = await api.get("/libraries")
        assert (got.status, got.code, got.json["retryable"]) == (503, "database-unavailable", True)
        assert got.headers["Retry-After"]
        assert "pool" not in got.json["detail"]
        assert (await api.get("/healthz")).status == 200
        assert "/database" in [each["pointer"] for each in (await api.get("/readyz")).json["errors"]]


async def test_a_port_that_is_taken_says_so(services: Services, owner: UUID) -> None:
    async with listening(services, owner, "127.0.0.1", 0) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(PortInUse, match=str(port)):
            async with listening(services, owner, "127.0.0.1", port):
                pass
    async with listening(services, owner, "127.0.0.1", port):
        pass
    with pytest.raises(ConfigurationError, match="cannot listen on"):
        async with listening(services, owner, "203.0.113.1", 0):
            pass
