"""Words that people make right over HTTP: each save is a revision, and everything that reads words reads the newest."""

import asyncio
import copy
import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
import pytest_asyncio

from api_client import Api, Got
from archives import Song, opened
from crew import at_work
from neuralib import transcripts
from neuralib.api import listening
from neuralib.config import Settings
from neuralib.db import assets as asset_rows
from neuralib.db import events as event_rows
from neuralib.db import libraries as owner_rows
from neuralib.executors.basic_pitch.grid import Grid
from neuralib.executors.basic_pitch.midi import midi_file
from neuralib.executors.basic_pitch.notes import NoteEvent
from neuralib.executors.whisper import lyrics
from neuralib.executors.whisper.document import read_transcript
from neuralib.services import Services
from neuralib.weights import Resolver

pytestmark = pytest.mark.asyncio(loop_scope="module")


def heard(first: str) -> bytes:
    """Two lines, the first word of which no other song has."""
    words = [(first, 0.0, 0.2, 0.9), ("yes", 0.2, 0.4, 0.2), ("we", 0.5, 0.6, 0.8), ("can", 0.6, 0.9, 0.7)]
    keys = ("text", "start", "end", "probability")
    told = [dict(zip(keys, word, strict=True)) for word in words]
    segments = [
        {"text": f"{first} yes", "start": 0.0, "end": 0.4, "words": told[:2], "avg_logprob": -0.25},
        {"text": "we can", "start": 0.5, "end": 0.9, "words": told[2:], "avg_logprob": -0.5},
    ]
    return json.dumps({"language": "en", "duration": 1.0, "segments": segments}).encode()


class Sung(Song):
    """A song whose vocals were transcribed, in all forms."""

    async def transcribe(self, folder: Path) -> "Sung":
        self.word = f"oh{uuid4().hex}"
        content = heard(self.word)
        told = read_transcript(content)
        self.words = await self.form(folder, "lyrics.json", "application/json", content)
        self.txt = await self.form(
            folder, "lyrics.txt", "text/plain; charset=utf-8", lyrics.as_txt(told).encode()
        )
        self.lrc = await self.form(
            folder, "lyrics.enhanced.lrc", "application/x-lrc", lyrics.as_enhanced_lrc(told).encode()
        )
        self.at = f"/assets/{self.words}/transcript"
        return self

    async def form(self, folder: Path, name: str, media_type: str, content: bytes) -> str:
        return await self.made(
            folder,
            f"Song [{name}]",
            "transcript",
            "transcript",
            media_type,
            content,
            file=name,
            parent=self.stem,
        )

    async def read(self, at: str | None = None) -> Got:
        return await self.api.get(at or self.at)

    async def lines(self) -> list[dict[str, Any]]:
        """As a client sends them back: without words."""
        return [
            {name: line[name] for name in ("text", "start_s", "end_s")}
            for line in (await self.read()).json["segments"]
        ]

    async def save(self, lines: Any, **options: Any) -> Got:
        return await self.api.call("PATCH", self.at, json={"segments": lines}, **options)


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(limits={"requests_burst": 2000})


@pytest_asyncio.fixture(loop_scope="module")
async def song(services: Services, owner: UUID, api: Api, tmp_path: Path) -> Sung:
    sung = Sung(services, owner, api)
    await sung.settle(tmp_path)
    return await sung.transcribe(tmp_path)


async def test_what_the_machine_wrote_is_the_first_revision(song: Sung) -> None:
    got = await song.read(f"/assets/{song.stem}/transcript")
    assert (got.json["asset_id"], got.json["revision"]) == (song.words, 1)
    (only,) = (await song.read(f"{song.at}/revisions")).json["items"]
    assert (only["number"], only["by"], only["parent"]) == (1, "machine", None)


async def test_a_corrected_line_is_a_revision_and_the_rest_stays_to_the_word(song: Sung) -> None:
    before = (await song.read()).json["segments"]
    lines = await song.lines()
    lines[0]["text"] = f"{song.word} yeah"
    saved = await song.save(lines)
    assert (saved.status, saved.json["revision"]) == (200, 2)
    assert saved.json == (await song.read()).json
    first, second = saved.json["segments"]
    assert second == before[1]
    assert first["words"][0] == before[0]["words"][0]
    assert first["words"][1] == {"text": "yeah", "start_s": 0.2, "end_s": 0.4, "probability": 1.0}
    listed = (await song.read(f"{song.at}/revisions")).json["items"]
    assert [(r["number"], r["by"], r["parent"]) for r in listed] == [(2, "owner", 1), (1, "machine", None)]


