"""The parts of the Whisper executor, each against openai's or against its own definition."""

import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper.audio import log_mel_spectrogram
from whisper.timing import dtw_cpu, median_filter

from neuralib.audio import RecordingWriter
from neuralib.errors import ModelLoadFailed
from neuralib.executors.whisper.ctranslate2 import read
from neuralib.executors.whisper.features import FLOOR, WINDOW, extract
from neuralib.executors.whisper.guards import Repeats
from neuralib.executors.whisper.words import median, warp


def recording(folder, samples, rate=16_000):
    with RecordingWriter(folder / "in.f32", rate, 1) as writer:
        writer.write(samples[None].astype(np.float32))
        return writer.close()


@pytest.mark.parametrize("frames", [1, 159, 160, 201, 16_000, 30 * 16_000, 31 * 16_000 + 77])
def test_features_equal_openais_spectrogram(tmp_path, frames):
    """One sample, less and more than a hop, exactly one block, and one that ends between hops."""
    samples = np.random.default_rng(frames).normal(0, 0.1, frames).astype(np.float32)
    features = extract(recording(tmp_path, samples), 80, lambda: None)
    theirs = log_mel_spectrogram(samples, padding=WINDOW * 160)
    assert features.frames == theirs.shape[1] - WINDOW == frames // 160
    ours = (torch.clamp(features.log, min=features.top - 8.0) + 4.0) / 4.0
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


def test_a_window_past_the_end_is_filled_with_zeros(tmp_path):
    features = extract(recording(tmp_path, np.ones(1600)), 80, lambda: None)
    window = features.window(4, 6)
    assert window.shape == (80, WINDOW)
    assert window[:, 6:].abs().max() == 0
    assert window[:, :6].abs().min() > 0


def test_silence_is_told_from_sound_by_its_loudest_frame(tmp_path):
    samples = np.zeros(16_000)
    samples[8_000:8_160] = 0.01
    features = extract(recording(tmp_path, samples), 80, lambda: None)
    assert features.is_silent(0, 40, -60.0)
    assert not features.is_silent(0, 100, -60.0)
    assert features.is_silent(0, 100, -20.0)
    assert extract(recording(tmp_path, np.zeros(1600)), 80, lambda: None).top == FLOOR


def stock_beginnings(cost):
    """Where each row of openai's path begins."""
    rows, times = dtw_cpu.py_func(cost)
    return [int(times[list(rows).index(row)]) for row in range(cost.shape[0])]


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 40),
    seed=st.integers(0, 1000),
    levels=st.sampled_from([2, 9, 0]),
)
def test_warping_follows_openais_path_ties_included(rows, columns, seed, levels):
    cost = np.random.default_rng(seed).normal(size=(rows, columns))
    cost = np.round(cost * levels) / levels if levels else cost
    assert warp(cost).tolist() == stock_beginnings(cost)


@settings(deadline=None, max_examples=20)
@given(columns=st.integers(1, 60), seed=st.integers(0, 100))
def test_the_running_median_equals_openais(columns, seed):
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, 3, columns)).astype(np.float32))
    assert torch.equal(median(x), median_filter(x, 7))


def name(text):
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def model_bin(version=6, spec="WhisperSpec", kind=4):
    data = np.arange(6, dtype="<f2").tobytes()
    tensor = name("a/weight") + struct.pack("<B2IBI", 2, 2, 3, kind, len(data)) + data
    return (
        struct.pack("<I", version)
        + name(spec)
        + struct.pack("<2I", 3, 1)
        + tensor
        + (struct.pack("<I", 1) + name("b/weight") + name("a/weight"))
    )


def test_a_model_cut_in_two_reads_as_one(tmp_path):
    raw = model_bin()
    for cut in (1, 20, len(raw) - 3):
        parts = [tmp_path / "1", tmp_path / "2"]
        parts[0].write_bytes(raw[:cut])
        parts[1].write_bytes(raw[cut:])
        tensors = read(parts)
        assert tensors["b/weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "raw", [model_bin(version=5), model_bin(spec="Other"), model_bin(kind=9), model_bin()[:40], b""]
)
def test_a_model_of_another_kind_or_length_is_refused(tmp_path, raw):
    path = tmp_path / "model.bin"
    path.write_bytes(raw)
    with pytest.raises(ModelLoadFailed):
        read([path])


def test_a_line_may_come_only_so_often_in_a_row():
    repeats = Repeats(2)
    lines = ["La la", " la, LA!", "la la.", "other", "la la", "la la"]
    assert [repeats.admit(line) for line in lines] == [True, True, False, True, True, True]
    assert all(Repeats(None).admit("la") for _ in range(100))
