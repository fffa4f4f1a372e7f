"""The loop itself, with networks that are one line long."""

import tracemalloc
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralib.audio import Recording, RecordingWriter
from neuralib.errors import Cancelled, OutOfMemory
from neuralib.executors.demucs.overlap import OverlapAdd, Weighting
from neuralib.executors.demucs.separation import Mix, Separation, Voice
from neuralib.executors.demucs.together import Together
from neuralib.executors.demucs.windows import Grid, Line, channel_pairs, leads

GAINS = torch.tensor([0.5, 0.25, -1.0])
CPU = torch.device("cpu")


def gain(windows: torch.Tensor) -> torch.Tensor:
    """A network whose stems are the mix at three levels."""
    return GAINS[None, :, None, None] * windows[:, None]


def noise(path: Path, frames: int, channels: int = 2, seed: int = 3) -> Recording:
    rng = np.random.default_rng(seed)
    with RecordingWriter(path, 1000, channels) as writer:
        for start in range(0, frames, 1 << 16):
            count = min(1 << 16, frames - start)
            writer.write(rng.standard_normal((channels, count)).astype(np.float32))
        return writer.close()


class Run:
    """A walk that hands its blocks to `block` and the windows it has done to `hear`."""

    def __init__(
        self,
        mix: Recording,
        grid: Grid,
        *,
        members: int = 1,
        shifts: int = 0,
        batch: int = 1,
        block: Callable[[np.ndarray], Any] = lambda _: None,
        hear: Callable[[int], Any] = lambda _: None,
    ) -> None:
        self.mix, self.batch, self.separation = mix, batch, None
        self.steps = self.walk(grid, members, shifts, block)
        self.hear = hear

    def tick(self) -> None:
        self.hear(self.separation.done if self.separation else 0)

    def walk(self, grid, members, shifts, block):
        pairs = channel_pairs(self.mix.channels)
        mix, silence = Mix(self.mix, tuple(pairs)), leads(members, shifts, 0, self.mix.sample_rate)
        voices = [Voice(place, place, 1 / members) for place in range(3)]
        self.separation = separation = Separation(
            mix=mix,
            levels=(yield from mix.levels()),
            grid=grid,
            lines=[Line(self.mix.frames, grid, m, silence[m], len(pairs)) for m in range(members)],
            voices=dict.fromkeys(range(members), voices),
            stems=3,
            passes=max(shifts, 1),
            device=CPU,
        )
        made = []
        while separation.line is not None:
            yield separation.done
            made.append(block(separation.pop()))
        return made


def run_all(runs, network=gain, size=8):
    """How each of them ended."""
    take = partial(next, iter(runs), None)
    networks = network if isinstance(network, list) else [network]
    ended = dict(Together(networks, take, size, CPU).run())
    return [ended[run] for run in runs]


def separate(mix: Recording, grid: Grid, *, network=gain, **options):
    """The stems of one run, in blocks."""
    (result,) = run_all([Run(mix, grid, block=lambda block: block, **options)], network, size=1)
    if isinstance(result, Exception):
        raise result
    return result


def scaled(mix: Recording) -> np.ndarray:
    """What `gain` makes of it: the level is taken out before the network and given back to every stem."""
    audio = mix.read()
    return GAINS.numpy()[:, None, None] * (audio - audio.mean()) + audio.mean()


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
    expected = scaled(mix)
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() < 1e-5


