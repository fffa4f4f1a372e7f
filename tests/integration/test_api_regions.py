"""Regions and markers over HTTP: a set that changes as a whole, and never leaves its recording."""

import asyncio
import io
import wave
from typing import Any
from uuid import UUID, uuid4

import pytest

from api_client import Api
from neuralib.db import events as event_rows
from neuralib.regions import MAX_REGIONS
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 8000
FRAMES = 1600
"""Of the recordings here."""


def noise() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes(uuid4().bytes * (2 * FRAMES // 16))
    return file.getvalue()


async def place(api: Api) -> str:
    return f"/assets/{(await api.asset(noise()))['id']}/regions"


def shape(region: dict[str, Any]) -> tuple[Any, ...]:
    return region["kind"], region["start_s"], region["end_s"], region["name"]


async def test_a_region_is_added_read_changed_and_deleted(api: Api) -> None:
    where = await place(api)
    made = await api.post(where, {"start_s": 0.05, "end_s": 0.1, "name": " Fill ", "tags": ["a", "b", "a"]})
    assert made.status == 201
    one = made.headers["Location"]
    assert (shape(made.json), made.json["tags"]) == (("region", 0.05, 0.1, "Fill"), ["a", "b"])
    assert (await api.get(one)).json == made.json
    changed = await api.call("PATCH", one, json={"kind": "marker", "end_s": None, "color": "#00ff00"})
    assert (shape(changed.json), changed.json["color"]) == (("marker", 0.05, None, "Fill"), "#00ff00")
    assert changed.json["version"] == 2
    assert (await api.call("PATCH", one, json={})).json == changed.json
    assert (await api.call("DELETE", one)).status == 204
    assert (await api.get(one)).code == "not-found"
    assert (await api.get(where)).json["items"] == []


async def test_regions_come_in_order_of_time(api: Api) -> None:
    where = await place(api)
    for start in (0.1, 0.0, 0.05):
        await api.post(where, {"kind": "cue", "start_s": start})
    got = await api.get(where)
    assert [each["start_s"] for each in got.json["items"]] == [0.0, 0.05, 0.1]
    assert got.json["version"] == 3


async def test_a_put_replaces_the_set_and_keeps_the_ids_it_names(api: Api) -> None:
    where = await place(api)
    kept = (await api.post(where, {"start_s": 0, "end_s": 0.1, "name": "kept"})).json
    gone = (await api.post(where, {"start_s": 0, "end_s": 0.1, "name": "gone"})).json
    items = [{"id": kept["id"], "start_s": 0.1, "end_s": 0.2}, {"kind": "marker", "start_s": 0.02}]
    put = await api.call("PUT", where, json={"items": items})
    assert [shape(each) for each in put.json["items"]] == [
        ("marker", 0.02, None, None),
        ("region", 0.1, 0.2, None),
    ]
    assert put.json["items"][1]["id"] == kept["id"]
    assert put.json["items"][1]["created_at"] == kept["created_at"]
    assert (await api.get(where)).json == put.json
    assert (await api.get(f"{where}/{gone['id']}")).status == 404
    assert (await api.call("PUT", where, json={"items": []})).json["items"] == []


async def test_a_put_that_fails_leaves_the_set_as_it_was(api: Api) -> None:
    where = await place(api)
    await api.post(where, {"start_s": 0, "end_s": 0.1})
    before = await api.get(where)
    elsewhere = (await api.post(await place(api), {"start_s": 0, "end_s": 0.1})).json["id"]
    for item, status in (({"start_s": 0.1, "end_s": 9}, 422), ({"id": elsewhere, "start_s": 0, "end_s": 1}, 422),
                         ({"id": elsewhere, "start_s": 0, "end_s": 0.1}, 404)):  # fmt: skip
        got = await api.call("PUT", where, json={"items": [{"start_s": 0, "end_s": 0.2}, item]})
        assert got.status == status
    after = await api.get(where)
    assert (after.json, after.headers["ETag"]) == (before.json, before.headers["ETag"])


async def test_two_regions_of_one_id_are_refused(api: Api) -> None:
    where = await place(api)
    made = (await api.post(where, {"start_s": 0, "end_s": 0.1})).json
    item = {"id": made["id"], "start_s": 0, "end_s": 0.1}
    got = await api.call("PUT", where, json={"items": [item, item]})
    assert (got.status, got.code) == (422, "validation-failed")


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"start_s": 0.1, "end_s": 0.1}, "region-out-of-bounds", "/end_s"),
        ({"start_s": 0.1, "end_s": 0.05}, "region-out-of-bounds", "/end_s"),
        ({"start_s": 0.1, "end_s": 0.1 + 0.4 / RATE}, "region-out-of-bounds", "/end_s"),
        ({"start_s": 0.1, "end_s": 0.2 + 0.6 / RATE}, "region-out-of-bounds", "/end_s"),
        ({"kind": "marker", "start_s": 0.3}, "region-out-of-bounds", "/start_s"),
        ({"kind": "marker", "start_s": 0.1, "end_s": 0.2}, "validation-failed", "/end_s"),
        ({"kind": "loop", "start_s": 0.1}, "validation-failed", "/end_s"),
        ({"start_s": -0.1, "end_s": 0.1}, "validation-failed", "/start_s"),
        ({"start_s": 1e300, "end_s": 1e301}, "validation-failed", "/start_s"),
        ({"start_s": 0, "end_s": 0.1, "kind": "verse"}, "validation-failed", "/kind"),
        ({"start_s": 0, "end_s": 0.1, "name": "a\nb"}, "validation-failed", "/name"),
        ({"start_s": 0, "end_s": 0.1, "name": "x" * 5000}, "validation-failed", "/name"),
        ({"start_s": 0, "end_s": 0.1, "color": "red"}, "validation-failed", "/color"),
        ({"start_s": 0, "end_s": 0.1, "tags": [""]}, "validation-failed", "/tags/0"),
    ],
)
async def test_a_region_without_a_place_names_the_field(
    api: Api, body: dict[str, Any], code: str, pointer: str
) -> None:
    where = await place(api)
    got = await api.post(where, body)
    assert (got.status, got.code) == (422, code)
    assert got.json["errors"][0]["pointer"] == pointer
    got = await api.call("PUT", where, json={"items": [{"start_s": 0, "end_s": 0.1}, body]})
    assert (got.status, got.code) == (422, code)
    assert got.json["errors"][0]["pointer"] == f"/items/1{pointer}"
    assert (await api.get(where)).json["version"] == 0


