"""Files that are not what they say, are broken, or mean harm: each ends in one clear answer, and nothing stays."""

import asyncio
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neuralib.audio
from neuralib.audio import DecodeLimits, decode
from neuralib.errors import (
    AudioTooLong,
    AudioTooShort,
    BadRequest,
    DecodeFailed,
    EmptyUpload,
    MissingFile,
    NonFiniteAudio,
    StorageFull,
    UnsupportedAudio,
)

CHILD = Path(neuralib.audio.__file__).with_name("child.py")


def wav(samples: bytes, *, rate: int = 44_100, channels: int = 1, claims: int | None = None) -> bytes:
    """A 16-bit WAV whose data chunk claims to hold `claims` bytes."""
    size = len(samples) if claims is None else claims
    fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 & 0xFFFFFFFF, channels * 2, 16)
    chunks = b"fmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", size) + samples
    return b"RIFF" + struct.pack("<I", min(4 + len(chunks), 0xFFFFFFFF)) + b"WAVE" + chunks


NO_FLAC = (
    b"fLaC\x80\0\0\x22\x10\0\x10\0\0\0\0\0\0\0"
    + (44_100 << 12 | 1 << 9 | 15 << 4).to_bytes(4, "big")
    + bytes(20)
)
"""A FLAC file of 44.1 kHz, stereo, 16 bits that ends behind its header."""

NOT_AUDIO = {
    "thesis.mp3": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"1 0 obj << >> endobj\n" * 200, "a PDF document"),
    "notes.wav": (b"la la la\n" * 500, "no audio file that we know"),
    "utf16.mp3": ("la la la\n" * 500).encode("utf-16"),
    "album.zip": (b"PK\x03\x04" + bytes(500), "a zip archive"),
    "cover.png": (b"\x89PNG\r\n\x1a\n" + bytes(500), "a PNG image"),
    "cover.jpg": (b"\xff\xd8\xff\xe0" + bytes(500), "a JPEG image"),
    "page.mp3": (b"<!doctype html><audio src=/etc/passwd>", "an HTML or XML document"),
    "live.m3u8": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "a playlist"),
    "list.mp3": (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "a playlist"),
    "call.sdp": (b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n", "a stream description"),
    "song.mid": (b"MThd\0\0\0\6\0\1\0\1\0\x60", "a MIDI file"),
    "random.mp3": np.random.default_rng(7).bytes(200_000),
    "zeros.mp3": bytes(100_000),
    "riff.wav": b"RIFF\x24\0\0\0AVI LIST" + bytes(100),
    "id3.mp3": b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + b"%PDF-1.7" + bytes(3000),
}


async def test_what_is_no_audio_is_named_and_refused(media, outcomes):
    contents = {n: c if isinstance(c, tuple) else (c, "") for n, c in NOT_AUDIO.items()}
    got = await outcomes([media.bytes(name, content) for name, (content, _) in contents.items()])
    for name, (_, words) in contents.items():
        assert isinstance(got[name], UnsupportedAudio), (name, got[name])
        assert words in got[name].detail, name


async def test_a_film_without_sound_has_no_audio_stream(media, outcome):
    error = await outcome(media.silent_film("silent.mp4"))
    assert isinstance(error, UnsupportedAudio)
    assert "no audio stream" in error.detail


@pytest.mark.parametrize("codec", [b"MAC3", b"MAC6"])
async def test_a_codec_that_is_not_on_the_list_never_decodes(media, outcome, codec):
    """The shape of CVE-2026-66039: sizes of packets whose product overflows in a decoder that nobody needs."""
    shape = struct.pack(">d4s5I", 44_100.0, codec, 0, 0x2AAA_AAAC, 6, 2, 16)
    data = b"data" + struct.pack(">qI", 4 + 4096, 0) + bytes(4096)
    error = await outcome(
        media.bytes("mace.caf", b"caff\0\1\0\0desc" + struct.pack(">q", len(shape)) + shape + data)
    )
    assert isinstance(error, UnsupportedAudio)
    assert "mace" in error.detail


async def test_no_bytes_no_samples_and_no_file_are_three_answers(media, outcomes):
    empty = np.zeros((2, 0), np.float32)
    os.mkfifo(media.folder / "pipe")
    got = await outcomes(
        [
            media.bytes("empty.mp3", b""),
            media.sf("none.wav", empty),
            media.bytes("none.flac", NO_FLAC),
            media.folder / "absent.mp3",
            media.folder,
            media.folder / "pipe",
        ]
    )
    assert [type(error) for error in got.values()] == [
        EmptyUpload,
        AudioTooShort,
        AudioTooShort,
        MissingFile,
        UnsupportedAudio,
        UnsupportedAudio,
    ]


