"""What no stem claims goes to the stems that sound in the same bins, block by block as in one piece."""

from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralib.audio import RecordingWriter
from neuralib.executors.demucs.fidelity import Finisher
from neuralib.executors.demucs.sharing import WINDOW, Sharing
from neuralib.executors.demucs.task import Product

RATE = 44_100


def shared(stems, mix, sizes, parts=None):
    """The stems as they come back, beside their mix, when they are given in blocks of these sizes, over and over."""
    sharing, blocks, at, turn = Sharing(parts or [1.0] * len(stems), stems.shape[1]), [], 0, 0
    while at < mix.shape[-1]:
        to = at + sizes[turn % len(sizes)]
        blocks.append(sharing.take(stems[..., at:to], mix[..., at:to]))
        at, turn = to, turn + 1
    made, beside = (np.concatenate(x, axis=-1) for x in zip(*blocks, sharing.end(), strict=True))
    np.testing.assert_array_equal(beside, mix)
    return made


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(0, 4 * WINDOW),
    stems=st.integers(1, 6),
    channels=st.integers(1, 3),
    sizes=st.lists(st.integers(1, 3 * WINDOW), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
)
def test_blocks_of_any_size_make_the_same_stems_which_add_up(frames, stems, channels, sizes, seed):
    rng = np.random.default_rng(seed)
    said = rng.uniform(-0.3, 0.3, (stems, channels, frames)).astype(np.float32)
    mix = rng.uniform(-1, 1, (channels, frames)).astype(np.float32)
    made = shared(said, mix, sizes)
    assert made.shape == said.shape
    assert made.dtype == np.float32
    np.testing.assert_allclose(made.sum(0, dtype=np.float64), mix, atol=2e-6)
    np.testing.assert_allclose(made, shared(said, mix, [max(frames, 1)]), atol=1e-6)


def tone(hz, level):
    t = np.arange(2 * RATE) / RATE
    return np.repeat((level * np.sin(2 * np.pi * hz * t)).astype(np.float32)[None], 2, axis=0)


def test_what_is_missing_goes_where_it_belongs():
    """Equal parts would give each of the four 0.05 of the one tone and 0.025 of the other."""
    truth = np.stack([tone(100, 0.4), tone(3000, 0.2), tone(1, 0), tone(1, 0)])
    made = shared(np.float32(0.5) * truth, truth.sum(0), [10_000])
    middle = made[..., WINDOW:-WINDOW]
    error = np.sqrt(((middle - truth[..., WINDOW:-WINDOW]) ** 2).mean((1, 2)))
    assert error[:2].max() < 0.003
    assert error[2:].max() < 1e-4


def test_where_all_stems_are_silent_all_get_the_same():
    mix = np.random.default_rng(0).uniform(-1, 1, (2, 3 * WINDOW)).astype(np.float32)
    made = shared(np.zeros((4, *mix.shape), np.float32), mix, [5000])
    np.testing.assert_allclose(made, np.repeat(mix[None] / 4, 4, axis=0), atol=1e-6)


def test_a_surer_stem_takes_less_than_others_as_loud():
    mix = np.random.default_rng(0).uniform(-1, 1, (2, 3 * WINDOW)).astype(np.float32)
    said = np.repeat(mix[None] / 8, 4, axis=0)
    made = shared(said, mix, [5000], (0.5, 1, 1, 1))
    np.testing.assert_allclose(made[0], said[0] + mix / 14, atol=1e-6)
    np.testing.assert_allclose(made[1:], said[1:] + np.stack([mix / 7] * 3), atol=1e-6)


@pytest.mark.parametrize("frames", [1, 3 * WINDOW + 5])
@pytest.mark.parametrize("subtype", ["pcm_16", "float"])
def test_what_is_written_has_all_frames_and_nulls_to_the_last_step(tmp_path, frames, subtype):
    rng = np.random.default_rng(frames)
    mix = (rng.integers(-30_000, 30_000, (2, frames)) / 32_768).astype(np.float32)
    said = rng.uniform(-0.3, 0.3, (4, 2, frames)).astype(np.float32)
    with RecordingWriter(tmp_path / "mix.f32", RATE, 2, subtype) as writer:
        writer.write(mix)
        recording = writer.close()
    with ExitStack() as files:
        outputs = [
            (
                Product(str(stem), "stem", 0.0, tuple(float(stem == each) for each in range(4))),
                files.enter_context(RecordingWriter(tmp_path / f"{stem}.f32", RATE, 2, subtype)),
            )
            for stem in range(4)
        ]
        finisher = Finisher(recording, outputs, exact=True, complete=True, parts=(0.5, 1, 1, 1))
        for at in range(0, frames, 1500):
            finisher.write(said[..., at : at + 1500])
        finisher.end()
        made = np.stack([finisher.output(stem).recording.read() for stem in range(4)])
    assert made.shape == said.shape
    missing = mix - made.sum(0, dtype=np.float64)
    assert np.abs(missing).max() < (1e-9 if subtype == "pcm_16" else 1e-6)
    assert finisher.facts()["sharing"] == "magnitude"
    assert finisher.facts()["null_dbfs"] < -120
