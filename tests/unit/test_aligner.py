"""Words on notes: none lost, none twice, none out of order; and what players read of it."""

import io
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuralib.audio import Recording, RecordingWriter
from neuralib.errors import Cancelled, UnsupportedMidi, UnsupportedTranscript, ValidationFailed
from neuralib.executors import Input, Output, RunContext
from neuralib.executors.aligner import Aligner, AlignerParams
from neuralib.executors.aligner.melody import divided, melody, sung
from neuralib.executors.basic_pitch.grid import Grid
from neuralib.executors.basic_pitch.midi import midi_file
from neuralib.executors.basic_pitch.notes import NoteEvent
from neuralib.executors.whisper import lyrics
from neuralib.executors.whisper.document import read_transcript
from neuralib.executors.whisper.transcript import Segment, Transcript, Word
from neuralib.midi import Note, read_midi

DURATION = 8.0


def word(text: str, start: float, end: float) -> Word:
    return Word(f" {text}", start, end, 1.0)


def transcript(*lines: list[Word]) -> Transcript:
    segments = [
        Segment(0, line[0].start, line[-1].end, "".join(w.text for w in line), [], 0.0, 0.0, 1.0, 0.0, line)
        for line in lines
    ]
    return Transcript(segments, "en", 1.0, DURATION)


