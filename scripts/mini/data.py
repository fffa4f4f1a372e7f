"""Render multitrack songs: `python data.py --out DIR --split train --count 300`.

A song is `(4, 2, frames)` int16 in STEMS order, saved as `DIR/SPLIT/00042.npy`; its mix is the plain sum.
A song depends on (split, index) alone, so any machine with the same packages renders the same one.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import compose
import numpy as np
import sources
import strokes
import synth
import voice
from compose import STEMS, Song
from scipy import signal
from sources import Sounds
from synth import RATE, Audio, Note, Rng

SECONDS = 24.0
SPLITS: dict[str, tuple[int, Sounds, str]] = {
    "train": (11, sources.TRAIN, "train"),
    "in_domain": (12, sources.TRAIN, "train"),
    "out_of_domain": (13, sources.HELD_OUT, "held_out"),
}
"""split -> (seed, sounds, phrase bank)."""

STROKES_FROM = 700
"""The number from which drums that are rendered alone are strokes that nobody ever recorded."""
VOICES_FROM = 150
"""The number from which vocals that are rendered alone have more voices."""
LEVELS = {"drums": -19.0, "bass": -20.0, "other": -21.5, "vocals": -19.5}

_HIGH = frozenset({"hat", "open", "ride", "shaker", "crash"})


def equalise(x: Audio, rng: Rng, strength: float = 6.0) -> Audio:
    """Two or three random peaking bands, up to `strength` dB (RBJ cookbook biquads)."""
    for _ in range(int(rng.integers(1, 4))):
        gain, centre = 10 ** (rng.uniform(-strength, strength) / 40), 10 ** rng.uniform(1.9, 4.0)
        w = 2 * np.pi * centre / RATE
        alpha = np.sin(w) / (2 * rng.uniform(0.5, 1.5))
        b = np.array([1 + alpha * gain, -2 * np.cos(w), 1 - alpha * gain])
        a = np.array([1 + alpha / gain, -2 * np.cos(w), 1 - alpha / gain])
        x = signal.lfilter(b / a[0], a / a[0], x, axis=-1)
    return np.asarray(x, dtype=np.float32)


def reverb(x: Audio, rng: Rng, wet: float) -> Audio:
    """Stereo noise decaying in 0.2-2 s, darker towards its end."""
    seconds = float(rng.uniform(0.2, 2.0))
    t = np.arange(int(seconds * RATE)) / RATE
    tail = rng.standard_normal((2, t.size)) * np.exp(-6.9 * t / seconds)
    tail = signal.sosfilt(
        signal.butter(1, [200, rng.uniform(2500, 9000)], "bandpass", fs=RATE, output="sos"), tail
    )
    tail = np.pad(tail, ((0, 0), (int(rng.uniform(0, 0.03) * RATE), 0)))
    tail /= np.sqrt((tail**2).sum(axis=1, keepdims=True))
    return (x + wet * signal.oaconvolve(x, tail, axes=-1)[:, : x.shape[1]]).astype(np.float32)


def widen(x: Audio, rng: Rng) -> Audio:
    """Mono to stereo: a pan, or the sides apart by a short delay."""
    if x.ndim == 2:
        return x
    if rng.uniform() < 0.5:
        pan = rng.uniform(-0.5, 0.5)
        return np.stack([x * np.sqrt(0.5 - pan / 2), x * np.sqrt(0.5 + pan / 2)]).astype(
            np.float32
        ) * np.float32(1.414)
    shift = int(rng.uniform(0.004, 0.02) * RATE)
    return np.stack([x, np.concatenate([np.zeros(shift, np.float32), x[:-shift]])])


def echo(x: Audio, song: Song, rng: Rng) -> Audio:
    shift, out = int(song.step * int(rng.choice([2, 3, 4])) * RATE), x.copy()
    for i in range(1, 4):
        if i * shift < x.shape[1]:
            side = x[::-1] if i % 2 else x
            out[:, i * shift :] += np.float32(0.35**i) * side[:, : -i * shift]
    return out


def squash(x: Audio, rng: Rng) -> Audio:
    """A compressor: 2:1 to 6:1 over a random threshold, 5 ms up, 80 ms down."""
    level = np.abs(x).max(axis=0)
    slow = signal.lfilter([0.002], [1, -0.998], level) + 1e-6
    threshold, ratio = float(np.quantile(slow, rng.uniform(0.4, 0.8))) + 1e-6, rng.uniform(2, 6)
    return (x * np.minimum(1, (slow / threshold) ** (1 / ratio - 1))).astype(np.float32)


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


def render_drums(song: Song, sounds: Sounds, rng: Rng, frames: int) -> Audio:
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


def _loud(x: Audio) -> Audio:
    return (x / (np.abs(x).max() + 1e-6)).astype(np.float32)


def render_percussion(song: Song, rng: Rng, frames: int) -> Audio:
    """Two to six percussion instruments: a soundfont's, or recorded strokes at pitches of their own."""
    count = int(rng.integers(2, 7))
    if rng.uniform() < 0.45:
        notes = {str(n): int(n) for n in rng.choice(sources.PERCUSSION_NOTES, count, replace=False)}
        hits = compose.percussion_part(song, list(notes), rng)
        played = [Note(h.start, 0.2, notes[h.piece], h.velocity) for h in hits]
        font = sources.TRAIN.fonts[rng.integers(len(sources.TRAIN.fonts))]
        return sources.play_midi(font, 0, played, frames, drums=True)
    names = [str(n) for n in rng.choice(sources.PERCUSSION, count, replace=False)]
    strokes = {
        n: sources.repitch(sources.sample(n), 2 ** float(rng.uniform(-0.7, 0.7))).mean(axis=0) for n in names
    }
    gains, pans = {}, {}
    for name in names:
        gains[name], pans[name] = float(rng.uniform(0.4, 1)), float(rng.uniform(-0.6, 0.6))
    return _struck(compose.percussion_part(song, names, rng), strokes, gains, pans, frames)


