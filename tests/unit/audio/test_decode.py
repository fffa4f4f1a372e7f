"""What comes out of a decoder is what went in: sample for sample where the format allows, in time where not."""

import numpy as np
import pytest

from neuralib.audio import probe


async def test_pcm_of_every_width_decodes_bit_for_bit(media, outcomes):
    noise = media.noise(0.5)
    expected, files = {}, []
    for bits, subtype in ((8, "PCM_U8"), (16, "PCM_16"), (24, "PCM_24")):
        expected[f"{bits}.wav"] = media.on_grid(noise, bits), "wav", "pcm_24" if bits == 24 else "pcm_16"
        files.append(media.sf(f"{bits}.wav", expected[f"{bits}.wav"][0], subtype=subtype))
    for bits in (16, 24):
        samples = media.on_grid(noise, bits)
        for name in ("flac", "aiff", "caf"):
            expected[f"{bits}.{name}"] = samples, name, f"pcm_{bits}"
            files.append(media.sf(f"{bits}.{name}", samples, subtype=f"PCM_{bits}"))
        expected[f"alac{bits}.m4a"] = samples, "m4a", f"pcm_{bits}"
        alac = {"container": "ipod", "codec": "alac", "sample_format": "s16p" if bits == 16 else "s32p"}
        files.append(media.av(f"alac{bits}.m4a", samples, **alac))
    for width, subtype in (("32", "PCM_32"), ("float", "FLOAT"), ("double", "DOUBLE")):
        samples = media.on_grid(noise, 32) if width == "32" else noise
        expected[f"{width}.wav"] = samples, "wav", "pcm_32" if width == "32" else "float"
        files.append(media.sf(f"{width}.wav", samples.astype(np.float64), subtype=subtype))

    got = await outcomes(files)

    for name, (samples, container, subtype) in expected.items():
        decoded, info = got[name]
        assert (info.format, info.subtype, info.sample_rate) == (container, subtype, 44_100), name
        assert info.frames == samples.shape[1], name
        assert info.warnings == (), name
        assert np.array_equal(decoded, samples), name


async def test_a_float_file_keeps_what_lies_beyond_full_scale(media, outcome):
    loud = media.noise(0.2) * 40
    decoded, info = await outcome(media.sf("loud.wav", loud, subtype="FLOAT"))
    assert np.array_equal(decoded, loud)
    assert info.subtype == "float"


LOSSY = {  # name: rate, options of the writer, (format, codec), extra frames that the container cannot disown
    "lame.mp3": (44_100, {"container": "mp3", "codec": "libmp3lame"}, ("mp3", "mp3"), 0),
    "aac.m4a": (44_100, {"container": "ipod", "codec": "aac"}, ("m4a", "aac"), 0),
    "film.mp4": (44_100, {"container": "mp4", "codec": "aac", "video": True}, ("mp4", "aac"), 0),
    "opus.opus": (
        48_000,
        {"container": "ogg", "codec": "libopus", "sample_format": "flt"},
        ("opus", "opus"),
        0,
    ),
    "opus.webm": (
        48_000,
        {"container": "webm", "codec": "libopus", "sample_format": "flt"},
        ("webm", "opus"),
        0,
    ),
    "aac.mkv": (44_100, {"container": "matroska", "codec": "aac"}, ("mkv", "aac"), 1024),
}


async def test_lossy_formats_decode_without_lag_and_with_their_exact_length(media, outcomes):
    sources = {name: media.noise(1.7003, rate) for name, (rate, *_) in LOSSY.items()}
    files = [media.av(name, sources[name], rate, **how) for name, (rate, how, *_) in LOSSY.items()]
    sources["vorbis.ogg"] = sources["aac.m4a"]
    files.append(media.sf("vorbis.ogg", sources["vorbis.ogg"], format="OGG", subtype="VORBIS"))

    got = await outcomes(files)

    for name, source in sources.items():
        rate, _, kind, extra = LOSSY.get(name, (44_100, None, ("ogg", "vorbis"), 0))
        decoded, info = got[name]
        assert (info.format, info.codec) == kind, name
        assert (info.subtype, info.sample_rate, info.channels) == ("lossy", rate, 2), name
        assert 0 <= info.frames - source.shape[1] <= extra, name
        assert media.lag(source, decoded) == 0, name
        assert info.warnings == (), name


