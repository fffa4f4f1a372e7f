"""Assets over HTTP: uploads in many shapes, bytes by Range, hostile bodies."""

import asyncio
import contextlib
import hashlib
import io
import math
import struct
import wave
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import pytest

from api_client import Api
from neuralib import jobs
from neuralib.config import Settings
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 300_000
IDLE_S = 1.0


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(limits={"upload_bytes": LIMIT, "body_bytes": 65536, "idle_body_s": IDLE_S})


def tone(seconds: float = 0.2, hz: float = 440.0) -> bytes:
    """A 16-bit mono wav."""
    frames = [round(12000 * math.sin(2 * math.pi * hz * n / 8000)) for n in range(round(8000 * seconds))]
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(struct.pack(f"<{len(frames)}h", *frames))
    return file.getvalue()


WAV = tone()


def part(content: bytes, name: str = "file", filename: str | None = "song.wav", more: str = "") -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"{named}\r\n{more}\r\n'
    return head.encode() + content + b"\r\n"


def meta(text: str) -> bytes:
    return part(text.encode(), "meta", None)


END = b"--B--\r\n"
FORM = {"Content-Type": "multipart/form-data; boundary=B"}


async def left_behind(services: Services, library: str) -> list[Any]:
    async with services.db.transaction() as tx:
        return list(await tx.raw.fetch("select id from assets where library_id = $1", UUID(library)))


# ── uploads ───────────────────────────────────────────────────────────────────────────────────────────


async def test_an_upload_is_kept_byte_for_byte_and_described(api: Api) -> None:
    library = await api.library()
    got = await api.upload(library["id"], WAV, "Ünser Lied.wav")
    asset = got.json["items"][0]["asset"]
    assert got.headers["Location"] == f"/api/v1/assets/{asset['id']}"
    assert (asset["name"], asset["kind"], asset["role"], asset["parent_id"]) == (
        "Ünser Lied",
        "audio",
        "track",
        None,
    )
    assert (asset["audio"]["format"], asset["audio"]["frames"], asset["audio"]["duration_s"]) == (
        "wav",
        1600,
        0.2,
    )
    assert asset["blob"] == {
        "sha256": hashlib.sha256(WAV).hexdigest(),
        "bytes": len(WAV),
        "media_type": "audio/wav",
    }
    assert (await api.get(got.headers["Location"])).json == asset
    assert (await api.get(asset["urls"]["content"])).content == WAV
    counted = (await api.get(f"/libraries/{library['id']}")).json
    assert (counted["asset_count"], counted["bytes"], counted["duration_s"]) == (1, len(WAV), 0.2)


async def test_one_bad_file_does_not_fail_the_others(api: Api) -> None:
    library = (await api.library())["id"]
    body = (
        part(WAV)
        + part(b"%PDF-1.7 nothing to hear", filename="take1.mp3")
        + part(b"")
        + part(tone(0.1))
        + END
    )
    got = await api.post(f"/libraries/{library}/assets", data=body, headers=FORM)
    assert got.status == 201
    told = [(each["status"], each.get("problem", {}).get("code")) for each in got.json["items"]]
    assert told == [(201, None), (415, "unsupported-audio"), (422, "empty-upload"), (201, None)]
    assert len((await api.get(f"/libraries/{library}/assets")).json["items"]) == 2


async def test_a_meta_part_names_the_file_after_it_and_no_other(api: Api) -> None:
    library = (await api.library())["id"]
    body = (
        meta('{"name": "Bass", "role": "stem"}')
        + part(WAV)
        + part(WAV)
        + meta('{"nme": "x"}')
        + part(WAV)
        + END
    )
    got = await api.post(f"/libraries/{library}/assets", data=body, headers=FORM)
    first, second, third = got.json["items"]
    assert (first["asset"]["name"], first["asset"]["role"]) == ("Bass", "stem")
    assert (second["asset"]["name"], second["asset"]["role"]) == ("song", "track")
    assert (third["problem"]["code"], third["problem"]["errors"][0]["pointer"]) == (
        "validation-failed",
        "/nme",
    )


