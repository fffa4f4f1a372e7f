"""Handler of /assets/{asset}/mix."""

from aiohttp import web

from neuralib import mixes
from neuralib.mixes import Levels

from .calls import Call
from .jobs import accept
from .schemas.mixes import NewMix


async def mix_asset(call: Call, body: NewMix) -> web.Response:
    levels = Levels(body.gains_db, body.normalize, body.name)
    request = await mixes.of_stems(call.services, call.owner, call.id("asset"), levels)
    return await accept(call, request, body)
