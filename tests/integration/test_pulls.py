"""Weights fetched through the API by a real worker, from a hub on this machine: one job, one download, one end."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from acceptance.harness import write_tones
from api_client import Api
from crew import at_work
from hub import LocalHub, local_hub
from neuralib import identity
from neuralib.api import listening
from neuralib.config import Settings
from neuralib.db import jobs as rows
from neuralib.entities import JobState, Scope, new_id
from neuralib.executors import Checkpoint, Executor, Hub, Output, Params, Plan
from neuralib.executors.registry import Plugin, Registry
from neuralib.services import Services
from neuralib.weights import Bundled, Resolver
from neuralib.worker import Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTENT = bytes(range(256)) * 4000
SHA = hashlib.sha256(CONTENT).hexdigest()
WITHIN_S = 30.0


@pytest.fixture(scope="module")
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    worker = {"lease_s": 3.0, "poll_s": 600.0, "scratch": tmp_path_factory.mktemp("scratch")}
    return settings.with_tables(worker=worker, database={"pool": 10})


def model_of(folder: Path, **more: Any) -> type[Executor[Any]]:
    """A model that is nobody else's: good weights at a hub, a small stand-in here."""
    small = folder / "small.bin"
    small.write_bytes(b"small")

    class Lab(Executor[Params]):
        name = f"lab-{uuid4()}"
        title = "Lab"
        operation = "lab"
        params = Params
        checkpoints = (
            Checkpoint(
                "good",
                "Good",
                "CC-BY-NC",
                sources=(Hub(("https://hub.invalid/a/good.bin",), (more.get("pin", SHA),), "lab"),),
                commercial_use=False,
            ),
            Checkpoint(
                "small",
                "Small",
                "MIT",
                sources=(Bundled((small,), (hashlib.sha256(b"small").hexdigest(),)),),
                commercial_use=True,
                demo=True,
            ),
        )

        def load(self, *_: Any) -> None: ...

        @classmethod
        def plan(cls, *_: Any) -> Plan:
            return Plan(1)

        def run(self, *_: Any) -> Output:
            return Output()

    return Lab


