"""Notes and words over HTTP, of files and of the recordings that they were heard in; and the two laid over each other."""

import csv
import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import pytest_asyncio

from api_client import Api
from corpus import wav
from crew import at_work
from neuralib import assets
from neuralib.entities import NewAsset, new_id
from neuralib.executors.basic_pitch.grid import Grid
from neuralib.executors.basic_pitch.midi import midi_file
from neuralib.executors.basic_pitch.notes import NoteEvent
from neuralib.services import Services
from neuralib.weights import Resolver

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTES = [NoteEvent(0.0, 0.25, 60, 0.5, None), NoteEvent(0.25, 0.5, 64, 0.75, None)]
TABLE = {
    "tempo": 120.0,
    "beats": [],
    "bends_per_semitone": 3,
    "notes": [
        {"start": 0.0, "end": 0.25, "pitch": 60, "amplitude": 0.5, "velocity": 64, "bends": [0, 3, -1]}
    ],
}
WORDS = {
    "text": "Oh yes",
    "language": "en",
    "duration": 0.6,
    "segments": [
        {
            "id": 0,
            "start": 0.0,
            "end": 0.5,
            "text": "Oh yes",
            "words": [
                {"text": "Oh", "start": 0.0, "end": 0.2, "probability": 0.9},
                {"text": "yes", "start": 0.25, "end": 0.5, "probability": 0.8},
            ],
        }
    ],
}


class Shelf:
    """A recording, and files that were made of it."""

    def __init__(self, services: Services, owner: UUID, track: dict[str, Any], folder: Path) -> None:
        self.services, self.owner, self.track, self.folder = services, owner, track["id"], folder
        self.library = UUID(track["library_id"])

    async def put(self, kind: str, content: bytes, media_type: str) -> str:
        path = self.folder / "file"
        path.write_bytes(content)
        new = NewAsset(new_id(), self.library, kind, kind, kind, parent_id=UUID(self.track))
        sha256 = hashlib.sha256(content).hexdigest()
        stored = await assets.store(self.services, self.owner, new, path, sha256, len(content), media_type)
        return str(stored.id)

    async def midi(self) -> str:
        return await self.put("midi", midi_file(NOTES, Grid(120.0), track_per_pitch=False), "audio/midi")

    async def words(self) -> str:
        return await self.put("transcript", json.dumps(WORDS).encode(), "application/json")


@pytest_asyncio.fixture(loop_scope="module")
async def shelf(services: Services, owner: UUID, api: Api, tmp_path: Path) -> Shelf:
    track = await api.asset(wav(np.random.default_rng(owner.int % 2**32).bytes(120_000)))
    return Shelf(services, owner, track, tmp_path)


async def test_notes_are_read_from_midi_as_json_and_as_csv(api: Api, shelf: Shelf) -> None:
    midi = await shelf.midi()
    got = await api.get(f"/assets/{midi}/notes")
    assert (got.json["asset_id"], got.json["tempo"]) == (midi, pytest.approx(120, abs=0.01))
    assert [(n["pitch"], n["velocity"], n["bend"]) for n in got.json["notes"]] == [
        (60, 64, None),
        (64, 95, None),
    ]
    assert got.json["notes"][1]["start_s"] == pytest.approx(0.25, abs=0.01)
    rows = list(csv.reader(io.StringIO((await api.get(f"/assets/{midi}/notes?format=csv")).content.decode())))
    assert rows[0] == ["start_s", "end_s", "pitch", "velocity"]
    assert [row[2:] for row in rows[1:]] == [["60", "64"], ["64", "95"]]


async def test_a_recording_s_notes_are_the_table_s_with_bends_in_semitones(api: Api, shelf: Shelf) -> None:
    refused = await api.get(f"/assets/{shelf.track}/notes")
    assert (refused.status, refused.code) == (409, "conflict")
    table = await shelf.put("midi", json.dumps(TABLE).encode(), "application/json")
    await shelf.midi()
    got = await api.get(f"/assets/{shelf.track}/notes")
    assert got.json["asset_id"] == table
    assert got.json["notes"][0]["bend"] == [0.0, 1.0, pytest.approx(-1 / 3, abs=0.001)]
    tag = {"If-None-Match": got.headers["ETag"]}
    assert (await api.get(f"/assets/{shelf.track}/notes", headers=tag)).status == 304


