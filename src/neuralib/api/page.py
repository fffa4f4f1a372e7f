"""The page at /: one HTML file and what it loads, as `scripts/page` built them into this package.

They are the same for everybody and hold nothing of anybody, so they are given without credentials. Where they were not
built the API is whole, and / says what to do.
"""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

from .replies import has_tag

FOLDER = files("neuralib") / "page"
PATHS = ("/", "/page/{file}")
INDEX = "index.html"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
UNBUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>NeuraLib</title>
<h1>NeuraLib</h1>
<p>The page was not built. The API is here: <a href="/docs">its description</a>.</p>
<p>To build the page, run <code>scripts/page</code> in the source checkout and start again.</p>
</html>
"""


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    packed: bytes
    media_type: str
    tag: str


class Page:
    """The files, read once. `folder` has index.html, and beside it what has a digest in its name."""

    def __init__(self, folder: Traversable = FOLDER) -> None:
        found = [each for each in folder.iterdir() if each.is_file()] if folder.is_dir() else []
        self._files = {each.name: _read(each) for each in found}

    @property
    def built(self) -> bool:
        return INDEX in self._files

    def mount(self, app: web.Application) -> None:
        """Answer / and everything below /page/."""
        app.router.add_get(PATHS[0], self._index)
        app.router.add_get(PATHS[1], self._file)

    async def _index(self, request: web.Request) -> web.Response:
        file = self._files.get(INDEX) or _made(INDEX, UNBUILT.encode())
        return _reply(request, file, {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})

    async def _file(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info["file"])
        if file is None:
            raise web.HTTPNotFound
        return _reply(request, file, {"Cache-Control": "public, max-age=31536000, immutable"})


def _read(file: Traversable) -> _File:
    return _made(file.name, file.read_bytes())


def _made(name: str, body: bytes) -> _File:
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    digest = hashlib.sha256(body).hexdigest()[:16]
    return _File(body, gzip.compress(body, mtime=0), media_type, f'"{digest}"')


def _reply(request: web.Request, file: _File, headers: dict[str, str]) -> web.Response:
    headers = {**headers, "ETag": file.tag, "Vary": "Accept-Encoding"}
    if has_tag(request.headers.get("If-None-Match"), file.tag):
        return web.Response(status=304, headers=headers)
    body = file.body
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        body = file.packed
    response = web.Response(body=body, headers=headers)
    response.content_type = file.media_type
    if file.media_type.startswith("text/"):
        response.charset = "utf-8"
    return response
