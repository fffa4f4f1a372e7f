"""What was made from what; bytes that go, and come again by their recipe."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from api_client import Api
from lab import PIPELINE, Lab
from neuralib import assets, derivations, jobs, libraries
from neuralib.api import listening
from neuralib.config import Settings
from neuralib.db import assets as asset_rows
from neuralib.entities import Asset, Job, JobState
from neuralib.errors import AssetEvicted, AssetInUse, CannotRebuild, Conflict, NotFound
from neuralib.jobs import JobRequest, JobView
from neuralib.pipeline import TERMINAL
from neuralib.runs import RunView
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    worker = {"lease_s": 3.0, "poll_s": 2.0, "scratch": tmp_path_factory.mktemp("scratch")}
    return settings.with_tables(worker=worker, database={"pool": 10})


@pytest.fixture
def lab(services: Services, owner: UUID, tmp_path: Path) -> Callable[[], Lab]:
    return lambda: Lab(services, owner, tmp_path)


async def broken_down(here: Lab) -> tuple[UUID, RunView]:
    """A track and the run that took it apart."""
    track = await here.track()
    async with here.working():
        return track, await here.ended(await here.start(track, PIPELINE))


def stem(run: RunView, name: str) -> Asset:
    return next(asset for asset in run.outputs if asset.stem == name)


def made_from(run: RunView, source: UUID, kind: str = "analysis") -> Asset:
    jobs = {part.job_id for part in run.parts if part.input_id == source}
    return next(asset for asset in run.outputs if asset.job_id in jobs and asset.kind == kind)


async def now(here: Lab, asset: Asset) -> Asset:
    return await assets.get(here.services, here.owner, asset.id)


async def content(here: Lab, asset: Asset) -> str:
    """The digest of the bytes that are there."""
    hasher = hashlib.sha256()
    async for chunk in assets.content(here.services, asset):
        hasher.update(chunk)
    return hasher.hexdigest()


async def evict(here: Lab, asset: Asset) -> Asset:
    after = await derivations.evict(here.services, here.owner, asset.id)
    await assets.sweep(here.services)
    return after


async def rebuilt(here: Lab, asset: Asset) -> tuple[JobView, Asset]:
    async with here.working():
        job = await derivations.rebuild(here.services, here.owner, asset.id)
        view = await ended(here, job)
    return view, await now(here, asset)


async def ended(here: Lab, job: Job) -> JobView:
    with here.services.bus.listen(here.owner) as listener:
        while (view := await jobs.get(here.services, here.owner, job.id)).job.state not in TERMINAL:
            await listener.wait(0.2)
    return view


# ── lineage ───────────────────────────────────────────────────────────────────────────────────────────


async def test_every_asset_tells_what_it_came_from_and_what_came_of_it(lab: Callable[[], Lab]) -> None:
    here = lab()
    track, run = await broken_down(here)
    vocals = stem(run, "vocals")
    notes = made_from(run, vocals.id)
    found = await derivations.lineage(here.services, here.owner, vocals.id)
    assert {each.asset_id for each in found.assets} == {track, vocals.id, notes.id}
    assert {(link.source, link.target, link.job_id) for link in found.links} == {
        (track, vocals.id, vocals.job_id),
        (vocals.id, notes.id, notes.job_id),
    }
    assert not found.truncated
    by_id = {each.asset_id: each for each in found.assets}
    assert by_id[track].job_id is None
    assert (by_id[vocals.id].operation, by_id[vocals.id].model) == ("split", here.models["split"])
    assert by_id[vocals.id].params == {"fail": False, "fail_on": "", "salt": ""}
    recipes = {each.recipe for each in found.assets if each.asset_id != track}
    assert all(recipe is not None and len(recipe) == 64 for recipe in recipes)
    assert len(recipes) == 2
    whole = await derivations.lineage(here.services, here.owner, track)
    assert {each.asset_id for each in whole.assets} == {track, *(asset.id for asset in run.outputs)}


async def test_a_lineage_is_bounded_and_says_so(lab: Callable[[], Lab]) -> None:
    here = lab()
    track, _ = await broken_down(here)
    found = await derivations.lineage(here.services, here.owner, track, most=3)
    assert found.truncated
    assert len(found.assets) == 3
    assert track in {each.asset_id for each in found.assets}


# ── eviction ──────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_evicted_is_gone_from_the_store_and_from_the_quota(lab: Callable[[], Lab]) -> None:
    here = lab()
    _, run = await broken_down(here)
    vocals = stem(run, "vocals")
    async with here.services.db.statements() as db:
        before = await asset_rows.stored_bytes(db, here.owner)
        after = await evict(here, vocals)
        assert await asset_rows.stored_bytes(db, here.owner) == before - vocals.blob.bytes
    assert after.blob.evicted
    assert (after.version, after.blob.sha256) == (vocals.version + 1, vocals.blob.sha256)
    assert (await evict(here, vocals)).version == after.version  # twice is fine
    assert vocals.blob.key not in {stat.key async for stat in here.services.objects.list("blobs/")}
    with pytest.raises(AssetEvicted):
        await jobs.submit(here.services, here.owner, JobRequest(vocals.id, model=here.models["listen"]))


async def test_what_was_evicted_does_not_count_as_done(lab: Callable[[], Lab]) -> None:
    here = lab()
    track, run = await broken_down(here)
    vocals = stem(run, "vocals")
    await evict(here, vocals)
    async with here.working():
        again = await here.ended(await here.start(track, PIPELINE))
    assert {part.made for part in again.parts if part.step == "split"} == {True}
    back = await now(here, vocals)  # the same bytes: they are its own again
    assert not back.blob.evicted
    assert await content(here, back) == vocals.blob.sha256


async def test_only_what_a_job_made_and_nobody_uses_can_be_evicted(lab: Callable[[], Lab]) -> None:
    here = lab()
    track, run = await broken_down(here)
    vocals = stem(run, "vocals")
    with pytest.raises(CannotRebuild, match="was uploaded"):
        await derivations.evict(here.services, here.owner, track)
    reading = await jobs.submit(here.services, here.owner, JobRequest(vocals.id, model=here.models["count"]))
    with pytest.raises(AssetInUse):
        await derivations.evict(here.services, here.owner, vocals.id)
    await jobs.cancel(here.services, here.owner, reading.job.id)
    async with here.working():
        await here.ended(await here.start(track, PIPELINE, rerun=True))
    with pytest.raises(Conflict, match="1 other assets have the same bytes"):
        await derivations.evict(here.services, here.owner, vocals.id)
    assert await content(here, vocals) == vocals.blob.sha256


# ── and back ──────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_evicted_is_made_again_to_the_last_bit(lab: Callable[[], Lab]) -> None:
    here = lab()
    _, run = await broken_down(here)
    vocals, bass = stem(run, "vocals"), stem(run, "bass")
    await evict(here, vocals)
    await evict(here, bass)
    view, after = await rebuilt(here, vocals)
    assert view.job.state is JobState.SUCCEEDED
    assert not after.blob.evicted
    assert await content(here, after) == vocals.blob.sha256
    told = after.facts["rebuilt"]
    assert (told["same"], told["job_id"]) == (True, str(view.job.id))
    assert after.job_id == vocals.job_id
    assert (await now(here, bass)).blob.evicted  # nobody asked for it
    async with here.services.db.statements() as db:
        mine = await asset_rows.of_library(db, here.owner, vocals.library_id, 100)
    assert len(mine) == 1 + len(run.outputs)
    await assets.sweep(here.services)
    keys = {stat.key async for stat in here.services.objects.list("blobs/")}
    assert {asset.blob.key for asset in mine if not asset.blob.evicted} <= keys


async def test_what_comes_out_otherwise_says_so(lab: Callable[[], Lab]) -> None:
    here = lab()
    _, run = await broken_down(here)
    notes = made_from(run, stem(run, "vocals").id)  # other bytes each time
    await evict(here, notes)
    _, after = await rebuilt(here, notes)
    assert after.blob.sha256 != notes.blob.sha256
    assert await content(here, after) == after.blob.sha256
    assert after.facts["rebuilt"]["same"] is False
    assert after.facts["rebuilt"]["sha256_before"] == notes.blob.sha256


async def test_asked_for_twice_it_is_made_once(lab: Callable[[], Lab]) -> None:
    here = lab()
    _, run = await broken_down(here)
    vocals = stem(run, "vocals")
    with pytest.raises(Conflict, match="are there"):
        await derivations.rebuild(here.services, here.owner, vocals.id)
    await evict(here, vocals)
    first = await derivations.rebuild(here.services, here.owner, vocals.id)
    assert (await derivations.rebuild(here.services, here.owner, vocals.id)).id == first.id


async def test_what_it_was_made_from_must_be_there_first(lab: Callable[[], Lab]) -> None:
    here = lab()
    _, run = await broken_down(here)
    vocals = stem(run, "vocals")
    notes = made_from(run, vocals.id)
    await evict(here, notes)
    await evict(here, vocals)
    with pytest.raises(AssetEvicted, match=str(vocals.id)):
        await derivations.rebuild(here.services, here.owner, notes.id)
    await rebuilt(here, vocals)
    _, after = await rebuilt(here, notes)
    assert not after.blob.evicted


async def test_what_is_deleted_meanwhile_is_made_for_nobody(lab: Callable[[], Lab]) -> None:
    here = lab()
    _, run = await broken_down(here)
    notes = made_from(run, stem(run, "vocals").id)
    await evict(here, notes)
    job = await derivations.rebuild(here.services, here.owner, notes.id)
    async with here.services.db.transaction() as tx:
        await asset_rows.delete(tx, [(notes.id, notes.blob.id)])
    keys = {stat.key async for stat in here.services.objects.list("blobs/")}
    async with here.working():
        view = await ended(here, job)
    assert (view.job.state, list(view.outputs)) == (JobState.SUCCEEDED, [])
    await assets.sweep(here.services)
    assert {stat.key async for stat in here.services.objects.list("blobs/")} == keys
    with pytest.raises(NotFound):
        await now(here, notes)


async def test_without_its_source_nothing_is_let_go(lab: Callable[[], Lab]) -> None:
    here = lab()
    track = await here.track()
    elsewhere = await libraries.create(here.services, here.owner, name="Elsewhere")
    async with here.working():
        request = JobRequest(track, model=here.models["split"], library_id=elsewhere.id)
        view = await ended(here, (await jobs.submit(here.services, here.owner, request)).job)
    before = await assets.get(here.services, here.owner, track)
    async with here.services.db.transaction() as tx:
        await asset_rows.delete(tx, [(track, before.blob.id)])
    with pytest.raises(CannotRebuild, match="has been deleted"):
        await derivations.evict(here.services, here.owner, view.outputs[0].id)


async def test_what_is_in_the_trash_makes_nothing_again_and_is_in_no_lineage(lab: Callable[[], Lab]) -> None:
    here = lab()
    track, run = await broken_down(here)
    vocals = stem(run, "vocals")
    notes = made_from(run, vocals.id)
    async with here.services.db.statements() as db:
        await db.raw.execute(
            "update assets set trashed_at = now(), trashed_with = id where id = $1", vocals.id
        )
    with pytest.raises(CannotRebuild, match="in the trash"):
        await derivations.evict(here.services, here.owner, notes.id)
    found = await derivations.lineage(here.services, here.owner, notes.id)
    assert {each.asset_id for each in found.assets} == {track, notes.id}
    assert found.links == []


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────────────


async def test_it_goes_and_comes_over_http(lab: Callable[[], Lab]) -> None:
    here = lab()
    track, run = await broken_down(here)
    path = f"/assets/{stem(run, 'vocals').id}"
    async with listening(here.services, here.owner, "127.0.0.1", 0) as url, Api(url) as api:
        one: dict[str, Any] = (await api.get(path)).json
        assert one["status"] == "ready"
        assert one["derived_from"]["model"] == here.models["split"]
        assert len(one["derived_from"]["recipe"]) == 64
        assert (await api.get(f"{path}/lineage")).json["truncated"] is False
        dot = await api.get(f"{path}/lineage?format=dot", headers={"Accept": "*/*"})
        assert dot.headers["Content-Type"].startswith("text/vnd.graphviz")
        assert f'"{track}" -> "{one["id"]}" [label="split {here.models["split"]}"];' in dot.content.decode()
        assert (await api.post(f"{path}/evict")).json["status"] == "evicted"
        gone = await api.get(f"{path}/content")
        assert (gone.status, gone.code) == (410, "asset-evicted")
        assert "rebuild" in gone.json["mend"]
        async with here.working():
            job = await api.post(f"{path}/rebuild")
            assert job.status == 202
            assert job.json["output"]["rebuilds"] == one["id"]
            ended_ = await api.get(f"/jobs/{job.json['id']}?wait_s=20")
            while ended_.json["state"] in {"queued", "running"}:
                ended_ = await api.get(f"/jobs/{job.json['id']}?wait_s=20")
        after = (await api.get(path)).json
        assert (after["status"], after["facts"]["rebuilt"]["same"]) == ("ready", True)
        assert (await api.get(f"{path}/content")).status == 200
        assert (await api.post(f"/assets/{track}/evict")).code == "cannot-rebuild"
