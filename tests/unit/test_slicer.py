"""Slices are the recording's own samples, whatever method found where to cut."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from media import noise, on_grid
from neuralib.audio import AudioInfo, Recording, RecordingWriter, Samples, decode, encode
from neuralib.errors import Cancelled, NeuralibError, RegionOutOfBounds, ValidationFailed
from neuralib.executors import AudioOutput, Input, InputInfo, Output, RunContext
from neuralib.executors.registry import validate
from neuralib.executors.slicer import SliceParams, Slicer
from neuralib.executors.slicer.names import names_of

RATE = 44_100
PLAIN = {"snap": "none", "fade_ms": 0}


@dataclass(frozen=True)
class Counted(Recording):
    """Counts the samples that are read of it."""

    reads: list[int] = field(default_factory=list)

    def read(self, start: int = 0, stop: int | None = None) -> Samples:
        block = super().read(start, stop)
        self.reads.append(block.shape[1])
        return block


def recorded(folder: Path, samples: Samples, rate: int = RATE, subtype: str = "float") -> Recording:
    with RecordingWriter(folder / "input.f32", rate, len(samples), subtype) as out:
        out.write(samples.astype(np.float32))
        return out.close()


def counted(recording: Recording) -> Counted:
    values = (getattr(recording, name) for name in ("path", "sample_rate", "channels", "frames", "subtype"))
    return Counted(*values)


def run(
    recording: Recording, folder: Path, report: Callable[[int, int], None] = lambda *_: None, **params: Any
) -> Output:
    scratch = folder / "run"
    scratch.mkdir(exist_ok=True)
    checked = validate(Slicer, params)
    assert isinstance(checked, SliceParams)
    info = AudioInfo(
        "wav", "x", recording.subtype, recording.sample_rate, recording.channels, recording.frames
    )
    Slicer.check([InputInfo("audio", "audio/wav", audio=info)], checked)
    return Slicer().run(recording, checked, RunContext(scratch, report))


def spans(output: Output) -> list[tuple[int, int]]:
    return [(each.facts["start_frame"], each.facts["end_frame"]) for each in output.audio]


def hits(times: list[float], seconds: float, rate: int = RATE, channels: int = 1) -> Samples:
    """Bursts of noise that die away."""
    rng = np.random.default_rng(1)
    sound = np.zeros((channels, round(seconds * rate)), np.float32)
    for at in times:
        start = round(at * rate)
        length = min(round(0.1 * rate), sound.shape[1] - start)
        burst = rng.standard_normal(length) * np.exp(-np.arange(length) / (0.02 * rate)) * 0.3
        sound[:, start : start + length] += burst.astype(np.float32)
    return sound


# ── exactness ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "subtype", "bits"),
    [
        ("a.wav", "PCM_16", 16),
        ("a.wav", "PCM_24", 24),
        ("a.wav", "FLOAT", None),
        ("a.flac", "PCM_16", 16),
        ("a.flac", "PCM_24", 24),
        ("a.aiff", "PCM_24", 24),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 6])
async def test_slices_null_against_the_file_bit_for_bit(
    tmp_path: Path, name: str, subtype: str, bits: int | None, channels: int
) -> None:
    samples = noise(1.0, channels=channels)
    samples = samples if bits is None else on_grid(samples, bits)
    soundfile.write(tmp_path / name, samples.T, RATE, subtype=subtype)
    recording, _ = await decode(tmp_path / name, tmp_path / "input.f32")
    whole, _ = soundfile.read(tmp_path / name, dtype="float64", always_2d=True)
    output = run(recording, tmp_path, method="equal", parts=7, **PLAIN)
    joined = []
    for each in output.audio:
        path = tmp_path / f"{each.name}.wav"
        encode(each.recording, path, format="wav")
        start, end = each.facts["start_frame"], each.facts["end_frame"]
        content, rate = soundfile.read(path, dtype="float64", always_2d=True)
        assert (rate, soundfile.info(path).subtype) == (RATE, subtype)
        assert np.array_equal(content, whole[start:end])
        joined.append(content)
    assert np.array_equal(np.concatenate(joined), whole)


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 6])
def test_every_rate_is_cut_where_it_was_asked(tmp_path: Path, rate: int, channels: int) -> None:
    samples = noise(0.5, rate, channels)
    recording = recorded(tmp_path, samples, rate)
    regions = [{"start_s": 0.1, "end_s": 0.2}, {"start_s": 0.15, "end_s": 0.5}]
    output = run(recording, tmp_path, method="regions", regions=regions, **PLAIN)
    assert spans(output) == [(rate // 10, rate // 5), (round(0.15 * rate), rate // 2)]
    for (start, end), each in zip(spans(output), output.audio, strict=True):
        assert np.array_equal(each.recording.read(), samples[:, start:end])


@settings(deadline=None)
@given(
    st.integers(1, 3000),
    st.lists(st.tuples(st.integers(0, 2999), st.integers(1, 3000)), min_size=1, max_size=20),
)
def test_any_regions_are_the_samples_they_name(
    tmp_path_factory: pytest.TempPathFactory, frames: int, wanted: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    samples = noise(frames / 1000, 1000, 1)
    kept = sorted({(a, b) for a, b in wanted if a < b <= frames})
    regions = [{"start_s": a / 1000, "end_s": b / 1000} for a, b in kept]
    if not regions:
        return
    output = run(recorded(folder, samples, 1000), folder, method="regions", regions=regions, **PLAIN)
    assert spans(output) == kept
    for (start, end), each in zip(kept, output.audio, strict=True):
        assert np.array_equal(each.recording.read(), samples[:, start:end])


def test_two_hundred_slices_read_the_recording_once(tmp_path: Path) -> None:
    recording = recorded(tmp_path, noise(10.0, channels=2))
    costs = []
    for parts in (1, 200):
        source = counted(recording)
        output = run(source, tmp_path, method="equal", parts=parts, classify=False, **PLAIN)
        assert len(output.audio) == parts
        costs.append(sum(source.reads))
    assert costs == [recording.frames, recording.frames]


def test_a_fade_touches_the_ends_and_nothing_else(tmp_path: Path) -> None:
    samples = np.ones((1, RATE), np.float32) * 0.5
    output = run(recorded(tmp_path, samples), tmp_path, method="equal", parts=2, snap="none", fade_ms=10)
    heard = output.audio[0].recording.read()[0]
    assert heard[0] < 0.01
    assert heard[-1] < 0.001
    up, down = round(RATE * 0.0025), round(RATE * 0.010)
    assert np.array_equal(heard[up:-down], samples[0, up : len(heard) - down])
    assert np.all(np.diff(heard[:up]) > 0)
    assert np.all(np.diff(heard[-down:]) < 0)


def test_zero_crossings_are_where_slices_meet(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 210.7 * np.arange(RATE) / RATE)[None]
    output = run(recorded(tmp_path, tone), tmp_path, method="equal", parts=9, fade_ms=0)
    found = spans(output)
    assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]
    assert found[0][0] == 0
    assert found[-1][1] == RATE
    for start, _ in found[1:]:
        assert tone[0, start - 1] * tone[0, start] <= 0
        assert abs(start - RATE * found.index((start, _)) / 9) <= 0.005 * RATE + 1


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────


def test_onsets_begin_slices_at_the_attack(tmp_path: Path) -> None:
    times = [0.2, 0.5, 0.9, 1.3, 1.62]
    output = run(recorded(tmp_path, hits(times, 2.0)), tmp_path, method="onsets", **PLAIN)
    starts = [each.facts["start_s"] for each in output.audio]
    assert np.allclose(starts, times, atol=0.003)
    assert spans(output)[-1][1] == 2 * RATE
    assert output.facts["found"] == 5
    assert not output.facts["limited"]


def test_an_onset_that_follows_too_soon_begins_nothing(tmp_path: Path) -> None:
    recording = recorded(tmp_path, hits([0.2, 0.6, 0.9], 1.5))
    output = run(recording, tmp_path, method="onsets", min_ms=350, **PLAIN)
    assert np.allclose([each.facts["start_s"] for each in output.audio], [0.2, 0.6], atol=0.003)


def test_what_max_n_leaves_out_is_reported(tmp_path: Path) -> None:
    recording = recorded(tmp_path, hits([0.2, 0.5, 0.9, 1.3], 2.0))
    output = run(recording, tmp_path, method="onsets", max_n=2, **PLAIN)
    assert [each.facts["n"] for each in output.audio] == [1, 2]
    assert output.audio[1].facts["end_s"] == pytest.approx(0.9, abs=0.003)
    assert (output.facts["found"], output.facts["slices"], output.facts["limited"]) == (4, 2, True)


def test_a_steady_grid_is_cut_beat_by_beat(tmp_path: Path) -> None:
    recording = recorded(tmp_path, noise(3.0, 48_000, 1), 48_000)
    output = run(recording, tmp_path, method="grid", bpm=120, offset_s=0.75, **PLAIN)
    assert spans(output) == [(12_000 + 24_000 * i, 36_000 + 24_000 * i) for i in range(5)] + [
        (132_000, 144_000)
    ]
    output = run(recording, tmp_path, method="grid", bpm=120, beats_per_slice=4, **PLAIN)
    assert spans(output) == [(0, 96_000), (96_000, 144_000)]


def test_a_grid_of_beats_follows_them(tmp_path: Path) -> None:
    recording = recorded(tmp_path, noise(3.0, 1000, 1), 1000)
    beats = [0.1, 0.6, 1.2, 1.6]
    output = run(recording, tmp_path, method="grid", beats=beats, **PLAIN)
    assert spans(output) == [(100, 600), (600, 1200), (1200, 1600), (1600, 2000)]
    output = run(recording, tmp_path, method="grid", beats=beats, beats_per_slice=0.5, **PLAIN)
    assert [start for start, _ in spans(output)] == [100, 350, 600, 900, 1200, 1400, 1600]


def test_a_grid_takes_the_beats_of_an_analysis(tmp_path: Path) -> None:
    recording = recorded(tmp_path, noise(3.0, 1000, 1), 1000)
    info = InputInfo("audio", "audio/wav", audio=AudioInfo("wav", "x", "float", 1000, 1, 3000))
    params = SliceParams.model_validate({"method": "grid", **PLAIN})
    Slicer.check([info, InputInfo("analysis", "application/json")], params)
    (tmp_path / "run").mkdir()
    analysis = tmp_path / "analysis.json"
    for text, expected in (
        ('{"beats": [0.1, 0.6, 1.2]}', [(100, 600), (600, 1200), (1200, 1800)]),
        ('{"beats": []}', []),
    ):
        analysis.write_text(text)
        inputs = (Input("audio", recording), Input("analysis", analysis))
        context = RunContext(tmp_path / "run", lambda *_: None, inputs)
        assert spans(Slicer().run(recording, params, context)) == expected
    analysis.write_text('{"key": null}')
    with pytest.raises(ValidationFailed, match="no beats"):
        Slicer().run(recording, params, context)


def test_silences_divide_at_the_sample(tmp_path: Path) -> None:
    sound = np.zeros((2, RATE), np.float32)
    sound[0, 1000:9000], sound[1, 5000:9500], sound[1, 20_000:20_100], sound[0, 30_000:40_000] = (
        0.1,
        0.1,
        0.1,
        0.1,
    )
    recording = recorded(tmp_path, sound)
    output = run(recording, tmp_path, method="silence", **PLAIN)
    assert spans(output) == [(1000, 9500), (30_000, 40_000)]
    output = run(recording, tmp_path, method="silence", min_ms=0, **PLAIN)
    assert spans(output) == [(1000, 9500), (20_000, 20_100), (30_000, 40_000)]
    output = run(recording, tmp_path, method="silence", min_ms=0, min_silence_ms=400, **PLAIN)
    assert spans(output) == [(1000, 40_000)]


def test_a_tail_ends_where_it_stays_below_the_peak(tmp_path: Path) -> None:
    sound = np.exp(-np.arange(RATE) / 4410)[None] * 0.9
    output = run(recorded(tmp_path, sound), tmp_path, method="equal", parts=1, tail_db=-40, **PLAIN)
    assert spans(output)[0][1] == pytest.approx(4410 * np.log(100), abs=2)


def test_onsets_attract_the_lines_of_a_grid(tmp_path: Path) -> None:
    recording = recorded(tmp_path, hits([0.52, 0.98, 1.5], 2.0))
    output = run(recording, tmp_path, method="grid", bpm=120, snap="onset", fade_ms=0)
    starts = [each.facts["start_s"] for each in output.audio]
    assert np.allclose(starts, [0, 0.52, 0.98, 1.5], atol=0.003)


# ── edges ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["onsets", "silence"])
def test_silence_gives_no_slices_and_a_reason(tmp_path: Path, method: str) -> None:
    output = run(recorded(tmp_path, np.zeros((2, RATE))), tmp_path, method=method)
    assert output.audio == ()
    assert (output.facts["slices"], output.facts["found"]) == (0, 0)
    assert output.facts["reason"]


@pytest.mark.parametrize(
    "params",
    [
        {"method": "onsets"},
        {"method": "equal", "parts": 1},
        {"method": "grid", "bpm": 120},
        {"method": "silence", "min_ms": 0},
        {"method": "regions", "regions": [{"start_s": 0, "end_s": 1 / RATE}]},
        {"method": "onsets", "tail_db": -20, "fade_ms": 50},
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_one_sample_is_one_slice(tmp_path: Path, params: dict[str, Any], channels: int) -> None:
    output = run(recorded(tmp_path, np.full((channels, 1), 0.5)), tmp_path, **params)
    assert spans(output) == [(0, 1)]


@pytest.mark.parametrize(
    ("params", "pointer", "error"),
    [
        ({"method": "regions", "regions": [{"start_s": 0, "end_s": 0.5}, {"start_s": 0, "end_s": 2}]},
         "/params/regions/1/end_s", RegionOutOfBounds),
        ({"method": "regions", "regions": [{"start_s": 0.5, "end_s": 0.5}]}, "/params/regions/0/end_s", RegionOutOfBounds),
        ({"method": "regions", "regions": [{"start_s": 0, "end_s": 0.1}] * 1001}, "/params/regions", ValidationFailed),
        ({"method": "regions"}, "/params/regions", ValidationFailed),
        ({"method": "regions", "region_ids": ["01a211c2-07eb-71de-afed-c41e6dcffe22"]}, "/params/region_ids",
         ValidationFailed),
        ({"method": "grid"}, "/params/beats", ValidationFailed),
        ({"method": "grid", "beats": [0.5, 0.5]}, "/params/", ValidationFailed),
        ({"method": "equal"}, "/params/parts", ValidationFailed),
        ({"method": "equal", "parts": 200_000}, "/params/parts", ValidationFailed),
        ({"name_template": "{title.__class__}"}, "/params/name_template", ValidationFailed),
        ({"name_template": "{nope}"}, "/params/name_template", ValidationFailed),
        ({"max_n": 0}, "/params/max_n", ValidationFailed),
        ({"sensitivity": float("nan")}, "/params/sensitivity", ValidationFailed),
        ({"method": "beats"}, "/params/method", ValidationFailed),
    ],
)  # fmt: skip
def test_what_cannot_be_cut_is_refused_beforehand(
    tmp_path: Path, params: dict[str, Any], pointer: str, error: type[NeuralibError]
) -> None:
    with pytest.raises(error) as caught:
        run(recorded(tmp_path, noise(1.0, channels=1)), tmp_path, **params)
    assert caught.value.fields[0].pointer == pointer


def test_progress_rises_to_its_total_and_a_cancelled_run_stops(tmp_path: Path) -> None:
    recording = recorded(tmp_path, hits([0.3 * n for n in range(1, 60)], 20.0))
    told: list[tuple[int, int]] = []
    run(recording, tmp_path, lambda *at: told.append(at), method="onsets")
    fractions = [done / total for done, total in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {total for _, total in told} == {40}
    for after in (1, 10, len(told) - 2):
        seen = iter(range(len(told)))

        def report(*_: int, seen: Iterator[int] = seen, after: int = after) -> None:
            if next(seen) == after:
                raise Cancelled

        with pytest.raises(Cancelled):
            run(recording, tmp_path, report, method="onsets")


# ── names ─────────────────────────────────────────────────────────────────────────────────────────────


def labels(outputs: tuple[AudioOutput, ...]) -> list[str | None]:
    return [each.label for each in outputs]


def test_names_follow_the_template_and_are_unique(tmp_path: Path) -> None:
    recording = recorded(tmp_path, noise(1.0, channels=1))
    regions = [{"start_s": i / 10, "end_s": (i + 1) / 10, "name": "Fill" if i else None} for i in range(3)]
    given = {"method": "regions", "regions": regions, "classify": False, **PLAIN}
    output = run(recording, tmp_path, **given, name_template="{title} - {name} {n:03}")
    assert labels(output.audio) == ["{title} - 001", "{title} - Fill 002", "{title} - Fill 003"]
    output = run(recording, tmp_path, **given, name_template="{title} {name}")
    assert labels(output.audio) == ["{title}", "{title} Fill", "{title} Fill (2)"]
    assert len({each.name for each in output.audio}) == 3


@settings(deadline=None)
@given(st.lists(st.text(max_size=250), max_size=30))
def test_no_two_names_are_alike(given: list[str]) -> None:
    names = names_of("{title} {name}", [{"name": each} for each in given])
    assert len(set(names)) == len(given)
    assert all(name.count("{") == 1 and len(name) < 180 for name in names)
