"""The stems of a song, dry: drums, percussion, bass, accompaniment and voices."""

from __future__ import annotations

from pathlib import Path

import compose
import numpy as np
import sources
import strokes
import synth
import voice
from compose import Song
from effects import echo, loud, squash, widen
from sources import Sounds
from synth import RATE, Audio, Note, Rng

_HIGH = frozenset({"hat", "open", "ride", "shaker", "crash"})


def _struck(
    hits: list[compose.Hit],
    shots: dict[str, Audio],
    gains: dict[str, float],
    pans: dict[str, float],
    frames: int,
) -> Audio:
    """Each hit's shot at its time, as loud as it was struck, at its place between the speakers."""
    out = np.zeros((2, frames), dtype=np.float32)
    for hit in hits:
        begin, pan = int(hit.start * RATE), pans[hit.piece]
        shot = shots[hit.piece][: max(frames - begin, 0)] * np.float32(hit.velocity * gains[hit.piece])
        for side, share in enumerate((0.5 - pan / 2, 0.5 + pan / 2)):
            out[side, begin : begin + shot.size] += shot * np.float32(np.sqrt(share) * 1.414)
    return out


def _kit_hits(hits: list[compose.Hit], sounds: Sounds, rng: Rng, frames: int) -> Audio:
    """Hits on our own kit, its kick and snare sometimes a recorded one."""
    kit = synth.drum_kit(rng)
    if rng.uniform() < 0.6 or not sounds.synthesis:
        kit["kick"] = sources.sample(str(rng.choice(sounds.kicks))).mean(axis=0)
        kit["snare"] = sources.sample(str(rng.choice(sounds.snares))).mean(axis=0)
    for piece, names in sounds.pieces.items():
        if rng.uniform() < 0.6:
            kit[piece] = sources.sample(str(rng.choice(names))).mean(axis=0)
    pans = {p: rng.uniform(-0.4, 0.4) if p not in {"kick", "snare"} else 0.0 for p in kit}
    gains = {p: rng.uniform(0.5, 1.0) * (0.5 if p in _HIGH else 1) for p in kit}
    return _struck(hits, kit, gains, pans, frames)


