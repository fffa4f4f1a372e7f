"""A library of ten thousand assets, ten minutes drawn and cut, an archive of 2 GiB, 5 GiB coming in.

    python scripts/bench/library.py [--only SECTION ...] [--assets 10000] [--calls 200] [--zip-gib 2] [--upload-gib 5]

Starts `neuralib serve` on stores of its own for each section. Calls are made one after the other on one connection, after
twenty to warm up; what is told is the time until the whole answer is here. Ends with 1 when a floor is missed or a gate
fails.

assets    list, filter, sort and search. Twenty short recordings come in through the API; the other rows are written straight
          into the database over their bytes, which takes seconds where uploads would take an hour. The gates: walking the
          pages shows every asset once, and each query finds as many as were written for it.
peaks     of a stereo recording of ten minutes: the first answer, and the later ones. The gate: as many points as it must have.
slices    200 of ten minutes by a worker in this process. The gates: one decoder child was started and the file fetched once; the
          slices one after the other are the source, bit for bit.
zip       the memory of the API and its children while an archive goes out. The gate: the CRC of every entry.
upload    scripts/bench/upload.py --gib
"""

import sys

HERE = sys.path.pop(0)  # queue.py in it is called like a module of Python itself

import argparse  # noqa: E402
import asyncio  # noqa: E402
import importlib.util  # noqa: E402
import io  # noqa: E402
import platform  # noqa: E402
import random  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import zipfile  # noqa: E402
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402
from uuid import UUID  # noqa: E402

import aiohttp  # noqa: E402
import soundfile  # noqa: E402

from neuralib import assets  # noqa: E402
from neuralib.config import Settings, load_settings  # noqa: E402
from neuralib.db import assets as rows  # noqa: E402
from neuralib.entities import NewAsset, new_id  # noqa: E402
from neuralib.objects import ObjectStore  # noqa: E402
from neuralib.services import open_services  # noqa: E402
from neuralib.weights import Resolver  # noqa: E402
from neuralib.worker import Worker  # noqa: E402

spec = importlib.util.spec_from_file_location("upload", Path(HERE) / "upload.py")
assert spec is not None
assert spec.loader is not None
upload = importlib.util.module_from_spec(spec)
sys.modules["upload"] = upload  # dataclasses look their module up
spec.loader.exec_module(upload)

P95_MS = 100.0
SLICES = 200
ZIP_MIB = 100.0
WARM = 20
PAGE = 50
ADJECTIVES = [
    "dusty",
    "warm",
    "cold",
    "broken",
    "golden",
    "silver",
    "velvet",
    "hollow",
    "distant",
    "sunken",
    "burning",
    "frozen",
]
TAGS = ["demo", "loop", "oneshot", "rough", "final"]
NOUNS = ["snare", "kick", "hat", "vocal", "pad", "bass", "lead", "choir", "guitar", "piano", "string", "tape"]


@dataclass
class Report:
    """What was measured and whether it holds."""

    missed: int = 0

    def line(self, name: str, figure: str, floor: str, *, holds: bool) -> None:
        self.missed += not holds
        print(f"| {name} | {figure} | {floor} | {'ok' if holds else '**MISSED**'} |", flush=True)

    def gate(self, name: str, *, holds: bool) -> None:
        self.line(name, "gate", "must hold", holds=holds)

    def times(self, name: str, seconds: list[float]) -> None:
        p50, p95 = (1000 * statistics.quantiles(seconds, n=100)[at] for at in (49, 94))
        figure = f"p50 {p50:.1f} ms, p95 {p95:.1f} ms (n = {len(seconds)})"
        self.line(name, figure, f"p95 {P95_MS:g} ms", holds=p95 < P95_MS)


