"""Stems that add up to their mix, in float and on the grid of a PCM format."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuralib.audio.encode import quantise
from neuralib.executors.demucs.fidelity import dbfs, on_grid, summing

UNIT = st.floats(-1, 1, width=32)
LOUD = st.floats(-4, 4, width=32)


@given(stems=arrays(np.float32, (4, 2, 7), elements=LOUD), mix=arrays(np.float32, (2, 7), elements=UNIT))
def test_stems_add_up_to_the_mix(stems, mix):
    assert np.abs(summing(stems, mix).sum(0, dtype=np.float64) - mix).max() < 1e-6


@given(stems=arrays(np.float32, (4, 2, 7), elements=LOUD), truth=arrays(np.float32, (4, 2, 7), elements=UNIT))
def test_adding_up_brings_the_stems_no_further_from_the_truth(stems, truth):
    mended = summing(stems, truth.sum(0))
    before, after = (((s.astype(np.float64) - truth) ** 2).sum() for s in (stems, mended))
    assert after <= before * (1 + 1e-5) + 1e-9


@pytest.mark.parametrize("bits", [16, 24])
@settings(max_examples=50)
@given(data=st.data())
def test_stems_on_a_grid_are_encoded_without_loss_and_add_up_to_the_last_step(bits, data):
    """Also where they are far beyond full scale: then the others make room."""
    steps = 1 << (bits - 1)
    levels = data.draw(arrays(np.int64, (2, 5), elements=st.integers(-steps, steps - 1)))
    mix = (levels / steps).astype(np.float32)
    stems = data.draw(arrays(np.float32, (4, 2, 5), elements=LOUD))
    total = np.zeros((5, 2), np.int64)
    for stem in on_grid(stems, mix, steps):
        integers, clipped = quantise(stem, bits)
        assert clipped == 0
        assert np.array_equal(integers / steps, stem.T)
        total += integers
    assert np.array_equal(total, levels.T)


def test_a_stem_on_a_grid_is_at_most_a_step_from_what_it_was():
    rng = np.random.default_rng(0)
    stems = rng.uniform(-0.2, 0.2, (4, 2, 1000)).astype(np.float32)
    mix = (np.rint(stems.sum(0) * 32768) / 32768).astype(np.float32)
    assert np.abs(on_grid(stems, mix, 32768) - stems).max() <= 2.5 / 32768


def test_levels_in_decibels():
    assert dbfs(1.0) == 0
    assert dbfs(0.01) == pytest.approx(-20)
    assert dbfs(0.0) == -240
