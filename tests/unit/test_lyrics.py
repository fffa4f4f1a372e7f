"""The lyric formats: what players read, for full and for empty transcripts."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralib.executors.whisper import lyrics
from neuralib.executors.whisper.transcript import Segment, Transcript, Word

WRITERS = (lyrics.as_txt, lyrics.as_srt, lyrics.as_vtt, lyrics.as_lrc, lyrics.as_enhanced_lrc)


def segment(start, end, text, words=()):
    return Segment(0, start, end, text, [], 0.0, -0.25, 1.2, 0.01, [Word(*word) for word in words])


@pytest.fixture
def song():
    return Transcript(
        [
            segment(
                1.0, 2.5, " Hello <world> & you", [(" Hello", 1.0, 1.5, 0.9), (" <world>", 1.5, 2.5, 0.8)]
            ),
            segment(61.234, 3723.9, " Second line"),
        ],
        "en",
        0.987654321,
        3725.0,
    )


@pytest.fixture
def nothing():
    return Transcript([], None, None, 3.0)


def test_srt_counts_from_one_and_uses_a_comma(song):
    assert lyrics.as_srt(song) == (
        "1\n00:00:01,000 --> 00:00:02,500\nHello ‹world› & you\n\n"
        "2\n00:01:01,234 --> 01:02:03,900\nSecond line\n"
    )


def test_vtt_has_its_header_and_escapes_ampersands(song):
    assert lyrics.as_vtt(song) == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\nHello ‹world› &amp; you\n"
        "\n00:01:01.234 --> 01:02:03.900\nSecond line\n"
    )


def test_lrc_clears_the_line_before_a_rest_and_at_the_end(song):
    assert lyrics.as_lrc(song).splitlines() == [
        "[la:en]",
        "[re:NeuraLib]",
        "[length:62:05.00]",
        "[00:01.00]Hello ‹world› & you",
        "[00:02.50]",
        "[01:01.23]Second line",
        "[62:03.90]",
    ]


def test_enhanced_lrc_times_every_word_and_leaves_lines_without_words_plain(song):
    lines = lyrics.as_enhanced_lrc(song).splitlines()
    assert lines[3] == "[00:01.00]<00:01.00> Hello<00:01.50> ‹world› <00:02.50>"
    assert lines[5] == "[01:01.23]Second line"


def test_txt_is_one_segment_a_line(song):
    assert lyrics.as_txt(song) == "Hello ‹world› & you\nSecond line\n"


def test_json_holds_segments_words_and_the_facts_of_the_run(song):
    document = json.loads(lyrics.as_json(song, {"model": {"name": "whisper/base"}}))
    assert document["text"] == "Hello <world> & you Second line"
    assert document["language"] == "en"
    assert document["model"] == {"name": "whisper/base"}
    assert document["segments"][0]["words"][1] == {
        "text": "<world>",
        "start": 1.5,
        "end": 2.5,
        "probability": 0.8,
    }
    assert document["segments"][1]["words"] == []


def test_nothing_said_gives_valid_empty_files(nothing):
    assert lyrics.as_txt(nothing) == ""
    assert lyrics.as_srt(nothing) == ""
    assert lyrics.as_vtt(nothing) == "WEBVTT\n"
    assert lyrics.as_lrc(nothing) == "[re:NeuraLib]\n[length:00:03.00]\n"
    assert lyrics.as_enhanced_lrc(nothing) == lyrics.as_lrc(nothing)
    assert json.loads(lyrics.as_json(nothing, {}))["segments"] == []


@given(text=st.text(max_size=40), start=st.floats(0, 1e5), length=st.floats(0, 100))
def test_no_text_can_break_out_of_its_line(text, start, length):
    """A line end, an arrow or a tag in the text would start a cue, a block or a time of its own."""
    transcript = Transcript([segment(start, start + length, text)], None, None, start + length)
    srt = lyrics.as_srt(transcript).split("\n")
    assert len(srt) == 4
    assert srt[2]
    assert srt[2].strip()
    assert lyrics.as_vtt(transcript).count("-->") == 1
    for line in lyrics.as_lrc(transcript).rstrip("\n").split("\n")[2:]:
        assert re.match(r"\[\d{2,}:\d\d\.\d\d\]", line)


@pytest.mark.parametrize("write", WRITERS)
def test_times_never_carry_sixty_seconds(write):
    text = write(
        Transcript([segment(59.9999, 119.999999, "x", [("x", 59.9999, 119.999999, 1.0)])], None, None, 0.0)
    )
    assert ":60" not in text
