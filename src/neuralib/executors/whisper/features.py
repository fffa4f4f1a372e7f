"""From a recording to what Whisper's encoder reads: the log-mel spectrogram at 16 kHz, computed block by block.

The numbers are those of `whisper.log_mel_spectrogram(audio, padding=480000)`: Hann window of 400 samples, a hop of
160, openai's mel filters, log10 clamped at 1e-10 and at 8 below the loudest value of the whole recording. That
last step is why normalisation waits until a window is asked for.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from whisper.audio import mel_filters

from neuralib.audio import Recording, resample_blocks, resampled_frames
from neuralib.errors import NonFiniteAudio

RATE = 16_000
N_FFT = 400
HOP = 160
FRAMES_PER_SECOND = RATE // HOP
WINDOW = 3000
"""Frames the encoder looks at once: 30 s."""
BLOCK_S = 30
FLOOR = -10.0
"""log10 of silence."""

Mono = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Features:
    """The spectrogram of a recording. One frame is 10 ms; `frames` is how many hold sound of the recording, and
    `log` goes on for one window of silence behind them.
    """

    log: Tensor
    """float32 `(n_mels, frames + 3000)`, not yet normalised."""
    power: NDArray[np.float32]
    """Mean square of every frame, `(frames,)`."""
    top: float
    """The largest value of `log`."""

    @property
    def frames(self) -> int:
        return int(self.log.shape[1]) - WINDOW

    def window(self, seek: int, size: int = WINDOW) -> Tensor:
        """Frames [seek, seek + size), normalised, then zeros up to a whole window: float32 `(n_mels, 3000)`."""
        window = torch.zeros(self.log.shape[0], WINDOW)
        window[:, :size] = (torch.clamp(self.log[:, seek : seek + size], min=self.top - 8.0) + 4.0) / 4.0
        return window

    def is_silent(self, start: int, stop: int, dbfs: float) -> bool:
        """Whether no frame of [start, stop) is louder than `dbfs` (RMS over 10 ms, full scale 0)."""
        span = self.power[max(start, 0) : max(stop, start + 1)]
        return span.size == 0 or float(span.max()) <= 10 ** (dbfs / 10)


def extract(recording: Recording, n_mels: int, tick: Callable[[], None]) -> Features:
    """Features of a recording of any rate and channel count; `tick` is called every block. Memory: 320 bytes for
    each 10 ms at 80 mels, and one block. Raises NonFiniteAudio.
    """
    frames = resampled_frames(recording.frames, recording.sample_rate, RATE) // HOP
    log = torch.empty(n_mels, frames + WINDOW)
    power = np.empty(frames + WINDOW, np.float32)
    filters, hann = mel_filters("cpu", n_mels), torch.hann_window(N_FFT)
    silence = np.zeros(WINDOW * HOP + N_FFT // 2, np.float32)
    done = 0
    for piece in _framed(chain(mono_16k(recording), [silence])):
        tick()
        audio = torch.from_numpy(piece)
        spectrum = torch.stft(audio, N_FFT, HOP, window=hann, center=False, return_complex=True)
        mel = torch.clamp(filters @ (spectrum.abs() ** 2), min=10**FLOOR).log10()
        stop = min(done + mel.shape[1], log.shape[1])
        log[:, done:stop] = mel[:, : stop - done]
        middle = audio.unfold(0, N_FFT, HOP)[:, N_FFT // 2 - HOP // 2 : N_FFT // 2 + HOP // 2]
        power[done:stop] = middle.square().mean(1).numpy()[: stop - done]
        done = stop
    top = float(log.max())
    if not np.isfinite(top):
        raise NonFiniteAudio
    return Features(log, power[:frames], top)


def mono_16k(recording: Recording) -> Iterator[Mono]:
    """The mean of the channels at 16 kHz, block by block. Raises NonFiniteAudio."""
    for block in resample_blocks(_means(recording), recording.sample_rate, RATE, quality="HQ"):
        yield block[0]


def _means(recording: Recording) -> Iterator[Mono]:
    for block in recording.blocks(BLOCK_S * recording.sample_rate):
        if not np.isfinite(block).all():
            raise NonFiniteAudio
        yield block.mean(axis=0, keepdims=True, dtype=np.float32)


def _framed(blocks: Iterable[Mono]) -> Iterator[Mono]:
    """Pieces that hold whole frames: each starts where the next frame of the piece before would have, and the
    first is mirrored at its start like a centred STFT.
    """
    pending, mirrored = np.zeros(0, np.float32), False
    for block in blocks:
        pending = np.concatenate((pending, block))
        if not mirrored:
            if pending.size <= N_FFT // 2:
                continue
            pending, mirrored = np.concatenate((pending[N_FFT // 2 : 0 : -1], pending)), True
        count = (pending.size - N_FFT) // HOP + 1
        if count > 0:
            yield pending[: (count - 1) * HOP + N_FFT]
            pending = pending[count * HOP :]
