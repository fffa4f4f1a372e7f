"""Imports over HTTP: what was exported comes back, once; and what is no archive of ours leaves nothing behind."""

import asyncio
import contextlib
import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
import soundfile

from api_client import Api, Got
from archives import RESULT, Song
from neuralib import assets
from neuralib.api import listening
from neuralib.config import Settings
from neuralib.db import libraries as owner_rows
from neuralib.errors import StorageUnavailable
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 8 << 20


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(limits={"upload_bytes": LIMIT})


@pytest_asyncio.fixture(loop_scope="module")
async def elsewhere(services: Services) -> AsyncIterator[Api]:
    """The API of another owner."""
    async with contextlib.AsyncExitStack() as stack:
        yield await stack.enter_async_context(entered(services))


@contextlib.asynccontextmanager
async def entered(services: Services) -> AsyncIterator[Api]:
    async with services.db.transaction() as tx:
        owner = await owner_rows.upsert_owner(tx, f"test-{uuid4()}")
    async with listening(services, owner, "127.0.0.1", 0) as url, Api(url) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def song(services: Services, owner: UUID, api: Api, tmp_path: Path) -> Song:
    return await Song(services, owner, api).settle(tmp_path)


async def exported(song: Song, **query: str) -> bytes:
    return (await song.api.get(f"/libraries/{song.library}/export.zip", params=query)).content


async def bring(api: Api, library: str, archive: bytes, **options: Any) -> Got:
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(archive), filename="songs.zip", content_type="application/zip")
    return await api.post(f"/libraries/{library}/imports", data=form, **options)


async def tree(api: Api, library: str) -> dict[str, Any]:
    got = await api.get(f"/libraries/{library}/assets", params={"tree": "true", "limit": "200"})
    return {item["name"]: item for item in got.json["items"]}


# ── what was exported comes back ──────────────────────────────────────────────────────────────────────


async def test_a_tree_is_restored_elsewhere_with_its_names_bytes_and_lineage(
    song: Song, elsewhere: Api
) -> None:
    library = (await elsewhere.library())["id"]
    got = await bring(elsewhere, library, await exported(song))
    assert (got.status, got.json["restored"], got.json["duplicates"], got.json["derivations"]) == (
        201,
        4,
        0,
        1,
    )
    before, after = await tree(song.api, song.library), await tree(elsewhere, library)
    assert before.keys() == after.keys()
    ids = {item["source_id"]: item["asset_id"] for item in got.json["items"]}
    for name, was in before.items():
        now = after[name]
        assert now["id"] == ids[was["id"]] != was["id"]
        assert now["parent_id"] == (ids[was["parent_id"]] if was["parent_id"] else None)
        kept = ("kind", "role", "stem", "audio", "blob")
        assert [now[member] for member in kept] == [was[member] for member in kept]
        assert now["facts"].pop("imported_from")["asset_id"] == was["id"]
        assert now["facts"] == was["facts"]
        assert (await elsewhere.get(now["urls"]["content"])).content == (
            await song.api.get(was["urls"]["content"])
        ).content
    job = (await elsewhere.get(f"/jobs/{after['Song [vocals]']['derived_from']['job_id']}")).json
    assert (job["state"], job["operation"], job["asset_id"]) == ("succeeded", "echo", ids[song.track["id"]])
    assert job["result"].pop("imported_from")["job_id"] == str(song.job)
    assert job["result"] == RESULT


async def test_an_archive_of_what_was_restored_tells_the_same(song: Song, elsewhere: Api) -> None:
    def essence(archive: bytes) -> Any:
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            told = json.loads(file.read("manifest.json"))
        names = {part["id"]: part["name"] for part in told["assets"]}
        made = {
            d["id"]: [d["operation"], d["params"], d["recipe"], d["inputs"][0]["sha256"]]
            for d in told["derivations"]
        }
        return sorted(
            [
                part["name"],
                part["file"],
                part["sha256"],
                names.get(part["parent_id"]),
                made.get(part["derivation"]),
            ]
            for part in told["assets"]
        )

    library = (await elsewhere.library())["id"]
    first = await exported(song)
    await bring(elsewhere, library, first)
    again = await elsewhere.get(f"/libraries/{library}/export.zip")
    assert essence(again.content) == essence(first)
    assert all(row[4] and row[4][2] for row in essence(first) if row[3])


