import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
import pytest_asyncio
from pydantic import SecretStr

from neuralib.errors import ConfigurationError, NotFound, StorageFull, StorageUnavailable
from neuralib.objects import LocalObjects, Part, open_local, open_objects
from neuralib.objects.blocks import in_thread
from neuralib.objects.s3 import S3Objects, open_s3
from neuralib.testing import MIB, ObjectStoreConformance, PartStoreConformance, chunked, noise, stored
from servers import canned_server, silent_server, slow_proxy

BUCKET = "neuralib"


def s3(server, **changes):
    """A client of ours for the test server."""
    options = {
        "endpoint": server.endpoint,
        "bucket": BUCKET,
        "access_key": SecretStr(server.access_key),
        "secret_key": SecretStr(server.secret_key),
        "create_bucket": True,
    }
    return open_s3(**(options | changes))


def nobody(url, **changes):
    """A client of ours for a server that is no S3 server at all."""
    keys = {"access_key": SecretStr("any"), "secret_key": SecretStr("any")}
    return open_s3(**({"endpoint": url, "bucket": BUCKET, "timeout_s": 0.5} | keys | changes))


class TestLocalObjects(ObjectStoreConformance):
    @pytest.fixture
    async def store(self, tmp_path):
        self.folder = tmp_path / "objects"
        async with open_local(self.folder) as store:
            yield store

    async def leftovers(self, store):
        return [path.name for path in (self.folder / ".partial").iterdir()]


class TestLocalParts(PartStoreConformance):
    @pytest.fixture
    async def store(self, tmp_path):
        async with open_local(tmp_path / "objects") as store:
            yield store


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def shared_s3(s3_server):
    """One client for the suite: making it costs more than most tests."""
    async with s3(s3_server, connections=4) as store:
        yield store


@pytest.mark.asyncio(loop_scope="class")
class TestS3Objects(ObjectStoreConformance):
    @pytest.fixture
    def store(self, shared_s3):
        return shared_s3

    async def leftovers(self, store):
        uploads = await store._call("list_multipart_uploads")
        return [upload["Key"] for upload in uploads.get("Uploads", ())]


@pytest.mark.asyncio(loop_scope="class")
class TestS3Parts(PartStoreConformance):
    @pytest.fixture
    def store(self, shared_s3):
        return shared_s3


# ── the folder ────────────────────────────────────────────────────────────────────────────────────────


async def test_opening_removes_uploads_that_a_killed_process_left_yesterday(tmp_path):
    async with open_local(tmp_path) as store:
        old, young = tmp_path / ".partial" / "old", tmp_path / ".partial" / "young"
        old.write_bytes(b"half an upload")
        young.write_bytes(b"half an upload")
        yesterday = time.time() - timedelta(days=1, minutes=1).total_seconds()
        os.utime(old, (yesterday, yesterday))
    async with open_local(tmp_path) as store:
        assert not old.exists()
        assert young.exists()
        assert [stat async for stat in store.list("")] == []


async def test_opening_removes_parts_of_uploads_that_nobody_went_on_with(tmp_path):
    async with open_local(tmp_path) as store:
        old, young = await store.parts.begin("old"), await store.parts.begin("young")
        await store.parts.put("old", old, 1, chunked(b"x"))
        yesterday = time.time() - timedelta(days=1, minutes=1).total_seconds()
        os.utime(tmp_path / ".parts" / old, (yesterday, yesterday))
    async with open_local(tmp_path, abandoned_after=timedelta(days=2)) as store:
        assert len(await store.parts.list("old", old)) == 1
    async with open_local(tmp_path) as store:
        with pytest.raises(NotFound):
            await store.parts.list("old", old)
        assert list(await store.parts.list("young", young)) == []
        assert [stat async for stat in store.list("")] == []


async def test_objects_survive_a_reopening(tmp_path):
    async with open_local(tmp_path) as store:
        await store.put("a/b", chunked(b"bytes"))
    async with open_local(tmp_path) as store:
        assert await stored(store, "a/b") == b"bytes"


async def test_a_full_disk_says_storage_full():
    def fill():
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")

    with pytest.raises(StorageFull, match="no room left"):
        await in_thread(fill)


