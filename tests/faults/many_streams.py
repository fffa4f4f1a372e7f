"""A thousand clients read the event stream of one owner while jobs run: everybody hears everything, soon."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from faults.fuzz import Weight
from faults.ledger import close_the_books
from faults.load import Load
from faults.row import Row, Scale, percentile
from faults.site import Site, open_site, session, write_song
from faults.stores import Stores

NAME = "1,000 event streams"
API_P95_MS = 250.0
DELIVERY_P99_MS = 500.0
CLIENT_KIB = 20.0
GROWTH_MIB = 64.0
TOLD_WITHIN_S = 60.0
OPENED_AT_ONCE = 50

FRAME = re.compile(rb'id: (\d+)\nevent: ([a-z.]+)\ndata: \{"seq":\d+,"at":"([^"]+)"[^\n]*\n\n')
ENDINGS = {b"job.succeeded", b"job.failed", b"job.cancelled", b"job.timed_out"}


class Client(asyncio.Protocol):
    """Reads a stream and keeps no more of it than the counts."""

    def __init__(self, request: bytes, delays: list[float]) -> None:
        self.last = 0
        self.gaps = 0
        self.endings = 0
        self.begun = asyncio.Event()
        self.transport: asyncio.BaseTransport | None = None
        self._request = request
        self._delays = delays
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.begun.set()
        now, text, end = time.time(), self._rest + data, 0
        for found in FRAME.finditer(text):
            seq, end = int(found[1]), found.end()
            self.gaps += seq != self.last + 1
            self.last = seq
            if found[2] in ENDINGS:
                self.endings += 1
                self._delays.append(now - datetime.fromisoformat(found[3].decode()).timestamp())
        self._rest = text[max(end, text.rfind(b"\n\n") + 2) if b"\n\n" in text else 0 :]


async def run(scale: Scale, stores: Stores, folder: Path) -> Row:
    row, rng = Row(NAME), scale.chance(NAME)
    clients, jobs, over_s = scale.pick((100, 10, 3.0), (1000, 100, 30.0))
    async with open_site(stores, folder, workers=1) as site, session() as http:
        load = Load(site, http)
        await load.prepare(write_song(folder))
        await load.submit(windows=1)  # loads the model
        await load.settled(60.0)
        before, delays = Weight.of(site.api), list[float]()
        async with many_clients(site, clients, delays) as readers:
            opened = Weight.of(site.api)
            answers: list[float] = []
            async with asking(load, answers):
                await load.pour(jobs, over_s, rng, windows=3)
                await load.settled(120.0)
                await heard(readers, jobs + 1)
            after = Weight.of(site.api)
            row.claim(
                all(r.endings == jobs + 1 for r in readers), f"heard: {Counter(r.endings for r in readers)}"
            )
            row.claim(not any(r.gaps for r in readers), "some stream had a gap")
        await close_the_books(row, site, load)
    kib = (opened.mib - before.mib) * 1024 / clients
    api_ms, delivery_ms = percentile(answers, 0.95) * 1000, percentile(delays, 0.99) * 1000
    row.counts |= {
        "clients": clients,
        "endings heard": sum(r.endings for r in readers),
        "API p95 ms": round(api_ms),
        "delivery p50 ms": round(percentile(delays, 0.5) * 1000),
        "delivery p99 ms": round(delivery_ms),
        "KiB a client": round(kib, 1),
        "RSS MiB": f"{before.mib:.0f} → {opened.mib:.0f} → {after.mib:.0f}",
    }
    row.claim(after.mib - opened.mib < GROWTH_MIB, f"the API grew by {after.mib - opened.mib:.0f} MiB")
    if scale.long:  # figures: not for machines that do something else besides
        row.claim(api_ms < API_P95_MS, f"the API answered in {api_ms:.0f} ms (p95)")
        row.claim(kib < CLIENT_KIB, f"a client takes {kib:.1f} KiB")
    return row


@asynccontextmanager
async def many_clients(site: Site, count: int, delays: list[float]) -> AsyncIterator[list[Client]]:
    """So many of them, from the first event on, all connected."""
    loop, port = asyncio.get_running_loop(), urlsplit(site.url).port
    request = b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nLast-Event-ID: 0\r\n\r\n"
    gate, readers = asyncio.Semaphore(OPENED_AT_ONCE), list[Client]()

    async def open_one() -> None:
        async with gate, asyncio.timeout(60):
            _, client = await loop.create_connection(lambda: Client(request, delays), "127.0.0.1", port)
            readers.append(client)
            await client.begun.wait()

    await asyncio.gather(*(open_one() for _ in range(count)))
    delays.clear()  # what was history when they came
    try:
        yield readers
    finally:
        for reader in readers:
            if reader.transport is not None:
                reader.transport.abort()


@asynccontextmanager
async def asking(load: Load, answers: list[float]) -> AsyncIterator[None]:
    """Ask the API something small again and again beside the block; seconds of each answer."""

    async def ask() -> None:
        while True:
            for path in ("/jobs?limit=20", "/libraries", f"/assets/{load.track}"):
                began = time.monotonic()
                status, body = await load.call("GET", path)
                assert status == 200, body
                answers.append(time.monotonic() - began)
                await asyncio.sleep(0.05)

    task = asyncio.create_task(ask())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def heard(readers: list[Client], endings: int) -> None:
    deadline = time.monotonic() + TOLD_WITHIN_S
    while any(reader.endings < endings for reader in readers) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
