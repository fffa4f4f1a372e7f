"""Note events as a Standard MIDI File, byte for byte what `basic_pitch` and `pretty_midi` would write.

Format 1: a track with tempo and metre, then one track an instrument, an electric piano. The bytes are made
directly: a message object for each of a long recording's pitch bends would take longer than the model.
"""

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from .grid import RESOLUTION, Grid
from .notes import BINS_PER_SEMITONE, NoteEvent

ELECTRIC_PIANO = 4
CHANNELS = tuple(c for c in range(16) if c != 9)
"""The tenth is for drums."""
BEND_PER_SEMITONE = 4096
BEND_CENTRE = 8192
NOTE_ON, PROGRAM, BEND = 0x90, 0xC0, 0xE0
FOUR_FOUR = b"\x00\xff\x58\x04\x04\x02\x18\x08"
END = b"\x01\xff\x2f\x00"

Messages = NDArray[np.int64]
"""`(n, 5)`: tick, rank among the messages of one tick, status, two data bytes."""


def midi_file(notes: Sequence[NoteEvent], grid: Grid, *, track_per_pitch: bool) -> bytes:
    """The file. The grid says which tick a second is; times stay what they are. A channel has one pitch wheel, so
    bends are kept where a note sounds alone, or everywhere with `track_per_pitch`.
    """
    tracks = [_tempo_track(grid)]
    for number, (group, bent) in enumerate(_instruments(notes, track_per_pitch=track_per_pitch)):
        messages = np.concatenate([_note_messages(group, grid), *_bend_messages(bent, grid)])
        tracks.append(_track(messages, CHANNELS[number % len(CHANNELS)]))
    header = b"MThd" + struct.pack(">LHHH", 6, 1, len(tracks), RESOLUTION)
    return header + b"".join(b"MTrk" + struct.pack(">L", len(track)) + track for track in tracks)


def _instruments(
    notes: Sequence[NoteEvent], *, track_per_pitch: bool
) -> list[tuple[list[NoteEvent], list[NoteEvent]]]:
    """For each track its notes, and those of them that bend."""
    if not track_per_pitch:
        return [(list(notes), _sounding_alone(notes))] if notes else []
    by_pitch: dict[int, list[NoteEvent]] = {}
    for note in notes:
        by_pitch.setdefault(note.pitch, []).append(note)
    return [(group, group) for group in by_pitch.values()]


def _sounding_alone(notes: Sequence[NoteEvent]) -> list[NoteEvent]:
    """Those that do not sound together with another one, in order of time."""
    ordered = sorted(notes, key=lambda n: (n.start, n.end))
    sounding_until = [-np.inf, *accumulate((n.end for n in ordered), max)]
    next_start = [*(n.start for n in ordered[1:]), np.inf]
    return [
        note
        for note, until, following in zip(ordered, sounding_until, next_start, strict=False)
        if until <= note.start and note.end <= following
    ]


def _note_messages(notes: Sequence[NoteEvent], grid: Grid) -> Messages:
    """A note ends with a second note-on of velocity 0. At one tick ends come before starts of the same pitch."""
    times = np.array([[n.start, n.end] for n in notes]).T.ravel()
    pitch = np.tile([n.pitch for n in notes], 2)
    velocity = np.concatenate([[n.velocity for n in notes], np.zeros(len(notes), np.int64)])
    rank = (10 << 16) + (pitch << 8) + velocity
    return np.stack([grid.ticks(times), rank, np.full(len(times), NOTE_ON), pitch, velocity], axis=1)


def _bend_messages(notes: Sequence[NoteEvent], grid: Grid) -> list[Messages]:
    bent = [n for n in notes if n.bends]
    if not bent:
        return []
    times = np.concatenate([np.linspace(n.start, n.end, len(n.bends or ())) for n in bent])
    thirds = np.concatenate([n.bends or () for n in bent])
    bend = np.rint(thirds * BEND_PER_SEMITONE / BINS_PER_SEMITONE).astype(np.int64)
    bend = np.clip(bend, -BEND_CENTRE, BEND_CENTRE - 1)
    wheel = bend + BEND_CENTRE
    rank = (7 << 16) + bend
    return [np.stack([grid.ticks(times), rank, np.full(len(bend), BEND), wheel & 0x7F, wheel >> 7], axis=1)]


def _tempo_track(grid: Grid) -> bytes:
    tempi = grid.tempi()
    track = b"\x00" + _tempo(tempi[0][1]) + FOUR_FOUR
    for (before, _), (tick, microseconds) in pairwise(tempi):
        track += _delta(tick - before) + _tempo(microseconds)
    return track + END


def _tempo(microseconds: int) -> bytes:
    return b"\xff\x51\x03" + microseconds.to_bytes(3)


def _delta(ticks: int) -> bytes:
    """A number in groups of seven bits, the last group without the high bit."""
    groups = [ticks & 0x7F]
    while ticks := ticks >> 7:
        groups.append(ticks & 0x7F | 0x80)
    return bytes(reversed(groups))


def _track(messages: Messages, channel: int) -> bytes:
    """Delta times of one to four bytes, then the message; its status is left out where it repeats the last one."""
    messages = messages[np.lexsort((messages[:, 1], messages[:, 0]))]
    delta = np.diff(messages[:, 0], prepend=0)
    status = messages[:, 2] | channel
    repeats = np.diff(status, prepend=PROGRAM | channel) == 0
    rows = np.stack(
        [
            delta >> 21 | 0x80,
            delta >> 14 | 0x80,
            delta >> 7 | 0x80,
            delta & 0x7F,
            status,
            messages[:, 3],
            messages[:, 4],
        ],
        axis=1,
    ).astype(np.uint8)
    kept = np.ones(rows.shape, np.bool_)
    for place, shift in enumerate((21, 14, 7)):
        kept[:, place] = delta >> shift > 0
    kept[:, 4] = ~repeats
    return bytes([0, PROGRAM | channel, ELECTRIC_PIANO]) + rows[kept].tobytes() + END
