"""Owners, keys and sessions."""

from neuralib import errors
from neuralib.api import keys, sessions
from neuralib.api.schemas.base import PageQuery
from neuralib.api.schemas.keys import KeyPage, Me, NewKey, NewKeyReply, Session
from neuralib.entities import Scope

from .route import GONE, V1, Route, json_of

ROUTES: tuple[Route, ...] = (
    Route(
        "get_me",
        "GET",
        f"{V1}/me",
        keys.get_me,
        "Who you are here, what your credentials reach, your limits and what you use.",
        {200: json_of(Me)},
        scope=Scope.READ,
    ),
    Route(
        "list_keys",
        "GET",
        f"{V1}/keys",
        keys.list_keys,
        "Your keys, newest first; the secrets cannot be read again.",
        {200: json_of(KeyPage, "A page.", "Link")},
        query=PageQuery,
        problems=(errors.InvalidCursor,),
        scope=Scope.ADMIN,
    ),
    Route(
        "create_key",
        "POST",
        f"{V1}/keys",
        keys.create_key,
        "Make a key. It reaches no farther than the one that made it, and is shown this once.",
        {201: json_of(NewKeyReply, "Made: keep `key`.", "Location")},
        body=NewKey,
        problems=(errors.Conflict,),
        scope=Scope.ADMIN,
    ),
    Route(
        "delete_key",
        "DELETE",
        f"{V1}/keys/{{key}}",
        keys.delete_key,
        "Revoke a key: it opens nothing any more, and streams opened with it end within seconds.",
        {204: GONE},
        scope=Scope.ADMIN,
    ),
    Route(
        "create_session",
        "POST",
        f"{V1}/session",
        sessions.create_session,
        "Trade the key or token of this request for a session cookie: for <audio> and EventSource in browsers.",
        {201: json_of(Session, "The cookie is set.", "Set-Cookie")},
        problems=(errors.Conflict,),
        scope=Scope.READ,
    ),
    Route(
        "delete_session",
        "DELETE",
        f"{V1}/session",
        sessions.delete_session,
        "End the session of the cookie.",
        {204: GONE},
        scope=Scope.READ,
    ),
)
