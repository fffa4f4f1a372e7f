"""Two owners on one server: whatever one of them asks with ids of the other is answered as for ids that nobody has.

The routes come from the router of the running application, and what can carry an id comes from their schemas: a route,
a parameter or a member that is added later is walked too, or fails the walk because it finds no id to put there.
"""

import contextlib
import io
import json
import re
import wave
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from pydantic import BaseModel

from api_client import Api, Got, find_route
from neuralib import identity
from neuralib.api import listening, make_app
from neuralib.api.auth import EVERYTHING
from neuralib.api.calls import encode_cursor
from neuralib.api.page import PATHS as PAGE
from neuralib.api.routes import SSE, Route
from neuralib.config import Settings
from neuralib.entities import Scope
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")

KINDS = {
    "library": "library",
    "library_id": "library",
    "asset": "asset",
    "asset_id": "asset",
    "asset_ids": "asset",
    "export": "export",
    "parent_id": "asset",
    "job": "job",
    "ids": "job",
    "key": "key",
    "region": "region",
    "id": "region",
    "run": "run",
    "upload": "upload",
}
"""What a path, a query or a body calls an id, and what it is an id of."""
NAMES = {"slug": "stems", "number": "1", "model": "demucs", "checkpoint": "htdemucs"}
"""What a path calls something that has no id."""


@dataclass
class Owner:
    """One owner with one of everything. `mark` is in every text that they could write."""

    id: UUID
    api: Api
    mark: str = field(default_factory=lambda: f"mark{uuid4().hex}")
    ids: dict[str, str] = field(default_factory=dict)

    async def settle(self) -> None:
        library = await self.api.post("/libraries", {"name": self.mark, "description": self.mark})
        form = {"file": wav(), "meta": json.dumps({"name": self.mark})}
        got = await self.api.upload(library.json["id"], form["file"], f"{self.mark}.wav")
        asset = got.json["items"][0]["asset"]
        job = await self.api.post(
            "/jobs", {"model": "echo", "inputs": [{"asset_id": asset["id"]}], "metadata": {"x": self.mark}}
        )
        key = await self.api.post("/keys", {"name": self.mark})
        export = await self.api.post("/exports", {"asset_ids": [asset["id"]]})
        region = await self.api.post(
            f"/assets/{asset['id']}/regions", {"start_s": 0, "end_s": 0.05, "name": self.mark}
        )
        run = await self.api.post("/pipelines/stems/runs", {"asset_id": asset["id"]})
        upload = await self.api.post(
            "/uploads", {"library_id": library.json["id"], "filename": self.mark, "bytes": 9}
        )
        made = {
            "upload": upload.json,
            "library": library.json,
            "asset": asset,
            "job": job.json,
            "key": key.json,
            "region": region.json,
            "export": export.json,
            "run": run.json,
        }
        self.ids = {kind: body["id"] for kind, body in made.items()}

    def secrets(self) -> list[str]:
        return [self.mark, str(self.id), *self.ids.values()]


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(uuid4().bytes * 100)
    return file.getvalue()


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    # The walk asks more often than one address may.
    return settings.with_tables(auth={"mode": "keys"}, limits={"requests_burst": 2000})


@pytest_asyncio.fixture(loop_scope="module")
async def url(services: Services) -> AsyncIterator[str]:
    local = await identity.ensure_owner(services.db, f"test-{uuid4()}")
    async with listening(services, local, "127.0.0.1", 0) as url:
        yield url


@contextlib.asynccontextmanager
async def entered(
    services: Services, url: str, scopes: frozenset[Scope] = EVERYTHING
) -> AsyncIterator[Owner]:
    owner = await identity.ensure_owner(services.db, f"test-{uuid4()}")
    key, _ = await identity.create_key(services.db, owner, name="first", scopes=scopes)
    async with Api(url, {"Authorization": f"Bearer {key}"}) as api:
        yield Owner(owner, api)


# ── the router, and where ids go ──────────────────────────────────────────────────────────────────────


def routes_of(services: Services) -> list[tuple[str, Route]]:
    """(method, route) of everything that the application answers; each must stand in the table."""
    found = []
    for each in make_app(services, uuid4()).router.routes():
        assert each.resource is not None
        if each.resource.canonical in PAGE:  # the same for everybody, and no part of the API
            continue
        route = find_route(each.method, each.resource.canonical)
        assert route is not None, f"{each.method} {each.resource.canonical} is not in the table"
        found.append((each.method, route))
    assert {route.name for _, route in found} >= {"get_content", "owner_events", "delete_key"}
    return found


def uuid_members(model: type[BaseModel] | None) -> set[str]:
    """The names of the members, at any depth, that hold ids."""
    found: set[str] = set()

    def walk(name: str, schema: Any) -> None:
        match schema:
            case {"format": "uuid"}:
                found.add(name)
            case dict():
                for key, value in schema.get("properties", {}).items():
                    walk(key, value)
                for key, value in schema.items():
                    if key != "properties":
                        walk(name, value)
            case list():
                for each in schema:
                    walk(name, each)

    if model is not None:
        walk("", model.model_json_schema())
    return found