async def test_files_that_cannot_name_the_delay_of_their_encoder_start_with_it(media, outcomes):
    source = media.noise(1.0)
    bare = {"container": "mp3", "codec": "libmp3lame", "options": {"write_xing": "0"}}
    files = [
        media.av("raw.aac", source, container="adts", codec="aac"),
        media.av("bare.mp3", source, **bare),
    ]
    got = await outcomes(files)
    assert {name: media.lag(source, samples) for name, (samples, _) in got.items()} == {
        "raw.aac": 1024,
        "bare.mp3": 1105,
    }
    assert {info.warnings for _, info in got.values()} == {()}


async def test_any_rate_and_channel_count_passes(media, outcomes):
    shapes = {
        f"{rate}-{channels}.flac": (rate, channels)
        for rate, channels in ((8_000, 1), (96_000, 6), (192_000, 8))
    }
    samples = {n: media.on_grid(media.noise(0.1, *shape), 24) for n, shape in shapes.items()}
    got = await outcomes([media.sf(n, samples[n], shape[0], subtype="PCM_24") for n, shape in shapes.items()])
    for name, (decoded, info) in got.items():
        assert (info.sample_rate, info.channels) == shapes[name]
        assert np.array_equal(decoded, samples[name]), name


async def test_one_sample_is_enough(media, outcome):
    sample = np.full((1, 1), 0.5, np.float32)
    decoded, info = await outcome(media.sf("one.wav", sample, subtype="PCM_16"))
    assert info.frames == 1
    assert decoded.tolist() == [[0.5]]


async def test_the_cover_of_an_album_is_no_video(media, outcomes):
    source = media.noise(1.2)
    song = media.av("plain.mp3", source, container="mp3", codec="libmp3lame").read_bytes()
    cover = b"\0image/png\0\x03\0" + b"\x89PNG\r\n\x1a\n" + bytes(200_000)
    frame = b"APIC" + len(cover).to_bytes(4, "big") + b"\0\0" + cover
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    covered = media.bytes("covered.mp3", b"ID3\x03\0\0" + size + frame + song)
    m4a = media.av("covered.m4a", source, container="mp4", codec="aac", cover=True)
    got = await outcomes([covered, media.folder / "plain.mp3", m4a])
    assert got["covered.m4a"][1].format == "m4a"
    decoded, info = got["covered.mp3"]
    assert info.format == "mp3"
    assert info.frames == source.shape[1]
    assert np.array_equal(decoded, got["plain.mp3"][0])


async def test_the_name_of_a_file_means_nothing(media, outcome):
    samples = media.on_grid(media.noise(0.2), 16)
    flac = media.sf("song.flac", samples, subtype="PCM_16")
    decoded, info = await outcome(flac.rename(media.folder / "song.mp3"))
    assert info.format == "flac"
    assert np.array_equal(decoded, samples)


async def test_probe_tells_what_decode_tells_and_writes_nothing(media, outcome):
    path = media.sf("song.flac", media.noise(0.2), subtype="PCM_24")
    before = set(media.folder.iterdir())
    info = await probe(path)
    assert set(media.folder.iterdir()) == before
    assert info == (await outcome(path))[1]
    assert info.duration == pytest.approx(0.2)


async def test_silence_and_a_constant_are_called_silent(media, outcomes):
    still = np.zeros((2, 4410), np.float32)
    files = [
        media.sf("zeros.wav", still, subtype="PCM_16"),
        media.sf("constant.wav", still + 0.5, subtype="PCM_16"),
        media.sf("faint.wav", still + media.noise(0.1) / 50, subtype="PCM_16"),
    ]
    got = await outcomes(files)
    assert {name: info.warnings for name, (_, info) in got.items()} == {
        "zeros.wav": ("silent",),
        "constant.wav": ("silent",),
        "faint.wav": (),
    }