async def test_a_patch_is_held_to_the_recording_too(api: Api) -> None:
    where = await place(api)
    one = (await api.post(where, {"start_s": 0.1, "end_s": 0.2})).headers["Location"]
    for change in ({"start_s": 0.2}, {"end_s": 0.3}, {"end_s": None}, {"kind": "marker"}, {"start_s": None}):
        assert (await api.call("PATCH", one, json=change)).status == 422, change
    assert shape((await api.get(one)).json) == ("region", 0.1, 0.2, None)


async def test_the_last_sample_belongs_to_the_recording(api: Api) -> None:
    where = await place(api)
    assert (await api.post(where, {"start_s": (FRAMES - 1) / RATE, "end_s": FRAMES / RATE})).status == 201
    assert (await api.post(where, {"kind": "marker", "start_s": FRAMES / RATE})).status == 201


async def test_ten_thousand_regions_are_too_many_and_the_most_are_not(api: Api) -> None:
    where = await place(api)
    marker = {"kind": "marker", "start_s": 0.1}
    got = await api.call("PUT", where, json={"items": [marker] * 10_000})
    assert (got.status, got.code, got.json["errors"][0]["pointer"]) == (422, "validation-failed", "/items")
    got = await api.call("PUT", where, json={"items": [marker] * MAX_REGIONS})
    assert (got.status, len(got.json["items"])) == (200, MAX_REGIONS)
    got = await api.post(where, marker)
    assert (got.status, got.json["errors"][0]["code"]) == (422, "too_many")


async def test_who_read_an_old_set_may_not_overwrite_a_new_one(api: Api) -> None:
    where = await place(api)
    one = await api.post(where, {"start_s": 0, "end_s": 0.1})
    old = (await api.get(where)).headers["ETag"]
    assert (await api.get(where, headers={"If-None-Match": old})).status == 304
    moved = {"json": {"start_s": 0.01}, "headers": {"If-Match": one.headers["ETag"]}}
    assert (await api.call("PATCH", one.headers["Location"], **moved)).status == 200
    assert (await api.call("PATCH", one.headers["Location"], **moved)).code == "precondition-failed"
    stale = {"headers": {"If-Match": one.headers["ETag"]}}
    assert (await api.call("DELETE", one.headers["Location"], **stale)).status == 412
    got = await api.call("PUT", where, json={"items": []}, headers={"If-Match": old})
    assert (got.status, got.code) == (412, "precondition-failed")
    new = (await api.get(where)).headers["ETag"]
    assert (await api.call("PUT", where, json={"items": []}, headers={"If-Match": new})).status == 200


async def test_of_two_puts_at_once_that_saw_the_same_set_one_wins(api: Api) -> None:
    where = await place(api)
    tag = (await api.get(where)).headers["ETag"]
    puts = [{"items": [{"kind": "cue", "start_s": n / 100}]} for n in range(5)]
    got = await asyncio.gather(*(api.call("PUT", where, json=put, headers={"If-Match": tag}) for put in puts))
    assert sorted(each.status for each in got) == [200, 412, 412, 412, 412]
    assert (await api.get(where)).json["version"] == 1


async def test_every_change_is_a_durable_event(api: Api, services: Services, owner: UUID) -> None:
    where = await place(api)
    made = await api.post(where, {"start_s": 0, "end_s": 0.1})
    await api.call("PATCH", made.headers["Location"], json={"name": "x"})
    await api.call("PUT", where, json={"items": []})
    async with services.db.statements() as db:
        events = [e.data for e in await event_rows.after(db, owner, 0) if e.type == "region.changed"]
    told = [(each["change"], each["region_id"], each["version"]) for each in events]
    id_ = made.json["id"]
    assert told == [("created", id_, 1), ("updated", id_, 2), ("replaced", None, 3)]
    assert {each["asset_id"] for each in events} == {made.json["asset_id"]}


async def test_a_post_sent_again_adds_nothing(api: Api) -> None:
    where = await place(api)
    options = {"headers": {"Idempotency-Key": str(uuid4())}}
    first, again = [await api.post(where, {"kind": "cue", "start_s": 0.1}, **options) for _ in range(2)]
    assert first.json == again.json
    assert len((await api.get(where)).json["items"]) == 1


async def test_regions_leave_with_their_asset(api: Api) -> None:
    where = await place(api)
    await api.post(where, {"start_s": 0, "end_s": 0.1})
    assert (await api.call("DELETE", where.removesuffix("/regions"))).status == 204
    assert (await api.get(where)).code == "not-found"
