"""Small recordings and files, made on the spot: nothing binary is kept in the repository."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from neuralib.audio import Samples


def noise(seconds: float = 2.0, rate: int = 44_100, channels: int = 2, seed: int = 0) -> Samples:
    """Noise with a slow swell, -20 dBFS: it correlates with itself at one lag only."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * rate)
    swell = 0.1 + 0.05 * np.sin(2 * np.pi * 0.7 * np.arange(frames) / rate)
    return (rng.standard_normal((channels, frames)) * swell).astype(np.float32)


def on_grid(samples: Samples, bits: int) -> Samples:
    """Rounded to what `bits` bits hold, so that a decoder can be held to equality."""
    scale = 2.0 ** (bits - 1)
    return (np.clip(np.rint(samples * scale), -scale, scale - 1) / scale).astype(np.float32)


def _add_pictures(file: Any, *, cover: bool = False) -> Any:
    stream = file.add_stream("png" if cover else "mpeg4", rate=10)
    stream.width = stream.height = 32
    stream.pix_fmt = "rgb24" if cover else "yuv420p"
    if cover:
        stream.disposition = av.stream.Disposition.attached_pic
    return stream


def _show(file: Any, pictures: Any) -> None:
    for _ in range(5):
        file.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
    file.mux(pictures.encode(None))


def _raw(samples: Samples, sample_format: str) -> NDArray[Any]:
    kind, planar = sample_format.removesuffix("p"), sample_format.endswith("p")
    scaled = {
        "flt": lambda: samples,
        "s16": lambda: np.rint(samples * 2.0**15).astype(np.int16),
        "s32": lambda: np.rint(samples.astype(np.float64) * 2.0**31).astype(np.int32),
    }[kind]()
    return np.ascontiguousarray(scaled if planar else scaled.T.reshape(1, -1))


def lag(reference: Samples, decoded: Samples) -> int:
    """Samples by which `decoded` is late, from the peak of the cross-correlation of the first channels."""
    size = 1 << (len(reference[0]) + len(decoded[0])).bit_length()
    spectrum = np.fft.rfft(decoded[0], size) * np.fft.rfft(reference[0], size).conj()
    peak = int(np.fft.irfft(spectrum, size).argmax())
    return peak if peak < size // 2 else peak - size


class Media:
    """Writes files into one directory and gives back their paths."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    noise = staticmethod(noise)
    on_grid = staticmethod(on_grid)
    lag = staticmethod(lag)

    def bytes(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def sf(self, name: str, samples: Samples, rate: int = 44_100, **options: Any) -> Path:
        """By soundfile: wav, flac, aiff, caf, ogg, mp3."""
        soundfile.write(self.folder / name, samples.T, rate, **options)
        return self.folder / name

    def av(
        self,
        name: str,
        samples: Samples,
        rate: int = 44_100,
        *,
        container: str,
        codec: str,
        sample_format: str = "fltp",
        options: dict[str, str] | None = None,
        video: bool = False,
        cover: bool = False,
    ) -> Path:
        """By FFmpeg: m4a, mp4, aac, webm, opus and mp3 as encoders in the wild write them."""
        path = self.folder / name
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
        with av.open(str(path), "w", format=container, options=options or {}) as file:
            audio: Any = file.add_stream(codec, rate=rate, layout=layout, format=sample_format)
            pictures = _add_pictures(file, cover=cover) if video or cover else None
            frame = av.AudioFrame.from_ndarray(
                _raw(samples, sample_format), format=sample_format, layout=layout
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            fifo = av.AudioFifo()
            fifo.write(frame)
            audio.codec_context.open()
            while (part := fifo.read(audio.codec_context.frame_size or 1024, partial=True)) is not None:
                file.mux(audio.encode(part))
            file.mux(audio.encode(None))
            if pictures:
                _show(file, pictures)
        return path

    def silent_film(self, name: str) -> Path:
        """An mp4 with pictures and no sound."""
        path = self.folder / name
        with av.open(str(path), "w", format="mp4") as file:
            _show(file, _add_pictures(file))
        return path
