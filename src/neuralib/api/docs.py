"""The description of the API, for programs and for people. `make_app` builds both once."""

from collections.abc import Mapping
from html import escape
from typing import Any

from aiohttp import web

from .calls import Call
from .replies import versioned

OPENAPI: web.AppKey[dict[str, Any]] = web.AppKey("openapi")

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>NeuraLib API</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
td {{ padding: .3rem 1rem .3rem 0; vertical-align: top; }} code {{ font-size: .9em; }}
</style>
<h1>NeuraLib API</h1>
<p>The whole description, with every schema and every problem: <a href="/openapi.json">/openapi.json</a>.
The third column is the scope that a key needs.</p>
<table>{rows}</table>
</html>
"""


async def get_openapi(call: Call) -> web.Response:
    document = call.request.app[OPENAPI]
    return versioned(call, 1, document)


async def get_docs(call: Call) -> web.Response:
    rows = "".join(
        f"<tr><td><code>{method.upper()}</code><td><code>{escape(path)}</code>"
        f"<td>{_scope(operation)}<td>{escape(operation['summary'])}"
        for path, operations in call.request.app[OPENAPI]["paths"].items()
        for method, operation in operations.items()
    )
    return web.Response(
        text=_PAGE.format(rows=rows),
        content_type="text/html",
        headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
    )


def _scope(operation: Mapping[str, Any]) -> str:
    """The scope that a key must have, or nothing."""
    return escape(", ".join(scope for way in operation["security"] for scope in way.get("bearer", ())))
