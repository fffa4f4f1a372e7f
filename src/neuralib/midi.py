"""Standard MIDI Files, read: notes in seconds and the clock they keep; and a track of words added to one.

The bytes may be anybody's. Whatever is wrong with them is UnsupportedMidi; what is read is bounded by their length.
"""

import struct
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .errors import UnsupportedMidi

TEMPO, END, LYRIC, NAME = 0x51, 0x2F, 0x05, 0x03
USUAL_TEMPO = 500_000
"""Microseconds a quarter note, where a file does not say."""
DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}


@dataclass(frozen=True, slots=True)
class Note:
    """A note in seconds. `pitch` is its MIDI number."""

    start: float
    end: float
    pitch: int
    velocity: int


class Clock:
    """Which second a tick is. `tempi` are ticks at which a tempo begins, in microseconds a quarter note; the first is at
    0.
    """

    def __init__(self, division: int, tempi: Sequence[tuple[int, int]]) -> None:
        self.tempo = 6e7 / tempi[0][1]
        """Quarter notes a minute at the beginning."""
        self._ticks = [tick for tick, _ in tempi]
        self._lengths = [microseconds / 1e6 / division for _, microseconds in tempi]
        self._seconds = [0.0]
        for (before, after), length in zip(pairwise(self._ticks), self._lengths, strict=False):
            self._seconds.append(self._seconds[-1] + (after - before) * length)

    def second(self, tick: int) -> float:
        found = bisect_right(self._ticks, tick) - 1
        return self._seconds[found] + (tick - self._ticks[found]) * self._lengths[found]

    def tick(self, second: float) -> int:
        """The nearest. Before 0 there is none."""
        found = bisect_right(self._seconds, max(second, 0.0)) - 1
        return self._ticks[found] + round((max(second, 0.0) - self._seconds[found]) / self._lengths[found])


@dataclass(frozen=True, slots=True)
class MidiFile:
    """What a file holds. `notes` in order of time, of all tracks and channels but the one of the drums."""

    notes: tuple[Note, ...]
    clock: Clock
    lyrics: tuple[tuple[float, str], ...]
    """(second, text) of the lyric events."""


def read_midi(content: bytes) -> MidiFile:
    """Raises UnsupportedMidi."""
    division, chunks = _chunks(content)
    try:
        tracks = [list(_events(chunk)) for chunk in chunks]
    except (IndexError, struct.error) as error:
        raise UnsupportedMidi("a track ends in the middle of an event") from error
    clock = Clock(division, _tempi(tracks))
    notes = [note for events in tracks for note in _notes(events, clock)]
    notes.sort(key=lambda note: (note.start, note.pitch, note.end))
    words = [
        (tick, data)
        for events in tracks
        for tick, status, kind, data in events
        if status == 0xFF and kind == LYRIC
    ]
    words.sort(key=lambda word: word[0])
    lyrics = tuple((clock.second(tick), data.decode(errors="replace")) for tick, data in words)
    return MidiFile(tuple(notes), clock, lyrics)


def with_lyrics(content: bytes, words: Sequence[tuple[int, str]], name: str = "Words") -> bytes:
    """The file with a track more that holds the words at their ticks; all else stays as it is. Text is UTF-8. Raises
    UnsupportedMidi.
    """
    _, chunks = _chunks(content)
    track, before = b"\0" + _meta(NAME, name.encode()), 0
    for tick, text in sorted(words, key=lambda word: word[0]):
        track += _number(tick - before) + _meta(LYRIC, text.encode())
        before = tick
    track += b"\0" + _meta(END, b"")
    kind, _, division = struct.unpack_from(">HHH", content, 8)
    header = struct.pack(">4sLHHH", b"MThd", 6, max(kind, 1), len(chunks) + 1, division)
    return header + b"".join(b"MTrk" + struct.pack(">L", len(each)) + each for each in (*chunks, track))


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────

Event = tuple[int, int, int, bytes]
"""Tick, status, first data byte (the kind of a meta event), the rest of the data."""


def _chunks(content: bytes) -> tuple[int, list[bytes]]:
    """Ticks a quarter note, and what each track holds."""
    if len(content) < 14 or content[:4] != b"MThd":
        raise UnsupportedMidi("this is no Standard MIDI File")
    length, kind, tracks, division = struct.unpack_from(">LHHH", content, 4)
    if kind > 1 or not 0 < division < 0x8000:
        raise UnsupportedMidi("only MIDI files of format 0 and 1 that count quarter notes are read")
    chunks, at = [], 8 + length
    while at + 8 <= len(content):
        mark, size = struct.unpack_from(">4sL", content, at)
        if at + 8 + size > len(content):
            raise UnsupportedMidi("the MIDI file is cut off")
        if mark == b"MTrk":
            chunks.append(content[at + 8 : at + 8 + size])
        at += 8 + size
    if len(chunks) < tracks:
        raise UnsupportedMidi("the MIDI file is cut off")
    return division, chunks


def _events(track: bytes) -> Iterator[Event]:
    at = tick = status = 0
    while at < len(track):
        delta, at = _read_number(track, at)
        tick += delta
        if track[at] & 0x80:
            status, at = track[at], at + 1
        if status in {0xF0, 0xF7}:
            size, at = _read_number(track, at)
            at += size
        elif status == 0xFF:
            kind = track[at]
            size, at = _read_number(track, at + 1)
            yield tick, status, kind, track[at : at + size]
            at += size
            if kind == END:
                return
        elif status & 0xF0 in DATA_BYTES:
            size = DATA_BYTES[status & 0xF0]
            yield tick, status, track[at], track[at + 1 : at + size]
            at += size
        else:
            raise UnsupportedMidi("a MIDI track holds what is no event")


def _read_number(track: bytes, at: int) -> tuple[int, int]:
    value = 0
    for _ in range(4):
        value = value << 7 | track[at] & 0x7F
        at += 1
        if not track[at - 1] & 0x80:
            return value, at
    raise UnsupportedMidi("a MIDI track holds a number that is too long")


def _tempi(tracks: Sequence[Sequence[Event]]) -> tuple[tuple[int, int], ...]:
    found = {0: USUAL_TEMPO}
    for events in tracks:
        for tick, status, kind, data in events:
            if status == 0xFF and kind == TEMPO and len(data) == 3 and any(data):
                found[tick] = int.from_bytes(data)
    return tuple(sorted(found.items()))


def _notes(events: Sequence[Event], clock: Clock) -> Iterator[Note]:
    sounding: defaultdict[tuple[int, int], deque[tuple[int, int]]] = defaultdict(deque)
    for tick, status, pitch, rest in events:
        if status & 0xE0 != 0x80 or status & 0x0F == 9:
            continue
        key, velocity = (status & 0x0F, pitch & 0x7F), rest[0] if rest else 0
        if status & 0xF0 == 0x90 and velocity:
            sounding[key].append((tick, velocity))
        elif sounding[key]:
            start, loudness = sounding[key].popleft()
            if tick > start:
                yield Note(clock.second(start), clock.second(tick), key[1], loudness)


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────


def _meta(kind: int, data: bytes) -> bytes:
    return bytes([0xFF, kind]) + _number(len(data)) + data


def _number(value: int) -> bytes:
    """In groups of seven bits, the last one without the high bit."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))
