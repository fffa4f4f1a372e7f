"""The decoder's cell: a program of its own that reads one untrusted file and can reach nothing else.

`decode.py` starts it by its path (`python -I child.py REQUEST`) with an empty environment: stdin is the file,
stdout takes one line of JSON, and inherited descriptors take the float32 samples and the peaks. Before the first untrusted
byte is read, its memory, processor time and output are capped and no further descriptor can be opened, so neither a
file nor a socket is within reach, whatever a container asks for. FFmpeg gets a file object, never a name.

It imports nothing of ours, so it starts in a quarter of a second and works however NeuraLib is installed.
"""

import errno
import io
import json
import os
import resource
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import av
import numpy as np

# PyAV imports these when it opens a container: by then no file can be opened any more.
from av.audio import stream as _audio_stream  # noqa: F401
from av.stream import Disposition
from av.subtitles import stream as _subtitle_stream  # noqa: F401
from av.video import stream as _video_stream  # noqa: F401
from numpy.typing import NDArray

FORMATS = "mp3,wav,flac,ogg,aiff,aac,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,caf"
LOSSLESS = {"flac", "alac"}
LOSSY = {
    "mp3float", "mp3", "mp2float", "mp2", "aac", "vorbis", "opus", "libopus", "ac3", "eac3",
    "pcm_alaw", "pcm_mulaw", "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt",
}  # fmt: skip
PCM = {
    "pcm_u8": "pcm_16", "pcm_s8": "pcm_16", "pcm_s16le": "pcm_16", "pcm_s16be": "pcm_16",
    "pcm_s24le": "pcm_24", "pcm_s24be": "pcm_24", "pcm_s32le": "pcm_32", "pcm_s32be": "pcm_32",
    "pcm_f32le": "float", "pcm_f32be": "float", "pcm_f64le": "float", "pcm_f64be": "float",
}  # fmt: skip
CODECS = LOSSLESS | LOSSY | PCM.keys()
OPTIONS = {
    "format_whitelist": FORMATS,
    "protocol_whitelist": "none",
    "codec_whitelist": ",".join(sorted(CODECS)),  # FFmpeg need not touch the pictures of a video
    "err_detect": "crccheck",  # a FLAC frame that fails its checksum is damage, not music
}
NAMES = {"mov": "mp4", "matroska": "mkv"}  # FFmpeg's word for a container, ours

BLOCK_FRAMES = 1 << 16
READ_BYTES = 1 << 18
SILENT = 1e-4  # -80 dBFS around its own DC
TOLERANCE_S = 0.1  # container and decoder may disagree by a codec frame or two
GAP_S = {
    "flac": 0.01,
    "ogg": 0.2,
}  # seconds by which a time stamp may jump ahead before it means a loss: FLAC
LOOSE_GAP_S = 0.5  # counts samples, Ogg's stamps can be off by a codec block, others jitter
LONGEST_GAP_S = 60.0  # beyond that the time stamp is broken, not the audio
EDIT_LIST_S = 0.002  # edit lists often count in 1/600 s or 1/1000 s
LONGEST_CODEC_FRAME = 4096  # samples
LEAST_S = 1.0  # of a damaged file; less is not worth keeping

PEAK_FRAMES = 64  # that one pair of the finest peaks stands for: audio/peaks.py folds these further
TAG_LENGTH = 300  # characters of one tag; pictures and lyrics are not taken
TAGS = {
    "title": ("title",),
    "artist": ("artist", "author"),
    "album": ("album",),
    "album_artist": ("album_artist", "albumartist"),
    "track": ("track", "tracknumber"),
    "year": ("date", "year", "originaldate"),
    "genre": ("genre",),
    "bpm": ("tbpm", "bpm", "tmpo", "tempo"),
    "key": ("tkey", "initialkey", "initial_key", "initial key", "key"),
}  # what we call a tag, and what ID3, Vorbis comments, MP4 atoms and RIFF call it, in lower case


