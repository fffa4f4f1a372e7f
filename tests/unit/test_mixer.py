"""The mixer adds up, and says what it did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media import noise, on_grid
from neuralib.audio import AudioInfo, Recording, RecordingWriter, Samples, encode
from neuralib.errors import Cancelled, InputUnsupported, ValidationFailed
from neuralib.executors import Input, InputInfo, Output, RunContext
from neuralib.executors.demucs.fidelity import on_grid as exact
from neuralib.executors.mixer import BLOCK, Mixer, MixerParams

RATE = 8000


class Desk:
    """A folder in which recordings are mixed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self.reports: list[tuple[int, int]] = []
        self.context: RunContext | None = None

    def recording(self, samples: Samples, rate: int = RATE, subtype: str = "pcm_16") -> Recording:
        self.count += 1
        with RecordingWriter(self.folder / f"in-{self.count}.f32", rate, len(samples), subtype) as writer:
            writer.write(samples)
            return writer.close()

    def mix(self, *tracks: Recording, names: Sequence[str | None] = (), **params: Any) -> Output:
        names = names or [None] * len(tracks)
        inputs = tuple(Input("audio", each, name) for each, name in zip(tracks, names, strict=True))
        self.count += 1
        scratch = self.folder / f"run-{self.count}"
        scratch.mkdir()
        self.reports.clear()
        self.context = RunContext(scratch, self.report, inputs)
        return Mixer().run(tracks[0], MixerParams.model_validate(params), self.context)

    def report(self, done: int, total: int) -> None:
        self.reports.append((done, total))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def samples(output: Output) -> Samples:
    return output.audio[0].recording.read()


def tone(value: float, frames: int = 100, channels: int = 2) -> Samples:
    return np.full((channels, frames), value, np.float32)