def _loop(song: Song, sounds: Sounds, rng: Rng, frames: int) -> Audio:
    """A recorded loop brought to the song's tempo, muted where drums rest."""
    name = str(rng.choice(list(sounds.loops)))
    loop = sources.sample(name)
    wanted = sounds.loops[name] * song.bar / 4 * RATE
    ratio = loop.shape[1] / wanted
    while ratio > 1.4:
        ratio /= 2
    while ratio < 0.7:
        ratio *= 2
    turned = sources.repitch(loop, ratio)
    out = np.tile(turned, 1 + frames // turned.shape[1])[:, :frames].copy()
    for bar in range(len(song.chords)):
        if not song.plays("drums", bar):
            out[:, int(bar * song.bar * RATE) : int((bar + 1) * song.bar * RATE)] = 0
    return out


def drums(song: Song, sounds: Sounds, rng: Rng, frames: int) -> Audio:
    hits = [h for h in compose.drum_part(song, rng) if h.start < song.seconds]
    choice = rng.uniform()
    if choice < 0.25:
        x = _loop(song, sounds, rng, frames)
        if rng.uniform() < 0.3:
            x = x * 0.7 + 0.6 * _kit_hits(hits, sounds, rng, frames)
    elif choice < 0.6:
        x = _kit_hits(hits, sounds, rng, frames)
    else:
        notes = [Note(h.start, 0.2, sources.KIT_NOTES[h.piece], h.velocity) for h in hits]
        font = sounds.fonts[rng.integers(len(sounds.fonts))]
        x = sources.play_midi(font, int(rng.choice(sources.KITS)), notes, frames, drums=True)
    return squash(x, rng) if rng.uniform() < 0.5 else x


def percussion(song: Song, rng: Rng, frames: int) -> Audio:
    """Two to six percussion instruments: a soundfont's, or recorded strokes at pitches of their own."""
    count = int(rng.integers(2, 7))
    if rng.uniform() < 0.45:
        notes = {str(n): int(n) for n in rng.choice(sources.PERCUSSION_NOTES, count, replace=False)}
        hits = compose.percussion_part(song, list(notes), rng)
        played = [Note(h.start, 0.2, notes[h.piece], h.velocity) for h in hits]
        font = sources.TRAIN.fonts[rng.integers(len(sources.TRAIN.fonts))]
        return sources.play_midi(font, 0, played, frames, drums=True)
    names = [str(n) for n in rng.choice(sources.PERCUSSION, count, replace=False)]
    shots = {
        n: sources.repitch(sources.sample(n), 2 ** float(rng.uniform(-0.7, 0.7))).mean(axis=0) for n in names
    }
    gains, pans = {}, {}
    for name in names:
        gains[name], pans[name] = float(rng.uniform(0.4, 1)), float(rng.uniform(-0.6, 0.6))
    return _struck(compose.percussion_part(song, names, rng), shots, gains, pans, frames)


def unrecorded(song: Song, rng: Rng, frames: int) -> Audio:
    """A kit of strokes nobody ever recorded, hands on such drums, or both."""
    out = np.zeros((2, frames), dtype=np.float32)
    share = float(rng.choice([0.0, 1.0, rng.uniform(0.2, 0.8)]))
    if share < 1:
        shots = strokes.hand_drums(rng, int(rng.integers(1, 7)))
        gains = {name: float(rng.uniform(0.3, 1)) for name in shots}
        pans = {name: float(rng.uniform(-0.6, 0.6)) for name in shots}
        hits = compose.percussion_part(song, list(shots), rng)
        out += np.float32(1 - share) * loud(_struck(hits, shots, gains, pans, frames))
    if share > 0:
        shots = strokes.kit(rng)
        gains = {p: float(rng.uniform(0.4, 1)) * (0.5 if p in _HIGH else 1) for p in shots}
        pans = {p: float(rng.uniform(-0.4, 0.4)) if p not in {"kick", "snare"} else 0.0 for p in shots}
        hits = [h for h in compose.drum_part(song, rng) if h.start < song.seconds]
        out += np.float32(share) * loud(_struck(hits, shots, gains, pans, frames))
    return squash(out, rng) if rng.uniform() < 0.5 else out


def _slices(sounds: Sounds, rng: Rng) -> list[Audio]:
    """Eighths or sixteenths of one to three recorded loops, each at a pitch of its own near a common one."""
    per_beat, pitch, spread = int(rng.choice([2, 4])), rng.uniform(-0.7, 0.7), rng.choice([0.0, 0.1, 0.35])
    found = []
    for name in rng.choice(list(sounds.loops), int(rng.integers(1, 4)), replace=False):
        loop = sources.sample(str(name))
        count = sounds.loops[str(name)] * per_beat
        size = loop.shape[1] // count
        for number in rng.choice(count, min(count, int(rng.integers(3, 10))), replace=False):
            # Twice as long as its place: what is played slower or on a longer grid goes on ringing.
            piece = loop[:, number * size : (number + 2) * size]
            piece = sources.repitch(piece, 2 ** (pitch + float(rng.normal(0, 1)) * spread))
            level = float(np.abs(piece).max())
            if level > 0.02:
                found.append((piece / np.float32(level) ** np.float32(0.5)).astype(np.float32))
    return found


def chopped(song: Song, sounds: Sounds, rng: Rng, frames: int) -> Audio:
    """Slices of recorded loops in a new order, as breaks are cut: a pattern of one or two bars with changes."""
    slices = _slices(sounds, rng)
    out = np.zeros((2, frames), dtype=np.float32)
    step = song.step * int(rng.choice([1, 2]))
    size, rest = int(step * RATE), float(rng.uniform(0, 0.4))
    length = max(round(song.bar / step) * int(rng.choice([1, 2])), 1)
    pattern = [int(rng.integers(len(slices))) if rng.uniform() > rest else -1 for _ in range(length)]
    change, ring = float(rng.choice([0, 0.1, 0.3])), float(rng.uniform(0.6, 2))
    for number in range(int(song.seconds / step) if slices else 0):
        begin = int(number * step * RATE)
        bar = min(int(number * step / song.bar), len(song.chords) - 1)
        which = pattern[number % length] if rng.uniform() >= change else int(rng.integers(len(slices)))
        if which < 0 or not song.plays("drums", bar):
            continue
        piece = slices[which][:, : min(int(size * ring), max(frames - begin, 0))]
        piece = piece[:, ::-1] if rng.uniform() < 0.03 else piece
        edge = np.minimum(
            1, np.minimum(np.arange(piece.shape[1]) / 40, np.arange(piece.shape[1], 0, -1) / 300)
        )
        level = np.float32(rng.uniform(0.5, 1))
        out[:, begin : begin + piece.shape[1]] += piece * edge.astype(np.float32) * level
    return squash(out, rng) if rng.uniform() < 0.5 else out


def _sampled(notes: list[Note], shot: Audio, root: int, frames: int) -> Audio:
    """Notes played by one recorded note, whose MIDI pitch is `root`."""
    out = np.zeros((2, frames), dtype=np.float32)
    for note in notes:
        begin, gate = int(note.start * RATE), int(note.duration * RATE)
        x = sources.repitch(shot, 2 ** ((note.pitch - root) / 12))[
            :, : min(gate + 2000, max(frames - begin, 0))
        ]
        fade = np.minimum(1, np.arange(x.shape[1], 0, -1) / 2000).astype(np.float32)
        out[:, begin : begin + x.shape[1]] += x * fade * np.float32(note.velocity)
    return out


def plucked(song: Song, rng: Rng, frames: int, *, low: bool) -> Audio:
    """A bass or an accompaniment of strings and bars that never were, struck as hard as drums."""
    notes = compose.bass_part(song, rng) if low else compose.other_part(song, rng)
    root = 36 if low else 60
    shot = strokes.pluck(rng, 440 * 2 ** ((root - 69) / 12))
    stereo = np.stack([shot, shot]) if low else widen(shot, rng)
    x = _sampled([n for n in notes if n.start < song.seconds], stereo, root, frames)
    return squash(x, rng) if rng.uniform() < 0.4 else x


def bass(song: Song, sounds: Sounds, rng: Rng, frames: int) -> tuple[Audio, list[Note]]:
    """The bass and its true notes."""
    notes = [n for n in compose.bass_part(song, rng) if n.start < song.seconds]
    choice = rng.uniform()
    if choice < sounds.synthesis * 1.15:
        _, patch = synth.bass_patch(rng)
        glide = float(rng.uniform(0.03, 0.15)) if rng.uniform() < 0.2 else 0.0
        x = synth.perform(notes, patch, frames, rng, glide=glide)
        x = np.stack([x, x]) if rng.uniform() < 0.8 else widen(x, rng)
    elif choice < sounds.synthesis * 1.15 + 0.12:
        name = str(rng.choice(list(sounds.basses)))
        x = _sampled(notes, sources.sample(name), sounds.basses[name], frames)
    else:
        font = sounds.fonts[rng.integers(len(sounds.fonts))]
        x = sources.play_midi(font, int(rng.choice(sounds.bass_programs)), notes, frames)
        if rng.uniform() < 0.3:
            x = synth.drive(loud(x), float(rng.uniform(0.5, 6)))
    if rng.uniform() < 0.3:
        x = np.repeat(x.mean(axis=0, keepdims=True), 2, axis=0)
    return (squash(x, rng) if rng.uniform() < 0.4 else x), notes


def _layer(song: Song, sounds: Sounds, rng: Rng, frames: int) -> Audio:
    notes = [n for n in compose.other_part(song, rng) if n.start < song.seconds]
    if rng.uniform() < sounds.synthesis * 0.8:
        _, patch = synth.keys_patch(rng)
        x = widen(synth.perform(notes, patch, frames, rng), rng)
    else:
        font = sounds.fonts[rng.integers(len(sounds.fonts))]
        x = sources.play_midi(font, int(rng.choice(sources.OTHER_PROGRAMS)), notes, frames)
        if rng.uniform() < 0.12:
            x = synth.drive(loud(x), float(rng.uniform(1, 8)))
    if rng.uniform() < 0.25:
        x = echo(x, song, rng)
    return x / np.float32(np.sqrt((x**2).mean()) + 1e-6)


def other(song: Song, sounds: Sounds, rng: Rng, frames: int) -> Audio:
    layers = int(rng.choice([1, 2, 2, 3]))
    x = sum(_layer(song, sounds, rng, frames) * np.float32(rng.uniform(0.4, 1)) for _ in range(layers))
    if rng.uniform() < 0.1:
        bed = sources.repitch(sources.sample(str(rng.choice(sounds.beds))), 2 ** (rng.integers(-5, 6) / 12))
        bed = np.tile(bed, 1 + frames // bed.shape[1])[:, :frames]
        x = x + bed / np.float32(np.sqrt((bed**2).mean()) + 1e-6) * np.float32(rng.uniform(0.4, 1))
    return np.asarray(x, dtype=np.float32)


def _place(out: Audio, x: Audio, begin: float) -> None:
    at = max(int(begin * RATE), 0)
    size = min(x.shape[-1], out.shape[-1] - at)
    if size > 0:
        out[..., at : at + size] += x[..., :size]


def vocals(song: Song, bank: list[Path], rng: Rng, frames: int) -> Audio:
    """A singer, a rapper or a speaker over the bars that have a voice, sometimes doubled."""
    manner = str(rng.choice(["sing", "rap", "speak"], p=[0.62, 0.2, 0.18]))
    singer = int(rng.integers(len(bank)))
    same_voice = [bank[(singer + k * len(bank) // 3) % len(bank)] for k in range(3)]
    lead, backing = np.zeros(frames, np.float32), np.zeros(frames, np.float32)
    second = rng.uniform() < 0.35
    air = float(rng.uniform(0, 0.7))
    now = float(rng.uniform(0, 2)) * song.bar / 2
    while now < song.seconds - 1.5:
        bar = int(now / song.bar)
        if not song.plays("vocals", bar):
            now = (bar + 1) * song.bar + 1e-6  # past the line, whatever the rounding
            continue
        phrase = voice.load_phrase(same_voice[rng.integers(3)])
        if manner == "sing":
            notes = compose.melody(
                song, rng, now, phrase.nuclei.size, voice.range_of(phrase) + int(rng.choice([0, 0, 5, 12]))
            )
            x = voice.airy(voice.sing(phrase, notes, rng), air, rng)
            end = notes[-1].start + notes[-1].duration
            if second:
                third = [n._replace(pitch=n.pitch + int(rng.choice([3, 4, 7, -5]))) for n in notes]
                _place(backing, voice.airy(voice.sing(phrase, third, rng), air, rng), end - x.size / RATE)
        elif manner == "rap":
            gap = song.step * (2 if song.tempo > 105 else 1) * float(rng.choice([1, 1, 1.5]))
            gap = max(gap, 0.13)
            starts = [round(now / song.step) * song.step + gap * k for k in range(phrase.nuclei.size)]
            end = starts[-1] + 2 * gap
            x = voice.airy(voice.rap(phrase, starts, end, rng), air, rng)
        else:
            x = voice.airy(phrase.audio, air, rng)
            end = now + x.size / RATE
        _place(lead, x, end - x.size / RATE)
        now = (
            np.ceil((end + song.step) / (4 * song.step)) * 4 * song.step
            + float(rng.choice([0, 0, 1, 2])) * song.bar / 4
        )
    stereo = np.stack([lead, lead])
    if second:
        stereo += widen(backing, rng) * np.float32(rng.uniform(0.3, 0.7))
    if rng.uniform() < 0.2:
        stereo = echo(stereo, song, rng)
    return squash(stereo, rng) if rng.uniform() < 0.7 else stereo
