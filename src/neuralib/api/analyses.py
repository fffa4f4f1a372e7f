"""Handler of what an analysis found."""

from aiohttp import web

from neuralib import analyses

from .calls import Call
from .replies import versioned


async def get_analysis(call: Call) -> web.Response:
    file, found = await analyses.get(call.services, call.owner, call.id("asset"))
    return versioned(call, file.version, found.model_dump(mode="json"))
