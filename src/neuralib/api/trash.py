"""Handlers of the trash."""

from datetime import datetime, timedelta

from aiohttp import web

from neuralib import trash
from neuralib.db.finding import Key, Place

from .calls import Call
from .cursors import decode_place, encode_place
from .replies import page, reply, versioned
from .schemas.assets import Asset
from .schemas.base import PageQuery
from .schemas.libraries import Library
from .schemas.trash import TrashItem

_ORDER = (Key("created_at", descending=True),)


async def list_trash(call: Call, query: PageQuery) -> web.Response:
    place = decode_place(call.owner, _ORDER, "trash", query.cursor)
    after = None
    if place is not None:
        (at,) = place.values
        assert isinstance(at, datetime)
        after = (at, place.id)
    found = await trash.page(call.services, call.owner, after, query.limit + 1)
    shown = found[: query.limit]
    cursor = None
    if len(found) > len(shown):
        cursor = encode_place(call.owner, _ORDER, "trash", Place((shown[-1].trashed_at,), shown[-1].id))
    kept = timedelta(days=call.services.settings.storage.trash_days)
    return page(call, [TrashItem.of(each, kept) for each in shown], cursor)


async def empty_trash(call: Call) -> web.Response:
    return reply({"purged": await trash.empty(call.services, call.owner)})


async def restore_asset(call: Call) -> web.Response:
    asset = await trash.restore_asset(call.services, call.owner, call.id("asset"))
    return versioned(call, asset.version, Asset.of(asset))


async def restore_library(call: Call) -> web.Response:
    library = await trash.restore_library(call.services, call.owner, call.id("library"))
    return versioned(call, library.version, Library.of(library))
