"""Our note creation and MIDI writing against the published package's, event for event and byte for byte."""

import inspect
import io

import mido
import numpy as np
import pytest
from basic_pitch import inference
from basic_pitch import note_creation as stock
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralib.executors.basic_pitch import BasicPitchParams
from neuralib.executors.basic_pitch.grid import Grid
from neuralib.executors.basic_pitch.midi import midi_file
from neuralib.executors.basic_pitch.notes import (
    FrameNote,
    NoteEvent,
    Rules,
    find_notes,
    frame_times,
    note_events,
    pitch_bends,
)

NO_CHANGE = "invalid value encountered in divide"  # stock divides 0 by 0 where nothing ever rises


def posteriorgrams(seed, frames, levels=0):
    """Notes that begin, swell, overlap, touch and end, over noise. With `levels` every value is one of so many, so
    that ties are everywhere."""
    rng = np.random.default_rng(seed)
    note = rng.random((frames, 88), np.float32) * np.float32(0.3)
    onset = rng.random((frames, 88), np.float32) * np.float32(0.2)
    for _ in range(frames // 6):
        start, length = rng.integers(0, frames), rng.integers(1, 60)
        pitch, level = rng.integers(0, 88), rng.uniform(0.25, 1.0)
        note[start : start + length, pitch] = level * rng.uniform(0.8, 1.0, len(note[start : start + length]))
        onset[start, pitch] = rng.uniform(0.3, 1.0)
    contour = rng.random((frames, 264), np.float32)
    if levels:
        note, onset, contour = (np.round(a * levels) / np.float32(levels) for a in (note, onset, contour))
    return note.astype(np.float32), onset.astype(np.float32), contour.astype(np.float32)


def stock_notes(note, onset, rules):
    return stock.output_to_notes_polyphonic(
        note.copy(),
        onset.copy(),
        onset_thresh=rules.onset_threshold,
        frame_thresh=rules.frame_threshold,
        min_note_len=rules.min_frames,
        infer_onsets=True,
        max_freq=rules.max_hz,
        min_freq=rules.min_hz,
        melodia_trick=rules.melodia_trick,
    )


def assert_same_notes(note, onset, rules):
    ours, theirs = find_notes(note, onset, rules), stock_notes(note, onset, rules)
    assert [tuple(n) for n in ours] == [(int(s), int(e), int(p), a) for s, e, p, a in theirs]
    return ours


RULES = st.builds(
    Rules,
    onset_threshold=st.sampled_from([0.1, 0.3, 0.5, 0.9]),
    frame_threshold=st.sampled_from([0.05, 0.25, 0.3, 0.5]),
    min_frames=st.sampled_from([0, 1, 5, 11, 30]),
    min_hz=st.sampled_from([None, 27.5, 110.0]),
    max_hz=st.sampled_from([None, 880.0, 4186.0]),
    melodia_trick=st.booleans(),
)


@pytest.mark.filterwarnings(f"ignore:{NO_CHANGE}")
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(3, 400), st.sampled_from([0, 2, 4, 10]), RULES)
def test_notes_are_those_of_the_published_package(seed, frames, levels, rules):
    assert_same_notes(*posteriorgrams(seed, frames, levels)[:2], rules)


@pytest.mark.parametrize("min_frames", [0, 11])
def test_a_long_recording_crosses_every_block_of_rows_with_the_same_notes(min_frames):
    assert len(assert_same_notes(*posteriorgrams(7, 5000)[:2], Rules(min_frames=min_frames))) > 100


@pytest.mark.filterwarnings(f"ignore:{NO_CHANGE}")
@pytest.mark.parametrize("level", [0.0, 0.3, 0.5, 1.0])
def test_what_never_changes_gives_the_same_notes(level):
    still = np.full((60, 88), level, np.float32)
    assert_same_notes(still, still, Rules())


@pytest.mark.filterwarnings(f"ignore:{NO_CHANGE}")
@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_a_few_frames_give_the_same_notes(frames):
    assert_same_notes(*posteriorgrams(1, frames)[:2], Rules(min_frames=0, frame_threshold=0.01))


def test_a_cancelled_search_for_notes_stops():
    def cancelled():
        raise InterruptedError

    note, onset, contour = posteriorgrams(2, 1000)
    with pytest.raises(InterruptedError):
        note_events(note, onset, contour, Rules(), pulse=cancelled)


