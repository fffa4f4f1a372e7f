"""Recordings on disk: what is written block by block is read back, whole or in part."""

import numpy as np
import pytest

from neuralib.audio import RecordingWriter


def ramp(frames: int, channels: int = 2) -> np.ndarray:
    return np.arange(channels * frames, dtype=np.float32).reshape(channels, frames)


def test_blocks_written_one_after_another_are_one_recording(tmp_path):
    samples = ramp(1000)
    with RecordingWriter(tmp_path / "r", 8_000, 2, "pcm_16") as writer:
        for block in np.array_split(samples, 7, axis=1):
            writer.write(block)
        recording = writer.close()
    assert (recording.frames, recording.duration, recording.subtype) == (1000, 0.125, "pcm_16")
    assert np.array_equal(recording.read(), samples)
    assert (tmp_path / "r").stat().st_size == 1000 * 2 * 4


@pytest.mark.parametrize(
    ("start", "stop", "first", "last"),
    [
        (0, 10, 0, 10),
        (990, 1000, 990, 1000),
        (-5, 3, 0, 3),
        (995, 2000, 995, 1000),
        (5, 5, 0, 0),
        (7, 2, 0, 0),
    ],
)
def test_read_is_clipped_to_the_ends(recorded, start, stop, first, last):
    samples = ramp(1000)
    got = recorded(samples).read(start, stop)
    assert got.shape[0] == 2
    assert got.flags.c_contiguous
    assert np.array_equal(got, samples[:, first:last])


def test_a_read_beyond_the_end_is_empty(recorded):
    assert recorded(ramp(1000)).read(1000, 1010).shape == (2, 0)
    assert recorded(ramp(1000)).read(5000).shape == (2, 0)


def test_blocks_cover_everything_once(recorded):
    samples = ramp(1000, 3)
    blocks = list(recorded(samples).blocks(300))
    assert [b.shape for b in blocks] == [(3, 300), (3, 300), (3, 300), (3, 100)]
    assert np.array_equal(np.concatenate(blocks, axis=1), samples)


def test_an_empty_recording_has_no_blocks(recorded):
    empty = recorded(np.zeros((2, 0), np.float32))
    assert empty.read().shape == (2, 0)
    assert list(empty.blocks()) == []


def test_a_block_of_another_width_is_refused(tmp_path):
    with RecordingWriter(tmp_path / "r", 8_000, 2) as writer, pytest.raises(ValueError, match="3 channels"):
        writer.write(ramp(10, 3))
