"""Keys: shown once, kept as a digest, reaching as far as they should and no longer than they should."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from api_client import Api
from neuralib import identity
from neuralib.api import listening
from neuralib.api.auth import EVERYTHING
from neuralib.config import Settings
from neuralib.entities import Scope
from neuralib.errors import Conflict
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "a token of sixteen characters or more"


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(auth={"mode": "token", "token": TOKEN})


@pytest_asyncio.fixture(loop_scope="module")
async def url(services: Services, owner: UUID) -> AsyncIterator[str]:
    async with listening(services, owner, "127.0.0.1", 0) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="module")
async def admin(services: Services, url: str) -> AsyncIterator[Api]:
    """With a key for everything, of an owner of its own."""
    owner = await identity.ensure_owner(services.db, f"test-{uuid4()}")
    key, _ = await identity.create_key(services.db, owner, name="admin", scopes=EVERYTHING)
    async with with_key(url, key) as api:
        yield api


def with_key(url: str, key: str) -> Api:
    return Api(url, {"Authorization": f"Bearer {key}"})


async def make(admin: Api, **body: Any) -> dict[str, Any]:
    got = await admin.post("/keys", {"name": "a key", **body})
    assert got.status == 201, got.content
    assert got.headers["Cache-Control"] == "no-store"
    return got.json


async def test_a_key_is_shown_once_and_kept_as_a_digest(admin: Api, services: Services) -> None:
    with capture_logs() as lines:
        made = await make(admin, name="laptop", scopes=["read"])
    secret = made.pop("key")
    assert identity.KEY.fullmatch(secret)
    assert secret.startswith(made["prefix"])
    listed = await admin.get("/keys")
    assert made in listed.json["items"]
    assert secret not in listed.content.decode()
    assert secret not in json.dumps(lines, default=str)
    async with services.db.statements() as tx:
        rows = await tx.raw.fetch("select * from credentials")
    assert str(UUID(made["id"])) in str(rows)
    assert secret[12:] not in str(rows)


async def test_who_calls_is_told_what_they_are(admin: Api, url: str) -> None:
    made = await make(admin, scopes=["read", "jobs"], expires_at="2099-01-01T00:00:00Z")
    async with with_key(url, made["key"]) as api:
        me = (await api.get("/me")).json
    assert me["access"] == {
        "by": "key",
        "scopes": ["jobs", "read"],
        "key_id": made["id"],
        "expires_at": "2099-01-01T00:00:00Z",
    }
    assert me["owner"] == (await admin.get("/me")).json["owner"]
    assert me["usage"] == {"storage_bytes": 0, "jobs_active": 0}


async def test_the_shared_token_speaks_for_the_local_owner(url: str, owner: UUID) -> None:
    async with with_key(url, TOKEN) as api:
        me = (await api.get("/me")).json
    assert (me["owner"]["id"], me["access"]["by"]) == (str(owner), "token")


async def test_a_key_makes_none_that_reaches_farther(admin: Api, url: str) -> None:
    narrow = await make(admin, scopes=["admin", "read"])
    async with with_key(url, narrow["key"]) as api:
        refused = await api.post("/keys", {"name": "more", "scopes": ["read", "write"]})
        assert (refused.status, refused.code) == (403, "insufficient-scope")
        assert "write" in refused.json["detail"]
        assert (await make(api, scopes=["read"]))["scopes"] == ["read"]


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["root"]},
        {"name": "x", "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "x", "expires_at": "2099-01-01T00:00:00"},
        {"name": "x", "expires_at": "9999-12-31T23:59:59-12:00"},
        {"name": "x", "expires_at": "0001-01-01T00:00:00+12:00"},
        {"name": "x", "owner": "somebody"},
    ],
)
async def test_a_key_that_cannot_be_is_refused(admin: Api, body: dict[str, Any]) -> None:
    refused = await admin.post("/keys", body)
    assert (refused.status, refused.code) == (422, "validation-failed")


async def test_an_expired_key_says_so_and_a_revoked_one_is_nothing(
    admin: Api, url: str, services: Services
) -> None:
    made = await make(admin, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    async with with_key(url, made["key"]) as api:
        assert (await api.get("/libraries")).status == 200
        await age(services, made["id"])
        expired = await api.get("/libraries")
        assert (expired.status, expired.code) == (401, "token-expired")
        assert (await admin.call("DELETE", f"/keys/{made['id']}")).status == 204
        assert (await api.get("/libraries")).code == "unauthenticated"
    assert (await admin.call("DELETE", f"/keys/{made['id']}")).status == 404


async def age(services: Services, key: str) -> None:
    async with services.db.statements() as tx:
        await tx.raw.execute("update credentials set expires_at = now() where id = $1", UUID(key))


async def test_a_stream_ends_soon_after_its_key(admin: Api, url: str, services: Services) -> None:
    revoked, expired, good = [await make(admin) for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        streams = []
        for each in (revoked, expired, good):
            api = await stack.enter_async_context(with_key(url, each["key"]))
            streams.append(await stack.enter_async_context(api.open("GET", "/events")))
        assert (await admin.call("DELETE", f"/keys/{revoked['id']}")).status == 204
        await age(services, expired["id"])
        async with asyncio.timeout(30):
            for ended in streams[:2]:
                text = await ended.text()
                assert text.endswith('event: stream.auth\ndata: {"type":"stream.auth"}\n\n')
        await admin.library()
        async with asyncio.timeout(30):
            while b"library.created" not in await streams[2].content.readline():
                pass


async def test_use_of_a_key_is_noted_to_the_minute(admin: Api, url: str, services: Services) -> None:
    made = await make(admin)
    assert made["last_used_at"] is None

    async def noted() -> Any:
        return next(
            k["last_used_at"] for k in (await admin.get("/keys")).json["items"] if k["id"] == made["id"]
        )

    async with with_key(url, made["key"]) as api:
        await api.get("/libraries")
        first = await noted()
        assert first is not None
        await api.get("/libraries")
        assert await noted() == first
        async with services.db.statements() as tx:
            await tx.raw.execute("update credentials set last_used_at = now() - interval '2 minutes'")
        await api.get("/libraries")
        assert await noted() > first


async def test_keys_are_listed_in_pages(admin: Api) -> None:
    made = [(await make(admin, name=f"{n}"))["id"] for n in range(3)]
    first = (await admin.get("/keys?limit=2")).json
    rest = (await admin.get(f"/keys?limit=2&cursor={first['next_cursor']}")).json
    assert [each["id"] for each in first["items"] + rest["items"]][:3] == made[::-1]


async def test_an_owner_has_so_many_keys(services: Services) -> None:
    owner = await identity.ensure_owner(services.db, f"test-{uuid4()}")
    for n in range(identity.MAX_KEYS):
        await identity.create_key(services.db, owner, name=f"{n}", scopes=frozenset({Scope.READ}))
    with pytest.raises(Conflict, match="revoke"):
        await identity.create_key(services.db, owner, name="one more")
