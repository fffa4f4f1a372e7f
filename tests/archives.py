"""A track with what was made from it, and the archives that it goes out in."""

import hashlib
import io
import os
import wave
import zipfile
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from api_client import Api, Got
from neuralib import assets, jobs
from neuralib.entities import NewAsset, new_id
from neuralib.jobs import JobRequest
from neuralib.services import Services

RESULT = {
    "weights": {
        "name": "tiny",
        "sha256": "ab" * 32,
        "source": "bundled",
        "license": "CC-BY-4.0",
        "commercial_use": True,
    },
    "executor": {"name": "echo", "version": "1"},
}


def wav(seconds: float = 1.0) -> bytes:
    """Noise that no other has."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((2, 2, 44_100, 0, "NONE", ""))
        out.writeframes(os.urandom(round(seconds * 44_100) * 4))
    return file.getvalue()


class Song:
    """A track with a stem, its notes and its words, as a job of a model leaves them."""

    def __init__(self, services: Services, owner: UUID, api: Api) -> None:
        self.services, self.owner, self.api = services, owner, api
        self.contents: dict[str, bytes] = {}

    async def settle(self, folder: Path, name: str = "Song", content: bytes | None = None) -> "Song":
        self.library = (await self.api.library(name="My songs", description="all of them"))["id"]
        self.contents["Song.wav"] = content or wav()
        got = await self.api.upload(self.library, self.contents["Song.wav"], f"{name}.wav")
        self.track = got.json["items"][0]["asset"]
        view = await jobs.submit(self.services, self.owner, JobRequest(UUID(self.track["id"]), model="echo"))
        self.job = view.job.id
        async with self.services.db.transaction() as tx:
            await tx.raw.execute(
                "update jobs set state = 'succeeded', result = $2 where id = $1", self.job, RESULT
            )
        self.stem = await self.made(folder, f"{name} [vocals]", "audio", "stem", "audio/wav", wav(), "vocals")
        await self.made(folder, f"{name} [notes].mid", "midi", "midi", "audio/midi", b"MThd" + uuid4().bytes)
        await self.made(folder, f"{name} [lyrics].lrc", "transcript", "transcript", "text/plain", b"[00:01.00]la",
                        file="lyrics.lrc")  # fmt: skip
        return self

    async def made(
        self, folder: Path, name: str, kind: str, role: str, media_type: str, content: bytes,
        stem: str | None = None, file: str | None = None, parent: str | None = None, facts: dict[str, Any] | None = None,
    ) -> str:  # fmt: skip
        path = folder / "made"
        path.write_bytes(content)
        new = NewAsset(
            new_id(), UUID(self.library), kind, role, name, UUID(parent or self.track["id"]), stem,
            audio=self.track["audio"] if kind == "audio" else None, facts=facts or ({"file": file} if file else {}), job_id=self.job,
        )  # fmt: skip
        sha256 = hashlib.sha256(content).hexdigest()
        asset = await assets.store(self.services, self.owner, new, path, sha256, len(content), media_type)
        self.contents[name if "." in name else f"{name}.wav"] = content
        return str(asset.id)


def opened(got: Got) -> zipfile.ZipFile:
    assert got.status == 200, got.content
    assert got.headers["Content-Type"] == "application/zip"
    assert int(got.headers["Content-Length"]) == len(got.content)
    archive = zipfile.ZipFile(io.BytesIO(got.content))
    assert archive.testzip() is None
    return archive
