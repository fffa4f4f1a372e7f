"""Four stems to FLAC: the way a worker writes them, against `demucs.audio.save_audio`."""

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from neuralib.bench.pairs import Case, Gate, Pair

RATE = 44_100
SECONDS = 60.0
STEMS = ("drums", "bass", "other", "vocals")


def stems() -> Any:
    """`(4, 2, frames)` on the grid of 16 bits: moving tones under noise, as compressible as music."""
    import numpy as np

    rng = np.random.default_rng(0)
    time = np.arange(round(SECONDS * RATE)) / RATE
    made = []
    for number in range(len(STEMS)):
        tones = sum(np.sin(2 * np.pi * f * (number + 1) * time * (1 + 0.001 * time)) for f in (55, 220, 987))
        swell = 0.1 * (1 + np.sin(2 * np.pi * 0.5 * time))
        made.append(swell * (tones + 0.1 * rng.standard_normal((2, len(time)))))
    return (np.rint(np.stack(made) * 2**15).clip(-(2**15), 2**15 - 1) / 2**15).astype(np.float32)


def encoding() -> Pair:
    import numpy as np
    import soundfile
    import torch
    from demucs.audio import save_audio

    from neuralib.audio import RecordingWriter, encode

    audio = stems()
    tensors = [torch.from_numpy(stem) for stem in audio]
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    recordings = []
    for name, stem in zip(STEMS, audio, strict=True):
        with RecordingWriter(folder / f"{name}.f32", RATE, 2, "pcm_16") as writer:
            writer.write(stem)
            recordings.append(writer.close())

    def ours() -> list[Path]:
        paths = [folder / f"{name}-ours.flac" for name in STEMS]
        with ThreadPoolExecutor(len(STEMS)) as pool:
            list(pool.map(lambda pair: encode(*pair, format="flac"), zip(recordings, paths, strict=True)))
        return paths

    def stock() -> list[Path]:
        paths = [folder / f"{name}-stock.flac" for name in STEMS]
        for tensor, path in zip(tensors, paths, strict=True):
            save_audio(tensor, path, RATE)
        return paths

    def gate(mine: list[Path], theirs: list[Path]) -> Gate:
        """Ours are the samples that went in. Stock multiplies by 32767 and cuts, which takes up to two steps off."""
        left, right = (np.stack([soundfile.read(p, dtype="int16")[0].T for p in ps]) for ps in (mine, theirs))
        truth = np.rint(audio.astype(np.float64) * 2**15).astype(np.int32)
        off = int(np.abs(left.astype(np.int32) - right).max())
        return Gate(
            np.array_equal(left, truth) and off <= 2, f"ours bit for bit, stock's {off} steps off at most"
        )

    return Pair(ours, stock, gate, audio_s=SECONDS * len(STEMS))


def no_ffmpeg() -> str | None:
    return None if shutil.which("ffmpeg") else "stock needs the program ffmpeg"


CASES = [
    Case(
        name="io.encode",
        against="`demucs.audio.save_audio`, 4 stems of 60 s to FLAC",
        gate="samples equal",
        floor=3.0,
        aim=5.0,
        make=encoding,
        unmeasured=no_ffmpeg,
    )
]