class RefusedError(Exception):
    """The file will not do. `code` is that of a NeuralibError, `detail` is for the user."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Request:
    """What the parent asks for: see `Claims` and `DecodeLimits`."""

    spool: int | None
    peaks: int | None
    sniffed: str
    cut: bool
    lied: bool
    counted: bool
    seconds: float
    decoded_bytes: int
    channels: int
    rates: list[int]
    wall: float
    memory: int


@dataclass(frozen=True)
class Report:
    """What the parent learns: the members of `AudioInfo`."""

    format: str
    codec: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    warnings: list[str]
    tags: dict[str, str]


def confine(request: Request) -> None:
    """Give up every resource that decoding does not need, for good."""
    limits = [
        (resource.RLIMIT_CPU, int(request.wall) + 1),
        (resource.RLIMIT_FSIZE, request.decoded_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
    ]
    if sys.platform == "linux":  # elsewhere the kernel does not honour these
        limits += [(resource.RLIMIT_AS, request.memory), (resource.RLIMIT_NPROC, 0)]
    for name, value in limits:
        hard = resource.getrlimit(name)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (allowed, allowed))


class Peaks:
    """Writes the lowest and the highest sample of every PEAK_FRAMES frames: int16, frame-major, in each lane (low, high).
    The lanes are the mean of the channels and then each channel; a mono file has one.
    """

    def __init__(self, descriptor: int) -> None:
        self._file = io.FileIO(descriptor, "wb", closefd=False)
        self._held: NDArray[np.float32] | None = None  # the last frames, which `Spool.trim` may drop yet
        self._folded = 0

    def write(self, block: NDArray[np.float32]) -> None:
        """Take float32 `(frames, channels)`."""
        held = block if self._held is None else np.concatenate((self._held, block))
        ready = max(len(held) - LONGEST_CODEC_FRAME, 0) // PEAK_FRAMES * PEAK_FRAMES
        self._fold(held[:ready])
        self._held = held[ready:].copy()

    def close(self, frames: int) -> None:
        """Write what is left of `frames` frames in all; the last pair may stand for fewer."""
        if self._held is None:
            return
        rest = self._held[: frames - self._folded]
        whole = len(rest) // PEAK_FRAMES * PEAK_FRAMES
        self._fold(rest[:whole])
        if whole < len(rest):
            missing = PEAK_FRAMES - (len(rest) - whole)
            self._fold(np.concatenate((rest[whole:], np.repeat(rest[-1:], missing, axis=0))))

    def _fold(self, block: NDArray[np.float32]) -> None:
        if not len(block):
            return
        self._folded += len(block)
        low = high = self._lanes(block).reshape(len(block) // PEAK_FRAMES, PEAK_FRAMES, -1)
        while low.shape[1] > 1:  # by halves: numpy reduces short axes ten times slower
            half = low.shape[1] // 2
            low = np.minimum(low[:, :half], low[:, half:])
            high = np.maximum(high[:, :half], high[:, half:])
        pairs = np.stack((low[:, 0], high[:, 0]), axis=-1)
        write_all(self._file, np.clip(np.rint(pairs * 32768), -32768, 32767).astype("<i2"))

    @staticmethod
    def _lanes(block: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean of the channels before them."""
        channels = block.shape[1]
        if channels == 1:
            return block
        lanes = np.empty((len(block), channels + 1), np.float32)
        lanes[:, 1:] = block
        lanes[:, 0] = block[:, 0]
        for channel in range(1, channels):
            lanes[:, 0] += block[:, channel]
        lanes[:, 0] /= channels
        return lanes


def write_all(file: io.FileIO, array: NDArray[Any]) -> None:
    """All of it: one call may take a part."""
    rest = np.ascontiguousarray(array).data.cast("B")
    while rest:
        rest = rest[file.write(rest) :]


