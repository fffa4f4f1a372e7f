"""Memory of the API while a long recording comes in.

    python scripts/bench/upload.py [--minutes 60]

Starts `neuralib serve` on servers of its own, uploads a stereo 16-bit wav of noise, and watches the resident memory of
the API process every 20 ms. The decoder child that probes the file is reported apart. The gate: the stored asset
has the frames and the SHA-256 of the file.
"""

import sys

del sys.path[0]  # this folder: queue.py in it is called like a module of Python itself

import argparse  # noqa: E402
import asyncio  # noqa: E402
import hashlib  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import aiohttp  # noqa: E402
import numpy as np  # noqa: E402

from neuralib.audio import RecordingWriter, encode  # noqa: E402
from neuralib.db import open_database  # noqa: E402
from neuralib.db.migrate import migrate  # noqa: E402
from neuralib.embedded import run_stores  # noqa: E402

RATE = 44100
FLOOR_MIB, AIM_MIB = 200, 16


def make(folder: Path, minutes: float) -> tuple[Path, str]:
    rng = np.random.default_rng(1)
    second = rng.uniform(-0.5, 0.5, (2, RATE)).astype(np.float32)
    with RecordingWriter(folder / "noise.f32", RATE, 2, "pcm_16") as writer:
        for number in range(round(minutes * 60)):
            writer.write(np.roll(second, number, axis=1))
    path = folder / "noise.wav"
    encode(writer.close(), path, format="wav")
    (folder / "noise.f32").unlink()
    with path.open("rb") as file:
        return path, hashlib.file_digest(file, "sha256").hexdigest()


def rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


class Watch:
    """Peak resident memory of a process and of its largest child."""

    def __init__(self, pid: int) -> None:
        self.pid, self.idle, self.peak, self.child = pid, rss(pid), 0, 0

    async def run(self) -> None:
        while True:
            self.peak = max(self.peak, rss(self.pid))
            for child in children(self.pid):
                try:
                    self.child = max(self.child, rss(child))
                except (FileNotFoundError, ProcessLookupError):
                    continue
            await asyncio.sleep(0.02)


async def main(minutes: float) -> int:
    with tempfile.TemporaryDirectory(prefix="neuralib-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        path, sha256 = await asyncio.to_thread(make, folder, minutes)
        async with run_stores(folder / "data") as stores:
            async with open_database(stores.database_url, size=1) as db:
                await migrate(db)
            env = {
                **os.environ,
                "NEURALIB_DATABASE_URL": stores.database_url,
                "NEURALIB_REDIS_URL": stores.redis_url,
                "NEURALIB_STORAGE_PATH": str(folder / "objects"),
                "NEURALIB_WORKER_SCRATCH": str(folder),
                "PYTHONUNBUFFERED": "1",
            }
            server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "neuralib", "serve", "--port", "0"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=env,
            )
            try:
                return await measure(server, path, sha256, minutes)
            finally:
                server.terminate()
                await server.wait()


async def measure(server: asyncio.subprocess.Process, path: Path, sha256: str, minutes: float) -> int:
    assert server.stdout is not None
    line = (await server.stdout.readline()).decode()
    api = line.split()[4] + "/api/v1"
    timeout = aiohttp.ClientTimeout(total=1800)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        async with session.post(f"{api}/libraries", json={"name": "bench"}) as reply:
            library = (await reply.json())["id"]
        watch = Watch(server.pid)
        watching = asyncio.create_task(watch.run())
        began = time.perf_counter()
        with path.open("rb") as file:
            form = aiohttp.FormData()
            form.add_field("file", file, filename=path.name)
            async with session.post(f"{api}/libraries/{library}/assets", data=form) as reply:
                body = await reply.json()
        seconds = time.perf_counter() - began
        watching.cancel()
    asset = body["items"][0]["asset"]
    ok = asset["blob"]["sha256"] == sha256 and asset["audio"]["frames"] == round(minutes * 60) * RATE
    grown = (watch.peak - watch.idle) / 2**20
    size = path.stat().st_size / 2**20
    print(f"python {platform.python_version()}; {minutes:g} minutes, {size:.0f} MiB in {seconds:.1f} s")
    print(f"gate, frames and sha256: {'ok' if ok else 'FAILED'}")
    print(f"idle {watch.idle / 2**20:.0f} MiB, peak {watch.peak / 2**20:.0f} MiB: grown by {grown:.0f} MiB")
    print(f"decoder child: {watch.child / 2**20:.0f} MiB at most")
    print(f"below {FLOOR_MIB} MiB: {'holds' if grown < FLOOR_MIB else 'DOES NOT HOLD'} (aim {AIM_MIB} MiB)")
    return 0 if ok and grown < FLOOR_MIB else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    sys.exit(asyncio.run(main(parser.parse_args().minutes)))