async def test_restored_stems_still_sum_to_their_mix(
    services: Services, owner: UUID, api: Api, elsewhere: Api, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    stems = {name: rng.integers(-8000, 8000, (4410, 2), dtype=np.int16) for name in ("drums", "other")}

    def wav(samples: Any) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, samples, 44_100, format="WAV", subtype="PCM_16")
        return file.getvalue()

    song = await Song(services, owner, api).settle(tmp_path, content=wav(sum(stems.values())))
    for name, samples in stems.items():
        await song.made(tmp_path, f"Song [{name}]", "audio", "stem", "audio/wav", wav(samples), name)
    library = (await elsewhere.library())["id"]
    assert (await bring(elsewhere, library, await exported(song))).status == 201
    found = await tree(elsewhere, library)

    async def read(name: str) -> Any:
        got = await elsewhere.get(found[name]["urls"]["content"])
        return soundfile.read(io.BytesIO(got.content), dtype="int16")[0]

    total = await read("Song [drums]") + await read("Song [other]")
    assert np.array_equal(total, await read("Song"))


async def test_regions_and_markers_are_restored(song: Song, elsewhere: Api) -> None:
    regions = [
        {
            "kind": "region",
            "start_s": 0.25,
            "end_s": 0.5,
            "name": "Verse",
            "color": "#aabbcc",
            "tags": ["loud"],
        },
        {"kind": "marker", "start_s": 0.75, "end_s": None, "name": None, "color": None, "tags": []},
    ]
    for region in regions:
        await song.api.post(f"/assets/{song.stem}/regions", region)
    library = (await elsewhere.library())["id"]
    await bring(elsewhere, library, await exported(song))
    stem = (await tree(elsewhere, library))["Song [vocals]"]
    found = (await elsewhere.get(f"/assets/{stem['id']}/regions")).json["items"]
    assert [{name: region[name] for name in regions[0]} for region in found] == regions


async def test_what_somebody_said_of_an_asset_is_restored(song: Song, elsewhere: Api) -> None:
    said = {
        "tags": ["dusty", "night"],
        "rating": 4,
        "favorite": True,
        "color": "#aabbcc",
        "notes": "Slow it down.",
        "metadata": {"mic": "SM7", "takes": [1, 2]},
    }
    got = await song.api.call("PATCH", f"/assets/{song.stem}", json=said)
    assert got.status == 200
    library = (await elsewhere.library())["id"]
    await bring(elsewhere, library, await exported(song))
    stem = (await tree(elsewhere, library))["Song [vocals]"]
    assert {name: stem[name] for name in said} == said


async def test_an_archive_that_comes_again_restores_what_is_missing_and_nothing_else(
    song: Song, elsewhere: Api
) -> None:
    library, archive = (await elsewhere.library())["id"], await exported(song)
    await bring(elsewhere, library, archive)
    got = await bring(elsewhere, library, archive)
    assert (got.status, got.json["restored"], got.json["duplicates"]) == (200, 0, 4)
    before = await tree(elsewhere, library)
    gone = before.pop("Song [notes].mid")
    await elsewhere.call("DELETE", f"/assets/{gone['id']}")
    got = await bring(elsewhere, library, archive)
    assert (got.status, got.json["restored"], got.json["duplicates"]) == (201, 1, 3)
    after = await tree(elsewhere, library)
    assert after.pop("Song [notes].mid")["parent_id"] == before["Song"]["id"]
    assert after == before


async def test_an_archive_adds_nothing_to_the_library_it_came_from(song: Song) -> None:
    before = await tree(song.api, song.library)
    got = await bring(song.api, song.library, await exported(song))
    assert (got.status, got.json["duplicates"]) == (200, 4)
    assert await tree(song.api, song.library) == before


