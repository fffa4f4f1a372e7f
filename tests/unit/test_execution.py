"""What a job leaves behind on the way."""

import asyncio
from pathlib import Path

import pytest

from neuralib.execution import _scratch

FILES = 2000


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.asyncio
async def test_a_job_stopped_while_its_files_are_removed_leaves_none(tmp_path: Path) -> None:
    async def job() -> None:
        async with _scratch(tmp_path) as folder:
            for n in range(FILES):
                (folder / str(n)).touch()

    running = asyncio.create_task(job())
    await asyncio.sleep(0)  # it is removing now
    assert len(names(tmp_path)) == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert names(tmp_path) == []