def test_memory_does_not_grow_with_the_recording(tmp_path):
    """Held are one window of every pass and the tail it shares with the next, whatever comes before and after."""
    grid = Grid(4000, 3000, fixed=True)
    peaks = []
    for seconds in (500, 1500):  # both longer than the blocks that the levels are read in
        mix = noise(tmp_path / f"{seconds}.f32", 1000 * seconds)
        tracemalloc.start()
        (blocks,) = run_all([Run(mix, grid, shifts=2, block=lambda block: block.nbytes)], size=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert max(blocks) <= 3 * 2 * 4 * (grid.segment + 500)
    assert peaks[1] < peaks[0] * 1.2


def test_progress_is_heard_before_the_first_window_and_after_every_batch(tmp_path):
    heard: list[int] = []
    mix = noise(tmp_path / "mix.f32", 1000)
    list(separate(mix, Grid(100, 100, fixed=True), batch=4, hear=heard.append))
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


# ── several at once ───────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25, deadline=None)
@given(
    shapes=st.lists(
        st.tuples(st.integers(1, 700), st.sampled_from([100, 60]), st.integers(0, 2), st.integers(1, 6)),
        min_size=2,
        max_size=5,
    ),
    size=st.integers(1, 4),
    fixed=st.booleans(),
)
def test_each_gets_its_own_stems_whoever_shares_the_batches(tmp_path_factory, shapes, size, fixed):
    folder = tmp_path_factory.mktemp("mixes")
    runs = [
        Run(
            noise(folder / f"{seed}.f32", frames, channels=2, seed=seed),
            Grid(segment, 3 * segment // 4, fixed, shortest=32),
            shifts=shifts,
            batch=batch,
            block=lambda block: block,
        )
        for seed, (frames, segment, shifts, batch) in enumerate(shapes)
    ]
    for run, made in zip(runs, run_all(runs, size=size), strict=True):
        assert np.abs(np.concatenate(made, axis=-1) - scaled(run.mix)).max() < 1e-5


GRID = Grid(100, 100, fixed=True)
ODD = Grid(80, 80, fixed=True)


def numbered(folder: Path, number: int, frames: int = 1000) -> Recording:
    """A recording whose windows say which one they are of."""
    audio = np.zeros((2, frames), np.float32)
    audio[:, :: number + 2] = 1
    with RecordingWriter(folder / f"{number}.f32", 1000, 2) as writer:
        writer.write(audio)
        return writer.close()


class Seen:
    """A network that remembers whose windows came in each batch: once normalised, their peaks are roots of n + 1."""

    def __init__(self, most: int = 64) -> None:
        self.batches: list[list[int]] = []
        self.most = most

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        self.batches.append([round(float(window.max()) ** 2) - 1 for window in windows])
        if len(windows) > self.most:
            raise torch.cuda.OutOfMemoryError
        return gain(windows)


def test_a_batch_is_dealt_out_in_turn(tmp_path):
    seen = Seen()
    run_all([Run(numbered(tmp_path, n), GRID, batch=8) for n in range(3)], seen)
    assert seen.batches[0] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert list(map(len, seen.batches)) == [8, 8, 8, 6]


def test_windows_of_another_length_or_member_wait_for_a_batch_of_their_own(tmp_path):
    seen = Seen()
    runs = [Run(numbered(tmp_path, n), ODD if n == 1 else GRID, batch=4) for n in range(3)]
    runs.append(Run(numbered(tmp_path, 3), GRID, batch=4, members=2))
    run_all(runs, [seen, seen])
    assert seen.batches[:5] == [[0, 2, 3, 0], [1, 1, 1, 1], [2, 0, 2, 0], [3, 3, 3, 3], [1, 1, 1, 1]]


@settings(max_examples=30, deadline=None)
@given(
    shapes=st.lists(
        st.tuples(st.integers(2, 12), st.booleans(), st.integers(1, 3), st.integers(1, 5)),
        min_size=2,
        max_size=6,
    )
)
def test_nobody_waits_for_more_batches_than_there_are_others(tmp_path_factory, shapes):
    folder, seen = tmp_path_factory.mktemp("mixes"), Seen()
    runs = [
        Run(numbered(folder, n, 100 * length), ODD if odd else GRID, members=members, batch=batch)
        for n, (length, odd, members, batch) in enumerate(shapes)
    ]
    run_all(runs, [seen, seen, seen])
    for n in range(len(runs)):
        turns = [-1, *(i for i, batch in enumerate(seen.batches) if n in batch)]
        assert max(b - a for a, b in pairwise(turns)) <= len(runs)


def test_who_comes_later_joins_those_under_way(tmp_path):
    seen = Seen()
    early, late = (Run(numbered(tmp_path, n), GRID, batch=4) for n in range(2))
    waiting = [early]

    def take():
        if len(seen.batches) == 1 and late is not None and late not in given:
            waiting.append(late)
        given.extend(waiting[:1])
        return waiting.pop() if waiting else None

    given: list[Run] = []
    ended = [run for run, _ in Together([seen], take, 2, CPU).run()]
    assert ended == [early, late]
    assert seen.batches[:2] == [[0, 0, 0, 0], [0, 1, 0, 1]]


def test_a_run_that_breaks_or_is_stopped_does_not_end_those_beside_it(tmp_path):
    def stop(done):
        if done >= 3:
            raise Cancelled

    def break_down(_block):
        raise ValueError

    heard: list[int] = []
    missing = Recording(tmp_path / "missing.f32", 1000, 2, 500)
    runs = [
        Run(numbered(tmp_path, 0), GRID, batch=3, hear=stop),
        Run(numbered(tmp_path, 1), GRID, batch=3, block=break_down),
        Run(missing, GRID, batch=3),
        Run(numbered(tmp_path, 2), GRID, batch=3, hear=heard.append, block=lambda block: block),
    ]
    *bad, good = run_all(runs)
    assert [type(error) for error in bad] == [Cancelled, ValueError, FileNotFoundError]
    assert np.abs(np.concatenate(good, axis=-1) - scaled(runs[3].mix)).max() < 1e-5
    assert heard == sorted(heard)
    assert heard[-1] == 10


def test_everybody_says_how_far_it_is_after_every_batch(tmp_path):
    heard: list[list[int]] = [[], []]
    runs = [
        Run(numbered(tmp_path, n), GRID if n else ODD, batch=4, hear=list_.append)
        for n, list_ in enumerate(heard)
    ]
    run_all(runs)
    # 13 windows of the one and 10 of the other, four at a time and in turn; the first report is before any
    assert heard[0] == [0, 4, 4, 8, 8, 12, 12, 13]
    assert heard[1] == [0, 0, 4, 4, 8, 8, 10]


def test_a_shared_batch_that_does_not_fit_is_halved_and_nobody_loses_a_window(tmp_path):
    seen = Seen(most=2)
    runs = [Run(numbered(tmp_path, n), GRID, batch=8, block=lambda block: block) for n in range(3)]
    for run, made in zip(runs, run_all(runs, seen), strict=True):
        assert np.abs(np.concatenate(made, axis=-1) - scaled(run.mix)).max() < 1e-5
    assert [len(batch) for batch in seen.batches[:6]] == [8, 4, 2, 2, 2, 2]
    assert max(len(batch) for batch in seen.batches[2:]) == 2


def test_a_device_too_small_for_one_window_ends_all_and_closes_their_files(tmp_path):
    runs = [Run(numbered(tmp_path, n), GRID, batch=8) for n in range(2)]
    with pytest.raises(OutOfMemory) as caught:
        run_all(runs, Seen(most=0))
    assert caught.value.retryable
    assert all(run.steps.gi_frame is None for run in runs)


# ── the parts ─────────────────────────────────────────────────────────────────────────────────────────


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
    steps = Mix(mix, ((0, 1), (2,))).levels()
    assert [next(steps), next(steps)] == [0, 1 << 18]
    with pytest.raises(StopIteration) as end:
        next(steps)
    for level, mono in zip(end.value.value, (audio[:2].mean(0), audio[2]), strict=True):
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
