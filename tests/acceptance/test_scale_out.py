"""The same code over shared servers: the API in one process, workers in others."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

import neuralib as package
import servers
from acceptance import debian
from acceptance.harness import neuralib, running, write_tones

DEMO = Path(package.__file__).parent / "demo" / "song.ogg"


@pytest.fixture(scope="module")
def environment(s3_server, record_testsuite_property):
    """NEURALIB_* of Debian's PostgreSQL and Redis where they are installed (else the embedded ones) and an S3 API."""
    with ExitStack() as stack:
        found = debian.programs()
        record_testsuite_property("external servers", "Debian's" if found else "embedded")
        if found:
            database, redis = stack.enter_context(debian.stores(*found))
        else:
            stores = stack.enter_context(servers.embedded_stores())
            database, redis = stores.database_url, stores.redis_url
        env = {
            "NEURALIB_DATABASE_URL": database,
            "NEURALIB_REDIS_URL": redis,
            "NEURALIB_STORAGE_KIND": "s3",
            "NEURALIB_STORAGE_ENDPOINT": s3_server.endpoint,
            "NEURALIB_STORAGE_BUCKET": "scale-out",
            "NEURALIB_STORAGE_ACCESS_KEY": s3_server.access_key,
            "NEURALIB_STORAGE_SECRET_KEY": s3_server.secret_key,
            "NEURALIB_STORAGE_CREATE_BUCKET": "true",
            "NEURALIB_WORKER_LEASE_S": "6",
        }
        before = neuralib("serve", env=env)
        assert before.returncode == 2, before.stderr
        assert "neuralib migrate" in before.stderr
        done = neuralib("migrate", env=env)
        assert done.returncode == 0, done.stderr
        yield env


def serving(folder, env):
    return running(folder, "serve", "--port", "0", env=env, says=r"is up at http")


def working(folder, env, *models):
    words = [word for model in models for word in ("--model", model)]
    return running(folder, "worker", *words, env=env, says=r"device ")


async def test_serve_and_worker_do_what_up_does(tmp_path, environment, client):
    with (
        serving(tmp_path, environment) as server,
        working(tmp_path, environment, "demucs"),
        working(tmp_path, environment, "whisper", "basic-pitch"),
    ):
        api = client(server.url)
        library = await api.library()
        track = await api.upload(library, DEMO)
        jobs = [await api.submit(track["id"], operation) for operation in ("separate", "midi", "transcribe")]
        seen = []
        async for name, body in api.events(f"/jobs/{jobs[0]['id']}/events"):
            seen.append((name, body))
        assert seen[-1][0] == "job.succeeded"
        done = [body["done"] for name, body in seen if name == "job.progress"]
        assert done == sorted(done)
        ended = await asyncio.gather(*(api.ended(job["id"]) for job in jobs))
        assert [job["state"] for job in ended] == ["succeeded"] * 3
        assert len({job["worker"] for job in ended}) == 2
        stem = ended[0]["outputs"][0]["asset_id"]
        status, head = await api.content(stem, Range="bytes=0-3")
        assert (status, head) == (206, b"RIFF")
        assert (await api.json("GET", "/libraries"))["items"][0]["asset_count"] > 6


async def test_a_job_whose_worker_is_killed_is_done_by_another(tmp_path, environment, client):
    with serving(tmp_path, environment) as server:
        api = client(server.url)
        track = await api.upload(await api.library(), write_tones(tmp_path / "a.wav", 8))
        with working(tmp_path, environment, "echo") as first:
            job = await api.submit(track["id"], "echo", params={"window_s": 1.0})
            await api.until(job["id"], "running")
            first.kill()
            with working(tmp_path, environment, "echo"):
                ended = await api.ended(job["id"])
        assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
        events = [name async for name, _ in api.events(f"/jobs/{job['id']}/events")]
        assert events.count("job.succeeded") == 1
        assert "job.retrying" in events


async def test_a_stopped_worker_gives_its_job_back_at_no_cost(tmp_path, environment, client):
    env = {**environment, "NEURALIB_WORKER_DRAIN_S": "0.1"}
    with serving(tmp_path, env) as server:
        api = client(server.url)
        track = await api.upload(await api.library(), write_tones(tmp_path / "a.wav", 8))
        with working(tmp_path, env, "echo") as first:
            job = await api.submit(track["id"], "echo", params={"window_s": 1.0}, max_attempts=1)
            await api.until(job["id"], "running")
            assert first.stop() == 0
        assert (await api.job(job["id"]))["state"] == "queued"
        with working(tmp_path, env, "echo"):
            assert (await api.ended(job["id"]))["state"] == "succeeded"
