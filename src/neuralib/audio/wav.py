"""WAV headers, by hand, so that equal audio makes equal bytes: libsndfile stamps the time into float files.

Microsoft's RIFF WAVE for up to 4 GiB, EBU Tech 3306 (RF64) beyond; WAVE_FORMAT_EXTENSIBLE for more than two
channels.
"""

import struct

WIDTHS = {"pcm_16": 2, "pcm_24": 3, "pcm_32": 4, "float": 4}
"""Bytes of one sample of each subtype."""

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # of KSDATAFORMAT_SUBTYPE_*, behind the 2-byte tag
_SPEAKERS = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x13F, 8: 0x63F}  # the usual masks: 3.0, quad, 5.0, 5.1 …
_LARGEST = 0xFFFFFFFF


def header(subtype: str, sample_rate: int, channels: int, frames: int) -> bytes:
    """Everything in front of the samples of a file that will hold exactly `frames` frames."""
    size = frames * channels * WIDTHS[subtype]
    chunks = _format(subtype, sample_rate, channels)
    if subtype == "float":
        chunks += struct.pack("<4sII", b"fact", 4, min(frames, _LARGEST))
    riff_size = 4 + len(chunks) + 8 + size + size % 2
    if riff_size <= _LARGEST:
        return (
            struct.pack("<4sI4s", b"RIFF", riff_size, b"WAVE") + chunks + struct.pack("<4sI", b"data", size)
        )
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, riff_size + 36, size, frames, 0)
    return (
        struct.pack("<4sI4s", b"RF64", _LARGEST, b"WAVE")
        + ds64
        + chunks
        + struct.pack("<4sI", b"data", _LARGEST)
    )


def _format(subtype: str, sample_rate: int, channels: int) -> bytes:
    """The `fmt ` chunk."""
    width = WIDTHS[subtype]
    tag = _FLOAT if subtype == "float" else _PCM
    shape = struct.pack(
        "<HIIHH", channels, sample_rate, sample_rate * channels * width, channels * width, 8 * width
    )
    if channels > 2:
        extension = struct.pack("<HHIH", 22, 8 * width, _SPEAKERS.get(channels, 0), tag) + _GUID_TAIL
        body = struct.pack("<H", _EXTENSIBLE) + shape + extension
    else:
        body = struct.pack("<H", tag) + shape + (b"\0\0" if subtype == "float" else b"")
    return struct.pack("<4sI", b"fmt ", len(body)) + body
