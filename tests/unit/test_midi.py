"""Standard MIDI Files as others write them, and bytes that are none."""

import io
from collections.abc import Sequence

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralib.errors import UnsupportedMidi
from neuralib.executors.basic_pitch.grid import Grid
from neuralib.executors.basic_pitch.midi import midi_file
from neuralib.executors.basic_pitch.notes import NoteEvent
from neuralib.midi import Note, read_midi, with_lyrics


def written(*tracks: Sequence[mido.Message | mido.MetaMessage], division: int = 480, kind: int = 1) -> bytes:
    file = mido.MidiFile(type=kind, ticks_per_beat=division, charset="utf-8")
    for messages in tracks:
        file.tracks.append(mido.MidiTrack(messages))
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def on(note: int, time: int, velocity: int = 64, channel: int = 0) -> mido.Message:
    return mido.Message("note_on", note=note, velocity=velocity, time=time, channel=channel)


def test_notes_are_in_seconds_by_every_tempo() -> None:
    tempo = [
        mido.MetaMessage("set_tempo", tempo=1_000_000, time=0),
        mido.MetaMessage("set_tempo", tempo=250_000, time=480),
    ]
    notes = [on(60, 240), on(60, 480, 0), on(62, 0), mido.Message("note_off", note=62, time=480)]
    file = read_midi(written(tempo, notes))
    assert file.notes == (Note(0.5, 1.125, 60, 64), Note(1.125, 1.375, 62, 64))
    assert (file.clock.tempo, file.clock.tick(1.125)) == (60.0, 720)


def test_drums_controllers_sysex_and_unfinished_notes_are_passed_over() -> None:
    track = [
        on(36, 0, channel=9),
        mido.Message("control_change", control=7, value=100),
        mido.Message("sysex", data=[1, 2, 3]),
        mido.Message("program_change", program=4),
        on(60, 0),
        on(64, 10),
        on(60, 10, 0),
    ]
    assert [note.pitch for note in read_midi(written(track)).notes] == [60]


def test_our_own_files_come_back() -> None:
    events = [NoteEvent(0.5, 1.0, 60, 0.5, (0, 1, 2)), NoteEvent(1.5, 2.0, 72, 0.8, None)]
    for grid in (Grid(100.0), Grid(120.0, (0.4, 0.9, 1.5))):
        notes = read_midi(midi_file(events, grid, track_per_pitch=False)).notes
        assert [(note.pitch, note.velocity) for note in notes] == [(60, 64), (72, 102)]
        for note, event in zip(notes, events, strict=True):
            assert (note.start, note.end) == pytest.approx((event.start, event.end), abs=0.003)


def test_words_are_a_track_more_and_all_else_stays() -> None:
    before = written([mido.MetaMessage("set_tempo", tempo=400_000)], [on(60, 0), on(60, 480, 0)])
    after = with_lyrics(before, [(480, "größer\r"), (0, "Immer ")])
    assert read_midi(after).notes == read_midi(before).notes
    assert read_midi(after).lyrics == ((0.0, "Immer "), (0.4, "größer\r"))
    file = mido.MidiFile(file=io.BytesIO(after), charset="utf-8")
    first = mido.MidiFile(file=io.BytesIO(before))
    assert [list(track) for track in file.tracks[:2]] == [list(track) for track in first.tracks]
    assert [m.text for m in file.tracks[2] if m.type == "lyrics"] == ["Immer ", "größer\r"]


def test_a_file_of_one_track_gets_a_second() -> None:
    after = with_lyrics(written([on(60, 0), on(60, 480, 0)], kind=0), [(0, "Oh ")])
    file = mido.MidiFile(file=io.BytesIO(after))
    assert (file.type, len(file.tracks)) == (1, 2)


GOOD = written([on(60, 0), on(60, 480, 0), mido.MetaMessage("lyrics", text="la")])


@pytest.mark.parametrize(
    "content",
    [b"", b"RIFF" * 10, GOOD[:-3], GOOD[:20], GOOD[:12] + b"\xe7\x28" + GOOD[14:], GOOD[:8] + b"\0\2" + GOOD[10:],
     GOOD[:22] + b"\xff\xff\xff\xff\xff" + GOOD[27:], GOOD[:22] + b"\0\x10\x10" + GOOD[25:]],
)  # fmt: skip
def test_what_is_no_midi_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(UnsupportedMidi):
        read_midi(content)


@given(st.binary(max_size=60), st.integers(0, len(GOOD) - 1))
def test_no_bytes_break_the_reader(noise: bytes, at: int) -> None:
    for content in (b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk" + noise, GOOD[:at] + noise + GOOD[at + len(noise) :]):
        try:
            notes = read_midi(content).notes
        except UnsupportedMidi:
            continue
        assert all(note.end > note.start >= 0 and 0 <= note.pitch < 128 for note in notes)