@dataclass(frozen=True)
class Bench:
    """A running server and a client of it."""

    served: "upload.Served"
    session: aiohttp.ClientSession
    folder: Path
    options: argparse.Namespace
    report: Report

    async def json(self, method: str, path: str, **more: object) -> dict:
        async with self.session.request(method, f"{self.served.api}{path}", **more) as reply:
            assert reply.status < 300, await reply.text()
            return await reply.json()

    async def timed(self, path: str, calls: int) -> list[float]:
        took = []
        for call in range(WARM + calls):
            began = time.perf_counter()
            async with self.session.get(f"{self.served.api}{path}") as reply:
                assert reply.status == 200, await reply.text()
                await reply.read()
            if call >= WARM:
                took.append(time.perf_counter() - began)
        return took

    async def library(self) -> UUID:
        return UUID((await self.json("POST", "/libraries", json={"name": "bench"}))["id"])

    async def owner(self) -> UUID:
        return UUID((await self.json("GET", "/me"))["owner"]["id"])


# ── ten thousand assets ───────────────────────────────────────────────────────────────────────────────


async def many(bench: Bench) -> None:
    library = await bench.library()
    count = bench.options.assets
    queries = await fill(bench, library, count)
    path = f"/libraries/{library}/assets"
    bench.report.times(
        f"first page of {count}", await bench.timed(f"{path}?limit={PAGE}", bench.options.calls)
    )
    await deep(bench, path, count)
    for name, (query, expected) in queries.items():
        found = await walk(bench, f"{path}?{query}")
        bench.report.gate(f"{name}: {expected} found", holds=len(found) == expected)
        bench.report.times(name, await bench.timed(f"{path}?{query}&limit={PAGE}", bench.options.calls))


async def fill(bench: Bench, library: UUID, count: int) -> dict[str, tuple[str, int]]:
    """The assets; queries, and how many each must find."""
    originals = []
    for number in range(20):
        path = bench.folder / f"{number}.wav"
        replace(upload.stereo(1), seconds=number % 4 + 1).write(path)
        originals.append(await upload.send(bench.session, bench.served.api, str(library), path))
    owner, chance = await bench.owner(), random.Random(1)
    news = [made_up(library, chance.choice(originals), chance, n) for n in range(count - len(originals))]
    async with open_services(settings_of(bench)) as services:
        async with services.db.statements() as db:
            blobs = [(await rows.get(db, owner, UUID(each["id"]))).blob for each in originals]
        by_id = {blob.sha256: blob for blob in blobs}
        for some in batches(news, 500):
            async with services.db.transaction() as tx:
                for new, sha256 in some:
                    await rows.insert(tx, owner, new, by_id[sha256])
    return queries_over([new for new, _ in news])


def made_up(library: UUID, original: dict, chance: random.Random, number: int) -> tuple[NewAsset, str]:
    """A row over the bytes of an original."""
    new = NewAsset(
        id=new_id(),
        library_id=library,
        kind="audio",
        role=chance.choice(["track", "sample"]),
        name=f"{chance.choice(ADJECTIVES)} {chance.choice(NOUNS)} {number}",
        audio=original["audio"],
        facts=original["facts"],
        tags=chance.sample(TAGS, 2),
        rating=chance.choice([None, 1, 2, 3, 4, 5]),
        notes="from the midnight session" if number % 100 == 7 else "",
    )
    return new, original["blob"]["sha256"]


def queries_over(news: list[NewAsset]) -> dict[str, tuple[str, int]]:
    """Each with how many it must find; the originals have neither tags nor rating, and numbers for names."""

    def count(holds: Callable[[NewAsset], bool]) -> int:
        return sum(map(holds, news))

    return {
        "filter: a tag": ("tag=demo", count(lambda a: "demo" in a.tags)),
        "filter: two tags, four stars": (
            "tag=demo,loop&rating_min=4",
            count(lambda a: {"demo", "loop"} <= {*a.tags} and (a.rating or 0) >= 4),
        ),
        "filter: a role, sorted by name": ("role=sample&sort=name", count(lambda a: a.role == "sample")),
        "search: one word of a name": ("q=velvet", count(lambda a: "velvet" in a.name)),
        "search: two words": (
            "q=velvet+snare",
            count(lambda a: "velvet" in a.name and "snare" in a.name),
        ),
        "search: a rare word of notes": ("q=midnight", count(lambda a: "midnight" in a.notes)),
        "search: a word, a tag, three stars, newest first": (
            "q=snare&tag=demo&rating_min=3&sort=-created_at",
            count(lambda a: "snare" in a.name and "demo" in a.tags and (a.rating or 0) >= 3),
        ),
    }


