"""Models and who serves them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from .base import Reply, Request, Word


class ModelsQuery(Request):
    operation: Word | None = None


class Place(Reply):
    """How a checkpoint stands on one host where workers of the model live."""

    host: str
    source: Annotated[
        Literal["path", "cache", "wheel", "bundled", "untrained"] | None, Field(description="null: not here.")
    ]
    bytes: Annotated[int | None, Field(description="Of its files, once they lie ready to be loaded.")]
    partial_bytes: Annotated[int, Field(description="Of a download that has not ended.")]
    sha256: Annotated[
        str | None,
        Field(description="Of these files as a worker has read them; null: none has since it started."),
    ]


class CheckpointCard(Reply):
    id: str
    name: str
    title: str
    license: str
    commercial_use: bool
    auto: Annotated[bool, Field(description="Whether it may be chosen when no weights are named.")]
    trained: bool
    demo: Annotated[bool, Field(description="A small stand-in for better weights.")]
    hub: Annotated[str | None, Field(description="The host that is asked for it; null: none has it.")]
    pinned: Annotated[bool, Field(description="Whether its publisher says which digest its files have.")]
    fetch: Annotated[
        Literal["allowed", "no-hub", "license", "offline"],
        Field(description="Whether the rules of this installation let it be pulled."),
    ]
    places: Annotated[list[Place], Field(description="By host of the live workers of the model.")]
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
    demo: bool = False


class ModelWorker(Reply):
    """A live worker of the model, and what it has in memory."""

    worker: str
    host: str
    state: Literal["idle", "loaded"]
    choice: Annotated[
        str | None,
        Field(
            description="The checkpoint it runs when none is named and nothing more is fetched; null: none."
        ),
    ]
    weights: LoadedWeights | None
    device: str | None
    precision: str | None


class InputsTaken(Reply):
    """So many inputs of one kind."""

    kind: str
    least: int
    most: int
    media_types: Annotated[list[str], Field(description="Of what is no audio; empty: any.")]


class Speed(Reply):
    """How fast the newest jobs of the model were that ran on the same."""

    checkpoint: str | None
    device: str
    precision: str
    realtime_factor: Annotated[
        float, Field(description="Seconds of audio in a second of computing: the median.")
    ]
    jobs: Annotated[int, Field(description="How many jobs it rests on.")]


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
    speeds: Annotated[list[Speed], Field(description="Measured in this installation; empty: not yet.")]


class ModelList(Reply):
    items: list[ModelCard]
    next_cursor: None = None
