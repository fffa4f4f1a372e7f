"""What people say of their assets, over HTTP."""

import asyncio
import math
from typing import Any
from uuid import UUID

import pytest

from api_client import Api
from neuralib.services import Services
from shelf import tone

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAV = tone()


async def patch(api: Api, asset: str, changes: dict[str, Any], **options: Any) -> Any:
    return await api.call("PATCH", f"/assets/{asset}", json=changes, **options)


async def test_what_is_said_of_an_asset_is_kept_and_told(api: Api, services: Services, owner: UUID) -> None:
    asset = await api.asset(WAV)
    said = {
        "name": "Night 🌙 drive",
        "tags": ["Dusty", "lo-fi", "dusty "],
        "rating": 4,
        "favorite": True,
        "color": "#aabbcc",
        "notes": "first take\nkeep",
        "role": "sample",
        "metadata": {"artist": "Å", "bpm": {"given": 90}},
    }
    got = await patch(api, asset["id"], said)
    assert got.status == 200, got.content
    want = {**said, "tags": ["dusty", "lo-fi"], "version": 2}
    assert {name: got.json[name] for name in want} == want
    assert (await api.get(f"/assets/{asset['id']}")).json == got.json
    async with services.db.statements() as db:
        told = await db.raw.fetchval(
            "select data from events where owner_id = $1 and type = 'asset.updated'", owner
        )
    assert (told["asset_id"], told["version"]) == (asset["id"], 2)
    assert set(told["changed"]) == set(said)


async def test_metadata_is_merged_and_null_clears(api: Api) -> None:
    asset = (await api.asset(WAV))["id"]
    await patch(api, asset, {"metadata": {"artist": "A", "album": {"name": "B", "year": 1}}, "rating": 3})
    got = await patch(api, asset, {"metadata": {"artist": None, "album": {"year": 2}}})
    assert got.json["metadata"] == {"album": {"name": "B", "year": 2}}
    got = await patch(
        api, asset, {"metadata": None, "rating": None, "tags": None, "favorite": None, "notes": None}
    )
    assert (got.json["metadata"], got.json["rating"], got.json["tags"], got.json["favorite"]) == (
        {},
        None,
        [],
        False,
    )


async def test_what_changes_nothing_is_no_new_version(api: Api) -> None:
    asset = await api.asset(WAV)
    assert (await patch(api, asset["id"], {"name": asset["name"], "rating": None})).json == asset


async def test_an_asset_that_changed_meanwhile_is_not_overwritten(api: Api) -> None:
    asset = await api.asset(WAV)
    tag = (await api.get(f"/assets/{asset['id']}")).headers["ETag"]
    got = await patch(api, asset["id"], {"rating": 1}, headers={"If-Match": tag})
    assert got.headers["ETag"] != tag
    assert (await patch(api, asset["id"], {"rating": 2}, headers={"If-Match": tag})).status == 412
    changes = [{"rating": 5}, {"tags": ["a"]}, {"notes": "n"}, {"metadata": {"x": 1}}, {"metadata": {"y": 2}}]
    await asyncio.gather(*(patch(api, asset["id"], change) for change in changes))
    after = (await api.get(f"/assets/{asset['id']}")).json
    assert (after["rating"], after["tags"], after["notes"], after["metadata"]) == (
        5,
        ["a"],
        "n",
        {"x": 1, "y": 2},
    )


async def test_a_stem_is_named_only_where_there_is_one(api: Api) -> None:
    asset = (await api.asset(WAV))["id"]
    got = await patch(api, asset, {"stem": "bass"})
    assert (got.status, got.json["errors"][0]["pointer"]) == (422, "/stem")
    assert (await patch(api, asset, {"role": "stem", "stem": "bass"})).json["stem"] == "bass"
    assert (await patch(api, asset, {"role": "mix"})).json["stem"] is None


@pytest.mark.parametrize("name", ["../../etc/passwd", "שיר לילה", "👍🏽 take", "a/b\\c", "x" * 200])
async def test_a_name_may_be_anything_that_can_be_shown(api: Api, name: str) -> None:
    asset = (await api.asset(WAV))["id"]
    assert (await patch(api, asset, {"name": name})).json["name"] == name
    saved = await api.get(f"/assets/{asset}/content?download=1")
    head = saved.headers["Content-Disposition"].partition("filename*")[0]
    assert "/" not in head
    assert "\\" not in head


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": None}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "a\u202eb"}, "/name"),
        ({"name": "x" * 5000}, "/name"),
        ({"tags": ["a,b"]}, "/tags/0"),
        ({"tags": [" "]}, "/tags/0"),
        ({"tags": ["a\u200bb"]}, "/tags/0"),
        ({"tags": ["x" * 65]}, "/tags/0"),
        ({"tags": [str(n) for n in range(65)]}, "/tags"),
        ({"tags": "a"}, "/tags"),
        ({"rating": 6}, "/rating"),
        ({"rating": -1}, "/rating"),
        ({"rating": 2.5}, "/rating"),
        ({"rating": True}, "/rating"),
        ({"favorite": "yes"}, "/favorite"),
        ({"color": "red"}, "/color"),
        ({"notes": "x" * 10_001}, "/notes"),
        ({"role": "transcript"}, "/role"),
        ({"stem": "Bass Line"}, "/stem"),
        ({"metadata": []}, "/metadata"),
        ({"metadata": {"x": "y" * 20_000}}, "/metadata"),
        ({"library": "x"}, "/library"),
    ],
)
async def test_a_field_that_is_wrong_is_named(api: Api, body: dict[str, Any], pointer: str) -> None:
    got = await patch(api, (await api.asset(WAV))["id"], body)
    assert (got.status, got.code) == (422, "validation-failed"), got.content
    assert [each["pointer"] for each in got.json["errors"]] == [pointer]


@pytest.mark.parametrize(
    "body", [b'{"name": "a\\u0000b"}', b'{"notes": "\\ud800"}', b'{"metadata": {"x": NaN}}']
)
async def test_text_that_cannot_be_kept_is_refused(api: Api, body: bytes) -> None:
    asset = (await api.asset(WAV))["id"]
    got = await api.call(
        "PATCH", f"/assets/{asset}", data=body, headers={"Content-Type": "application/merge-patch+json"}
    )
    assert (got.status, got.code) == (400, "invalid-json")


async def test_what_a_library_holds_is_told_without_counting(api: Api) -> None:
    library = (await api.library())["id"]
    sizes = []
    for n in range(3):
        audio = tone(0.1 * (n + 1))
        sizes.append(len(audio))
        asset = (await api.upload(library, audio)).json["items"][0]["asset"]["id"]
    told = (await api.get(f"/libraries/{library}")).json
    assert (told["asset_count"], told["bytes"]) == (3, sum(sizes))
    assert math.isclose(told["duration_s"], 0.6)
    await api.call("DELETE", f"/assets/{asset}")
    told = (await api.get(f"/libraries/{library}")).json
    assert (told["asset_count"], told["bytes"], told["duration_s"]) == (2, sum(sizes[:2]), 0.3)
