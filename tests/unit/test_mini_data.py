"""What the bundled separator learns from: sounds and songs that a seed names."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "mini"


@pytest.fixture(scope="module")
def mini() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The modules `compose` and `synth` of scripts/mini: scripts, so not on the path."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield importlib.import_module("compose"), importlib.import_module("synth")
    finally:
        sys.path.remove(str(SCRIPTS))
        for name in ("compose", "synth"):
            sys.modules.pop(name, None)


def test_a_seed_names_a_song(mini):
    compose, _ = mini

    def written(seed: int):
        rng = np.random.default_rng(seed)
        song = compose.plan(rng, 12.0)
        return song, compose.drum_part(song, rng), compose.bass_part(song, rng), compose.other_part(song, rng)

    assert written(7) == written(7)
    assert written(7) != written(8)


def test_basses_stay_in_the_register_and_the_key(mini):
    compose, _ = mini
    for seed in range(40):
        rng = np.random.default_rng(seed)
        song = compose.plan(rng, 24.0)
        scale = {(song.key + step) % 12 for step in compose.MODES[song.mode]}
        notes = compose.bass_part(song, rng)
        assert all(24 <= n.pitch <= 60 for n in notes)
        assert {n.pitch % 12 for n in notes} <= scale


def test_a_synthesised_bass_sounds_its_note(mini):
    _, synth = mini
    kinds = set()
    for seed in range(24):
        rng = np.random.default_rng(seed)
        kind, patch = synth.bass_patch(rng)
        kinds.add(kind)
        x = synth.perform([synth.Note(0.0, 0.9, 45, 0.9)], patch, synth.RATE, rng)
        assert np.isfinite(x).all()
        assert np.abs(x).max() > 0.01, kind
        spectrum = np.abs(np.fft.rfft(x * np.hanning(x.size)))
        harmonics = sum(
            spectrum[round(f) - 3 : round(f) + 4].sum() for f in (55.0, 110.0, 165.0, 220.0, 330.0, 440.0)
        )
        assert harmonics > 0.25 * spectrum[:500].sum(), kind
    assert len(kinds) > 6


def test_a_kit_is_the_same_for_the_same_seed_and_no_piece_is_silent(mini):
    _, synth = mini
    one, two = (synth.drum_kit(np.random.default_rng(3)) for _ in range(2))
    assert one.keys() == two.keys()
    for piece, shot in one.items():
        assert np.array_equal(shot, two[piece])
        assert np.abs(shot).max() > 0.05, piece
