"""Many assets at once over HTTP: all of them or none."""

from typing import Any
from uuid import UUID, uuid4

import pytest

import shelf
from api_client import Api, Got
from neuralib import jobs
from neuralib.services import Services
from shelf import tone

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def bulk(api: Api, op: str, ids: list[str], **more: Any) -> Got:
    return await api.post("/assets/bulk", {"asset_ids": ids, "op": op, **more})


async def read(api: Api, asset: str) -> Any:
    return (await api.get(f"/assets/{asset}")).json


async def family(api: Api, services: Services, owner: UUID) -> tuple[str, str, str]:
    """A library with a track in it and a stem of that."""
    library = (await api.library())["id"]
    track = (await api.upload(library, tone())).json["items"][0]["asset"]["id"]
    stem = await shelf.put(
        services, owner, UUID(library), name="stem", role="stem", stem="bass", parent_id=UUID(track), rating=2
    )
    return library, track, str(stem)


async def test_what_is_said_is_said_of_all(api: Api, services: Services, owner: UUID) -> None:
    _, one, two = await family(api, services, owner)
    await api.call("PATCH", f"/assets/{one}", json={"tags": ["a", "b"], "notes": "n"})
    got = await bulk(api, "set", [one, two], add_tags=["c", "A"], remove_tags=["b"], rating=5, favorite=True)
    assert got.json == {"asset_ids": [one, two]}
    first, second = await read(api, one), await read(api, two)
    assert (first["tags"], first["rating"], first["favorite"], first["notes"]) == (["a", "c"], 5, True, "n")
    assert (second["tags"], second["rating"], second["version"]) == (["c", "a"], 5, 2)


async def test_a_strange_id_among_them_and_nothing_changes(api: Api, services: Services, owner: UUID) -> None:
    library, one, two = await family(api, services, owner)
    before = await read(api, one)
    for op, more in {
        "set": {"rating": 1},
        "trash": {},
        "restore": {},
        "move": {"library_id": library},
    }.items():
        got = await bulk(api, op, [one, str(uuid4()), two], **more)
        assert (got.status, got.code) == (404, "not-found"), op
    assert (await bulk(api, "copy", [one], library_id=str(uuid4()))).status == 404
    assert await read(api, one) == before
    many = [str(n) for n in range(64)]
    await api.call("PATCH", f"/assets/{two}", json={"tags": many})
    got = await bulk(api, "set", [one, two], add_tags=["one too many"])
    assert (got.status, got.json["errors"][0]["pointer"]) == (422, "/add_tags")
    assert await read(api, one) == before


async def test_a_tree_moves_whole_and_what_leaves_its_parent_becomes_a_root(
    api: Api, services: Services, owner: UUID
) -> None:
    here, track, stem = await family(api, services, owner)
    there = (await api.library())["id"]
    await bulk(api, "move", [track], library_id=there)
    assert [(await read(api, each))["library_id"] for each in (track, stem)] == [there, there]
    assert (await read(api, stem))["parent_id"] == track
    assert [(await api.get(f"/libraries/{each}")).json["asset_count"] for each in (here, there)] == [0, 2]
    await bulk(api, "move", [stem], library_id=here)
    assert (await read(api, stem))["parent_id"] is None
    assert (await api.get(f"/assets/{track}/content")).content == tone()
    view = await jobs.submit(services, owner, jobs.JobRequest(UUID(track), model="echo"))
    assert (await bulk(api, "move", [track], library_id=here)).code == "asset-in-use"
    assert (await bulk(api, "trash", [stem, track])).code == "asset-in-use"
    assert (await read(api, stem))["trashed_at"] is None
    await jobs.cancel(services, owner, view.job.id)


async def test_a_copy_is_a_tree_of_its_own_over_the_same_bytes(
    api: Api, services: Services, owner: UUID
) -> None:
    here, track, stem = await family(api, services, owner)
    there = (await api.library())["id"]
    await api.call("PATCH", f"/assets/{track}", json={"tags": ["t"], "notes": "n"})
    await api.post(f"/assets/{track}/regions", {"kind": "marker", "start_s": 0.1})
    usage = (await api.get("/me")).json["usage"]["storage_bytes"]
    (copied,) = (await bulk(api, "copy", [track], library_id=there)).json["asset_ids"]
    assert (await api.get("/me")).json["usage"]["storage_bytes"] == usage
    copy, original = await read(api, copied), await read(api, track)
    assert (copy["tags"], copy["notes"], copy["blob"]) == (["t"], "n", original["blob"])
    assert copy["facts"]["copied_from"] == track
    (child,) = (await api.get(f"/libraries/{there}/assets?parent_id={copied}")).json["items"]
    assert (child["name"], child["stem"], child["rating"]) == ("stem", "bass", 2)
    assert len((await api.get(f"/assets/{copied}/regions")).json["items"]) == 1
    await api.call("DELETE", f"/libraries/{here}?purge=true")
    assert (await api.get(f"/assets/{copied}/content")).content == tone()
    assert (await api.get(f"/assets/{stem}")).status == 404


async def test_many_go_to_the_trash_and_come_back(api: Api, services: Services, owner: UUID) -> None:
    _, track, stem = await family(api, services, owner)
    other = (await api.asset(tone(0.3)))["id"]
    assert (await bulk(api, "trash", [other, track, stem])).status == 200
    assert (await api.get("/assets")).json["items"] == []
    assert (await bulk(api, "restore", [other, stem])).code == "conflict"
    assert (await api.get("/assets")).json["items"] == []
    assert (await bulk(api, "restore", [other, track, stem])).status == 200
    assert len((await api.get("/assets")).json["items"]) == 3


@pytest.mark.parametrize(
    "body",
    [
        {"op": "set", "asset_ids": []},
        {"op": "set", "asset_ids": [str(uuid4())]},
        {"op": "set", "asset_ids": [str(uuid4())] * 501, "rating": 1},
        {"op": "move", "asset_ids": [str(uuid4())]},
        {"op": "trash", "asset_ids": [str(uuid4())], "rating": 1},
        {"op": "trash", "asset_ids": [str(uuid4())], "library_id": str(uuid4())},
        {"op": "explode", "asset_ids": [str(uuid4())]},
        {"op": "trash", "asset_ids": ["x"]},
    ],
)
async def test_what_makes_no_sense_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert (await api.post("/assets/bulk", body)).code == "validation-failed"
