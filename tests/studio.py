"""A studio over HTTP: an API, a worker, and a song whose stems add up to it to the last bit."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import soundfile

from api_client import Api, Got
from crew import at_work
from neuralib.api import listening
from neuralib.executors import (
    AudioInfo,
    AudioOutput,
    Checkpoint,
    Executor,
    Output,
    Params,
    Plan,
    Recording,
    RunContext,
)
from neuralib.executors.registry import Plugin, Registry
from neuralib.services import Services
from neuralib.weights import Resolver

BIT = 1 / 32768


class Shares(Params):
    """Of a song, by stem; the last one gets what is left."""

    shares: dict[str, float]


class Splitter(Executor[Shares]):
    """Says that a share of the song is this stem and another share is that."""

    name = "splitter"
    title = "Splitter"
    operation = "separate"
    params = Shares

    def load(self, *_: Any) -> None:
        pass

    @classmethod
    def plan(cls, info: AudioInfo, params: Shares, checkpoint: Checkpoint | None) -> Plan:
        return Plan(1)

    def run(self, recording: Recording, params: Shares, context: RunContext) -> Output:
        left = mix = recording.read()
        outputs = []
        for number, (name, share) in enumerate(params.shares.items(), 1):
            is_last = number == len(params.shares)
            stem = left if is_last else np.rint(mix * share / BIT).astype(np.float32) * np.float32(BIT)
            left = left - stem
            with context.writer(name, recording) as out:
                out.write(stem)
                outputs.append(AudioOutput("stem", name, out.close()))
        return Output(tuple(outputs))


@dataclass
class Studio:
    """`samples` is what the song holds: int16 (frames, 2)."""

    api: Api
    song: str
    samples: np.ndarray[Any, Any]

    async def post(self, path: str, body: dict[str, Any]) -> Got:
        return await self.api.post(path, body, headers={"Prefer": "wait=30"})

    async def separate(self, shares: Mapping[str, float]) -> dict[str, str]:
        """The stems' ids by name."""
        body = {"operation": "separate", "inputs": [{"asset_id": self.song}], "params": {"shares": shares}}
        job = (await self.post("/jobs", body)).json
        assert job["state"] == "succeeded", job["error"]
        return {output["stem"]: output["asset_id"] for output in job["outputs"]}

    async def read(self, asset: str) -> np.ndarray[Any, Any]:
        content = (await self.api.get(f"/assets/{asset}/content")).content
        return soundfile.read(io.BytesIO(content), dtype="int16")[0]

    async def made(self, job: dict[str, Any]) -> np.ndarray[Any, Any]:
        """What the one output of a job holds."""
        (output,) = job["outputs"]
        return await self.read(output["asset_id"])


@asynccontextmanager
async def open_studio(
    services: Services,
    owner: UUID,
    folder: Path,
    executor: type[Executor[Any]],
    samples: np.ndarray[Any, Any],
    rate: int,
) -> AsyncIterator[Studio]:
    """One that has this executor beside the splitter, and a song of these samples."""
    registry = Registry((each, Plugin("tests", "0")) for each in (Splitter, executor))
    services = replace(services, registry=registry)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, "PCM_16", format="WAV")
    async with (
        at_work(services, registry.names, Resolver(folder, offline=True)),
        listening(services, owner, "127.0.0.1", 0) as url,
        Api(url) as api,
    ):
        yield Studio(api, (await api.asset(file.getvalue()))["id"], samples)
