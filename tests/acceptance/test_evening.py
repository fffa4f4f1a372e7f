"""A producer's evening: twenty recordings in, one of them taken apart, its drums cut into samples, all of it carried to
another machine. Over HTTP alone, against `up` as a user starts it, on real audio.
"""

import asyncio
import hashlib
import io
import re
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import soundfile

import neuralib as package
from acceptance.harness import Client, up

DEMO = Path(package.__file__).parent / "demo" / "song.ogg"
LYRICS = DEMO.with_name("lyrics.txt")
EVENING_S = 240.0
UNDER_WAY = {"queued", "running"}
STEMS = {"vocals", "drums", "bass", "other"}
FORMATS = (("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("ogg", "VORBIS"))


async def test_a_producers_evening(tmp_path, data, client):
    async with asyncio.timeout(EVENING_S):
        with up(tmp_path, data) as server:
            api = client(server.url)
            library = await api.library("Tonight")
            tracks = await bring_in(api, library, [DEMO, *takes(tmp_path, 19)])
            song = tracks[0]
            stems, word = await taken_apart(api, song["id"])
            samples = await cut(api, stems["drums"])
            await tag(api, samples)
            assert song["name"] in await found(api, word), "the song by a word that is sung in it"
            assert len(await found(api, '"hit 3"')) == 1
            before = await inventory(api, library)
            assert {song["id"], *stems.values(), *samples} <= before.keys()
            archive = await export(api, library, tmp_path / "tonight.zip")

        with up(tmp_path, data.parent / "elsewhere") as server:
            api = client(server.url)
            elsewhere = await api.library("Tonight, at home")
            restored = await bring_back(api, elsewhere, archive)
            after = await inventory(api, elsewhere)
            assert restored.keys() == before.keys()
            assert set(restored.values()) == after.keys()
            for old, new in restored.items():
                assert told(after[new]) == told(before[old])
                assert after[new]["parent_id"] == restored.get(before[old]["parent_id"])
            for new in after.values():
                assert await digest(api, new["id"]) == new["blob"]["sha256"]
            assert song["name"] in await found(api, word)


def takes(folder: Path, count: int) -> list[Path]:
    """Excerpts of the demo song, no two alike, in every format that people keep takes in."""
    samples, rate = soundfile.read(DEMO)
    paths = []
    for number in range(count):
        extension, subtype = FORMATS[number % len(FORMATS)]
        path = folder / f"take {number + 1}.{extension}"
        start = number * rate
        soundfile.write(path, samples[start : start + 2 * rate], rate, subtype)
        paths.append(path)
    return paths


async def bring_in(api: Client, library: str, paths: list[Path]) -> list[dict[str, Any]]:
    """All files in one request."""
    form = aiohttp.FormData()
    for path in paths:
        form.add_field("file", path.read_bytes(), filename=path.name)
    body = await api.json("POST", f"/libraries/{library}/assets", 201, data=form)
    assert [item["status"] for item in body["items"]] == [201] * len(paths)
    tracks = [item["asset"] for item in body["items"]]
    for path, track in zip(paths, tracks, strict=True):
        assert track["blob"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    return tracks


async def taken_apart(api: Client, song: str) -> tuple[dict[str, str], str]:
    """Its stems by name, and a word that is sung; there are notes of what has pitch, and an analysis, too."""
    run = await api.json("POST", "/pipelines/full-breakdown/runs", 202, json={"asset_id": song})
    fractions = [run["fraction"]]
    while run["finished_at"] is None:
        parts = [part for step in run["steps"] for part in step["parts"] if part["state"] in UNDER_WAY]
        for part in parts[:1]:
            await api.json("GET", f"/jobs/{part['job_id']}?wait_s=5")
        run = await api.json("GET", f"/runs/{run['id']}")
        fractions.append(run["fraction"])
    assert (run["state"], run["fraction"]) == ("succeeded", 1.0), run
    assert fractions == sorted(fractions)
    made = {step["id"]: [out for part in step["parts"] for out in part["outputs"]] for step in run["steps"]}
    stems = {each["stem"]: each["asset_id"] for each in made["separate"] if each["role"] == "stem"}
    assert set(stems) == STEMS
    assert "midi" in {each["kind"] for each in made["notes"]}
    assert "analysis" in {each["kind"] for each in made["analysis"]}
    return stems, await sung(
        api, [each["asset_id"] for each in made["lyrics"] if each["kind"] == "transcript"]
    )


async def sung(api: Client, transcripts: list[str]) -> str:
    """A word that was heard rightly."""
    heard = b" ".join([(await api.content(transcript))[1] for transcript in transcripts]).decode().lower()
    words = re.findall(r"[a-z]{5,}", LYRICS.read_text().lower())
    return next(word for word in words if word in heard)


async def found(api: Client, word: str) -> set[str]:
    """The names of what is found by a word, wherever it is."""
    return {item["name"] for item in (await api.json("GET", f"/assets?q={word}&limit=200"))["items"]}


async def cut(api: Client, drums: str) -> list[str]:
    """Samples from attack to attack; each is a part of the stem, to the bit."""
    job = await api.submit(drums, "slice", params={"method": "onsets", "fade_ms": 0, "max_n": 32})
    done = await api.ended(job["id"])
    assert done["state"] == "succeeded", done["error"]
    samples = [each["asset_id"] for each in done["outputs"]]
    assert len(samples) >= 8, "the demo has a beat"
    whole = await audio(api, drums)
    for sample in samples:
        asset = await api.json("GET", f"/assets/{sample}")
        start, frames = asset["facts"]["start_frame"], asset["audio"]["frames"]
        assert np.array_equal(await audio(api, sample), whole[start : start + frames])
    return samples


async def tag(api: Client, samples: list[str]) -> None:
    for number, sample in enumerate(samples):
        said = {"tags": ["tonight", f"hit {number}"], "rating": number % 6, "notes": "Cut tonight."}
        told = await api.json("PATCH", f"/assets/{sample}", json=said)
        assert {name: told[name] for name in said} == said


async def audio(api: Client, asset: str) -> np.ndarray:
    status, content = await api.content(asset)
    assert status == 200
    samples, _ = soundfile.read(io.BytesIO(content), dtype="int32", always_2d=True)
    return samples


async def digest(api: Client, asset: str) -> str:
    return hashlib.sha256((await api.content(asset))[1]).hexdigest()


async def inventory(api: Client, library: str) -> dict[str, dict[str, Any]]:
    """Everything in a library, by id."""
    found, cursor = {}, ""
    while True:
        page = await api.json("GET", f"/libraries/{library}/assets?tree=true&limit=20{cursor}")
        found |= {item["id"]: item for item in page["items"]}
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def told(asset: dict[str, Any]) -> dict[str, Any]:
    """What must be the same wherever the asset is."""
    members = ("name", "kind", "role", "stem", "audio", "tags", "rating", "favorite", "notes", "metadata")
    same = {name: asset[name] for name in members}
    return same | {"sha256": asset["blob"]["sha256"], "bytes": asset["blob"]["bytes"]}


async def export(api: Client, library: str, path: Path) -> Path:
    async with api.session.get(f"{api.api}/libraries/{library}/export.zip") as reply:
        assert reply.status == 200
        content = await reply.read()
        assert len(content) == int(reply.headers["Content-Length"])
    await asyncio.to_thread(path.write_bytes, content)
    return path


async def bring_back(api: Client, library: str, archive: Path) -> dict[str, str]:
    """The new ids by the old ones."""
    with archive.open("rb") as file:
        form = aiohttp.FormData()
        form.add_field("file", file, filename=archive.name)
        body = await api.json("POST", f"/libraries/{library}/imports", 201, data=form)
    assert Counter(item["outcome"] for item in body["items"]) == {"restored": body["restored"]}
    return {item["source_id"]: item["asset_id"] for item in body["items"]}
