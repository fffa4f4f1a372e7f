"""One machine, one command: what a producer does on an evening, and what must survive it."""

import asyncio
import os
import socket
import time
from pathlib import Path

import neuralib as package
from acceptance.harness import neuralib, up, write_tones
from neuralib.audio import Recording, encode

DEMO = Path(package.__file__).parent / "demo" / "song.ogg"


async def test_an_evening(tmp_path, data, client):
    with up(tmp_path, data) as server:
        api = client(server.url)
        library = await api.library()
        track = await api.upload(library, DEMO)
        started = [
            await api.submit(track["id"], operation) for operation in ("separate", "midi", "transcribe")
        ]

        async def watched(job):
            seen = []
            async for name, body in api.events(f"/jobs/{job['id']}/events"):
                seen.append((name, body))
            return seen

        streams = await asyncio.gather(*map(watched, started))
        for seen in streams:
            names = [name for name, _ in seen]
            assert names[0] == "job.queued"
            assert "job.started" in names
            assert names[-1] == "job.succeeded"
            fractions = [body["fraction"] for name, body in seen if name == "job.progress"]
            assert fractions == sorted(fractions)
        windows = [body["done"] for name, body in streams[0] if name == "job.progress"]
        assert len(set(windows)) > 2, "separation was watched window by window"

        separated = await api.job(started[0]["id"])
        assert separated["result"]["weights"]["trained"] is True
        assert separated["result"]["facts"]["null_dbfs"] < -90
        stems = {output["stem"]: output["asset_id"] for output in separated["outputs"]}
        assert set(stems) == {"vocals", "drums", "bass", "other"}
        status, first = await api.content(stems["vocals"], Range="bytes=0-99")
        assert (status, len(first), first[:4]) == (206, 100, b"RIFF")

    with up(tmp_path, data) as server:
        api = client(server.url)
        assert [item["id"] for item in (await api.json("GET", "/libraries"))["items"]] == [library]
        tree = await api.json("GET", f"/libraries/{library}/assets?tree=true")
        assert {track["id"], *stems.values()} <= {item["id"] for item in tree["items"]}
        assert (await api.content(stems["vocals"], Range="bytes=0-99"))[1] == first
        assert (await api.job(started[0]["id"]))["state"] == "succeeded"


async def test_cancel_stops_within_a_window_and_leaves_nothing(tmp_path, data, client):
    with up(tmp_path, data) as server:
        api = client(server.url)
        library = await api.library()
        track = await api.upload(library, write_tones(tmp_path / "a.wav", 30))
        job = await api.submit(track["id"], "echo", params={"window_s": 1.0})
        await api.until(job["id"], "running")
        asked = time.monotonic()
        await api.json("POST", f"/jobs/{job['id']}/cancel", (200, 202))
        ended = await api.ended(job["id"])
        assert ended["state"] == "cancelled"
        assert time.monotonic() - asked < 5, "one window is a second"
        tree = await api.json("GET", f"/libraries/{library}/assets?tree=true&kind=audio")
        assert [item["id"] for item in tree["items"]] == [track["id"]]


async def test_a_job_survives_kill_9_and_ends_once(tmp_path, data, client):
    with up(tmp_path, data) as server:
        api = client(server.url)
        library = await api.library()
        track = await api.upload(library, write_tones(tmp_path / "a.wav", 8))
        job = await api.submit(track["id"], "echo", params={"window_s": 0.5})
        await api.until(job["id"], "running")
        server.kill()
    with up(tmp_path, data) as server:
        started = time.monotonic()
        api = client(server.url)
        ended = await api.ended(job["id"])
        assert ended["state"] == "succeeded"
        assert time.monotonic() - started < 30 + 3
        assert ended["attempt"] == 2
        tree = await api.json("GET", f"/libraries/{library}/assets?tree=true&kind=audio")
        assert len(tree["items"]) == 2, "the track and what came of it, once"


async def test_a_second_job_loads_nothing(tmp_path, data, client):
    with up(tmp_path, data) as server:
        api = client(server.url)
        track = await api.upload(await api.library(), write_tones(tmp_path / "a.wav", 2))
        for _ in range(2):
            job = await api.submit(track["id"], "midi", on_existing="rerun")
            assert (await api.ended(job["id"]))["state"] == "succeeded"
        loads = [line for line in server.log.read_text().splitlines() if '"model.loaded"' in line]
        assert sum('"basic-pitch"' in line for line in loads) == 1


async def test_the_second_of_two_on_one_directory_says_so(tmp_path, data):
    with up(tmp_path, data) as server:
        second = neuralib("up", "--data", data, "--port", "0")
        assert second.returncode == 2
        assert str(server.process.pid) in second.stderr
        assert len(second.stderr.strip().splitlines()[-1:]) == 1
        assert "Traceback" not in second.stderr


async def test_a_port_in_use_says_so(data):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = neuralib("up", "--data", data, "--port", str(port))
    assert done.returncode == 2
    assert str(port) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


async def test_an_upload_does_not_grow_the_server(tmp_path, data, client):
    samples = write_tones(tmp_path / "short.wav", 10)
    recording = Recording(tmp_path / "long.f32", 44100, 2, 44100 * 600, "pcm_16")
    with recording.path.open("wb") as file:
        os.truncate(file.fileno(), recording.frames * 8)
    long = tmp_path / "long.wav"
    encode(recording, long, format="wav")
    with up(tmp_path, data, env={"NEURALIB_INGEST_ANALYZE": "false"}) as server:
        api = client(server.url)
        library = await api.library()
        await api.upload(library, samples)
        before = server.rss()
        await api.upload(library, long)
        assert long.stat().st_size > 100e6
        assert server.rss() - before < 64 * 2**20