async def test_the_same_bytes_twice_in_a_library_are_told_and_stored_once(
    api: Api, services: Services
) -> None:
    library, song = (await api.library())["id"], tone(0.11)
    got = await api.post(
        f"/libraries/{library}/assets", data=part(song) + part(song) + part(tone(0.12)) + END, headers=FORM
    )
    first, second, third = got.json["items"]
    assert first.get("duplicate_of") is None
    assert second["duplicate_of"] == first["asset"]["id"]
    assert third.get("duplicate_of") is None
    async with services.db.transaction() as tx:
        sha256 = first["asset"]["blob"]["sha256"]
        assert await tx.raw.fetchval("select count(*) from blobs where sha256 = $1", sha256) == 1
    elsewhere = await api.upload((await api.library())["id"], song)
    assert elsewhere.json["items"][0].get("duplicate_of") is None


async def test_what_a_file_says_of_itself_is_kept(api: Api) -> None:
    info = (
        b"INFOINAM" + (6).to_bytes(4, "little") + b"Tonic\0" + b"IART" + (4).to_bytes(4, "little") + b"Me\0\0"
    )
    chunk = b"LIST" + len(info).to_bytes(4, "little") + info
    wav = tone(0.13)
    tagged = b"RIFF" + (len(wav) - 8 + len(chunk)).to_bytes(4, "little") + wav[8:] + chunk
    asset = await api.asset(tagged, "file.wav")
    assert asset["name"] == "file"
    assert asset["metadata"] == {"title": "Tonic", "artist": "Me"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (END, FORM, 422, "empty-upload"),
        (part(b"") + END, FORM, 422, "empty-upload"),
        (part(b"%PDF-1.7") + END, FORM, 415, "unsupported-audio"),
        (part(b"#EXTM3U\nhttp://127.0.0.1/x.ts\n", filename="x.mp3") + END, FORM, 415, "unsupported-audio"),
        (part(tone(0.0)) + END, FORM, 422, "audio-too-short"),
        (part(WAV, more="Content-Encoding: gzip\r\n") + END, FORM, 415, "unsupported-media-type"),
        (part(WAV, more="Content-Transfer-Encoding: base64\r\n") + END, FORM, 415, "unsupported-media-type"),
        (part(WAV, name="files") + END, FORM, 422, "validation-failed"),
        (meta("{") + part(WAV) + END, FORM, 400, "invalid-json"),
        (
            part(WAV, more="Content-Type: multipart/mixed; boundary=C\r\n") + END,
            FORM,
            400,
            "malformed-multipart",
        ),
        (part(WAV)[:-900], FORM, 400, "malformed-multipart"),
        (b"", FORM, 400, "malformed-multipart"),
        (b"no boundary at all", FORM, 400, "malformed-multipart"),
        (WAV, {"Content-Type": "multipart/form-data"}, 400, "malformed-multipart"),
        (WAV, {"Content-Type": "multipart/form-data; boundary=" + "b" * 200}, 400, "malformed-multipart"),
        (WAV, {"Content-Type": "audio/wav"}, 415, "unsupported-media-type"),
        (WAV, {**FORM, "Content-Encoding": "gzip"}, 415, "unsupported-media-type"),
        (part(bytes(LIMIT + 1)) + END, FORM, 413, "payload-too-large"),
        (b"\0" * (LIMIT + 70000), FORM, 413, "payload-too-large"),
        (meta("1" * 70000), FORM, 413, "payload-too-large"),
    ],
)
async def test_a_body_that_is_no_upload_is_refused_and_leaves_nothing(
    api: Api, services: Services, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    library = (await api.library())["id"]
    got = await api.post(f"/libraries/{library}/assets", data=body, headers=headers)
    assert (got.status, got.code) == (status, code), got.json
    assert await left_behind(services, library) == []


async def test_what_is_in_stays_in_when_the_body_breaks_off_later(api: Api) -> None:
    library = (await api.library())["id"]
    got = await api.post(f"/libraries/{library}/assets", data=part(WAV) + part(WAV)[:-900], headers=FORM)
    assert [each["status"] for each in got.json["items"]] == [201, 400]
    assert len((await api.get(f"/libraries/{library}/assets")).json["items"]) == 1


async def test_an_endless_body_without_a_length_is_cut_at_the_limit(api: Api) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield part(b"")[:-2]
        while True:
            yield bytes(16384)
            sent += 16384

    library = (await api.library())["id"]
    got = None
    with contextlib.suppress(aiohttp.ClientConnectionError):  # the server closed while we were still sending
        got = await api.post(f"/libraries/{library}/assets", data=endless(), headers=FORM)
    assert got is None or got.status == 413
    assert sent < 40 * LIMIT


async def test_a_body_that_stands_still_times_out(api: Api) -> None:
    stuck = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield part(WAV)[:500]
        await stuck.wait()

    library = (await api.library())["id"]
    got = await api.post(f"/libraries/{library}/assets", data=stalled(), headers=FORM)
    assert (got.status, got.code) == (408, "request-timeout")


async def test_a_declared_length_over_the_limit_is_refused_before_the_body(api: Api) -> None:
    library = (await api.library())["id"]
    address = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST /api/v1/libraries/{library}/assets HTTP/1.1\r\nHost: {address.netloc}\r\n"
    writer.write(f"{head}Content-Type: {FORM['Content-Type']}\r\nContent-Length: 99999999\r\n\r\n".encode())
    async with asyncio.timeout(30):
        reply = (await reader.readuntil(b"\r\n\r\n")).decode()
    assert reply.startswith("HTTP/1.1 413 ")
    assert "connection: close" in reply.lower()
    writer.close()
    await writer.wait_closed()


async def test_a_hostile_file_name_is_only_a_name(api: Api) -> None:
    names = {
        "../../etc/cron.d/x.wav": "x",
        "a\u202egnp.wav": "agnp",
        "x" * 3000 + ".wav": "x" * 200,
        "": "untitled",
    }
    library = (await api.library())["id"]
    body = b"".join(part(WAV, filename=filename) for filename in names) + END
    got = await api.post(f"/libraries/{library}/assets", data=body, headers=FORM)
    stored = [each["asset"] for each in got.json["items"]]
    assert [asset["name"] for asset in stored] == list(names.values())
    for asset in stored:
        assert (await api.get(f"{asset['urls']['content']}?download=1")).content == WAV


async def test_a_file_name_with_nul_is_not_a_server_error(api: Api) -> None:
    library = (await api.library())["id"]
    got = await api.post(
        f"/libraries/{library}/assets", data=part(WAV, filename="a\0b.wav") + END, headers=FORM
    )
    assert got.status in {201, 400}


async def test_uploading_into_a_library_of_somebody_else_is_not_found(api: Api) -> None:
    got = await api.upload("01890000-0000-7000-8000-000000000000", WAV)
    assert (got.status, got.code) == (404, "not-found")


# ── content ───────────────────────────────────────────────────────────────────────────────────────────


RANGES = {
    "bytes=0-99": (0, 100),
    "bytes=100-": (100, len(WAV)),
    "bytes=-7": (len(WAV) - 7, len(WAV)),
    f"bytes={len(WAV) - 1}-999999": (len(WAV) - 1, len(WAV)),
    "bytes=-999999": (0, len(WAV)),
}


async def test_a_range_brings_those_bytes_and_no_others(api: Api) -> None:
    url = (await api.asset(WAV))["urls"]["content"]
    for asked, (start, stop) in RANGES.items():
        got = await api.get(url, headers={"Range": asked})
        assert (got.status, got.content) == (206, WAV[start:stop]), asked
        assert got.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(WAV)}"
    for asked in ("bytes=0-1,5-6", "lines=1-2", "bytes=9-5"):  # cannot be read, or need not be served
        assert (await api.get(url, headers={"Range": asked})).content == WAV
    for asked in (f"bytes={len(WAV)}-", "bytes=-0"):
        past = await api.get(url, headers={"Range": asked})
        assert (past.status, past.code) == (416, "range-not-satisfiable")
        assert past.headers["Content-Range"] == f"bytes */{len(WAV)}"


