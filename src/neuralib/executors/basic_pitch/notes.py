"""Posteriorgrams to note events: the published rules of Basic Pitch, in O(n log n) instead of O(n²).

The events are those of `basic_pitch.note_creation` 0.4.0, number for number. Two things make it fast. Whether a
cell still has energy is one byte, a column of a pitch is a run of bytes, and the end of a note is a search for
eleven quiet bytes. And since energy only ever falls to zero, the loudest remaining cell is always the next in an
order that is sorted once.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .graph import Array
from .windows import FRAMES, HOP, SAMPLE_RATE, WINDOW

Item = TypeVar("Item")

LOWEST_PITCH = 21
PITCHES = 88
ENERGY_TOLERANCE = 11
"""So many quiet frames in a row end a note."""
QUIET, LOUD = b"\x01", b"\x00"
SILENCE = QUIET * ENERGY_TOLERANCE
ONSET_LAGS = (1, 2)
BEND_REACH = 25
"""In thirds of a semitone, either side of the note."""
BINS_PER_SEMITONE = 3
CONTOURS = PITCHES * BINS_PER_SEMITONE
WINDOW_DRIFT = (HOP / SAMPLE_RATE) * (FRAMES - WINDOW / HOP) + 0.0018
"""Seconds that frame times fall behind per window; 0.0018 is the published correction."""
ROWS = 128
"""Frames looked at at a time: their float64 stays in a core's own cache."""


Pulse = Callable[[], None]
"""Called several times a second, whatever the length of the recording; what it raises ends the work."""


def without_pulse() -> None:
    """For those who need not be asked."""


def paced(items: Iterable[Item], pulse: Pulse, every: int = 4096) -> Iterator[Item]:
    """The items, with a pulse after so many."""
    for number, item in enumerate(items, 1):
        yield item
        if number % every == 0:
            pulse()


class FrameNote(NamedTuple):
    """A note in frames: [start, end)."""

    start: int
    end: int
    pitch: int
    amplitude: np.float32


@dataclass(frozen=True, slots=True)
class NoteEvent:
    """A note in seconds. `bends` are evenly spread from start to end, in thirds of a semitone."""

    start: float
    end: float
    pitch: int
    amplitude: float
    bends: tuple[int, ...] | None

    @property
    def velocity(self) -> int:
        """1 to 127: 0 would mean the end of a note."""
        return max(1, round(float(np.float32(127) * np.float32(self.amplitude))))


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as a note."""

    onset_threshold: float = 0.5
    frame_threshold: float = 0.3
    min_frames: int = 11
    min_hz: float | None = None
    max_hz: float | None = None
    melodia_trick: bool = True

    @property
    def pitches(self) -> slice:
        """Columns of the posteriorgram within the frequency limits."""
        low = 0 if self.min_hz is None else _column(self.min_hz)
        high = PITCHES if self.max_hz is None else _column(self.max_hz)
        return slice(low, max(low, high))


def min_frames(milliseconds: float) -> int:
    return int(np.round(milliseconds / 1000 * (SAMPLE_RATE / HOP)))


def _column(hertz: float) -> int:
    pitch = 12 * (math.log2(hertz) - math.log2(440.0)) + 69
    return min(max(round(pitch - LOWEST_PITCH), 0), PITCHES)


def find_notes(note: Array, onset: Array, rules: Rules, pulse: Pulse = without_pulse) -> list[FrameNote]:
    """Notes in posteriorgrams of shape `(frames, 88)`: those with an onset, last first, then the loudest of what
    is left.
    """
    kept = rules.pitches
    note, onset = note[:, kept], onset[:, kept]
    if note.size == 0:
        return []
    energy = _Energy(note, rules, lowest=LOWEST_PITCH + kept.start)
    energy.take_onsets(_onsets(note, onset, rules.onset_threshold, pulse), pulse)
    if rules.melodia_trick:
        energy.take_loudest(pulse)
    return energy.notes


def _onsets(note: Array, onset: Array, threshold: float, pulse: Pulse) -> list[tuple[int, int]]:
    """Frame and column of every peak over time that reaches the threshold, in order. A peak is one of the onset
    posteriorgram or of the rise of the note posteriorgram, scaled to the same maximum.
    """
    blocks = range(0, len(note), ROWS)
    steepest = max(float(_rise(note, start).max()) for start in paced(blocks, pulse))
    if steepest == 0:
        return []
    scale = onset.max().astype(np.float64)
    found: list[tuple[int, int]] = []
    for start in paced(blocks, pulse):
        first, last = max(start - 1, 0), min(start + ROWS + 1, len(note))
        rise = _rise(note, first, last)
        rise *= scale
        rise /= steepest
        strength = np.maximum(onset[first:last], rise)
        middle = strength[1:-1]
        peaks = (middle >= threshold) & (middle > strength[:-2]) & (middle > strength[2:])
        frames, columns = np.nonzero(peaks)
        found.extend(zip((frames + first + 1).tolist(), columns.tolist(), strict=True))
    return found


def _rise(note: Array, first: int, last: int | None = None) -> NDArray[np.float64]:
    """How much louder each frame [first, last) is than both frames before it, never below 0, in float64."""
    last = min(first + ROWS, len(note)) if last is None else last
    lead = max(ONSET_LAGS)
    before = max(first - lead, 0)
    rows = note[before:last].astype(np.float64)
    rise = np.zeros((last - first, note.shape[1]))
    skipped = max(lead - first, 0)
    count = last - first - skipped
    if count > 0:
        now = rows[-count:]
        lags = [now - rows[len(rows) - count - lag : len(rows) - lag] for lag in ONSET_LAGS]
        np.maximum(np.minimum(*lags), 0, out=rise[skipped:])
    return rise


class _Energy:
    """What is left of the note posteriorgram while notes are taken out of it."""

    def __init__(self, note: Array, rules: Rules, lowest: int) -> None:
        self._note = note
        self._rules = rules
        self._lowest = lowest
        quiet = note < np.float64(rules.frame_threshold)
        self._columns = [bytearray(column) for column in np.ascontiguousarray(quiet.T)]
        self._last = len(note) - 1
        self.notes: list[FrameNote] = []

    def take_onsets(self, onsets: Sequence[tuple[int, int]], pulse: Pulse) -> None:
        for start, column in paced(reversed(onsets), pulse):
            _, end = self._forward(start, column)
            if end - start > self._rules.min_frames:
                self._silence(start, end, column, neighbours=True)
                self._add(start, end, column)

    def take_loudest(self, pulse: Pulse) -> None:
        for frame, column in paced(self._loud_cells(), pulse):
            if self._columns[column][frame]:
                continue
            self._silence(frame, frame + 1, column, neighbours=False)
            seen_to, end = self._forward(frame, column)
            self._silence(frame + 1, seen_to, column, neighbours=True)
            seen_from, start = self._backward(frame, column)
            self._silence(seen_from, frame, column, neighbours=True)
            if end - 1 - start > self._rules.min_frames:
                self._add(start, end - 1, column)

    def _loud_cells(self) -> Iterator[tuple[int, int]]:
        """Cells above the threshold that no note has taken, the loudest first, ties in order of time and pitch."""
        frames, columns = np.nonzero(self._note > np.float64(self._rules.frame_threshold))
        taken = np.frombuffer(b"".join(self._columns), np.bool_).reshape(len(self._columns), -1)
        left = ~taken[columns, frames]
        frames, columns = frames[left], columns[left]
        order = np.argsort(-self._note[frames, columns], kind="stable")
        return zip(frames[order].tolist(), columns[order].tolist(), strict=True)

    def _forward(self, frame: int, column: int) -> tuple[int, int]:
        """Where the search for the note's end stopped looking, and the end it found."""
        cells, first = self._columns[column], frame + 1
        silence = cells.find(SILENCE, first, self._last)
        if silence >= 0:
            return silence + ENERGY_TOLERANCE, silence
        return max(self._last, first), max(cells.rfind(LOUD, first, self._last) + 1, first)

    def _backward(self, frame: int, column: int) -> tuple[int, int]:
        """The same towards the beginning: where it stopped looking, and the start it found. Frame 0 is never
        looked at.
        """
        cells = self._columns[column]
        silence = cells.rfind(SILENCE, 1, frame)
        if silence >= 0:
            return silence, silence + ENERGY_TOLERANCE
        start = cells.find(LOUD, 1, frame)
        return min(1, frame), start if start >= 0 else frame

    def _silence(self, start: int, end: int, column: int, *, neighbours: bool) -> None:
        hush = QUIET * (end - start)
        self._columns[column][start:end] = hush
        if neighbours and column > 0:
            self._columns[column - 1][start:end] = hush
        if neighbours and column < len(self._columns) - 1:
            self._columns[column + 1][start:end] = hush

    def _add(self, start: int, end: int, column: int) -> None:
        amplitude = np.float32(np.add.reduce(self._note[start:end, column]) / (end - start))
        self.notes.append(FrameNote(start, end, column + self._lowest, amplitude))


