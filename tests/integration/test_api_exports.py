"""Exports over HTTP: what stands in the archive, and that a broken one is never taken for a whole one."""

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import mido
import pytest
import pytest_asyncio

from api_client import Api
from archives import RESULT, Song, opened, wav
from neuralib.archives.manifest import Manifest
from neuralib.config import Settings
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILES = ["LICENSES.txt", "Song/Song [lyrics].lrc", "Song/Song [notes].mid", "Song/Song [vocals].wav", "Song/Song.wav",
         "manifest.json"]  # fmt: skip


@pytest_asyncio.fixture(loop_scope="module")
async def song(services: Services, owner: UUID, api: Api, tmp_path: Path) -> Song:
    return await Song(services, owner, api).settle(tmp_path)


async def test_a_library_is_exported_whole_with_its_manifest_and_licences(song: Song) -> None:
    got = await song.api.get(f"/libraries/{song.library}/export.zip")
    archive = opened(got)
    assert got.headers["Content-Disposition"].startswith('attachment; filename="My songs.zip"')
    assert sorted(archive.namelist()) == FILES
    for name, content in song.contents.items():
        assert archive.read(f"Song/{name}") == content
    told = json.loads(archive.read("manifest.json"))
    Manifest.model_validate(told)
    assert (told["format"], told["version"]) == ("neuralib-archive", 1)
    assert told["library"]["description"] == "all of them"
    for part in told["assets"]:
        assert hashlib.sha256(archive.read(part["file"])).hexdigest() == part["sha256"]
    stem = next(part for part in told["assets"] if part["id"] == song.stem)
    assert (stem["parent_id"], stem["stem"], stem["name"]) == (song.track["id"], "vocals", "Song [vocals]")
    [made] = told["derivations"]
    assert (made["id"], made["operation"], made["result"]) == (str(song.job), "echo", RESULT)
    assert made["inputs"] == [
        {"asset_id": song.track["id"], "name": None, "sha256": song.track["blob"]["sha256"]}
    ]
    assert re.fullmatch("[0-9a-f]{64}", made["recipe"])
    licences = archive.read("LICENSES.txt").decode()
    assert "echo/tiny: CC-BY-4.0; commercial use: yes; sha256 abab" in licences


async def test_an_asset_is_exported_with_what_was_made_from_it_and_nothing_else(song: Song) -> None:
    await song.api.upload(song.library, wav(), "Another.wav")
    assert sorted(opened(await song.api.get(f"/assets/{song.track['id']}/export.zip")).namelist()) == FILES
    names = opened(await song.api.get(f"/assets/{song.stem}/export.zip")).namelist()
    assert names == ["Song [vocals]/Song [vocals].wav", "LICENSES.txt", "manifest.json"]


async def test_an_archive_holds_what_was_asked_for(song: Song) -> None:
    path = f"/libraries/{song.library}/export.zip"
    archive = opened(await song.api.get(path, params={"include": "midi,lyrics"}))
    assert sorted(archive.namelist()) == ["Song/Song [lyrics].lrc", "Song/Song [notes].mid"]
    archive = opened(await song.api.get(path, params={"include": "midi,manifest"}))
    files = {part["name"]: part["file"] for part in json.loads(archive.read("manifest.json"))["assets"]}
    assert files["Song"] is None
    assert files["Song [notes].mid"] == "Song/Song [notes].mid"
    archive = opened(
        await song.api.get(path, params={"include": "audio", "name_template": "{role}/{track} - {stem}"})
    )
    assert sorted(archive.namelist()) == ["stem/Song - vocals.wav", "track/Song - track.wav"]
    got = await song.api.get(path, params={"include": "analysis"})
    assert (got.status, got.code) == (404, "not-found")


@pytest.mark.parametrize(
    "query",
    [
        {"include": ""},
        {"include": "audio,video"},
        {"name_template": "{id}"},
        {"name_template": "x" * 201},
        {"x": "1"},
    ],
)
async def test_an_export_that_cannot_be_understood_is_refused(song: Song, query: dict[str, str]) -> None:
    got = await song.api.get(f"/libraries/{song.library}/export.zip", params=query)
    assert (got.status, got.code) == (400, "invalid-parameter")
    assert got.json["errors"][0]["pointer"].startswith(f"/query/{next(iter(query))}")


