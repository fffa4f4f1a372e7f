"""Tempo, beats and quantising: what a drummer would tap, and what a sequencer then shows."""

import io

import numpy as np
import pretty_midi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralib.executors.basic_pitch.grid import FRAME_RATE, Grid, find_grid
from neuralib.executors.basic_pitch.midi import midi_file
from neuralib.executors.basic_pitch.notes import NoteEvent, frame_times

TICK_S = 0.003  # at the slowest tempo below


def taps(times, frames, seed=0):
    """An onset posteriorgram with a chord at each of `times` (s), weaker notes in between, and noise."""
    rng = np.random.default_rng(seed)
    onset = rng.random((frames, 88)) * 0.02
    clock = frame_times(frames)
    for time in times:
        frame = int(np.abs(clock - time).argmin())
        onset[frame, rng.integers(0, 88, 4)] = 0.9
    for frame in rng.integers(0, frames, len(times) // 2):
        onset[frame, rng.integers(0, 88)] = 0.5
    return onset.astype(np.float32)


def steady(tempo, seconds=30.0, first=0.4):
    return np.arange(first, seconds, 60 / tempo)


def notes_at(times, length=0.2):
    return [NoteEvent(float(t), float(t) + length, 60 + i % 12, 0.5, None) for i, t in enumerate(times)]


@pytest.mark.parametrize("tempo", [76, 97, 120, 133, 160])
def test_steady_taps_give_their_tempo_and_their_beats(tempo):
    times = steady(tempo)
    grid = find_grid(taps(times, round(30 * FRAME_RATE)))
    assert grid.tempo == pytest.approx(tempo, rel=0.01)
    nearest = np.abs(np.subtract.outer(times[2:-2], grid.beats)).min(axis=1)
    assert nearest.max() < 0.035, "no beat is missed"
    assert len(grid.beats) == pytest.approx(len(times), abs=2)


def test_beats_follow_a_band_that_speeds_up():
    times = np.cumsum(np.linspace(0.6, 0.48, 60))
    grid = find_grid(taps(times, round(34 * FRAME_RATE)))
    assert np.abs(np.subtract.outer(times[2:-2], grid.beats)).min(axis=1).max() < 0.05


@pytest.mark.parametrize("onset", [np.zeros((5000, 88)), np.zeros((0, 88)), taps([0.5], 60)])
def test_what_has_no_beat_gets_the_usual_tempo(onset):
    assert find_grid(onset.astype(np.float32)) == Grid(120.0)


def test_a_cancelled_search_stops():
    def cancelled():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        find_grid(taps(steady(120, 60), 5000), cancelled)


def test_a_sequencer_shows_every_beat_on_a_quarter_note_and_every_note_at_its_time():
    beats = tuple(np.cumsum([0.7, *np.linspace(0.6, 0.48, 40)]).tolist())
    notes = notes_at([0.1, *beats, beats[-1] + 3.3])
    grid = Grid(115.0, beats)
    opened = pretty_midi.PrettyMIDI(io.BytesIO(midi_file(notes, grid, track_per_pitch=False)))
    starts = sorted(n.start for n in opened.instruments[0].notes)
    assert starts == pytest.approx([n.start for n in notes], abs=TICK_S)
    assert grid.ticks(np.array(beats)).tolist() == [220 * (i + 1) for i in range(len(beats))]
    shown = opened.get_beats()
    assert np.abs(np.subtract.outer(np.array(beats), shown)).min(axis=1).max() < 1e-4


times = st.floats(0, 5000, allow_nan=False)


@given(st.lists(st.floats(0.26, 1.5), max_size=40), times, st.sampled_from([4, 8, 16, 32]))
def test_quantising_twice_changes_nothing_more(steps, start, division):
    grid = Grid(100.0, tuple(np.cumsum([0.5, *steps]).tolist()) if steps else ())
    once = grid.quantised(notes_at([start]), division)
    again = grid.quantised(once, division)
    assert (again[0].start, again[0].end) == pytest.approx((once[0].start, once[0].end), abs=1e-6)
    assert once[0].end > once[0].start


def test_quantised_notes_begin_on_the_grid():
    grid = Grid(120.0)
    moved = grid.quantised(notes_at([0.24, 0.51, 1.13], length=0.05), 16)
    assert [(n.start, n.end) for n in moved] == [(0.25, 0.375), (0.5, 0.625), (1.125, 1.25)]
    assert grid.quantised([], 16) == []
