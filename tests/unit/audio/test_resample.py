"""Other sample rates: no lag, exact counts, and the signal that was there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralib.audio import resample, resample_blocks, resampled_frames


def band_limited(frames: int, rate: int, top: float = 6_000.0) -> np.ndarray:
    """A sum of tones below `top` Hz, faded at both ends."""
    at = np.arange(frames) / rate
    tones = sum(np.sin(2 * np.pi * f * at + f) for f in np.linspace(200, top, 9)) / 20
    fade = np.sin(np.minimum(1, np.minimum(at, frames / rate - at) / 0.05) * np.pi / 2) ** 2
    return np.stack([tones * fade, -0.5 * tones * fade]).astype(np.float32)


def snr(reference: np.ndarray, got: np.ndarray) -> float:
    return 10 * np.log10(np.sum(reference**2.0) / np.sum((reference - got) ** 2.0))


def ended(steps):
    """What a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("rate", [48_000, 96_000, 192_000, 22_050])
def test_there_and_back_again_is_the_same_frame_for_frame(media, recorded, rate):
    samples = band_limited(rate + 7, rate)
    there = ended(resample(recorded(samples, rate, "pcm_24"), media.folder / "there", 44_100))
    back = ended(resample(there, media.folder / "back", rate, frames=samples.shape[1]))
    assert (there.sample_rate, there.frames) == (44_100, resampled_frames(rate + 7, rate, 44_100))
    assert (back.sample_rate, back.frames, back.subtype) == (rate, samples.shape[1], "pcm_24")
    assert snr(samples, back.read()) > 110  # a lag of a hundredth of a sample would leave 40 dB


@pytest.mark.parametrize("target", [16_000, 22_050, 44_100, 96_000])
def test_a_tone_stays_where_it_is(target):
    expected = band_limited(target, target)
    got = np.concatenate(list(resample_blocks([band_limited(48_000, 48_000)], 48_000, target)), axis=1)
    assert got.shape == expected.shape
    assert snr(expected[:, 100:-100], got[:, 100:-100]) > 80


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 5_000), min_size=1, max_size=6),
    rate=st.sampled_from([8_000, 11_025, 44_100, 48_000, 192_000]),
    target=st.sampled_from([8_000, 16_000, 44_100, 48_000, 192_000]),
    channels=st.integers(1, 3),
)
def test_the_count_is_exact_and_the_cut_into_blocks_changes_nothing(sizes, rate, target, channels):
    rng = np.random.default_rng(sum(sizes))
    whole = rng.standard_normal((channels, sum(sizes))).astype(np.float32)
    blocks = np.split(whole, np.cumsum(sizes)[:-1], axis=1)
    in_blocks = np.concatenate(list(resample_blocks(blocks, rate, target)), axis=1)
    at_once = np.concatenate(list(resample_blocks([whole], rate, target)), axis=1)
    assert in_blocks.shape == (channels, resampled_frames(sum(sizes), rate, target))
    assert np.array_equal(in_blocks, at_once)


@pytest.mark.parametrize(("rate", "target"), [(48_000, 44_100), (44_100, 44_100)])
@pytest.mark.parametrize("frames", [0, 1, 900, 44_100, 60_000])
def test_a_count_that_is_asked_for_is_kept(rate, target, frames):
    blocks = np.array_split(band_limited(rate, rate), 5, axis=1)
    got = np.concatenate(list(resample_blocks(blocks, rate, target, frames=frames)), axis=1)
    assert got.shape == (2, frames)
    assert not got[:, 45_000:].any()


def test_equal_rates_change_no_sample():
    samples = band_limited(5_000, 44_100)
    got = np.concatenate(list(resample_blocks(np.array_split(samples, 3, axis=1), 44_100, 44_100)), axis=1)
    assert np.array_equal(got, samples)


def test_nothing_in_nothing_out():
    assert list(resample_blocks([], 48_000, 44_100)) == []


def test_steps_say_the_frames_and_need_not_be_taken_to_the_end(media, recorded):
    mix, into = recorded(band_limited(200_000, 48_000), 48_000), media.folder / "out"
    steps = resample(mix, into, 44_100)
    first, second = next(steps), next(steps)
    assert 0 < first < second < 200_000
    steps.close()
    assert into.stat().st_size == second * 2 * 4