async def test_of_two_imports_at_once_one_restores(song: Song, elsewhere: Api) -> None:
    library, archive = (await elsewhere.library())["id"], await exported(song)
    both = await asyncio.gather(*(bring(elsewhere, library, archive) for _ in range(2)))
    assert sorted((got.json["restored"], got.json["duplicates"]) for got in both) == [(0, 4), (4, 0)]
    assert len(await tree(elsewhere, library)) == 4


async def test_what_was_left_out_of_an_archive_is_said_and_its_children_move_up(
    song: Song, elsewhere: Api
) -> None:
    library = (await elsewhere.library())["id"]
    got = await bring(elsewhere, library, await exported(song, include="midi,manifest"))
    assert (got.status, got.json["restored"], got.json["left_out"]) == (201, 1, 3)
    found = await tree(elsewhere, library)
    assert {name: item["parent_id"] for name, item in found.items()} == {"Song [notes].mid": None}


async def test_an_import_sent_twice_under_one_key_is_answered_as_the_first_time(
    song: Song, elsewhere: Api
) -> None:
    library, archive = (await elsewhere.library())["id"], await exported(song)
    key = {"Idempotency-Key": "once"}
    first = await bring(elsewhere, library, archive, headers=key)
    again = await bring(elsewhere, library, archive, headers=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status, again.json) == (first.status, first.json)


# ── what leaves nothing behind ────────────────────────────────────────────────────────────────────────


def rebuilt(archive: bytes, change: Callable[[dict[str, Any], dict[str, bytes]], None], **how: Any) -> bytes:
    """The archive with another manifest and other files."""
    with opened_bytes(archive) as old:
        files = {name: old.read(name) for name in old.namelist()}
    told = json.loads(files.pop("manifest.json"))
    change(told, files)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **how) as new:
        for name, content in files.items():
            new.writestr(name, content)
        new.writestr("manifest.json", json.dumps(told))
    return out.getvalue()


def opened_bytes(archive: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(archive))


def edit(**members: Any) -> Callable[[bytes], bytes]:
    """With other members of the first asset in the manifest."""
    return lambda archive: rebuilt(archive, lambda told, _: told["assets"][0].update(members))


def swap(content: bytes) -> Callable[[bytes], bytes]:
    """With other bytes of the same length in the track."""

    def change(told: dict[str, Any], files: dict[str, bytes]) -> None:
        name = told["assets"][0]["file"]
        files[name] = content + files[name][len(content) :]

    return lambda archive: rebuilt(archive, change)


def honestly(content: bytes) -> Callable[[bytes], bytes]:
    """With another file as the track, digest and all."""

    def change(told: dict[str, Any], files: dict[str, bytes]) -> None:
        part = told["assets"][0]
        files[part["file"]] = content
        part.update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))

    return lambda archive: rebuilt(archive, change, compression=zipfile.ZIP_DEFLATED)


def with_file(name: str, content: bytes = b"x") -> Callable[[bytes], bytes]:
    return lambda archive: rebuilt(archive, lambda _, files: files.update({name: content}))


def twice(archive: bytes) -> bytes:
    out = io.BytesIO(archive)
    with warnings.catch_warnings(), zipfile.ZipFile(out, "a") as file:
        warnings.simplefilter("ignore")
        file.writestr("manifest.json", b"{}")
    return out.getvalue()


def encrypted(archive: bytes) -> bytes:
    """As far as the table of contents goes."""
    at = archive.rindex(b"PK\x01\x02") + 8
    return archive[:at] + bytes([archive[at] | 1]) + archive[at + 1 :]


def crowded(archive: bytes) -> bytes:
    return rebuilt(archive, lambda _, files: files.update({f"{n}": b"" for n in range(20_100)}))


def own_parent(told: dict[str, Any], _: Any) -> None:
    told["assets"][0]["parent_id"] = told["assets"][1]["id"]


def same_id(told: dict[str, Any], _: Any) -> None:
    told["assets"][1]["id"] = told["assets"][0]["id"]