async def test_content_is_cached_for_ever_and_resumed_only_when_it_is_the_same(api: Api) -> None:
    asset = await api.asset(WAV, "Größe ½.wav")
    url, tag = asset["urls"]["content"], f'"{asset["blob"]["sha256"]}"'
    head = await api.call("HEAD", url)
    assert (head.status, head.content, head.headers["Content-Length"]) == (200, b"", str(len(WAV)))
    assert (head.headers["ETag"], head.headers["Content-Type"]) == (tag, "audio/wav")
    assert "immutable" in head.headers["Cache-Control"]
    assert (await api.get(url, headers={"If-None-Match": tag})).status == 304
    for validator, status in {tag: 206, '"other"': 200, head.headers["Last-Modified"]: 206}.items():
        got = await api.get(url, headers={"Range": "bytes=0-0", "If-Range": validator})
        assert got.status == status
    saved = await api.get(f"{url}?download=1")
    assert saved.headers["Content-Disposition"] == (
        "attachment; filename=\"Gr__e _.wav\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%C2%BD.wav"
    )


async def test_content_whose_bytes_are_gone_says_so_before_the_first_byte(
    api: Api, services: Services
) -> None:
    asset = await api.asset(tone(0.15))
    async with services.db.transaction() as tx:
        key = await tx.raw.fetchval("select key from blobs where sha256 = $1", asset["blob"]["sha256"])
    await services.objects.delete(key)
    got = await api.get(asset["urls"]["content"])
    assert (got.status, got.code) == (503, "storage-unavailable")
    assert key not in got.content.decode()