class Studio:
    """Files of one take, and its alignment."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, 0
        with RecordingWriter(folder / "voice.f32", 8000, 1) as writer:
            writer.write(np.zeros((1, round(DURATION * 8000)), np.float32))
            self.voice: Recording = writer.close()

    def align(self, notes: bytes, words: str, report: Any = lambda *_: None, **params: Any) -> Output:
        self.runs += 1
        scratch = self.folder / str(self.runs)
        scratch.mkdir()
        (scratch / "in.mid").write_bytes(notes)
        (scratch / "in.json").write_text(words)
        inputs = (
            Input("audio", self.voice),
            Input("transcript", scratch / "in.json"),
            Input("midi", scratch / "in.mid"),
        )
        return Aligner().run(self.voice, AlignerParams(**params), RunContext(scratch, report, inputs))


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def song(*notes: tuple[float, float, int], tempo: float = 120.0) -> bytes:
    events = [NoteEvent(start, end, pitch, 0.5, None) for start, end, pitch in notes]
    return midi_file(events, Grid(tempo), track_per_pitch=False)


def text_of(output: Output, name: str) -> str:
    (path,) = [file.path for file in output.files if file.name == name]
    return path.read_bytes().decode()


def as_json(spoken: Transcript) -> str:
    return lyrics.as_json(spoken, {})


TWO_LINES = transcript(
    [word("Hello", 1.0, 1.5), word("world", 1.5, 2.0)],
    [word("Amazing", 4.0, 5.0), word("(spoken)", 6.0, 6.5)],
)
NOTES = song((1.0, 2.0, 64), (4.0, 4.5, 60), (4.5, 5.25, 67))


def test_a_small_song_in_ultrastar_to_the_letter(studio: Studio) -> None:
    made = studio.align(NOTES, as_json(TWO_LINES), title="Test", artist="Nobody", audio="test.ogg")
    assert text_of(made, "ultrastar.txt") == (
        "#VERSION:1.1.0\n#TITLE:Test\n#ARTIST:Nobody\n#MP3:test.ogg\n#AUDIO:test.ogg\n#LANGUAGE:en\n"
        "#CREATOR:NeuraLib\n#BPM:480\n#GAP:1000\n"
        ": 0 16 4 Hello\n: 16 16 4  world\n- 32\n: 96 16 0 Amazing\n: 112 24 7 ~\nF 160 16 0  (spoken)\nE\n"
    )
    assert made.facts == {"words": 4, "words_without_notes": 1, "notes": 4, "notes_without_words": 0}


def test_a_small_song_in_enhanced_lrc(studio: Studio) -> None:
    made = studio.align(NOTES, as_json(TWO_LINES))
    assert text_of(made, "sung.enhanced.lrc").splitlines()[3:] == [
        "[00:01.00]<00:01.00> Hello<00:01.50> world <00:02.00>",
        "[00:04.00]<00:04.00> Amazing<00:06.00> (spoken) <00:06.50>",
        "[00:06.50]",
    ]


def test_other_programs_read_the_words_back(studio: Studio) -> None:
    made = studio.align(NOTES, as_json(TWO_LINES))
    (path,) = [file.path for file in made.files if file.name == "sung.mid"]
    file = mido.MidiFile(file=io.BytesIO(path.read_bytes()), charset="utf-8")
    at, heard = 0.0, []
    for message in file:
        at += message.time
        if message.type == "lyrics":
            heard.append((round(at, 2), message.text))
    assert heard == [(1.0, "Hello "), (1.5, "world\r"), (4.0, "Amazing "), (6.0, "(spoken)\r")]
    assert read_midi(path.read_bytes()).notes == read_midi(NOTES).notes


def test_the_table_tells_what_was_heard_and_where_it_is_sung(studio: Studio) -> None:
    table = json.loads(text_of(studio.align(NOTES, as_json(TWO_LINES)), "sung.json"))
    assert [[w["text"] for w in line["words"]] for line in table["lines"]] == [
        ["Hello", "world"],
        ["Amazing", "(spoken)"],
    ]
    amazing = table["lines"][1]["words"][0]
    assert [(note["start"], note["end"], note["pitch"]) for note in amazing["notes"]] == [
        (4.0, pytest.approx(4.5, abs=0.01), 60),
        (pytest.approx(4.5, abs=0.01), pytest.approx(5.25, abs=0.01), 67),
    ]
    assert table["tempo"] == pytest.approx(120, abs=0.01)


def test_silence_and_a_voice_without_notes_are_valid_files(studio: Studio) -> None:
    nothing = studio.align(song(), as_json(Transcript([], None, None, DURATION)))
    assert text_of(nothing, "ultrastar.txt").endswith("#GAP:0\nE\n")
    assert nothing.facts["words"] == 0
    spoken = studio.align(song(), as_json(TWO_LINES))
    assert spoken.facts["words_without_notes"] == 4
    assert [row[0] for row in text_of(spoken, "ultrastar.txt").splitlines()[9:]] == list("FF-FFE")


def test_what_cannot_be_read_says_so_and_a_cancelled_run_ends(studio: Studio) -> None:
    with pytest.raises(UnsupportedMidi):
        studio.align(b"RIFF", as_json(TWO_LINES))
    for broken in (
        "",
        "[]",
        '{"segments": [{"text": "x", "start": 2, "end": 1}]}',
        '{"segments": [{"start": "x"}]}',
    ):
        with pytest.raises(UnsupportedTranscript):
            studio.align(NOTES, broken)
    with pytest.raises(ValidationFailed, match="word_timestamps"):
        studio.align(NOTES, '{"segments": [{"text": "x", "start": 1, "end": 2}]}')
    reports = []

    def cancel(*report: int) -> None:
        reports.append(report)
        if len(reports) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        studio.align(NOTES, as_json(TWO_LINES), cancel)


# ── whatever was heard ────────────────────────────────────────────────────────────────────────────────

MOMENTS = st.floats(0, DURATION).map(lambda at: round(at, 3))
NOTE = st.builds(
    lambda at, length, pitch, velocity: Note(at, at + length, pitch, velocity),
    MOMENTS, st.floats(0.03, 2), st.integers(36, 84), st.integers(1, 127),
)  # fmt: skip


@st.composite
def sentences(draw: Any) -> list[Word]:
    """Words in order, as Whisper has them: some touch, some overlap a little."""
    at, words = draw(st.floats(0, 1)), []
    for number in range(draw(st.integers(0, 12))):
        length = draw(st.floats(0.0, 0.8))
        words.append(word(f"w{number}", round(at, 3), round(at + length, 3)))
        at += length * draw(st.sampled_from([1.0, 0.8, 1.0, 1.5]))
    return words


@given(sentences(), st.lists(NOTE, max_size=20))
def test_every_word_is_there_once_and_notes_go_forward(words: list[Word], notes: list[Note]) -> None:
    line = divided(melody(notes), words)
    assert all(a.end <= b.start + 1e-9 for a, b in pairwise(line))
    placed = sung(words, line)
    assert [each.word for each in placed] == words
    used = [note for each in placed for note in each.notes]
    assert used == [note for note in line if note in used], "in order, and none twice"
    for each in placed:
        assert all(note.end > each.word.start and note.start < each.word.end + 0.3 for note in each.notes)


@given(sentences(), st.lists(NOTE, max_size=6))
def test_no_other_way_lies_longer_under_the_words(words: list[Word], notes: list[Note]) -> None:
    words, line = words[:4], melody(notes)
    starts = [*(w.start for w in words[1:]), float("inf")]
    ends = [max(w.end, min(w.end + 0.3, s)) for w, s in zip(words, starts, strict=False)]

    def overlap(number: int, note: Note) -> float:
        return max(0.0, min(ends[number], note.end) - max(words[number].start, note.start))

    def best(place: int, first: int) -> float:
        if place == len(line):
            return 0.0
        ways = [overlap(n, line[place]) + best(place + 1, n) for n in range(first, len(words))]
        return max([best(place + 1, first), *ways])

    made = sung(words, line)
    total = sum(overlap(number, note) for number, each in enumerate(made) for note in each.notes)
    assert total == pytest.approx(best(0, 0))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sentences(), st.lists(NOTE, max_size=12), st.sampled_from([60.0, 97.3, 240.0]))
def test_whatever_was_heard_the_files_are_in_order_and_within_the_song(
    studio: Studio, words: list[Word], notes: list[Note], tempo: float
) -> None:
    midi = song(*((n.start, n.end, n.pitch) for n in notes), tempo=tempo)
    made = studio.align(midi, as_json(transcript(words) if words else Transcript([], None, None, DURATION)))
    table = json.loads(text_of(made, "sung.json"))
    placed = [each for line in table["lines"] for each in line["words"]]
    assert [each["text"] for each in placed] == [w.text.strip() for w in words]
    assert all(0 <= each["start"] <= each["end"] <= DURATION for each in placed)
    assert all(a["start"] <= b["start"] for a, b in pairwise(placed))
    stamps = re.findall(r"<(\d+):(\d+\.\d+)>", text_of(made, "sung.enhanced.lrc"))
    seconds = [60 * int(minutes) + float(rest) for minutes, rest in stamps[:-1]]
    assert seconds == sorted(seconds)
    rows = [row.split(" ") for row in text_of(made, "ultrastar.txt").splitlines() if row[0] in ":F"]
    spans = [(int(row[1]), int(row[1]) + int(row[2])) for row in rows]
    assert all(start < end for start, end in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    said = [row[-1] for row in rows if row[-1] != "~"]
    assert said == [w.text.strip() for w in words]


@given(sentences())
def test_a_transcript_comes_back_from_its_json(words: list[Word]) -> None:
    spoken = transcript(words) if words else Transcript([], None, None, DURATION)
    again = read_transcript(as_json(spoken).encode())
    for write in (lyrics.as_txt, lyrics.as_srt, lyrics.as_vtt, lyrics.as_lrc):
        assert write(again) == write(spoken)
    if len(words) > 1:
        assert lyrics.as_enhanced_lrc(again) == lyrics.as_enhanced_lrc(spoken)


def test_scripts_without_blanks_get_none() -> None:
    words = [{"text": t, "start": n, "end": n + 1} for n, t in enumerate(["日本", "語"])]
    document = {"segments": [{"text": "日本語", "start": 0, "end": 2, "words": words}]}
    assert [w.text for w in read_transcript(json.dumps(document).encode()).words] == ["日本", "語"]
