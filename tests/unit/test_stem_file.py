"""Stem files, read back by FFmpeg and box by box: five recordings as they were, and an atom that names four of them."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from media import noise, on_grid
from neuralib.audio import AudioInfo, Recording, RecordingWriter, Samples
from neuralib.errors import Cancelled, ExecutorFailed, InputUnsupported
from neuralib.executors import FileOutput, Input, InputInfo, RunContext
from neuralib.executors.stem_file import STEMS, StemFile, StemFileParams
from neuralib.executors.stem_file.container import BLOCK, put_atom, read_atom

NAMES = ["vocals", "other", "drums", "bass"]  # not in the order of the format


class Bench:
    """A folder in which a stem file is made."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.reports = folder, []

    def recording(self, samples: Samples, rate: int, subtype: str) -> Recording:
        path = self.folder / f"in-{len(list(self.folder.iterdir()))}.f32"
        with RecordingWriter(path, rate, len(samples), subtype) as writer:
            writer.write(samples)
            return writer.close()

    def make(
        self, mix: Samples, stems: list[Samples], rate: int, subtype: str, codec: str = "alac"
    ) -> FileOutput:
        given = [self.recording(each, rate, subtype) for each in (mix, *stems)]
        inputs = tuple(Input("audio", each, name) for each, name in zip(given, [None, *NAMES], strict=True))
        scratch = self.folder / "run"
        scratch.mkdir()
        context = RunContext(scratch, lambda *done: self.reports.append(done), inputs)
        [file] = StemFile().run(given[0], StemFileParams(codec=codec), context).files
        return file


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def streams(path: Path) -> list[Any]:
    """Of each: (codec, rate, played by default, samples as numbers of 1)."""
    found = []
    with av.open(str(path)) as file:
        count = len(file.streams.audio)
    for place in range(count):
        with av.open(str(path)) as file:
            stream = file.streams.audio[place]
            frames = [frame.to_ndarray() for frame in file.decode(audio=place)]
            whole = np.concatenate(frames, axis=1)
            scale = 1.0 if whole.dtype.kind == "f" else 2.0 ** (8 * whole.dtype.itemsize - 1)
            default = bool(stream.disposition & av.stream.Disposition.default)
            found.append(
                (stream.codec_context.name, stream.rate, default, (whole / scale).astype(np.float32))
            )
    return found


@pytest.mark.parametrize(("bits", "rate"), [(16, 44_100), (24, 48_000)])
def test_five_recordings_go_in_and_come_out_to_the_last_bit(bench: Bench, bits: int, rate: int) -> None:
    sounds = [on_grid(noise(1.7, rate, 2, seed), bits) for seed in range(5)]
    made = bench.make(sounds[0], sounds[1:], rate, f"pcm_{bits}")
    assert (made.kind, made.role, made.media_type) == ("audio", "stem-file", "audio/mp4")
    assert made.audio is not None
    assert (made.audio["subtype"], made.audio["frames"]) == (f"pcm_{bits}", sounds[0].shape[1])
    found = streams(made.path)
    assert [each[:3] for each in found] == [("alac", rate, place == 0) for place in range(5)]
    by_name = dict(zip(NAMES, sounds[1:], strict=True))
    for (*_, samples), sound in zip(found, [sounds[0], *(by_name[name] for name in STEMS)], strict=True):
        assert np.array_equal(samples, sound)


def test_the_atom_names_the_stems_in_their_order_and_leaves_their_sum_alone(bench: Bench) -> None:
    sounds = [noise(0.1, 44_100, 2, seed) for seed in range(5)]
    told = read_atom(bench.make(sounds[0], sounds[1:], 44_100, "pcm_16").path)
    assert told is not None
    assert (told["version"], [stem["name"] for stem in told["stems"]]) == (
        1,
        ["Drums", "Bass", "Other", "Vocals"],
    )
    assert all(stem["color"].startswith("#") for stem in told["stems"])
    assert [told["mastering_dsp"][each]["enabled"] for each in ("compressor", "limiter")] == [False, False]


def test_aac_is_small_and_as_long(bench: Bench) -> None:
    sounds = [noise(2.0, 44_100, 2, seed) for seed in range(5)]
    made = bench.make(sounds[0], sounds[1:], 44_100, "float", "aac")
    assert made.audio is not None
    assert (made.audio["codec"], made.audio["subtype"]) == ("aac", "lossy")
    assert made.path.stat().st_size < 5 * 2 * 44_100 * 4 / 4
    for codec, _, _, samples in streams(made.path):
        assert codec == "aac"
        assert 0 <= samples.shape[1] - 88_200 <= 2048  # the codec's own padding


def test_mono_goes_to_both_sides_and_what_is_shorter_ends_in_silence(bench: Bench) -> None:
    mono, short = on_grid(noise(1.0, 44_100, 1), 16), on_grid(noise(0.5, 44_100, 2), 16)
    found = streams(bench.make(mono, [short] * 4, 44_100, "pcm_16").path)
    assert np.array_equal(found[0][3], np.repeat(mono, 2, axis=0))
    assert np.array_equal(found[1][3][:, : short.shape[1]], short)
    assert found[1][3].shape == (2, 44_100)
    assert not found[1][3][:, short.shape[1] :].any()


def test_progress_counts_blocks_and_is_where_a_cancelled_run_stops(bench: Bench) -> None:
    sounds = [noise(3.0, 44_100, 2, seed) for seed in range(5)]
    bench.make(sounds[0], sounds[1:], 44_100, "pcm_16")
    total = -(-3 * 44_100 // BLOCK)
    assert bench.reports == [(done, total) for done in range(1, total + 1)]

    def stop(*_: int) -> None:
        raise Cancelled

    given = [bench.recording(each, 44_100, "pcm_16") for each in sounds]
    inputs = tuple(Input("audio", each, name) for each, name in zip(given, [None, *NAMES], strict=True))
    with pytest.raises(Cancelled):
        StemFile().run(given[0], StemFileParams(), RunContext(bench.folder, stop, inputs))


def info(rate: int = 44_100, channels: int = 2) -> AudioInfo:
    return AudioInfo("wav", "pcm_s16le", "pcm_16", rate, channels, 1000, ())


@pytest.mark.parametrize(
    ("names", "audio", "told"),
    [
        (["vocals", "other", "drums", "piano"], [info()] * 5, "drums, other, piano, vocals"),
        (["vocals", "other", "drums", None], [info()] * 5, "None, drums"),
        (NAMES, [info(96_000)] * 5, "96000 Hz"),
        (NAMES, [info(), info(48_000), info(), info(), info()], "44100 Hz, 48000 Hz"),
        (NAMES, [info(channels=6)] * 5, "6 channels"),
    ],
)
def test_what_does_not_fit_the_format_is_refused_before_it_runs(names: Any, audio: Any, told: str) -> None:
    inputs = [
        InputInfo("audio", "audio/wav", name, each) for name, each in zip([None, *names], audio, strict=True)
    ]
    with pytest.raises(InputUnsupported, match=told):
        StemFile.check(inputs, StemFileParams())


def test_a_file_without_an_index_at_its_end_gets_no_atom(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x08mdat")
    with pytest.raises(ExecutorFailed):
        put_atom(path, b"{}")
