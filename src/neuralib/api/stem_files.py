"""Handler of /assets/{asset}/stem-file."""

from aiohttp import web

from neuralib import stem_files

from .calls import Call
from .jobs import accept
from .schemas.stem_files import NewStemFile


async def make_stem_file(call: Call, body: NewStemFile) -> web.Response:
    track, library = call.id("asset"), body.outputs.library_id
    request = await stem_files.of_track(call.services, call.owner, track, body.codec, library)
    return await accept(call, request, body)
