"""The text format of UltraStar and its kin (usdx.eu/format): words on a grid of beats, with their pitches.

`: start length pitch text` is a note, `F` one that is not scored, `- beat` ends a line, `E` the song. A beat is a quarter
of what #BPM counts, #GAP is where beat 0 lies in milliseconds, pitch 0 is middle C. A blank before a text begins a word,
and a word that goes on over another note has `~` there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .melody import Sung

FINEST_BPM = 400.0
"""The song's tempo is doubled until it counts at least so fast: beats of 37 ms or less."""
MIDDLE_C = 60


@dataclass(frozen=True, slots=True)
class Header:
    """What a player shows of a song, and the file it plays."""

    title: str
    artist: str
    audio: str
    language: str | None


@dataclass(frozen=True, slots=True)
class Grid:
    """Where beats lie, in seconds."""

    bpm: float
    gap_ms: int

    def beat(self, second: float) -> int:
        return max(0, round((second - self.gap_ms / 1000) * self.bpm * 4 / 60))


def ultrastar(lines: Sequence[Sequence[Sung]], tempo: float, header: Header) -> str:
    """The file; `tempo` in quarter notes a minute. Notes never overlap: the grid moves one on rather than losing it."""
    words = [sung for line in lines for sung in line]
    grid = Grid(_bpm(tempo), round(min((sung.start for sung in words), default=0.0) * 1000))
    rows, free = _header(header, grid), 0
    for number, line in enumerate(line for line in lines if line):
        if number:
            rows.append(f"- {free}")
        for place, sung in enumerate(line):
            for kind, start, end, pitch, text in _syllables(sung):
                first = max(grid.beat(start), free)
                free = max(grid.beat(end), first + 1)
                blank = " " if place and text != "~" else ""
                rows.append(f"{kind} {first} {free - first} {pitch} {blank}{text}")
    return "\n".join([*rows, "E"]) + "\n"


def _bpm(tempo: float) -> float:
    bpm = min(max(tempo, 10.0), 1000.0)
    while bpm < FINEST_BPM:
        bpm *= 2
    return round(bpm, 2)


def _header(header: Header, grid: Grid) -> list[str]:
    tags = {
        "VERSION": "1.1.0",
        "TITLE": header.title,
        "ARTIST": header.artist,
        "MP3": header.audio,
        "AUDIO": header.audio,
        "LANGUAGE": header.language,
        "CREATOR": "NeuraLib",
        "BPM": f"{grid.bpm:g}",
        "GAP": str(grid.gap_ms),
    }
    return [f"#{tag}:{_flat(value)}" for tag, value in tags.items() if value]


def _syllables(sung: Sung) -> list[tuple[str, float, float, int, str]]:
    """(kind, start, end, pitch, text) of each note; of a word without any, one that is not scored."""
    text = _flat(sung.word.text) or "~"
    if not sung.notes:
        return [("F", sung.word.start, sung.word.end, 0, text)]
    return [
        (":", note.start, note.end, note.pitch - MIDDLE_C, text if number == 0 else "~")
        for number, note in enumerate(sung.notes)
    ]


def _flat(text: str) -> str:
    return " ".join(text.split())
