"""What a file claims about its own length, where FFmpeg does not tell whether the end is missing.

FFmpeg makes up a length from the bit rate of an mp3, takes that of an Ogg file from its last page whichever page
that is, and believes the size of a WAV file more than its header. Reading the three places takes some bytes each.
"""

import io
import struct
from dataclasses import dataclass
from typing import IO

_TOLERANCE_S = 0.1
_TAIL_BYTES = 1 << 17  # two Ogg pages of the largest size
_MOST_CHUNKS = 100
_ABSURD = 0x7FFF0000  # programs that write into a pipe put numbers like these where the size is to be


@dataclass(frozen=True, slots=True)
class Claims:
    """`cut`: the end is missing. `lied`: the size in the header is none. `counted`: FFmpeg's length is counted in
    the header and can be held against what decodes.
    """

    cut: bool = False
    lied: bool = False
    counted: bool = True


def claims(media: IO[bytes], sniffed: str, tag_bytes: int) -> Claims:
    """What `media` claims, which starts like `sniffed` behind `tag_bytes` bytes of ID3 tag. Blocking; seeks."""
    if sniffed == "wav":
        return _of_wav(media)
    if sniffed == "ogg":
        return Claims(cut=_ogg_is_cut(media), counted=False)
    if sniffed == "mp3":
        media.seek(tag_bytes)
        first_frame = media.read(256)
        return Claims(counted=any(mark in first_frame for mark in (b"Xing", b"Info", b"VBRI")))
    return Claims(counted=sniffed != "aac")


def _of_wav(media: IO[bytes]) -> Claims:
    """Hold the size of the `data` chunk against what is there."""
    end = media.seek(0, io.SEEK_END)
    at, byte_rate = 12, 0
    for _ in range(_MOST_CHUNKS):
        media.seek(at)
        chunk = media.read(20)
        if len(chunk) < 8:
            return Claims(cut=True)
        name, size = struct.unpack_from("<4sI", chunk)
        if name == b"fmt " and len(chunk) == 20:
            byte_rate = struct.unpack_from("<I", chunk, 16)[0]
        if name == b"data":
            missing = at + 8 + size - end
            known = size != 0xFFFFFFFF  # by convention: the writer did not know; in RF64, `ds64` does
            short = known and missing > _TOLERANCE_S * byte_rate
            return Claims(cut=short and size < _ABSURD, lied=short and size >= _ABSURD)
        at += 8 + size + size % 2
    return Claims()


def _ogg_is_cut(media: IO[bytes]) -> bool:
    """An Ogg stream ends with a complete page that says so (RFC 3533, section 6: header type 0x04)."""
    size = media.seek(0, io.SEEK_END)
    media.seek(max(0, size - _TAIL_BYTES))
    tail = media.read(_TAIL_BYTES)
    page = tail[max(tail.rfind(b"OggS"), 0) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return not page[5] & 4 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
