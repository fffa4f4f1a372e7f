"""Separation against the stock Demucs package, on networks small enough for a test."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from demucs.api import Separator
from demucs.apply import BagOfModels
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from neuralib.audio import AudioInfo, DecodeLimits, Recording, RecordingWriter, Samples, decode, encode
from neuralib.errors import (
    AudioTooShort,
    Cancelled,
    ModelLoadFailed,
    NonFiniteAudio,
    PrecisionUnsupported,
    ValidationFailed,
)
from neuralib.executors import Output, RunContext, Weights, Work
from neuralib.executors.demucs import CHECKPOINTS, Demucs, DemucsParams
from neuralib.executors.demucs.checkpoints import arguments, header
from neuralib.executors.demucs.networks import ready
from neuralib.weights import Checkpoint, File, Resolver

STEMS = ["drums", "bass", "other", "vocals"]
RATE = 44_100

HYBRID_TRANSFORMER: dict[str, Any] = {
    "sources": STEMS,
    "channels": 4,
    "bottom_channels": 16,
    "t_layers": 3,
    "t_heads": 2,
    "dconv_mode": 3,
    "dconv_comp": 2,
    "segment": Fraction(4, 5),
}
"""htdemucs with everything it has, but thin: one window is 0.8 s."""
SPECTRAL: dict[str, Any] = {
    "sources": STEMS,
    "channels": 4,
    "depth": 5,
    "hybrid": False,
    "cac": False,
    "wiener_iters": -1,
    "end_iters": -1,
    "dconv_attn": 10,
    "dconv_comp": 2,
    "segment": 1,
}
"""The bundled separator's kind: one spectrogram branch with an LSTM, windows of any length."""


def network(kind: type[torch.nn.Module], options: dict[str, Any], seed: int = 1) -> torch.nn.Module:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        made = kind(**options).eval()
        for name, parameter in made.named_parameters():
            if "scale" in name or "gamma" in name:  # trained residual branches are not nearly silent
                torch.nn.init.uniform_(parameter, 0.2, 1.0)
    return made


def saved(made: torch.nn.Module, options: dict[str, Any], path: Path, key: str = "klass") -> Path:
    def plain(value: Any) -> Any:
        if isinstance(value, Fraction):
            return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
        return value

    name = f"{type(made).__module__}.{type(made).__name__}"
    metadata = {key: name, "kwargs": json.dumps({k: plain(v) for k, v in options.items()})}
    if key == "klass":
        metadata["args"] = "[]"
    save_file({k: v.contiguous() for k, v in made.state_dict().items()}, path, metadata)
    return path


def weights(files: Sequence[Path], name: str = "test") -> Weights:
    return Weights("demucs", name, tuple(files), "0" * 64, "path", "MIT", commercial_use=True, trained=True)


def loaded(files: Sequence[Path], name: str = "test") -> Demucs:
    executor = Demucs()
    executor.load(weights(files, name), "cpu", "fp32")
    return executor


@dataclass
class Watch:
    """Hears the progress of a run, and may cancel it at a window."""

    cancel_at: int | None = None
    heard: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, done: int, total: int) -> None:
        self.heard.append((done, total))
        if self.cancel_at is not None and done >= (self.cancel_at if self.cancel_at >= 0 else total):
            raise Cancelled


@dataclass
class Studio:
    """Runs separations in folders of their own."""

    folder: Path
    runs: int = 0

    def recording(self, audio: Samples, rate: int = RATE, subtype: str = "float") -> Recording:
        self.runs += 1
        with RecordingWriter(self.folder / f"mix-{self.runs}.f32", rate, audio.shape[0], subtype) as writer:
            writer.write(audio)
            return writer.close()

    def work(
        self, mix: Recording, watch: Callable[[int, int], None] | None = None, **params: Any
    ) -> Work[DemucsParams]:
        self.runs += 1
        scratch = self.folder / f"run-{self.runs}"
        scratch.mkdir()
        return Work(mix, DemucsParams(**params), RunContext(scratch, watch or Watch()))

    def run(
        self, executor: Demucs, mix: Recording, watch: Callable[[int, int], None] | None = None, **params: Any
    ) -> Output:
        work = self.work(mix, watch, **params)
        return executor.run(mix, work.params, work.context)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The networks are so small that threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Demucs]:
    made = network(HTDemucs, HYBRID_TRANSFORMER)
    path = saved(made, HYBRID_TRANSFORMER, tmp_path_factory.mktemp("weights") / "tiny.safetensors")
    return made, loaded([path])


