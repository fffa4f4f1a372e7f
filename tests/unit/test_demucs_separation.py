"""The loop itself, with networks that are one line long."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralib.audio import Recording, RecordingWriter
from neuralib.errors import OutOfMemory
from neuralib.executors.demucs.separation import Mix, OverlapAdd, Separation, Voice, Weighting
from neuralib.executors.demucs.windows import Grid, Line, channel_pairs, leads

GAINS = torch.tensor([0.5, 0.25, -1.0])
CPU = torch.device("cpu")


def gain(windows: torch.Tensor) -> torch.Tensor:
    """A network whose stems are the mix at three levels."""
    return GAINS[None, :, None, None] * windows[:, None]


def noise(path: Path, frames: int, channels: int = 2) -> Recording:
    rng = np.random.default_rng(3)
    with RecordingWriter(path, 1000, channels) as writer:
        for start in range(0, frames, 1 << 16):
            count = min(1 << 16, frames - start)
            writer.write(rng.standard_normal((channels, count)).astype(np.float32))
        return writer.close()


def separate(mix: Recording, grid: Grid, *, network=gain, shifts=0, batch=1, heard=None):
    pairs = channel_pairs(mix.channels)
    silence = leads(1, shifts, 0, mix.sample_rate)
    separation = Separation(
        networks={0: network},
        mix=Mix(mix, tuple(pairs)),
        grid=grid,
        voices={0: [Voice(place, place, 1.0) for place in range(3)]},
        stems=3,
        passes=max(shifts, 1),
        device=CPU,
    )
    line = Line(mix.frames, grid, 0, silence[0], len(pairs))
    return separation.run([line], batch, lambda done: heard.append(done) if heard is not None else None)


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(1, 900),
    segment=st.integers(20, 300),
    overlap=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.77, 0.95]),
    shifts=st.integers(0, 3),
    batch=st.integers(1, 5),
    fixed=st.booleans(),
)
def test_a_network_that_only_scales_gives_the_scaled_mix_however_it_is_cut(
    tmp_path_factory, frames, segment, overlap, shifts, batch, fixed
):
    mix = noise(tmp_path_factory.mktemp("mix") / "mix.f32", frames)
    grid = Grid(segment, int((1 - overlap) * segment), fixed, shortest=32)
    made = np.concatenate(list(separate(mix, grid, shifts=shifts, batch=batch)), axis=-1)
    audio = mix.read()
    level = audio.mean()  # taken out before the network and given back to every stem
    expected = GAINS.numpy()[:, None, None] * (audio - level) + level
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() < 1e-5


def test_memory_does_not_grow_with_the_recording(tmp_path):
    """Held are one window of every pass and the tail it shares with the next, whatever comes before and after."""
    grid = Grid(4000, 3000, fixed=True)
    peaks = []
    for seconds in (500, 1500):  # both longer than the blocks that the levels are read in
        mix = noise(tmp_path / f"{seconds}.f32", 1000 * seconds)
        tracemalloc.start()
        longest = max(block.nbytes for block in separate(mix, grid, shifts=2))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert longest <= 3 * 2 * 4 * (grid.segment + 500)
    assert peaks[1] < peaks[0] * 1.2


def test_progress_is_heard_before_the_first_window_and_after_every_batch(tmp_path):
    heard: list[int] = []
    mix = noise(tmp_path / "mix.f32", 1000)
    list(separate(mix, Grid(100, 100, fixed=True), batch=4, heard=heard))
    assert heard[0] == 0
    assert [done for done in heard if done] == [4, 8, 10]


def test_a_full_device_gets_smaller_batches(tmp_path):
    sizes: list[int] = []

    def small(windows: torch.Tensor) -> torch.Tensor:
        sizes.append(len(windows))
        if len(windows) > 2:
            raise torch.cuda.OutOfMemoryError
        return gain(windows)

    mix = noise(tmp_path / "mix.f32", 1000)
    made = np.concatenate(list(separate(mix, Grid(100, 75, fixed=True), network=small, batch=8)), axis=-1)
    assert sizes[:4] == [8, 4, 2, 2]
    assert max(sizes[2:]) == 2
    assert made.shape == (3, 2, 1000)


def test_a_device_too_small_for_one_window_says_so(tmp_path):
    def full(windows: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError

    with pytest.raises(OutOfMemory):
        list(separate(noise(tmp_path / "mix.f32", 1000), Grid(100, 75, fixed=True), network=full, batch=8))


@pytest.mark.parametrize(
    ("channels", "pairs"),
    [
        (1, [(0,)]),
        (2, [(0, 1)]),
        (3, [(0, 1), (2,)]),
        (6, [(0, 1), (2,), (3,), (4, 5)]),
        (8, [(0, 1), (2,), (3,), (4, 5), (6, 7)]),
    ],
)
def test_channels_go_through_in_pairs(channels, pairs):
    assert channel_pairs(channels) == pairs


def test_levels_are_those_of_torch(tmp_path):
    mix = noise(tmp_path / "mix.f32", 300_001, channels=3)
    audio = torch.from_numpy(mix.read()) + 0.0
    first, second = Mix(mix, ((0, 1), (2,))).levels(lambda: None)
    for level, mono in ((first, audio[:2].mean(0)), (second, audio[2])):
        assert level.mean == pytest.approx(float(mono.mean()), abs=1e-7)
        assert level.deviation == pytest.approx(float(mono.std()), rel=1e-6)


def test_weights_of_all_windows_add_up_to_one():
    grid = Grid(100, 30, fixed=True)
    weighting, sums = Weighting(grid, CPU), OverlapAdd(1, 1, CPU)
    for index in range(20):
        sums.add(0, 0, index * 30, weighting.of(index)[None])
    assert torch.allclose(sums.pop(19 * 30)[0, 0], torch.ones(19 * 30), atol=1e-6)


def test_the_draws_of_a_seed_are_the_same_whatever_runs():
    assert leads(4, 3, 9, 44_100)[:2] == leads(2, 3, 9, 44_100)
    assert leads(2, 0, 9, 44_100) == [[0], [0]]