async def test_lines_are_split_joined_moved_and_left_out(song: Sung) -> None:
    split = [
        {"text": song.word, "start_s": 0.0, "end_s": 0.2},
        {"text": "yes", "start_s": 0.2, "end_s": 0.4},
        {"text": "we can", "start_s": 0.5, "end_s": 0.9},
    ]
    got = (await song.save(split)).json["segments"]
    assert [[w["text"] for w in line["words"]] for line in got] == [[song.word], ["yes"], ["we", "can"]]
    joined = [split[0], {"text": "yes we can", "start_s": 0.25, "end_s": 0.9}]
    words = (await song.save(joined)).json["segments"][1]["words"]
    assert [(w["text"], w["start_s"]) for w in words] == [("yes", 0.25), ("we", 0.5), ("can", 0.6)]
    assert (await song.save(joined[1:])).json["text"] == "yes we can"
    assert (await song.save([])).json["segments"] == []


async def test_words_may_come_with_times_of_their_own(song: Sung) -> None:
    words = [{"text": "la", "start_s": 0.1, "end_s": 0.3}, {"text": "la", "start_s": 0.3, "end_s": 0.35}]
    got = await song.save([{"text": "la la", "start_s": 0.0, "end_s": 0.4, "words": words}])
    assert [(w["start_s"], w["end_s"]) for w in got.json["segments"][0]["words"]] == [(0.1, 0.3), (0.3, 0.35)]


async def test_saving_what_is_there_already_makes_no_revision(song: Sung) -> None:
    assert (await song.save(await song.lines())).json["revision"] == 1
    assert (await song.api.call("PATCH", song.at, json={})).json["revision"] == 1
    assert (await song.api.post(f"{song.at}/revisions/1/restore")).json["revision"] == 1


async def test_who_saves_second_is_told_and_nothing_is_lost(song: Sung) -> None:
    seen = (await song.read()).headers["ETag"]
    lines = await song.lines()
    mine, theirs = copy.deepcopy(lines), copy.deepcopy(lines)
    mine[0]["text"], theirs[1]["text"] = "mine", "theirs"
    assert (await song.save(theirs, headers={"If-Match": seen})).status == 200
    refused = await song.save(mine, headers={"If-Match": seen})
    assert (refused.status, refused.code) == (412, "precondition-failed")
    refused = await song.api.post(f"{song.at}/revisions/1/restore", headers={"If-Match": seen})
    assert refused.code == "precondition-failed"
    assert (await song.read()).json["segments"][1]["text"] == "theirs"
    now = (await song.read()).headers["ETag"]
    assert (await song.api.get(song.at, headers={"If-None-Match": now})).status == 304
    assert (await song.save(mine, headers={"If-Match": now})).json["revision"] == 3


async def test_of_saves_at_once_each_is_a_revision(song: Sung) -> None:
    saves = [song.save([{"text": f"take {n}", "start_s": 0.0, "end_s": 0.5}]) for n in range(4)]
    numbers = sorted(got.json["revision"] for got in await asyncio.gather(*saves))
    assert numbers == [2, 3, 4, 5]


async def test_a_revision_is_read_and_restored_as_it_was(song: Sung) -> None:
    machine = (await song.read()).json
    await song.save([{"text": "all wrong", "start_s": 0.0, "end_s": 0.5}])
    old = await song.read(f"{song.at}/revisions/1")
    assert old.json == machine
    assert (await song.read(f"{song.at}/revisions/2?format=txt")).content == b"all wrong\n"
    restored = await song.api.post(f"{song.at}/revisions/1/restore")
    assert restored.json == {**machine, "revision": 3}
    newest = (await song.read(f"{song.at}/revisions")).json["items"][0]
    assert (newest["number"], newest["parent"], newest["restored"]) == (3, 2, 1)
    for number in ("0", "01", "4", "x", "99999999999"):
        assert (await song.read(f"{song.at}/revisions/{number}")).status == 404


