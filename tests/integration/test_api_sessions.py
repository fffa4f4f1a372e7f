"""Browsers: a session in a cookie that only our own pages can use, and that ends with what it was made from."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from api_client import Api, Got
from neuralib import identity
from neuralib.api import listening
from neuralib.config import Settings
from neuralib.services import Services, open_services

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "a token of sixteen characters or more"
WAV = (
    b"RIFF$\x0c\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00\x80>\x00\x00\x02\x00\x10\x00"
    b"data\x00\x0c\x00\x00" + bytes(range(256)) * 12
)
OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(auth={"mode": "token", "token": TOKEN})


@pytest_asyncio.fixture(loop_scope="module")
async def url(services: Services, owner: UUID) -> AsyncIterator[str]:
    async with listening(services, owner, "127.0.0.1", 0) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="module")
async def page(url: str) -> AsyncIterator[Api]:
    """A client without credentials of its own."""
    async with Api(url) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def key(services: Services) -> tuple[str, UUID]:
    owner = await identity.ensure_owner(services.db, f"test-{uuid4()}")
    secret, row = await identity.create_key(services.db, owner, name="browser")
    return secret, row.id


async def sign_in(page: Api, bearer: str, **headers: str) -> Got:
    got = await page.post("/session", headers={"Authorization": f"Bearer {bearer}", **headers})
    assert got.status == 201, got.content
    return got


def cookie_of(got: Got) -> dict[str, str]:
    (name, morsel), *_ = SimpleCookie(got.headers["Set-Cookie"]).items()
    return {"Cookie": f"{name}={morsel.value}"}


async def test_a_session_serves_what_a_browser_cannot_send_headers_with(
    page: Api, key: tuple[str, UUID]
) -> None:
    cookie = cookie_of(await sign_in(page, key[0]))
    me = (await page.get("/me", headers={**cookie, **OURS})).json
    assert (me["access"]["by"], me["access"]["scopes"]) == ("session", ["jobs", "read", "write"])
    library = (await page.post("/libraries", {"name": "x"}, headers={**cookie, **OURS})).json
    form = await page.upload(library["id"], WAV, headers={**cookie, **OURS})
    where = form.json["items"][0]["asset"]["urls"]["content"]
    for _ in range(2):  # an <audio> element seeks
        heard = await page.get(where, headers={**cookie, **OURS, "Range": "bytes=0-3"})
        assert (heard.status, heard.content) == (206, b"RIFF")
    async with page.open("GET", "/events", headers={**cookie, **OURS}) as stream:
        assert stream.status == 200


async def test_the_cookie_is_for_this_host_alone_and_for_no_script(page: Api, key: tuple[str, UUID]) -> None:
    here = (await sign_in(page, key[0])).headers["Set-Cookie"]
    assert here.startswith("neuralib=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(here.split("; "))
    assert "Domain" not in here
    away = (await sign_in(page, key[0], Host="music.example")).headers["Set-Cookie"]
    assert away.startswith("__Host-neuralib=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Secure"} <= set(away.split("; "))
    assert "Domain" not in away


@pytest.mark.parametrize(
    ("headers", "reads", "writes"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True, True),
        ({"Sec-Fetch-Site": "none"}, True, False),
        ({"Sec-Fetch-Site": "same-site"}, False, False),
        ({"Sec-Fetch-Site": "cross-site"}, False, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "OURS"}, False, False),
        ({"Origin": "OURS"}, True, True),
        ({"Origin": "https://evil.example"}, False, False),
        ({"Origin": "null"}, False, False),
        ({}, True, False),
    ],
)
async def test_only_our_own_pages_use_a_session(
    page: Api, key: tuple[str, UUID], headers: dict[str, str], reads: bool, writes: bool
) -> None:
    sent = {n: page.url if v == "OURS" else v for n, v in headers.items()} | cookie_of(
        await sign_in(page, key[0])
    )
    got = await page.get("/libraries", headers=sent)
    assert (got.status == 200) is reads
    assert reads or got.code == "cross-origin"
    got = await page.post("/libraries", {"name": "x"}, headers=sent)
    assert (got.status == 201) is writes
    assert writes or got.code == "cross-origin"


async def test_a_session_ends_with_its_key(page: Api, key: tuple[str, UUID], services: Services) -> None:
    cookie = cookie_of(await sign_in(page, key[0]))
    async with page.open("GET", "/events", headers=cookie) as stream:
        await identity.revoke_key(services.db, key[1], None)
        got = await page.get("/libraries", headers=cookie)
        assert (got.status, got.code) == (401, "unauthenticated")
        async with asyncio.timeout(30):
            assert (await stream.text()).endswith('event: stream.auth\ndata: {"type":"stream.auth"}\n\n')


async def test_a_session_never_outlives_its_key(page: Api, services: Services) -> None:
    owner = await identity.ensure_owner(services.db, f"test-{uuid4()}")
    ends = datetime.now(UTC) + timedelta(hours=1)
    secret, row = await identity.create_key(services.db, owner, name="short", expires_at=ends)
    session = await sign_in(page, secret)
    assert datetime.fromisoformat(session.json["expires_at"]) == ends
    async with services.db.statements() as tx:
        await tx.raw.execute("update credentials set expires_at = now() where parent_id = $1", row.id)
    got = await page.get("/libraries", headers=cookie_of(session))
    assert (got.status, got.code) == (401, "token-expired")


async def test_signing_out_ends_the_session_and_clears_the_cookie(page: Api, key: tuple[str, UUID]) -> None:
    cookie = cookie_of(await sign_in(page, key[0]))
    out = await page.call("DELETE", "/session", headers={**cookie, **OURS})
    assert out.status == 204
    assert "Max-Age=0" in out.headers["Set-Cookie"]
    assert (await page.get("/libraries", headers=cookie)).status == 401


async def test_a_session_makes_no_session_and_a_bearer_goes_first(page: Api, key: tuple[str, UUID]) -> None:
    cookie = cookie_of(await sign_in(page, key[0]))
    assert (await page.post("/session", headers={**cookie, **OURS})).code == "conflict"
    wrong = {**cookie, "Authorization": "Bearer nlk_wrong"}
    assert (await page.get("/libraries", headers=wrong)).status == 401


async def test_another_shared_token_ends_the_sessions_of_the_one_before(
    page: Api, settings: Settings, owner: UUID
) -> None:
    cookie = cookie_of(await sign_in(page, TOKEN))
    assert (await page.get("/libraries", headers=cookie)).status == 200
    rotated = settings.with_tables(auth={"token": TOKEN[::-1]})
    async with (
        open_services(rotated) as services,
        listening(services, owner, "127.0.0.1", 0) as url,
        Api(url) as api,
    ):
        assert (await api.get("/libraries", headers=cookie)).status == 401


async def test_without_auth_there_is_nothing_to_make_a_session_from(settings: Settings, owner: UUID) -> None:
    alone = settings.with_tables(auth={"mode": "none"})
    async with (
        open_services(alone) as services,
        listening(services, owner, "127.0.0.1", 0) as url,
        Api(url) as api,
    ):
        assert (await api.post("/session")).code == "conflict"


async def test_an_owner_has_so_many_sessions_and_the_newest_stay(
    page: Api, key: tuple[str, UUID], services: Services
) -> None:
    cookies = [cookie_of(await sign_in(page, key[0])) for _ in range(identity.MAX_SESSIONS + 2)]
    states = [(await page.get("/libraries", headers=cookie)).status for cookie in cookies[:4] + cookies[-2:]]
    assert states == [401, 401, 200, 200, 200, 200]


async def test_a_sessions_secret_is_neither_kept_nor_logged(
    page: Api, key: tuple[str, UUID], services: Services
) -> None:
    with capture_logs() as lines:
        got = await sign_in(page, key[0])
        secret = cookie_of(got)["Cookie"].partition("=")[2]
        await page.get("/libraries", headers={"Cookie": f"neuralib={secret}x"})
    assert len(secret) == 43
    assert secret not in json.dumps(lines, default=str)
    assert secret not in got.content.decode()
    assert got.headers["Cache-Control"] == "no-store"
    async with services.db.statements() as tx:
        assert secret not in str(await tx.raw.fetch("select * from credentials"))
