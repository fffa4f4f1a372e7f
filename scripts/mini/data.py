"""Render multitrack songs: `python data.py --out DIR --split train --count 300`.

A song is `(4, 2, frames)` int16 in STEMS order, saved as `DIR/SPLIT/00042.npy`; its mix is the plain sum.
A song depends on (split, index) alone, so any machine with the same packages renders the same one.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import compose
import numpy as np
import render
import sources
import voice
from compose import STEMS
from effects import equalise, loud, reverb, worn
from sources import Sounds
from synth import RATE, Audio, Rng

SECONDS = 24.0
SPLITS: dict[str, tuple[int, Sounds, str]] = {
    "train": (11, sources.TRAIN, "train"),
    "in_domain": (12, sources.TRAIN, "train"),
    "out_of_domain": (13, sources.HELD_OUT, "held_out"),
}
"""split -> (seed, sounds, phrase bank)."""

STROKES_FROM = 700
"""The number from which drums that are rendered alone are strokes that nobody ever recorded."""
CHOPPED_FROM = 1300
"""The number from which they are recorded loops cut up and put together anew."""
PLUCKS_FROM = {"bass": 400, "other": 220}
"""The number from which they are strings and bars that never were."""
RECORDED_FROM = 700
"""The number from which basses that are rendered alone are nearly all a soundfont's: plucked and slapped ones are like kicks."""
STRANGE_FROM = 950
"""The number from which they are low notes of anything that is plucked or struck."""
VOICES_FROM = 150
"""The number from which vocals that are rendered alone have more voices."""
LEVELS = {"drums": -19.0, "bass": -20.0, "other": -21.5, "vocals": -19.5}


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


def song_of(split: str, index: int, banks: Path, seconds: float = SECONDS) -> NDArrayInt16:
    """The stems of one song, scaled together so that neither they nor their sum clip."""
    seed, sounds, bank = SPLITS[split]
    rng = np.random.default_rng([seed, index])
    song, frames = compose.plan(rng, seconds), int(seconds * RATE)
    stems = {
        "drums": render.drums(song, sounds, rng, frames),
        "bass": render.bass(song, sounds, rng, frames)[0],
        "other": render.other(song, sounds, rng, frames),
        "vocals": render.vocals(song, phrases_of(banks / bank), rng, frames),
    }
    done = np.stack([finish(stems[name], name, rng) for name in STEMS])
    loudest = max(float(np.abs(done).max()), float(np.abs(done.sum(axis=0)).max()))
    return np.round(done * (32000 / max(loudest, 1e-6)) if loudest > 0.97 else done * 32767).astype(np.int16)


def _drums_alone(song: compose.Song, index: int, rng: Rng, frames: int) -> Audio:
    """Kits and percussion, then strokes that nobody recorded, then loops cut up; more often worn the more they are recorded."""
    if index >= CHOPPED_FROM:
        x, worn_out = render.chopped(song, sources.ALONE, rng, frames), 0.45
        if rng.uniform() < 0.25:  # with strokes that nobody recorded
            x = loud(x) + np.float32(rng.uniform(0.2, 0.8)) * loud(render.unrecorded(song, rng, frames))
    elif index >= STROKES_FROM:
        x, worn_out = render.unrecorded(song, rng, frames), 0.3
    else:
        x, worn_out = render.drums(song, sources.ALONE, rng, frames), 0.45
        if rng.uniform() < 0.4:  # percussion, with the kit behind it or without
            kit = float(rng.choice([0.0, 0.0, 0.3, 0.8]))
            x = np.float32(kit) * loud(x) + loud(render.percussion(song, rng, frames))
    return worn(x, rng) if rng.uniform() < worn_out else x


def _bass_alone(song: compose.Song, index: int, rng: Rng, frames: int) -> Audio:
    """Basses as songs have them, then plucks that never were, then recorded ones, then low notes of other instruments."""
    if PLUCKS_FROM["bass"] <= index < RECORDED_FROM:
        return render.plucked(song, rng, frames, low=True)
    sounds = sources.ALONE
    if index >= RECORDED_FROM:
        sounds = replace(sounds, synthesis=0.1)
    if index >= STRANGE_FROM:
        sounds = replace(sounds, bass_programs=sources.PLUCKED_PROGRAMS)
    return render.bass(song, sounds, rng, frames)[0]


def stem_of(stem: str, index: int, banks: Path) -> NDArrayInt16:
    """One stem of a song that has no others, (2, frames): training puts it into company."""
    rng = np.random.default_rng([14, STEMS.index(stem), index])
    song, frames = compose.plan(rng, SECONDS), int(SECONDS * RATE)
    if stem == "drums":
        x = _drums_alone(song, index, rng, frames)
    elif stem == "bass":
        x = _bass_alone(song, index, rng, frames)
    elif stem == "other" and index >= PLUCKS_FROM["other"]:
        x = render.plucked(song, rng, frames, low=False)
    elif stem == "other":
        x = render.other(song, sources.ALONE, rng, frames)
    else:
        more = index >= VOICES_FROM and rng.uniform() < 0.7
        x = render.vocals(song, phrases_of(banks / ("more" if more else "train")), rng, frames)
    done = finish(x, stem, rng)
    return np.round(done * (32000 / max(float(np.abs(done).max()), 1.0))).astype(np.int16)


NDArrayInt16 = np.ndarray[tuple[int, int, int], np.dtype[np.int16]]


def _write(split: str, alone: str, banks: Path, out: Path, index: int) -> int:
    target = out / split / alone / f"{index:05d}.npy"
    if not target.exists():
        draft = target.with_suffix(".tmp")
        with draft.open("wb") as file:
            np.save(file, stem_of(alone, index, banks) if alone else song_of(split, index, banks))
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
