"""Memory of the API while a long recording comes in.

    python scripts/bench/upload.py [--minutes 60] [--gib 5]

Starts `neuralib serve` on servers of its own, uploads a wav of noise, stereo and 16 bit, and watches the resident memory of
the API process every 20 ms; with --gib so many GiB of it, eight channels of floats, an RF64 file. The decoder child that
probes the file is reported apart. The gate: the stored asset has the frames and the SHA-256 of the file.
"""

import sys

if __name__ == "__main__":
    del sys.path[0]  # this folder: queue.py in it is called like a module of Python itself

import argparse
import asyncio
import hashlib
import os
import platform
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np

from neuralib.audio.wav import WIDTHS, header
from neuralib.db import open_database
from neuralib.db.migrate import migrate
from neuralib.embedded import run_stores

FLOOR_MIB, AIM_MIB = 64, 16
HOURS_S = 1800


@dataclass(frozen=True)
class Shape:
    """Of a recording of noise."""

    subtype: str
    rate: int
    channels: int
    seconds: int

    @property
    def frames(self) -> int:
        return self.seconds * self.rate

    def write(self, path: Path) -> str:
        """The file; its SHA-256. One second again and again: nothing looks for that."""
        rng = np.random.default_rng(1)
        noise = rng.uniform(-0.5, 0.5, (self.rate, self.channels))
        second = (noise.astype("<f4") if self.subtype == "float" else (noise * 32767).astype("<i2")).tobytes()
        assert len(second) == self.rate * self.channels * WIDTHS[self.subtype]
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for chunk in (
                header(self.subtype, self.rate, self.channels, self.frames),
                *[second] * self.seconds,
            ):
                file.write(chunk)
                digest.update(chunk)
        return digest.hexdigest()


def stereo(minutes: float) -> Shape:
    return Shape("pcm_16", 44100, 2, round(minutes * 60))


def wide(gib: float) -> Shape:
    return Shape("float", 96000, 8, round(gib * 2**30 / (96000 * 8 * 4)))


def rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


class Watch:
    """Peak resident memory of a process, of its largest child, and of both with all other children."""

    def __init__(self, pid: int) -> None:
        self.pid, self.idle, self.peak, self.child, self.tree = pid, rss(pid), 0, 0, 0

    @property
    def grown_mib(self) -> float:
        return (self.peak - self.idle) / 2**20

    @property
    def tree_grown_mib(self) -> float:
        return (self.tree - self.idle) / 2**20

    async def run(self) -> None:
        while True:
            own, theirs = rss(self.pid), []
            for child in children(self.pid):
                with suppress(FileNotFoundError, ProcessLookupError):
                    theirs.append(rss(child))
            self.peak, self.child = max(self.peak, own), max([self.child, *theirs])
            self.tree = max(self.tree, own + sum(theirs))
            await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Served:
    """A running `serve`."""

    pid: int
    api: str
    env: dict[str, str]


@asynccontextmanager
async def serving(folder: Path, **settings: str) -> AsyncIterator[Served]:
    """`neuralib serve` on stores of its own, its objects and its scratch in `folder`."""
    folder.chmod(0o711)
    async with run_stores(folder / "data") as stores:
        async with open_database(stores.database_url, size=1) as db:
            await migrate(db)
        ours = {
            "NEURALIB_DATABASE_URL": stores.database_url,
            "NEURALIB_REDIS_URL": stores.redis_url,
            "NEURALIB_STORAGE_PATH": str(folder / "objects"),
            "NEURALIB_WORKER_SCRATCH": str(folder),
            **settings,
        }
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "neuralib", "serve", "--port", "0"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **ours, "PYTHONUNBUFFERED": "1"},
        )
        try:
            assert server.stdout is not None
            line = (await server.stdout.readline()).decode()
            yield Served(server.pid, line.split()[4] + "/api/v1", ours)
        finally:
            server.terminate()
            await server.wait()


async def send(session: aiohttp.ClientSession, api: str, library: str, path: Path) -> dict:
    """The asset that the file became."""
    with path.open("rb") as file:
        form = aiohttp.FormData()
        form.add_field("file", file, filename=path.name)
        async with session.post(f"{api}/libraries/{library}/assets", data=form) as reply:
            body = await reply.json()
            assert reply.status == 201, body
    return body["items"][0]["asset"]


async def main(shape: Shape) -> int:
    with tempfile.TemporaryDirectory(prefix="neuralib-bench-") as name:
        folder = Path(name)
        sha256 = await asyncio.to_thread(shape.write, folder / "noise.wav")
        limits = {"NEURALIB_LIMITS_DECODE_S": str(HOURS_S)}
        async with (
            serving(folder, **limits) as served,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HOURS_S)) as session,
        ):
            return await measure(session, served, folder / "noise.wav", sha256, shape)


async def measure(
    session: aiohttp.ClientSession, served: Served, path: Path, sha256: str, shape: Shape
) -> int:
    async with session.post(f"{served.api}/libraries", json={"name": "bench"}) as reply:
        library = (await reply.json())["id"]
    watch = Watch(served.pid)
    watching = asyncio.create_task(watch.run())
    began = time.perf_counter()
    asset = await send(session, served.api, library, path)
    seconds = time.perf_counter() - began
    watching.cancel()
    ok = asset["blob"]["sha256"] == sha256 and asset["audio"]["frames"] == shape.frames
    size = path.stat().st_size / 2**20
    print(
        f"python {platform.python_version()}; {shape.seconds / 60:.1f} minutes, {size:.0f} MiB in {seconds:.1f} s"
    )
    print(f"gate, frames and sha256: {'ok' if ok else 'FAILED'}")
    print(
        f"idle {watch.idle / 2**20:.0f} MiB, peak {watch.peak / 2**20:.0f} MiB: grown by {watch.grown_mib:.0f} MiB"
    )
    print(f"decoder child: {watch.child / 2**20:.0f} MiB at most")
    holds = watch.grown_mib < FLOOR_MIB
    print(f"below {FLOOR_MIB} MiB: {'holds' if holds else 'DOES NOT HOLD'} (aim {AIM_MIB} MiB)")
    return 0 if ok and holds else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--gib", type=float)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(wide(given.gib) if given.gib else stereo(given.minutes))))
