"""Aligner: the words of a transcript on the notes they are sung on. It has no weights: what Whisper heard and what Basic
Pitch heard are laid over each other.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from neuralib.executors import (
    AudioInfo,
    Checkpoint,
    Executor,
    FileOutput,
    Output,
    Params,
    Plan,
    Precision,
    Recording,
    RunContext,
    Takes,
    ValidationFailed,
    Weights,
)
from neuralib.executors.whisper import lyrics
from neuralib.executors.whisper.document import read_transcript
from neuralib.executors.whisper.transcript import Transcript, Word
from neuralib.midi import MidiFile, Note, read_midi, with_lyrics

from .melody import Sung, divided, melody, sung
from .ultrastar import Header, ultrastar

Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\r\n]*$")]


class AlignerParams(Params):
    """What stands at the head of the UltraStar file."""

    title: Line = "Unknown Title"
    artist: Line = "Unknown Artist"
    audio: Annotated[Line, Field(description="The file that a player is to play.")] = "song.mp3"


class Aligner(Executor[AlignerParams]):
    """Takes the recording of a voice, its notes as MIDI, and its transcript as JSON with words."""

    name = "aligner"
    title = "Aligner"
    operation = "align"
    code_license = "MIT"
    params = AlignerParams
    takes = (
        Takes("audio"),
        Takes("midi", media_types=("audio/midi",)),
        Takes("transcript", media_types=("application/json",)),
    )

    def load(self, weights: Weights | None, device: str, precision: Precision) -> None:
        """There is nothing to load."""

    @classmethod
    def plan(cls, info: AudioInfo, params: AlignerParams, checkpoint: Checkpoint | None) -> Plan:
        return Plan(windows=1)

    def run(self, recording: Recording, params: AlignerParams, context: RunContext) -> Output:
        """Raises UnsupportedMidi, UnsupportedTranscript; ValidationFailed for a transcript without words."""
        context.progress(0, 1)
        midi_path, transcript_path = context.files("midi")[0], context.files("transcript")[0]
        content = midi_path.read_bytes()
        midi, transcript = read_midi(content), read_transcript(transcript_path.read_bytes())
        words = list(_within(transcript, recording.duration))
        if not words and transcript.segments:
            raise ValidationFailed("the transcript has lines but no words: transcribe with word_timestamps")
        line = divided(melody(_clipped(midi.notes, recording.duration)), words)
        placed = _in_order(sung(words, line, lambda: context.progress(0, 1)))
        lines = _lines(transcript, placed)
        facts = _facts(placed, len(line))
        texts = {
            "sung.enhanced.lrc": ("application/x-lrc", _enhanced(transcript, lines, recording.duration)),
            "ultrastar.txt": ("text/x-ultrastar; charset=utf-8", _ultrastar(lines, midi, transcript, params)),
            "sung.json": ("application/json", _json(lines, midi, facts)),
        }
        files = [_midi(content, midi, lines, context)]
        for name, (media_type, text) in texts.items():
            (context.scratch / name).write_text(text, encoding="utf-8", newline="")
            kind: Any = "analysis" if name.endswith(".json") else "transcript"
            files.append(FileOutput(kind, name, media_type, context.scratch / name, facts))
        context.progress(1, 1)
        return Output(files=tuple(files), facts=facts)


def _within(transcript: Transcript, duration: float) -> Iterator[Word]:
    """The words, none of them outside the recording."""
    for word in transcript.words:
        start = min(word.start, duration)
        yield replace(word, start=start, end=min(max(word.end, start), duration))


def _clipped(notes: Sequence[Note], duration: float) -> list[Note]:
    """Those within the recording."""
    return [replace(note, end=min(note.end, duration)) for note in notes if note.start < duration]


def _in_order(placed: Sequence[Sung]) -> list[Sung]:
    """Words without notes have Whisper's times: they stay between their neighbours, whose notes may say otherwise."""
    ceilings, ceiling = [], math.inf
    for each in reversed(placed):
        ceilings.append(ceiling)
        ceiling = each.start if each.notes else min(each.start, ceiling)
    ordered, reached = [], 0.0
    for each, ceiling in zip(placed, reversed(ceilings), strict=True):
        reached = max(reached, min(each.start, ceiling))
        moved = replace(each.word, start=reached, end=max(reached, min(each.word.end, ceiling)))
        ordered.append(each if each.notes else Sung(moved))
    return ordered


def _lines(transcript: Transcript, placed: Sequence[Sung]) -> list[list[Sung]]:
    """As the transcript's segments have them."""
    left = iter(placed)
    return [[next(left) for _ in segment.words] for segment in transcript.segments]


def _midi(content: bytes, midi: MidiFile, lines: Sequence[Sequence[Sung]], context: RunContext) -> FileOutput:
    """The notes as they were, with a track of lyric events. A blank ends a word and a carriage return a line, as
    the MIDI Association's RP-017 has it.
    """
    words = [
        (midi.clock.tick(each.start), each.word.text.strip() + ("\r" if each is line[-1] else " "))
        for line in lines
        for each in line
    ]
    path = context.scratch / "sung.mid"
    path.write_bytes(with_lyrics(content, words))
    return FileOutput("midi", "sung.mid", "audio/midi", path, {"lyrics": len(words)})


def _enhanced(transcript: Transcript, lines: Sequence[Sequence[Sung]], duration: float) -> str:
    segments = []
    for segment, line in zip(transcript.segments, lines, strict=True):
        words = [replace(each.word, start=each.start, end=each.end) for each in line]
        start, end = (words[0].start, words[-1].end) if words else (segment.start, segment.end)
        segments.append(replace(segment, words=words, start=start, end=end))
    return lyrics.as_enhanced_lrc(replace(transcript, segments=segments, duration=duration))


def _ultrastar(
    lines: Sequence[Sequence[Sung]], midi: MidiFile, transcript: Transcript, params: AlignerParams
) -> str:
    header = Header(params.title, params.artist, params.audio, transcript.language)
    return ultrastar(lines, midi.clock.tempo, header)


def _json(lines: Sequence[Sequence[Sung]], midi: MidiFile, facts: dict[str, Any]) -> str:
    document = {
        "tempo": round(midi.clock.tempo, 3),
        **facts,
        "lines": [{"words": [_word(each) for each in line]} for line in lines],
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _word(each: Sung) -> dict[str, Any]:
    return {
        "text": each.word.text.strip(),
        "start": round(each.start, 3),
        "end": round(each.end, 3),
        "heard": [round(each.word.start, 3), round(each.word.end, 3)],
        "notes": [
            {"start": round(n.start, 3), "end": round(n.end, 3), "pitch": n.pitch, "velocity": n.velocity}
            for n in each.notes
        ],
    }


def _facts(placed: Sequence[Sung], line: int) -> dict[str, Any]:
    used = sum(len(each.notes) for each in placed)
    return {
        "words": len(placed),
        "words_without_notes": sum(not each.notes for each in placed),
        "notes": used,
        "notes_without_words": line - used,
    }