def render_strokes(song: Song, rng: Rng, frames: int) -> Audio:
    """A kit of strokes nobody ever recorded, hands on such drums, or both."""
    out = np.zeros((2, frames), dtype=np.float32)
    share = float(rng.choice([0.0, 1.0, rng.uniform(0.2, 0.8)]))
    if share < 1:
        drums = strokes.hand_drums(rng, int(rng.integers(1, 7)))
        gains = {name: float(rng.uniform(0.3, 1)) for name in drums}
        pans = {name: float(rng.uniform(-0.6, 0.6)) for name in drums}
        hits = compose.percussion_part(song, list(drums), rng)
        out += np.float32(1 - share) * _loud(_struck(hits, drums, gains, pans, frames))
    if share > 0:
        drums = strokes.kit(rng)
        gains = {p: float(rng.uniform(0.4, 1)) * (0.5 if p in _HIGH else 1) for p in drums}
        pans = {p: float(rng.uniform(-0.4, 0.4)) if p not in {"kick", "snare"} else 0.0 for p in drums}
        hits = [h for h in compose.drum_part(song, rng) if h.start < song.seconds]
        out += np.float32(share) * _loud(_struck(hits, drums, gains, pans, frames))
    return squash(out, rng) if rng.uniform() < 0.5 else out