@dataclass
class Lab:
    """A model, a hub, an API and, while somebody works, a worker."""

    services: Services
    model: str
    hub: LocalHub
    cache: Path
    api: Api

    @property
    def path(self) -> str:
        return f"/models/{self.model}/checkpoints/good/pull"

    @property
    def file(self) -> Path:
        return self.cache / "lab" / "good.bin"

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Worker]:
        resolver = Resolver(self.cache, mirror=self.hub.url)
        async with at_work(self.services, [self.model], resolver) as worker:
            yield worker

    async def pull(self) -> dict[str, Any]:
        got = await self.api.post(self.path)
        assert got.status in {200, 202}, got.content
        return dict(got.json)

    async def job(self, job: str, **wait: Any) -> dict[str, Any]:
        return dict((await self.api.get(f"/jobs/{job}", params=wait)).json)

    async def until(self, ready: Callable[[dict[str, Any]], bool], job: str) -> dict[str, Any]:
        deadline = time.monotonic() + WITHIN_S
        while not ready(told := await self.job(job)):
            assert time.monotonic() < deadline, told
            await asyncio.sleep(0.05)
        return told

    async def ended(self, job: str) -> dict[str, Any]:
        return await self.until(lambda told: told["finished_at"] is not None, job)

    async def card(self) -> dict[str, Any]:
        (card,) = [c for c in (await self.api.get("/models")).json["items"] if c["id"] == self.model]
        return dict(card)

    async def known(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The card of the good weights and of the model, once a worker has told."""
        deadline = time.monotonic() + WITHIN_S
        while not (card := await self.card())["workers"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        return card["checkpoints"][0], card


Made = Callable[..., Awaitable[Lab]]


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with local_hub() as hub:
        hub.files["/a/good.bin"] = CONTENT
        yield hub


@pytest_asyncio.fixture(loop_scope="module")
async def made(services: Services, owner: UUID, hub: LocalHub, tmp_path: Path) -> AsyncIterator[Made]:
    async with AsyncExitStack() as stack:

        async def make(weights: dict[str, Any] | None = None, slots: int = 2, **more: Any) -> Lab:
            executor = model_of(tmp_path, **more)
            settings = services.settings.with_tables(
                weights={"mirror": hub.url, **(weights or {})}, worker={"slots": slots}
            )
            own = replace(services, settings=settings, registry=Registry([(executor, Plugin("tests", "0"))]))
            url = await stack.enter_async_context(listening(own, owner, "127.0.0.1", 0))
            api = await stack.enter_async_context(Api(url))
            return Lab(own, executor.name, hub, tmp_path / "cache", api)

        yield make


async def test_a_pull_brings_weights_that_the_model_takes_by_itself_from_then_on(made: Made) -> None:
    lab = await made()
    async with lab.working():
        good, card = await lab.known()
        assert (good["hub"], good["pinned"], good["fetch"], good["demo"]) == (
            "127.0.0.1",
            True,
            "allowed",
            False,
        )
        assert [(place["source"], place["bytes"]) for place in good["places"]] == [(None, None)]
        assert (card["workers"][0]["choice"], card["checkpoints"][1]["demo"]) == ("small", True)
        job = await lab.ended((await lab.pull())["id"])
        good, card = await lab.known()
    assert (job["state"], job["operation"]) == ("succeeded", "pull")
    assert job["model"] == f"{lab.model}/good@sha256:{SHA}"
    progress = job["progress"]
    assert (progress["unit"], progress["fraction"], progress["done"]) == ("bytes", 1.0, len(CONTENT))
    assert lab.file.read_bytes() == CONTENT
    (place,) = good["places"]
    assert (place["source"], place["bytes"], place["sha256"]) == ("cache", len(CONTENT), SHA)
    assert (place["host"], card["workers"][0]["choice"]) == (job["result"]["host"], "good")


async def test_two_clicks_make_one_job_and_one_download(made: Made) -> None:
    lab = await made()
    lab.hub.waits_after = 1000
    async with lab.working():
        first, second = await asyncio.gather(lab.pull(), lab.pull())
        assert first["id"] == second["id"]
        running = await lab.until(lambda told: (told["progress"] or {}).get("done", 0) > 0, first["id"])
        assert (running["progress"]["stage"], running["progress"]["total"]) == ("download", len(CONTENT))
        assert (await lab.pull())["id"] == first["id"]
        lab.hub.go_on.set()
        assert (await lab.ended(first["id"]))["state"] == "succeeded"
    assert lab.hub.downloads == 1


async def test_a_pull_is_cancelled_at_once_and_leaves_nothing(made: Made) -> None:
    lab = await made()
    lab.hub.waits_after = 1000
    async with lab.working():
        job = (await lab.pull())["id"]
        await lab.until(lambda told: (told["progress"] or {}).get("done", 0) > 0, job)
        await lab.api.post(f"/jobs/{job}/cancel")
        assert (await lab.ended(job))["state"] == "cancelled"
        lab.hub.go_on.set()
        deadline = time.monotonic() + WITHIN_S
        while list(lab.cache.rglob("*.bin*")):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert (await lab.ended((await lab.pull())["id"]))["state"] == "succeeded"


async def test_a_pull_takes_no_place_of_a_job_that_computes(made: Made, tmp_path: Path) -> None:
    lab = await made(slots=1)
    lab.hub.waits_after = 1000
    song = await lab.api.asset(write_tones(tmp_path / "song.wav", 1).read_bytes())
    async with lab.working():
        pulling = (await lab.pull())["id"]
        await lab.until(lambda told: (told["progress"] or {}).get("done", 0) > 0, pulling)
        asked = {"model": f"{lab.model}/small", "inputs": [{"asset_id": song["id"]}]}
        computing = (await lab.api.post("/jobs", asked)).json["id"]
        assert (await lab.ended(computing))["state"] == "succeeded"
        assert (await lab.job(pulling))["state"] == "running"
        lab.hub.go_on.set()
        assert (await lab.ended(pulling))["state"] == "succeeded"


async def test_a_pull_whose_worker_stopped_goes_on_where_it_was(made: Made) -> None:
    lab = await made()
    lab.hub.waits_after = 500_000
    async with lab.working():
        job = (await lab.pull())["id"]
        await lab.until(lambda told: (told["progress"] or {}).get("done", 0) >= 500_000, job)
    assert (await lab.job(job))["state"] == "queued"
    lab.hub.waits_after = None
    lab.hub.go_on.set()
    async with lab.working():
        assert (await lab.ended(job))["state"] == "succeeded"
    first, second = [since for _, _, since in lab.hub.asked]
    assert first is None
    assert second is not None, "what came was not asked for again"
    assert lab.file.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("pin", "files", "code", "says"),
    [
        ("0" * 64, {"/a/good.bin": CONTENT}, "weights-checksum-mismatch", "0000"),
        (SHA, {}, "weights-unavailable", "404"),
    ],
)
async def test_a_pull_that_fails_ends_in_one_typed_error(
    made: Made, pin: str, files: dict[str, bytes], code: str, says: str
) -> None:
    lab = await made(pin=pin)
    lab.hub.files = files
    async with lab.working():
        job = await lab.ended((await lab.pull())["id"])
    assert (job["state"], job["error"]["code"], job["attempt"]) == ("failed", code, 1)
    assert says in job["error"]["detail"]
    assert list(lab.cache.rglob("*.bin*")) == []
    again = await lab.api.post(f"/jobs/{job['id']}/retry", {})
    assert (again.status, again.code) == (409, "job-not-retryable")


@pytest.mark.parametrize(
    ("rules", "checkpoint", "status", "code", "word"),
    [
        ({"offline": True}, "good", 409, "offline", "offline"),
        ({"commercial_safe": True}, "good", 403, "model-license-forbidden", "license"),
        ({}, "small", 409, "nothing-to-fetch", "no-hub"),
    ],
)
async def test_what_may_not_be_pulled_is_refused_and_the_card_says_so(
    made: Made, rules: dict[str, Any], checkpoint: str, status: int, code: str, word: str
) -> None:
    lab = await made(rules)
    got = await lab.api.post(f"/models/{lab.model}/checkpoints/{checkpoint}/pull")
    assert (got.status, got.code) == (status, code)
    told = {each["name"]: each["fetch"] for each in (await lab.card())["checkpoints"]}
    assert told[checkpoint] == word
    assert lab.hub.asked == []


async def test_nobody_pulls_what_does_not_exist(made: Made) -> None:
    lab = await made()
    for path in ("nothing/checkpoints/good", f"{lab.model}/checkpoints/nothing"):
        assert (await lab.api.post(f"/models/{path}/pull")).status == 404


async def test_only_an_admin_pulls(made: Made, owner: UUID) -> None:
    lab = await made()
    keyed = replace(lab.services, settings=lab.services.settings.with_tables(auth={"mode": "keys"}))
    most = frozenset(Scope) - {Scope.ADMIN}
    key, _ = await identity.create_key(lab.services.db, owner, name="most", scopes=most)
    async with (
        listening(keyed, owner, "127.0.0.1", 0) as url,
        Api(url, {"Authorization": f"Bearer {key}"}) as api,
    ):
        got = await api.post(lab.path)
    assert (got.status, got.code) == (403, "insufficient-scope")


async def test_speed_is_the_median_of_what_was_measured(made: Made, owner: UUID) -> None:
    lab = await made()
    assert (await lab.card())["speeds"] == []
    ran = {"weights": {"name": "small"}, "device": "cpu", "precision": "fp32"}
    for factor in (1.0, 9.0, 3.0):
        await _succeeded(lab, owner, {**ran, "realtime_factor": factor})
    await _succeeded(lab, owner, {**ran, "device": "cuda:0", "realtime_factor": 80.0})
    await _succeeded(lab, owner, {"weights": {"name": "good"}, "bytes": 7})  # a pull has no speed
    assert (await lab.card())["speeds"] == [
        {"checkpoint": "small", "device": "cpu", "precision": "fp32", "realtime_factor": 3.0, "jobs": 3},
        {"checkpoint": "small", "device": "cuda:0", "precision": "fp32", "realtime_factor": 80.0, "jobs": 1},
    ]


async def _succeeded(lab: Lab, owner: UUID, result: dict[str, Any]) -> None:
    """A job that has ended so."""
    async with lab.services.db.transaction() as tx:
        await rows.insert(
            tx,
            id=new_id(),
            owner=owner,
            operation="lab",
            model=lab.model,
            checkpoint=None,
            params={},
            output={},
            asset=None,
            library=None,
            priority=0,
            max_attempts=1,
            timeout_s=60.0,
            metadata={},
            recipe=None,
        )
        claimed = await rows.claim(tx, lab.model, "nobody", timedelta(seconds=60))
        assert claimed is not None
        assert await rows.finish(tx, claimed, JobState.SUCCEEDED, result=result) is not None
