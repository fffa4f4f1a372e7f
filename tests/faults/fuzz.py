"""Malformed requests, and mutated media: none is answered with 5xx, and none leaves anything behind."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from corpus import mutations
from faults.load import Load
from faults.malformed import Malformed
from faults.row import Row, Scale
from faults.site import Process, Site, open_site, session, write_song
from faults.stores import Stores

REQUESTS, MEDIA = "malformed requests", "mutated media files"
ANSWER_S = 20.0
UNFINISHED_S = 0.3
GROWTH_MIB = 32.0
SETTLE_S = 5.0
POOLED = 12
"""Connections to the database and to Redis that a pool may have opened meanwhile."""
DOCUMENTED = {"unsupported-audio", "decode-failed", "non-finite-audio", "audio-too-short", "audio-too-long"}


async def requests(scale: Scale, stores: Stores, folder: Path) -> Row:
    row = Row(REQUESTS)
    async with fuzzed_site(stores, folder) as (site, load):
        job = await load.submit(windows=1)
        ids = {"library": [load.library, "x"], "asset": [load.track], "job": [job]}
        made = iter(Malformed(scale.chance(REQUESTS), ids, write_song(folder, 0.02).read_bytes()))
        answers: Counter[str] = Counter()

        async def send() -> None:
            raw = next(made)
            answer = await ask(site.url, raw.encoded())
            answers[answer] += 1
            # /readyz is right: some models have no worker here.
            fine = not answer.startswith("5") or (raw.route, answer) == ("readyz", "503")
            row.claim(fine, f"{answer} to {raw.encoded()[:300]!r}")

        await hold_still(row, site, scale.pick((150, 450), (2000, 8000)), send, at_once=16)
    row.counts |= dict(sorted(answers.items()))
    row.claim(answers["silence"] == 0, f"{answers['silence']} requests were not answered in {ANSWER_S:g} s")
    return row


async def media(scale: Scale, stores: Stores, folder: Path) -> Row:
    row = Row(MEDIA)
    async with fuzzed_site(stores, folder) as (site, load):
        files, answers = mutations(scale.seed), Counter[str]()

        async def send() -> None:
            name, content = next(files)
            status, body = await load.call(
                "POST", f"/libraries/{load.library}/assets", data=form(name, content)
            )
            answer = "ok" if status == 201 else body["code"] if status else body
            answers[answer] += 1
            row.claim(answer == "ok" or answer in DOCUMENTED, f"{name}: {status} {answer}")
            row.claim("crashed" not in str(body), f"{name}: the decoder crashed")

        await hold_still(row, site, scale.pick((6, 18), (200, 1800)), send, at_once=3)
    row.counts |= dict(sorted(answers.items()))
    return row


def form(name: str, content: bytes) -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field("file", BytesIO(content), filename=name)
    return made


async def ask(url: str, data: bytes) -> str:
    """The status of the answer; `closed` when there is none, `unfinished` when the server rightly waits for the rest
    of a head, `silence` when it says nothing for no reason.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    try:
        with suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
        whole = b"\r\n\r\n" in data
        return await _answer(
            reader, ANSWER_S if whole else UNFINISHED_S, "silence" if whole else "unfinished"
        )
    finally:
        writer.transport.abort()


async def _answer(reader: asyncio.StreamReader, within_s: float, otherwise: str) -> str:
    try:
        async with asyncio.timeout(within_s):
            while True:
                line = await reader.readline()
                if not line:
                    return "closed"
                if line.startswith(b"HTTP/") and line.split()[1] != b"100":
                    return line.split()[1].decode()
    except TimeoutError:
        return otherwise
    except ConnectionError:
        return "closed"


@asynccontextmanager
async def fuzzed_site(stores: Stores, folder: Path) -> AsyncIterator[tuple[Site, Load]]:
    more = {"NEURALIB_LIMITS_IDLE_BODY_S": "2", "NEURALIB_LOG_LEVEL": "warning"}
    async with open_site(stores, folder, workers=1, more=more) as site, session() as http:
        load = Load(site, http)
        await load.prepare(write_song(folder))
        yield site, load


@dataclass(frozen=True)
class Weight:
    """What a process takes."""

    mib: float
    fds: int

    @classmethod
    def of(cls, process: Process) -> "Weight":
        proc = Path(f"/proc/{process.pid}")
        pages = int((proc / "statm").read_text().split()[1])
        return cls(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), len(list((proc / "fd").iterdir())))


async def hold_still(
    row: Row, site: Site, counts: tuple[int, int], send: Callable[[], Awaitable[None]], *, at_once: int
) -> None:
    """Send `counts[0]` to warm up and `counts[1]` more: the API must not have grown, nor left a file behind."""
    began = time.monotonic()
    pid = site.api.pid
    await _many(counts[0], send, at_once)
    before = await _settled(site, None)
    await _many(counts[1], send, at_once)
    after = await _settled(site, before.fds)
    left = [path for kind in ("upload", "job") for path in site.scratch.rglob(f"neuralib-{kind}-*")]
    row.counts |= {
        "sent": sum(counts),
        "a second": round(sum(counts) / (time.monotonic() - began)),
        "RSS MiB": f"{before.mib:.0f} → {after.mib:.0f}",
        "fds": f"{before.fds} → {after.fds}",
    }
    row.claim(site.api.alive and site.api.pid == pid, "the API died")
    row.claim(after.mib - before.mib < GROWTH_MIB, f"the API grew by {after.mib - before.mib:.0f} MiB")
    row.claim(after.fds <= before.fds + POOLED, f"{after.fds - before.fds} more file descriptors are open")
    row.claim(not left, f"{len(left)} temporary files are left")
    row.claim(not site.api.logged("request.failed", "Traceback"), "a handler broke: see the log of the API")


async def _many(count: int, send: Callable[[], Awaitable[None]], at_once: int) -> None:
    left = iter(range(count))

    async def some() -> None:
        for _ in left:
            await send()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(some())


async def _settled(site: Site, fds: int | None) -> Weight:
    """What the API takes once what was cut off has been noticed."""
    deadline = time.monotonic() + SETTLE_S
    weight = Weight.of(site.api)
    while time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        last, weight = weight, Weight.of(site.api)
        if (weight.fds == last.fds and fds is None) or (fds is not None and weight.fds <= fds):
            break
    return weight
