"""A light copy to listen to before the master has come: mp3, which every browser plays."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neuralib.audio.recording import Recording, Samples
from neuralib.audio.resample import resample_blocks

MEDIA_TYPE = "audio/mpeg"
VERSION = 1

_RATES = (32_000, 44_100, 48_000)
_BLOCK_FRAMES = 1 << 16
_LEVEL = 0.5
"""libsndfile counts from 0 (best sound) to 1 (smallest file): about 130 kbit/s for stereo."""


def encode_preview(recording: Recording, path: Path) -> None:
    """Write it; blocking, memory does not grow with the recording. One or two channels stay, more become their mean; rates
    that mp3 has no good use for become 44.1 or 48 kHz; what is beyond full scale is clipped.
    """
    import soundfile

    rate = recording.sample_rate
    target = rate if rate in _RATES else 44_100 if rate % 11_025 == 0 else 48_000
    blocks = resample_blocks(_narrow(recording), rate, target, quality="HQ")
    channels = recording.channels if recording.channels <= 2 else 1
    try:
        with soundfile.SoundFile(
            os.fspath(path),
            "w",
            samplerate=target,
            channels=channels,
            format="MP3",
            subtype="MPEG_LAYER_III",
            compression_level=_LEVEL,
            bitrate_mode="VARIABLE",
        ) as file:
            for block in blocks:
                file.write(np.clip(block, -1, 1).T)
    except (soundfile.LibsndfileError, AssertionError) as error:  # a short write is an AssertionError there
        raise OSError("libsndfile could not write the preview") from error


def _narrow(recording: Recording) -> Iterator[Samples]:
    for block in recording.blocks(_BLOCK_FRAMES):
        yield block if recording.channels <= 2 else block.mean(axis=0, keepdims=True)
