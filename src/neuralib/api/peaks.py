"""GET /assets/{asset}/peaks: the waveform, as audiowaveform writes it."""

import asyncio

from aiohttp import web

from neuralib import assets, renditions
from neuralib.audio.peaks import as_dat, as_json
from neuralib.objects.store import OCTETS

from .calls import Call
from .replies import has_tag, reply
from .schemas.peaks import PeaksQuery

AGAIN_AFTER_S = 2
FOR_EVER = "private, max-age=31536000, immutable"


async def get_peaks(call: Call, query: PeaksQuery) -> web.Response:
    """Raises NotFound, NotAudio, ValidationFailed, StorageUnavailable, TooBusy."""
    asset = await assets.get(call.services, call.owner, call.id("asset"))
    headers = {"ETag": f'"{asset.blob.sha256}-{assets.PEAKS}"', "Cache-Control": FOR_EVER}
    if has_tag(call.request.headers.get("If-None-Match"), headers["ETag"]):
        return web.Response(status=304, headers=headers)
    view = renditions.View(query.level_frames, query.start_s, query.end_s, query.channels)
    found = await renditions.peaks(call.services, asset, view)
    if found is None:
        return rendering()
    write = as_dat if query.format == "bin" else as_json
    body = await asyncio.to_thread(write, found.pairs, found.sample_rate, found.level, int(query.bits))
    media_type = OCTETS if query.format == "bin" else "application/json"
    return web.Response(body=body, content_type=media_type, headers=headers)


def rendering() -> web.Response:
    """It is being made: ask again."""
    headers = {"Retry-After": str(AGAIN_AFTER_S), "Cache-Control": "no-store"}
    return reply({"status": "rendering"}, 202, headers)
