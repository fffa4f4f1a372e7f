"""Libraries over HTTP: a real server, real PostgreSQL."""

import asyncio
from uuid import uuid4

import pytest

from api_client import Api
from neuralib.entities import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_library_is_made_read_changed_and_deleted(api: Api) -> None:
    made = await api.post("/libraries", {"name": "  Émile's  ", "color": "#aabbcc"})
    assert made.status == 201
    where = made.headers["Location"]
    assert made.json["name"] == "Émile's"
    assert (await api.get(where)).json == made.json
    changed = await api.call("PATCH", where, json={"name": "Other", "color": None})
    assert (changed.json["name"], changed.json["color"], changed.json["version"]) == ("Other", None, 2)
    assert (await api.call("DELETE", where)).status == 204
    assert (await api.get(where)).code == "not-found"


async def test_a_patch_takes_the_merge_patch_media_type_and_leaves_the_rest(api: Api) -> None:
    library = await api.library(description="words", color="#123456")
    headers = {"Content-Type": "application/merge-patch+json"}
    got = await api.call(
        "PATCH", f"/libraries/{library['id']}", data=b'{"description": null}', headers=headers
    )
    assert (got.json["description"], got.json["color"], got.json["name"]) == ("", "#123456", "Tests")


async def test_an_empty_patch_changes_nothing(api: Api) -> None:
    library = await api.library()
    assert (await api.call("PATCH", f"/libraries/{library['id']}", json={})).json == library


async def test_who_read_an_old_version_may_not_overwrite_a_new_one(api: Api) -> None:
    made = await api.post("/libraries", {"name": "One"})
    where, first = made.headers["Location"], made.headers["ETag"]
    await api.call("PATCH", where, json={"name": "Two"}, headers={"If-Match": first})
    stale = await api.call("PATCH", where, json={"name": "Three"}, headers={"If-Match": first})
    assert (stale.status, stale.code) == (412, "precondition-failed")
    assert (await api.call("DELETE", where, headers={"If-Match": first})).status == 412
    assert (await api.get(where)).json["name"] == "Two"
    assert (await api.call("DELETE", where, headers={"If-Match": "*"})).status == 204


async def test_of_many_changes_at_once_none_undoes_another(api: Api) -> None:
    where = f"/libraries/{(await api.library())['id']}"
    changes = [{"name": "New"}, {"description": "new"}, {"color": "#ffffff"}]
    await asyncio.gather(*(api.call("PATCH", where, json=change) for change in changes))
    library = (await api.get(where)).json
    assert (library["name"], library["description"], library["color"]) == ("New", "new", "#ffffff")


async def test_what_a_client_has_already_is_not_sent_again(api: Api) -> None:
    made = await api.post("/libraries", {"name": "One"})
    same = {"If-None-Match": f'"x", W/{made.headers["ETag"]}'}
    got = await api.get(made.headers["Location"], headers=same)
    assert (got.status, got.content) == (304, b"")
    await api.call("PATCH", made.headers["Location"], json={"name": "Two"})
    assert (await api.get(made.headers["Location"], headers=same)).status == 200


async def test_pages_follow_each_other_newest_first(api: Api) -> None:
    made = [(await api.library(name=f"Library {i}"))["id"] for i in range(5)]
    path, seen = "/api/v1/libraries?limit=2", []
    while path:
        got = await api.get(path)
        seen += [item["id"] for item in got.json["items"]]
        link = got.headers.get("Link", "")
        assert (got.json["next_cursor"] is None) == (link == "")
        path = link.partition(">")[0].removeprefix("<")
    assert seen == made[::-1]


@pytest.mark.parametrize("cursor", ["", "x", "AQ", "%00", "AZ" * 12, "ä", "A" * 500])
async def test_a_cursor_that_is_not_ours_is_refused(api: Api, cursor: str) -> None:
    got = await api.get(f"/libraries?cursor={cursor}")
    assert got.status == 400
    assert got.code in {"invalid-cursor", "invalid-parameter"}


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limt=5", "limit=1&limit=2", "q=song"])
async def test_a_parameter_that_is_unknown_or_wrong_is_named(api: Api, query: str) -> None:
    got = await api.get(f"/libraries?{query}")
    assert (got.status, got.code) == (400, "invalid-parameter")
    assert got.json["errors"][0]["pointer"] == f"/query/{query.partition('=')[0]}"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "   "}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"name": 7}, "/name"),
        ({"name": "a\u202eb"}, "/name"),
        ({"name": "x", "color": "red"}, "/color"),
        ({"name": "x", "description": "x" * 4001}, "/description"),
        ({"name": "x", "nom/e~": 1}, "/nom~1e~0"),
    ],
)
async def test_a_wrong_field_is_named_by_its_pointer(api: Api, body: dict[str, object], pointer: str) -> None:
    got = await api.post("/libraries", body)
    assert (got.status, got.code) == (422, "validation-failed")
    assert [each["pointer"] for each in got.json["errors"]] == [pointer]


@pytest.mark.parametrize(
    "id_", [str(uuid4()), str(new_id()), "x", "0", "..%2F..%2Fetc%2Fpasswd", "%00", "{}"]
)
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_id_that_names_nothing_is_not_found(api: Api, method: str, id_: str) -> None:
    body = {"json": {"name": "x"}} if method == "PATCH" else {}
    got = await api.call(method, f"/libraries/{id_}", **body)
    assert (got.status, got.code) == (404, "not-found")