async def test_an_empty_library_cannot_be_exported(api: Api) -> None:
    library = await api.library()
    for id_ in (library["id"], str(uuid4())):
        got = await api.get(f"/libraries/{id_}/export.zip")
        assert (got.status, got.code) == (404, "not-found")
    got = await api.get(f"/assets/{uuid4()}/export.zip")
    assert (got.status, got.code) == (404, "not-found")


async def test_hostile_names_stay_inside_the_archive(api: Api) -> None:
    library = (await api.library())["id"]
    names = ["../../etc/passwd", "..", "NUL", "a\\b", "🎹" * 60, "שיר", "same", "SAME", "same"]
    for name in names:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("meta", json.dumps({"name": name}))
        form.add_field("file", io.BytesIO(wav(0.01)), filename="x.wav")
        assert (await api.post(f"/libraries/{library}/assets", data=form)).status == 201
    found = opened(await api.get(f"/libraries/{library}/export.zip")).namelist()
    assert len(found) == len(names) + 2
    assert len({name.casefold() for name in found}) == len(found)
    for name in found:
        assert not name.startswith("/")
        assert ".." not in name.split("/")
        assert len(name.encode()) <= 200


# ── orders ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_selection_is_ordered_and_fetched_as_often_as_wanted(song: Song) -> None:
    other = (await song.api.upload(song.library, wav(), "Another.wav")).json["items"][0]["asset"]["id"]
    body = {"asset_ids": [song.stem, other, song.stem], "include": ["audio"], "name_template": "{name}"}
    got = await song.api.post("/exports", body)
    assert (got.status, got.json["asset_ids"]) == (201, [song.stem, other])
    order = await song.api.get(got.headers["Location"])
    assert order.json == got.json
    for _ in range(2):
        found = await song.api.get(order.json["urls"]["content"])
        assert opened(found).namelist() == ["Song [vocals].wav", "Another.wav"]


async def test_a_selection_brings_what_was_made_from_it_unless_it_shall_not(song: Song) -> None:
    async def names(**body: Any) -> list[str]:
        order = (await song.api.post("/exports", {"include": ["audio", "midi"], **body})).json
        return sorted(opened(await song.api.get(order["urls"]["content"])).namelist())

    everything = ["Song/Song [notes].mid", "Song/Song [vocals].wav", "Song/Song.wav"]
    assert await names(asset_ids=[song.track["id"]]) == everything
    assert await names(asset_ids=[song.track["id"]], tree=False) == ["Song/Song.wav"]
    assert await names(library_id=song.library) == everything
    assert await names(library_id=song.library, asset_ids=[song.stem]) == everything


async def test_an_order_tells_when_it_has_expired_or_what_it_names_is_gone(
    song: Song, services: Services
) -> None:
    order = (await song.api.post("/exports", {"asset_ids": [song.stem]})).json
    gone = (await song.api.post("/exports", {"asset_ids": [song.stem]})).json
    async with services.db.transaction() as tx:
        await tx.raw.execute(
            "update exports set expires_at = now() - interval '1 s' where id = $1", UUID(gone["id"])
        )
    got = await song.api.get(gone["urls"]["content"])
    assert (got.status, got.code) == (410, "gone")
    await song.api.call("DELETE", f"/assets/{song.stem}")
    got = await song.api.get(order["urls"]["content"])
    assert (got.status, got.code) == (404, "not-found")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"asset_ids": []}, ""),
        ({"asset_ids": [str(uuid4())] * 1001}, "/asset_ids"),
        ({"asset_ids": ["x"]}, "/asset_ids/0"),
        ({"library_id": str(uuid4()), "include": []}, "/include"),
        ({"library_id": str(uuid4()), "name_template": "../{name}/{x}"}, "/name_template"),
    ],
)
async def test_an_order_for_nothing_is_refused(api: Api, body: dict[str, Any], pointer: str) -> None:
    got = await api.post("/exports", body)
    assert (got.status, got.code) == (422, "validation-failed")
    assert got.json["errors"][0]["pointer"] == pointer


# ── storage that goes away ────────────────────────────────────────────────────────────────────────────


