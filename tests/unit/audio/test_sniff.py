"""First bytes: what they are taken for, and what they are never taken for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuralib.audio import HEAD_BYTES, sniff


def test_every_container_that_we_decode_is_known_by_its_first_bytes(media):
    noise = media.noise(0.3)
    opus = {"codec": "libopus", "sample_format": "flt"}
    files = {
        "wav": media.sf("a.wav", noise),
        "flac": media.sf("a.flac", noise),
        "aiff": media.sf("a.aiff", noise),
        "caf": media.sf("a.caf", noise),
        "ogg": media.sf("a.ogg", noise),
        "mp4": media.av("a.m4a", noise, container="ipod", codec="aac"),
        "webm": media.av("a.webm", noise, 48_000, container="webm", **opus),
        "mkv": media.av("a.mkv", noise, 48_000, container="matroska", **opus),
        "mp3": media.av("a.mp3", noise, container="mp3", codec="libmp3lame"),
        "aac": media.av("a.aac", noise, container="adts", codec="aac"),
    }
    assert {name: sniff(path.read_bytes()[:HEAD_BYTES]) for name, path in files.items()} == {
        n: n for n in files
    }


def test_mp3_is_found_without_a_tag_at_any_rate_and_behind_junk(media):
    for rate in (44_100, 22_050, 8_000):  # MPEG-1, -2, -2.5
        how = {
            "container": "mp3",
            "codec": "libmp3lame",
            "options": {"id3v2_version": "0", "write_xing": "0"},
        }
        content = media.av("a.mp3", media.noise(0.5, rate, 1), rate, **how).read_bytes()
        assert content[0] == 0xFF
        assert sniff(content) == "mp3", rate
        assert sniff(bytes(1500) + content) == "mp3", rate
        assert sniff(content[: len(content) // 2 + 3]) == "mp3", rate


def test_a_tag_larger_than_the_head_counts_as_mp3():
    assert sniff(b"ID3\x03\0\0\0\x7f\x7f\x7f" + bytes(HEAD_BYTES - 10)) == "mp3"


@given(st.binary(max_size=2_000))
def test_bytes_of_any_kind_get_an_answer(content):
    assert sniff(content) in {None, "wav", "flac", "ogg", "aiff", "caf", "mp4", "webm", "mkv", "mp3", "aac"}


def test_noise_is_hardly_ever_taken_for_music():
    rng = np.random.default_rng(3)
    assert [sniff(b"\0" + rng.bytes(HEAD_BYTES)) for _ in range(100)] == [None] * 100
