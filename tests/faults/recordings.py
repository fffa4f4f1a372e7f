"""Recordings to send, no two alike, at random moments."""

import asyncio
import random
import time
from io import BytesIO
from pathlib import Path

import soundfile

from faults.load import Load


def variation(song: Path, rng: random.Random) -> bytes:
    """The song at another level."""
    samples, rate = soundfile.read(song)
    file = BytesIO()
    soundfile.write(file, samples * rng.uniform(0.5, 1.0), rate, format="WAV")
    return file.getvalue()


async def pour_at_once(load: Load, uploads: int, over_s: float, rng: random.Random, song: Path) -> None:
    """Upload so many within `over_s` seconds; none waits for another to be accepted."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for at in sorted(rng.uniform(0, over_s) for _ in range(uploads)):
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            group.create_task(load.upload(variation(song, rng), "more.wav"))
