"""Encoded files in, `Recording`s out. Every byte that came from outside is decoded in a child process.

The child (`child.py`) is confined before it reads; this side holds the clock, kills the child's whole group when
time is up or the caller goes away, and believes nothing in the answer that it cannot check.
"""

import asyncio
import errno
import io
import json
import os
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from neuralib.audio.claims import claims
from neuralib.audio.peaks import PeaksShape, complete
from neuralib.audio.recording import Recording
from neuralib.audio.sniff import HEAD_BYTES, describe, id3_size, sniff
from neuralib.audio.tags import Tags, tags_of
from neuralib.errors import (
    AudioTooLong,
    AudioTooShort,
    DecodeFailed,
    EmptyUpload,
    MissingFile,
    NeuralibError,
    NonFiniteAudio,
    StorageFull,
    UnsupportedAudio,
)

SUBTYPES = ("pcm_16", "pcm_24", "pcm_32", "float", "lossy")
WARNINGS = ("gaps", "header-lied", "silent", "truncated")

_CHILD = Path(__file__).with_name("child.py")
_ANSWER_BYTES = 1 << 16
_ANSWERS: dict[str, type[NeuralibError]] = {
    error.code: error
    for error in (UnsupportedAudio, DecodeFailed, NonFiniteAudio, AudioTooShort, AudioTooLong, StorageFull)
}


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """Facts of an encoded file. Frames are counted by decoding, never taken from a header.

    `format` is the container as people name it: wav flac mp3 ogg opus m4a aac aiff mp4 webm mkv caf. `subtype` is
    the finest of pcm_16 pcm_24 pcm_32 float that the file holds, or lossy. `warnings`, in alphabetical order:
    `gaps` (parts are missing or did not decode and are silence now), `header-lied` (its length is not the length),
    `silent` (nothing above -80 dBFS around its own DC), `truncated` (the end is missing).
    """

    format: str
    codec: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    warnings: tuple[str, ...] = ()
    tags: Tags = field(default_factory=dict)

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.frames / self.sample_rate


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """How much one file may cost."""

    seconds: float = 4 * 3600.0
    """of audio; a longer recording is refused"""
    decoded_bytes: int = 8 << 30
    """of float32: what the spool may take on disk"""
    channels: int = 8
    rates: tuple[int, int] = (1_000, 384_000)
    """Hz, both ends included"""
    wall: float = 900.0
    """seconds that decoding may take"""
    memory: int = 1 << 30
    """bytes of address space of the child (on Linux)"""


_DEFAULTS = DecodeLimits()


async def probe(path: Path, limits: DecodeLimits = _DEFAULTS, *, peaks: Path | None = None) -> AudioInfo:
    """Decode the file to nowhere and report what it holds; its peaks (see peaks.py) go to the file `peaks`, if given.

    Raises MissingFile, EmptyUpload, UnsupportedAudio, DecodeFailed, NonFiniteAudio, AudioTooShort, AudioTooLong, and with
    `peaks` StorageFull; then nothing is left there.
    """
    if peaks is None:
        return await _decode(path, limits)
    with _kept_if_whole(peaks):
        info = await _decode(path, limits, peaks=peaks)
        await asyncio.to_thread(_complete, peaks, info)
        return info


async def decode(path: Path, into: Path, limits: DecodeLimits = _DEFAULTS) -> tuple[Recording, AudioInfo]:
    """Decode the file into a recording at `into`; raises what `probe` raises, and StorageFull.

    After an error or a cancellation nothing is left at `into`.
    """
    with _kept_if_whole(into):
        info = await _decode(path, limits, spool=into)
        return _recording(into, info), info


async def _decode(path: Path, limits: DecodeLimits, **outputs: Path) -> AudioInfo:
    """`outputs`: where the child's `spool` and `peaks` go; it does without those that are not named."""
    opening = asyncio.ensure_future(asyncio.to_thread(_open, path))
    try:
        media = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)  # the thread may be about to open it
        raise
    with media, ExitStack() as files:
        request = await asyncio.to_thread(_first_look, media) | asdict(limits)
        opened = {name: files.enter_context(into.open("wb")).fileno() for name, into in outputs.items()}
        request |= {"spool": None, "peaks": None, **opened}
        return _checked(await _ask_child(request, media, [*opened.values()], limits.wall), limits)