def batches(items: list, size: int) -> Iterator[list]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def deep(bench: Bench, path: str, count: int) -> None:
    """Every page once, timed."""
    took: list[float] = []
    seen = await walk(bench, f"{path}?", took)
    bench.report.times(f"every page of {count}, to the deepest cursor", took)
    bench.report.gate(f"every page: {count} assets, each once", holds=len(seen) == len(set(seen)) == count)


async def walk(bench: Bench, path: str, took: list[float] | None = None) -> list[str]:
    """The ids on all pages."""
    seen: list[str] = []
    cursor = ""
    while True:
        began = time.perf_counter()
        page = await bench.json("GET", f"{path}&limit={PAGE}{cursor}")
        if took is not None:
            took.append(time.perf_counter() - began)
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            return seen
        cursor = f"&cursor={page['next_cursor']}"


# ── the others ────────────────────────────────────────────────────────────────────────────────────────


async def peaks(bench: Bench) -> None:
    shape, path = upload.stereo(10), bench.folder / "long.wav"
    shape.write(path)
    began = time.perf_counter()
    asset = await upload.send(bench.session, bench.served.api, str(await bench.library()), path)
    into = time.perf_counter() - began
    bench.report.line("upload of 10 minutes, peaks made on the way", f"{into:.1f} s", "–", holds=True)
    url = f"/assets/{asset['id']}/peaks"
    began = time.perf_counter()
    first = await bench.json("GET", f"{url}?level=auto")
    took = 1000 * (time.perf_counter() - began)
    bench.report.line(
        "peaks of 10 minutes, first answer", f"{took:.1f} ms", f"{P95_MS:g} ms", holds=took < P95_MS
    )
    points = -(-shape.frames // first["samples_per_pixel"])
    bench.report.gate(f"peaks: {points} points", holds=first["length"] == points == len(first["data"]) // 2)
    for form in ("json", "bin"):
        took = await bench.timed(f"{url}?level=auto&format={form}", bench.options.calls)
        bench.report.times(f"peaks of 10 minutes, {form}", took)


async def archive(bench: Bench) -> None:
    library, owner = await bench.library(), await bench.owner()
    shape = upload.wide(0.25)
    pieces = round(bench.options.zip_gib * 4)
    async with open_services(settings_of(bench)) as services:
        for number in range(pieces):  # stored as uploads are, but not probed: the bytes are what counts
            path = bench.folder / "piece.wav"
            sha256 = replace(shape, seconds=shape.seconds + number).write(path)
            new = NewAsset(new_id(), library, "audio", "track", f"piece {number}")
            await assets.store(services, owner, new, path, sha256, path.stat().st_size, "audio/wav")
    watch = upload.Watch(bench.served.pid)
    watching = asyncio.create_task(watch.run())
    target, began = bench.folder / "export.zip", time.perf_counter()
    async with bench.session.get(f"{bench.served.api}/libraries/{library}/export.zip") as reply:
        assert reply.status == 200, await reply.text()
        with target.open("wb") as file:
            async for chunk in reply.content.iter_chunked(1 << 20):
                file.write(chunk)
    seconds = time.perf_counter() - began
    watching.cancel()
    size = target.stat().st_size / 2**30
    name = f"zip of {size:.2f} GiB in {seconds:.0f} s: memory of API and children, idle {watch.idle / 2**20:.0f} MiB"
    grown = watch.tree_grown_mib
    bench.report.line(name, f"{grown:.0f} MiB more", f"{ZIP_MIB:g} MiB", holds=grown < ZIP_MIB)
    with zipfile.ZipFile(target) as made:
        whole = (
            made.testzip() is None
            and sum(each.filename.endswith(".wav") for each in made.infolist()) == pieces
        )
    bench.report.gate(f"zip: {pieces} recordings, every CRC", holds=whole)


async def incoming(bench: Bench) -> None:
    """In a process of its own."""
    command = [sys.executable, Path(HERE) / "upload.py", "--gib", str(bench.options.upload_gib)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr[-2000:], sep="", end="")
    bench.report.line(
        f"upload of {bench.options.upload_gib:g} GiB",
        "see above",
        f"{upload.FLOOR_MIB} MiB",
        holds=done.returncode == 0,
    )


async def slices(bench: Bench) -> None:
    shape, path = upload.stereo(10), bench.folder / "long.wav"
    shape.write(path)
    asset = await upload.send(bench.session, bench.served.api, str(await bench.library()), path)
    params = {"method": "equal", "parts": SLICES, "snap": "none", "fade_ms": 0}
    order = {"operation": "slice", "inputs": [{"asset_id": asset["id"]}], "params": params}
    async with open_services(settings_of(bench)) as services:
        store = CountedStore(services.objects)
        worker = Worker(replace(services, objects=store), ["slicer"], Resolver(bench.folder, offline=True))
        working = asyncio.create_task(worker.run())
        began, decoders = time.perf_counter(), DECODERS.started
        job = await bench.json("POST", "/jobs", json=order, headers={"Prefer": "wait=60"})
        while job["state"] in {"queued", "running"}:
            job = await bench.json("GET", f"/jobs/{job['id']}?wait_s=20")
        seconds, decoders = time.perf_counter() - began, DECODERS.started - decoders
        worker.stop(0)
        await working
    assert job["state"] == "succeeded", job["error"]
    name = f"{SLICES} slices of 10 minutes: from the order to the last row"
    bench.report.line(name, f"{seconds:.1f} s", "–", holds=True)
    told = f"{decoders} decoder started, the file fetched {store.reads} time(s)"
    bench.report.line("slices: one decode", told, "1 and 1", holds=(decoders, store.reads) == (1, 1))
    outputs = [each["asset_id"] for each in job["outputs"]]
    whole = await pcm(bench, asset["id"])
    parts = [await pcm(bench, each) for each in outputs]
    same = len(outputs) == SLICES and b"".join(parts) == whole
    bench.report.gate(f"slices: {SLICES} in a row are the source, bit for bit", holds=same)


async def pcm(bench: Bench, asset: str) -> bytes:
    """The samples of a wav."""
    async with bench.session.get(f"{bench.served.api}/assets/{asset}/content") as reply:
        assert reply.status == 200
        samples, _ = soundfile.read(io.BytesIO(await reply.read()), dtype="int16", always_2d=True)
    return samples.tobytes()


class CountedStore:
    """An object store that counts how often bytes are fetched."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, *place: Any) -> AsyncGenerator[bytes, None]:
        self.reads += 1
        return self._store.read(*place)


@dataclass
class Decoders:
    """How many decoding children this process started: the interpreter tells of each process that it starts."""

    started: int = 0

    def hear(self, event: str, of: tuple) -> None:
        if event == "subprocess.Popen" and any(str(word).endswith("child.py") for word in of[1]):
            self.started += 1


DECODERS = Decoders()
sys.addaudithook(DECODERS.hear)


SECTIONS: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "assets": many,
    "peaks": peaks,
    "slices": slices,
    "zip": archive,
    "upload": incoming,
}


def settings_of(bench: Bench) -> Settings:
    """Those of the server, for what is written past it."""
    env = bench.served.env
    return load_settings(
        database={"url": env["NEURALIB_DATABASE_URL"]},
        redis={"url": env["NEURALIB_REDIS_URL"]},
        storage={"path": env["NEURALIB_STORAGE_PATH"]},
    )


async def main(options: argparse.Namespace) -> int:
    report = Report()
    print(f"python {platform.python_version()}\n| what | figure | floor | |\n|---|---|---|---|")
    for name in options.only or SECTIONS:
        with tempfile.TemporaryDirectory(prefix="neuralib-bench-") as folder:
            async with (
                upload.serving(Path(folder)) as served,
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1800)) as session,
            ):
                await SECTIONS[name](Bench(served, session, Path(folder), options, report))
    return 1 if report.missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=SECTIONS)
    parser.add_argument("--assets", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--zip-gib", type=float, default=2.0)
    parser.add_argument("--upload-gib", type=float, default=5.0)
    sys.exit(asyncio.run(main(parser.parse_args())))
