"""Handler of changes to many assets at once."""

from aiohttp import web

from neuralib import bulk
from neuralib.bulk import Said

from .calls import Call
from .replies import reply
from .schemas.bulk import BulkChange


async def change_assets(call: Call, body: BulkChange) -> web.Response:
    services, owner, ids = call.services, call.owner, body.asset_ids
    match body.op:
        case "set":
            said = Said(body.add_tags, body.remove_tags, body.rating, body.favorite, body.color)
            changed = await bulk.say(services, owner, ids, said)
        case "trash":
            changed = await bulk.throw(services, owner, ids)
        case "restore":
            changed = await bulk.restore(services, owner, ids)
        case _:
            assert body.library_id is not None
            carry = bulk.move if body.op == "move" else bulk.copy
            changed = await carry(services, owner, ids, body.library_id)
    return reply({"asset_ids": [str(each) for each in changed]})
