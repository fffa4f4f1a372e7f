"""Conformance suites, for plug-in authors and for us. Needs the `test` extra.

Subclass a suite in a test module and give it its fixture; pytest does the rest:

    class TestMyStore(ObjectStoreConformance):
        @pytest.fixture
        async def store(self, tmp_path):
            async with open_my_store(tmp_path) as store:
                yield store

The tests are coroutines: run them with pytest-asyncio in auto mode.
"""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .errors import NotFound
from .objects import ObjectStore, Part, fetch_file, put_file

MIB = 1 << 20
NO_KEYS = ("", "/a", "a/", "a//b", "../a", "a/../b", ".hidden", "a/.b", "A", "a b", "ä", "a" * 513)


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that no two seeds share and no compression shortens."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - test data


async def chunked(content: bytes, size: int = 64 << 10) -> AsyncIterator[bytes]:
    """The content as an upload would bring it."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def stored(store: ObjectStore, key: str, start: int = 0, stop: int | None = None) -> bytes:
    """All that `read` gives, joined."""
    return b"".join([chunk async for chunk in store.read(key, start, stop)])


class ObjectStoreConformance:
    """What every ObjectStore does. Give a `store` fixture, one open store per test; `leftovers` is worth overriding."""

    async def leftovers(self, store: ObjectStore) -> Sequence[str]:  # noqa: ARG002 - overridden
        """Names of what unfinished uploads still occupy in the store. There must be none once `put` has returned."""
        return ()

    @pytest.fixture
    def key(self) -> str:
        """A key that no other test uses, in a folder of its own."""
        return f"conformance/{uuid4()}/an-object.wav"

    async def test_what_goes_in_comes_out(self, store: ObjectStore, key: str) -> None:
        for size in (0, 1, MIB, 8 * MIB, 20 * MIB + 1):
            content = noise(size)
            assert await store.put(key, chunked(content)) == size
            digest = hashlib.sha256(await stored(store, key)).digest()
            assert digest == hashlib.sha256(content).digest()
        assert not await self.leftovers(store)

    async def test_the_size_of_chunks_does_not_matter(self, store: ObjectStore, key: str) -> None:
        for size, chunk in ((1000, 1), (17 * MIB, 3 * MIB), (17 * MIB, 20 * MIB)):
            content = noise(size)
            await store.put(key, chunked(content, chunk))
            assert hashlib.sha256(await stored(store, key)).digest() == hashlib.sha256(content).digest()

    async def test_a_put_replaces_what_was_there(self, store: ObjectStore, key: str) -> None:
        await store.put(key, chunked(noise(3000)))
        await store.put(key, chunked(b"shorter"))
        assert await stored(store, key) == b"shorter"

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(
        size=st.sampled_from([0, 1, 1000]),
        start=st.integers(0, 1100),
        stop=st.none() | st.integers(0, 1100),
    )
    async def test_a_range_is_a_slice(
        self, store: ObjectStore, size: int, start: int, stop: int | None
    ) -> None:
        key = f"conformance/ranges/{size}"
        await store.put(key, chunked(noise(size)))
        assert await stored(store, key, start, stop) == noise(size)[start:stop]

    async def test_a_range_across_blocks_is_a_slice(self, store: ObjectStore, key: str) -> None:
        content = noise(3 * MIB)
        await store.put(key, chunked(content))
        assert await stored(store, key, 5, 2 * MIB + 7) == content[5 : 2 * MIB + 7]

    async def test_a_negative_position_is_a_mistake(self, store: ObjectStore, key: str) -> None:
        for start, stop in ((-1, None), (0, -1)):
            with pytest.raises(ValueError, match="not a range"):
                await stored(store, key, start, stop)

    async def test_reading_what_is_missing_says_not_found(self, store: ObjectStore, key: str) -> None:
        for start, stop in ((0, None), (5, 9), (0, 0)):
            with pytest.raises(NotFound):
                await stored(store, key, start, stop)

    async def test_deleted_is_gone_and_may_be_deleted_again(self, store: ObjectStore, key: str) -> None:
        await store.put(key, chunked(b"bytes"))
        await store.delete(key)
        await store.delete(key)
        with pytest.raises(NotFound):
            await stored(store, key)
        assert [stat async for stat in store.list(key)] == []

    async def test_list_tells_of_a_prefix_and_nothing_else(self, store: ObjectStore, key: str) -> None:
        folder = key.rpartition("/")[0]
        keys = {f"{folder}/{name}" for name in ("a", "ab", "b", "deep/er/a")}
        for each in keys:
            await store.put(each, chunked(b"four"))
        found = {stat.key: stat async for stat in store.list(f"{folder}/")}
        assert found.keys() == keys
        assert {stat.bytes for stat in found.values()} == {4}
        assert {s.key async for s in store.list(f"{folder}/a")} == {f"{folder}/a", f"{folder}/ab"}
        assert [s async for s in store.list(f"{folder}/nothing/here")] == []

    async def test_list_tells_when(self, store: ObjectStore, key: str) -> None:
        await store.put(key, chunked(b"now"))
        (stat,) = [stat async for stat in store.list(key)]
        assert abs(datetime.now(UTC) - stat.modified_at) < timedelta(minutes=1)

    @pytest.mark.parametrize("size", [100, 20 * MIB])
    async def test_a_source_that_fails_leaves_nothing(self, store: ObjectStore, key: str, size: int) -> None:
        async def source() -> AsyncIterator[bytes]:
            async for chunk in chunked(noise(size)):
                yield chunk
            raise EOFError("the client went away")

        with pytest.raises(EOFError, match="the client went away"):
            await store.put(key, source())
        await self._nothing_is_left(store, key)

    @pytest.mark.parametrize("size", [100, 20 * MIB])
    async def test_a_cancelled_put_leaves_nothing(self, store: ObjectStore, key: str, size: int) -> None:
        stalled = asyncio.Event()

        async def source() -> AsyncIterator[bytes]:
            async for chunk in chunked(noise(size)):
                yield chunk
            stalled.set()
            await asyncio.Event().wait()

        put = asyncio.create_task(store.put(key, source()))
        await stalled.wait()
        put.cancel()
        with pytest.raises(asyncio.CancelledError):
            await put
        await self._nothing_is_left(store, key)

    async def test_a_failed_put_keeps_what_was_there(self, store: ObjectStore, key: str) -> None:
        async def source() -> AsyncIterator[bytes]:
            yield noise(9 * MIB)
            raise EOFError

        await store.put(key, chunked(b"the old one"))
        with pytest.raises(EOFError):
            await store.put(key, source())
        assert await stored(store, key) == b"the old one"

    async def test_of_concurrent_puts_one_wins_whole(self, store: ObjectStore, key: str) -> None:
        contents = [noise(9 * MIB, seed) for seed in range(3)]
        await asyncio.gather(*(store.put(key, chunked(content)) for content in contents))
        assert await stored(store, key) in contents
        assert not await self.leftovers(store)

    async def test_a_read_sees_one_object_though_it_is_replaced(self, store: ObjectStore, key: str) -> None:
        old = noise(MIB)
        await store.put(key, chunked(old))
        async with contextlib.aclosing(store.read(key)) as chunks:
            seen = [await anext(chunks)]
            await store.put(key, chunked(noise(MIB, 1)))
            seen += [chunk async for chunk in chunks]
        assert b"".join(seen) == old

    async def test_reads_that_are_left_early_hold_nothing(self, store: ObjectStore, key: str) -> None:
        await store.put(key, chunked(noise(2 * MIB)))
        for _ in range(30):
            async with contextlib.aclosing(store.read(key)) as chunks:
                await anext(chunks)
        async with asyncio.timeout(20):
            assert len(await stored(store, key)) == 2 * MIB

    async def test_reads_that_are_cancelled_hold_nothing(self, store: ObjectStore, key: str) -> None:
        await store.put(key, chunked(noise(2 * MIB)))
        for _ in range(30):
            begun = asyncio.Event()
            read = asyncio.create_task(_read_slowly(store, key, begun))
            await begun.wait()
            read.cancel()
            with pytest.raises(asyncio.CancelledError):
                await read
        async with asyncio.timeout(20):
            assert len(await stored(store, key)) == 2 * MIB

    async def test_a_key_that_is_no_id_is_a_mistake(self, store: ObjectStore) -> None:
        for key in NO_KEYS:
            with pytest.raises(ValueError, match="not an object key"):
                await store.put(key, chunked(b""))
            with pytest.raises(ValueError, match="not an object key"):
                await stored(store, key)
            with pytest.raises(ValueError, match="not an object key"):
                await store.delete(key)

    async def test_files_go_in_and_come_out(self, store: ObjectStore, key: str, tmp_path: Path) -> None:
        (tmp_path / "in").write_bytes(noise(3 * MIB))
        assert await put_file(store, key, tmp_path / "in", "audio/wav") == 3 * MIB
        assert await fetch_file(store, key, tmp_path / "out") == 3 * MIB
        assert (tmp_path / "out").read_bytes() == noise(3 * MIB)

    async def test_fetching_what_is_missing_makes_no_file(
        self, store: ObjectStore, key: str, tmp_path: Path
    ) -> None:
        folder = tmp_path / "fetched"
        folder.mkdir()
        with pytest.raises(NotFound):
            await fetch_file(store, key, folder / "out")
        assert list(folder.iterdir()) == []

    async def test_a_store_that_works_is_ready(self, store: ObjectStore) -> None:
        await store.check()

    async def _nothing_is_left(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(NotFound):
            await stored(store, key)
        assert [stat async for stat in store.list(key)] == []
        assert not await self.leftovers(store)


class PartStoreConformance:
    """What every ObjectStore does with objects that come in parts. Give a `store` fixture, one open store per test."""

    @pytest.fixture
    def key(self) -> str:
        """A key that no other test uses."""
        return f"conformance/{uuid4()}"

    async def test_parts_are_joined_in_order_whenever_they_came(self, store: ObjectStore, key: str) -> None:
        content = noise(12 * MIB + 7)
        handle = await store.parts.begin(key)
        assert list(await store.parts.list(key, handle)) == []
        for number in (3, 1, 2):
            part = content[(number - 1) * 6 * MIB : number * 6 * MIB]
            assert await store.parts.put(key, handle, number, chunked(part)) == len(part)
        expected = [Part(1, 6 * MIB), Part(2, 6 * MIB), Part(3, 7)]
        assert list(await store.parts.list(key, handle)) == expected
        assert [stat async for stat in store.list(key)] == []
        await store.parts.join(key, handle)
        assert hashlib.sha256(await stored(store, key)).digest() == hashlib.sha256(content).digest()

    async def test_a_part_that_comes_again_is_there_once(self, store: ObjectStore, key: str) -> None:
        handle = await store.parts.begin(key)
        await store.parts.put(key, handle, 1, chunked(b"bytes"))
        await store.parts.put(key, handle, 1, chunked(b"bytes"))
        assert list(await store.parts.list(key, handle)) == [Part(1, 5)]
        await store.parts.join(key, handle)
        assert await stored(store, key) == b"bytes"

    async def test_a_part_whose_source_fails_is_not_there(self, store: ObjectStore, key: str) -> None:
        async def source() -> AsyncIterator[bytes]:
            yield noise(100)
            raise EOFError("the client went away")

        handle = await store.parts.begin(key)
        await store.parts.put(key, handle, 1, chunked(b"whole"))
        for number in (1, 2):
            with pytest.raises(EOFError, match="the client went away"):
                await store.parts.put(key, handle, number, source())
        assert list(await store.parts.list(key, handle)) == [Part(1, 5)]
        await store.parts.abort(key, handle)

    async def test_two_uploads_of_one_key_do_not_meet(self, store: ObjectStore, key: str) -> None:
        one, two = await store.parts.begin(key), await store.parts.begin(key)
        await store.parts.put(key, one, 1, chunked(b"one"))
        await store.parts.put(key, two, 1, chunked(b"two"))
        await store.parts.abort(key, one)
        await store.parts.join(key, two)
        assert await stored(store, key) == b"two"

    async def test_an_upload_that_is_over_is_not_found(self, store: ObjectStore, key: str) -> None:
        aborted, joined = await store.parts.begin(key), await store.parts.begin(key)
        await store.parts.put(key, aborted, 1, chunked(b"x"))
        await store.parts.put(key, joined, 1, chunked(b"x"))
        await store.parts.abort(key, aborted)
        await store.parts.join(key, joined)
        for handle in (aborted, joined, "0" * 32):
            with pytest.raises(NotFound):
                await store.parts.list(key, handle)
            with pytest.raises(NotFound):
                await store.parts.put(key, handle, 1, chunked(b"x"))
            with pytest.raises(NotFound):
                await store.parts.join(key, handle)


async def _read_slowly(store: ObjectStore, key: str, begun: asyncio.Event) -> None:
    async with contextlib.aclosing(store.read(key)) as chunks:
        async for _ in chunks:
            begun.set()
            await asyncio.sleep(0)
        await asyncio.Event().wait()
