"""GET /assets/{asset}/onsets: where a slicer may cut, before anything is cut."""

from aiohttp import web

from neuralib import assets, renditions

from .calls import Call
from .peaks import FOR_EVER, rendering
from .replies import has_tag


async def get_onsets(call: Call) -> web.Response:
    """Raises NotFound, NotAudio, AssetEvicted, DecodeFailed, StorageUnavailable, TooBusy."""
    asset = await assets.get(call.services, call.owner, call.id("asset"))
    headers = {"ETag": f'"{asset.blob.sha256}-{renditions.ONSETS}"', "Cache-Control": FOR_EVER}
    if has_tag(call.request.headers.get("If-None-Match"), headers["ETag"]):
        return web.Response(status=304, headers=headers)
    found = await renditions.onsets(call.services, asset)
    if found is None:
        return rendering()
    return web.Response(body=found, content_type="application/json", headers=headers)