async def test_words_are_read_in_every_form(api: Api, shelf: Shelf) -> None:
    assert (await api.get(f"/assets/{shelf.track}/transcript")).code == "conflict"
    words = await shelf.words()
    for asset in (words, shelf.track):
        got = (await api.get(f"/assets/{asset}/transcript")).json
        assert (got["asset_id"], got["language"], got["text"]) == (words, "en", "Oh yes")
        assert got["segments"][0]["words"][1] == {
            "text": "yes", "start_s": 0.25, "end_s": 0.5, "probability": 0.8
        }  # fmt: skip
    forms = {
        "txt": ("text/plain", "Oh yes\n"),
        "srt": ("application/x-subrip", "1\n00:00:00,000 --> 00:00:00,500\nOh yes\n"),
        "vtt": ("text/vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:00.500\nOh yes\n"),
        "lrc": ("application/x-lrc", "[00:00.00]Oh yes"),
        "elrc": ("application/x-lrc", "<00:00.00> Oh<00:00.25> yes <00:00.50>"),
    }
    for form, (media_type, text) in forms.items():
        read = await api.get(f"/assets/{words}/transcript?format={form}")
        assert read.headers["Content-Type"] == f"{media_type}; charset=utf-8"
        assert text in read.content.decode(), form


async def test_bytes_that_are_neither_are_refused_by_name(api: Api, shelf: Shelf) -> None:
    broken = [
        ("midi", b"MThd", "audio/midi", "notes", "unsupported-midi"),
        ("midi", b'{"notes": 1}', "application/json", "notes", "unsupported-midi"),
        ("transcript", b"{}", "application/json", "transcript", "unsupported-transcript"),
    ]
    for kind, content, media_type, what, code in broken:
        asset = await shelf.put(kind, content, media_type)
        got = await api.get(f"/assets/{asset}/{what}")
        assert (got.status, got.code) == (422, code)


@pytest_asyncio.fixture(loop_scope="module")
async def working(services: Services, tmp_path: Path) -> AsyncIterator[None]:
    async with at_work(services, ["aligner"], Resolver(tmp_path / "weights", offline=True)):
        yield


async def test_words_meet_notes_in_one_job(api: Api, shelf: Shelf, working: None) -> None:
    inputs = [{"asset_id": each} for each in (shelf.track, await shelf.midi(), await shelf.words())]
    body = {"operation": "align", "inputs": inputs, "params": {"title": "Oh"}}
    job = (await api.post("/jobs", body, headers={"Prefer": "wait=30"})).json
    assert job["state"] == "succeeded", job["error"]
    assert job["result"]["facts"] == {
        "words": 2, "words_without_notes": 0, "notes": 2, "notes_without_words": 0
    }  # fmt: skip
    made = {output["name"]: output["asset_id"] for output in job["outputs"]}
    assert sorted(name.partition(" ")[2] for name in made) == [
        "[sung.enhanced].lrc", "[sung].json", "[sung].mid", "[ultrastar].txt"
    ]  # fmt: skip
    sung = next(asset for name, asset in made.items() if name.endswith(".mid"))
    assert [n["pitch"] for n in (await api.get(f"/assets/{sung}/notes")).json["notes"]] == [60, 64]
    text = next(asset for name, asset in made.items() if name.endswith(".txt"))
    content = (await api.get(f"/assets/{text}/content")).content.decode()
    assert content.endswith("#GAP:0\n: 0 8 0 Oh\n: 8 8 4  yes\nE\n")
    refused = await api.post("/jobs", {"operation": "align", "inputs": inputs[:2]})
    assert (refused.status, refused.code) == (422, "model-input-unsupported")
