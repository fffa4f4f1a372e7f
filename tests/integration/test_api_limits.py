"""What one caller may cost: requests, time, bytes; and what is told to browsers."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from api_client import Api, Got
from neuralib import identity
from neuralib.api import listening
from neuralib.api.routes import ROUTES
from neuralib.config import Settings, load_settings
from neuralib.errors import ConfigurationError
from neuralib.services import Services, open_services

pytestmark = pytest.mark.asyncio(loop_scope="module")

BURST = 5
STUDIO = "https://studio.example"


@contextlib.asynccontextmanager
async def served(settings: Settings, **tables: dict[str, Any]) -> AsyncIterator[tuple[str, Services]]:
    async with open_services(settings.with_tables(**tables)) as services:
        local = await identity.ensure_owner(services.db, f"test-{uuid4()}")
        async with listening(services, local, "127.0.0.1", 0) as url:
            yield url, services


@contextlib.asynccontextmanager
async def entered(url: str, services: Services) -> AsyncIterator[Api]:
    owner = await identity.ensure_owner(services.db, f"test-{uuid4()}")
    key, _ = await identity.create_key(services.db, owner, name="limits")
    async with Api(url, {"Authorization": f"Bearer {key}"}) as api:
        yield api


# ── rates ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_owner_has_a_rate_of_requests_and_is_told_of_it(settings: Settings) -> None:
    limits = {"requests_per_s": 0.01, "requests_burst": BURST}
    async with (
        served(settings, auth={"mode": "keys"}, limits=limits) as (url, services),
        entered(url, services) as mine,
        entered(url, services) as theirs,
        Api(url) as stranger,
    ):
        got = [await mine.get("/libraries") for _ in range(BURST + 1)]
        assert [each.status for each in got] == [200] * BURST + [429]
        assert [each.headers["RateLimit-Remaining"] for each in got] == ["4", "3", "2", "1", "0", "0"]
        assert {each.headers["RateLimit-Limit"] for each in got} == {"5"}
        assert got[-1].code == "rate-limited"
        assert 90 <= int(got[-1].headers["Retry-After"]) <= 100
        assert int(got[-1].headers["RateLimit-Reset"]) >= 400
        assert (await theirs.get("/libraries")).status == 200
        wrong = [await stranger.get("/libraries") for _ in range(BURST + 1)]
        assert [each.status for each in wrong] == [401] * BURST + [429]
        assert (await theirs.get("/libraries")).status == 200, "a good key does not pay for its neighbours"
        assert (await stranger.get("/docs")).status == 429
        assert [(await stranger.get("/healthz")).status for _ in range(3)] == [200] * 3


async def test_a_single_user_has_no_rate(settings: Settings) -> None:
    async with (
        served(settings, limits={"requests_per_s": 0.01, "requests_burst": 1}) as (url, _),
        Api(url) as api,
    ):
        got = [await api.get("/libraries") for _ in range(5)]
        assert [each.status for each in got] == [200] * 5
        assert "RateLimit-Limit" not in got[0].headers


# ── slow clients ──────────────────────────────────────────────────────────────────────────────────────

SLOW = {
    "idle_connection_s": 0.4,
    "idle_body_s": 1.0,  # a busy machine may take so long between two pieces that come together
    "idle_read_s": 0.4,
    "body_bytes_per_s": 1000,
}


@contextlib.asynccontextmanager
async def connected(
    url: str, *, receive: int = 0
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    parts = urlsplit(url)
    plug = socket.socket()
    if receive:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    plug.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plug, (parts.hostname, parts.port))
    reader, writer = await asyncio.open_connection(sock=plug, limit=1024)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /healthz HT",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea",
    ],
    ids=["nothing", "half a line", "half a head", "half a second request"],
)
async def test_a_connection_that_brings_no_whole_head_is_closed(settings: Settings, sent: bytes) -> None:
    async with served(settings, limits=SLOW) as (url, _), connected(url) as (reader, writer):
        writer.write(sent)
        async with asyncio.timeout(30):
            while await reader.read(1000):
                pass


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for(settings: Settings) -> None:
    async with served(settings, limits=SLOW) as (url, _), connected(url) as (reader, writer):

        async def trickle() -> None:
            for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 1000:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(trickle())
        async with asyncio.timeout(30):
            assert await reader.read(1000) == b""
        dripping.cancel()
        await asyncio.wait([dripping])


async def test_an_upload_that_trickles_is_dropped(settings: Settings) -> None:
    async with served(settings, limits=SLOW) as (url, _), Api(url) as api:
        library = (await api.library())["id"]

        async def trickle() -> AsyncIterator[bytes]:
            yield b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            while True:
                yield b"RIFF"
                await asyncio.sleep(0.05)

        form = {"Content-Type": "multipart/form-data; boundary=B"}
        async with asyncio.timeout(30):
            got = await api.post(f"/libraries/{library}/assets", data=trickle(), headers=form)
        assert (got.status, got.code) == (408, "request-timeout")
        assert "1000 bytes" in got.json["detail"]


@pytest.mark.parametrize("what", ["content", "json"])
async def test_a_client_that_takes_nothing_is_cut_off(settings: Settings, what: str) -> None:
    async with served(settings, limits=SLOW) as (url, services), Api(url) as api:
        asset = await api.asset(b"RIFF$\x00\xc0\x00WAVEfmt " + WAV_HEAD + bytes(12 * 1024 * 1024))
        path = asset["urls"]["content"] if what == "content" else "/openapi.json"
        one = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        async with connected(url, receive=4096) as (reader, writer):
            writer.write(one if what == "content" else one * 200)
            before = await until_it_stands_still(reader)
            async with asyncio.timeout(30):
                total = len(before)
                with contextlib.suppress(ConnectionResetError):
                    while chunk := await reader.read(1 << 16):
                        total += len(chunk)
        assert total < (12 * 1024 * 1024 if what == "content" else 200 * 20_000)
        assert services.bus.owners == []


async def until_it_stands_still(reader: asyncio.StreamReader) -> bytes:
    """Read the first bytes, then nothing for longer than the server waits; a busy one takes a while to fill the line."""
    async with asyncio.timeout(30):
        first = await reader.read(100)
    await asyncio.sleep(6)
    return first


WAV_HEAD = (
    b"\x10\x00\x00\x00\x01\x00\x02\x00\x44\xac\x00\x00\x10\xb1\x02\x00\x04\x00\x10\x00data\x00\x00\xc0\x00"
)


# ── headers ───────────────────────────────────────────────────────────────────────────────────────────


async def test_every_answer_carries_the_headers_that_keep_browsers_safe(api: Api) -> None:
    answers = [
        await api.get(path) for path in ("/docs", "/openapi.json", "/libraries", "/nowhere", "/healthz")
    ]
    for got in answers:
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Referrer-Policy"] == "no-referrer"
        assert got.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "default-src 'none'" in got.headers["Content-Security-Policy"]
        assert got.headers["Server"] == "neuralib"
        assert "Access-Control-Allow-Origin" not in got.headers


async def preflight(api: Api, origin: str, path: str = "/libraries") -> Got:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    async with api.open("OPTIONS", path, headers=headers) as response:
        return Got(response.status, response.headers, await response.read())


async def test_only_pages_of_named_origins_may_call(settings: Settings) -> None:
    tables = {"auth": {"mode": "keys"}, "server": {"origins": [STUDIO]}}
    async with served(settings, **tables) as (url, services), entered(url, services) as api:
        asked = await preflight(api, STUDIO)
        assert asked.status == 204
        assert asked.headers["Access-Control-Allow-Origin"] == STUDIO
        assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
        made = await api.post("/libraries", {"name": "x"}, headers={"Origin": STUDIO})
        assert made.status == 201
        assert made.headers["Access-Control-Allow-Origin"] == STUDIO
        assert "ETag" in made.headers["Access-Control-Expose-Headers"]
        assert "Origin" in made.headers["Vary"]
        for other in ("https://evil.example", "null", STUDIO + ".evil.example", "http://studio.example"):
            refused = await preflight(api, other)
            assert refused.status == 405
            assert "Access-Control-Allow-Origin" not in refused.headers
            written = await api.post("/libraries", {"name": "x"}, headers={"Origin": other})
            assert (written.status, written.code) == (403, "cross-origin")
            assert "Access-Control-Allow-Origin" not in written.headers
            assert "Origin" in written.headers["Vary"]
        for got in (asked, made):
            assert "Access-Control-Allow-Credentials" not in got.headers


async def test_by_default_no_other_origin_may_call(api: Api) -> None:
    got = await preflight(api, STUDIO)
    assert got.status == 405
    assert not [name for name in got.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    "origin", ["*", "https://a.example/", "https://A.example", "a.example", "null", "file://"]
)
async def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="origin"):
        load_settings(server={"origins": [origin]})


async def test_preflights_name_every_method_and_header_that_routes_know() -> None:
    from neuralib.api import cors
    from neuralib.api.routes import known_headers

    methods, headers = cors.METHODS.split(", "), cors.REQUEST_HEADERS.split(", ")
    for route in ROUTES:
        assert route.method in methods
        assert known_headers(route).keys() <= set(headers), route.name