def test_no_frames_give_no_notes():
    nothing = np.zeros((0, 88), np.float32)
    assert find_notes(nothing, nothing, Rules()) == []


def test_frequency_limits_beyond_the_keyboard_keep_or_leave_out_everything():
    note, onset, _ = posteriorgrams(3, 200)
    assert find_notes(note, onset, Rules(min_hz=10, max_hz=20_000)) == find_notes(note, onset, Rules())
    assert find_notes(note, onset, Rules(max_hz=10)) == []


@pytest.mark.parametrize("levels", [0, 2])
def test_pitch_bends_are_those_of_the_published_package_on_every_key(levels):
    *_, contour = posteriorgrams(5, 600, levels)
    notes = [FrameNote(5 * key, 5 * key + 1 + key % 40, 21 + key, np.float32(0.5)) for key in range(88)]
    theirs = [tuple(int(b) for b in n[4]) for n in stock.get_pitch_bends(contour, [tuple(n) for n in notes])]
    assert pitch_bends(contour, notes) == theirs


def test_frame_times_are_those_of_the_published_package():
    assert np.array_equal(frame_times(1000), stock.model_frames_to_time(1000))


@pytest.mark.parametrize("tempo", [120.0, 97.3, 10.0, 480.0])
@pytest.mark.parametrize("track_per_pitch", [False, True])
@pytest.mark.parametrize("with_bends", [False, True])
def test_the_midi_file_is_the_one_that_the_published_package_writes(tempo, track_per_pitch, with_bends):
    note, onset, contour = posteriorgrams(11, 900)
    midi, _ = stock.model_output_to_notes(
        {"note": note.copy(), "onset": onset.copy(), "contour": contour},
        onset_thresh=0.5,
        frame_thresh=0.3,
        include_pitch_bends=with_bends,
        multiple_pitch_bends=track_per_pitch,
        midi_tempo=tempo,
    )
    theirs = io.BytesIO()
    midi.write(theirs)
    events = note_events(note, onset, contour, Rules(), with_bends=with_bends)
    assert midi_file(events, Grid(tempo), track_per_pitch=track_per_pitch) == theirs.getvalue()


def test_no_notes_make_a_midi_file_that_opens():
    opened = mido.MidiFile(file=io.BytesIO(midi_file([], Grid(), track_per_pitch=False)))
    assert [m.type for m in opened.tracks[0]] == ["set_tempo", "time_signature", "end_of_track"]
    assert len(opened.tracks) == 1


def test_notes_hours_apart_keep_their_times():
    far = NoteEvent(9000.0, 9001.0, 60, 0.5, (0, 24, -25))
    opened = mido.MidiFile(file=io.BytesIO(midi_file([far], Grid(), track_per_pitch=False)))
    assert [(m.type, m.time) for m in opened.tracks[1]][1] == ("pitchwheel", 9000 * 2 * 220)
    assert [m.pitch for m in opened.tracks[1] if m.type == "pitchwheel"] == [0, 8191, -8192]


def test_a_faint_note_is_still_a_note_on():
    assert NoteEvent(0, 1, 60, 0.001, None).velocity == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"onset_threshold": 0},
        {"frame_threshold": 1.5},
        {"min_note_ms": -1},
        {"min_hz": 5},
        {"max_hz": 30_000},
        {"min_hz": 500, "max_hz": 400},
        {"tempo": 0},
        {"tempo": "fast"},
        {"quantize": 3},
        {"quantise": True},
    ],
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(reversed(wrong))):
        BasicPitchParams.model_validate(wrong)


def test_the_default_parameters_are_those_of_the_published_package():
    published = inspect.signature(inference.predict).parameters
    ours = BasicPitchParams()
    assert ours.onset_threshold == published["onset_threshold"].default
    assert ours.frame_threshold == published["frame_threshold"].default
    assert ours.min_note_ms == published["minimum_note_length"].default
    assert ours.melodia_trick == published["melodia_trick"].default
    assert ours.multiple_pitch_bends == published["multiple_pitch_bends"].default
    assert ours.tempo == published["midi_tempo"].default
    assert ours.rules == Rules()
