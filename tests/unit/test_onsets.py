"""Onsets: where a drummer struck, to the sample where the stroke is clean, at any rate and in anything."""

import mir_eval
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import songs
from neuralib.audio import RecordingWriter
from neuralib.executors.onsets import Novelty, find_onsets, novelty_of, pick_onsets


@pytest.fixture
def recorded(tmp_path):
    def make(samples, rate=songs.RATE):
        samples = np.atleast_2d(samples).astype(np.float32)
        with RecordingWriter(tmp_path / f"{len(list(tmp_path.iterdir()))}.f32", rate, len(samples)) as writer:
            writer.write(samples)
            return writer.close()

    return make


def clicks(times, rate, seconds=3.0, channels=1):
    """Decaying noise at each of `times`, over a hum that swells."""
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * rate)) / rate
    sound = 0.01 * np.sin(2 * np.pi * 110 * t) * t
    burst = 0.5 * rng.standard_normal(rate // 10) * np.exp(-np.arange(rate // 10) / (0.02 * rate))
    for time in times:
        at = round(time * rate)
        sound[at : at + len(burst)] += burst
    return np.tile(sound, (channels, 1))


@pytest.mark.parametrize("pattern", songs.PATTERNS)
@pytest.mark.parametrize("tempo", [72, 124, 168])
def test_drum_strokes_are_found(recorded, tempo, pattern):
    song = songs.drums(tempo, pattern, seconds=8, seed=tempo)
    found = find_onsets(recorded(song.samples)).times
    f_measure, _, _ = mir_eval.onset.f_measure(songs.merged(song.strokes), found, window=0.05)
    assert f_measure >= 0.9


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (48_000, 6), (192_000, 1)])
def test_an_onset_lies_on_the_sample_where_the_attack_starts(recorded, rate, channels):
    truth = [0.2, 0.55, 1.123, 2.0]
    found = find_onsets(recorded(clicks(truth, rate, channels=channels), rate))
    assert found.times == pytest.approx(truth, abs=0.001)
    assert found.times * rate == pytest.approx(np.rint(found.times * rate), abs=1e-6)
    assert found.strengths.max() == 1


def test_more_sensitivity_finds_what_less_finds_and_more(recorded):
    recording = recorded(songs.drums(140, "break", seconds=6).samples)
    counts = [len(find_onsets(recording, sensitivity).times) for sensitivity in (0, 0.25, 0.5, 0.75, 1)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def told(onsets, sensitivity):
    """What whoever knows all onsets takes for those of another sensitivity."""
    return onsets.times[onsets.sensitivities <= sensitivity].tolist()


@pytest.mark.parametrize("pattern", songs.PATTERNS)
def test_all_onsets_tell_what_every_sensitivity_finds(recorded, pattern):
    recording = recorded(songs.drums(128, pattern, seconds=6, seed=3).samples)
    novelty = novelty_of(recording)
    everything = pick_onsets(recording, novelty, 1.0, lambda: None)
    assert len(everything.times) > 10
    for sensitivity in np.linspace(0, 1, 21):
        found = pick_onsets(recording, novelty, float(sensitivity), lambda: None)
        assert found.times.tolist() == told(everything, sensitivity)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gain=arrays.arrays(
        np.float32, st.integers(1, 80), elements=st.sampled_from([0, 0.01, 0.02, 0.03, 0.05, 0.2])
    ),
    sensitivity=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_also_where_gains_are_equal_and_attacks_meet(recorded, gain, sensitivity, seed):
    sound = np.random.default_rng(seed).standard_normal(len(gain) * 80) * 0.1
    recording, novelty = recorded(sound, 8_000), Novelty(gain, gain, 0.1)
    everything = pick_onsets(recording, novelty, 1.0, lambda: None)
    found = pick_onsets(recording, novelty, sensitivity, lambda: None)
    assert found.times.tolist() == told(everything, sensitivity)
    assert (np.diff(everything.times) > 0).all()


def test_loudness_does_not_matter(recorded):
    song = songs.drums(110, "rock", seconds=6).samples
    loud, quiet = (find_onsets(recorded(song * gain)).times for gain in (1, 0.003))
    assert quiet == pytest.approx(loud, abs=0.001)


@pytest.mark.parametrize("frames", [1, 441, 44_100])
def test_silence_has_no_onsets(recorded, frames):
    assert len(find_onsets(recorded(np.zeros((2, frames)))).times) == 0


@pytest.mark.parametrize("samples", [np.ones(1), np.ones(441), np.full(44_100, 0.5)], ids=["1", "10ms", "dc"])
def test_what_is_short_or_constant_has_one_onset_at_its_start_at_most(recorded, samples):
    assert list(find_onsets(recorded(samples)).times) in ([], [0])


def test_steady_sounds_have_none_after_their_start(recorded):
    t = np.arange(4 * songs.RATE) / songs.RATE
    vibrato = 0.3 * np.sin(2 * np.pi * 220 * t + 3 * np.sin(2 * np.pi * 5 * t))
    assert (find_onsets(recorded(vibrato)).times < 0.1).all()


def test_whoever_cancels_is_heard(recorded):
    class Enough(Exception):
        pass

    def tick():
        raise Enough

    with pytest.raises(Enough):
        find_onsets(recorded(np.ones(44_100)), tick=tick)
