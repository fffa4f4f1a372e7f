"""Archives: names that every system can unpack, and a zip that is made as it is read."""

import io
import re
import zipfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from unicodedata import is_normalized

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralib.archives.names import PATH_BYTES, TEMPLATE, Names, check_template
from neuralib.archives.stream import Member, Stored, Text, measure, stream
from neuralib.errors import StorageUnavailable

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)

WINDOWS_REFUSES = re.compile(
    r'[<>:"\\|?*\x00-\x1f]|(^|/)(con|prn|aux|nul|com\d|lpt\d)(\.[^/]*)?(/|$)', re.IGNORECASE
)

# ── names ─────────────────────────────────────────────────────────────────────────────────────────────

hostile = st.one_of(
    st.text(max_size=60),
    st.sampled_from([
        "../../etc/passwd", "..", ".", "", " ", "a/b", "C:\\x", "NUL", "con", "Aux.wav", "COM1", "lpt9.mid", "x" * 5000,
        "ü" * 3000, "🎹" * 400, "שיר חדש", "a\n\r\tb", "nul\0", "trailing. . .", "manifest.json", "Cafe\u0301", "Café",
        "\u202egnp.exe", "~", "-rf", "$(id)", "İ", "ß", "SS", "ǅ",
    ]),
)  # fmt: skip


def check(path: str) -> None:
    assert len(path.encode()) <= PATH_BYTES
    assert is_normalized("NFC", path)
    assert not WINDOWS_REFUSES.search(path), path
    for part in path.split("/"):
        assert part not in {"", ".", ".."}
        assert part == part.strip(" ")
        assert not part.startswith(".")
        assert not part.endswith(".")
    assert path.isprintable()


@given(
    tracks=st.lists(st.tuples(hostile, st.lists(hostile, max_size=6)), max_size=6),
    template=st.sampled_from([TEMPLATE, "{name}", "{stem}/{name}", "a {role}/b/{track}/{name} {kind}"]),
    suffix=st.sampled_from(["", ".wav", ".mid"]),
)
def test_whatever_things_are_called_every_name_is_safe_and_there_once(
    tracks: list[tuple[str, list[str]]], template: str, suffix: str
) -> None:
    names, found = Names("manifest.json", "LICENSES.txt"), ["manifest.json", "LICENSES.txt"]
    for track, files in tracks:
        folder = names.folder(track)
        check(folder)
        for name in files:
            fields = {"track": folder, "name": name, "stem": name, "role": track, "kind": "audio"}
            path = names.file(template, fields, suffix)
            check(path)
            assert path.endswith(suffix)
            assert path.count("/") == template.count("/")
            found.append(path)
    folded = [path.casefold() for path in found]
    assert len(set(folded)) == len(folded)
    folders = {"/".join(path.split("/")[:-1]) for path in folded}
    assert not folders & set(folded)


def test_names_say_what_they_said_before() -> None:
    names = Names()
    folder = names.folder("Ünser Lied: Teil 2?")
    fields = {
        "track": folder,
        "name": "Ünser Lied [vocals]",
        "stem": "vocals",
        "role": "stem",
        "kind": "audio",
    }
    paths = [names.file(TEMPLATE, fields, ".wav") for _ in range(3)]
    assert paths == [
        "Ünser Lied_ Teil 2_/Ünser Lied [vocals].wav",
        "Ünser Lied_ Teil 2_/Ünser Lied [vocals] (2).wav",
        "Ünser Lied_ Teil 2_/Ünser Lied [vocals] (3).wav",
    ]
    assert names.folder("ünser lied: teil 2?") == "ünser lied_ teil 2_ (2)"


@pytest.mark.parametrize(
    "template", ["{nme}", "{name", "name}", "{}", "x", "{track}/x", "a/b/c/d/{name}", "{name!r}"]
)
def test_a_template_that_cannot_name_files_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"braces|folders|fields"):
        check_template(template)


# ── the zip ───────────────────────────────────────────────────────────────────────────────────────────


async def zeros(size: int, chunk: int = 1 << 20) -> AsyncGenerator[bytes, None]:
    while size > 0:
        yield bytes(min(size, chunk))
        size -= chunk


async def spool(members: list[Member]) -> bytes:
    return b"".join([chunk async for chunk in stream(members)])


@pytest.mark.parametrize("sizes", [[], [0], [1, 0, 5], [70_000, 3 << 20, 1]])
async def test_an_archive_is_whole_and_as_long_as_was_said(sizes: list[int]) -> None:
    members: list[Member] = [
        *(
            Stored(f"tracks/{n} ü.wav", size, NOW, lambda size=size: zeros(size))
            for n, size in enumerate(sizes)
        ),
        Text("manifest.json", b'{"a": 1}' * 1000, NOW),
    ]
    content = await spool(members)
    assert len(content) == measure(members)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert [(i.filename, i.file_size) for i in archive.infolist()] == [(m.name, m.size) for m in members]
        kinds = {i.filename: i.compress_type for i in archive.infolist()}
        assert {kinds.pop("manifest.json")} == {zipfile.ZIP_DEFLATED}
        assert set(kinds.values()) <= {zipfile.ZIP_STORED}
        assert archive.infolist()[0].date_time == (2026, 10, 1, 12, 0, 0)


async def test_an_archive_over_four_gibibytes_is_zip64_and_as_long_as_was_said() -> None:
    block = bytes(1 << 24)

    async def big(size: int) -> AsyncGenerator[bytes, None]:
        for _ in range(size // len(block)):
            yield block

    size = (4 << 30) + len(block)
    members: list[Member] = [Stored("a.wav", size, NOW, lambda: big(size)), Text("b.txt", b"end", NOW)]
    length, tail = 0, b""
    async for chunk in stream(members):
        length, tail = length + len(chunk), (tail + chunk)[-200:]
    assert length == measure(members)
    assert b"PK\x06\x07" in tail


async def test_one_member_is_open_at_a_time_and_none_before_its_turn() -> None:
    seen: list[str] = []

    async def watched(name: str) -> AsyncGenerator[bytes, None]:
        seen.append(f"open {name}")
        try:
            yield bytes(100_000)
            yield bytes(100_000)
        finally:
            seen.append(f"close {name}")

    members: list[Member] = [Stored(n, 200_000, NOW, lambda n=n: watched(n)) for n in "abc"]
    async with aclosing(stream(members)) as chunks:
        assert seen == []
        await anext(chunks)
        assert seen == ["open a"]
        await anext(chunks)
        await anext(chunks)
        assert seen == ["open a", "close a", "open b"]
    assert seen == ["open a", "close a", "open b", "close b"]


async def drain(members: list[Member], into: bytearray) -> None:
    async for chunk in stream(members):
        into += chunk


@pytest.mark.parametrize("size", [99_999, 100_001])
async def test_a_member_of_another_size_ends_the_archive_before_it_is_whole(size: int) -> None:
    members: list[Member] = [Stored("a", size, NOW, lambda: zeros(100_000)), Text("b", b"end", NOW)]
    got = bytearray()
    with pytest.raises(StorageUnavailable):
        await drain(members, got)
    assert not zipfile.is_zipfile(io.BytesIO(got))
