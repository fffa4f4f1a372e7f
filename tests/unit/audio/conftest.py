"""A folder of recordings for each test, and what becomes of them in the decoder."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from media import Media
from neuralib.audio import AudioInfo, DecodeLimits, Recording, RecordingWriter, Samples, decode
from neuralib.errors import NeuralibError

Outcome = tuple[Samples, AudioInfo] | NeuralibError
Decode = Callable[..., Coroutine[Any, Any, Outcome]]


@pytest.fixture
def media(tmp_path: Path) -> Media:
    return Media(tmp_path)


@pytest.fixture
def outcome(tmp_path: Path) -> Decode:
    """Decode one file: its samples and facts, or the error; and whatever happens, no spool stays behind."""

    async def run(path: Path, limits: DecodeLimits | None = None) -> Outcome:
        spool = tmp_path / f"{path.name}.spool"
        try:
            recording, info = await decode(path, spool, limits or DecodeLimits())
        except NeuralibError as error:
            assert not spool.exists()
            return error
        samples = recording.read()
        spool.unlink()
        return samples, info

    return run


@pytest.fixture
def outcomes(outcome: Decode) -> Callable[..., Coroutine[Any, Any, dict[str, Outcome]]]:
    """Decode many files, a few at a time; by file name."""

    async def run(paths: list[Path], limits: DecodeLimits | None = None) -> dict[str, Outcome]:
        gate = asyncio.Semaphore(3)

        async def one(path: Path) -> Outcome:
            async with gate:
                return await outcome(path, limits)

        return dict(zip([p.name for p in paths], await asyncio.gather(*map(one, paths)), strict=True))

    return run


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Recording]:
    """Samples as a recording on disk."""

    def make(samples: Samples, rate: int = 44_100, subtype: str = "float") -> Recording:
        with RecordingWriter(tmp_path / "recorded.f32", rate, len(samples), subtype) as writer:
            writer.write(samples)
            return writer.close()

    return make
