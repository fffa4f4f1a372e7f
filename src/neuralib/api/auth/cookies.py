"""The session cookie of browsers, whose <audio> and EventSource cannot send a header.

HttpOnly: no script reads it. SameSite=Strict: it comes with requests from our own pages only. Secure, and bound to the
host by its `__Host-` name, everywhere but on this machine, where there is no TLS.
"""

from datetime import UTC, datetime
from urllib.parse import urlsplit

from aiohttp import web

from neuralib.config import LOOPBACK
from neuralib.errors import CrossOrigin

LOCAL = "neuralib"
HOST = "__Host-neuralib"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def read(request: web.Request) -> str | None:
    """The session's secret. Raises CrossOrigin when it comes with a request of somebody else's page."""
    secret = request.cookies.get(_name(request))
    if secret and not is_from_our_page(request):
        raise CrossOrigin("a session is good for this service's own pages")
    return secret or None


def give(request: web.Request, response: web.StreamResponse, secret: str, expires_at: datetime) -> None:
    """Have the browser keep the session."""
    left = max(1, int((expires_at - datetime.now(UTC)).total_seconds()))
    name = _name(request)
    response.set_cookie(
        name, secret, path="/", max_age=left, httponly=True, secure=name == HOST, samesite="Strict"
    )


def take_back(request: web.Request, response: web.StreamResponse) -> None:
    """Have the browser forget it."""
    name = _name(request)
    response.del_cookie(name, path="/", httponly=True, secure=name == HOST, samesite="Strict")


def is_from_our_page(request: web.Request) -> bool:
    """Whether a page of this very origin sent it. Browsers say where a request comes from; where an old one says
    nothing, only reading is let through, whose answer no other page can see.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin" or (site == "none" and request.method in SAFE)
    origin = request.headers.get("Origin")
    if origin is not None:
        return is_own_origin(request, origin)
    return request.method in SAFE


def is_own_origin(request: web.Request, origin: str) -> bool:
    """Whether an `Origin` is where the request was sent to. What cannot be read as one is not."""
    try:
        return urlsplit(origin).netloc == request.host
    except ValueError:
        return False


def host_of(request: web.Request) -> str:
    """The name that the request was sent to, without its port."""
    try:
        return (urlsplit(f"//{request.host}").hostname or "").lower()
    except ValueError:
        return ""


def _name(request: web.Request) -> str:
    return LOCAL if host_of(request) in LOOPBACK else HOST
