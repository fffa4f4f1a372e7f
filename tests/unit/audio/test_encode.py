"""What is written holds the recording frame for frame; nothing is rescaled, and nothing half-written stays."""

import numpy as np
import pytest
import soundfile

from neuralib.audio import choose_subtype, encode, wav
from neuralib.errors import StorageFull, ValidationFailed


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("name", ["wav", "flac"])
async def test_what_came_from_pcm_goes_back_to_it_bit_for_bit(media, outcome, recorded, name, bits):
    samples = media.on_grid(media.noise(1.6), bits)
    samples[0, :2] = -1.0, 1 - 2.0 ** (1 - bits)  # both ends of the scale
    written = encode(recorded(samples, subtype=f"pcm_{bits}"), media.folder / f"out.{name}", format=name)
    assert (written.format, written.subtype, written.clipped) == (name, f"pcm_{bits}", 0)
    assert (written.frames, written.channels, written.sample_rate) == (samples.shape[1], 2, 44_100)
    assert written.size == (media.folder / f"out.{name}").stat().st_size
    decoded, info = await outcome(media.folder / f"out.{name}")
    assert (info.format, info.subtype) == (name, f"pcm_{bits}")
    assert np.array_equal(decoded, samples)


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("wav", "pcm_16"),
        ("wav", "pcm_24"),
        ("wav", "pcm_32"),
        ("wav", "float"),
        ("flac", "pcm_16"),
        ("flac", "pcm_24"),
        ("mp3", "lossy"),
        ("ogg", "lossy"),
    ],
)
async def test_what_is_said_of_a_file_is_what_is_found_in_it(media, outcome, recorded, name, subtype):
    path = media.folder / f"out.{name}"
    written = encode(recorded(media.noise(0.5)), path, format=name, subtype=subtype)
    _, info = await outcome(path)
    assert (written.format, written.codec, written.subtype) == (info.format, info.codec, info.subtype)


async def test_float_keeps_every_bit_and_32_bits_what_float32_has(media, outcome, recorded):
    samples = media.noise(0.5) * 30
    encode(recorded(samples), media.folder / "float.wav", format="wav")
    assert np.array_equal((await outcome(media.folder / "float.wav"))[0], samples)
    samples = media.on_grid(media.noise(0.5), 32)
    encode(recorded(samples), media.folder / "int.wav", format="wav", subtype="pcm_32")
    decoded, info = await outcome(media.folder / "int.wav")
    assert info.subtype == "pcm_32"
    assert np.array_equal(decoded, samples)


@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("subtype", ["pcm_16", "pcm_24", "float"])
def test_other_programs_read_our_wav(media, recorded, subtype, channels):
    samples = media.on_grid(media.noise(0.1, 48_000, channels), 16)[:, :4799]  # odd: RIFF wants a pad byte
    path = media.folder / "out.wav"
    encode(recorded(samples, 48_000), path, format="wav", subtype=subtype)
    read, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate == 48_000
    assert np.array_equal(read.T, samples)
    assert path.stat().st_size % 2 == 0
    assert int.from_bytes(path.read_bytes()[4:8], "little") == path.stat().st_size - 8


@pytest.mark.parametrize("name", ["mp3", "ogg"])
async def test_lossy_formats_keep_length_and_time(media, outcome, recorded, name):
    dull = np.hanning(9)  # so that no encoder's low-pass filter has anything to take away
    samples = np.stack([np.convolve(row, dull / dull.sum(), "same") for row in media.noise(2.3)]).astype("f4")
    written = encode(recorded(samples), media.folder / f"out.{name}", format=name)
    decoded, info = await outcome(media.folder / f"out.{name}")
    assert (info.format, info.frames, info.warnings) == (name, samples.shape[1], ())
    assert written.subtype == "lossy"
    assert media.lag(samples, decoded) == 0
    error = np.sqrt(np.mean((decoded - samples) ** 2) / np.mean(samples**2))
    assert error < 0.15  # -16 dB: noise is the hardest thing to ask of them


def test_a_minute_of_ogg_does_not_overflow_the_stack_of_libsndfile(media, recorded):
    tone = np.sin(np.arange(60 * 8_000, dtype=np.float32) * 0.3)[None] * np.float32(0.1)
    encode(recorded(tone, 8_000), media.folder / "minute.ogg", format="ogg")
    assert soundfile.info(media.folder / "minute.ogg").frames == tone.shape[1]


