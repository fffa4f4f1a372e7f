"""Handlers of /session: a browser trades its key or token for a cookie, and gives it back."""

from aiohttp import web

from neuralib import identity
from neuralib.errors import Conflict

from .auth import cookies
from .calls import Call
from .replies import reply
from .schemas.keys import Session


async def create_session(call: Call) -> web.Response:
    """It reaches as far as what it was made from, and ends with it. Raises Conflict."""
    principal, auth = call.principal, call.services.settings.auth
    if principal.by in {"nothing", "session"}:
        raise Conflict("a session is made from a key or a token, and this request carries none")
    secret, session = await identity.create_session(
        call.services.db,
        call.owner,
        parent=principal.credential,
        scopes=principal.scopes,
        lasts_s=auth.session_s,
        expires_at=principal.expires_at,
        pepper=auth.pepper,
    )
    assert session.expires_at is not None
    response = reply(Session.of(session), 201, {"Cache-Control": "no-store"})
    cookies.give(call.request, response, secret, session.expires_at)
    return response


async def delete_session(call: Call) -> web.Response:
    """The session of the cookie, when that is what the request came with; the cookie in any case."""
    if call.principal.by == "session" and call.principal.credential is not None:
        await identity.end_session(call.services.db, call.principal.credential)
    response = web.Response(status=204)
    cookies.take_back(call.request, response)
    return response
