"""NeuraLib as its users meet it: child processes, and HTTP from outside."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import soundfile

COMMAND = [sys.executable, "-m", "neuralib"]
UP_WITHIN_S = 90.0
JOB_WITHIN_S = 180.0


def neuralib(
    *words: str | Path, env: dict[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess:
    """Run one command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "NEURALIB_WEIGHTS_OFFLINE": "1", **(env or {})},
        check=False,
    )


class Server:
    """A running `up`, `serve` or `worker`."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log
        self.url = ""

    def kill(self) -> None:
        """As the power cord would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As a user would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def rss(self) -> int:
        """Resident bytes now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def running(
    folder: Path, *words: str | Path, env: dict[str, str] | None = None, says: str
) -> Iterator[Server]:
    """Start a command that stays, once its standard output matches `says`."""
    name = str(words[0])
    out, log = folder / f"{name}-{time.monotonic_ns()}.out", folder / f"{name}.log"
    with out.open("w") as stdout, log.open("a") as stderr:
        process = subprocess.Popen(
            [*COMMAND, *map(str, words)],
            stdout=stdout,
            stderr=stderr,
            text=True,
            env={**os.environ, "NEURALIB_WEIGHTS_OFFLINE": "1", "PYTHONUNBUFFERED": "1", **(env or {})},
        )
    server = Server(process, log)
    try:
        deadline = time.monotonic() + UP_WITHIN_S
        while not re.search(says, out.read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{words} did not come up: {out.read_text()}\n{log.read_text()[-3000:]}")
            time.sleep(0.05)
        found = re.search(r"http://[\d.]+:\d+", out.read_text())
        server.url = found.group() if found else ""
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def up(folder: Path, data: Path, *more: str, env: dict[str, str] | None = None) -> Any:
    """`neuralib up` on a free port."""
    return running(folder, "up", "--data", data, "--port", "0", *more, env=env, says=r"is up at http")


class Client:
    """What curl would do, in a few words each."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url
        self.api = f"{url}/api/v1"

    async def json(self, method: str, path: str, expect: int | tuple[int, ...] = 200, **options: Any) -> Any:
        async with self.session.request(method, f"{self.api}{path}", **options) as reply:
            body = await reply.json(content_type=None)
            assert reply.status in (expect if isinstance(expect, tuple) else (expect,)), (reply.status, body)
            return body

    async def library(self, name: str = "evening") -> str:
        return (await self.json("POST", "/libraries", 201, json={"name": name}))["id"]

    async def upload(self, library: str, path: Path) -> dict[str, Any]:
        with path.open("rb") as file:
            form = aiohttp.FormData()
            form.add_field("file", file, filename=path.name)
            body = await self.json("POST", f"/libraries/{library}/assets", 201, data=form)
        return body["items"][0]["asset"]

    async def submit(self, asset: str, operation: str, **more: Any) -> dict[str, Any]:
        body = {"operation": operation, "inputs": [{"asset_id": asset}], **more}
        return await self.json("POST", "/jobs", 202, json=body)

    async def job(self, job: str) -> dict[str, Any]:
        return await self.json("GET", f"/jobs/{job}")

    async def ended(self, job: str) -> dict[str, Any]:
        """The job once it is over."""
        async with asyncio.timeout(JOB_WITHIN_S):
            while True:
                body = await self.json("GET", f"/jobs/{job}?wait_s=20")
                if body["state"] not in {"queued", "running", "cancelling"}:
                    return body

    async def until(self, job: str, *states: str) -> dict[str, Any]:
        async with asyncio.timeout(JOB_WITHIN_S):
            body = await self.job(job)  # first without waiting, which is for a change
            while body["state"] not in states:
                assert body["state"] in {"queued", "running", "cancelling"}, body
                body = await self.json("GET", f"/jobs/{job}?wait_s=1")
            return body

    async def events(self, path: str, last: int | None = None) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """(event, data) of an event stream, until it ends."""
        headers = {"Last-Event-ID": str(last)} if last is not None else {}
        timeout = aiohttp.ClientTimeout(total=JOB_WITHIN_S)
        async with self.session.get(f"{self.api}{path}", headers=headers, timeout=timeout) as stream:
            assert stream.status == 200
            name = ""
            async for raw in stream.content:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    yield name, json.loads(line[6:])

    async def content(self, asset: str, **headers: str) -> tuple[int, bytes]:
        async with self.session.get(f"{self.api}/assets/{asset}/content", headers=headers) as reply:
            return reply.status, await reply.read()


def write_tones(path: Path, seconds: float, *, rate: int = 44100, subtype: str = "PCM_16") -> Path:
    """A little music: two voices and a beat, stereo, never silent."""
    t = np.arange(round(seconds * rate)) / rate
    beat = np.exp(-8 * (t % 0.5)) * np.sin(2 * np.pi * 70 * t)
    left = 0.3 * np.sin(2 * np.pi * 220 * t) + 0.3 * beat
    right = 0.3 * np.sin(2 * np.pi * 277.18 * t) + 0.3 * beat
    soundfile.write(path, np.stack([left, right], 1), rate, subtype=subtype)
    return path
