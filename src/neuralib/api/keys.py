"""Handlers of /keys and /me."""

from aiohttp import web

from neuralib import identity

from .calls import Call, decode_cursor
from .replies import page, reply
from .schemas.base import PageQuery
from .schemas.keys import Key, Me, NewKey, NewKeyReply


async def get_me(call: Call) -> web.Response:
    owner, usage = await identity.describe(call.services.db, call.owner)
    return reply(Me.of(call.principal, owner, usage, call.services.settings.limits))


async def list_keys(call: Call, query: PageQuery) -> web.Response:
    found = await identity.list_keys(
        call.services.db, call.owner, before=decode_cursor(query.cursor), limit=query.limit + 1
    )
    shown = [key for key, _ in found[: query.limit]]
    return page(call, [Key.of(each) for each in shown], shown[-1].id if len(found) > len(shown) else None)


async def create_key(call: Call, body: NewKey) -> web.Response:
    """A key reaches as far as the one it was made with, and no farther. Raises InsufficientScope, Conflict."""
    call.principal.require(*body.scopes)
    secret, key = await identity.create_key(
        call.services.db, call.owner, name=body.name, scopes=body.scopes, expires_at=body.expires_at
    )
    headers = {"Location": f"/api/v1/keys/{key.id}", "Cache-Control": "no-store"}
    return reply(NewKeyReply.of_secret(secret, key), 201, headers)


async def delete_key(call: Call) -> web.Response:
    await identity.revoke_key(call.services.db, call.id("key"), call.owner)
    return web.Response(status=204)
