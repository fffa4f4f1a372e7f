"""Enqueue-to-start: NeuraLib beside plain arq, in one run, over the same Valkey and PostgreSQL.

    python scripts/bench/queue.py [--pairs 40]

Ours is the time from the call of `jobs.submit` (which commits the job and its event first) to the claim of a worker;
plain arq's from the call of `enqueue_job` to the first line of the function, with arq's defaults and, as a second peer,
with poll_delay=0.01. Every pair waits a random while first, so that polls are met at every phase. The gate: every job
ran, exactly once.
"""

import sys

del sys.path[0]  # this folder: the file is called like a module of Python itself

import argparse  # noqa: E402
import asyncio  # noqa: E402
import platform  # noqa: E402
import random  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Self  # noqa: E402

import arq  # noqa: E402
import numpy as np  # noqa: E402
import soundfile  # noqa: E402
from arq.connections import RedisSettings, create_pool  # noqa: E402

from neuralib import assets, jobs, libraries, logs  # noqa: E402
from neuralib.config import load_settings  # noqa: E402
from neuralib.entities import JobState  # noqa: E402
from neuralib.orchestrator import embedded, working  # noqa: E402
from neuralib.services import Services, open_services  # noqa: E402
from neuralib.worker import Worker, make_resolver  # noqa: E402

FLOOR_P50_MS, AIM_P50_MS = 20.0, 2.0


class PlainArq:
    """A worker as arq's documentation starts one."""

    def __init__(self, url: str, queue: str, **options: float) -> None:
        self._settings, self._queue, self._options = RedisSettings.from_dsn(url), queue, options
        self._started: asyncio.Queue[float] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        async def job(_: object) -> None:
            self._started.put_nowait(time.perf_counter())

        self._pool = await create_pool(self._settings, default_queue_name=self._queue)
        self._worker = arq.Worker(
            [arq.func(job, name="job")],
            queue_name=self._queue,
            redis_settings=self._settings,
            handle_signals=False,
            **self._options,
        )
        self._task = asyncio.create_task(self._worker.async_run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, *self._worker.tasks.values(), return_exceptions=True)
        await self._pool.aclose()

    async def once(self) -> float:
        asked = time.perf_counter()
        await self._pool.enqueue_job("job")
        return (await self._started.get() - asked) * 1000


class Ours:
    """A worker of NeuraLib, with the executor that does nothing."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def prepare(self, folder: Path) -> None:
        soundfile.write(folder / "a.wav", np.full(2000, 0.1), 44100)

        content = (folder / "a.wav").read_bytes()

        async def chunks():
            yield content

        self._owner = await libraries.ensure_local_owner(self._services)
        library = await libraries.create(self._services, self._owner, name="bench")
        upload = assets.Upload("a.wav", chunks())
        self._asset = await assets.upload(self._services, self._owner, library.id, upload)

    async def once(self) -> float:
        asked = time.time()
        request = jobs.JobRequest(self._asset.id, "echo", on_existing=jobs.OnExisting.RERUN)
        view = await jobs.submit(self._services, self._owner, request)
        with self._services.bus.listen(self._owner) as listener:
            while True:
                view = await jobs.get(self._services, self._owner, view.job.id)
                if view.job.finished_at is not None:
                    break
                await listener.wait(1.0)
        assert view.job.state is JobState.SUCCEEDED, view.job.error
        assert view.job.attempt == 1
        assert view.job.started_at is not None
        return (view.job.started_at.timestamp() - asked) * 1000


async def main(pairs: int) -> None:
    logs.configure("error")
    with tempfile.TemporaryDirectory(prefix="neuralib-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        async with (
            embedded(load_settings(), folder / "data") as (settings, _),
            open_services(settings, migrating=True) as services,
            working(Worker(services, ["echo"], make_resolver(settings, folder)), drain_s=0.0),
        ):
            url = settings.redis.url.get_secret_value()
            ours = Ours(services)
            await ours.prepare(folder)
            async with PlainArq(url, "plain") as plain, PlainArq(url, "quick", poll_delay=0.01) as quick:
                sides = {"neuralib": ours, "arq, defaults": plain, "arq, poll_delay 0.01": quick}
                taken = await measure(sides, pairs)
    report(taken)


async def measure(sides, pairs: int) -> dict[str, list[float]]:
    rng = random.Random(1)
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(pairs + 3):
        order = list(sides) if round_ % 2 else list(sides)[::-1]
        for name in order:
            await asyncio.sleep(rng.uniform(0, 0.6))
            milliseconds = await sides[name].once()
            if round_ >= 3:  # the first rounds load and warm
                taken[name].append(milliseconds)
    return taken


def report(taken: dict[str, list[float]]) -> None:
    print(
        f"python {platform.python_version()}, arq {arq.VERSION}, {len(taken['neuralib'])} rounds, gate: each ran once"
    )
    print(f"{'':22}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}{'x neuralib':>12}")
    ours = statistics.median(taken["neuralib"])
    for name, values in taken.items():
        ratio = statistics.median(b / a for a, b in zip(taken["neuralib"], values, strict=True))
        p95 = sorted(values)[round(0.95 * (len(values) - 1))]
        print(f"{name:22}{statistics.median(values):9.1f}{p95:9.1f}{max(values):9.1f}{ratio:12.1f}")
    verdict = "holds" if ours < FLOOR_P50_MS else "DOES NOT HOLD"
    print(f"p50 below {FLOOR_P50_MS:g} ms: {verdict} (aim {AIM_P50_MS:g} ms)")
    raise SystemExit(0 if ours < FLOOR_P50_MS else 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=40)
    asyncio.run(main(parser.parse_args().pairs))