@dataclass(frozen=True)
class Slot:
    """One place of a request that takes an id."""

    where: str
    name: str


def slots_of(route: Route) -> list[Slot]:
    return [
        *(Slot("path", name) for name in re.findall(r"{(\w+)}", route.path) if name not in NAMES),
        *(Slot("query", name) for name in sorted(uuid_members(route.query))),
        *(Slot("body", name) for name in sorted(uuid_members(route.body) | uuid_members(route.form))),
    ]


def request_of(
    route: Route, ids: dict[str, str], slot: Slot | None, filling: str
) -> tuple[str, dict[str, Any]]:
    """A request that is good in all but what is put into `slot`; the other ids are `ids`."""

    def of(where: str, name: str) -> str:
        if name in NAMES:
            return NAMES[name]
        return filling if slot == Slot(where, name) else ids[KINDS[name]]

    path = re.sub(r"{(\w+)}", lambda found: of("path", found[1]), route.path)
    options: dict[str, Any] = {}
    if slot is not None and slot.where == "query":
        options["params"] = {slot.name: filling}
    if route.form is not None:
        options.update(data=b"", headers={"Content-Type": "multipart/form-data; boundary=B"})
    if route.body is not None:
        bodies = {
            "create_library": {"name": "x"},
            "update_library": {"name": "x"},
            "update_asset": {"name": "x"},
            "change_assets": {
                "op": "move",
                "asset_ids": [of("body", "asset_ids")],
                "library_id": of("body", "library_id"),
            },
            "create_key": {"name": "x"},
            "create_region": {"kind": "marker", "start_s": 0.05},
            "replace_regions": {"items": [{"id": of("body", "id"), "start_s": 0, "end_s": 0.05}]},
            "update_region": {"color": "#ffffff"},
            "update_transcript": {"segments": []},
            "create_jobs": {
                "jobs": [
                    {
                        "model": "echo",
                        "inputs": [{"asset_id": of("body", "asset_id")}],
                        "outputs": {"library_id": of("body", "library_id")},
                    }
                ]
            },
            "retry_job": {},
            "create_upload": {"library_id": of("body", "library_id"), "filename": "x.wav", "bytes": 9},
            "create_link": {"variant": "preview"},
            "create_run": {"asset_id": of("body", "asset_id")},
            "mix_asset": {"outputs": {"library_id": of("body", "library_id")}},
            "make_stem_file": {"outputs": {"library_id": of("body", "library_id")}},
            "create_job": {
                "model": "echo",
                "inputs": [{"asset_id": of("body", "asset_id")}],
                "outputs": {"library_id": of("body", "library_id")},
            },
            "create_export": {
                "library_id": of("body", "library_id"),
                "asset_ids": [of("body", "asset_ids")],
            },
        }
        options["json"] = bodies[route.name]
        text = json.dumps(options["json"])
        assert all(f'"{name}"' in text for name in uuid_members(route.body)), f"{route.name}: name every id"
    return path, options


def compared(got: Got, filling: str) -> dict[str, Any]:
    """What of an answer must not tell a foreign id from a missing one."""
    told_anew = {"Date", "X-Request-ID", "RateLimit-Remaining", "RateLimit-Reset"}
    headers = {k: v for k, v in got.headers.items() if k not in told_anew}
    text = got.content.decode().replace(filling, "ID").replace(got.headers["X-Request-ID"], "REQUEST")
    return {"status": got.status, "headers": headers, "body": text}


# ── the walk ──────────────────────────────────────────────────────────────────────────────────────────


async def test_every_route_takes_a_foreign_id_for_a_missing_one(services: Services, url: str) -> None:
    async with entered(services, url) as a, entered(services, url) as b:
        await a.settle()
        await b.settle()
        before = [await snapshot(a, kind) for kind in a.ids]
        walked = 0
        for method, route in routes_of(services):
            for slot in slots_of(route):
                told = []
                for filling in (a.ids[KINDS[slot.name]], str(uuid4())):
                    path, options = request_of(route, b.ids, slot, filling)
                    got = await b.api.call(method, path, **options)
                    assert got.status == 404 if slot.where != "query" else got.status < 300, (
                        route.name,
                        slot,
                    )
                    assert leaks(a, got, filling) == [], (route.name, slot)
                    told.append(compared(got, filling))
                assert told[0] == told[1], (route.name, slot)
                walked += 1
        assert walked >= 17
        assert [await snapshot(a, kind) for kind in a.ids] == before
        await own_ids_are_found(a, routes_of(services))


