"""Files that are not what they say, are broken, or mean harm, each with the answers that it may get.

Everything is generated, seeded, and small: bombs are made by hand from their format's own bytes. To look at them:
`python tests/corpus.py FOLDER`.
"""

import gzip
import io
import math
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from media import Media

OK = "ok"
UNSUPPORTED, FAILED, NAN = "unsupported-audio", "decode-failed", "non-finite-audio"
SHORT, LONG, EMPTY = "audio-too-short", "audio-too-long", "empty-upload"
DAMAGED = frozenset({OK, UNSUPPORTED, FAILED, NAN, SHORT, LONG})
"""What damage may lead to: whatever is left decodes, or one of the documented problems says why not."""
HOURS = 3600


@dataclass(frozen=True, slots=True)
class Case:
    """One file. `answers` are the codes of the problems that are right, and `OK`."""

    name: str
    content: bytes
    answers: frozenset[str]


def corpus(seed: int = 0) -> list[Case]:
    """All of it: about 300 files, 27 MB."""
    parts = (_wrong_types, _playlists, _absurd_shapes, _lies, _bombs, _not_numbers, _tags, _structures)
    return [*(case for part in parts for case in part()), *_damaged(np.random.default_rng(seed))]


@cache
def sound() -> dict[str, bytes]:
    """A second and a half of stereo in every container that we take; by file name."""
    with tempfile.TemporaryDirectory() as folder:
        media = Media(Path(folder))
        samples = media.noise(1.5)
        files = [
            media.sf("song.wav", samples, subtype="PCM_16"),
            media.sf("float.wav", samples, subtype="FLOAT"),
            media.sf("song.flac", samples, subtype="PCM_16"),
            media.sf("song.aiff", samples, subtype="PCM_24"),
            media.sf("song.caf", samples, subtype="PCM_16"),
            media.sf("song.ogg", samples, format="OGG", subtype="VORBIS"),
            media.av("song.mp3", samples, container="mp3", codec="libmp3lame"),
            media.av("song.aac", samples, container="adts", codec="aac"),
            media.av("song.m4a", samples, container="ipod", codec="aac"),
            media.av("alac.m4a", samples, container="ipod", codec="alac", sample_format="s16p"),
            media.av("song.opus", samples, 48_000, container="ogg", codec="libopus", sample_format="flt"),
            media.av("song.webm", samples, 48_000, container="webm", codec="libopus", sample_format="flt"),
            media.av("song.mkv", samples, container="matroska", codec="aac"),
            media.av("film.mp4", samples, container="mp4", codec="aac", video=True),
        ]
        return {path.name: path.read_bytes() for path in files}


def mutations(seed: int) -> Iterator[tuple[str, bytes]]:
    """Damaged recordings without end: (file name, content). The same seed gives the same files."""
    rng = np.random.default_rng(seed)
    names = sorted(sound())
    for number in range(sys.maxsize):
        name = names[int(rng.integers(len(names)))]
        yield f"{number}-{name}", _mutated(sound()[name], rng)