LINE = {"text": "la", "start_s": 0.0, "end_s": 0.5}
REFUSED = [
    ([{**LINE, "end_s": 1.5}], "/segments/0/end_s"),
    ([{**LINE, "end_s": 0.0}], "/segments/0/end_s"),
    ([{**LINE, "start_s": 0.4}, LINE], "/segments/1/start_s"),
    ([{**LINE, "start_s": -1.0}], "/segments/0/start_s"),
    ([{**LINE, "text": "  "}], "/segments/0/text"),
    ([{**LINE, "text": "a\u0007b"}], "/segments/0/text"),
    ([{**LINE, "text": "x" * 501}], "/segments/0/text"),
    ([LINE] * 5001, "/segments"),
    ([{**LINE, "words": [{**LINE, "text": "lo"}]}], "/segments/0/words"),
    ([{**LINE, "words": [{**LINE, "end_s": 0.6}]}], "/segments/0/words"),
    ([{**LINE, "color": "red"}], "/segments/0/color"),
]


@pytest.mark.parametrize(("lines", "pointer"), REFUSED, ids=range(len(REFUSED)))
async def test_lines_that_cannot_be_are_refused_by_name(song: Sung, lines: Any, pointer: str) -> None:
    refused = await song.save(lines)
    assert (refused.status, refused.code) == (422, "validation-failed")
    assert refused.json["errors"][0]["pointer"] == pointer
    assert (await song.read()).json["revision"] == 1


async def test_an_event_tells_every_tab(song: Sung) -> None:
    await song.save([LINE])
    await song.api.post(f"{song.at}/revisions/1/restore")
    async with song.services.db.statements() as db:
        told = [e.data for e in await event_rows.after(db, song.owner, 0) if e.type == "transcript.updated"]
    mine = [e for e in told if e["asset_id"] == song.words]
    assert [(e["revision"], e["restored"], e["parent_id"]) for e in mine] == [
        (2, None, song.stem),
        (3, 1, song.stem),
    ]


async def test_searches_find_what_is_sung_now(song: Sung) -> None:
    async def found(word: str) -> set[str]:
        got = await song.api.get("/assets", params={"q": word, "limit": "200"})
        return {item["id"] for item in got.json["items"]}

    new = f"new{uuid4().hex}"
    await song.save([{**LINE, "text": new}])
    assert await found(song.word) == set()
    assert await found(new) == {song.words, song.stem, song.track["id"]}
    await song.api.post(f"{song.at}/revisions/1/restore")
    assert await found(new) == set()
    assert await found(song.word) == {song.words, song.stem, song.track["id"]}


async def test_only_so_many_revisions_are_kept_and_the_machine_s_always(
    song: Sung, services: Services
) -> None:
    for n in range(transcripts.KEPT + 2):
        line = transcripts.Line(f"take {n}", 0.0, 0.5)
        await transcripts.save(services, song.owner, UUID(song.words), [line])
    numbers = [r["number"] for r in (await song.read(f"{song.at}/revisions")).json["items"]]
    assert numbers == [*range(transcripts.KEPT + 3, 3, -1), 1]


async def test_a_copy_has_the_words_too(song: Sung) -> None:
    await song.save([LINE])
    other = (await song.api.library())["id"]
    body = {"op": "copy", "asset_ids": [song.track["id"]], "library_id": other}
    assert (await song.api.post("/assets/bulk", body)).status == 200
    tree = (await song.api.get(f"/libraries/{other}/assets?tree=true")).json["items"]
    (copied,) = (item["id"] for item in tree if item["name"] == "Song [lyrics.json]")
    assert (await song.read(f"/assets/{copied}/transcript")).json["text"] == "la"


async def test_revisions_count_as_bytes_that_are_kept_and_go_with_their_transcript(song: Sung) -> None:
    async def kept() -> int:
        async with song.services.db.statements() as db:
            return await asset_rows.stored_bytes(db, song.owner)

    before = await kept()
    await song.save([LINE])
    assert await kept() == before + (await song.read(f"{song.at}/revisions")).json["items"][0]["bytes"]
    assert (await song.api.call("DELETE", f"/assets/{song.words}?purge=true")).status == 204
    assert await kept() < before


async def test_bytes_that_are_let_go_lose_no_word_that_somebody_wrote(song: Sung) -> None:
    await song.save([LINE])
    evicted = await song.api.post(f"/assets/{song.words}/evict")
    assert evicted.status == 200, evicted.content
    assert (await song.read()).json["text"] == "la"
    lost = await song.read(f"{song.at}/revisions/1")
    assert (lost.status, lost.code) == (410, "asset-evicted")


# ── archives ──────────────────────────────────────────────────────────────────────────────────────────


