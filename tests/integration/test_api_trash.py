"""The trash over HTTP: what goes along, what comes back, what stays gone."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

import shelf
from api_client import Api
from neuralib import assets, jobs, libraries, trash
from neuralib.services import Services
from shelf import tone

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def family(api: Api, services: Services, owner: UUID) -> dict[str, str]:
    """A track, a stem of it and a slice of that, in a library."""
    library = (await api.library())["id"]
    found = {"library": library, "track": (await api.upload(library, tone())).json["items"][0]["asset"]["id"]}
    for name, parent in (("stem", "track"), ("slice", "stem")):
        made = await shelf.put(services, owner, UUID(library), name=name, parent_id=UUID(found[parent]))
        found[name] = str(made)
    return found


async def listed(api: Api) -> set[str]:
    return {item["id"] for item in (await api.get("/assets")).json["items"]}


async def thrown(api: Api) -> list[tuple[str, int]]:
    return [(item["id"], item["assets"]) for item in (await api.get("/trash")).json["items"]]


async def test_an_asset_goes_with_what_was_made_from_it_and_comes_back_so(
    api: Api, services: Services, owner: UUID
) -> None:
    song = await family(api, services, owner)
    before = (await api.get(f"/libraries/{song['library']}")).json
    assert (await api.call("DELETE", f"/assets/{song['track']}")).status == 204
    assert await listed(api) == set()
    for name in ("track", "stem", "slice"):
        for path in ("", "/content"):
            assert (await api.get(f"/assets/{song[name]}{path}")).status == 404
    assert (await api.get(f"/libraries/{song['library']}")).json["asset_count"] == 0
    assert await thrown(api) == [(song["track"], 3)]
    assert (await api.post(f"/assets/{song['stem']}/restore")).code == "conflict"
    back = await api.post(f"/assets/{song['track']}/restore")
    assert (back.status, back.json["trashed_at"]) == (200, None)
    assert await listed(api) == {song["track"], song["stem"], song["slice"]}
    assert (await api.get(f"/libraries/{song['library']}")).json == before
    assert (await api.get(f"/assets/{song['track']}/content")).content == tone()
    assert await thrown(api) == []
    assert (await api.post(f"/assets/{song['track']}/restore")).json == back.json  # and once more


async def test_what_was_thrown_away_before_does_not_come_back_with_the_rest(
    api: Api, services: Services, owner: UUID
) -> None:
    song = await family(api, services, owner)
    await api.call("DELETE", f"/assets/{song['stem']}")
    await api.call("DELETE", f"/libraries/{song['library']}")
    assert await thrown(api) == [(song["library"], 1), (song["stem"], 2)]
    assert (await api.get(f"/libraries/{song['library']}")).status == 404
    assert (await api.upload(song["library"], tone())).status == 404
    assert (await api.post(f"/assets/{song['stem']}/restore")).code == "conflict"
    assert (await api.post(f"/libraries/{song['library']}/restore")).json["asset_count"] == 1
    assert await listed(api) == {song["track"]}
    assert (await api.post(f"/assets/{song['stem']}/restore")).status == 200
    assert await listed(api) == {song["track"], song["stem"], song["slice"]}


async def test_an_emptied_trash_leaves_neither_rows_nor_bytes(
    api: Api, services: Services, owner: UUID
) -> None:
    song, other = await family(api, services, owner), await family(api, services, owner)
    single = await api.asset(tone(0.3))
    for path in (f"/libraries/{song['library']}", f"/assets/{single['id']}"):
        await api.call("DELETE", path)
    assert (await api.get("/me")).json["usage"]["storage_bytes"] > len(tone())
    assert (await api.post("/trash/empty")).json == {"purged": 2}
    assert await thrown(api) == []
    assert (await api.post(f"/assets/{single['id']}/restore")).status == 404
    assert (await api.post(f"/libraries/{song['library']}/restore")).status == 404
    async with services.db.statements() as db:
        kept = await db.raw.fetch("select sha256, key from blobs where owner_id = $1", owner)
    assert len(kept) == 3  # the other family's; both tracks had the same bytes
    await assets.sweep(services)
    assert (await api.get(f"/assets/{other['track']}/content")).content == tone()


async def test_purging_is_for_good_in_and_out_of_the_trash(api: Api, services: Services, owner: UUID) -> None:
    song = await family(api, services, owner)
    assert (await api.call("DELETE", f"/assets/{song['slice']}?purge=true")).status == 204
    await api.call("DELETE", f"/assets/{song['stem']}")
    assert (await api.call("DELETE", f"/assets/{song['stem']}?purge=true")).status == 204
    assert await thrown(api) == []
    await api.call("DELETE", f"/libraries/{song['library']}")
    assert (await api.call("DELETE", f"/libraries/{song['library']}?purge=true")).status == 204
    assert await thrown(api) == []
    assert (await api.call("DELETE", f"/libraries/{song['library']}?purge=true")).status == 404


async def test_what_lay_long_enough_goes_by_itself(api: Api, services: Services, owner: UUID) -> None:
    old, new = await api.asset(tone(0.4)), await api.asset(tone(0.5))
    for each in (old, new):
        await api.call("DELETE", f"/assets/{each['id']}")
    days = services.settings.storage.trash_days
    async with services.db.transaction() as tx:
        await tx.raw.execute(
            "update assets set trashed_at = now() - $2::interval where id = $1",
            UUID(old["id"]),
            timedelta(days=days, seconds=1),
        )
    await trash.expire(services)
    assert [id_ for id_, _ in await thrown(api)] == [new["id"]]


async def test_what_a_job_reads_is_not_thrown_away_and_the_trash_is_not_read(
    api: Api, services: Services, owner: UUID
) -> None:
    asset = await api.asset(tone(0.6))
    view = await jobs.submit(services, owner, jobs.JobRequest(UUID(asset["id"]), model="echo"))
    for path in (f"/assets/{asset['id']}", f"/libraries/{asset['library_id']}"):
        for more in ("", "?purge=true"):
            assert (await api.call("DELETE", path + more)).code == "asset-in-use"
    await jobs.cancel(services, owner, view.job.id)
    await api.call("DELETE", f"/assets/{asset['id']}")
    body: Any = {"model": "echo", "inputs": [{"asset_id": asset["id"]}]}
    assert (await api.post("/jobs", body)).status == 404


async def test_the_trash_says_until_when_a_thing_may_come_back(api: Api, services: Services) -> None:
    library = (await api.library())["id"]
    assert (await api.call("DELETE", f"/libraries/{library}")).status == 204
    (item,) = (await api.get("/trash")).json["items"]
    kept = datetime.fromisoformat(item["expires_at"]) - datetime.fromisoformat(item["trashed_at"])
    assert kept == timedelta(days=services.settings.storage.trash_days)


async def test_the_trash_is_shown_by_pages(api: Api) -> None:
    made = [(await api.library(name=f"{n}"))["id"] for n in range(5)]
    for each in made:
        await api.call("DELETE", f"/libraries/{each}")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        got = (await api.get("/trash", params={"limit": 2, **cursor})).json
        seen += [item["id"] for item in got["items"]]
        if got["next_cursor"] is None:
            break
        cursor = {"cursor": got["next_cursor"]}
    assert seen == made[::-1]


async def test_folding_a_ledger_changes_no_sum(api: Api, services: Services, owner: UUID) -> None:
    library = (await api.library())["id"]
    for n in range(libraries.LEDGER_LINES + 5):
        await shelf.put(services, owner, UUID(library), name="x", audio=shelf.audio(0.1 * n))
    before = (await api.get(f"/libraries/{library}")).json
    await libraries.fold_ledgers(services)
    async with services.db.statements() as db:
        lines = await db.raw.fetchval(
            "select count(*) from library_ledger where library_id = $1", UUID(library)
        )
    assert lines == 1
    assert (await api.get(f"/libraries/{library}")).json == before
