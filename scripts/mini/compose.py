"""Write a song: key, chords, and what drums, bass and the rest play. Times are seconds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from synth import Note, Rng

STEMS = ("drums", "bass", "other", "vocals")
MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}
PROGRESSIONS = (
    (0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (0, 6, 5, 6), (0, 5, 1, 4), (0, 3, 0, 4),
    (1, 4, 0, 0), (0, 2, 3, 4), (0, 6, 3, 0), (0, 0, 3, 4), (3, 4, 2, 5), (0, 0, 0, 0), (0, 5, 6, 4),
)  # fmt: skip


class Hit(NamedTuple):
    """One drum stroke: seconds, piece of the kit, velocity 0-1."""

    start: float
    piece: str
    velocity: float


@dataclass(frozen=True)
class Song:
    """The plan all parts follow. `sections` holds, per bar, the parts that play in it."""

    tempo: float
    key: int
    mode: str
    chords: tuple[int, ...]
    swing: float
    seconds: float
    sections: tuple[frozenset[str], ...]

    @property
    def bar(self) -> float:
        return 240.0 / self.tempo

    @property
    def step(self) -> float:
        """A sixteenth."""
        return self.bar / 16

    def time(self, bar: int, step: float) -> float:
        """Seconds of a sixteenth in a bar; every second one is late by `swing`."""
        late = self.swing * self.step if int(step) % 2 else 0.0
        return bar * self.bar + step * self.step + late

    def degree(self, degree: int, around: int) -> int:
        """MIDI pitch of a scale degree, within the octave that starts at `around`."""
        scale = MODES[self.mode]
        pitch = self.key + scale[degree % 7]
        return around + (pitch - around) % 12

    def plays(self, part: str, bar: int) -> bool:
        return part in self.sections[bar % len(self.sections)]


def plan(rng: Rng, seconds: float) -> Song:
    tempo = float(rng.uniform(70, 165))
    mode = str(rng.choice(list(MODES), p=[0.35, 0.35, 0.12, 0.12, 0.06]))
    bars = int(np.ceil(seconds * tempo / 240)) + 1
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    hold = int(rng.choice([1, 1, 1, 2]))
    chords = tuple(progression[(b // hold) % len(progression)] for b in range(bars))
    sections: list[frozenset[str]] = []
    length = int(rng.choice([2, 4]))
    while len(sections) < bars:
        playing = [p for p in STEMS if rng.uniform() < 0.9]
        sections += [frozenset(playing)] * length
    swing = float(rng.choice([0, 0, rng.uniform(0.1, 0.33)]))
    return Song(tempo, int(rng.integers(12)), mode, chords, swing, seconds, tuple(sections[:bars]))


_KICKS = (
    (0, 8), (0, 4, 8, 12), (0, 6, 8), (0, 7, 10), (0, 3, 8, 11), (0, 10), (0, 6, 10, 14), (0, 2, 8, 10), (0, 8, 11),
)  # fmt: skip
_SNARES = ((4, 12), (8,), (4, 12), (4, 11, 14))

Step = tuple[float, str, float]
"""Sixteenth of the bar, piece, velocity."""
Tone = tuple[float, float, int, float]
"""Sixteenth of the bar, sixteenths held, MIDI pitch, velocity."""


class _Groove:
    """What a drummer repeats, and where the fills are."""

    def __init__(self, rng: Rng) -> None:
        self.kicks = _KICKS[rng.integers(len(_KICKS))]
        self.snares = _SNARES[rng.integers(4)]
        self.back = str(rng.choice(["snare", "snare", "clap", "rim"]))
        self.keeper, self.every = (
            str(rng.choice(["hat", "hat", "ride", "shaker"])),
            int(rng.choice([1, 2, 2, 4])),
        )
        self.ghosts, self.opens = rng.uniform() < 0.4, rng.uniform() < 0.4
        self.human = float(rng.uniform(0, 0.008))
        self.phrase = int(rng.choice([2, 4, 8]))

    def keep_time(self, last: int) -> Iterator[Step]:
        for s in range(0, last, self.every):
            piece = "open" if self.opens and s % 8 == 6 and self.keeper == "hat" else self.keeper
            yield s, piece, 0.75 if s % 4 == 0 else 0.5

    def bar(self, bar: int, rng: Rng) -> Iterator[Step]:
        fill = bar % self.phrase == self.phrase - 1 and rng.uniform() < 0.7
        last = 12 if fill else 16
        yield from ((s, "kick", 0.95) for s in self.kicks if s < last and rng.uniform() < 0.95)
        yield from ((s, self.back, 0.9) for s in self.snares if s < last)
        yield from self.keep_time(last)
        if self.ghosts:
            yield from ((float(s), "snare", 0.25) for s in rng.choice(16, 2, replace=False))
        if fill:
            pieces = sorted(rng.choice(["high", "mid", "low", "snare"], 4))
            yield from ((12 + i, str(piece), 0.8) for i, piece in enumerate(pieces))
        if bar % self.phrase == 0 and rng.uniform() < 0.6:
            yield 0, "crash", 0.7


def drum_part(song: Song, rng: Rng) -> list[Hit]:
    """Kick, back beat, a time keeper, ghosts, fills and crashes."""
    hits: list[Hit] = []
    groove = _Groove(rng)
    for bar in range(len(song.chords)):
        if not song.plays("drums", bar):
            continue
        for step, piece, velocity in groove.bar(bar, rng):
            when = max(0.0, song.time(bar, step) + float(rng.normal(0, groove.human)))
            hits.append(Hit(when, piece, float(np.clip(velocity * rng.uniform(0.85, 1.1), 0.05, 1))))
    return sorted(hits)


def percussion_part(song: Song, pieces: Sequence[str], rng: Rng) -> list[Hit]:
    """Hands and sticks: a pattern of a bar or two for each of the pieces, varied a little from bar to bar."""
    hits: list[Hit] = []
    human = float(rng.uniform(0, 0.012))
    for piece in pieces:
        length = int(rng.choice([8, 16, 16, 32]))
        odds = rng.choice([0.15, 0.3, 0.5, 0.9]) * np.where(
            np.arange(length) % 4 == 0, 1.0, rng.uniform(0.3, 1.2)
        )
        velocities = np.where(rng.uniform(size=length) < odds, rng.uniform(0.35, 1.0, length), 0.0)
        for bar in range(len(song.chords)):
            if not song.plays("drums", bar):
                continue
            for step in range(16):
                velocity = float(velocities[(16 * bar + step) % length])
                if rng.uniform() < 0.04:
                    velocity = float(rng.uniform(0.2, 0.7)) if not velocity else 0.0
                if velocity:
                    when = max(0.0, song.time(bar, step) + float(rng.normal(0, human)))
                    hits.append(Hit(when, piece, float(np.clip(velocity * rng.uniform(0.85, 1.1), 0.05, 1))))
    return sorted(hits)


class _BassLine:
    """Eight ways to play a bar; each yields tones, lazily, so that draws stay in order."""

    def __init__(self, song: Song, rng: Rng) -> None:
        styles = (
            self.roots, self.eighths, self.octaves, self.walking, self.syncopated, self.sixteenths, self.riff, self.long,
        )  # fmt: skip
        self.play = styles[rng.choice(len(styles))]
        self.song, self.rng = song, rng
        self.low = int(rng.choice([24, 28, 28, 31, 33]))
        self.steps = np.sort(rng.choice(16, int(rng.integers(4, 9)), replace=False))
        self.degrees = rng.choice([0, 0, 0, 2, 4, 6, 7], self.steps.size)

    def root(self, chord: int) -> int:
        return self.song.degree(chord, self.low)

    def fifth(self, chord: int) -> int:
        return self.song.degree(chord + 4, self.low)

    def roots(self, chord: int) -> Iterator[Tone]:
        for start, end in itertools.pairwise((0, 6, 8, 14, 16)):
            yield start, end - start, self.root(chord) if start != 14 else self.fifth(chord), 0.85

    def long(self, chord: int) -> Iterator[Tone]:
        yield 0, 16, self.root(chord), 0.85

    def eighths(self, chord: int) -> Iterator[Tone]:
        for s in range(0, 16, 2):
            yield s, 2, self.root(chord) if s < 14 or self.rng.uniform() < 0.5 else self.fifth(chord), 0.85

    def octaves(self, chord: int) -> Iterator[Tone]:
        for s in range(0, 16, 2):
            yield s, 1.6, self.root(chord) + 12 * ((s // 2) % 2), 0.85

    def walking(self, chord: int) -> Iterator[Tone]:
        for i, s in enumerate(range(0, 16, 4)):
            step = (0, 2, 4, int(self.rng.choice([5, 6, 3])))[i]
            yield s, 4, self.song.degree(chord + step, self.low), 0.85

    def syncopated(self, chord: int) -> Iterator[Tone]:
        for s, n in ((0, 3), (3, 3), (6, 2), (10, 2), (12, 3)):
            if self.rng.uniform() < 0.85:
                yield s, n, self.root(chord) if self.rng.uniform() < 0.7 else self.fifth(chord), 0.85

    def sixteenths(self, chord: int) -> Iterator[Tone]:
        for s in range(16):
            if self.rng.uniform() < 0.8:
                yield s, 0.9, self.root(chord) + 12 * int(self.rng.uniform() < 0.15), 0.6 if s % 4 else 0.9

    def riff(self, chord: int) -> Iterator[Tone]:
        ends = [*self.steps[1:], 16]
        for s, end, degree in zip(self.steps, ends, self.degrees, strict=True):
            up = 12 if degree == 7 else 0
            yield (
                float(s),
                min(float(end - s), 4),
                self.song.degree(chord + int(degree) % 7, self.low) + up,
                0.85,
            )


def bass_part(song: Song, rng: Rng) -> list[Note]:
    """One style around the chords' roots, from MIDI 24-33 up."""
    notes: list[Note] = []
    line = _BassLine(song, rng)
    for bar, chord in enumerate(song.chords):
        if not song.plays("bass", bar):
            continue
        for step, length, pitch, velocity in line.play(chord):
            loud = float(velocity * rng.uniform(0.85, 1.1))
            notes.append(Note(song.time(bar, step), length * song.step * 0.95, pitch, loud))
    return notes


