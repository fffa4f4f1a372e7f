"""The waveform as it is drawn: the lowest and the highest sample of every 64, 256, 1024… frames.

The decoder's child writes the finest level while it decodes (see `Peaks` in child.py); `complete` folds it into the
coarser ones, each from the one before. All levels stand in one file one after another, finest first, without a header:
`PeaksShape` says where each begins. A level is int16, little-endian, `(points, lanes, 2)`: low, high; the lanes are the
mean of the channels and then each channel, one lane for a mono file. The last point may stand for fewer frames.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Pairs = NDArray[np.int16]
"""int16 `(points, channels, 2)`: low, high."""

LEVELS: tuple[int, ...] = tuple(64 * 4**n for n in range(7))
"""Frames that a point of each level stands for, finest first."""

FORMAT_VERSION = 1
_FOLD = 4
_BLOCK = 1 << 16  # points folded at once, a multiple of _FOLD


@dataclass(frozen=True, slots=True)
class PeaksShape:
    """What the peaks of one recording measure."""

    sample_rate: int
    channels: int
    frames: int

    @property
    def lanes(self) -> int:
        """The mix and the channels; one for mono."""
        return 1 if self.channels == 1 else 1 + self.channels

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return sum(self.points(level) for level in LEVELS) * self.width

    @property
    def width(self) -> int:
        """Bytes of a point."""
        return self.lanes * 4

    def points(self, level: int) -> int:
        """How many a level has."""
        return -(-self.frames // level)

    def offset(self, level: int) -> int:
        """Where a level begins, in bytes."""
        return sum(self.points(finer) for finer in LEVELS if finer < level) * self.width

    def level_for(self, frames: int, most: int) -> int:
        """The finest level that shows so many frames in at most `most` points, else the coarsest."""
        return next((level for level in LEVELS if -(-frames // level) <= most), LEVELS[-1])


def complete(path: Path, shape: PeaksShape) -> None:
    """Append the coarser levels to a file that holds the finest. Memory does not grow with the file. Blocking.

    Raises ValueError when the file does not hold just the finest level.
    """
    if path.stat().st_size != shape.points(LEVELS[0]) * shape.width:
        raise ValueError("not the finest level of these peaks")
    with path.open("r+b") as file:
        for finer in LEVELS[:-1]:
            for start, block in _blocks(path, shape, finer):
                file.seek(shape.offset(finer * _FOLD) + start // _FOLD * shape.width)
                file.write(fold(block).astype("<i2").tobytes())
            file.flush()


def fold(pairs: Pairs) -> Pairs:
    """The next coarser level: the lowest low and the highest high of each four points."""
    starts = np.arange(0, len(pairs), _FOLD)
    low = np.minimum.reduceat(pairs[..., 0], starts, axis=0)
    high = np.maximum.reduceat(pairs[..., 1], starts, axis=0)
    return np.stack((low, high), axis=-1)


def _blocks(path: Path, shape: PeaksShape, level: int) -> Iterator[tuple[int, Pairs]]:
    """(first point, points) of a level, in order."""
    for start in range(0, points := shape.points(level), _BLOCK):
        count = min(_BLOCK, points - start)
        at = shape.offset(level) + start * shape.width
        flat = np.fromfile(path, "<i2", count * shape.lanes * 2, offset=at)
        yield start, flat.reshape(count, shape.lanes, 2)


def chosen(raw: bytes, shape: PeaksShape, channels: Literal["mix", "split"]) -> Pairs:
    """Points as they lie in the file, less the lanes that were not asked for."""
    pairs = np.frombuffer(raw, "<i2").reshape(-1, shape.lanes, 2)
    return pairs[:, -shape.channels :] if channels == "split" else pairs[:, :1]


def narrowed(pairs: Pairs) -> NDArray[np.int8]:
    """To 8 bits, towards zero: silence with a little noise stays a line."""
    return (pairs / 256).astype(np.int8)


def as_dat(pairs: Pairs, sample_rate: int, level: int, bits: int) -> bytes:
    """Audiowaveform's binary format, version 2: six little-endian 32-bit numbers (version 2; 1 for 8 bits, else 0; sample
    rate; frames a point; points; channels), then low and high of each channel, point by point.
    """
    points, channels, _ = pairs.shape
    header = struct.pack("<iIiiIi", 2, bits == 8, sample_rate, level, points, channels)
    return header + (narrowed(pairs) if bits == 8 else pairs.astype("<i2", copy=False)).tobytes()


def as_json(pairs: Pairs, sample_rate: int, level: int, bits: int) -> bytes:
    """Audiowaveform's JSON, version 2, which wavesurfer and peaks.js read."""
    points, channels, _ = pairs.shape
    data: Sequence[int] = (narrowed(pairs) if bits == 8 else pairs).ravel().tolist()
    body = {
        "version": 2,
        "channels": channels,
        "sample_rate": sample_rate,
        "samples_per_pixel": level,
        "bits": bits,
        "length": points,
        "data": data,
    }
    return json.dumps(body, separators=(",", ":")).encode()
