"""Render the demo song: `python demo.py --out src/neuralib/demo`. Ours, CC0: a four-bar loop in A minor and a rapper.

Writes `song.ogg` (the mix), `song.mid` (the notes the bass plays) and `lyrics.txt`. With `--stems DIR` also
the true stems, which the evaluation needs. Training never hears this seed, this tune or these words.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import effects
import mido
import numpy as np
import soundfile
import sources
import voice
from compose import Hit
from synth import RATE, Audio, Note

SEED = 2026
TEMPO = 92.0
BAR = 240.0 / TEMPO
STEP = BAR / 16
BARS = 10
SECONDS = BARS * BAR + 1.6
ROOTS = (33, 29, 36, 31)  # A F C G
CHORDS = ((57, 60, 64, 67), (57, 60, 65, 69), (55, 60, 64, 71), (55, 59, 62, 69))
LYRICS = (
    ("Give me a song and I", "will take it apart,"),
    ("the drums and the bass", "and the voice and the heart."),
    ("Every word on the page,", "every note in a line,"),
    ("it stays in this house", "and the house is all mine."),
)
"""Two bars a line, half a line a bar."""


def at(bar: int, step: float) -> float:
    return bar * BAR + step * STEP


def bass_notes() -> list[Note]:
    """Enters in the second bar: root, push, octave, and a walk into the next chord."""
    notes = []
    for bar in range(1, BARS):
        root, following = ROOTS[bar % 4], ROOTS[(bar + 1) % 4]
        approach = following + (2 if following < root else -2)
        figure = [
            (0, 3, root),
            (3, 2, root),
            (6, 2, root + 12),
            (8, 2, root),
            (11, 2, root + 7),
            (14, 2, approach),
        ]
        notes += [Note(at(bar, s), n * STEP * 0.92, p, 0.85) for s, n, p in figure]
    notes.append(Note(at(BARS, 0), 1.3, ROOTS[BARS % 4 - 2], 0.85))
    return notes


def drum_hits() -> list[Hit]:
    hits = [Hit(at(0, 12 + s), p, 0.7) for s, p in ((0, "high"), (1, "mid"), (2, "mid"), (3, "low"))]
    for bar in range(BARS):
        hits += [Hit(at(bar, s), "kick", 0.95) for s in (0, 7, 10)]
        hits += [Hit(at(bar, s), "snare", 0.9) for s in (4, 12)]
        hits += [
            Hit(at(bar, s + 0.12 * (s % 4 == 2)), "hat", 0.8 if s % 4 == 0 else 0.5) for s in range(0, 16, 2)
        ]
        if bar % 4 == 1:
            hits += [Hit(at(bar, 14), "open", 0.6), Hit(at(bar, 15), "snare", 0.35)]
    hits += [Hit(at(b, 0), "crash", 0.8) for b in (2, 6, BARS)] + [Hit(at(BARS, 0), "kick", 1.0)]
    return sorted(h for h in hits if not (h.start < at(0, 16) and h.piece in {"kick", "open"}))


def other_notes() -> tuple[list[Note], list[Note]]:
    """Electric piano chords, and a guitar that picks them."""
    keys, guitar = [], []
    for bar in range(BARS):
        chord = CHORDS[bar % 4]
        for s, n in ((0, 5), (6, 3), (10, 5)):
            keys += [Note(at(bar, s), n * STEP, p, 0.6) for p in chord]
        if bar >= 2:
            guitar += [
                Note(at(bar, 2 * i), 2.4 * STEP, chord[k] + 12, 0.55)
                for i, k in enumerate((0, 2, 1, 3, 2, 1, 2, 3))
            ]
    keys += [Note(at(BARS, 0), 1.4, p, 0.6) for p in CHORDS[0]]
    return keys, guitar


def rapper(frames: int) -> Audio:
    """Half a line a bar, each spoken at the speed that fills seven eighths of its bar."""
    out = np.zeros(frames, dtype=np.float32)
    rng = np.random.default_rng([SEED, 1])
    for i, halves in enumerate(LYRICS):
        for k, words in enumerate(halves):
            first = voice.speak("festival:cmu_us_slt_arctic_hts", words)
            room = 0.84 * BAR * voice.SPEECH_RATE
            ratio = min(max(first.size / room, 0.75), 1.15)
            fitted = voice.stretch(first, 1 / ratio)
            full = voice.airy(fitted, 0.3, rng)
            begin = int(at(2 + 2 * i + k, 0) * RATE)
            out[begin : begin + full.size] += full[: frames - begin]
    return np.stack([out, out])


def stems() -> dict[str, Audio]:
    rng, frames = np.random.default_rng([SEED, 0]), int(SECONDS * RATE)
    hits = [Note(h.start, 0.2, sources.KIT_NOTES[h.piece], h.velocity) for h in drum_hits()]
    keys, guitar = other_notes()
    piano = sources.play_midi(sources.FLUID, 4, keys, frames)
    picked = sources.play_midi(sources.MUSESCORE, 25, guitar, frames)
    parts = {
        "drums": sources.play_midi(sources.MUSESCORE, 0, hits, frames, drums=True),
        "bass": sources.play_midi(sources.FLUID, 33, bass_notes(), frames),
        "other": effects.reverb(piano / np.abs(piano).max() + 0.7 * picked / np.abs(picked).max(), rng, 0.2),
        "vocals": effects.reverb(effects.squash(rapper(frames), rng), rng, 0.06),
    }
    levels = {"drums": -19.0, "bass": -20.5, "other": -22.5, "vocals": -17.0}
    scaled = {}
    for name, x in parts.items():
        power = (x**2).mean(axis=0)
        active = np.sqrt(power[power > 1e-4 * power.max()].mean())
        scaled[name] = (x * 10 ** (levels[name] / 20) / active).astype(np.float32)
    peak = np.abs(np.sum(list(scaled.values()), axis=0)).max()
    return {name: (x * 0.89 / peak).astype(np.float32) for name, x in scaled.items()}


def write_midi(notes: list[Note], path: Path) -> None:
    song = mido.MidiFile(ticks_per_beat=960)
    track = mido.MidiTrack(
        [
            mido.MetaMessage("set_tempo", tempo=round(60e6 / TEMPO)),
            mido.MetaMessage("track_name", name="bass"),
        ]
    )
    edges = [(n.start, 64 + 40 * n.velocity, n.pitch) for n in notes] + [
        (n.start + n.duration, 0, n.pitch) for n in notes
    ]
    now = 0
    for when, velocity, pitch in sorted(edges):
        tick = round(when * TEMPO / 60 * 960)
        track.append(mido.Message("note_on", note=pitch, velocity=int(velocity), time=tick - now))
        now = tick
    song.tracks.append(track)
    song.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stems", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    parts = stems()
    mix = np.sum(list(parts.values()), axis=0)
    soundfile.write(args.out / "song.ogg", mix.T, RATE, format="OGG", subtype="VORBIS", compression_level=0.6)
    write_midi(bass_notes(), args.out / "song.mid")
    (args.out / "lyrics.txt").write_text(
        "\n".join(" ".join(halves) for halves in LYRICS) + "\n", encoding="utf-8"
    )
    if args.stems:
        args.stems.mkdir(parents=True, exist_ok=True)
        for name, x in parts.items():
            soundfile.write(args.stems / f"{name}.wav", x.T, RATE, subtype="FLOAT")


if __name__ == "__main__":
    main()
