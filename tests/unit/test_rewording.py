"""Times of words that somebody typed over what was heard."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralib.executors.whisper.rewording import LEAST_S, reword
from neuralib.executors.whisper.transcript import Word

HEARD = [
    Word(" oh", 1.0, 1.4, 0.9),
    Word(" yes,", 1.5, 2.0, 0.3),
    Word(" we", 2.0, 2.2, 0.8),
    Word(" can", 2.2, 3.0, 0.7),
]
TEXTS = st.lists(st.text("abcdefg',", min_size=1, max_size=9), min_size=1, max_size=12).map(" ".join)


@st.composite
def lines(draw):
    """What was heard from 10 s on, in order of time, and when it ended."""
    at, words = 10.0, []
    for text in draw(TEXTS).split():
        at += draw(st.floats(0, 0.5))
        end = at + draw(st.floats(0.05, 1.5))
        words.append(Word(f" {text}", at, end, 0.5))
        at = end
    return words


def times(words):
    return [(word.text.strip(), round(word.start, 3), round(word.end, 3)) for word in words]


def test_what_was_heard_keeps_its_times_and_a_correction_takes_those_of_its_place():
    assert times(reword("Oh yeah, we can", 1.0, 3.0, HEARD)) == [
        ("Oh", 1.0, 1.4), ("yeah,", 1.4, 2.0), ("we", 2.0, 2.2), ("can", 2.2, 3.0)
    ]  # fmt: skip


def test_a_correction_is_certain_and_the_rest_stays_as_doubtful_as_it_was():
    assert [word.probability for word in reword("oh yeah we can", 1.0, 3.0, HEARD)] == [0.9, 1.0, 0.8, 0.7]


def test_case_and_punctuation_change_no_time():
    assert [t[1:] for t in times(reword("Oh: YES! We can.", 1.0, 3.0, HEARD))] == [
        t[1:] for t in times(HEARD)
    ]


def test_words_share_a_gap_by_their_length():
    assert times(reword("oh yes we really could", 1.0, 3.0, HEARD))[3:] == [
        ("really", 2.2, pytest.approx(2.636, abs=1e-3)),
        ("could", pytest.approx(2.636, abs=1e-3), 3.0),
    ]


def test_a_word_between_two_that_touch_gets_some_of_the_time_before_it():
    words = reword("oh yes, and we can", 1.0, 3.0, HEARD)
    assert times(words)[0] == ("oh", 1.0, 1.4)
    assert times(words)[3:] == [("we", 2.0, 2.2), ("can", 2.2, 3.0)]
    assert words[2].end - words[2].start >= LEAST_S


def test_a_line_that_begins_later_begins_with_its_first_word():
    assert times(reword("oh yes, we can", 1.6, 3.0, HEARD))[0][1] == 1.6


def test_characters_without_blanks_are_placed_one_by_one():
    words = reword("東京の夜", 0.0, 2.0, [Word("東京", 0.0, 1.0, 0.5), Word("の", 1.0, 1.2, 0.5)])
    assert [word.text for word in words] == ["東", "京", "の", "夜"]
    assert times(words)[2:] == [("の", 1.0, 1.2), ("夜", 1.2, 2.0)]


@given(TEXTS, lines(), st.floats(0, 30), st.floats(0, 30))
def test_words_spell_the_text_in_order_and_inside_the_line(text, heard, a, b):
    start, end = min(a, b), max(a, b)
    words = reword(text, start, end, heard)
    assert "".join(word.text for word in words).split() == text.split()
    assert words[0].start == start
    assert all(start <= word.start <= word.end <= end + 1e-9 for word in words)
    assert all(before.end <= after.start + 1e-9 for before, after in pairwise(words))


@given(lines())
def test_a_text_that_did_not_change_moves_no_word(heard):
    words = reword("".join(word.text for word in heard), heard[0].start, heard[-1].end, heard)
    assert times(words) == times(heard)
    assert {word.probability for word in words} == {0.5}


@given(lines(), st.data())
def test_one_changed_word_leaves_the_others_where_they_were(heard, data):
    place = data.draw(st.integers(0, len(heard) - 1))
    texts = [word.text.strip() for word in heard]
    texts[place] = "zzz"
    words = reword(" ".join(texts), heard[0].start, heard[-1].end, heard)
    after, before = times(words), times(heard)
    assert [each for n, each in enumerate(after) if n != place] == [
        each for n, each in enumerate(before) if n != place
    ]
