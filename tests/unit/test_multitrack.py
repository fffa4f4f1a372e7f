"""MIDI files become one: every note stays at its second."""

import io
from typing import Any

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralib.archives.multitrack import RESOLUTION, Source, TempoMap, merge
from neuralib.errors import InputUnsupported


def midi(
    notes: list[tuple[float, float, int]], bpm: float = 120.0, resolution: int = 220, tracks: int = 1
) -> bytes:
    """(start, end, pitch) in seconds; the notes are dealt out to the tracks."""
    file = mido.MidiFile(type=1, ticks_per_beat=resolution)
    file.tracks.append(mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))]))
    for number in range(tracks):
        events = []
        for start, end, pitch in notes[number::tracks]:
            events += [(start, "note_on", pitch), (end, "note_off", pitch)]
        track, before = mido.MidiTrack(), 0
        for at, kind, pitch in sorted(events):
            tick = round(mido.second2tick(at, resolution, mido.bpm2tempo(bpm)))
            track.append(mido.Message(kind, note=pitch, velocity=64, time=tick - before))
            before = tick
        file.tracks.append(track)
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def starts(file: mido.MidiFile, track: mido.MidiTrack) -> list[tuple[float, int]]:
    """(second, pitch), by mido's own reading of the one tempo map."""
    alone = mido.MidiFile(type=1, ticks_per_beat=file.ticks_per_beat)
    alone.tracks.extend([file.tracks[0], track])
    now, found = 0.0, []
    for message in alone:
        now += message.time
        if message.type == "note_on" and message.velocity:
            found.append((now, message.note))
    return found


def read(content: bytes) -> mido.MidiFile:
    return mido.MidiFile(file=io.BytesIO(content))


def test_stems_become_named_tracks_on_one_tempo_map_and_stay_in_time() -> None:
    bass = [(0.5, 0.9, 40), (1.0, 1.4, 43), (60.0, 61.0, 45)]
    drums = [(0.25, 0.3, 36), (7.77, 7.8, 38)]
    file = read(merge([Source("bass", midi(bass)), Source("drums", midi(drums, bpm=93.7, resolution=480))]))
    assert (file.type, file.ticks_per_beat) == (1, RESOLUTION)
    assert [track.name for track in file.tracks[1:]] == ["bass", "drums"]
    tempi = [[m.tempo for m in track if m.type == "set_tempo"] for track in file.tracks]
    assert tempi == [[mido.bpm2tempo(93.7)], [], []]  # of the one file that has a tempo of its own
    for track, notes in zip(file.tracks[1:], (bass, drums), strict=True):
        assert [pitch for _, pitch in starts(file, track)] == [pitch for _, _, pitch in notes]
        for (at, _), (start, _, _) in zip(starts(file, track), notes, strict=True):
            assert at == pytest.approx(start, abs=0.003)  # half a tick of the source, and half of ours
    channels = [{m.channel for m in track if m.type == "note_on"} for track in file.tracks[1:]]
    assert channels == [{0}, {9}]


def test_every_track_of_a_file_is_kept_and_none_plays_the_drums_by_accident() -> None:
    notes = [(n / 10, n / 10 + 0.05, 40 + n) for n in range(40)]
    file = read(merge([Source("other", midi(notes, tracks=20))]))
    assert [track.name for track in file.tracks[1:]] == [f"other {n}" for n in range(1, 21)]
    channels = {m.channel for track in file.tracks[1:] for m in track if m.type == "note_on"}
    assert channels == set(range(16)) - {9}
    assert sum(len(starts(file, track)) for track in file.tracks[1:]) == len(notes)


changes = st.lists(st.tuples(st.integers(0, 100_000), st.integers(100_000, 2_000_000)), max_size=8)


@given(changes=changes, tick=st.integers(0, 200_000), resolution=st.integers(24, 960))
def test_a_tempo_map_leads_to_the_second_and_back(changes: Any, tick: int, resolution: int) -> None:
    tempo = TempoMap(resolution, changes)
    assert abs(tempo.to_tick(tempo.to_seconds(tick)) - tick) <= 1
    assert tempo.to_seconds(tick + 1) > tempo.to_seconds(tick)


@pytest.mark.parametrize(
    "content", [b"", b"MThd", b"RIFF" * 100, midi([(0, 1, 60)])[:-9], b"MThd" + b"\xff" * 99]
)
def test_what_is_no_midi_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(InputUnsupported, match="bass"):
        merge([Source("drums", midi([(0, 1, 36)])), Source("bass", content)])