@pytest.mark.parametrize(
    "broken",
    [
        lambda _: b"%PDF-1.7",
        lambda a: a[: len(a) // 2],
        lambda a: a[: len(a) // 2] + a[len(a) // 2 + 1 :],
        twice,
        encrypted,
        crowded,
        with_file("../x"),
        with_file("/etc/x"),
        with_file("C:\\x"),
        with_file("a/../../x"),
        lambda a: rebuilt(a, lambda _t, _f: None, compression=zipfile.ZIP_BZIP2),
        lambda a: rebuilt(a, lambda told, _: told.update(version=2)),
        lambda a: rebuilt(a, lambda told, _: told.update(format="another")),
        lambda a: rebuilt(a, lambda told, _: told.pop("assets")),
        lambda a: rebuilt(a, lambda told, _: told.update(derivations=told["derivations"] * 2)),
        lambda a: rebuilt(a, own_parent),
        lambda a: rebuilt(a, same_id),
        edit(file="nowhere.wav"),
        edit(file="../x"),
        edit(bytes=1),
        edit(sha256="0" * 64),
        edit(kind="virus"),
        edit(name="x" * 201),
        edit(facts={"a": "\0"}),
        edit(facts={"a": [float("nan")]}),
        edit(facts={"a": [{"b": 1e999}]}),
        edit(parent_id="x"),
        edit(created_at="2026-10-01T12:00:00"),
        edit(regions=[{"kind": "region", "start_s": 0.5, "end_s": 0.25}]),
        edit(regions=[{"kind": "region", "start_s": 0.5, "end_s": 60}]),
        edit(regions=[{"kind": "region", "start_s": 0.5}]),
        edit(regions=[{"kind": "marker", "start_s": 60}]),
        edit(regions=[{"kind": "marker", "start_s": 0, "color": "red"}]),
        edit(regions=[{"kind": "marker", "start_s": 0}] * 1001),
        swap(b"RIFX"),
        honestly(b"%PDF-1.7 nothing to hear"),
        honestly(bytes(LIMIT + 1)),
    ],
)  # fmt: skip
async def test_what_is_no_archive_of_ours_is_refused_and_leaves_nothing(
    song: Song, elsewhere: Api, services: Services, broken: Callable[[bytes], bytes]
) -> None:
    library = (await elsewhere.library())["id"]
    archive = broken(await exported(song))
    before = await stored(services)
    got = await bring(elsewhere, library, archive)
    assert (got.status, got.code) == (422, "invalid-archive"), got.content
    assert await tree(elsewhere, library) == {}
    assert (await elsewhere.get("/jobs")).json["items"] == []
    assert await stored(services) == before


async def stored(services: Services) -> set[str]:
    """The keys of the object store once the sweeper has been there."""
    await assets.sweep(services)
    return {stat.key async for stat in services.objects.list("blobs/")}


async def test_a_manifest_without_an_archive_around_it_is_refused(elsewhere: Api) -> None:
    library = (await elsewhere.library())["id"]
    form = aiohttp.FormData()
    form.add_field("manifest", b"{}", filename="manifest.json")
    got = await elsewhere.post(f"/libraries/{library}/imports", data=form)
    assert (got.status, got.code) == (422, "validation-failed")
    got = await elsewhere.post(
        f"/libraries/{library}/imports",
        data=b"--B--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=B"},
    )
    assert (got.status, got.code) == (422, "empty-upload")


class Failing:
    """The object store, which takes two objects and no more."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.left = inner, 2

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def put(self, *args: Any, **options: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise StorageUnavailable
        return await self.inner.put(*args, **options)


async def test_a_store_that_goes_away_in_the_middle_leaves_nothing(song: Song, services: Services) -> None:
    archive, before = await exported(song), await stored(services)
    store: Any = Failing(services.objects)
    async with entered(replace(services, objects=store)) as api:
        library = (await api.library())["id"]
        got = await bring(api, library, archive)
        assert (got.status, got.code) == (503, "storage-unavailable")
        assert await tree(api, library) == {}
    assert await stored(services) == before
