"""What a file is, judged by its first bytes: names and media types lie, magic numbers seldom do.

Nothing reaches a decoder unless `sniff` knows it. FFmpeg on its own takes a guess at anything, and its guesses
have opened playlists, sockets and neighbouring files.
"""

from collections.abc import Callable

HEAD_BYTES = 1 << 16
"""How much of a file `sniff` wants to see."""

_NOT_AUDIO = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a rar archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"MThd", "a MIDI file: it holds notes and no sound"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"#EXTM3U", "a playlist: upload the recordings it names"),
    (b"ffconcat", "a playlist: upload the recordings it names"),
    (b"[playlist]", "a playlist: upload the recordings it names"),
    (b"v=0", "a stream description: upload a recording of the stream"),
    (b"<", "an HTML or XML document"),
)

_MAGIC = {b"fLaC": "flac", b"OggS": "ogg", b"caff": "caf"}

# kbit/s by the bitrate index of an MPEG audio header, for (MPEG-1?, layer)
_BITRATES = {
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG1_RATES = (44_100, 48_000, 32_000)
_VERSION_DIVISOR = {3: 1, 2: 2, 0: 4}  # MPEG-1, MPEG-2, MPEG-2.5: each halves the sample rate
_FRAMES_IN_A_ROW = 3


def sniff(head: bytes) -> str | None:
    """The container that a file starts as, or None when it is none that NeuraLib decodes.

    `head` is the file's first `HEAD_BYTES` (or all of a shorter file). One of wav, flac, ogg, aiff, caf, mp4,
    webm, mkv, mp3, aac. An ID3 tag that fills the whole head counts as mp3: what follows it, the decoder sees.
    """
    if head[:3] == b"ID3" and len(head) >= 10:
        behind = id3_size(head)
        return (sniff(head[behind:]) if behind < len(head) else "mp3") if behind else None
    return _by_magic(head) or _by_frames(head)


def id3_size(head: bytes) -> int:
    """Bytes of the ID3v2 tag at the start of `head`, its 10-byte header included; 0 when there is none."""
    if head[:3] != b"ID3" or len(head) < 10 or any(byte & 0x80 for byte in head[6:10]):
        return 0
    return 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])


def describe(head: bytes) -> str:
    """In words for a person: what a file is that `sniff` does not take."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return next(
        (words for magic, words in _NOT_AUDIO if text.startswith(magic)), "no audio file that we know"
    )


def _by_magic(head: bytes) -> str | None:
    first, form = head[:4], head[8:12]
    if first in {b"RIFF", b"RF64", b"BW64"}:
        return "wav" if form == b"WAVE" else None
    if first == b"FORM":
        return "aiff" if form in {b"AIFF", b"AIFC"} else None
    if first == b"\x1a\x45\xdf\xa3":
        return "webm" if b"webm" in head[:64] else "mkv"
    return "mp4" if head[4:8] == b"ftyp" else _MAGIC.get(first)


def _by_frames(head: bytes) -> str | None:
    """mp3 and raw AAC have no magic number: look for headers that point at one another."""
    at = head.find(b"\xff")
    while at >= 0:
        for name, length in (("mp3", _mpeg_length), ("aac", _adts_length)):
            if _chained(head, at, length):
                return name
        at = head.find(b"\xff", at + 1)
    return None


def _chained(head: bytes, at: int, length: Callable[[bytes], int]) -> bool:
    """Do three headers follow one another from `at`? At the very start of a short file fewer will do."""
    start, seen = at, 0
    while seen < _FRAMES_IN_A_ROW and at + 7 <= len(head):
        step = length(head[at : at + 7])
        if not step:
            return False
        at, seen = at + step, seen + 1
    return seen == _FRAMES_IN_A_ROW or (start == 0 and seen > 0)


def _mpeg_length(header: bytes) -> int:
    """Bytes of the MPEG layer II or III frame with this header; 0 when it is no such header."""
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if header[1] & 0xE0 != 0xE0 or version == 1 or layer not in {2, 3} or bitrate in {0, 15} or rate == 3:
        return 0
    kbits = _BITRATES[version == 3, layer][bitrate - 1]
    hertz = _MPEG1_RATES[rate] // _VERSION_DIVISOR[version]
    slots = 72_000 if version != 3 and layer == 3 else 144_000
    return slots * kbits // hertz + (header[2] >> 1 & 1)


def _adts_length(header: bytes) -> int:
    """Bytes of the ADTS frame with this header; 0 when it is no such header."""
    if header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else 0