async def drain(chunks: Any, into: bytearray) -> None:
    async for chunk in chunks:
        into += chunk


async def forget(services: Services, settings: Settings, asset: str) -> None:
    """The object store loses the bytes of an asset."""
    assert settings.storage.path is not None
    async with services.db.transaction() as tx:
        key = await tx.raw.fetchval(
            "select b.key from blobs b join assets a on a.blob_id = b.id where a.id = $1", UUID(asset)
        )
    (settings.storage.path / key).unlink()


async def test_storage_that_is_away_from_the_start_is_told(
    song: Song, services: Services, settings: Settings
) -> None:
    await forget(services, settings, song.track["id"])
    got = await song.api.get(f"/libraries/{song.library}/export.zip")
    assert (got.status, got.code) == (503, "storage-unavailable")
    assert got.headers["Retry-After"]


async def test_storage_that_goes_away_in_the_middle_cuts_the_reply(
    song: Song, services: Services, settings: Settings
) -> None:
    await forget(services, settings, song.stem)
    got = bytearray()
    async with song.api.open("GET", f"/libraries/{song.library}/export.zip") as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await drain(response.content.iter_any(), got)
    assert 0 < len(got) < int(response.headers["Content-Length"])
    assert not zipfile.is_zipfile(io.BytesIO(got))


# ── what players load ─────────────────────────────────────────────────────────────────────────────────


def note(pitch: int) -> bytes:
    track = mido.MidiTrack(
        [mido.Message("note_on", note=pitch, time=480), mido.Message("note_off", note=pitch, time=480)]
    )
    file, out = mido.MidiFile(type=1, tracks=[track]), io.BytesIO()
    file.save(file=out)
    return out.getvalue()


async def test_the_one_shots_of_a_stem_become_a_sampler_kit(song: Song, tmp_path: Path) -> None:
    for name, facts in {
        "kick 1": {"class": "kick", "group": 1},
        "kick 2": {"class": "kick", "group": 1},
        "snare=1": {"class": "snare"},
        "groove": {"class": "loop"},
    }.items():
        await song.made(
            tmp_path, name, "audio", "sample", "audio/wav", wav(0.1), parent=song.stem, facts=facts
        )
    for asset in (song.stem, song.track["id"]):
        archive = opened(await song.api.get(f"/assets/{asset}/kit.zip"))
        files = ["samples/kick 1.wav", "samples/kick 2.wav", "samples/snare_1.wav"]
        assert archive.namelist() == [*files, "kit.sfz", "LICENSES.txt"]
        assert archive.read(files[0]) == song.contents["kick 1.wav"]
        text = archive.read("kit.sfz").decode()
        assert re.findall("sample=(.*)", text) == files
        assert re.findall(r"key=(\d+) seq_length=(\d+)", text) == [("36", "2"), ("38", "1")]


async def test_the_newest_notes_of_all_stems_become_one_midi_file(song: Song, tmp_path: Path) -> None:
    for pitch in (60, 62):
        await song.made(
            tmp_path, "Song [vocals].mid", "midi", "midi", "audio/midi", note(pitch), parent=song.stem
        )
    await song.made(tmp_path, "Song [mix].mid", "midi", "midi", "audio/midi", note(40))
    got = await song.api.get(f"/assets/{song.track['id']}/multitrack.mid")
    assert (got.status, got.headers["Content-Type"]) == (200, "audio/midi")
    assert 'filename="Song.mid"' in got.headers["Content-Disposition"]
    file = mido.MidiFile(file=io.BytesIO(got.content))
    told = {track.name: [m.note for m in track if m.type == "note_on"] for track in file.tracks[1:]}
    assert told == {"vocals": [62], "Song": [40]}


async def test_without_samples_or_notes_there_is_nothing_to_play(song: Song) -> None:
    for path in (f"/assets/{song.track['id']}/kit.zip", f"/assets/{song.stem}/multitrack.mid"):
        got = await song.api.get(path)
        assert (got.status, got.code) == (409, "conflict")


async def test_notes_that_cannot_be_read_are_named(song: Song) -> None:
    got = await song.api.get(f"/assets/{song.track['id']}/multitrack.mid")
    assert (got.status, got.code) == (422, "model-input-unsupported")
    assert "Song" in got.json["detail"]