class Spool:
    """Gathers frames of one shape into blocks; converts, checks, measures and writes each block."""

    def __init__(self, request: Request, first: av.AudioFrame) -> None:
        self.rate, self.channels = first.sample_rate, first.layout.nb_channels
        self.sample_format = first.format.name
        low, high = request.rates
        if not low <= self.rate <= high:
            raise RefusedError(
                "unsupported-audio", f"A sample rate of {self.rate} Hz is outside {low} to {high} Hz."
            )
        if not 1 <= self.channels <= request.channels:
            raise RefusedError(
                "unsupported-audio", f"{self.channels} channels are more than {request.channels}."
            )
        self.planar = first.format.is_planar
        self.dtype = np.dtype(av.audio.frame.format_dtypes[self.sample_format])
        self.cap = min(int(request.seconds * self.rate), request.decoded_bytes // (4 * self.channels))
        self.seconds = request.seconds
        self.frames = 0
        self.used_bits = 0
        self.silent = True
        self._low = np.full(self.channels, np.inf, np.float32)
        self._high = np.full(self.channels, -np.inf, np.float32)
        # planar: one lane a channel; interleaved: a single lane of whole frames
        shape = (self.channels, BLOCK_FRAMES) if self.planar else (1, BLOCK_FRAMES, self.channels)
        self._lanes: NDArray[Any] = np.empty(shape, self.dtype)
        self._filled = 0
        self._file = None if request.spool is None else io.FileIO(request.spool, "wb", closefd=False)
        self._peaks = None if request.peaks is None else Peaks(request.peaks)
        self._parent = os.getppid()

    def write(self, frame: av.AudioFrame) -> None:
        """Append a decoded frame."""
        shape = (frame.sample_rate, frame.layout.nb_channels, frame.format.name)
        if shape != (self.rate, self.channels, self.sample_format):
            raise RefusedError(
                "decode-failed", "The sample rate or the channels change in the middle of the file."
            )
        self._append(self._lanes_of(frame), frame.samples)

    def silence(self, frames: int) -> None:
        """Append zeros in the place of audio that cannot be decoded, so that what follows stays in time."""
        self._room_for(frames)
        zero = 128 if self.dtype == np.uint8 else 0
        for start in range(0, frames, BLOCK_FRAMES):
            count = min(BLOCK_FRAMES, frames - start)
            self._append(np.full_like(self._lanes[:, :count], zero), count)

    def trim(self, frames: int) -> None:
        """Drop the last `frames` frames."""
        self.frames = max(self.frames - frames, 0)

    def close(self) -> None:
        """Write what is left, and cut off what was trimmed."""
        self._flush()
        if self._file is not None:
            self._file.truncate(self.frames * self.channels * 4)
        if self._peaks is not None:
            self._peaks.close(self.frames)

    def _lanes_of(self, frame: Any) -> Sequence[NDArray[Any]]:
        """The frame's samples in the decoder's own number format, not copied."""
        if self.planar:
            return [np.frombuffer(plane, self.dtype, frame.samples) for plane in frame.planes]
        flat = np.frombuffer(frame.planes[0], self.dtype, frame.samples * self.channels)
        return [flat.reshape(-1, self.channels)]

    def _room_for(self, frames: int) -> None:
        if self.frames + frames > self.cap:
            limit = min(self.seconds, self.cap / self.rate)
            raise RefusedError(
                "audio-too-long",
                f"The recording is longer than {limit:.0f} s, the most that is taken at {self.rate} Hz with {self.channels} channels.",
            )

    def _append(self, lanes: Iterable[NDArray[Any]], count: int) -> None:
        self._room_for(count)
        self.frames += count
        done = 0
        while done < count:
            if self._filled == BLOCK_FRAMES:
                self._flush()
            part = min(BLOCK_FRAMES - self._filled, count - done)
            for own, new in zip(self._lanes, lanes, strict=True):
                own[self._filled : self._filled + part] = new[done : done + part]
            self._filled += part
            done += part

    def _flush(self) -> None:
        if not self._filled:
            return
        if os.getppid() != self._parent:  # nobody waits for the answer any more
            os._exit(1)
        lanes = self._lanes[:, : self._filled]
        block = self._float(lanes.T if self.planar else lanes[0])
        self._filled = 0
        self._measure(block)
        if self._file is not None:
            write_all(self._file, block.astype("<f4", copy=False))
        if self._peaks is not None:
            self._peaks.write(block)

    def _measure(self, block: NDArray[np.float32]) -> None:
        if not (np.isfinite(block.min()) and np.isfinite(block.max())):
            raise RefusedError("non-finite-audio", "The recording holds NaN or infinite samples.")
        if self.silent:
            self._low = np.minimum(self._low, block.min(axis=0))
            self._high = np.maximum(self._high, block.max(axis=0))
            self.silent = float((self._high - self._low).max()) <= 2 * SILENT

    def _float(self, block: NDArray[Any]) -> NDArray[np.float32]:
        """Full scale ±1. Exact for integers of up to 24 bits and for float32; the rest rounds to nearest."""
        if block.dtype.kind == "f":
            with np.errstate(over="ignore"):  # a double beyond float32 becomes inf, and is refused as such
                return block.astype(np.float32, copy=False)
        if block.dtype == np.uint8:
            return (block.astype(np.float32) - np.float32(128)) / np.float32(128)
        self.used_bits |= int(np.bitwise_or.reduce(block, axis=None))
        return block.astype(np.float32) * np.float32(0.5 ** (8 * block.dtype.itemsize - 1))


class Decoding:
    """One pass over the first audio stream of an open container."""

    def __init__(self, request: Request, media: io.FileIO) -> None:
        self.request = request
        self.media = media
        self.warnings: set[str] = {"header-lied"} if request.lied else set()
        self.spool: Spool | None = None
        self._broken = 0  # packets that did not decode since the last one that did,
        self._lost = 0.0  # and their seconds
        self._began = 0.0  # time stamp of the first frame
        self._ends = 0.0  # where the last packet says it ends, in seconds

    def run(self) -> Report:
        """Decode everything, then judge what came out."""
        try:
            container = av.open(
                self.media, options=OPTIONS, buffer_size=READ_BYTES, metadata_errors="replace"
            )
        except av.error.FFmpegError as error:
            raise RefusedError(
                "decode-failed", f"The file starts like {self.request.sniffed} but cannot be read."
            ) from error
        if not container.streams.audio:
            raise RefusedError("unsupported-audio", "There is no audio stream in the file.")
        stream: Any = container.streams.audio[0]
        if stream.codec_context is None:
            raise RefusedError("unsupported-audio", "The audio is in a codec that nobody knows.")
        stream.codec_context.thread_count = 1
        codec = stream.codec_context.name
        if codec not in CODECS:
            raise RefusedError("unsupported-audio", f"Audio in the codec {codec} is not supported.")
        kind, tick = container.format.name.split(",")[0], float(stream.time_base)
        for frame in self._frames(container, stream):
            stamp = (frame.pts or 0) * tick
            if self.spool is None:  # what failed before it is no loss: an mp3 may begin in mid-air
                self.spool = Spool(self.request, frame)
                self._began = stamp
            else:
                self._bridge(self.spool, stamp, GAP_S.get(kind, LOOSE_GAP_S))
            self.spool.write(frame)
            self._broken, self._lost = 0, 0.0
        return self._report(container, stream, codec, kind)

    def _frames(self, container: Any, stream: Any) -> Iterator[av.AudioFrame]:
        """Every frame that decodes. A packet that does not is counted as lost time and passed over."""
        packets, tick = container.demux(stream), float(stream.time_base)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.error.EOFError):
                return
            except av.error.FFmpegError:
                self.warnings.add("truncated")
                return
            duration = (packet.duration or 0) * tick
            if packet.pts is not None:
                self._ends = max(self._ends, packet.pts * tick + duration)
            try:
                yield from packet.decode()
            except av.error.EOFError:
                return
            except av.error.MemoryError:
                raise
            except av.error.FFmpegError:
                self._broken += 1
                self._lost += duration

    def _bridge(self, spool: Spool, stamp: float, tolerated: float) -> None:
        """Put silence where audio was lost before this time stamp, so that what follows stays in time."""
        if self._lost:
            spool.silence(round(self._lost * spool.rate))
        gap = stamp - self._began - spool.frames / spool.rate
        jumped = tolerated < gap < LONGEST_GAP_S
        if jumped:
            spool.silence(round(gap * spool.rate))
        if jumped or self._broken:
            self.warnings.add("gaps")

    def _report(self, container: Any, stream: Any, codec: str, kind: str) -> Report:
        spool = self.spool
        if spool is None:
            if self._broken or self.request.cut:
                raise RefusedError("decode-failed", "Nothing in the file could be decoded.")
            raise RefusedError("audio-too-short", "The file holds no samples.")
        has_video = self._has_video(container)
        promised = self._promised(container, stream, has_video=has_video)
        if kind == "mov" and codec in LOSSY:
            self._trim_padding(spool, promised or self._ends)
        if promised is not None:
            self._compare(spool, promised)
        if self._broken or self.request.cut:
            self.warnings.add("truncated")
        spool.close()
        if not spool.frames:
            raise RefusedError("audio-too-short", "The file holds no samples.")
        if self.warnings & {"truncated", "gaps"} and spool.frames < LEAST_S * spool.rate:
            raise RefusedError(
                "decode-failed",
                f"The file is cut off or damaged: only {spool.frames / spool.rate:.2f} s can be decoded.",
            )
        if spool.silent:
            self.warnings.add("silent")
        return Report(
            format=self._format(kind, codec, has_video=has_video),
            codec=codec.removesuffix("float").removeprefix("lib"),
            subtype=self._subtype(codec, spool),
            sample_rate=spool.rate,
            channels=spool.channels,
            frames=spool.frames,
            warnings=sorted(self.warnings),
            tags=tags_of(container.metadata, stream.metadata),
        )

    def _trim_padding(self, spool: Spool, promised: float) -> None:
        """Cut the padding of the last codec frame: MP4 says where the music ends, by the last packet's duration
        to the sample, or by an edit list in coarser units.
        """
        end = self._ends if abs(self._ends - promised) < EDIT_LIST_S else promised
        surplus = spool.frames - round(end * spool.rate)
        if 0 < surplus < LONGEST_CODEC_FRAME:
            spool.trim(surplus)

    def _compare(self, spool: Spool, promised: float) -> None:
        """Hold what was decoded against what the header promised."""
        surplus = spool.frames / spool.rate - promised
        if surplus > TOLERANCE_S:
            self.warnings.add("header-lied")
        elif surplus < -TOLERANCE_S:
            self.warnings.add("truncated")

    def _promised(self, container: Any, stream: Any, *, has_video: bool) -> float | None:
        """Seconds that the header announces for the audio, or None when it does not say."""
        if not self.request.counted:
            return None
        if stream.duration:
            return float(stream.duration * stream.time_base)
        if container.duration and not has_video:
            return float(container.duration / av.time_base)
        return None

    @staticmethod
    def _has_video(container: Any) -> bool:
        """Moving pictures; the cover of an album is a still."""
        return any(not stream.disposition & Disposition.attached_pic for stream in container.streams.video)

    def _format(self, kind: str, codec: str, *, has_video: bool) -> str:
        if kind == "mov" and not has_video:
            return "m4a"
        if kind == "ogg" and codec in {"opus", "libopus"}:
            return "opus"
        return "webm" if self.request.sniffed == "webm" else NAMES.get(kind, kind)

    @staticmethod
    def _subtype(codec: str, spool: Spool) -> str:
        if codec in PCM:
            return PCM[codec]
        if codec in LOSSY:
            return "lossy"
        if spool.dtype.itemsize <= 2:
            return "pcm_16"
        return "pcm_32" if spool.used_bits & 0xFF else "pcm_24"


