"""A stem file on disk: an MP4 with five recordings side by side, and an atom `stem` in moov/udta that names four of them.

FFmpeg writes the MP4 with its index, `moov`, at the end, so that the atom can be put in without moving any audio.
"""

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from neuralib.errors import ExecutorFailed
from neuralib.executors import Recording

Codec = Literal["alac", "aac"]

BLOCK = 1 << 15
"""Frames of each recording that are written in turn."""
AAC_BITS_PER_S = 256_000
MOST_INDEX = 256 << 20
"""Bytes of `moov`: of five streams of four hours it has some 30 MB."""


@dataclass(frozen=True, slots=True)
class Stem:
    """What a player shows of a stem."""

    name: str
    color: str


def write(
    path: Path, recordings: Sequence[Recording], *, codec: Codec, bits: int, on_block: Callable[[], None]
) -> None:
    """The first recording is what plays where nobody knows of stems. All are stereo, of one rate, and padded with silence
    to the longest; `bits` (16 or 24) is ALAC's. Calls `on_block` after each block of frames.
    """
    import av

    rate, frames = recordings[0].sample_rate, max(each.frames for each in recordings)
    kind = "fltp" if codec == "aac" else "s16p" if bits == 16 else "s32p"
    with av.open(path, "w", format="mp4") as file:
        streams: list[Any] = []
        for place in range(len(recordings)):
            stream: Any = file.add_stream(codec, rate=rate, layout="stereo", format=kind)
            if codec == "aac":
                stream.bit_rate = AAC_BITS_PER_S
            stream.disposition = av.stream.Disposition.default if place == 0 else av.stream.Disposition(0)
            streams.append(stream)
        for start in range(0, frames, BLOCK):
            length = min(BLOCK, frames - start)
            for stream, recording in zip(streams, recordings, strict=True):
                frame = av.AudioFrame.from_ndarray(
                    _raw(recording, start, length, kind), format=kind, layout="stereo"
                )
                frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
                file.mux(stream.encode(frame))
            on_block()
        for stream in streams:
            file.mux(stream.encode(None))


def describe(stems: Sequence[Stem]) -> bytes:
    """The content of the atom: which stems there are. Its processing of the sum is off, so that they add up to the mix."""
    return json.dumps(
        {
            "mastering_dsp": {
                "compressor": {
                    "enabled": False, "ratio": 3, "output_gain": 0.5, "attack": 0.003, "release": 0.3,
                    "threshold": 0, "hp_cutoff": 300, "input_gain": 0.5, "dry_wet": 50,
                },
                "limiter": {"enabled": False, "release": 0.05, "threshold": 0, "ceiling": -0.35},
            },
            "version": 1,
            "stems": [{"name": stem.name, "color": stem.color} for stem in stems],
        },
        separators=(",", ":"),
    ).encode()  # fmt: skip


def put_atom(path: Path, content: bytes) -> None:
    """Into the index at the file's end. Raises ExecutorFailed when it is not there."""
    with path.open("r+b") as file:
        start, index = _index(file)
        file.seek(start)
        file.write(_with_atom(index, _box(b"stem", content)))
        file.truncate()


def read_atom(path: Path) -> dict[str, Any] | None:
    """What `put_atom` put in."""
    with path.open("rb") as file:
        _, index = _index(file)
    for kind, body in _children(index[8:]):
        if kind == b"udta":
            for inner, content in _children(body):
                if inner == b"stem":
                    found: dict[str, Any] = json.loads(content)
                    return found
    return None


def _index(file: BinaryIO) -> tuple[int, bytes]:
    """Where the box `moov` begins, and the box. It must be the last."""
    at, end = 0, file.seek(0, 2)
    while at < end:
        file.seek(at)
        size, kind = struct.unpack(">L4s", file.read(8))
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
        if size < 8:
            break
        if kind == b"moov" and at + size == end and size < MOST_INDEX:
            file.seek(at)
            return at, file.read(size)
        at += size
    raise ExecutorFailed("the MP4 has no index at its end")


def _with_atom(index: bytes, atom: bytes) -> bytes:
    """The index with the atom in its `udta`, which is made when there is none."""
    boxes = _children(index[8:])
    data = next((body for kind, body in boxes if kind == b"udta"), b"")
    others = [_box(kind, body) for kind, body in boxes if kind != b"udta"]
    return _box(b"moov", b"".join(others) + _box(b"udta", data + atom))


def _children(body: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at + 8 <= len(body):
        size, kind = struct.unpack_from(">L4s", body, at)
        if not 8 <= size <= len(body) - at:
            raise ExecutorFailed("the MP4 has an index that cannot be read")
        found.append((kind, body[at + 8 : at + size]))
        at += size
    return found


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">L4s", 8 + len(body), kind) + body


def _raw(recording: Recording, start: int, length: int, kind: str) -> Any:
    """`(2, length)` in the encoder's own numbers; mono goes to both sides."""
    block = np.zeros((2, length), np.float32)
    part = recording.read(start, start + length)
    block[:, : part.shape[1]] = part
    if kind == "fltp":
        return block
    scale, shift = (1 << 15, 0) if kind == "s16p" else (1 << 23, 8)
    whole = np.clip(np.rint(block.astype(np.float64) * scale), -scale, scale - 1).astype(np.int32)
    return (whole << shift).astype(np.int16 if kind == "s16p" else np.int32)