def worn(x: Audio, rng: Rng) -> Audio:
    """Drums as breaks are found on records: a room, pressed hard, driven, heavy below, dull above; each at random."""
    if rng.uniform() < 0.5:
        x = reverb(x, rng, float(rng.uniform(0.1, 0.5)))
    for _ in range(int(rng.integers(1, 3))):
        x = squash(x, rng)
    if rng.uniform() < 0.5:
        peak = float(np.abs(x).max()) + 1e-6
        x = synth.drive(x / peak, float(rng.uniform(0.5, 6))) * np.float32(peak)
    if rng.uniform() < 0.6:  # louder below 40 to 150 Hz, up to far louder than all above
        low = signal.sosfilt(signal.butter(2, rng.uniform(40, 150), fs=RATE, output="sos"), x)
        if rng.uniform() < 0.4:  # and ringing on, as rooms and subs do
            low = signal.lfilter([0.02], [1, -0.9998], np.abs(low)) * signal.sosfilt(
                signal.butter(2, [25, rng.uniform(45, 80)], "bandpass", fs=RATE, output="sos"),
                np.repeat(rng.standard_normal((1, x.shape[1])), 2, axis=0),
            )
            low = low / (np.sqrt((low**2).mean()) + 1e-9) * np.sqrt((x**2).mean())
        x = x + np.float32(10 ** (rng.uniform(-12, 10) / 20)) * low
    if rng.uniform() < 0.3:
        x = signal.sosfilt(signal.butter(2, rng.uniform(3500, 11000), fs=RATE, output="sos"), x)
    return np.asarray(x, dtype=np.float32)


def _sampled_bass(notes: list[Note], sounds: Sounds, rng: Rng, frames: int) -> Audio:
    name = str(rng.choice(list(sounds.basses)))
    shot, root = sources.sample(name), sounds.basses[name]
    out = np.zeros((2, frames), dtype=np.float32)
    for note in notes:
        begin, gate = int(note.start * RATE), int(note.duration * RATE)
        x = sources.repitch(shot, 2 ** ((note.pitch - root) / 12))[
            :, : min(gate + 2000, max(frames - begin, 0))
        ]
        fade = np.minimum(1, np.arange(x.shape[1], 0, -1) / 2000).astype(np.float32)
        out[:, begin : begin + x.shape[1]] += x * fade * np.float32(note.velocity)
    return out


def render_bass(song: Song, sounds: Sounds, rng: Rng, frames: int) -> tuple[Audio, list[Note]]:
    """The bass and its true notes."""
    notes = [n for n in compose.bass_part(song, rng) if n.start < song.seconds]
    choice = rng.uniform()
    if choice < sounds.synthesis * 1.15:
        _, patch = synth.bass_patch(rng)
        glide = float(rng.uniform(0.03, 0.15)) if rng.uniform() < 0.2 else 0.0
        x = synth.perform(notes, patch, frames, rng, glide=glide)
        x = np.stack([x, x]) if rng.uniform() < 0.8 else widen(x, rng)
    elif choice < sounds.synthesis * 1.15 + 0.12:
        x = _sampled_bass(notes, sounds, rng, frames)
    else:
        font = sounds.fonts[rng.integers(len(sounds.fonts))]
        x = sources.play_midi(font, int(rng.choice(sources.BASS_PROGRAMS)), notes, frames)
        if rng.uniform() < 0.3:
            x = synth.drive(x / (np.abs(x).max() + 1e-6), float(rng.uniform(0.5, 6)))
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
            x = synth.drive(x / (np.abs(x).max() + 1e-6), float(rng.uniform(1, 8)))
    if rng.uniform() < 0.25:
        x = echo(x, song, rng)
    return x / np.float32(np.sqrt((x**2).mean()) + 1e-6)


def render_other(song: Song, sounds: Sounds, rng: Rng, frames: int) -> Audio:
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


def render_vocals(song: Song, bank: list[Path], rng: Rng, frames: int) -> Audio:
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


def finish(stem: Audio, name: str, rng: Rng) -> Audio:
    """EQ, room and loudness of one stem; loudness is over the parts that sound."""
    x = equalise(stem, rng, 4.0 if name == "vocals" else 6.0)
    odds, wet = {"drums": (0.5, 0.25), "bass": (0.1, 0.15), "other": (0.6, 0.5), "vocals": (0.8, 0.45)}[name]
    if rng.uniform() < odds:
        x = reverb(x, rng, float(rng.uniform(0.05, wet)))
    power = (x**2).mean(axis=0)
    active = power[power > 1e-4 * power.max()] if power.max() > 0 else power
    level = 10 ** ((LEVELS[name] + rng.uniform(-3.5, 3.5)) / 20)
    return np.asarray(x * level / (np.sqrt(active.mean()) + 1e-9), dtype=np.float32)


