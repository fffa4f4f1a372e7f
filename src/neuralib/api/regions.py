"""Handlers of the regions and markers of assets."""

from aiohttp import web

from neuralib import regions

from .calls import Call
from .replies import versioned
from .schemas.regions import NewRegion, NewRegionSet, Region, RegionPatch, Regions


async def list_regions(call: Call) -> web.Response:
    found = await regions.of_asset(call.services, call.owner, call.id("asset"))
    return versioned(call, found.version, Regions.of(found))


async def replace_regions(call: Call, body: NewRegionSet) -> web.Response:
    asset = call.id("asset")
    before = await regions.of_asset(call.services, call.owner, asset)
    after = await regions.replace_all(
        call.services,
        call.owner,
        asset,
        [item.draft() for item in body.items],
        expected_version=call.expect(before.version),
    )
    return versioned(call, after.version, Regions.of(after))


async def create_region(call: Call, body: NewRegion) -> web.Response:
    asset = call.id("asset")
    region = await regions.create(
        call.services, call.owner, asset, body.draft(), id=call.new_id() if call.keyed else None
    )
    location = {"Location": f"/api/v1/assets/{asset}/regions/{region.id}"}
    return versioned(call, region.version, Region.of(region), 201, location)


async def get_region(call: Call) -> web.Response:
    region = await regions.get(call.services, call.owner, call.id("asset"), call.id("region"))
    return versioned(call, region.version, Region.of(region))


async def update_region(call: Call, body: RegionPatch) -> web.Response:
    region = await regions.get(call.services, call.owner, call.id("asset"), call.id("region"))
    expected = call.expect(region.version)
    if changes := body.changes():
        region = await regions.update(
            call.services, call.owner, region.asset_id, region.id, changes, expected_version=expected
        )
    return versioned(call, region.version, Region.of(region))


async def delete_region(call: Call) -> web.Response:
    region = await regions.get(call.services, call.owner, call.id("asset"), call.id("region"))
    expected = call.expect(region.version)
    await regions.delete(call.services, call.owner, region.asset_id, region.id, expected_version=expected)
    return web.Response(status=204)
