"""Handlers of assets' rows. Their bytes come in through uploads.py and go out through content.py."""

from uuid import UUID

from aiohttp import web

from neuralib import assets, derivations

from .calls import Call, decode_cursor
from .replies import page, versioned
from .schemas.assets import Asset, AssetsQuery


async def list_assets(call: Call, query: AssetsQuery) -> web.Response:
    found = await assets.page(
        call.services,
        call.owner,
        call.id("library"),
        parent=query.parent_id if isinstance(query.parent_id, UUID) else None,
        tree=query.tree,
        kind=query.kind,
        before=decode_cursor(query.cursor),
        limit=query.limit + 1,
    )
    shown = found[: query.limit]
    return page(call, [Asset.of(each) for each in shown], shown[-1].id if len(found) > len(shown) else None)


async def get_asset(call: Call) -> web.Response:
    asset = await assets.get(call.services, call.owner, call.id("asset"))
    derivation = await derivations.of(call.services, asset)
    return versioned(call, asset.version, Asset.of(asset, derivation))


async def delete_asset(call: Call) -> web.Response:
    asset = await assets.get(call.services, call.owner, call.id("asset"))
    call.expect(asset.version)
    await assets.delete(call.services, call.owner, asset.id)
    return web.Response(status=204)
