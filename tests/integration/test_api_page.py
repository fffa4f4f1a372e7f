"""The page at /: its files as they were built, a way out where they were not, and nothing else."""

import gzip
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from api_client import Api
from neuralib.api.page import POLICY, Page

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def served(folder: Path) -> TestClient:
    app = web.Application()
    Page(folder).mount(app)
    client = TestClient(TestServer(app), auto_decompress=False, headers={"Accept-Encoding": "identity"})
    await client.start_server()
    return client


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("<!doctype html><title>page</title>")
    (tmp_path / "index-abc.js").write_text("export const one = 1;" * 100)
    return tmp_path


async def test_the_page_is_asked_for_anew_and_its_files_never_again(built: Path) -> None:
    client = await served(built)
    async with client.get("/") as page:
        assert page.headers["Cache-Control"] == "no-cache"
        assert page.headers["Content-Security-Policy"] == POLICY
        tag = page.headers["ETag"]
    async with client.get("/", headers={"If-None-Match": tag}) as page:
        assert page.status == 304
    async with client.get("/page/index-abc.js", headers={"Accept-Encoding": "gzip"}) as script:
        assert script.content_type in {"text/javascript", "application/javascript"}
        assert "immutable" in script.headers["Cache-Control"]
        assert gzip.decompress(await script.read()) == (built / "index-abc.js").read_bytes()
    await client.close()


@pytest.mark.parametrize("name", ["nothing.js", "..%2fpage.py", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", ""])
async def test_below_page_there_is_nothing_but_what_was_built(built: Path, name: str) -> None:
    client = await served(built)
    async with client.get(f"/page/{name}") as got:
        assert got.status == 404
    await client.close()


async def test_where_it_was_not_built_the_page_says_what_to_do(tmp_path: Path) -> None:
    client = await served(tmp_path / "missing")
    async with client.get("/") as got:
        assert got.status == 200
        assert b"scripts/page" in await got.read()
    await client.close()


async def test_the_api_serves_it_to_whoever_comes(api: Api) -> None:
    async with aiohttp.ClientSession() as stranger, stranger.get(api.url + "/") as got:
        assert got.status == 200
        assert "script-src 'self'" in got.headers["Content-Security-Policy"]
        assert got.headers["X-Content-Type-Options"] == "nosniff"
    async with aiohttp.ClientSession() as stranger, stranger.get(api.url + "/page/nothing.js") as got:
        assert got.status == 404
        assert got.content_type == "application/problem+json"
