"""Jobs of several inputs, from their submission to the run that reads them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
import pytest_asyncio

from api_client import Api
from corpus import wav
from crew import at_work
from media import Media, noise
from neuralib import assets, jobs, libraries
from neuralib.api import listening
from neuralib.config import Settings
from neuralib.db import libraries as owner_rows
from neuralib.entities import JobInput, JobState, NewAsset, new_id
from neuralib.errors import AssetInUse, InputUnsupported, NotFound, ValidationFailed
from neuralib.executors import (
    AudioInfo,
    Checkpoint,
    Executor,
    InputInfo,
    Output,
    Params,
    Plan,
    Recording,
    RunContext,
    Takes,
)
from neuralib.executors.registry import Plugin, Registry
from neuralib.jobs import JobRequest, JobView, OnExisting
from neuralib.pipeline import TERMINAL
from neuralib.services import Services
from neuralib.weights import Resolver

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITHIN_S = 30.0


class Choir(Executor[Params]):
    """Takes two or three recordings and notes, and says what it got."""

    name = "choir"
    title = "Choir"
    operation = "sing"
    params = Params
    takes = (Takes("audio", least=2, most=3), Takes("midi", least=0, media_types=("audio/midi",)))

    def load(self, *_: Any) -> None:
        pass

    @classmethod
    def plan(cls, info: AudioInfo, params: Params, checkpoint: Checkpoint | None) -> Plan:
        return Plan(1)

    @classmethod
    def check(cls, inputs: Sequence[InputInfo], params: Params) -> None:
        if any(each.name == "nobody" for each in inputs):
            raise ValidationFailed("nobody does not sing")

    def run(self, recording: Recording, params: Params, context: RunContext) -> Output:
        seen = []
        for each in context.inputs:
            got = each.content
            if isinstance(got, Recording):
                shape = [got.sample_rate, got.channels, got.frames]
                seen.append([each.kind, each.name, shape, float(np.abs(got.read()).sum())])
            else:
                seen.append([each.kind, each.name, got.read_bytes().decode()])
        assert context.inputs[0].content == recording
        assert context.files("midi") == [each.content for each in context.inputs if each.kind == "midi"]
        return Output(facts={"seen": seen})


@pytest.fixture(scope="module")
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings.with_tables(worker={"scratch": tmp_path_factory.mktemp("scratch")}, database={"pool": 8})


class Studio:
    """Services with the choir, and a library to sing from."""

    def __init__(self, services: Services, owner: UUID, library: UUID, folder: Path) -> None:
        self.services, self.owner, self.library = services, owner, library
        self.media = Media(folder)

    async def song(self, seed: int, rate: int = 8000, channels: int = 2) -> UUID:
        path = self.media.sf(f"{seed}.wav", noise(0.5, rate, channels, seed), rate, subtype="PCM_16")

        async def chunks() -> AsyncIterator[bytes]:
            yield path.read_bytes()

        upload = assets.Upload(path.name, chunks())
        return (await assets.upload(self.services, self.owner, self.library, upload)).id

    async def notes(self, text: str = "MThd", media_type: str = "audio/midi") -> UUID:
        path = self.media.bytes(f"{uuid4()}.mid", text.encode())
        new = NewAsset(new_id(), self.library, "midi", "midi", "notes")
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        stored = await assets.store(self.services, self.owner, new, path, sha256, len(text), media_type)
        return stored.id

    async def submit(self, *given: UUID | JobInput, **more: Any) -> JobView:
        inputs = [each if isinstance(each, JobInput) else JobInput(each) for each in given]
        request = JobRequest(inputs[0].asset_id, model="choir", inputs=inputs, **more)
        return await jobs.submit(self.services, self.owner, request)

    async def ended(self, view: JobView) -> JobView:
        with self.services.bus.listen(self.owner) as listener:
            async with asyncio.timeout(WITHIN_S):
                while view.job.state not in TERMINAL:
                    await listener.wait(0.2)
                    view = await jobs.get(self.services, self.owner, view.job.id)
        return view

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        resolver = Resolver(self.media.folder / "weights", offline=True)
        async with at_work(self.services, ["choir"], resolver):
            yield


@pytest_asyncio.fixture(loop_scope="module")
async def studio(services: Services, owner: UUID, tmp_path: Path) -> Studio:
    library = await libraries.create(services, owner, name="Tests")
    registry = Registry([(Choir, Plugin("tests", "0"))])
    return Studio(replace(services, registry=registry), owner, library.id, tmp_path)


async def test_a_run_gets_every_input_in_order_audio_decoded_and_files_as_they_are(studio: Studio) -> None:
    one, other, notes = await studio.song(1), await studio.song(2, 16_000, 1), await studio.notes("MThd…")
    async with studio.working():
        view = await studio.ended(await studio.submit(JobInput(one, "lead"), notes, JobInput(other)))
    assert view.job.state is JobState.SUCCEEDED, view.job.error
    lead, midi, second = view.job.result["facts"]["seen"]
    assert lead[:3] == ["audio", "lead", [8000, 2, 4000]]
    assert midi == ["midi", None, "MThd…"]
    assert second[:3] == ["audio", None, [16_000, 1, 8000]]
    assert lead[3] == pytest.approx(np.abs(noise(0.5, 8000, 2, 1)).sum(), rel=1e-3)
    assert second[3] == pytest.approx(np.abs(noise(0.5, 16_000, 1, 2)).sum(), rel=1e-3)
    assert [(each.asset_id, each.name) for each in view.inputs] == [
        (one, "lead"),
        (notes, None),
        (other, None),
    ]
    scratch = studio.services.settings.worker.scratch
    assert scratch is not None
    assert list(scratch.iterdir()) == []


async def test_an_input_that_does_not_decode_fails_the_job(studio: Studio) -> None:
    good, broken = await studio.song(3), new_id()
    content = b"RIFF" + bytes(64)
    path = studio.media.bytes("broken.wav", content)
    audio = {"format": "wav", "codec": "pcm_s16le", "subtype": "pcm_16", "sample_rate": 8000, "channels": 1}
    new = NewAsset(
        broken, studio.library, "audio", "track", "broken", audio={**audio, "frames": 9, "duration_s": 1}
    )
    sha256 = hashlib.sha256(content).hexdigest()
    await assets.store(studio.services, studio.owner, new, path, sha256, len(content), "audio/wav")
    async with studio.working():
        view = await studio.ended(await studio.submit(good, broken))
    assert (view.job.state, view.job.error["code"]) == (JobState.FAILED, "unsupported-audio")


async def test_what_the_executor_does_not_take_is_refused(studio: Studio) -> None:
    songs = [await studio.song(seed) for seed in range(10, 14)]
    midi, table = await studio.notes(), await studio.notes("[]", "application/json")
    async with studio.services.db.transaction() as tx:
        stranger = await owner_rows.upsert_owner(tx, f"test-{uuid4()}")
    shelf = (await libraries.create(studio.services, stranger, name="Theirs")).id
    foreign = await Studio(studio.services, stranger, shelf, studio.media.folder).song(20)
    refused: list[tuple[list[UUID | JobInput], type[Exception]]] = [
        ([songs[0]], InputUnsupported),
        ([*songs], InputUnsupported),
        ([midi, *songs[:2]], InputUnsupported),
        ([*songs[:2], table], InputUnsupported),
        ([*songs[:2], midi, midi], InputUnsupported),
        ([JobInput(songs[0], "a"), JobInput(songs[1], "a")], ValidationFailed),
        ([JobInput(songs[0], "nobody"), songs[1]], ValidationFailed),
        ([songs[0], uuid4()], NotFound),
        ([songs[0], foreign], NotFound),
    ]
    for given, error in refused:
        with pytest.raises(error):
            await studio.submit(*given)
    assert await jobs.page(studio.services, studio.owner) == []


async def test_no_input_is_deleted_before_the_job_has_ended_and_the_job_outlives_it(studio: Studio) -> None:
    given = [await studio.song(30), await studio.song(31), await studio.notes()]
    job = (await studio.submit(*given)).job
    for each in given:
        with pytest.raises(AssetInUse):
            await assets.delete(studio.services, studio.owner, each)
    with pytest.raises(AssetInUse):
        await libraries.delete(studio.services, studio.owner, studio.library)
    await jobs.cancel(studio.services, studio.owner, job.id)
    await assets.delete(studio.services, studio.owner, given[1])
    view = await jobs.get(studio.services, studio.owner, job.id)
    assert [each.asset_id for each in view.inputs] == [given[0], given[2]]
    await libraries.delete(studio.services, studio.owner, studio.library)
    view = await jobs.get(studio.services, studio.owner, job.id)
    assert (view.job.asset_id, view.inputs) == (None, [])


async def test_submissions_and_deletions_of_the_same_assets_at_once_wait_for_each_other(
    studio: Studio,
) -> None:
    for seed in range(40, 45):
        given = [await studio.song(seed * 10 + n) for n in range(3)]

        async def attempt(*order: UUID, delete: UUID | None = None) -> None:
            try:
                if delete is None:
                    await studio.submit(*order, on_existing=OnExisting.RERUN)
                else:
                    await assets.delete(studio.services, studio.owner, delete)
            except (AssetInUse, NotFound):
                pass  # whoever came first

        await asyncio.gather(
            attempt(*given), attempt(*reversed(given)), attempt(delete=given[0]), attempt(delete=given[2])
        )


async def test_the_same_inputs_are_the_same_job_and_others_are_not(studio: Studio) -> None:
    a, b, c = [await studio.song(seed) for seed in range(50, 53)]
    first = (await studio.submit(JobInput(a, "lead"), b)).job.id
    assert (await studio.submit(JobInput(a, "lead"), b)).job.id == first
    for others in ([a, b], [JobInput(a, "lead"), c], [JobInput(a, "lead"), b, c], [JobInput(a, "other"), b]):
        assert not (await studio.submit(*others)).existing, others


async def test_jobs_are_found_by_any_of_their_inputs(studio: Studio) -> None:
    a, b, c = [await studio.song(seed) for seed in range(60, 63)]
    job = (await studio.submit(a, b)).job
    for asset, found in ((a, [job.id]), (b, [job.id]), (c, [])):
        shown = await jobs.page(studio.services, studio.owner, asset=asset)
        assert [view.job.id for view in shown] == found


async def test_a_request_names_its_inputs_and_hears_of_them(studio: Studio) -> None:
    async with listening(studio.services, studio.owner, "127.0.0.1", 0) as url, Api(url) as api:
        songs = [(await api.asset(wav(np.random.default_rng(seed).bytes(4000))))["id"] for seed in (70, 71)]
        inputs = [{"asset_id": songs[0], "name": "lead"}, {"asset_id": songs[1], "name": None}]
        told = [{**each, "revision": None} for each in inputs]  # of recordings; transcripts have some
        got = await api.post("/jobs", {"operation": "sing", "inputs": inputs})
        assert (got.status, got.json["asset_id"], got.json["inputs"]) == (202, songs[0], told)
        assert (await api.get(f"/jobs/{got.json['id']}")).json["inputs"] == told
        assert (await api.get(f"/jobs?asset_id={songs[1]}")).json["items"][0]["inputs"] == told
        cancelled = await api.post(f"/jobs/{got.json['id']}/cancel")
        assert cancelled.json["inputs"] == told
        refused = await api.post("/jobs", {"operation": "sing", "inputs": inputs * 17})
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/inputs")
        refused = await api.post("/jobs", {"operation": "sing", "inputs": [*inputs, inputs[0]]})
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/inputs/2/name")
        (card,) = (await api.get("/models")).json["items"]
        assert [(each["kind"], each["least"], each["most"]) for each in card["takes"]] == [
            ("audio", 2, 3),
            ("midi", 0, 1),
        ]