async def test_an_archive_has_the_words_as_they_stand_and_the_machine_s_beside_them(song: Sung) -> None:
    await song.save([{**LINE, "text": "la la"}])
    archive = opened(await song.api.get(f"/libraries/{song.library}/export.zip"))
    assert archive.read(_named(archive, "[lyrics.txt]")) == b"la la\n"
    assert b"<00:00.00> la<00:00.25> la <00:00.50>" in archive.read(_named(archive, "[lyrics.enhanced.lrc]"))
    manifest = json.loads(archive.read("manifest.json"))
    (part,) = (each for each in manifest["assets"] if each["id"] == song.words)
    assert part["revision"]["number"] == 2
    assert json.loads(archive.read(part["revision"]["file"]))["text"] == "la la"
    assert hashlib.sha256(archive.read(part["file"])).hexdigest() == part["sha256"]
    assert "[machine]" in part["file"]
    assert song.word.encode() in archive.read(part["file"])


def _named(archive: Any, part: str) -> str:
    (name,) = (each for each in archive.namelist() if part in each and "[machine]" not in each)
    return str(name)


async def test_words_that_somebody_wrote_come_back_elsewhere(song: Sung, services: Services) -> None:
    await song.save([{**LINE, "text": f"{song.word} la"}])
    await song.save([{**LINE, "text": "moved along"}])
    archive = (await song.api.get(f"/libraries/{song.library}/export.zip")).content
    async with services.db.transaction() as tx:
        other = await owner_rows.upsert_owner(tx, f"test-{uuid4()}")
    async with listening(services, other, "127.0.0.1", 0) as url, Api(url) as api:
        library = (await api.library())["id"]
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(archive), filename="songs.zip", content_type="application/zip")
        got = await api.post(f"/libraries/{library}/imports", data=form)
        assert got.status == 201, got.content
        items = (await api.get(f"/libraries/{library}/assets?tree=true")).json["items"]
        (words,) = (item["id"] for item in items if item["name"] == "Song [lyrics.json]")
        assert (await api.get(f"/assets/{words}/transcript")).json["text"] == "moved along"
        numbers = [
            r["number"] for r in (await api.get(f"/assets/{words}/transcript/revisions")).json["items"]
        ]
        assert numbers == [2, 1]
        assert (await api.get(f"/assets/{words}/transcript/revisions/1")).json["segments"][1][
            "text"
        ] == "we can"
        found = (await api.get("/assets", params={"q": "moved along"})).json["items"]
        assert words in {item["id"] for item in found}
        assert (await api.get("/assets", params={"q": song.word})).json["items"] == []


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest_asyncio.fixture(loop_scope="module")
async def working(services: Services, tmp_path: Path) -> AsyncIterator[None]:
    async with at_work(services, ["aligner"], Resolver(tmp_path / "weights", offline=True)):
        yield


async def test_a_job_reads_the_words_as_they_stood_when_it_was_asked_for(
    song: Sung, tmp_path: Path, working: None
) -> None:
    notes = [NoteEvent(0.0, 0.25, 60, 0.5, None), NoteEvent(0.25, 0.5, 64, 0.75, None)]
    midi = await song.made(
        tmp_path,
        "Notes.mid",
        "midi",
        "midi",
        "audio/midi",
        midi_file(notes, Grid(120.0), track_per_pitch=False),
    )
    inputs = [{"asset_id": each} for each in (song.track["id"], midi, song.words)]

    async def sung() -> tuple[dict[str, Any], list[str]]:
        body = {"operation": "align", "inputs": inputs}
        job = (await song.api.post("/jobs", body, headers={"Prefer": "wait=30"})).json
        assert job["state"] == "succeeded", job["error"]
        (made,) = (output["asset_id"] for output in job["outputs"] if output["kind"] == "analysis")
        told = (await song.api.get(f"/assets/{made}/content")).json
        return job, [word["text"] for line in told["lines"] for word in line["words"]]

    first, words = await sung()
    assert (words, first["inputs"][2]["revision"]) == ([song.word, "yes", "we", "can"], None)
    await song.save([{**LINE, "text": "hum hum"}])
    second, words = await sung()
    assert (words, second["inputs"][2]["revision"]) == (["hum", "hum"], 2)
    assert second["id"] != first["id"]
    await song.save([{**LINE, "text": "other"}])
    await song.api.post(f"{song.at}/revisions/2/restore")
    assert (await sung())[0]["id"] == second["id"]