@pytest.fixture(scope="module")
def spectral(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Demucs]:
    made = network(HDemucs, SPECTRAL)
    path = saved(made, SPECTRAL, tmp_path_factory.mktemp("weights") / "mini.safetensors", key="class")
    return made, loaded([path])


def song(seconds: float, rate: int = RATE, channels: int = 2, seed: int = 0) -> Samples:
    """Tones, clicks and noise that move: nothing in it repeats from window to window."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    voices = [np.sin(2 * np.pi * f * time * (1 + 0.05 * time)) for f in (110, 440, 1870)]
    mono = 0.15 * sum(voices) * (0.6 + 0.4 * np.sin(5 * time)) + 0.05
    return np.stack(
        [mono * (1 - 0.2 * c) + 0.1 * rng.standard_normal(len(time)) for c in range(channels)]
    ).astype(np.float32)


def stems_of(output: Output) -> Samples:
    return np.stack([audio.recording.read() for audio in output.audio])


def stock(made: torch.nn.Module, audio: Samples, **options: Any) -> Samples:
    """What `demucs.api.Separator.separate_tensor` says, with a network that it is given."""

    class Given(Separator):
        def _load_model(self) -> None:
            self._model = made if isinstance(made, BagOfModels) else BagOfModels([made])
            self._audio_channels, self._samplerate = 2, RATE

    _, stems = Given(device="cpu", **{"shifts": 0, **options}).separate_tensor(torch.from_numpy(audio))
    return np.stack([stem.numpy() for stem in stems.values()])


def snr(ours: Samples, theirs: Samples) -> float:
    error = ((ours.astype(np.float64) - theirs) ** 2).sum()
    return float(10 * np.log10((theirs.astype(np.float64) ** 2).sum() / max(error, 1e-300)))


# ── the same samples as the stock package ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "options", [{}, {"overlap": 0.6}, {"overlap": 0.0}, {"batch": 3}, {"segment_s": 0.5}]
)
def test_a_hybrid_transformer_says_what_stock_says(transformer, studio, options):
    made, executor = transformer
    audio = song(3.1)
    ours = stems_of(studio.run(executor, studio.recording(audio), mode="model", **options))
    theirs = stock(
        made, audio, **{"segment" if k == "segment_s" else k: v for k, v in options.items() if k != "batch"}
    )
    assert snr(ours, theirs) >= 90


@pytest.mark.parametrize("options", [{}, {"segment_s": 2.0}, {"batch": 4}])
def test_a_spectral_separator_says_what_stock_says(spectral, studio, options):
    made, executor = spectral
    audio = song(3.4)
    ours = stems_of(studio.run(executor, studio.recording(audio), mode="model", **options))
    theirs = stock(made, audio, segment=options.get("segment_s"))
    assert snr(ours, theirs) >= 90


def test_seeded_shifts_draw_what_stock_draws(spectral, studio):
    made, executor = spectral
    audio = song(2.6)
    random.seed(7)
    theirs = stock(made, audio, shifts=2)
    mix = studio.recording(audio)
    ours = stems_of(studio.run(executor, mix, mode="model", shifts=2, seed=7))
    assert snr(ours, theirs) >= 90
    assert not np.array_equal(ours, stems_of(studio.run(executor, mix, mode="model", shifts=2, seed=8)))


def test_a_bag_mixes_its_members_as_stock_does(studio, tmp_path):
    members = [network(HDemucs, SPECTRAL, seed) for seed in (1, 2)]
    files = [saved(member, SPECTRAL, tmp_path / f"{i}.safetensors") for i, member in enumerate(members)]
    audio = song(1.8)
    ours = stems_of(studio.run(loaded(files), studio.recording(audio), mode="model"))
    assert snr(ours, stock(BagOfModels(members), audio)) >= 90


def test_the_bundled_separator_says_what_stock_says(studio, tmp_path):
    found = Resolver(tmp_path).resolve("demucs", CHECKPOINTS, "hdemucs_mini")
    executor = Demucs()
    executor.load(found, "cpu", "fp32")
    members = []
    for path in found.files:
        _, options = arguments(header(path))
        members.append(HDemucs(**options))
        stored = load_file(path)
        members[-1].load_state_dict(
            {
                name: tensor.float() * stored[f"{name}.step"].view(-1, *[1] * (tensor.dim() - 1))
                if tensor.dtype == torch.int8
                else tensor
                for name, tensor in stored.items()
                if not name.endswith(".step")
            }
        )
    audio = song(3.5)
    output = studio.run(executor, studio.recording(audio), mode="model")
    assert snr(stems_of(output), stock(BagOfModels(members, [[0, 1, 1, 1], [1, 0, 0, 0]]), audio)) >= 90
    assert [stem.name for stem in output.audio] == STEMS


# ── fewer stems, fewer passes ─────────────────────────────────────────────────────────────────────────


def test_a_fine_tuned_bag_runs_one_member_for_one_stem(studio, tmp_path):
    members = [network(HDemucs, SPECTRAL, seed) for seed in range(4)]
    files = [saved(member, SPECTRAL, tmp_path / f"{i}.safetensors") for i, member in enumerate(members)]
    executor, mix = loaded(files, "htdemucs_ft"), studio.recording(song(1.8))
    watch = Watch()
    vocals = studio.run(executor, mix, watch, stems=["vocals"], mode="model")
    assert [audio.name for audio in vocals.audio] == ["vocals"]
    assert watch.heard[-1] == (3, 3)
    diagonal = [[float(m == s) for s in range(4)] for m in range(4)]
    theirs = stock(BagOfModels(members, diagonal), mix.read())
    assert snr(stems_of(vocals), theirs[3:]) >= 90
    assert snr(stems_of(studio.run(executor, mix, watch, mode="model")), theirs) >= 90
    assert watch.heard[-1] == (12, 12)


@pytest.mark.parametrize(
    ("name", "params", "windows", "passes"),
    [
        ("htdemucs", {}, 6, 1),
        ("htdemucs", {"overlap": 0.5}, 8, 1),
        ("htdemucs_ft", {}, 24, 4),
        ("htdemucs_ft", {"stems": ["vocals"]}, 6, 1),
        ("htdemucs_6s", {"stems": ["piano", "guitar"]}, 6, 1),
        ("hdemucs_mini", {}, 20, 2),
        ("hdemucs_mini", {"stems": ["vocals", "bass"]}, 10, 1),
        ("hdemucs_mini", {"stems": ["drums"]}, 10, 1),
    ],
)
def test_the_plan_tells_the_windows_before_the_run(name, params, windows, passes):
    checkpoint = next(c for c in CHECKPOINTS if c.name == name)
    info = AudioInfo("wav", "pcm_s16le", "pcm_16", 48_000, 2, 48_000 * 30)
    plan = Demucs.plan(info, DemucsParams(**params), checkpoint)
    assert (plan.windows, plan.passes) == (windows, passes)


@pytest.mark.parametrize("params", [{}, {"shifts": 3, "seed": 5}, {"batch": 4, "shifts": 2}])
@pytest.mark.parametrize("shape", [(44_100, 2), (32_000, 3)])
def test_progress_counts_up_to_the_plan(transformer, studio, tmp_path, params, shape):
    made, executor = transformer
    rate, channels = shape
    path = saved(made, HYBRID_TRANSFORMER, tmp_path / "explicit.safetensors")
    checkpoint = Checkpoint("explicit", "explicit", "MIT", commercial_use=True, sources=(File(path),))
    mix, watch = studio.recording(song(0.7, rate, channels), rate), Watch()
    studio.run(executor, mix, watch, **params)
    info = AudioInfo("wav", "pcm_f32le", "float", rate, channels, mix.frames)
    windows = Demucs.plan(info, DemucsParams(**params), checkpoint).windows
    assert watch.heard[0] == (0, windows)
    assert watch.heard[-1] == (windows, windows)
    assert [done for done, _ in watch.heard] == sorted(done for done, _ in watch.heard)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"stems": ["kazoo"]}, "/params/stems"),
        ({"segment_s": 9.0}, "/params/segment_s"),
        ({"mixes": [{"name": "x", "gains_db": {"kazoo": 1}}]}, "/params/mixes/0/gains_db"),
        ({"mixes": [{"name": "bass", "gains_db": {"bass": 1}}]}, "/params/mixes/0/name"),
        ({"stems": [], "mixes": [{"name": "x", "gains_db": {"bass": 0}}]}, "/params/mixes"),
    ],
)
def test_what_the_weights_do_not_know_is_refused_by_name(params, field):
    info = AudioInfo("wav", "pcm_s16le", "pcm_16", 44_100, 2, 44_100)
    with pytest.raises(ValidationFailed) as caught:
        Demucs.plan(info, DemucsParams(**params), CHECKPOINTS[0])
    assert [f.pointer for f in caught.value.fields] == [field]


# ── the recording's own rate, channels and frames, and a null ─────────────────────────────────────────


@pytest.mark.parametrize("subtype", ["pcm_16", "pcm_24", "float"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 96_000])
async def test_a_file_comes_back_as_stems_of_its_own_shape_that_null(
    spectral, studio, rate, channels, subtype
):
    """From a file to files, the way a worker goes."""
    steps = {"pcm_16": 1 << 15, "pcm_24": 1 << 23}.get(subtype)
    mix = song(0.6, rate, channels)
    mix = (np.rint(mix * steps) / steps).astype(np.float32) if steps else mix
    source = studio.folder / "mix.wav"
    soundfile.write(source, mix.T, rate, subtype=subtype.upper())
    recording, _ = await decode(source, studio.folder / "mix.f32", DecodeLimits())
    output = studio.run(spectral[1], recording)
    total = np.zeros(mix.shape)
    for stem in output.audio:
        path = studio.folder / f"{stem.name}.wav"
        encode(stem.recording, path, format="wav")
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.frames) == (rate, channels, mix.shape[1])
        assert info.subtype == subtype.upper()
        total += soundfile.read(path, dtype="float64", always_2d=True)[0].T
    residual = mix - total
    if steps:
        assert not residual.any()
    else:
        assert 20 * np.log10(np.sqrt((residual**2).mean())) < -120
    assert output.facts["exact"] is True
    assert output.facts["sharing"] == "equal"
    assert output.facts["null_dbfs"] < -120


def test_more_than_two_channels_come_back_and_null(spectral, studio):
    mix = (np.rint(song(0.6, channels=6) * 32768) / 32768).astype(np.float32)
    output = studio.run(spectral[1], studio.recording(mix, subtype="pcm_16"))
    assert {stem.recording.channels for stem in output.audio} == {6}
    assert not (mix - stems_of(output).sum(0, dtype=np.float64)).any()


def test_the_model_mode_leaves_the_stems_as_they_are_and_says_what_is_missing(spectral, studio):
    _, executor = spectral
    audio = song(0.5)
    output = studio.run(executor, studio.recording(audio), mode="model")
    power = ((audio - stems_of(output).sum(0, dtype=np.float64)) ** 2).mean()
    assert (output.facts["exact"], output.facts["sharing"]) == (False, None)
    assert output.facts["null_dbfs"] == pytest.approx(10 * np.log10(power), abs=1e-3)


def test_some_of_the_stems_are_never_called_exact(spectral, studio):
    output = studio.run(spectral[1], studio.recording(song(0.5)), stems=["bass", "drums"])
    assert [audio.name for audio in output.audio] == ["drums", "bass"]
    assert (output.facts["exact"], output.facts["null_dbfs"]) == (False, None)


def test_an_instrumental_needs_the_vocals_alone_and_nulls_with_them(studio, tmp_path):
    members = [network(HDemucs, SPECTRAL, seed) for seed in range(4)]
    files = [saved(member, SPECTRAL, tmp_path / f"{i}.safetensors") for i, member in enumerate(members)]
    audio = (np.rint(song(0.8) * 32768) / 32768).astype(np.float32)
    watch = Watch()
    output = studio.run(
        loaded(files, "htdemucs_ft"),
        studio.recording(audio, subtype="pcm_16"),
        watch,
        stems=["vocals"],
        mixes=[{"name": "instrumental", "gains_db": {"vocals": None}}],
    )
    assert [(audio.role, audio.name) for audio in output.audio] == [
        ("stem", "vocals"),
        ("mix", "instrumental"),
    ]
    vocals, instrumental = stems_of(output)
    assert watch.heard[-1] == (2, 2)
    assert np.array_equal(vocals.astype(np.float64) + instrumental, audio)


def test_a_mix_of_stems_is_the_stems_at_their_gains(spectral, studio):
    mixes = [{"name": "practice", "gains_db": {"drums": 6.0, "bass": None}}]
    output = studio.run(spectral[1], studio.recording(song(0.6)), mixes=mixes)
    *stems, practice = stems_of(output)
    assert snr(practice, stems[0] * 10 ** (6 / 20) + stems[2] + stems[3]) >= 90
    alone = studio.run(spectral[1], studio.recording(song(0.6)), mixes=mixes, stems=[])
    assert [(audio.role, audio.name) for audio in alone.audio] == [("mix", "practice")]
    assert alone.facts["stems"] == ["drums", "bass"]


@pytest.mark.parametrize(
    "params",
    [
        {"stems": []},
        {"stems": ["bass", "bass"]},
        {"shifts": 11},
        {"overlap": 1.0},
        {"preset": "loud"},
        {"kazoo": True},
        {"mixes": [{"name": "../x", "gains_db": {"bass": 0}}]},
        {"mixes": [{"name": "x", "gains_db": {}}]},
    ],
)
def test_parameters_out_of_range_are_refused(params):
    with pytest.raises(ValidationError):
        DemucsParams(**params)


def test_a_preset_fills_in_what_is_left_out():
    assert DemucsParams(preset="best").shifts == 2
    assert DemucsParams(preset="best", shifts=5).shifts == 5
    assert DemucsParams(preset="fast").overlap == 0.1


# ── edges ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("frames", [1, 441, 2_049])
@pytest.mark.parametrize("fixture", ["transformer", "spectral"])
def test_the_shortest_recordings_come_back_whole(request, studio, fixture, frames):
    _, executor = request.getfixturevalue(fixture)
    audio = song(0.1)[:, :frames]
    output = studio.run(executor, studio.recording(audio))
    assert stems_of(output).shape == (4, 2, frames)
    assert output.facts["null_dbfs"] < -120


def test_one_sample_at_a_high_rate_is_less_than_one_at_the_models(spectral, studio):
    output = studio.run(spectral[1], studio.recording(song(0.1, 192_000, 1)[:, :1], 192_000))
    assert stems_of(output).shape == (4, 1, 1)
    assert output.facts["null_dbfs"] < -120


@pytest.mark.parametrize("level", [0.0, 0.25, -1.0])
def test_silence_and_direct_current_come_back_finite_and_null(spectral, studio, level):
    audio = np.full((2, 30_000), level, np.float32)
    output = studio.run(spectral[1], studio.recording(audio))
    stems = stems_of(output)
    assert np.isfinite(stems).all()
    assert output.facts["null_dbfs"] < -120
    if level == 0:
        assert np.abs(stems).max() < 1e-6


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 6), (192_000, 1), (192_000, 2)])
def test_the_lowest_and_highest_rates_come_back_whole(spectral, studio, rate, channels):
    audio = song(0.3, rate, channels)
    output = studio.run(spectral[1], studio.recording(audio, rate))
    assert stems_of(output).shape == (4, *audio.shape)
    assert {stem.recording.sample_rate for stem in output.audio} == {rate}
    assert output.facts["null_dbfs"] < -120


@pytest.mark.parametrize("subtype", ["pcm_16", "float"])
def test_a_clipped_recording_keeps_its_null(spectral, studio, subtype):
    """Full scale most of the time; as float it goes beyond, as those do that are made too loud."""
    audio = np.clip(40 * song(0.5), -1, 32767 / 32768)
    audio = np.rint(audio * 32768) / 32768 if subtype == "pcm_16" else 4 * audio
    output = studio.run(spectral[1], studio.recording(audio.astype(np.float32), subtype=subtype))
    stems = stems_of(output)
    assert np.isfinite(stems).all()
    assert output.facts["null_dbfs"] < -120
    if subtype == "pcm_16":
        assert not (audio - stems.sum(0, dtype=np.float64)).any()
        assert np.abs(stems).max() <= 1


def test_nothing_and_not_a_number_are_refused(spectral, studio):
    with pytest.raises(AudioTooShort):
        studio.run(spectral[1], studio.recording(song(0.1)[:, :0]))
    for value in (np.nan, np.inf, -np.inf):
        broken = song(0.2)
        broken[1, 77] = value
        with pytest.raises(NonFiniteAudio):
            studio.run(spectral[1], studio.recording(broken))


@pytest.mark.parametrize("window", [0, 1, -1])
def test_a_cancelled_run_stops_within_a_window(spectral, studio, window):
    watch = Watch(cancel_at=window)
    with pytest.raises(Cancelled):
        studio.run(spectral[1], studio.recording(song(2.0)), watch)
    done, total = watch.heard[-1]
    assert done == (total if window < 0 else window)


# ── several at once ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fixture", ["transformer", "spectral"])
def test_recordings_that_share_batches_say_what_each_says_alone(request, studio, fixture):
    """Of other rates, channels, levels and wishes; one is stopped on its way and one is no sound."""
    _, executor = request.getfixturevalue(fixture)
    loud = studio.recording(song(1.7))
    mono = studio.recording(0.01 * song(1.2, 48_000, 1, seed=1), 48_000)
    six = studio.recording(song(0.4, 22_050, 6, seed=2), 22_050)
    broken = song(0.5)
    broken[0, 5] = np.inf
    wishes: list[tuple[Recording, Watch, dict[str, Any]]] = [
        (loud, Watch(), {}),
        (mono, Watch(), {"stems": ["vocals", "bass"], "shifts": 2, "seed": 4}),
        (loud, Watch(cancel_at=2), {}),
        (six, Watch(), {"overlap": 0.6, "mode": "model"}),
        (studio.recording(broken), Watch(), {}),
        (loud, Watch(), {"segment_s": 0.5, "stems": [], "mixes": [{"name": "x", "gains_db": {"bass": -6}}]}),
    ]
    works = [studio.work(mix, watch, batch=8, **wish) for mix, watch, wish in wishes]
    ended = dict(executor.run_together(partial(next, iter(works), None), 4))
    stopped, refused = ended.pop(works[2]), ended.pop(works[4])
    assert (type(stopped), type(refused)) == (Cancelled, NonFiniteAudio)
    for work, output in ended.items():
        alone = studio.run(
            executor, work.recording, **{**work.params.model_dump(exclude={"preset"}), "batch": 1}
        )
        assert [audio.name for audio in output.audio] == [audio.name for audio in alone.audio]
        assert snr(stems_of(output), stems_of(alone)) >= 90
        assert {**output.facts, "null_dbfs": None} == {**alone.facts, "null_dbfs": None}
        watch = work.context.report
        assert watch.heard[0] == (0, watch.heard[-1][1])
        assert watch.heard == sorted(watch.heard)
        assert watch.heard[-1][0] == watch.heard[-1][1] == output.facts["windows"]


def test_a_processor_takes_one_recording_after_another(spectral):
    """Its cores are as busy with one window as with several."""
    assert (Demucs.together, spectral[1].together) == (8, 1)


# ── loading ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_may_not_name_another_class(tmp_path):
    path = tmp_path / "evil.safetensors"
    save_file(
        {"weight": torch.zeros(1)},
        path,
        {"klass": "subprocess.Popen", "args": "[]", "kwargs": '{"args": "true"}'},
    )
    with pytest.raises(ModelLoadFailed, match="none of demucs"):
        loaded([path])


def test_matrices_of_eight_bits_have_a_step_a_row(studio, tmp_path):
    made = network(HDemucs, SPECTRAL)
    path = saved(made, SPECTRAL, tmp_path / "plain.safetensors")
    stored, metadata = {}, header(path)
    for name, tensor in made.state_dict().items():
        if tensor.dim() >= 2:
            step = tensor.flatten(1).abs().amax(1) / 127
            rows = step.view(-1, *[1] * (tensor.dim() - 1))
            stored[name] = torch.round(tensor / rows).to(torch.int8)
            stored[f"{name}.step"] = step
            tensor.copy_(stored[name] * rows)
        else:
            stored[name] = tensor
    small = tmp_path / "small.safetensors"
    save_file({k: v.contiguous() for k, v in stored.items()}, small, dict(metadata))
    assert small.stat().st_size < 0.4 * path.stat().st_size
    audio = song(1.8)
    ours = stems_of(studio.run(loaded([small]), studio.recording(audio), mode="model"))
    assert snr(ours, stock(made, audio)) >= 90


def test_eight_bits_without_steps_are_refused(tmp_path):
    path = saved(network(HDemucs, SPECTRAL), SPECTRAL, tmp_path / "steps.safetensors")
    eight = {name: tensor.to(torch.int8) for name, tensor in load_file(path).items()}
    save_file(eight, path, dict(header(path)))
    with pytest.raises(ModelLoadFailed, match=r"steps\.safetensors.*step"):
        loaded([path])


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}"])
def test_a_file_that_is_no_checkpoint_is_said_to_be_none(tmp_path, content):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelLoadFailed, match=r"broken\.safetensors"):
        loaded([path])


def test_half_precision_tensors_run_in_full_precision(studio, tmp_path):
    made = network(HDemucs, SPECTRAL).half()
    executor = loaded([saved(made, SPECTRAL, tmp_path / "half.safetensors")])
    audio = song(0.5)
    ours = stems_of(studio.run(executor, studio.recording(audio), mode="model"))
    assert snr(ours, stock(made.float(), audio)) >= 90


def test_a_precision_that_the_device_lacks_is_refused(tmp_path):
    path = saved(network(HDemucs, SPECTRAL), SPECTRAL, tmp_path / "mini.safetensors")
    with pytest.raises(PrecisionUnsupported):
        Demucs().load(weights([path]), "cpu", "fp16")


def test_bf16_keeps_the_outermost_layers_in_fp32():
    """Autocast as it comes is noisier. Computed on any CPU, if only slowly."""
    made = network(HTDemucs, HYBRID_TRANSFORMER)
    cpu = torch.device("cpu")
    windows = torch.from_numpy(song(float(made.segment)))[None]
    with torch.inference_mode():
        truth = made(windows).numpy()
        with torch.autocast("cpu", torch.bfloat16):
            plain = made(windows).float().numpy()
    ours = ready(deepcopy(made), range(4), cpu, "bf16")(windows).numpy()
    assert snr(ours, truth) > snr(plain, truth) + 1.5


def test_importing_the_executor_loads_nothing_heavy():
    code = (
        "import sys, neuralib.executors.demucs as d; d.Demucs.params.model_json_schema();"
        "sys.exit(bool({'torch', 'demucs', 'soxr', 'av', 'safetensors'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
