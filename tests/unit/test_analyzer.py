"""The analyzer on songs whose tempo and key are known, and on what is no song. scripts/bench/analysis.py has them all."""

import json
import re

import av
import numpy as np
import pytest
import soundfile

import songs
from neuralib.audio import AudioInfo, RecordingWriter
from neuralib.errors import Cancelled
from neuralib.executors import RunContext
from neuralib.executors.analyzer import Analyzer, AnalyzerParams

PLANS = songs.plans()


@pytest.fixture
def analysed(tmp_path):
    """The table in analysis.json, and the facts."""

    def run(samples, rate=songs.RATE, report=lambda done, total: None, **params):
        samples = np.atleast_2d(samples).astype(np.float32)
        with RecordingWriter(tmp_path / "input.f32", rate, len(samples)) as writer:
            writer.write(samples)
            recording = writer.close()
        context = RunContext(scratch=tmp_path, report=report)
        output = Analyzer().run(recording, AnalyzerParams(**params), context)
        (file,) = output.files
        assert file.kind == "analysis"
        return json.loads(file.path.read_text()), output.facts

    return run


@pytest.mark.parametrize("plan", [PLANS[i] for i in (1, 6, 7, 9, 11, 14)], ids=str)
def test_tempo_and_key_of_a_song(analysed, plan):
    song = songs.render(plan)
    table, _ = analysed(song.samples)
    assert table["bpm"]["value"] == pytest.approx(plan.tempo, rel=0.02)
    assert table["bpm"]["confidence"] > 0.5
    assert table["key"]["value"] == plan.key
    beats = np.array(table["beats"])
    assert beats[1:-1] == pytest.approx(beats[1] + np.arange(len(beats) - 2) * 60 / plan.tempo, abs=0.07)


def test_a_tempo_one_might_double_is_said_with_its_double(analysed):
    table, _ = analysed(songs.render(PLANS[0]).samples)
    assert table["bpm"]["value"] == pytest.approx(PLANS[0].tempo / 2, rel=0.02)
    assert table["bpm"]["alternative"] == pytest.approx(PLANS[0].tempo, rel=0.02)


@pytest.mark.parametrize("name", ["noise", "speech"])
def test_what_is_no_music_has_no_tempo_and_no_sure_key(analysed, name):
    noise = np.random.default_rng(0).standard_normal((1, 10 * songs.RATE)) * 0.1
    speech, rate = soundfile.read("tests/data/speech.ogg", always_2d=True)
    table, _ = analysed(noise) if name == "noise" else analysed(speech.T, rate)
    assert table["bpm"] is None
    assert table["key"] is None or table["key"]["confidence"] < 0.35


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_loudness_is_what_ffmpeg_measures(analysed, rate, channels):
    rng = np.random.default_rng(rate + channels)
    seconds = 8
    swell = np.repeat(10 ** (rng.uniform(-2.2, -0.4, 4 * seconds)), rate // 4)
    samples = (rng.standard_normal((channels, rate * seconds)) * swell * 0.2).clip(-1, 1).astype(np.float32)
    table, _ = analysed(samples, rate)
    integrated, peak = ffmpeg_ebur128(samples, rate)
    assert table["lufs_i"] == pytest.approx(integrated, abs=0.15)
    assert table["true_peak_dbfs"] == pytest.approx(peak, abs=0.5)


def ffmpeg_ebur128(samples, rate):
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="fltp", layout=layout, time_base=f"1/{rate}")
    meter = graph.add("ebur128", "peak=true:metadata=1")
    sink = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
    frame.sample_rate, frame.pts = rate, 0
    graph.push(frame)
    graph.push(None)
    said, peaks = {}, []
    while True:
        try:
            said = dict(graph.pull().metadata) or said
        except (av.error.EOFError, av.error.BlockingIOError):
            break
        peaks += [float(v) for k, v in said.items() if re.fullmatch(r"lavfi\.r128\.true_peaks_ch\d+", k)]
    return float(said["lavfi.r128.I"]), 20 * np.log10(max(peaks))


@pytest.mark.parametrize("frames", [1, 441, 44_100, 300_000])
def test_silence_has_nothing_to_say(analysed, frames):
    table, facts = analysed(np.zeros((2, frames)))
    assert facts["bpm"] is facts["key"] is facts["lufs_i"] is facts["true_peak_dbfs"] is None
    assert table["beats"] == table["onsets"] == []


@pytest.mark.parametrize(
    "samples", [np.ones(1), np.full(441, 0.5), np.full(200_000, 0.5)], ids=["1", "10ms", "dc"]
)
def test_what_is_short_or_constant_has_no_tempo_and_no_key(analysed, samples):
    table, _ = analysed(samples)
    assert table["bpm"] is table["key"] is None
    assert table["true_peak_dbfs"] is not None


def test_a_cancelled_run_stops_at_the_next_step_of_any_part(analysed):
    calls = []
    analysed(songs.drums().samples, report=lambda *at: calls.append(at))
    assert {done for done, _ in calls} == set(range(6))

    for when in range(0, len(calls), 7):
        left = iter(range(when))

        def report(done, total, left=left):
            if next(left, None) is None:
                raise Cancelled

        with pytest.raises(Cancelled):
            analysed(songs.drums().samples, report=report)


def test_the_plan_counts_what_progress_counts(analysed):
    calls = []
    analysed(np.zeros((1, 1000)), report=lambda *at: calls.append(at))
    info = AudioInfo("wav", "pcm_s16le", "pcm_16", 44_100, 1, 1000)
    assert calls[-1] == (5, Analyzer.plan(info, AnalyzerParams(), None).windows)
