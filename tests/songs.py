"""Songs made on the spot whose tempo, beats, key and drum strokes are known, and bare drum parts. The same numbers
make the same song everywhere.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

RATE = 44_100
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
PROGRESSIONS = {
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 0, 4), (0, 5, 1, 4), (0, 2, 3, 4), (3, 4, 0, 5)),
    "minor": ((0, 5, 2, 6), (0, 3, 0, 4), (0, 6, 5, 6), (0, 5, 3, 4), (0, 0, 3, 4), (0, 2, 6, 3)),
}
PATTERNS = {
    "rock": ("x.......x.x.....", "....x.......x...", "x.x.x.x.x.x.x.x."),
    "four": ("x...x...x...x...", "....x.......x...", "..x...x...x...x."),
    "funk": ("x..x..x...x..x..", "....x..x.x..x...", "xxxxxxxxxxxxxxxx"),
    "half": ("x.....x.........", "........x.......", "x.x.x.x.x.x.x.x."),
    "break": ("x.x.......xx....", "....x..x.x..x..x", "x.x.x.x.x.x.x.x."),
    "sparse": ("x.........x.....", "....x.......x...", "x...x...x...x..."),
}
"""Sixteenths of a bar: kick, snare, hat."""

Mono = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """What a song is. `swing` is how late every second eighth is, in eighths; 1/3 is a full shuffle."""

    tempo: float
    tonic: int
    mode: str
    pattern: str | None = "rock"
    """None: no drums."""
    comping: str = "stabs"
    """What the chords do: stabs, pads, arpeggio, strum."""
    swing: float = 0.0
    human_s: float = 0.003
    seconds: float = 24.0
    seed: int = 0

    @property
    def key(self) -> str:
        return f"{NAMES[self.tonic]} {self.mode}"


@dataclass
class Song:
    """A plan, rendered: float32 `(2, frames)` at RATE, and what is true of it."""

    plan: Plan
    samples: NDArray[np.float32]
    beats: Mono
    strokes: Mono
    """Seconds at which drums are struck."""


def plans(count: int = 36) -> list[Plan]:
    """Tempi from 60 to 180, all keys, with and without drums and swing."""
    rng = np.random.default_rng(2026)
    drums = ["rock", "four", "funk", "half", "break", "sparse"]
    out = []
    for i, tempo in enumerate(rng.permutation(np.linspace(60, 180, count))):
        drumless = i % 5 == 4
        out.append(
            Plan(
                tempo=round(float(tempo + rng.uniform(-1.5, 1.5)), 2),
                tonic=i % 12,
                mode="major" if (i + i // 12) % 2 else "minor",
                pattern=None if drumless else drums[i % len(drums)],
                comping=("stabs", "pads", "arpeggio", "strum")[int(rng.integers(4))]
                if not drumless
                else ("arpeggio", "strum", "stabs")[i // 5 % 3],
                swing=[0, 0, 0.2, 0, 0, 1 / 3][int(rng.integers(6))],
                human_s=float(rng.uniform(0, 0.008)),
                seed=i,
            )
        )
    return out


def render(plan: Plan) -> Song:
    stage = _Stage(plan)
    if plan.pattern is not None:
        stage.drums(PATTERNS[plan.pattern])
    stage.bass()
    stage.chords()
    return stage.song()


def drums(tempo: float = 110.0, pattern: str = "funk", *, seconds: float = 12.0, seed: int = 0) -> Song:
    """Drums alone."""
    plan = Plan(tempo, 0, "major", pattern, seconds=seconds, seed=seed)
    stage = _Stage(plan)
    stage.drums(PATTERNS[pattern])
    return stage.song()


@dataclass
class _Stage:
    plan: Plan
    strokes: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([7, self.plan.seed])
        self.frames = round(self.plan.seconds * RATE)
        self.sound = np.zeros((2, self.frames))
        self.lead = float(self.rng.uniform(0.05, 0.6))
        self.bars = int((self.plan.seconds - self.lead) * self.plan.tempo / 240) + 1
        roots = PROGRESSIONS[self.plan.mode]
        self.degrees = roots[int(self.rng.integers(len(roots)))]

    def time(self, bar: int, sixteenth: float) -> float:
        late = self.plan.swing if sixteenth % 4 == 2 else self.plan.swing / 2 if sixteenth % 2 else 0.0
        played = self.rng.normal(0, self.plan.human_s)
        return self.lead + (bar * 16 + sixteenth + 2 * late) * 15 / self.plan.tempo + played

    def put(self, at: float, sound: Mono, pan: float = 0.0) -> bool:
        start = round(at * RATE)
        if not 0 <= start < self.frames - RATE // 20:
            return False
        room = min(len(sound), self.frames - start)
        sound = sound * np.minimum(np.arange(len(sound))[::-1] / (0.02 * RATE), 1)
        self.sound[0, start : start + room] += sound[:room] * (1 - pan)
        self.sound[1, start : start + room] += sound[:room] * (1 + pan)
        return True

    def drums(self, lines: tuple[str, str, str]) -> None:
        kit = [_kick(self.rng), _snare(self.rng), _hat(self.rng)]
        for bar in range(self.bars):
            for line, piece, pan in zip(lines, kit, (0, 0.1, -0.3), strict=True):
                for step in range(16):
                    if line[step] == "x":
                        loud = (1.0 if step % 4 == 0 else 0.6) * self.rng.uniform(0.7, 1.0)
                        at = self.time(bar, step)
                        if self.put(at, piece * loud, pan):
                            self.strokes.append(at)
            if bar % 4 == 3:  # a fill: toms
                for step in (12, 13, 14, 15):
                    at = self.time(bar, step)
                    if self.put(at, _tom(self.rng, 90 + 20 * (16 - step)) * 0.8, 0.2):
                        self.strokes.append(at)

    def degree(self, degree: int, around: int) -> int:
        pitch = self.plan.tonic + SCALES[self.plan.mode][degree % 7]
        return around + (pitch - around) % 12

    def bass(self) -> None:
        steps = [(0, 6, 8, 14), (0, 2, 4, 6, 8, 10, 12, 14), (0, 8), (0, 3, 8, 11)][self.rng.integers(4)]
        for bar in range(self.bars):
            root = self.degree(self.degrees[bar % 4], 33)
            for step in steps:
                fifth = step == steps[-1] and self.rng.random() < 0.4
                pitch = root + (7 if fifth else 0)
                self.put(self.time(bar, step), 0.35 * _tone(pitch, 0.35, 12, 1.3, 0.35))

    def chords(self) -> None:
        for bar in range(self.bars):
            degree = self.degrees[bar % 4]
            notes = [self.degree(degree + k, 57) for k in (0, 2, 4)]
            length = 240 / self.plan.tempo
            match self.plan.comping:
                case "pads":
                    played = [(0.0, n, length, 0.05) for n in notes]
                case "arpeggio":
                    played = [(2.0 * i, notes[(0, 1, 2, 1)[i % 4]], 0.5, 0.004) for i in range(8)]
                case "strum":
                    steps = (0, 4, 6, 8, 10, 12, 14)
                    played = [(s + 0.1 * i, n, 0.5, 0.003) for s in steps for i, n in enumerate(notes)]
                case _:
                    steps = [(0, 6, 10), (4, 12), (0, 4, 8, 12), (2, 6, 10, 14)][self.plan.seed % 4]
                    played = [(float(s), n, 0.3, 0.004) for s in steps for n in notes]
            for step, note, seconds, attack in played:
                at = self.time(bar, int(step)) + (step % 1) * 15 / self.plan.tempo
                self.put(at, 0.12 * _tone(note, seconds, 8, 1.0, 0.6, attack), self.rng.uniform(-0.5, 0.5))

    def song(self) -> Song:
        top = np.abs(self.sound).max() or 1.0
        beats = np.arange(self.lead, self.plan.seconds, 60 / self.plan.tempo)
        samples = (self.sound * (0.8 / top)).astype(np.float32)
        return Song(self.plan, samples, beats, np.unique(np.round(self.strokes, 6)))


def merged(times: Mono, within: float = 0.03) -> Mono:
    """Strokes that fall together are one onset: the first of each."""
    kept: list[float] = []
    for time in np.sort(times):
        if not kept or time - kept[-1] > within:
            kept.append(float(time))
    return np.array(kept)


def _seconds(length: float) -> Mono:
    return np.arange(round(length * RATE)) / RATE


@cache
def _tone(
    pitch: int, length: float, partials: int, slope: float, decay: float, attack: float = 0.004
) -> Mono:
    t = _seconds(length + 0.1)
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    sound = np.zeros(len(t))
    for k in range(1, partials + 1):
        if hertz * k < 12_000:
            sound += np.sin(2 * np.pi * hertz * k * t + k) / k**slope * np.exp(-t * k**0.5 / decay)
    return sound * np.minimum(t / attack, 1) * np.clip((length + 0.1 - t) / 0.1, 0, 1)


def _kick(rng: np.random.Generator) -> Mono:
    t = _seconds(0.35)
    phase = 2 * np.pi * np.cumsum(rng.uniform(45, 60) + rng.uniform(80, 200) * np.exp(-t / 0.03)) / RATE
    return np.sin(phase) * np.exp(-t / rng.uniform(0.08, 0.2))


def _snare(rng: np.random.Generator) -> Mono:
    t = _seconds(0.25)
    tone = np.sin(2 * np.pi * rng.uniform(160, 230) * t) * np.exp(-t / 0.06)
    return 0.5 * tone + 0.5 * rng.standard_normal(len(t)) * np.exp(-t / rng.uniform(0.05, 0.1))


def _hat(rng: np.random.Generator) -> Mono:
    t = _seconds(0.12)
    hiss = np.diff(rng.standard_normal(len(t) + 2), 2)
    return 0.15 * hiss * np.exp(-t / rng.uniform(0.015, 0.04))


def _tom(rng: np.random.Generator, hertz: float) -> Mono:
    t = _seconds(0.3)
    phase = 2 * np.pi * np.cumsum(hertz * (1 + 0.4 * np.exp(-t / 0.04))) / RATE
    return np.sin(phase) * np.exp(-t / 0.12) + 0.1 * rng.standard_normal(len(t)) * np.exp(-t / 0.01)
