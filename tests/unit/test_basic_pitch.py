"""The executor: the published package's answer from the same audio, and what it does at the edges."""

import io
import json
import subprocess
import sys

import mido
import numpy as np
import pytest
import soundfile as sf

from neuralib.audio import AudioInfo, Recording
from neuralib.errors import (
    AudioTooShort,
    Cancelled,
    ModelLoadFailed,
    NonFiniteAudio,
    PrecisionUnsupported,
)
from neuralib.executors import RunContext
from neuralib.executors.basic_pitch import BasicPitch, BasicPitchParams
from neuralib.weights import Resolver, Weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return Resolver(tmp_path_factory.mktemp("cache"), offline=True).resolve(
        "basic-pitch", BasicPitch.checkpoints
    )


@pytest.fixture(scope="module")
def executor(weights):
    loaded = BasicPitch()
    loaded.load(weights, "cpu", "fp32")
    yield loaded
    loaded.unload()


def phrase(seconds=5.0, rate=44_100, seed=0):
    """Plucked harmonic tones with vibrato, some of them together, over a little noise: `(frames,)`."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 1e-3, round(seconds * rate)).astype(np.float32)
    since = np.arange(rate, dtype=np.float32) / rate
    swell = np.minimum(since / 0.01, 1) * np.exp(-3 * since) * np.minimum((1 - since) / 0.05, 1)
    for start in np.arange(0, seconds - 0.2, 0.3):
        pitch = 440 * 2 ** ((rng.integers(45, 80) - 69) / 12)
        phase = 2 * np.pi * pitch * (since + 0.0005 * np.sin(2 * np.pi * 5 * since))
        tone = 0.15 * swell * sum(np.sin(k * phase) / k for k in range(1, 6))
        begin = round(start * rate)
        sound[begin : begin + rate] += tone[: len(sound) - begin]
    return sound


def recording(path, sound, rate=44_100):
    """`(frames,)` or `(channels, frames)` as a recording."""
    sound = np.atleast_2d(np.asarray(sound, np.float32))
    np.ascontiguousarray(sound.T).tofile(path)
    return Recording(path, rate, *sound.shape)


def planned(heard, params=None):
    info = AudioInfo("wav", "pcm_f32le", "float", heard.sample_rate, heard.channels, heard.frames)
    return BasicPitch.plan(info, params or BasicPitchParams(), BasicPitch.checkpoints[0]).windows


def run(executor, heard, folder, report=lambda done, total: None, **params):
    folder.mkdir(exist_ok=True)
    return executor.run(heard, BasicPitchParams(**params), RunContext(folder, report))


def notes_of(output):
    (table,) = [f for f in output.files if f.name == "notes.json"]
    return json.loads(table.path.read_text())["notes"]


@pytest.mark.filterwarnings(
    "ignore:.*slated for removal:DeprecationWarning"
)  # librosa's way of reading files
@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (22_050, 1), (48_000, 1)])
def test_the_midi_is_the_one_that_the_published_package_makes(executor, tmp_path, rate, channels):
    from basic_pitch import inference

    sound = phrase(rate=rate)
    sound = np.stack([sound, sound[::-1]]) if channels == 2 else sound[None]
    sf.write(tmp_path / "phrase.wav", sound.T, rate, subtype="FLOAT")
    model = inference.Model(BasicPitch.checkpoints[0].sources[0].find(tmp_path)[0])
    _, midi, events = inference.predict(tmp_path / "phrase.wav", model)
    theirs = io.BytesIO()
    midi.write(theirs)

    output = run(executor, recording(tmp_path / "phrase.f32", sound, rate), tmp_path / "out")

    (ours,) = [f for f in output.files if f.name == "notes.mid"]
    assert ours.path.read_bytes() == theirs.getvalue()
    assert output.facts["notes"] == len(events) > 10
    expected = sorted((s, p, e, a, [int(b) for b in bends]) for s, e, p, a, bends in events)
    for note, (start, pitch, end, amplitude, bends) in zip(notes_of(output), expected, strict=True):
        assert (note["pitch"], note["bends"]) == (pitch, bends)
        assert (note["start"], note["end"]) == pytest.approx((start, end), abs=1e-6)
        assert note["amplitude"] == pytest.approx(amplitude, abs=1e-5)


def test_batches_of_windows_do_not_change_the_notes(weights, executor, tmp_path):
    one_by_one = BasicPitch()
    one_by_one.load(weights, "cpu", "fp32")
    one_by_one._listener.windows_per_batch = 1
    heard = recording(tmp_path / "a.f32", phrase(12))
    together, alone = (notes_of(run(e, heard, tmp_path / "out")) for e in (executor, one_by_one))
    one_by_one.unload()
    amplitudes = [[n.pop("amplitude") for n in notes] for notes in (together, alone)]
    assert together == alone
    assert amplitudes[0] == pytest.approx(amplitudes[1], abs=2e-6)


def test_a_chord_and_a_melody_are_named_right(executor, tmp_path):
    time = np.arange(22_050) / 22_050
    tones = [
        sum(np.sin(2 * np.pi * k * 440 * 2 ** ((p - 69) / 12) * time) / k for k in range(1, 6))
        for p in (60, 64, 67)
    ]
    heard = recording(
        tmp_path / "a.f32", 0.2 * np.concatenate([*tones, tones[0] + tones[1] + tones[2]]), 22_050
    )
    strong = [
        (round(n["start"]), n["pitch"])
        for n in notes_of(run(executor, heard, tmp_path / "o", min_note_ms=500))
    ]
    assert {(0, 60), (1, 64), (2, 67), (3, 60), (3, 64), (3, 67)} <= set(strong)


@pytest.mark.parametrize(
    ("frames", "rate", "channels"),
    [
        (1, 44_100, 2),
        (441, 44_100, 1),
        (8000, 8000, 1),
        (192_000, 192_000, 6),
        (36_164 * 4 - 3840, 22_050, 1),
    ],
)
def test_any_length_rate_and_channel_count_runs_as_planned(executor, tmp_path, frames, rate, channels):
    heard = recording(
        tmp_path / "a.f32", np.tile(phrase(frames / rate + 1, rate)[:frames], (channels, 1)), rate
    )
    calls = []
    output = run(executor, heard, tmp_path / "out", lambda done, total: calls.append((done, total)))
    assert calls[0] == (0, planned(heard))
    assert calls[-1] == (planned(heard), planned(heard))
    assert calls == sorted(calls), "never back"
    mido.MidiFile(next(f.path for f in output.files if f.name == "notes.mid"))


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_silence_and_dc_make_a_midi_file_that_opens(executor, tmp_path, level):
    output = run(executor, recording(tmp_path / "a.f32", np.full((2, 88_200), level)), tmp_path / "out")
    opened = mido.MidiFile(next(f.path for f in output.files if f.name == "notes.mid"))
    played = [m for track in opened.tracks for m in track if m.type == "note_on" and m.velocity]
    assert len(played) == output.facts["notes"] == len(notes_of(output)) <= 1
    if level == 0:
        assert not played
        assert output.facts["lowest_pitch"] is None


def test_a_recording_without_samples_is_refused(executor, tmp_path):
    with pytest.raises(AudioTooShort):
        run(executor, recording(tmp_path / "a.f32", np.zeros((1, 0))), tmp_path / "out")


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_sample_that_is_no_number_is_refused(executor, tmp_path, broken):
    sound = phrase(1)
    sound[30_000] = broken
    with pytest.raises(NonFiniteAudio):
        run(executor, recording(tmp_path / "a.f32", sound), tmp_path / "out")


def test_infinities_that_cancel_each_other_are_refused_too(executor, tmp_path):
    sound = np.tile(phrase(1), (2, 1))
    sound[:, 30_000] = np.inf, -np.inf
    with pytest.raises(NonFiniteAudio):
        run(executor, recording(tmp_path / "a.f32", sound), tmp_path / "out")


def test_a_clipped_recording_still_has_notes(executor, tmp_path):
    heard = recording(tmp_path / "a.f32", np.clip(30 * phrase(3), -1, 1))
    output = run(executor, heard, tmp_path / "out")
    assert output.facts["notes"] == len(notes_of(output)) > 3
    assert all(0 < note["amplitude"] <= 1 for note in notes_of(output))


@pytest.mark.parametrize("at", ["first", "last"])
def test_a_cancelled_run_stops_where_it_is(executor, tmp_path, at):
    heard = recording(tmp_path / "a.f32", phrase(20))
    stop = 0 if at == "first" else planned(heard)
    calls = []

    def report(done, total):
        calls.append(done)
        if done == stop:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(executor, heard, tmp_path / "out", report)
    assert calls[-1] == stop
    assert not list((tmp_path / "out").glob("notes.*"))
    assert run(executor, heard, tmp_path / "again").facts["notes"] > 10


def test_limits_bends_and_tempo_reach_the_files(executor, tmp_path):
    heard = recording(tmp_path / "a.f32", phrase(5))
    output = run(executor, heard, tmp_path / "out", min_hz=200, max_hz=500, pitch_bends=False, tempo=90)
    assert {55 <= n["pitch"] < 71 for n in notes_of(output)} == {True}
    assert {n["bends"] for n in notes_of(output)} == {None}
    opened = mido.MidiFile(next(f.path for f in output.files if f.name == "notes.mid"))
    assert round(mido.tempo2bpm(opened.tracks[0][0].tempo)) == 90
    assert not [m for m in opened.tracks[1] if m.type == "pitchwheel"]


def test_weights_that_are_not_an_onnx_file_are_named(tmp_path):
    for content in (b"", b"PK\x03\x04 not a graph", b"\x3a\x04\x0a\xff\xff\xff"):
        path = tmp_path / "weights.onnx"
        path.write_bytes(content)
        wrong = Weights("basic-pitch", "x", (path,), "0" * 64, "path", "unknown", False, True)
        with pytest.raises(ModelLoadFailed, match=r"weights\.onnx|Conv"):
            BasicPitch().load(wrong, "cpu", "fp32")


def test_another_precision_is_refused(weights):
    with pytest.raises(PrecisionUnsupported):
        BasicPitch().load(weights, "cpu", "bf16")


def test_validating_parameters_loads_no_model_library():
    code = (
        "import sys, neuralib.executors.basic_pitch as b; b.BasicPitchParams();"
        "sys.exit(str(sorted({'torch', 'onnxruntime', 'basic_pitch', 'soxr', 'librosa'} & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.strip() == "[]"


def test_auto_tempo_finds_the_beat_of_the_phrase(executor, tmp_path):
    heard = recording(tmp_path / "a.f32", phrase(15))  # a note every 0.3 s: 200 a minute, or half of it
    calls = []
    output = run(executor, heard, tmp_path / "o", lambda *c: calls.append(c), tempo="auto", quantize=16)
    assert min(abs(output.facts["tempo"] - expected) for expected in (100, 200)) < 2
    table = json.loads(next(f.path for f in output.files if f.name == "notes.json").read_text())
    assert len(table["beats"]) == output.facts["beats"] > 15
    opened = mido.MidiFile(next(f.path for f in output.files if f.name == "notes.mid"))
    assert sum(m.type == "set_tempo" for m in opened.tracks[0]) == output.facts["beats"] + 1
    assert set(calls) == {(done, total) for done, total in calls if done <= total == planned(heard)}