def leaks(of: Owner, got: Got, asked: str = "") -> list[str]:
    """What of the owner can be read in the answer, less the id that was asked for."""
    text = f"{got.content.decode(errors='replace')} {got.headers}"
    text = text.replace(asked, "") if asked else text
    return [secret for secret in of.secrets() if secret in text]


async def snapshot(owner: Owner, kind: str) -> Any:
    if kind == "key":
        return [each["id"] for each in (await owner.api.get("/keys")).json["items"]]
    plural = {"library": "libraries", "region": f"assets/{owner.ids['asset']}/regions"}.get(kind, f"{kind}s")
    got = await owner.api.get(f"/{plural}/{owner.ids[kind]}")
    assert got.status == 200
    return got.json


async def own_ids_are_found(owner: Owner, routes: list[tuple[str, Route]]) -> None:
    """The walk can fail: with ids of their own, the same requests find something."""
    order = ["GET", "HEAD", "PATCH", "PUT", "POST", "DELETE"]
    last_made_first = list(enumerate(routes))
    last_made_first.sort(key=lambda each: (order.index(each[1][0]), -each[0]))
    for _, (method, route) in last_made_first:
        if "{" in route.path:
            path, options = request_of(route, owner.ids, None, "")
            async with owner.api.open(method, path, **options) as response:
                assert response.status not in {401, 403, 404}, (route.name, response.status)


async def test_nothing_of_another_owner_is_in_any_answer(services: Services, url: str) -> None:
    async with entered(services, url) as a, entered(services, url) as b:
        await a.settle()
        await b.settle()
        for method, route in routes_of(services):
            answer = route.answers.get(200)
            if method not in {"GET", "HEAD"} or (answer is not None and answer.media_type == SSE):
                continue
            path, _ = request_of(route, b.ids, None, "")
            got = await b.api.call(method, path)
            assert got.status in {200, 409, 503}, route.name  # nobody works here: nothing is ready, or made
            assert leaks(a, got) == [], route.name
            if "cursor" in route.query.model_fields:
                for theirs in a.ids.values():
                    got = await b.api.get(path, params={"cursor": encode_cursor(UUID(theirs))})
                    assert got.status == 200 or got.code == "invalid-cursor"
                    assert leaks(a, got) == [], route.name
        assert b.mark in (await b.api.get("/libraries")).content.decode()


async def test_nothing_of_another_owner_is_in_any_stream(services: Services, url: str) -> None:
    async with entered(services, url) as a, entered(services, url) as b:
        await b.settle()
        for path in ("/events?last_event_id=0", f"/jobs/{b.ids['job']}/events"):
            async with b.api.open("GET", path) as response:
                await a.settle()
                await b.api.post(f"/jobs/{b.ids['job']}/cancel")
                text = ""
                while "job.cancelled" not in text:
                    text += (await response.content.readline()).decode()
            assert b.ids["job"] in text
            assert [secret for secret in a.secrets() if secret in text] == []


# ── who may call ──────────────────────────────────────────────────────────────────────────────────────


def narrow(services: Services) -> Iterator[tuple[str, Route, str, dict[str, Any]]]:
    """Every route that asks who calls, with a good request for ids that nobody has."""
    for method, route in routes_of(services):
        if route.scope is not None:
            path, options = request_of(route, {kind: str(uuid4()) for kind in KINDS.values()}, None, "")
            yield method, route, path, options


async def test_without_good_credentials_every_route_answers_401(services: Services, url: str) -> None:
    async with entered(services, url) as owner, Api(url) as stranger:
        made = (await owner.api.post("/keys", {"name": "short-lived"})).json
        assert (await owner.api.call("DELETE", f"/keys/{made['id']}")).status == 204
        public = {route.path for _, route in routes_of(services) if route.scope is None}
        assert public == {"/healthz", "/readyz", "/openapi.json", "/docs"}
        for method, route, path, options in narrow(services):
            for header in (None, "Bearer", "Bearer nlk_x", f"Basic {made['key']}", f"Bearer {made['key']}"):
                headers = {**options.get("headers", {}), **({"Authorization": header} if header else {})}
                got = await stranger.call(method, path, **{**options, "headers": headers})
                assert got.status == 401, (route.name, header)
                assert got.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_key_reaches_as_far_as_its_scopes_and_no_farther(services: Services, url: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        without = {
            s: await stack.enter_async_context(entered(services, url, EVERYTHING - {s})) for s in Scope
        }
        alone = {s: await stack.enter_async_context(entered(services, url, frozenset({s}))) for s in Scope}
        for method, route, path, options in narrow(services):
            assert route.scope is not None
            refused = await without[route.scope].api.call(method, path, **options)
            assert refused.status == 403, route.name
            if method != "HEAD":
                assert refused.code == "insufficient-scope"
                assert route.scope in refused.json["detail"]
            async with alone[route.scope].api.open(method, path, **options) as response:
                assert response.status not in {401, 403} or route.name == "create_key", route.name