def tags_of(*sources: Mapping[str, str]) -> dict[str, str]:
    """What the file says of itself under the names of TAGS, cut short. Of several sources the first that speaks counts:
    Ogg has its comments in the stream, others theirs in the container.
    """
    said: dict[str, str] = {}
    for source in sources:
        for name, text in source.items():
            said.setdefault(name.lower(), text.strip()[:TAG_LENGTH])
    found = {tag: next((said[n] for n in names if said.get(n)), "") for tag, names in TAGS.items()}
    return {tag: text for tag, text in found.items() if text}


def answer(request: Request) -> dict[str, Any]:
    """The one line that goes back."""
    try:
        confine(request)
        return asdict(Decoding(request, io.FileIO(0, closefd=False)).run())
    except RefusedError as refusal:
        return {"code": refusal.code, "detail": refusal.detail}
    except (MemoryError, av.error.MemoryError):
        return {"code": "decode-failed", "detail": "Decoding the file needs more memory than it may have."}
    except OSError as error:
        full = error.errno == errno.ENOSPC
        return {
            "code": "storage-full" if full else "decode-failed",
            "detail": "There is no space for the decoded audio."
            if full
            else "The file could not be read to its end.",
        }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(answer(Request(**json.loads(sys.argv[1])))) + "\n")
