"""A client that holds every reply to the documentation: an undocumented status or member fails the test."""

import io
import json
import re
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
from multidict import CIMultiDictProxy

from neuralib.api.problems import MEDIA_TYPE, status_of
from neuralib.api.routes import ROUTES, Route, every_problem
from neuralib.api.schemas.problems import Problem


@dataclass
class Got:
    """One reply, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> str:
        """Of a problem."""
        assert self.headers["Content-Type"].startswith(MEDIA_TYPE), self.content
        return self.json["code"]


class Api:
    """`await api.get("/libraries")`: paths without a leading /api/v1 get it, except those at the root."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.url = url
        self._session = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=30))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str, **options: Any) -> Got:
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Got:
        return await self.call("POST", path, **({"json": body} if body is not None else {}), **options)

    async def call(self, method: str, path: str, **options: Any) -> Got:
        async with self.open(method, path, **options) as response:
            got = Got(response.status, response.headers, await response.read())
        check(method, response.url.path, got)
        return got

    def open(self, method: str, path: str, **options: Any) -> Any:
        """The reply as it comes, unread."""
        at_root = path.startswith(("/api/", "/healthz", "/readyz", "/openapi.json", "/docs", "/nowhere"))
        return self._session.request(method, self.url + ("" if at_root else "/api/v1") + path, **options)

    async def library(self, **body: Any) -> dict[str, Any]:
        return (await self.post("/libraries", {"name": "Tests", **body})).json

    async def upload(self, library: str, content: bytes, filename: str = "song.wav", **options: Any) -> Got:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("file", io.BytesIO(content), filename=filename, content_type="audio/wav")
        return await self.post(f"/libraries/{library}/assets", data=form, **options)

    async def asset(self, content: bytes, filename: str = "song.wav") -> dict[str, Any]:
        got = await self.upload((await self.library())["id"], content, filename)
        assert got.status == 201, got.content
        return got.json["items"][0]["asset"]


def find_route(method: str, path: str) -> Route | None:
    method = "GET" if method == "HEAD" else method
    for route in ROUTES:
        pattern = re.sub(r"{\w+}", "[^/]+", route.path)
        if route.method == method and re.fullmatch(pattern, path):
            return route
    return None


def check(method: str, path: str, got: Got) -> None:
    """Fails unless the documentation foresees this reply."""
    assert got.headers["X-Request-ID"]
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    route = find_route(method, path)
    if got.status >= 400:
        if method != "HEAD":
            told = Problem.model_validate_json(got.content)
            assert told.status == got.status
            if "Idempotent-Replayed" not in got.headers:
                assert told.request_id == got.headers["X-Request-ID"]
            if route is not None:
                assert (got.status, told.code) in {(status_of(k), k.code) for k in every_problem(route)}, told
        return
    assert route is not None, f"{method} {path} is not in the table"
    answer = route.answers[got.status]
    if method == "HEAD" or got.status == 304:
        return
    if got.headers.get("Content-Type", "").partition(";")[0] in answer.also:
        pass
    elif answer.model is not None:
        answer.model.model_validate_json(got.content)
    elif answer.media_type is None:
        assert got.content == b""
    assert all(header in got.headers for header in answer.headers if header not in {"Link", "Location"})