def pitch_bends(
    contour: Array, notes: Sequence[FrameNote], pulse: Pulse = without_pulse
) -> list[tuple[int, ...]]:
    """For each note and each of its frames, how far the loudest contour near its pitch lies from it, in thirds of
    a semitone. `contour` is `(frames, 264)`.
    """
    weights = np.exp(-(np.arange(-BEND_REACH, BEND_REACH + 1.0) ** 2) / (2 * 5.0**2))
    by_pitch: defaultdict[int, list[int]] = defaultdict(list)
    for index, found in enumerate(notes):
        by_pitch[found.pitch].append(index)
    bends: list[tuple[int, ...]] = [()] * len(notes)
    for pitch, indices in paced(by_pitch.items(), pulse, every=8):
        centre = BINS_PER_SEMITONE * (pitch - LOWEST_PITCH)
        low, high = max(centre - BEND_REACH, 0), min(centre + BEND_REACH + 1, CONTOURS)
        near = weights[low - centre + BEND_REACH : high - centre + BEND_REACH]
        rows = np.concatenate([contour[notes[i].start : notes[i].end, low:high] for i in indices])
        bins = (np.argmax(rows * near, axis=1) + (low - centre)).tolist()
        at = 0
        for i in indices:
            length = notes[i].end - notes[i].start
            bends[i] = tuple(bins[at : at + length])
            at += length
    return bends


def frame_times(frames: int) -> NDArray[np.float64]:
    """Seconds at which each frame begins."""
    index = np.arange(frames)
    return index * HOP / SAMPLE_RATE - WINDOW_DRIFT * np.floor(index / FRAMES)


def note_events(
    note: Array,
    onset: Array,
    contour: Array,
    rules: Rules,
    *,
    with_bends: bool = True,
    pulse: Pulse = without_pulse,
) -> list[NoteEvent]:
    """The notes in posteriorgrams of one recording, in the order in which they were found."""
    notes = find_notes(note, onset, rules, pulse)
    times = frame_times(len(note)).tolist()
    bends: Sequence[tuple[int, ...] | None] = (
        pitch_bends(contour, notes, pulse) if with_bends else [None] * len(notes)
    )
    return [
        NoteEvent(times[n.start], times[n.end], n.pitch, float(n.amplitude), bend)
        for n, bend in zip(notes, bends, strict=True)
    ]