class _Layer:
    """Six ways to accompany a bar, lazily like the bass."""

    def __init__(self, song: Song, rng: Rng) -> None:
        style = str(rng.choice(["pad", "comp", "arp", "lead", "power", "stabs"]))
        self.play = getattr(self, style)
        self.song, self.rng = song, rng
        lows = [48, 52, 55, 60, 64] if style in {"arp", "lead"} else [43, 48, 52, 55, 60]
        self.low, self.size = int(rng.choice(lows)), int(rng.choice([3, 3, 4]))
        self.steps = np.sort(rng.choice(16, int(rng.integers(2, 7)), replace=False))
        self.order, self.gap = rng.permutation(8), int(rng.choice([1, 2, 2, 3]))
        self.degree = int(rng.integers(7))

    def chord(self, chord: int) -> list[int]:
        return sorted(self.song.degree(chord + 2 * i, self.low) for i in range(self.size))

    def pad(self, chord: int) -> Iterator[Tone]:
        yield from ((0, 15.5, p, 0.6) for p in self.chord(chord))

    def power(self, chord: int) -> Iterator[Tone]:
        root = self.song.degree(chord, 40)
        yield from ((s, 1.7, p, 0.7) for s in range(0, 16, 2) for p in (root, root + 7, root + 12))

    def comp(self, chord: int, length: float = 3.0) -> Iterator[Tone]:
        yield from ((float(s), length, p, 0.65) for s in self.steps for p in self.chord(chord))

    def stabs(self, chord: int) -> Iterator[Tone]:
        yield from self.comp(chord, 1.0)

    def arp(self, chord: int) -> Iterator[Tone]:
        ladder = [*self.chord(chord), *(p + 12 for p in self.chord(chord))]
        for i, s in enumerate(range(0, 16, self.gap)):
            yield s, self.gap * 0.95, ladder[self.order[i % 8] % len(ladder)], 0.6

    def lead(self, _: int) -> Iterator[Tone]:
        step = 0.0
        while step < 16:
            length = float(self.rng.choice([1, 2, 2, 3, 4, 6]))
            self.degree = int(np.clip(self.degree + self.rng.integers(-2, 3), -3, 10))
            if self.rng.uniform() < 0.8:
                yield (
                    step,
                    length * 0.9,
                    self.song.degree(self.degree, self.low) + 12 * (self.degree // 7),
                    0.75,
                )
            step += length


def other_part(song: Song, rng: Rng) -> list[Note]:
    """One layer of accompaniment: pad, comping, arpeggio, power chords, stabs or lead."""
    notes: list[Note] = []
    layer = _Layer(song, rng)
    for bar, chord in enumerate(song.chords):
        if not song.plays("other", bar):
            continue
        for step, length, pitch, velocity in layer.play(chord):
            start = song.time(bar, step) + float(rng.uniform(0, 0.006))
            notes.append(Note(start, length * song.step, pitch, float(velocity * rng.uniform(0.8, 1.1))))
    return notes


def melody(song: Song, rng: Rng, start: float, steps: int, low: int) -> list[Note]:
    """A sung line of about `steps` notes from `start`: mostly stepwise, mostly chord tones on beats."""
    notes: list[Note] = []
    degree = int(rng.integers(0, 5))
    position = round(start / song.step)
    for _ in range(steps):
        length = int(rng.choice([1, 2, 2, 2, 3, 4, 6] if song.tempo < 120 else [2, 2, 3, 4, 4, 6]))
        degree = int(np.clip(degree + rng.choice([-2, -1, -1, 0, 1, 1, 2]), 0, 8))
        if position % 4 == 0:
            bar = int(position // 16) % len(song.chords)
            tones = [song.chords[bar] % 7 + 2 * k - o for k in range(3) for o in (0, 7)]
            degree = min(tones, key=lambda d: abs(d - degree))
        pitch = song.degree(degree, low) + 12 * (degree // 7)
        notes.append(Note(position * song.step, length * song.step, pitch, float(rng.uniform(0.7, 1))))
        position += length
    return notes