@contextmanager
def _kept_if_whole(spool: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        spool.unlink(missing_ok=True)
        raise


def _complete(peaks: Path, info: AudioInfo) -> None:
    """The coarser levels, if the finest is as large as the child says. Blocking."""
    shape = PeaksShape(info.sample_rate, info.channels, info.frames)
    try:
        complete(peaks, shape)
    except ValueError as error:
        raise DecodeFailed("The decoder did not write what it said.") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise StorageFull("There is no space for the peaks.") from error


def _recording(spool: Path, info: AudioInfo) -> Recording:
    """The spool as a recording, if it is as large as the child says."""
    if spool.stat().st_size != info.frames * info.channels * 4:
        raise DecodeFailed("The decoder did not write what it said.")
    return Recording(spool, info.sample_rate, info.channels, info.frames, info.subtype)


def _close(opening: asyncio.Future[IO[bytes]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _open(path: Path) -> IO[bytes]:
    """The file, if it is one and holds something. Blocking."""
    try:
        media = io.FileIO(path, opener=_open_now)
    except FileNotFoundError as error:
        raise MissingFile from error
    except IsADirectoryError as error:
        raise UnsupportedAudio("This is a directory.") from error
    except OSError as error:
        raise MissingFile("The file cannot be opened.") from error
    with ExitStack() as on_error:
        on_error.enter_context(media)
        _check_kind(os.fstat(media.fileno()))
        on_error.pop_all()
    return media


def _first_look(media: IO[bytes]) -> dict[str, Any]:
    """What the first and last bytes tell; leaves the file at its start. Blocking."""
    head = media.read(HEAD_BYTES)
    sniffed = sniff(head)
    if sniffed is None:
        raise UnsupportedAudio(f"The file is {describe(head)}.")
    told = claims(media, sniffed, id3_size(head))
    media.seek(0)
    return {"sniffed": sniffed, **asdict(told)}


def _open_now(path: str, flags: int) -> int:
    """Opening a named pipe must not wait for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check_kind(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsupportedAudio("This is not a regular file.")
    if not status.st_size:
        raise EmptyUpload


async def _ask_child(
    request: dict[str, Any], media: IO[bytes], outputs: Sequence[int], wall: float
) -> dict[str, Any]:
    """Run the child to its end, at most `wall` seconds, and return its answer. It inherits `outputs`."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(_CHILD), json.dumps(request),
        stdin=media, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        pass_fds=tuple(outputs),
        env=_environment(), cwd="/", start_new_session=True, limit=_ANSWER_BYTES,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        async with asyncio.timeout(wall):
            line = await child.stdout.readline()
            await child.wait()
        answer = json.loads(line)
    except TimeoutError as error:
        raise DecodeFailed(f"Decoding took longer than {wall:g} s.") from error
    except ValueError as error:  # no JSON, or a line without end
        raise DecodeFailed("The decoder crashed on this file.") from error
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
    if not isinstance(answer, dict):
        raise DecodeFailed("The decoder crashed on this file.")
    return answer


def _environment() -> dict[str, str]:
    """Nothing of ours, except what some Pythons need to find their own library."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"OPENBLAS_NUM_THREADS": "1", **kept}


def _checked(answer: dict[str, Any], limits: DecodeLimits) -> AudioInfo:
    """The answer as facts or as the error it names. The child met untrusted bytes: its word is checked."""
    if "code" in answer:
        raise _ANSWERS.get(answer["code"], DecodeFailed)(str(answer.get("detail"))[:300])
    try:
        info = AudioInfo(**{**answer, "warnings": tuple(answer["warnings"]), "tags": tags_of(answer["tags"])})
        sound = (
            isinstance(info.frames, int)
            and 0 < info.frames <= limits.seconds * info.sample_rate
            and 1 <= info.channels <= limits.channels
            and limits.rates[0] <= info.sample_rate <= limits.rates[1]
            and info.subtype in SUBTYPES
            and set(info.warnings) <= set(WARNINGS)
        )
    except (TypeError, KeyError) as error:
        raise DecodeFailed("The decoder crashed on this file.") from error
    if not sound:
        raise DecodeFailed("The decoder's answer makes no sense.")
    return info
