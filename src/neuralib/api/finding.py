"""Handlers of lists of assets, and of tags."""

from aiohttp import web

from neuralib import finding
from neuralib.finding import Search

from .calls import Call
from .cursors import decode_place, encode_place
from .replies import page, reply
from .schemas.assets import Asset
from .schemas.finding import AssetsQuery, FindQuery, SuggestQuery, TagList, TagsQuery


async def find_assets(call: Call, query: FindQuery) -> web.Response:
    return await _find(call, query, query.search())


async def list_assets(call: Call, query: AssetsQuery) -> web.Response:
    return await _find(call, query, query.search(call.id("library"), query.view))


async def list_tags(call: Call, query: TagsQuery) -> web.Response:
    return reply(TagList.of(await finding.tags(call.services, call.owner, limit=query.limit)))


async def suggest_tags(call: Call, query: SuggestQuery) -> web.Response:
    return reply(TagList.of(await finding.tags(call.services, call.owner, query.q, query.limit)))


async def _find(call: Call, query: FindQuery, search: Search) -> web.Response:
    found = await finding.find(
        call.services,
        call.owner,
        search,
        after=decode_place(call.owner, search.order, search.words, query.cursor),
        limit=query.limit,
        count=query.count,
        made="made" in query.include,
    )
    cursor = None
    if found.following is not None:
        cursor = encode_place(call.owner, search.order, search.words, found.following)
    more = {} if found.total is None else {"total": found.total}
    shown = [Asset.of(each) for each in found.assets]
    if found.made is not None:
        shown = [
            {**each, "made": found.made.get(asset.id, [])}
            for each, asset in zip(shown, found.assets, strict=True)
        ]
    return page(call, shown, cursor, **more)