async def test_a_folder_that_cannot_be_made_says_unavailable_without_its_path(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnavailable) as caught:
        async with open_local(tmp_path / "file" / "objects"):
            pass
    assert str(tmp_path) not in caught.value.detail


async def test_a_folder_that_vanished_is_not_ready(tmp_path):
    async with open_local(tmp_path / "objects") as store:
        (tmp_path / "objects" / ".partial").rmdir()
        with pytest.raises(StorageUnavailable):
            await store.check()
        with pytest.raises(StorageUnavailable):
            await store.put("a", chunked(b"bytes"))


async def test_a_cancelled_caller_waits_for_the_thread_that_has_the_file():
    """Else a file would be closed under a running write."""
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work():
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result()

    caller = asyncio.create_task(in_thread(work))
    await entered.wait()
    caller.cancel()
    await asyncio.wait([caller], timeout=0.05)
    caller.cancel()
    assert not caller.done()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await caller


# ── S3 ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_silent_server_is_given_up_in_time():
    one_piece, in_parts = noise(7 * MIB), noise(17 * MIB)
    async with silent_server() as url, nobody(url) as store:
        began = time.monotonic()
        errors = await asyncio.gather(
            store.check(),
            store.put("small", chunked(b"small")),
            store.put("one-piece", chunked(one_piece)),
            store.put("in-parts", chunked(in_parts)),
            stored(store, "key"),
            store.delete("key"),
            anext(store.list("key")),
            return_exceptions=True,
        )
        assert time.monotonic() - began < 3  # not 7 times the timeout, and no retries on top
    assert {type(error) for error in errors} == {StorageUnavailable}
    assert {error.detail for error in errors} == {"The object store did not answer within 0.5 s."}


async def test_a_server_that_is_not_there_says_unavailable(unused_tcp_port):
    async with nobody(f"http://127.0.0.1:{unused_tcp_port}", timeout_s=10) as store:
        with pytest.raises(StorageUnavailable, match="connection to the object store failed"):
            await store.check()


async def test_a_reply_cut_short_says_unavailable_and_is_no_shorter_object():
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly half of it"
    async with canned_server(half) as url, nobody(url) as store:
        with pytest.raises(StorageUnavailable, match="connection to the object store failed"):
            await stored(store, "key")


async def test_a_server_that_fails_once_is_asked_again():
    busy = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    fine = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nbytes"
    # The first reply goes to the sweep of abandoned uploads or to the read, which race; both ask again.
    async with canned_server(busy, busy, fine) as url, nobody(url, timeout_s=20) as store:
        assert await stored(store, "key") == b"bytes"


@pytest.mark.parametrize(("status", "error"), [(503, StorageUnavailable), (507, StorageFull)])
async def test_a_server_in_trouble_says_so(status, error):
    reply = f"HTTP/1.1 {status} Trouble\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    async with canned_server(reply) as url, nobody(url, timeout_s=20) as store:
        with pytest.raises(error):
            await store.delete("key")


async def test_a_slow_upload_that_moves_is_left_alone(s3_server):
    """The deadline is one of silence, not of the whole upload."""
    async with slow_proxy(s3_server, 2 * MIB) as url, s3(s3_server, endpoint=url, timeout_s=2) as store:
        began = time.monotonic()
        await store.put("slow", chunked(noise(7 * MIB)))
        assert time.monotonic() - began > 2
        assert await stored(store, "slow") == noise(7 * MIB)


async def test_wrong_keys_say_unavailable_without_naming_them(s3_server):
    wrong = {"secret_key": SecretStr("not it"), "create_bucket": False}
    async with s3(s3_server, **wrong) as store:
        for call in (store.check(), store.put("key", chunked(b"")), stored(store, "key")):
            with pytest.raises(StorageUnavailable, match="refuses our credentials") as caught:
                await call
            assert "not it" not in caught.value.detail
            assert s3_server.access_key not in caught.value.detail


async def test_a_missing_bucket_says_unavailable(s3_server):
    async with s3(s3_server, bucket="never-made", create_bucket=False) as store:
        for call in (store.check(), stored(store, "key")):
            with pytest.raises(StorageUnavailable, match="bucket does not exist"):
                await call


