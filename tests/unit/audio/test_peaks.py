"""Peaks: what is drawn is what is in the file, at every level, in the formats that others read."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neuralib.audio import DecodeLimits, PeaksShape, decode, peaks, probe
from neuralib.errors import DecodeFailed


def naive(samples, level):
    """The definition, in the plainest numpy: int16 (points, lanes, 2) of float32 (channels, frames)."""
    lanes = samples if len(samples) == 1 else np.vstack((samples.mean(axis=0), samples))
    integers = np.clip(np.rint(lanes * 32768), -32768, 32767).astype(np.int16)
    starts = range(0, samples.shape[1], level)
    return np.array(
        [[(lane[s : s + level].min(), lane[s : s + level].max()) for lane in integers] for s in starts]
    )


async def levels_of(path, into):
    info = await probe(path, peaks=into)
    shape = PeaksShape(info.sample_rate, info.channels, info.frames)
    raw = into.read_bytes()
    assert len(raw) == shape.size
    found = {}
    for level in peaks.LEVELS:
        start = shape.offset(level)
        part = raw[start : start + shape.points(level) * shape.width]
        found[level] = np.frombuffer(part, "<i2").reshape(-1, shape.lanes, 2)
    return info, found


async def test_every_level_is_what_naive_numpy_says(media, tmp_path):
    """Over block borders, with a last point that is not full, for one, two and six channels and a lossy file."""
    files = [
        media.sf("mono.wav", media.noise(3.001, channels=1), subtype="PCM_16"),
        media.sf("stereo.flac", media.noise(4.7) * 9, subtype="PCM_24"),  # some of it clips
        media.sf("six.wav", media.noise(1.3, channels=6), subtype="FLOAT"),
        media.av("lossy.mp3", media.noise(2.5), container="mp3", codec="libmp3lame"),
        media.av("trimmed.m4a", media.noise(1.7003), container="ipod", codec="aac"),
        media.sf("one.wav", np.full((2, 1), 0.25, np.float32), subtype="PCM_16"),
    ]
    for path in files:
        info, found = await levels_of(path, tmp_path / "peaks")
        recording, told = await decode(path, tmp_path / "spool")
        assert info == told
        for level, pairs in found.items():
            assert np.array_equal(pairs, naive(recording.read(), level)), (path.name, level)


@given(
    hnp.arrays(np.int16, st.tuples(st.integers(1, 70), st.integers(1, 3), st.just(2))).map(
        lambda pairs: np.sort(pairs, axis=-1)
    )
)
@settings(deadline=None)
def test_a_level_is_the_fold_of_the_finer_one(pairs):
    folded = peaks.fold(pairs)
    for n, point in enumerate(folded):
        four = pairs[4 * n : 4 * n + 4]
        assert np.array_equal(point[:, 0], four[..., 0].min(axis=0))
        assert np.array_equal(point[:, 1], four[..., 1].max(axis=0))
    assert len(folded) == -(-len(pairs) // 4)


def test_levels_longer_than_a_block_fold_without_a_seam(tmp_path):
    shape = PeaksShape(48_000, 1, 64 * 200_001 - 5)
    finest = np.sort(np.random.default_rng(3).integers(-9999, 9999, (200_001, 1, 2), np.int16), axis=-1)
    path = tmp_path / "peaks"
    path.write_bytes(finest.astype("<i2").tobytes())
    peaks.complete(path, shape)
    expected = finest
    for level in peaks.LEVELS[1:]:
        expected = peaks.fold(expected)
        start = shape.offset(level)
        got = path.read_bytes()[start : start + shape.points(level) * shape.width]
        assert got == expected.astype("<i2").tobytes(), level
    assert path.stat().st_size == shape.size


def test_a_finest_level_of_another_size_is_refused(tmp_path):
    (tmp_path / "peaks").write_bytes(bytes(8))
    with pytest.raises(ValueError, match="finest level"):
        peaks.complete(tmp_path / "peaks", PeaksShape(48_000, 1, 64))


def test_the_formats_are_those_of_audiowaveform():
    pairs = np.array([[[-32768, 32767], [-255, 255]], [[-256, 256], [0, 0]]], np.int16)
    for bits, data in (
        (16, [-32768, 32767, -255, 255, -256, 256, 0, 0]),
        (8, [-128, 127, 0, 0, -1, 1, 0, 0]),
    ):
        told = json.loads(peaks.as_json(pairs, 44_100, 256, bits))
        head = {"version": 2, "channels": 2, "sample_rate": 44_100, "samples_per_pixel": 256}
        assert told == {**head, "bits": bits, "length": 2, "data": data}
        raw = peaks.as_dat(pairs, 44_100, 256, bits)
        assert struct.unpack("<iIiiIi", raw[:24]) == (2, bits == 8, 44_100, 256, 2, 2)
        assert np.frombuffer(raw[24:], "<i2" if bits == 16 else "i1").tolist() == data


def test_the_level_is_chosen_by_how_much_is_shown():
    shape = PeaksShape(48_000, 2, 48_000 * 600)
    assert shape.level_for(48_000 * 600, 2000) == 16384
    assert shape.level_for(6400, 2000) == 64
    assert shape.level_for(10**12, 2000) == peaks.LEVELS[-1]


async def test_a_file_that_does_not_decode_leaves_no_peaks(media, tmp_path):
    broken = media.bytes("broken.flac", b"fLaC" + bytes(5000))
    with pytest.raises(DecodeFailed):
        await probe(broken, DecodeLimits(), peaks=tmp_path / "peaks")
    assert not (tmp_path / "peaks").exists()