def _mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three kinds of damage; the magic number at the front mostly survives, or no decoder would see the rest."""
    data = bytearray(content)
    for kind in rng.integers(7, size=rng.integers(1, 4)):
        front = 0 if rng.random() < 0.05 else 4
        reach = len(data) if rng.random() < 0.5 else min(len(data), 400)
        at = int(rng.integers(front, max(reach, front + 1)))
        span = int(rng.integers(1, 64))
        match kind:
            case 0:  # bits flip
                for where in rng.integers(front, max(reach, front + 1), int(rng.integers(1, 40))):
                    data[min(int(where), len(data) - 1)] ^= 1 << int(rng.integers(8))
            case 1:  # bytes are noise
                data[at : at + span] = rng.bytes(span)
            case 2:  # a number is extreme
                data[at : at + 4] = (b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\x80\0\0\0")[
                    rng.integers(4)
                ]
            case 3:  # the end is missing
                del data[max(at, 8) :]
            case 4:  # a piece is missing
                del data[at : at + span]
            case 5:  # a piece is there twice
                data[at:at] = data[at : at + span * 8]
            case 6:  # another file's bytes
                other = sound()[sorted(sound())[int(rng.integers(len(sound())))]]
                data[at : at + span] = other[at : at + span]
    return bytes(data) or b"\0"


# ── not what they say ─────────────────────────────────────────────────────────────────────────────────


def _only(name: str, content: bytes, *answers: str) -> Case:
    return Case(name, content, frozenset(answers))


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("song.wav", bytes(1 << 20))
    return file.getvalue()


def _wrong_types() -> Iterator[Case]:
    text = b"la la la, but not as sound\n" * 200
    fakes = {
        "thesis.pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"1 0 obj << >> endobj\n" * 200,
        "notes.txt": text,
        "utf16.txt": text.decode().encode("utf-16"),
        "album.zip": _zip(),
        "song.wav.gz": gzip.compress(sound()["song.wav"], mtime=0),
        "album.rar": b"Rar!\x1a\x07\x01\0" + bytes(500),
        "album.7z": b"7z\xbc\xaf\x27\x1c" + bytes(500),
        "cover.png": b"\x89PNG\r\n\x1a\n" + bytes(500),
        "cover.jpg": b"\xff\xd8\xff\xe0" + bytes(500),
        "cover.gif": b"GIF89a" + bytes(500),
        "page.html": b"<!doctype html><audio src=/etc/passwd>",
        "logo.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
        "song.mid": b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk" + bytes(64),
        "run.exe": b"MZ" + bytes(500),
        "run.elf": b"\x7fELF" + bytes(500),
        "run.sh": b"#!/bin/sh\nrm -rf /\n" * 20,
        "zeros.bin": bytes(100_000),
        "ones.bin": b"\xff" * 100_000,
        "noise.bin": np.random.default_rng(7).bytes(200_000),
        "film.avi": b"RIFF\x24\0\0\0AVI LIST" + bytes(100),
        "behind-a-tag.pdf": b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + b"%PDF-1.7" + bytes(3000),
        "pickle.bin": b"\x80\x04cposix\nsystem\n(S'id'\ntR.",
    }
    for name, content in fakes.items():
        yield _only(f"{name}.mp3", content, UNSUPPORTED)
    yield _only("empty.mp3", b"", EMPTY)
    for size in (1, 3, 4, 7, 8, 12, 20, 43):
        for name in ("song.wav", "song.flac", "song.mp3", "song.m4a", "song.ogg"):
            head = sound()[name][:size]
            yield _only(f"head-{size}-{name}", head, UNSUPPORTED, FAILED, SHORT)
    yield _only("mp3-called.wav", sound()["song.mp3"], OK)
    yield _only("../../etc/cron.d/x", sound()["song.wav"], OK)
    yield _only("\u202egnp.wav", sound()["song.wav"], OK)


def _playlists() -> Iterator[Case]:
    lists = {
        "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "hls-http": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n",
        "ffconcat": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        "pls": b"[playlist]\nFile1=/etc/passwd\nNumberOfEntries=1\n",
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=audio 5004 RTP/AVP 0\n",
        "cue": b'FILE "/etc/passwd" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
        "xspf": b"<?xml version='1.0'?><playlist><track><location>file:///etc/passwd</location></track></playlist>",
        "dash": b"<?xml version='1.0'?><MPD><Period><BaseURL>/etc/</BaseURL></Period></MPD>",
        "asx": b"<asx version='3.0'><entry><ref href='file:///etc/passwd'/></entry></asx>",
    }
    for name, content in lists.items():
        yield _only(f"{name}.mp3", content, UNSUPPORTED)
        yield _only(f"{name}-with-bom.mp3", b"\xef\xbb\xbf" + content, UNSUPPORTED)
        yield _only(f"{name}-behind-a-tag.mp3", b"ID3\x04\0\0\0\0\0\0" + content, UNSUPPORTED)
        # With sound behind it a player hears the sound; nobody may follow the list.
        yield _only(f"{name}-before-sound.mp3", content + sound()["song.mp3"], OK, FAILED, UNSUPPORTED)
    reference = sound()["song.m4a"].replace(b"url \0\0\0\x01", b"url \0\0\0\0")
    yield _only("external-reference.m4a", reference, OK, FAILED)


# ── damaged ───────────────────────────────────────────────────────────────────────────────────────────


def _damaged(rng: np.random.Generator) -> Iterator[Case]:
    for name, content in sound().items():
        for percent in (3, 40, 97):
            cut = content[: len(content) * percent // 100]
            yield Case(f"cut-{percent}-{name}", cut, DAMAGED)
        for reach, where in ((min(300, len(content)), "front"), (len(content), "anywhere")):
            data = np.frombuffer(content, np.uint8).copy()
            at = rng.integers(4, reach, 30)
            data[at] ^= (1 << rng.integers(0, 8, 30)).astype(np.uint8)
            yield Case(f"flipped-{where}-{name}", data.tobytes(), DAMAGED)
    yield _only("two-rates.mp3", sound()["song.mp3"] + _mp3_at(32_000), FAILED)
    yield _only("two-shapes.ogg", sound()["song.ogg"] + sound()["song.opus"], OK, FAILED)


@cache
def _mp3_at(rate: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        media = Media(Path(folder))
        return media.av(
            "x.mp3", media.noise(1.0, rate), rate, container="mp3", codec="libmp3lame"
        ).read_bytes()


# ── shapes and lies ───────────────────────────────────────────────────────────────────────────────────


def wav(
    samples: bytes,
    *,
    rate: int = 44_100,
    channels: int = 1,
    bits: int = 16,
    tag: int = 1,
    align: int | None = None,
    claims: int | None = None,
) -> bytes:
    """A WAV file that says what it is told to say. `claims`: the size of its data chunk."""
    align = channels * bits // 8 if align is None else align
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * align & 0xFFFFFFFF, align & 0xFFFF, bits)
    size = len(samples) if claims is None else claims
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", size) + samples
    return b"RIFF" + struct.pack("<I", min(len(body), 0xFFFFFFFF)) + body


def aiff(rate: bytes, channels: int = 1, bits: int = 16) -> bytes:
    """An AIFF file of 2000 samples; `rate` is an 80-bit float."""
    common = struct.pack(">HIH", channels, 2000, bits) + rate
    sound_ = b"SSND" + struct.pack(">III", 8 + 4000, 0, 0) + b"\1\2" * 2000
    body = b"AIFFCOMM" + struct.pack(">I", 18) + common + sound_
    return b"FORM" + struct.pack(">I", len(body)) + body


def caf(rate: float, channels: int = 1) -> bytes:
    """A CAF file of 16-bit samples, 2000 in each of its first 16 channels."""
    desc = struct.pack(">d4sIIIII", rate, b"lpcm", 2, 2 * channels, 1, channels, 16)
    data = struct.pack(">I", 0) + b"\1\2" * 2000 * min(channels, 16)
    head = b"caff\0\1\0\0desc" + struct.pack(">q", len(desc)) + desc
    return head + b"data" + struct.pack(">q", len(data)) + data


def _absurd_shapes() -> Iterator[Case]:
    yield from _absurd_wavs()
    refused = (UNSUPPORTED, FAILED, SHORT)
    extended = {"zero": bytes(10), "infinite": b"\x7f\xff" + bytes(8), "nan": b"\x7f\xff\xc0" + bytes(7)}
    extended |= {"negative": b"\xc0\x0e\xac\x44" + bytes(6), "huge": b"\x7f\xfe" + b"\xff" * 8}
    for name, rate in extended.items():
        yield _only(f"rate-{name}.aiff", aiff(rate), *refused)
    for number in (0.0, -44100.0, 0.5, 1e308, math.inf, math.nan):
        yield _only(f"rate-{number}.caf", caf(number), *refused)
    for channels in (0, 9, 65535):
        yield _only(f"channels-{channels}.aiff", aiff(b"\x40\x0e\xac\x44" + bytes(6), channels), *refused)
        yield _only(f"channels-{channels}.caf", caf(44_100.0, channels), *refused)
    for hertz in (1, 655_350):
        yield _only(f"rate-{hertz}.flac", flac(0.2, rate=hertz), *refused)


def _absurd_wavs() -> Iterator[Case]:
    data = b"\1\2" * 2000
    for rate in (0, 1, 999, 384_001, 768_000, 2**31, 2**32 - 1):
        yield _only(f"rate-{rate}.wav", wav(data, rate=rate), UNSUPPORTED, FAILED)
    for channels in (0, 9, 64, 255, 65535):
        yield _only(f"channels-{channels}.wav", wav(data * 70, channels=channels), UNSUPPORTED, FAILED, SHORT)
    for bits in (0, 33, 65535):
        yield _only(f"bits-{bits}.wav", wav(data, bits=bits), UNSUPPORTED)
    for bits in (1, 7, 64):
        yield Case(f"bits-{bits}.wav", wav(data, bits=bits), DAMAGED)
    for align in (0, 1, 3, 65535):
        yield Case(f"align-{align}.wav", wav(data, align=align), DAMAGED)
    for tag in (0, 0xFFFE, 0xFFFF):
        yield _only(f"codec-{tag:04x}.wav", wav(data, tag=tag), UNSUPPORTED)
    for tag in (0x50, 0x55, 0x161):
        yield Case(f"codec-{tag:04x}.wav", wav(data, tag=tag), DAMAGED)


def _lies() -> Iterator[Case]:
    second = (b"\1\2" * 44_100)[: 2 * 44_100]
    for name, claims in (("stream", 2**32 - 1), ("boast", 2**32 - 256), ("eight-hours", 8 * HOURS * 88_200)):
        yield _only(f"{name}.wav", wav(second * 2, claims=claims), OK)
    yield _only("modest.wav", wav(second, claims=100), OK)
    yield _only("nothing.wav", wav(second, claims=0), OK, SHORT)
    yield _only("eight-hours.flac", flac(1.5, promises=8 * HOURS), OK)
    yield _only("eternity.flac", flac(1.5, rate=44_100, promises=(2**36 - 1) // 44_100), OK)
    for name in ("song.m4a", "film.mp4"):
        yield _only(f"eight-hours-{name}", _longer_mp4(sound()[name]), OK, FAILED, LONG)
    yield _only("eight-hours.mp3", _longer_mp3(sound()["song.mp3"]), OK)
    yield Case("far-future.ogg", _late_ogg(sound()["song.ogg"]), DAMAGED)


def _longer_mp4(content: bytes) -> bytes:
    """Every duration in the header is eight hours at 44.1 kHz."""
    data = bytearray(content)
    for box, at in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        place = data.find(box)
        while place >= 0:
            data[place + at : place + at + 4] = struct.pack(">I", 8 * HOURS * 44_100)
            place = data.find(box, place + 4)
    return bytes(data)


def _longer_mp3(content: bytes) -> bytes:
    """The Xing header counts the frames of eight hours."""
    at = max(content.find(b"Xing"), content.find(b"Info"))
    assert at > 0
    return content[: at + 8] + struct.pack(">I", 8 * HOURS * 44_100 // 1152) + content[at + 12 :]


def _late_ogg(content: bytes) -> bytes:
    """The last page claims to end in a thousand years."""
    at = content.rfind(b"OggS")
    return content[: at + 6] + struct.pack("<q", 44_100 * HOURS * 24 * 365 * 1000) + content[at + 14 :]


# ── bombs ─────────────────────────────────────────────────────────────────────────────────────────────


def _crc_table(poly: int, width: int) -> list[int]:
    top, mask, table = 1 << width - 1, (1 << width) - 1, []
    for byte in range(256):
        crc = byte << width - 8
        for _ in range(8):
            crc = (crc << 1 ^ (poly if crc & top else 0)) & mask
        table.append(crc)
    return table


_CRC8, _CRC16 = _crc_table(0x07, 8), _crc_table(0x8005, 16)


def _crc(data: bytes, table: list[int], width: int) -> bytes:
    crc = 0
    for byte in data:
        crc = (crc << 8 ^ table[crc >> width - 8 ^ byte]) & (1 << width) - 1
    return crc.to_bytes(width // 8, "big")


def _flac_frame(number: int, channels: int, level: int) -> bytes:
    """65535 frames of one level: 11 bytes and 3 for each channel."""
    head = b"\xff\xf8\x70" + bytes([(channels - 1) << 4 | 8]) + chr(number).encode() + b"\xff\xfe"
    head += _crc(head, _CRC8, 8)
    body = head + (b"\0" + level.to_bytes(2, "big")) * channels
    return body + _crc(body, _CRC16, 16)


def flac(seconds: float, *, rate: int = 44_100, channels: int = 1, promises: float | None = None) -> bytes:
    """A FLAC file of constant levels by hand: an hour is some kilobytes. `promises`: the length in its header, s."""
    frames = max(1, math.ceil(seconds * rate / 65_535))
    total = frames * 65_535 if promises is None else int(promises * rate)
    shape = rate << 44 | (channels - 1) << 41 | 15 << 36 | total & (1 << 36) - 1
    info = b"\xff\xff\xff\xff" + bytes(6) + shape.to_bytes(8, "big") + bytes(16)
    head = b"fLaC\x80\0\0\x22" + info
    return head + b"".join(_flac_frame(number, channels, 1000 + number % 7) for number in range(frames))


def _bombs() -> Iterator[Case]:
    yield _only("nine-hours.flac", flac(9 * HOURS, rate=8_000), LONG)  # 60 KB, as float32 a gigabyte
    yield _only("five-hours-of-eight.flac", flac(5 * HOURS, rate=8_000, channels=8), LONG)
    yield _only("modest-nine-hours.flac", flac(9 * HOURS, rate=8_000, promises=2), LONG)
    yield _only("minutes.flac", flac(180, rate=48_000), OK)  # 1 : 4000
    yield _only("gzip-of-zeros.wav", gzip.compress(wav(bytes(16 << 20)), mtime=0), UNSUPPORTED)
    yield _only("unfolding.zip", _zip(), UNSUPPORTED)


def _not_numbers() -> Iterator[Case]:
    # The last of these is a number, but none that float32 knows.
    for value in (math.nan, math.inf, -math.inf, 1e300):
        samples = np.full(50_000, 0.25, "<f8")
        samples[-1] = value
        yield _only(f"{value}.wav", wav(samples.tobytes(), bits=64, tag=3), NAN)
    for name, pattern in (("quiet", b"\0\0\xc0\x7f"), ("signalling", b"\1\0\x80\x7f")):
        yield _only(f"nan-{name}.wav", wav(pattern * 44_100, bits=32, tag=3), NAN)
    loud = np.full(44_100, 3e38, "<f4").tobytes()
    yield _only("deafening.wav", wav(loud, bits=32, tag=3), OK)
    yield _only("subnormal.wav", wav(np.full(44_100, 1e-40, "<f4").tobytes(), bits=32, tag=3), OK)


# ── tags ──────────────────────────────────────────────────────────────────────────────────────────────


def _synchsafe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def id3(*frames: bytes, claims: int | None = None) -> bytes:
    """An ID3v2.4 tag, which may claim another size than it has."""
    body = b"".join(frames)
    return b"ID3\x04\0\0" + _synchsafe(len(body) if claims is None else claims) + body


def id3_frame(name: bytes, content: bytes, flags: bytes = b"\0\0") -> bytes:
    return name + _synchsafe(len(content)) + flags + content


def _picture(mime: bytes, content: bytes) -> bytes:
    return id3_frame(b"APIC", b"\0" + mime + b"\0\x03cover\0" + content)


def _flac_block(kind: int, content: bytes, claims: int | None = None) -> bytes:
    size = len(content) if claims is None else claims
    return bytes([kind]) + size.to_bytes(3, "big") + content


def _with_flac_block(block: bytes) -> bytes:
    """A FLAC file with another metadata block behind its first."""
    plain = flac(1.5)
    return plain[:4] + b"\0" + plain[5:42] + block + b"\x81\0\0\0" + plain[42:]


def _vorbis_comments(count: int) -> bytes:
    each = struct.pack("<I", 40) + b"COMMENT=" + b"x" * 32
    return struct.pack("<I", 4) + b"made" + struct.pack("<I", count) + each * count


def _tags() -> Iterator[Case]:
    song = sound()["song.mp3"]
    song = song[song.index(b"\xff\xfb") :]
    inflated = zlib.compress(bytes(64 << 20), 9)
    png = (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
        + struct.pack(">II", 2**31 - 1, 2**31 - 1)
        + b"\x08\6\0\0\0"
        + bytes(64)
    )
    texts = (id3_frame(b"TXXX", b"\x03k%d\0" % n + b"v" * 40) for n in range(10_000))
    tagged = {
        "huge-picture": id3(_picture(b"image/png", bytes(2 << 20))),
        "absurd-picture": id3(_picture(b"image/png", png)),
        "picture-of-a-page": id3(_picture(b"-->", b"file:///etc/passwd")),
        "many-pictures": id3(*[_picture(b"image/png", png)] * 500),
        "ten-thousand-texts": id3(*texts),
        "inflating-text": id3(id3_frame(b"TIT2", _synchsafe(64 << 20) + inflated, b"\0\x09")),
        "inflating-lyrics": id3(id3_frame(b"USLT", _synchsafe((1 << 28) - 1) + inflated, b"\0\x09")),
        "long-lyrics": id3(id3_frame(b"USLT", b"\x03eng\0" + b"la " * 500_000)),
        "wrong-encoding": id3(id3_frame(b"TIT2", b"\x03\xff\xfe\xfa caf\xe9")),
        "frame-past-the-end": id3(b"TIT2" + _synchsafe((1 << 28) - 1) + b"\0\0\x03x"),
        "no-frame-size": id3(*[b"TIT2" + bytes(6)] * 1000),
        "two-tags": id3(id3_frame(b"TIT2", b"\x03a")) * 200,
    }
    for name, tag in tagged.items():
        yield _only(f"{name}.mp3", tag + song, OK, UNSUPPORTED)
    for claims in (1 << 20, 250 << 20, (1 << 28) - 1):
        yield _only(f"tag-of-{claims}.mp3", id3(claims=claims) + song, UNSUPPORTED, FAILED)
    flacs = {
        "comments": _flac_block(4, _vorbis_comments(50_000)),
        "comments-that-lie": _flac_block(4, struct.pack("<I", 2**32 - 1) + bytes(64)),
        "comment-count-that-lies": _flac_block(4, struct.pack("<II", 0, 2**32 - 1) + bytes(64)),
        "picture": _flac_block(
            6, struct.pack(">II", 3, 9) + b"image/png" + bytes(20) + struct.pack(">I", 4) + b"abcd"
        ),
        "picture-that-lies": _flac_block(6, struct.pack(">II", 3, 2**32 - 1) + bytes(64)),
        "block-that-lies": _flac_block(1, bytes(64), claims=(1 << 24) - 1),
        "cue-sheet": _flac_block(5, bytes(395) + b"\xff" + bytes(64)),
        "seek-table": _flac_block(3, b"\xff" * 18 * 50_000),
    }
    for name, block in flacs.items():
        yield _only(f"{name}.flac", _with_flac_block(block), OK, FAILED, UNSUPPORTED, SHORT)


# ── structures ────────────────────────────────────────────────────────────────────────────────────────


def _box(name: bytes, content: bytes, claims: int | None = None) -> bytes:
    return struct.pack(">I", len(content) + 8 if claims is None else claims) + name + content


def _nested(levels: int) -> bytes:
    """A box in a box in a box."""
    sizes = (8 * (levels - level) for level in range(levels))
    return b"".join(struct.pack(">I", size) + b"moov" for size in sizes)


def _structures() -> Iterator[Case]:
    whole = sound()["song.wav"]
    small = b"junk\4\0\0\0abcd"
    yield _only("forty-chunks.wav", whole[:12] + small * 40 + whole[12:], OK)
    yield _only("many-chunks.wav", whole[:12] + small * 100_000 + whole[12:], OK, FAILED, UNSUPPORTED)
    yield _only(
        "endless-chunk.wav", whole[:12] + b"junk\xff\xff\xff\xff" + whole[12:], FAILED, UNSUPPORTED, SHORT
    )
    yield _only("no-format.wav", b"RIFF\x24\0\0\0WAVEdata\x10\0\0\0" + bytes(16), FAILED, UNSUPPORTED)
    yield Case("two-formats.wav", whole[:36] + whole[12:36] + whole[36:], DAMAGED)
    ftyp = _box(b"ftyp", b"M4A \0\0\0\0M4A mp42isom")
    boxes = {
        "nested": _nested(20_000),
        "endless": _box(b"moov", b"", claims=2**32 - 1),
        "zero-sized": _box(b"moov", b"", claims=0) * 2000,
        "backwards": _box(b"moov", b"", claims=7) * 2000,
        "large": struct.pack(">I", 1) + b"moov" + struct.pack(">Q", 2**63 - 1),
        "many": _box(b"free", b"") * 100_000,
    }
    for name, content in boxes.items():
        yield _only(f"{name}.m4a", ftyp + content, FAILED, UNSUPPORTED, SHORT)
    for table in (b"stts", b"stsz", b"stsc", b"stco", b"elst"):
        yield Case(f"table-{table.decode()}.m4a", _count_of(sound()["song.m4a"], table), DAMAGED)
    ebml = sound()["song.webm"]
    yield _only("unknown-size.webm", ebml[:4] + b"\x01" + b"\xff" * 7 + ebml[5:], OK, FAILED, UNSUPPORTED)
    yield _only(
        "void.webm", ebml[:60] + b"\xec\x08\xff\xff\xff\xff\xff\xff\xff" + ebml[60:], OK, FAILED, UNSUPPORTED
    )
    yield _only("only-a-head.mkv", b"\x1a\x45\xdf\xa3" + b"\x80" * 4000, FAILED, UNSUPPORTED)
    page = b"OggS\0\2" + bytes(20) + b"\xff" + bytes(255)
    yield _only("empty-pages.ogg", page * 2000, FAILED, UNSUPPORTED, SHORT)
    yield _only("many-streams.ogg", b"".join(_many_streams(2000)), FAILED, UNSUPPORTED, SHORT)
    adts = b"\xff\xf1\x50\x80\x01\x1f\xfc" + bytes(1)
    yield Case("hollow.aac", adts * 20_000, DAMAGED)
    yield Case("hollow.mp3", (b"\xff\xfb\x90\x64" + bytes(413)) * 300, DAMAGED)


def _count_of(content: bytes, table: bytes) -> bytes:
    """The table claims four billion entries."""
    at = content.find(table)
    place = at + (12 if table == b"stsz" else 8)
    return content[:place] + b"\xff" * 4 + content[place + 4 :] if at > 0 else content


def _many_streams(count: int) -> Iterator[bytes]:
    for serial in range(count):
        head = b"\x01vorbis\0\0\0\0\2\x44\xac\0\0" + bytes(12) + b"\xb8\x01"
        yield b"OggS\0\2" + bytes(8) + struct.pack("<III", serial, 0, 0) + bytes([1, len(head)]) + head


def main() -> None:
    """Write the corpus, and some mutations, into a folder."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(corpus()):
        (folder / f"{number:03}-{case.name.rpartition('/')[2]}").write_bytes(case.content)
    for name, content in islice(mutations(0), 100):
        (folder / f"mutated-{name}").write_bytes(content)


if __name__ == "__main__":
    main()
