"""Pages of other origins: only those that server.origins names, with a bearer and never with a cookie."""

from collections.abc import Sequence

from aiohttp import web

METHODS = "GET, HEAD, POST, PATCH, PUT, DELETE"
REQUEST_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Last-Event-ID, Prefer, "
    "Range, X-Request-ID"
)
REPLY_HEADERS = (
    "Accept-Ranges, Content-Disposition, Content-Range, ETag, Idempotent-Replayed, Link, Location, "
    "Preference-Applied, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Request-ID"
)
PREFLIGHT_S = "600"


def is_allowed(request: web.Request, origins: Sequence[str]) -> bool:
    """Whether the page that sent the request may."""
    return request.headers.get("Origin") in origins


def is_preflight(request: web.Request) -> bool:
    """Whether a browser only asks what it may send."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def preflight() -> web.Response:
    """What an allowed page may send."""
    headers = {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": REQUEST_HEADERS,
        "Access-Control-Max-Age": PREFLIGHT_S,
    }
    return web.Response(status=204, headers=headers)


def add_headers(request: web.Request, response: web.StreamResponse, origins: Sequence[str]) -> None:
    """On every reply. No Access-Control-Allow-Credentials: a cookie never works across origins."""
    if not origins:
        return
    response.headers.add("Vary", "Origin")
    if is_allowed(request, origins):
        response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response.headers["Access-Control-Expose-Headers"] = REPLY_HEADERS