async def test_two_processes_may_make_the_bucket_at_once(s3_server):
    async with s3(s3_server, bucket="raced") as one, s3(s3_server, bucket="raced") as two:
        await one.put("key", chunked(b"bytes"))
        assert await stored(two, "key") == b"bytes"


async def test_a_content_type_is_kept(s3_server):
    async with s3(s3_server) as store:
        for size in (10, 9 * MIB):
            await store.put("typed", chunked(noise(size)), content_type="audio/flac")
            client = s3_server.client()
            assert client.head_object(Bucket=BUCKET, Key="typed")["ContentType"] == "audio/flac"
            client.close()


async def test_the_sweep_aborts_uploads_of_killed_processes(s3_server):
    client = s3_server.client()
    async with s3(s3_server, bucket="swept") as store:
        client.create_multipart_upload(Bucket="swept", Key="half-done")
        assert await store.sweep() == 0  # not a day old
        assert await store.sweep(timedelta(0)) == 1
    assert "Uploads" not in client.list_multipart_uploads(Bucket="swept")
    client.close()


async def test_a_signed_link_opens_one_object_for_a_while(s3_server):
    async with s3(s3_server, public_url=s3_server.endpoint) as store, aiohttp.ClientSession() as client:
        await store.put("linked", chunked(b"bytes"))
        url = await store.link("linked", 60, content_type="audio/wav", disposition="attachment")
        async with client.get(url, headers={"Range": "bytes=1-2"}) as got:
            assert (got.status, await got.read()) == (206, b"yt")
            assert got.headers["Content-Type"] == "audio/wav"
            assert got.headers["Content-Disposition"] == "attachment"
        async with client.get(url.replace("linked", "other")) as got:
            assert got.status == 403
        async with client.put(url, data=b"other bytes") as got:
            assert got.status == 403
    async with s3(s3_server) as store:
        assert await store.link("linked", 60, content_type="audio/wav", disposition="inline") is None


async def test_a_signed_link_takes_one_part_of_its_length_and_no_other(s3_server):
    async with s3(s3_server, public_url=s3_server.endpoint) as store, aiohttp.ClientSession() as client:
        handle = await store.parts.begin("parted")
        url = await store.parts.link("parted", handle, Part(1, 5), 60)
        async with client.put(url, data=b"too long by far") as got:
            assert got.status == 403
        async with client.put(url.replace("partNumber=1", "partNumber=2"), data=b"bytes") as got:
            assert got.status == 403
        assert list(await store.parts.list("parted", handle)) == []
        async with client.put(url, data=b"bytes") as got:
            assert got.status == 200
        assert list(await store.parts.list("parted", handle)) == [Part(1, 5)]
        await store.parts.join("parted", handle)
        assert await stored(store, "parted") == b"bytes"


# ── the choice ────────────────────────────────────────────────────────────────────────────────────────


def settings(**storage):
    keys = ("path", "endpoint", "access_key", "secret_key")
    return SimpleNamespace(
        storage=SimpleNamespace(
            **dict.fromkeys(keys)
            | {"bucket": BUCKET, "region": "us-east-1", "create_bucket": False}
            | {"timeout_s": 5.0, "spare_bytes": 0, "public_url": None, "upload_expiry_s": 86400.0}
            | storage
        )
    )


async def test_the_settings_choose_the_store(tmp_path):
    async with open_objects(settings(kind="local", path=tmp_path)) as store:
        assert isinstance(store, LocalObjects)
    async with open_objects(settings(kind="s3", endpoint="http://127.0.0.1:1")) as store:
        assert isinstance(store, S3Objects)


@pytest.mark.parametrize(
    "storage",
    [
        {"kind": "local"},
        {"kind": "s3", "endpoint": "no url"},
        {"kind": "s3", "access_key": SecretStr("half")},
    ],
)
async def test_settings_that_name_no_store_are_a_mistake(storage):
    with pytest.raises(ConfigurationError):
        async with open_objects(settings(**storage)):
            pass