async def test_one_sample_that_is_no_number_is_enough_to_refuse(media, outcomes):
    files = []
    for poison in (np.nan, np.inf, -np.inf, 1e300):  # the last is a number, but none that float32 knows
        samples = media.noise(2.0).astype(np.float64)
        samples[1, 70_000] = poison
        files.append(media.sf(f"{poison}.wav", samples, subtype="DOUBLE"))
    for name, error in (await outcomes(files)).items():
        assert isinstance(error, NonFiniteAudio), name


async def test_a_truncated_file_keeps_what_decodes_and_says_so(media, outcomes):
    source = media.noise(4.0)
    whole = [
        media.av("cut.mp3", source, container="mp3", codec="libmp3lame"),
        media.av("front.m4a", source, container="ipod", codec="aac", options={"movflags": "+faststart"}),
        media.av("cut.opus", source, 48_000, container="ogg", codec="libopus", sample_format="flt"),
        media.av("cut.webm", source, 48_000, container="webm", codec="libopus", sample_format="flt"),
        media.sf("cut.flac", source, subtype="PCM_24"),
        media.sf("cut.wav", source, subtype="PCM_16"),
        media.sf("cut.aiff", source, subtype="PCM_16"),
        media.sf("cut.ogg", source, format="OGG", subtype="VORBIS"),
    ]
    for path in whole:
        media.bytes(path.name, path.read_bytes()[: path.stat().st_size * 6 // 10])
    got = await outcomes(whole)
    for name, result in got.items():
        assert not isinstance(result, BadRequest), (name, result)
        decoded, info = result
        assert "truncated" in info.warnings, name
        assert 1.0 < info.duration < 3.9, name
        assert decoded.shape == (2, info.frames), name


async def test_less_than_a_second_of_a_truncated_file_is_not_kept(media, outcomes):
    source = media.noise(3.0)
    mp3 = media.av("stub.mp3", source, container="mp3", codec="libmp3lame")
    flac = media.sf("stub.flac", source, subtype="PCM_16")
    m4a = media.av("headless.m4a", source, container="ipod", codec="aac")
    for path, kept in ((mp3, 0.2), (flac, 0.2), (m4a, 0.9)):  # m4a: the index is at the end
        media.bytes(path.name, path.read_bytes()[: int(path.stat().st_size * kept)])
    got = await outcomes([mp3, flac, m4a])
    assert {name: type(error) for name, error in got.items()} == dict.fromkeys(got, DecodeFailed)


async def test_damage_becomes_silence_and_what_follows_stays_in_time(media, outcome):
    source = media.on_grid(media.noise(4.0), 16)
    flac = media.sf("hit.flac", source, subtype="PCM_16")
    content = bytearray(flac.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    decoded, info = await outcome(media.bytes("hit.flac", bytes(content)))
    assert info.warnings == ("gaps",)
    assert info.frames == source.shape[1]
    assert np.array_equal(decoded[:, :44_100], source[:, :44_100])
    assert np.array_equal(decoded[:, -44_100:], source[:, -44_100:])


async def test_a_header_that_lies_about_its_length_is_not_believed(media, outcomes):
    samples = media.on_grid(media.noise(1.5, channels=1), 16)
    raw = np.rint(samples[0] * 32768).astype("<i2").tobytes()
    got = await outcomes(
        [
            media.bytes("stream.wav", wav(raw, claims=0xFFFFFFFF)),
            media.bytes("boast.wav", wav(raw, claims=0xFFFFFF00)),
        ]
    )
    for decoded, _ in got.values():
        assert np.array_equal(decoded, samples)
    assert got["boast.wav"][1].warnings == ("header-lied",)
    assert got["stream.wav"][1].warnings == ()  # how a program writes that does not know the length yet


async def test_a_shape_beyond_the_limits_is_refused(media, outcomes):
    shapes = [(500, 1), (768_000, 1), (44_100, 9), (44_100, 64), (0, 1)]
    files = [media.bytes(f"{r}-{c}.wav", wav(bytes(c * 2000), rate=r, channels=c)) for r, c in shapes]
    for name, error in (await outcomes(files)).items():
        assert isinstance(error, UnsupportedAudio | DecodeFailed), (name, error)


@pytest.mark.parametrize("limits", [DecodeLimits(seconds=1.0), DecodeLimits(decoded_bytes=300_000)])
async def test_a_recording_beyond_the_limits_is_too_long(media, outcome, limits):
    silence = np.zeros((2, 3 * 44_100), np.float32)
    error = await outcome(media.sf("bomb.flac", silence, subtype="PCM_16"), limits)
    assert isinstance(error, AudioTooLong)
    assert "longer than 1 s" in error.detail


async def test_a_decoder_without_memory_or_time_fails_and_is_gone(media, outcome):
    path = media.sf("song.wav", media.noise(0.5), subtype="PCM_16")
    others = children()
    starved = await outcome(path, DecodeLimits(memory=1 << 20))
    late = await outcome(path, DecodeLimits(wall=0.02))
    assert isinstance(starved, DecodeFailed)
    assert isinstance(late, DecodeFailed)
    assert "longer than 0.02 s" in late.detail
    assert children() == others


async def test_a_cancelled_decode_leaves_neither_child_nor_spool(media):
    spool = media.folder / "spool.f32"
    path = media.sf("song.wav", media.noise(0.5), subtype="PCM_16")
    others = children()
    task = asyncio.create_task(decode(path, spool))
    async with asyncio.timeout(30):
        while children() == others:  # noqa: ASYNC110 - the start of a child is nobody's event
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == others
    assert not spool.exists()


def children() -> set[str]:
    return {
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    }


async def test_tags_in_a_wrong_encoding_do_no_harm(media, outcome):
    song = media.av("song.mp3", media.noise(1.1), container="mp3", codec="libmp3lame")
    content = song.read_bytes()
    title = b"TIT2" + (9).to_bytes(4, "big") + b"\0\0\x03\xff\xfe\xfa caf\xe9"  # says UTF-8, is not
    tagged = b"ID3\x04\0\0\0\0\0" + bytes([len(title)]) + title + content[content.index(b"\xff\xfb") :]
    decoded, info = await outcome(media.bytes("tagged.mp3", tagged))
    assert (info.format, info.warnings) == ("mp3", ())
    assert decoded.any()


async def test_an_mp3_that_begins_in_mid_air_plays_from_its_first_whole_frame(media, outcome):
    source = media.noise(3.0)
    song = media.av("song.mp3", source, container="mp3", codec="libmp3lame").read_bytes()
    _, info = await outcome(media.bytes("torn.mp3", song[len(song) // 2 + 5 :]))
    assert info.warnings == ()
    assert 1.2 < info.duration < 1.6


async def test_no_room_for_the_samples_is_the_disk_and_not_the_file(media, full_disk):
    path = media.sf("song.flac", media.noise(1.0), subtype="PCM_16")
    with pytest.raises(StorageFull):
        await decode(path, full_disk / "spool.f32")
    assert list(full_disk.iterdir()) == []


async def test_random_damage_never_crashes_the_decoder(media, outcomes):
    rng = np.random.default_rng(11)
    source = media.noise(1.5)
    seeds = [
        media.av("a.mp3", source, container="mp3", codec="libmp3lame"),
        media.av("a.m4a", source, container="ipod", codec="aac"),
        media.av("a.webm", source, 48_000, container="webm", codec="libopus", sample_format="flt"),
        media.sf("a.ogg", source, format="OGG", subtype="VORBIS"),
        media.sf("a.flac", source, subtype="PCM_16"),
        media.sf("a.aiff", source, subtype="PCM_24"),
    ]
    files = []
    for seed in seeds:
        for reach in (300, None):  # the headers, then anywhere
            content = np.frombuffer(seed.read_bytes(), np.uint8).copy()
            where = rng.integers(4, reach or len(content), 40)
            content[where] = rng.integers(0, 256, 40)
            files.append(media.bytes(f"{reach}-{seed.name}", content.tobytes()))
    got = await outcomes(files)
    for name, result in got.items():
        if isinstance(result, BadRequest):
            assert "crashed" not in result.detail, (name, result)
            assert str(media.folder) not in result.detail, name
        else:
            assert np.isfinite(result[0]).all(), name


def test_the_child_can_open_neither_file_nor_socket_once_confined():
    probe = f"""
import runpy, socket
cell = runpy.run_path({str(CHILD)!r})
class request: wall, decoded_bytes, memory = 5.0, 1 << 20, 1 << 30
cell["confine"](request)
for escape in (lambda: open("/etc/passwd"), socket.socket, lambda: __import__("os").fork()):
    try:
        escape()
    except OSError as error:
        print(error.errno)
"""
    ran = subprocess.run(
        [sys.executable, "-I", "-c", probe], check=False, capture_output=True, text=True, timeout=60
    )
    refused = ran.stdout.split()
    assert refused[:2] == ["24", "24"], ran.stderr  # EMFILE
    assert os.geteuid() == 0 or refused[2:] == ["11"]  # EAGAIN; the kernel lets root fork


def test_importing_the_package_loads_no_decoder():
    loaded = subprocess.run(
        [sys.executable, "-c", "import neuralib.audio, sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.split()
    assert "numpy" in loaded
    assert not {"av", "soundfile", "soxr", "scipy", "torch"} & set(loaded)
