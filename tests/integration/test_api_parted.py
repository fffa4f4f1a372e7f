"""Uploads in parts over HTTP: through us into a folder, and by signed links straight into S3."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
import soundfile

from api_client import Api, Got
from neuralib import assets, uploads
from neuralib.api import listening
from neuralib.config import Settings
from neuralib.db import libraries as owner_rows
from neuralib.objects.parts import PART
from neuralib.services import Services, open_services
from servers import S3Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 44_100


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(limits={"render_wait_s": 60.0, "uploads_per_owner": 3})


def song(size: int) -> bytes:
    """A wav of about so many bytes that no other test has."""
    rng = np.random.default_rng(uuid4().int)
    samples = rng.integers(-9000, 9000, (size // 4, 2), np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, "PCM_16", format="WAV")
    return file.getvalue()


SMALL = 20_000


async def begun(api: Api, content: bytes, **more: Any) -> dict[str, Any]:
    library = (await api.library())["id"]
    body = {"library_id": library, "filename": "Ünser Lied.wav", "bytes": len(content), **more}
    got = await api.post("/uploads", body)
    assert got.status == 201, got.content
    assert got.headers["Location"] == f"/api/v1/uploads/{got.json['id']}"
    return got.json


async def put(api: Api, upload: dict[str, Any], number: int, content: Any, **options: Any) -> Got:
    data = io.BytesIO(content) if isinstance(content, bytes) else content
    return await api.call("PUT", f"/uploads/{upload['id']}/parts/{number}", data=data, **options)


async def bring(api: Api, upload: dict[str, Any], content: bytes) -> None:
    """All parts, as the links say, straight to the store where they are signed."""
    links = (await api.get(f"/uploads/{upload['id']}/links")).json["items"]
    async with aiohttp.ClientSession() as client:
        for link in links:
            start = (link["number"] - 1) * upload["part_bytes"]
            part = content[start : start + link["bytes"]]
            if link["signed"]:
                async with client.put(link["url"], data=io.BytesIO(part)) as answer:
                    assert answer.status == 200
            else:
                assert (await api.call("PUT", link["url"], data=io.BytesIO(part))).status == 204


async def complete(api: Api, upload: dict[str, Any]) -> Got:
    return await api.post(f"/uploads/{upload['id']}/complete")


async def keys(services: Services) -> set[str]:
    return {stat.key async for stat in services.objects.list("blobs/")}


# ── through us, into a folder ─────────────────────────────────────────────────────────────────────────


async def test_parts_in_any_order_become_the_asset_that_one_request_would_make(api: Api) -> None:
    content = song(2 * PART + 70_000)
    digest = hashlib.sha256(content).hexdigest()
    upload = await begun(api, content, sha256=digest, meta={"name": "Large", "role": "mix"})
    assert (upload["state"], upload["part_bytes"], upload["part_count"]) == ("open", PART, 3)
    assert upload["parts"] == []
    for number in (3, 1, 2):
        assert (await put(api, upload, number, content[(number - 1) * PART : number * PART])).status == 204
    there = (await api.get(f"/uploads/{upload['id']}")).json
    assert [part["number"] for part in there["parts"]] == [1, 2, 3]
    got = await complete(api, upload)
    assert got.status == 201, got.content
    asset = got.json["asset"]
    assert (asset["id"], asset["name"], asset["role"]) == (upload["id"], "Large", "mix")
    assert asset["blob"] == {"sha256": digest, "bytes": len(content), "media_type": "audio/wav"}
    assert asset["facts"]["filename"] == "Ünser Lied.wav"
    assert (await api.get(asset["urls"]["content"])).content == content
    assert (await api.get(asset["urls"]["peaks"])).status == 200
    after = (await api.get(f"/uploads/{upload['id']}")).json
    assert (after["state"], after["asset_id"]) == ("completed", asset["id"])
    again = await complete(api, upload)
    assert (again.status, again.json["asset"]["id"]) == (201, asset["id"])
    assert (await put(api, upload, 1, content[:PART])).code == "conflict"
    assert (await api.call("DELETE", f"/uploads/{upload['id']}")).status == 204
    assert (await api.get(f"/assets/{asset['id']}")).status == 200


async def test_an_upload_goes_on_where_it_broke_off(api: Api) -> None:
    content = song(PART + 1000)
    upload = await begun(api, content)
    await put(api, upload, 1, content[:PART])
    missing = await complete(api, upload)
    assert (missing.status, missing.code) == (422, "validation-failed")
    assert [(e["pointer"], e["code"]) for e in missing.json["errors"]] == [("/parts/2", "missing")]
    await put(api, upload, 2, content[PART:])
    assert (await complete(api, upload)).status == 201


async def test_no_parts_at_all_are_named_as_missing(api: Api) -> None:
    got = await complete(api, await begun(api, song(SMALL)))
    assert (got.status, got.code) == (422, "validation-failed")


async def test_a_part_of_another_length_is_refused_and_not_there(api: Api) -> None:
    content = song(SMALL)
    upload = await begun(api, content)

    async def streamed(part: bytes) -> AsyncIterator[bytes]:
        yield part

    for part in (content[:-1], content + b"x", b""):
        for body in (part, streamed(part)):
            got = await put(api, upload, 1, body)
            assert (got.status, got.code) == (422, "validation-failed")
    assert (await api.get(f"/uploads/{upload['id']}")).json["parts"] == []
    assert (await put(api, upload, 1, streamed(content))).status == 204


async def test_numbers_that_name_no_part_are_refused(api: Api) -> None:
    content = song(SMALL)
    upload = await begun(api, content)
    for number, status in ((0, 422), (2, 422), (10_001, 422), (-1, 404), ("x", 404), ("1.0", 404)):
        assert (await put(api, upload, number, content)).status == status, number  # type: ignore[arg-type]
    assert (await api.get(f"/uploads/{upload['id']}/links?first=2")).status == 422
    assert (await api.get(f"/uploads/{upload['id']}/links?first=0")).status == 400
    assert (await api.get(f"/uploads/{upload['id']}/links?first=1&last=9999")).json["items"][-1][
        "number"
    ] == 1


@pytest.mark.parametrize(
    "changes",
    [{"bytes": 0}, {"bytes": -1}, {"bytes": 1.5}, {"sha256": "x"}, {"sha256": "A" * 64}, {"key": "blobs/00/x"},
     {"filename": ""}, {"filename": "x" * 1001}, {"meta": {"role": "king"}}],
)  # fmt: skip
async def test_an_announcement_that_makes_no_sense_is_refused(api: Api, changes: dict[str, Any]) -> None:
    library = (await api.library())["id"]
    got = await api.post("/uploads", {"library_id": library, "filename": "a.wav", "bytes": 9, **changes})
    assert (got.status, got.code) == (422, "validation-failed")


async def test_too_much_and_too_many_are_refused(api: Api) -> None:
    body = {"library_id": (await api.library())["id"], "filename": "a.wav"}
    assert (await api.post("/uploads", {**body, "bytes": 1 << 49})).code == "payload-too-large"
    for _ in range(3):
        assert (await api.post("/uploads", {**body, "bytes": 9})).status == 201
    got = await api.post("/uploads", {**body, "bytes": 9})
    assert (got.status, got.code) == (429, "too-many-uploads")
    foreign = {**body, "library_id": str(uuid4()), "bytes": 9}
    assert (await api.post("/uploads", foreign)).status == 404


async def test_bytes_that_are_not_those_announced_end_the_upload(api: Api, services: Services) -> None:
    content = song(SMALL)
    before = await keys(services)
    upload = await begun(api, content, sha256="0" * 64)
    await put(api, upload, 1, content)
    got = await complete(api, upload)
    assert (got.status, got.code) == (400, "unsatisfied-checksum")
    told = (await api.get(f"/uploads/{upload['id']}")).json
    assert (told["state"], told["error"]["code"], told["asset_id"]) == (
        "failed",
        "unsatisfied-checksum",
        None,
    )
    assert (await complete(api, upload)).code == "conflict"
    await assets.sweep(services)
    assert await keys(services) <= before


async def test_parts_are_probed_like_any_upload(api: Api, services: Services) -> None:
    content = b"%PDF-1.7 " + bytes(SMALL)
    before = await keys(services)
    upload = await begun(api, content)
    await put(api, upload, 1, content)
    assert (await complete(api, upload)).code == "unsupported-audio"
    await assets.sweep(services)
    assert await keys(services) <= before


async def test_the_same_bytes_in_parts_are_told_as_a_double(api: Api) -> None:
    content = song(SMALL)
    library = (await api.library())["id"]
    first = (await api.upload(library, content)).json["items"][0]["asset"]
    body = {"library_id": library, "filename": "again.wav", "bytes": len(content)}
    upload = (await api.post("/uploads", body)).json
    await put(api, upload, 1, content)
    got = (await complete(api, upload)).json
    assert got["duplicate_of"] == first["id"]
    assert got["asset"]["blob"] == first["blob"]


async def test_many_who_complete_at_once_make_one_asset(api: Api) -> None:
    content = song(SMALL)
    upload = await begun(api, content)
    await put(api, upload, 1, content)
    answers = await asyncio.gather(*(complete(api, upload) for _ in range(6)))
    assert {got.status for got in answers} == {201}
    listed = (await api.get(f"/libraries/{upload['library_id']}/assets")).json["items"]
    assert [each["id"] for each in listed] == [upload["id"]]


async def test_an_aborted_upload_leaves_nothing(api: Api, services: Services) -> None:
    content = song(SMALL)
    upload = await begun(api, content)
    await put(api, upload, 1, content)
    row, _ = await uploads.get(services, await owner_of(services, upload), UUID(upload["id"]))
    assert (await api.call("DELETE", f"/uploads/{upload['id']}")).status == 204
    for got in (
        await api.get(f"/uploads/{upload['id']}"),
        await put(api, upload, 1, content),
        await complete(api, upload),
        await api.call("DELETE", f"/uploads/{upload['id']}"),
    ):
        assert got.status == 404
    assert await uploads._parts(services, row) is None


async def owner_of(services: Services, upload: dict[str, Any]) -> UUID:
    async with services.db.transaction() as tx:
        return await tx.raw.fetchval("select owner_id from uploads where id = $1", UUID(upload["id"]))


async def test_the_reaper_takes_what_nobody_completed_and_nothing_else(api: Api, services: Services) -> None:
    content = song(SMALL)
    late, done, open_ = [await begun(api, content) for _ in range(3)]
    for upload in (late, done, open_):
        await put(api, upload, 1, content)
    assert (await complete(api, done)).status == 201
    row, _ = await uploads.get(services, await owner_of(services, late), UUID(late["id"]))
    async with services.db.transaction() as tx:
        await tx.raw.execute(
            "update uploads set expires_at = now() - interval '1 s' where id = any($1)",
            [UUID(late["id"]), UUID(done["id"])],
        )
    assert (await api.get(f"/uploads/{late['id']}")).status == 404
    await uploads.reap(services)
    await assets.sweep(services)
    assert await uploads._parts(services, row) is None
    assert (await api.get(f"/assets/{done['id']}/content")).content == content
    assert len((await api.get(f"/uploads/{open_['id']}")).json["parts"]) == 1


async def test_an_upload_whose_library_goes_is_reaped(api: Api, services: Services) -> None:
    content = song(SMALL)
    upload = await begun(api, content)
    await put(api, upload, 1, content)
    row, _ = await uploads.get(services, await owner_of(services, upload), UUID(upload["id"]))
    assert (await api.call("DELETE", f"/libraries/{upload['library_id']}")).status == 204
    assert (await complete(api, upload)).status == 404
    await uploads.reap(services)
    assert await uploads._parts(services, row) is None


async def test_a_completion_that_died_after_the_joining_is_taken_up_again(
    api: Api, services: Services
) -> None:
    content = song(SMALL)
    upload = await begun(api, content)
    await put(api, upload, 1, content)
    row, _ = await uploads.get(services, await owner_of(services, upload), UUID(upload["id"]))
    await uploads._join(services, row)
    assert (await complete(api, upload)).status == 201
    assert (await api.get(f"/assets/{upload['id']}/content")).content == content


async def test_a_completion_of_another_process_is_waited_for_until_its_lease_ends(
    api: Api, services: Services
) -> None:
    content = song(SMALL)
    upload = await begun(api, content)
    await put(api, upload, 1, content)
    async with services.db.transaction() as tx:
        await tx.raw.execute(
            "update uploads set lease_until = now() + interval '1 h' where id = $1", UUID(upload["id"])
        )
    got = await complete(api, upload)
    assert (got.status, got.json["state"]) == (202, "completing")
    assert (await api.call("DELETE", f"/uploads/{upload['id']}")).code == "conflict"
    async with services.db.transaction() as tx:
        await tx.raw.execute("update uploads set lease_until = now() where id = $1", UUID(upload["id"]))
    assert (await complete(api, upload)).status == 201


# ── straight into S3 ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def s3_settings(settings: Settings, s3_server: S3Server) -> Settings:
    return settings.with_tables(
        storage={
            "kind": "s3",
            "endpoint": s3_server.endpoint,
            "bucket": "parted",
            "access_key": s3_server.access_key,
            "secret_key": s3_server.secret_key,
            "create_bucket": True,
            "public_url": s3_server.endpoint,
        }
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def s3_services(s3_settings: Settings) -> AsyncIterator[Services]:
    async with open_services(s3_settings) as services:
        yield services


@pytest_asyncio.fixture(loop_scope="module")
async def s3_api(s3_services: Services) -> AsyncIterator[Api]:
    async with s3_services.db.transaction() as tx:
        owner = await owner_rows.upsert_owner(tx, f"test-{uuid4()}")
    async with listening(s3_services, owner, "127.0.0.1", 0) as url, Api(url) as api:
        yield api


async def test_parts_go_straight_to_the_store_by_signed_links(s3_api: Api, s3_services: Services) -> None:
    content = song(PART + 100_000)
    upload = await begun(s3_api, content, sha256=hashlib.sha256(content).hexdigest())
    links = await s3_api.get(f"/uploads/{upload['id']}/links")
    assert {link["signed"] for link in links.json["items"]} == {True}
    assert links.headers["Cache-Control"] == "no-store"
    await bring(s3_api, upload, content)
    got = await complete(s3_api, upload)
    assert got.status == 201, got.content
    assert (await s3_api.get(got.json["asset"]["urls"]["content"])).content == content
    await assets.sweep(s3_services)
    assert (await s3_api.get(got.json["asset"]["urls"]["content"])).content == content


async def test_parts_may_come_through_us_too(s3_api: Api) -> None:
    content = song(PART + 100_000)
    upload = await begun(s3_api, content)
    for number, part in ((2, content[PART:]), (1, content[:PART])):
        assert (await put(s3_api, upload, number, part)).status == 204
    assert (await complete(s3_api, upload)).status == 201


async def test_a_part_that_is_short_in_the_store_is_named(
    s3_api: Api, s3_services: Services, s3_server: S3Server
) -> None:
    """Whoever signs with our keys himself, or a store that lets the length pass."""
    content = song(SMALL)
    upload = await begun(s3_api, content)
    row, _ = await uploads.get(s3_services, await owner_of(s3_services, upload), UUID(upload["id"]))
    client = s3_server.client()
    client.upload_part(Bucket="parted", Key=row.key, UploadId=row.handle, PartNumber=1, Body=content[:-9])
    client.close()
    got = await complete(s3_api, upload)
    assert (got.status, got.json["errors"][0]["code"]) == (422, "length")


async def test_an_aborted_upload_is_gone_from_the_store(s3_api: Api, s3_services: Services) -> None:
    content = song(SMALL)
    upload = await begun(s3_api, content)
    await bring(s3_api, upload, content)
    row, _ = await uploads.get(s3_services, await owner_of(s3_services, upload), UUID(upload["id"]))
    assert (await s3_api.call("DELETE", f"/uploads/{upload['id']}")).status == 204
    assert await uploads._parts(s3_services, row) is None
