"""Audio on disk as plain float32, so that a two-hour track costs no more memory than a short one.

A `Recording` is what executors read and write: raw little-endian float32, channels interleaved, no header.
Decoding makes one, a separation makes one a stem, encoding ends one. Arrays handed out are `(channels,
frames)`; the file is frame-major so that any span of time is one contiguous read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""float32 `(channels, frames)`, full scale ±1."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Decoded audio in a file. `subtype` is the sample format of the source it came from, which encoding
    goes back to by default: pcm_16, pcm_24, pcm_32, float or lossy.
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int
    subtype: str = "float"

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.frames / self.sample_rate

    def read(self, start: int = 0, stop: int | None = None) -> Samples:
        """Frames [start, stop) as float32 `(channels, n)`; clipped to the recording's ends."""
        stop = self.frames if stop is None else min(stop, self.frames)
        start = max(start, 0)
        count = max(stop - start, 0)
        flat = np.fromfile(
            self.path, dtype="<f4", count=count * self.channels, offset=start * self.channels * 4
        )
        return np.ascontiguousarray(flat.reshape(-1, self.channels).T)

    def blocks(self, frames: int = 1 << 18) -> Iterator[Samples]:
        """The whole recording in order, at most `frames` frames at a time."""
        for start in range(0, self.frames, frames):
            yield self.read(start, start + frames)


class RecordingWriter:
    """Appends blocks to a new recording; `close()` returns it. Leaving the `with` block closes too."""

    def __init__(self, path: Path, sample_rate: int, channels: int, subtype: str = "float") -> None:
        self._recording = Recording(path, sample_rate, channels, 0, subtype)
        self._file = path.open("wb")
        self._frames = 0

    def write(self, block: Samples) -> None:
        """Append float32 `(channels, n)`."""
        if block.shape[0] != self._recording.channels:
            raise ValueError(f"{block.shape[0]} channels written to {self._recording.channels}")
        self._file.write(np.ascontiguousarray(block.T, dtype="<f4").tobytes())
        self._frames += block.shape[1]

    def close(self) -> Recording:
        """Flush and return the finished recording."""
        if not self._file.closed:
            self._file.close()
        r = self._recording
        return Recording(r.path, r.sample_rate, r.channels, self._frames, r.subtype)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