def phrases_of(bank: Path) -> list[Path]:
    return [p for p in sorted(bank.glob("[0-9]*.npz")) if ".tmp" not in p.name]


def render(split: str, index: int, banks: Path, seconds: float = SECONDS) -> NDArrayInt16:
    """The stems of one song, scaled together so that neither they nor their sum clip."""
    seed, sounds, bank = SPLITS[split]
    rng = np.random.default_rng([seed, index])
    song, frames = compose.plan(rng, seconds), int(seconds * RATE)
    stems = {
        "drums": render_drums(song, sounds, rng, frames),
        "bass": render_bass(song, sounds, rng, frames)[0],
        "other": render_other(song, sounds, rng, frames),
        "vocals": render_vocals(song, phrases_of(banks / bank), rng, frames),
    }
    done = np.stack([finish(stems[name], name, rng) for name in STEMS])
    loudest = max(float(np.abs(done).max()), float(np.abs(done.sum(axis=0)).max()))
    return np.round(done * (32000 / max(loudest, 1e-6)) if loudest > 0.97 else done * 32767).astype(np.int16)


def render_alone(stem: str, index: int, banks: Path) -> NDArrayInt16:
    """One stem of a song that has no others, (2, frames): training puts it into company."""
    rng = np.random.default_rng([14, STEMS.index(stem), index])
    song, frames = compose.plan(rng, SECONDS), int(SECONDS * RATE)
    if stem == "drums" and index >= STROKES_FROM:
        x = render_strokes(song, rng, frames)
        x = worn(x, rng) if rng.uniform() < 0.3 else x
    elif stem == "drums":
        x = render_drums(song, sources.ALONE, rng, frames)
        if rng.uniform() < 0.4:  # percussion, with the kit behind it or without
            kit = float(rng.choice([0.0, 0.0, 0.3, 0.8]))
            x = np.float32(kit) * _loud(x) + _loud(render_percussion(song, rng, frames))
        if rng.uniform() < 0.45:
            x = worn(x, rng)
    elif stem == "bass":
        x, _ = render_bass(song, sources.ALONE, rng, frames)
    elif stem == "other":
        x = render_other(song, sources.ALONE, rng, frames)
    else:
        more = index >= VOICES_FROM and rng.uniform() < 0.7
        x = render_vocals(song, phrases_of(banks / ("more" if more else "train")), rng, frames)
    done = finish(x, stem, rng)
    return np.round(done * (32000 / max(float(np.abs(done).max()), 1.0))).astype(np.int16)


NDArrayInt16 = np.ndarray[tuple[int, int, int], np.dtype[np.int16]]


def _write(split: str, alone: str, banks: Path, out: Path, index: int) -> int:
    target = out / split / alone / f"{index:05d}.npy"
    if not target.exists():
        draft = target.with_suffix(".tmp")
        with draft.open("wb") as file:
            np.save(file, render_alone(alone, index, banks) if alone else render(split, index, banks))
        draft.rename(target)
    return index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where songs and the phrase banks live")
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--alone", default="", choices=STEMS, help="this stem and no other, for training")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    banks = args.out / "bank"
    voice.build_bank(banks / "train", sources.TRAIN.voices, 420, 1)
    voice.build_bank(banks / "held_out", sources.HELD_OUT.voices, 80, 2)
    voice.build_bank(banks / "more", sources.MORE_VOICES, 3 * len(sources.MORE_VOICES), 3)
    (args.out / args.split / args.alone).mkdir(parents=True, exist_ok=True)
    todo = range(args.first, args.first + args.count)
    with ProcessPoolExecutor(args.workers) as pool:
        for index in pool.map(partial(_write, args.split, args.alone, banks, args.out), todo):
            print(args.split, index, flush=True)


if __name__ == "__main__":
    main()
