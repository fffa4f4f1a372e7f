"""The corpus of hostile media through the upload route: each file gets its documented answer, and costs little."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from api_client import Api, Got
from corpus import OK, Case, corpus
from neuralib.config import Settings
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE = 3
WITHIN_S = 30.0
DECODER_MIB = 256


@pytest.fixture(scope="module")
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings.with_tables(
        limits={"audio_s": 600.0, "decode_s": WITHIN_S},
        worker={"scratch": tmp_path_factory.mktemp("scratch")},
    )


@dataclass
class Decoders:
    """The most memory that one decoder took, in MiB, as far as somebody looked."""

    peak: float = 0.0

    async def watch(self) -> None:
        while True:
            for status in _children():
                self.peak = max(self.peak, _peak_mib(status))
            await asyncio.sleep(0.02)


def _children() -> list[Path]:
    pids = [pid for task in Path("/proc/self/task").iterdir() for pid in _words(task / "children")]
    return [Path("/proc") / pid for pid in pids if b"child.py" in _bytes(Path("/proc") / pid / "cmdline")]


def _words(path: Path) -> list[str]:
    return _bytes(path).decode().split()


def _bytes(path: Path) -> bytes:
    with suppress(OSError):
        return path.read_bytes()
    return b""


def _peak_mib(process: Path) -> float:
    lines = _bytes(process / "status").decode().splitlines()
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@asynccontextmanager
async def watched() -> AsyncIterator[Decoders]:
    decoders = Decoders()
    watching = asyncio.create_task(decoders.watch())
    yield decoders
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching


def verdict(got: Got) -> str:
    return OK if got.status == 201 else got.code


async def test_every_hostile_file_gets_its_documented_answer(api: Api, services: Services) -> None:
    library, gate = (await api.library())["id"], asyncio.Semaphore(AT_ONCE)
    slowest = 0.0

    async def send(case: Case) -> tuple[str, str, frozenset[str]]:
        nonlocal slowest
        async with gate:
            began = time.monotonic()
            got = await api.upload(library, case.content, case.name)  # holds problems to the documentation
            slowest = max(slowest, time.monotonic() - began)
        return case.name, verdict(got), case.answers

    async with watched() as decoders:
        told = await asyncio.gather(*map(send, corpus()))
    assert [each for each in told if each[1] not in each[2]] == []
    assert {answer for _, answer, _ in told} == {
        OK, "unsupported-audio", "decode-failed", "non-finite-audio", "audio-too-short", "audio-too-long", "empty-upload",
    }  # fmt: skip
    assert 0 < decoders.peak < DECODER_MIB
    assert slowest < WITHIN_S
    assert list(services.settings.worker.scratch.iterdir()) == []  # type: ignore[union-attr]
    assert _children() == []
