"""Ranges, cursors, tags, JSON: what is read strictly."""

from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from neuralib.api.calls import decode_cursor, encode_cursor, parse_json
from neuralib.api.content import disposition, file_name, parse_range
from neuralib.api.replies import has_tag
from neuralib.api.schemas.jobs import JobsQuery, NewJob
from neuralib.errors import InvalidCursor, InvalidJSON, RangeNotSatisfiable, ValidationFailed

ID = "01890000-0000-7000-8000-000000000000"


@given(st.uuids())
def test_a_cursor_comes_back_as_it_went(id_: UUID) -> None:
    assert decode_cursor(encode_cursor(id_)) == id_


@given(st.text(max_size=40))
def test_a_cursor_that_nobody_gave_out_is_refused(text: str) -> None:
    try:
        id_ = decode_cursor(text)
    except InvalidCursor:
        return
    assert id_ is not None
    assert encode_cursor(id_) == text


@given(size=st.integers(0, 50), first=st.none() | st.integers(0, 60), last=st.none() | st.integers(0, 60))
def test_a_range_never_leaves_the_content(size: int, first: int | None, last: int | None) -> None:
    asked = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    try:
        span = parse_range(asked, size)
    except RangeNotSatisfiable:
        assert size == 0 or (first is None and last == 0) or (first is not None and first >= size)
        return
    if span is None:
        assert (first is None and last is None) or (first is not None and last is not None and last < first)
    else:
        assert 0 <= span[0] < span[1] <= size
        assert first is None or span[0] == first


@pytest.mark.parametrize(
    "header", [None, "", "bytes", "bytes=", "bytes=-", "bytes=1", "bytes=0-1,3-4", "bytes=+1-2", "bytes=١-٢"]
)
def test_a_range_that_cannot_be_read_is_no_range(header: str | None) -> None:
    assert parse_range(header, 100) is None


@given(st.text(max_size=60))
def test_a_file_name_cannot_break_out_of_its_header(name: str) -> None:
    value = disposition("attachment", name.encode(errors="replace").decode())
    assert value.isascii()
    assert value.isprintable()
    assert value.count('"') == 2


@pytest.mark.parametrize(
    ("name", "media_type", "saved"),
    [
        ("song", "audio/mpeg", "song.mp3"),
        ("Song.MP3", "audio/mpeg", "Song.MP3"),
        ("a/b", "audio/wav", "a_b.wav"),
        ("song [notes].mid", "audio/midi", "song [notes].mid"),
        ("words.lrc", "text/plain", "words.lrc"),
        ("song", "audio/mp4", "song.m4a"),
        ("song.stem.mp4", "audio/mp4", "song.stem.mp4"),
    ],
)
def test_a_saved_file_has_the_suffix_of_what_it_is(name: str, media_type: str, saved: str) -> None:
    asset = SimpleNamespace(name=name, facts={}, blob=SimpleNamespace(media_type=media_type))
    assert file_name(asset) == saved


@pytest.mark.parametrize(
    ("header", "has"), [(None, False), ("*", True), ('W/"1-a"', True), ('"0", "1-a"', True), ('"1"', False)]
)
def test_a_tag_is_found_among_others(header: str | None, has: bool) -> None:
    assert has_tag(header, '"1-a"') is has


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff",
        b'{"inputs": NaN}',
        b'{"metadata": {"x": 1e999}}',
        b'{"metadata": {"x": "a\\u0000b"}}',
        b'{"metadata": {"\\u0000": [1]}}',
        b'{"metadata": {"x": "\\ud800"}}',
        b"[" * 100_000,
        b'{"timeout_s": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_not_json_or_cannot_be_kept_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidJSON):
        parse_json(raw, NewJob)


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b"[]", ""),
        (b"{}", "/inputs"),
        (b'{"inputs": []}', "/inputs"),
        (b'{"inputs": [{"asset_id": "x"}]}', "/inputs/0/asset_id"),
        (b'{"inputs": [{"asset_id": "%b", "start_s": 1}]}' % ID.encode(), "/inputs/0/start_s"),
        (b'{"inputs": [{"asset_id": "%b"}], "priority": "urgent"}' % ID.encode(), "/priority"),
        (b'{"inputs": [{"asset_id": "%b"}], "timeout_s": "5"}' % ID.encode(), "/timeout_s"),
        (b'{"inputs": [{"asset_id": "%b"}], "timeout_s": 0}' % ID.encode(), "/timeout_s"),
        (b'{"inputs": [{"asset_id": "%b"}], "outputs": {"format": "aiff"}}' % ID.encode(), "/outputs/format"),
        (b'{"inputs": [{"asset_id": "%b"}], "webhook_id": null}' % ID.encode(), "/webhook_id"),
    ],
)
def test_a_wrong_field_of_a_job_is_named(raw: bytes, pointer: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        parse_json(raw, NewJob)
    assert [each.pointer for each in caught.value.fields] == [pointer]


def test_lists_in_a_query_are_separated_by_commas() -> None:
    query = JobsQuery.model_validate({"state": "queued,running", "ids": f"{ID},{ID}"})
    assert query.state == ["queued", "running"]
    with pytest.raises(ValidationError):
        JobsQuery.model_validate({"state": "queued,,running"})