@pytest.mark.parametrize(("name", "subtype"), [("wav", "pcm_16"), ("flac", "pcm_24"), ("wav", "pcm_32")])
def test_what_is_beyond_full_scale_is_clipped_counted_and_nothing_else_touched(
    media, recorded, name, subtype
):
    samples = media.on_grid(media.noise(0.1), 16)
    samples[0, 10:13] = 1.0, 1.5, -1.5
    written = encode(recorded(samples), media.folder / "loud", format=name, subtype=subtype)
    assert written.clipped == 3  # 1.0 itself is one step beyond the largest integer
    read = soundfile.read(media.folder / "loud", dtype="float64")[0].T
    top = 1 - 2.0 ** (1 - int(subtype[4:]))
    assert read[0, 10:13].tolist() == [top, top, -1.0]
    samples[0, 10:13] = read[0, 10:13] = 0
    assert np.array_equal(read, samples)


def test_rounding_is_to_nearest_without_dither(media, recorded):
    steps = np.array([[0.4, 0.6, -0.4, -0.6, 1.5, 2.5]], np.float32) / 32768
    encode(recorded(steps), media.folder / "steps.wav", format="wav", subtype="pcm_16")
    read = soundfile.read(media.folder / "steps.wav", dtype="int16")[0]
    assert read.tolist() == [0, 1, 0, -1, 2, 2]


def test_equal_audio_makes_equal_bytes(media, recorded):
    recording = recorded(media.noise(0.2))
    for name, subtype in (("wav", "float"), ("wav", "pcm_24"), ("flac", "pcm_16")):
        for path in ("a", "b"):
            encode(recording, media.folder / path, format=name, subtype=subtype)
        assert (media.folder / "a").read_bytes() == (media.folder / "b").read_bytes()


def test_a_wav_of_more_than_4_gib_is_rf64():
    frames = 3_600 * 48_000 * 6  # six hours
    head = wav.header("pcm_24", 48_000, 2, frames)
    size = frames * 6
    assert (head[:4], head[8:16]) == (b"RF64", b"WAVEds64")
    assert int.from_bytes(head[20:28], "little") == len(head) - 8 + size
    assert int.from_bytes(head[28:36], "little") == size
    assert int.from_bytes(head[36:44], "little") == frames
    assert head[-8:] == b"data\xff\xff\xff\xff"
    assert wav.header("pcm_24", 48_000, 2, 1000)[:4] == b"RIFF"


async def test_rf64_is_read_back(media, outcome):
    """The header of six hours in front of a second: what FFmpeg makes of our `ds64`."""
    samples = media.on_grid(media.noise(1.5), 16)
    raw = np.rint(samples.T * 32768).astype("<i2").tobytes()
    path = media.bytes("big.wav", wav.header("pcm_16", 44_100, 2, 1 << 31) + raw)
    decoded, info = await outcome(path)
    assert info.format == "wav"
    assert np.array_equal(decoded, samples)


@pytest.mark.parametrize(
    ("source", "name", "expected"),
    [
        ("pcm_16", "wav", "pcm_16"),
        ("pcm_24", "flac", "pcm_24"),
        ("pcm_32", "wav", "pcm_24"),
        ("float", "wav", "float"),
        ("float", "flac", "pcm_24"),
        ("lossy", "wav", "pcm_24"),
        ("pcm_16", "mp3", "lossy"),
    ],
)
def test_by_default_the_subtype_of_the_source_comes_back(source, name, expected):
    assert choose_subtype(source, name) == expected


@pytest.mark.parametrize(
    ("name", "subtype", "rate", "channels"),
    [
        ("flac", "float", 44_100, 2),
        ("flac", "pcm_32", 44_100, 2),
        ("mp3", "pcm_16", 44_100, 2),
        ("wma", None, 44_100, 2),
        ("mp3", None, 96_000, 2),
        ("mp3", None, 44_100, 6),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(
    media, recorded, name, subtype, rate, channels
):
    recording = recorded(media.noise(0.1, rate, channels), rate)
    with pytest.raises(ValidationFailed):
        encode(recording, media.folder / "out", format=name, subtype=subtype)
    assert sorted(p.name for p in media.folder.iterdir()) == ["recorded.f32"]


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "ogg"])
def test_an_interrupted_encode_leaves_the_old_file_and_no_part(media, recorded, name):
    recording = recorded(media.noise(4.0))
    path = media.bytes("out", b"old")
    heard = []

    def stop(done):
        heard.append(done)
        if len(heard) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(recording, path, format=name, on_block=stop)
    assert heard == [65_536, 131_072]
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in media.folder.iterdir()) == ["out", "recorded.f32"]


@pytest.mark.parametrize("name", ["wav", "flac", "ogg"])
def test_a_full_disk_is_named(media, recorded, name, full_disk):
    recording = recorded(media.noise(2.0))
    with pytest.raises(StorageFull):
        encode(recording, full_disk / "out", format=name)
    assert list(full_disk.iterdir()) == []