# ── lists and deletes ─────────────────────────────────────────────────────────────────────────────────


async def test_assets_are_listed_by_page_and_by_kind(api: Api) -> None:
    library = (await api.library())["id"]
    ids = [(await api.upload(library, WAV)).json["items"][0]["asset"]["id"] for _ in range(3)]
    first = (await api.get(f"/libraries/{library}/assets?limit=2&kind=audio")).json
    rest = (
        await api.get(f"/libraries/{library}/assets?limit=2&kind=audio&cursor={first['next_cursor']}")
    ).json
    assert [item["id"] for item in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert (await api.get(f"/libraries/{library}/assets?kind=midi")).json["items"] == []
    assert len((await api.get(f"/libraries/{library}/assets?parent_id=null")).json["items"]) == 3
    assert (await api.get(f"/libraries/{library}/assets?parent_id={ids[0]}")).json["items"] == []
    assert len((await api.get(f"/libraries/{library}/assets?tree=true")).json["items"]) == 3
    assert (await api.get(f"/libraries/{library}/assets?kind=video")).code == "invalid-parameter"
    assert (await api.get(f"/libraries/{library}/assets?tree=true&parent_id={ids[0]}")).status == 400


async def test_an_asset_that_a_job_waits_for_cannot_be_deleted(
    api: Api, services: Services, owner: UUID
) -> None:
    asset = await api.asset(WAV)
    view = await jobs.submit(services, owner, jobs.JobRequest(UUID(asset["id"]), model="echo"))
    where = f"/assets/{asset['id']}"
    assert (await api.call("DELETE", where)).code == "asset-in-use"
    assert (await api.call("DELETE", f"/libraries/{asset['library_id']}")).code == "asset-in-use"
    await jobs.cancel(services, owner, view.job.id)
    assert (await api.call("DELETE", where, headers={"If-Match": '"7"'})).status == 412
    assert (await api.call("DELETE", where)).status == 204
    assert (await api.get(where)).status == 404
    assert (await api.get(asset["urls"]["content"])).status == 404
    assert (await api.call("DELETE", f"/libraries/{asset['library_id']}")).status == 204