@pytest.mark.parametrize("bits", [16, 24])
def test_exact_stems_mix_back_to_the_last_bit_and_minus_one_is_the_rest(desk: Desk, bits: int) -> None:
    steps, subtype = 1 << (bits - 1), f"pcm_{bits}"
    mix = on_grid(noise(3.0, 44_100, 2) * 4, bits)
    stems = exact(np.stack([noise(3.0, 44_100, 2, seed) for seed in range(4)]), mix, steps)
    tracks = [desk.recording(stem, 44_100, subtype) for stem in stems]
    made = desk.mix(*tracks)
    assert np.array_equal(samples(made), mix)
    encoded = encode(made.audio[0].recording, desk.folder / "mix.wav", format="wav")
    assert (encoded.subtype, encoded.clipped) == (subtype, 0)
    without = desk.mix(*tracks, tracks=[{"input": 0, "mute": True}, *({"input": n} for n in (1, 2, 3))])
    rest = stems[1:].sum(0, dtype=np.float64)
    assert np.array_equal(samples(without), rest.astype(np.float32))
    assert np.array_equal(rest, mix.astype(np.float64) - stems[0])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tracks=st.lists(
        st.tuples(st.integers(1, 3 * BLOCK), st.integers(-BLOCK, BLOCK), st.sampled_from([0.0, -6.0, 12.5]),
                  st.booleans()),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_a_mix_is_the_sum_of_its_tracks_where_they_lie(
    desk: Desk, tracks: list[tuple[int, int, float, bool]]
) -> None:
    rng = np.random.default_rng(len(tracks))
    parts = [rng.standard_normal((1, frames)).astype(np.float32) for frames, *_ in tracks]
    params = [
        {"input": n, "offset_s": at / RATE, "gain_db": gain, "mute": mute}
        for n, (_, at, gain, mute) in enumerate(tracks)
    ]
    length = max(at + frames for frames, at, *_ in tracks)
    if length <= 0:
        with pytest.raises(ValidationFailed, match="behind 0 s"):
            desk.mix(*map(desk.recording, parts), tracks=params)
        return
    wanted = np.zeros((1, length))
    for part, (frames, at, gain, mute) in zip(parts, tracks, strict=True):
        if not mute and at + frames > 0:
            wanted[:, max(at, 0) : at + frames] += part[:, max(-at, 0) :] * 10 ** (gain / 20)
    mix = samples(desk.mix(*map(desk.recording, parts), tracks=params))
    assert mix.shape == wanted.shape
    np.testing.assert_allclose(mix, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("pan", "left", "right"), [(0, 1, 1), (-1, 1, 0), (1, 0, 1), (0.5, 0.5, 1), (-0.25, 1, 0.75)]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_pan_is_a_balance_that_leaves_the_centre_alone(
    desk: Desk, channels: int, pan: float, left: float, right: float
) -> None:
    track = desk.recording(tone(0.5, channels=channels))
    mix = samples(desk.mix(track, tracks=[{"input": 0, "pan": pan}]))
    assert mix.shape == (2 if pan else channels, 100)
    assert np.array_equal(mix[0], tone(0.5 * left)[0])
    assert np.array_equal(mix[-1], tone(0.5 * right)[0])


def test_mono_goes_to_both_sides(desk: Desk) -> None:
    mix = samples(desk.mix(desk.recording(tone(0.25, channels=1)), desk.recording(tone(0.5))))
    assert np.array_equal(mix, tone(0.75))


def test_tracks_are_named_and_one_input_may_have_several(desk: Desk) -> None:
    drums, bass = desk.recording(tone(0.25)), desk.recording(tone(0.125))
    tracks = [{"input": "bass"}, {"input": "bass", "offset_s": 10 / RATE}]
    made = desk.mix(drums, bass, names=["drums", "bass"], tracks=tracks, name="Bass twice")
    mix = samples(made)
    assert mix.shape == (2, 110)
    assert np.array_equal(
        mix[0], np.concatenate([tone(0.125)[0, :10], tone(0.25)[0, :90], tone(0.125)[0, :10]])
    )
    assert (made.audio[0].role, made.audio[0].name) == ("mix", "Bass twice")
    assert [each["input"] for each in made.facts["tracks"]] == ["bass", "bass"]
    assert [each["start_frame"] for each in made.facts["tracks"]] == [0, 10]


def test_a_foreign_sample_rate_is_resampled_and_said(desk: Desk) -> None:
    at = np.arange(2 * 16_000) / 16_000
    fast = np.sin(2 * np.pi * 440 * at)[None].astype(np.float32) * 0.5
    silence, other = desk.recording(tone(0.0, 2 * RATE, 1)), desk.recording(fast, 16_000)
    made = desk.mix(silence, other)
    assert [each["resampled_from"] for each in made.facts["tracks"]] == [None, 16_000]
    mix = samples(made)
    assert (mix.shape, made.audio[0].recording.sample_rate) == ((1, 2 * RATE), RATE)
    inside = slice(400, -400)
    np.testing.assert_allclose(mix[0, inside], fast[0, ::2][inside], atol=1e-4)
    muted = desk.mix(silence, other, tracks=[{"input": 0}, {"input": 1, "mute": True}])
    assert [each["resampled_from"] for each in muted.facts["tracks"]] == [None, None]


def test_what_is_too_loud_is_told_not_hidden(desk: Desk) -> None:
    loud = desk.mix(*(desk.recording(tone(0.75)) for _ in range(2)))
    assert loud.facts["peak_dbfs"] == pytest.approx(3.52, abs=0.01)
    assert encode(loud.audio[0].recording, desk.folder / "a.wav", format="wav").clipped == 200
    turned = desk.mix(*(desk.recording(tone(0.75)) for _ in range(2)), normalize="peak")
    assert (turned.facts["peak_dbfs"], turned.facts["normalized_db"]) == (
        -1.0,
        pytest.approx(-4.52, abs=0.01),
    )
    assert samples(turned).max() == pytest.approx(10 ** (-1 / 20))
    assert encode(turned.audio[0].recording, desk.folder / "b.wav", format="wav").clipped == 0


def test_silence_stays_silence(desk: Desk) -> None:
    made = desk.mix(desk.recording(tone(0.0)), normalize="peak")
    assert not samples(made).any()
    assert (made.facts["peak_dbfs"], made.facts["normalized_db"]) == (None, 0.0)


def test_rate_format_and_file_are_the_first_input_s(desk: Desk) -> None:
    first, second = desk.recording(tone(0.5), subtype="pcm_24"), desk.recording(tone(0.5), subtype="pcm_16")
    recording = desk.mix(first, second, tracks=[{"input": 1}]).audio[0].recording
    assert (recording.subtype, recording.sample_rate, recording.frames) == ("pcm_24", RATE, 100)


@pytest.mark.parametrize("normalize", ["none", "peak"])
def test_progress_counts_every_block_to_the_end_and_ends_a_cancelled_run(desk: Desk, normalize: str) -> None:
    long, other = desk.recording(tone(0.1, 3 * BLOCK)), desk.recording(tone(0.1, 2 * BLOCK), 4000)
    desk.mix(long, other, normalize=normalize)
    done = [at for at, _ in desk.reports]
    assert (done[0], done[-1]) == (0, desk.reports[-1][1])
    assert done == sorted(done)
    assert len(desk.reports) >= (6 if normalize == "none" else 10)
    seen = 0

    def cancel(done: int, _: int) -> None:
        nonlocal seen
        seen = done
        if done == 2:
            raise Cancelled

    desk.report = cancel  # type: ignore[method-assign]
    with pytest.raises(Cancelled):
        desk.mix(long, other, normalize=normalize)
    assert seen == 2


# ── before a job is accepted ──────────────────────────────────────────────────────────────────────────


def info(channels: int = 2, name: str | None = None, frames: int = 100) -> InputInfo:
    return InputInfo("audio", "audio/wav", name, AudioInfo("wav", "pcm", "pcm_16", RATE, channels, frames))


@pytest.mark.parametrize(
    ("inputs", "tracks", "pointer"),
    [
        ([info()], [{"input": 0}, {"input": 1}], "/params/tracks/1/input"),
        ([info(name="bass")], [{"input": "drums"}], "/params/tracks/0/input"),
        ([info(6)], [{"input": 0}, {"input": 0, "pan": 0.5}], "/params/tracks/1/pan"),
        ([info()], [{"input": 0, "offset_s": -1}], "/params/tracks"),
    ],
)
def test_a_mix_that_cannot_be_is_refused_beforehand(
    inputs: list[InputInfo], tracks: list[dict[str, Any]], pointer: str
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        Mixer.check(inputs, MixerParams.model_validate({"tracks": tracks}))
    assert [each.pointer for each in refused.value.fields] == [pointer]


@pytest.mark.parametrize("channels", [(2, 6), (1, 6), (1, 4)])
def test_channels_that_do_not_go_together_are_refused(channels: tuple[int, int]) -> None:
    with pytest.raises(InputUnsupported, match="do not mix"):
        Mixer.check([info(each) for each in channels], MixerParams())
    Mixer.check([info(channels[1]), info(channels[1])], MixerParams())
