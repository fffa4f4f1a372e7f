"""Handlers of assets' rows. Their bytes come in through uploads.py and go out through content.py."""

from typing import cast

from aiohttp import web

from neuralib import assets, derivations, organising, trash
from neuralib.organising import AssetChanges

from .calls import Call
from .replies import versioned
from .schemas.assets import Asset, AssetPatch
from .schemas.trash import DeleteQuery


async def get_asset(call: Call) -> web.Response:
    asset = await assets.get(call.services, call.owner, call.id("asset"))
    derivation = await derivations.of(call.services, asset)
    return versioned(call, asset.version, Asset.of(asset, derivation))


async def update_asset(call: Call, body: AssetPatch) -> web.Response:
    asset = await assets.get(call.services, call.owner, call.id("asset"))
    expected = call.expect(asset.version)
    asset = await organising.update(
        call.services, call.owner, asset.id, _changes(body), expected_version=expected
    )
    derivation = await derivations.of(call.services, asset)
    return versioned(call, asset.version, Asset.of(asset, derivation))


def _changes(patch: AssetPatch) -> AssetChanges:
    given = patch.model_dump(include=patch.model_fields_set)
    cleared: AssetChanges = {"tags": [], "favorite": False, "notes": "", "metadata": None}
    return cast(
        "AssetChanges",
        {name: cleared.get(name) if value is None else value for name, value in given.items()},
    )


async def delete_asset(call: Call, query: DeleteQuery) -> web.Response:
    asset = await assets.get(call.services, call.owner, call.id("asset"), trashed=query.purge)
    expected = call.expect(asset.version)
    delete = assets.delete if query.purge else trash.throw_asset
    await delete(call.services, call.owner, asset.id, expected_version=expected)
    return web.Response(status=204)
