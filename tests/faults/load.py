"""Load on a site: jobs that are submitted until they are accepted, and streams that are followed across breaks."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import soundfile

from faults.site import Site

AGAIN_S = 0.2
ACCEPTED_WITHIN_S = 120.0
CALL_S = 30.0
BROKEN = (aiohttp.ClientError, TimeoutError, OSError)


class Load:
    """What a client does to a site. An acknowledged write is one that was answered 201 or 202."""

    def __init__(self, site: Site, session: aiohttp.ClientSession) -> None:
        self.site = site
        self.session = session
        self.accepted: list[str] = []
        self.uploaded: list[str] = []
        self.statuses: Counter[int] = Counter()
        """Of every answer; 0 counts broken connections."""
        self.slowest_s = 0.0
        self._salts = count(1)
        self.library = ""
        self.track = ""

    async def prepare(self, song: Path) -> None:
        """A library with one track."""
        self.library = (await self.insist("POST", "/libraries", 201, json={"name": "storm"}))["id"]
        self.track = await self.upload(song.read_bytes(), song.name)
        self.uploaded.clear()

    async def submit(self, *, again: bool = True, **params: Any) -> str:
        """The id of one job on the track, once it is accepted. No two are alike; one that is sent again because the
        answer was lost is the same one, which the API tells by a 200.
        """
        params["salt"] = next(self._salts)
        body = {"operation": "storm", "inputs": [{"asset_id": self.track}], "params": params}
        job: str = (await self.insist("POST", "/jobs", 202, 200, again=again, json=body))["id"]
        self.accepted.append(job)
        return job

    async def upload(self, content: bytes, name: str) -> str:
        """The id of an asset, once it is acknowledged."""
        path = f"/libraries/{self.library}/assets"

        def form() -> aiohttp.FormData:
            form = aiohttp.FormData()
            form.add_field("file", content, filename=name)
            return form

        body = await self.insist("POST", path, 201, make=form)
        asset: str = body["items"][0]["asset"]["id"]
        self.uploaded.append(asset)
        return asset

    async def pour(self, jobs: int, over_s: float, rng: random.Random, **params: Any) -> None:
        """Submit so many jobs at random moments of `over_s` seconds."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for at in sorted(rng.uniform(0, over_s) for _ in range(jobs)):
                await asyncio.sleep(max(0.0, began + at - time.monotonic()))
                group.create_task(self.submit(**params))

    async def pour_uploads(self, uploads: int, over_s: float, rng: random.Random, song: Path) -> None:
        """Upload so many recordings, no two alike, at random moments of `over_s` seconds."""
        samples, rate = soundfile.read(song)
        began = time.monotonic()
        for at in sorted(rng.uniform(0, over_s) for _ in range(uploads)):
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            file = BytesIO()
            soundfile.write(file, samples * rng.uniform(0.5, 1.0), rate, format="WAV")
            await self.upload(file.getvalue(), "more.wav")

    async def insist(
        self, method: str, path: str, *expect: int, again: bool = True, make: Any = None, **options: Any
    ) -> Any:
        """The body of an expected answer, however often it takes. `make` makes `data` for each call. Raises
        TimeoutError; AssertionError for an answer that no fault excuses.
        """
        async with asyncio.timeout(ACCEPTED_WITHIN_S):
            while True:
                status, body = await self.call(method, path, **options, **({"data": make()} if make else {}))
                if status in expect:
                    return body
                assert again, (status, body)
                assert status in {0, 429, 503, 507}, (status, body)
                await asyncio.sleep(AGAIN_S)

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status and body of one call; (0, why) when the connection broke."""
        began = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=CALL_S)
        url = f"{self.site.url}/api/v1{path}"
        try:
            async with self.session.request(method, url, timeout=timeout, **options) as reply:
                status, body = reply.status, await reply.json(content_type=None)
        except BROKEN as error:
            status, body = 0, repr(error)
        else:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.statuses[status] += 1
        return status, body

    async def settled(self, within_s: float) -> int:
        """Wait until no job waits or runs; how many still do after so long."""
        deadline = time.monotonic() + within_s
        left = -1
        while left and time.monotonic() < deadline:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                async with self.site.sql() as db:
                    while left := await db.fetchval(
                        "select count(*) from jobs where state in ('queued', 'running')"
                    ):
                        if time.monotonic() > deadline:
                            break
                        await asyncio.sleep(AGAIN_S)
            if left:
                await asyncio.sleep(AGAIN_S)
        return left


class Follower:
    """A client of the event stream that comes back to any API whenever it breaks, and says what it heard last."""

    def __init__(self, site: Site, session: aiohttp.ClientSession, rng: random.Random) -> None:
        self.seqs: list[int] = []
        self.types: Counter[str] = Counter()
        self.connects = 0
        self.resets = 0
        self._site = site
        self._session = session
        self._rng = rng

    async def follow(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(*BROKEN):
                await self._listen()
            await asyncio.sleep(self._rng.uniform(0.05, 0.5))

    @staticmethod
    @asynccontextmanager
    async def many(
        site: Site, session: aiohttp.ClientSession, count: int, rng: random.Random
    ) -> AsyncIterator[list["Follower"]]:
        """So many of them, following for as long as the block runs."""
        followers = [Follower(site, session, rng) for _ in range(count)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(follower.follow()) for follower in followers]
            try:
                yield followers
            finally:
                for task in tasks:
                    task.cancel()

    async def reached(self, head: int, within_s: float) -> bool:
        """Whether everything up to `head` was told within so many seconds."""
        deadline = time.monotonic() + within_s
        while (not self.seqs or self.seqs[-1] < head) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return bool(self.seqs) and self.seqs[-1] >= head

    async def _listen(self) -> None:
        headers = {"Last-Event-ID": str(self.seqs[-1] if self.seqs else 0)}
        url = self._rng.choice(self._site.urls)
        async with self._session.get(f"{url}/api/v1/events", headers=headers) as stream:
            if stream.status != 200:
                return
            self.connects += 1
            type_, seq = "", None
            async for raw in stream.content:
                line = raw.decode().rstrip("\n")
                if line.startswith("id: "):
                    seq = int(line[4:])
                elif line.startswith("event: "):
                    type_ = line[7:]
                elif line.startswith("data: "):
                    json.loads(line[6:])  # whole
                elif not line and type_:
                    self._take(type_, seq)
                    type_, seq = "", None

    def _take(self, type_: str, seq: int | None) -> None:
        """An event counts once its empty line came, as the standard of event streams says."""
        self.types[type_] += 1
        self.resets += type_ == "stream.reset"
        if seq is not None:
            self.seqs.append(seq)
