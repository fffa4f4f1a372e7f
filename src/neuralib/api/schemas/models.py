"""Models and who serves them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from .base import Reply, Request, Word


class ModelsQuery(Request):
    operation: Word | None = None


class CheckpointCard(Reply):
    id: str
    name: str
    title: str
    license: str
    commercial_use: bool
    auto: Annotated[bool, Field(description="Whether it may be chosen when no weights are named.")]
    trained: bool
    details: dict[str, Any]


class PluginInfo(Reply):
    name: str
    version: str


class LoadedWeights(Reply):
    name: str
    sha256: str
    source: str
    license: str
    commercial_use: bool
    trained: bool


class ModelWorker(Reply):
    """A live worker of the model, and what it has in memory."""

    worker: str
    state: Literal["idle", "loaded"]
    weights: LoadedWeights | None
    device: str | None
    precision: str | None


class InputsTaken(Reply):
    """So many inputs of one kind."""

    kind: str
    least: int
    most: int
    media_types: Annotated[list[str], Field(description="Of what is no audio; empty: any.")]


class ModelCard(Reply):
    id: str
    title: str
    operation: str
    version: str
    code_license: str
    precisions: list[str]
    params_schema: dict[str, Any]
    takes: Annotated[list[InputsTaken], Field(description="The inputs of a job, the first of them audio.")]
    checkpoints: list[CheckpointCard]
    plugin: PluginInfo
    state: Annotated[
        Literal["absent", "idle", "loaded"],
        Field(description="absent: no live worker serves it; loaded: in memory."),
    ]
    workers: list[ModelWorker]


class ModelList(Reply):
    items: list[ModelCard]
    next_cursor: None = None
