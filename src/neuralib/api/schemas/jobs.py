"""Jobs, their progress and their queues."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from neuralib import jobs
from neuralib.jobs import FORMATS
from neuralib.pipeline import PRIORITIES

from .base import PageQuery, Reply, Request, Word, listed
from .problems import JobError

MAX_IDS = 100
MAX_BATCH = 200
MAX_INPUTS = 32
MAX_METADATA = 16 * 1024

AudioFormat = Literal["wav", "flac", "mp3", "ogg"]
Priority = Literal["low", "normal", "high"]
State = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "timed_out"]
assert set(AudioFormat.__args__) == set(FORMATS)  # type: ignore[attr-defined]
assert set(Priority.__args__) == set(PRIORITIES)  # type: ignore[attr-defined]


class JobsQuery(PageQuery):
    state: Annotated[
        list[Literal["queued", "running", "succeeded", "failed", "cancelled", "timed_out"]] | None,
        BeforeValidator(listed),
        Field(description="One or more, separated by commas."),
    ] = None
    operation: Word | None = None
    asset_id: UUID | None = None
    ids: Annotated[
        list[UUID] | None,
        BeforeValidator(listed),
        Field(max_length=MAX_IDS, description="These jobs, separated by commas."),
    ] = None


class JobQuery(Request):
    wait_s: Annotated[
        float,
        Field(
            ge=0, le=60, allow_inf_nan=False, description="Answer when the state changes, or after so long."
        ),
    ] = 0.0


class EventsQuery(Request):
    last_event_id: Annotated[
        int | None,
        Field(
            ge=0,
            le=2**63 - 1,
            description="For clients that cannot send the Last-Event-ID header, which wins.",
        ),
    ] = None


class JobInput(Request):
    asset_id: UUID
    name: Annotated[Word | None, Field(description="What `params` may call it.")] = None


class JobOutputs(Request):
    format: AudioFormat = "wav"
    library_id: Annotated[UUID | None, Field(description="Default: the library of the input.")] = None


def small(value: dict[str, Any]) -> dict[str, Any]:
    if len(str(value)) > MAX_METADATA:
        raise ValueError(f"may have at most {MAX_METADATA} characters")
    return value


class JobOptions(Request):
    """What every job may be asked, whatever it computes."""

    outputs: JobOutputs = JobOutputs()
    priority: Priority = "normal"
    timeout_s: Annotated[float, Field(gt=0, le=86400)] = 3600.0
    max_attempts: Annotated[int, Field(ge=1, le=10)] | None = None
    on_existing: Annotated[
        Literal["reuse", "rerun", "fail"],
        Field(
            description="When the same job waits or runs, or succeeded and all that it made is still there: answer "
            "with that one, run it again, or refuse."
        ),
    ] = "reuse"
    metadata: Annotated[dict[str, Any], AfterValidator(small), Field(description="Given back as it is.")] = {}


class NewJob(JobOptions):
    """Name an operation, a model, or both."""

    operation: Annotated[Word | None, Field(examples=["separate", "midi", "transcribe"])] = None
    model: Annotated[
        str | None,
        Field(max_length=200, examples=["demucs", "demucs/htdemucs"], description="See GET /models."),
    ] = None
    inputs: Annotated[
        list[JobInput],
        Field(
            min_length=1,
            max_length=MAX_INPUTS,
            description="What the model `takes`. The first is audio, and what the job makes are its children.",
        ),
    ]
    params: Annotated[dict[str, Any], Field(description="Checked against the model's `params_schema`.")] = {}


class JobBatch(Request):
    jobs: Annotated[list[NewJob], Field(min_length=1, max_length=MAX_BATCH)]


class JobRetry(Request):
    params: Annotated[dict[str, Any], Field(description="Over those that the job had.")] = {}


class Progress(BaseModel):
    """How far a running job is. `fraction` never falls within an attempt."""

    model_config = ConfigDict(extra="allow")

    fraction: float
    stage: str
    done: int
    total: int


class QueuePlace(Reply):
    position: Annotated[
        int,
        Field(
            description="How many jobs of the model go before this one, at most and as things stand: owners take turns. "
            "1000: so many or more."
        ),
    ]


class InputGiven(Reply):
    asset_id: UUID
    name: str | None
    revision: Annotated[
        int | None, Field(description="Of a transcript that had been edited: which was read.")
    ]


class JobOutput(Reply):
    asset_id: UUID
    kind: str
    role: str
    stem: str | None
    name: str


class Job(Reply):
    id: UUID
    operation: str
    model: str
    state: State
    attempt: int
    max_attempts: int
    cached: Annotated[bool, Field(description="Only in the answer to a submission: it was done already.")]
    priority: Priority
    params: dict[str, Any]
    output: dict[str, Any]
    asset_id: Annotated[UUID | None, Field(description="The first of `inputs`.")]
    inputs: Annotated[list[InputGiven], Field(description="Those that are still there.")]
    library_id: UUID | None
    queue: QueuePlace | None
    progress: Progress | None
    outputs: list[JobOutput]
    result: dict[str, Any]
    error: JobError | None
    worker: str | None
    metadata: dict[str, Any]
    retry_of: Annotated[UUID | None, Field(description="The job that ended badly and was asked for again.")]
    timeout_s: float
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobsAccepted(Reply):
    """In the order of the request."""

    items: list[Job]


class JobPage(Reply):
    items: list[Job]
    next_cursor: str | None


class NextJob(Reply):
    job_id: UUID
    position: int


class MyLane(Reply):
    depth: int
    running: int
    next: Annotated[NextJob | None, Field(description="Your job that is claimed first.")]


class Lane(Reply):
    """The queue of one model."""

    model: str
    depth: Annotated[int, Field(description="Jobs that wait, of everybody.")]
    running: int
    oldest_wait_s: Annotated[float | None, Field(description="How long the oldest of them has waited.")]
    mine: MyLane

    @classmethod
    def of(cls, lane: jobs.Lane) -> dict[str, Any]:
        following = None
        if lane.my_next is not None and lane.my_position is not None:
            following = NextJob(job_id=lane.my_next, position=lane.my_position)
        return cls(
            model=lane.model,
            depth=lane.depth,
            running=lane.running,
            oldest_wait_s=lane.oldest_wait_s,
            mine=MyLane(depth=lane.my_depth, running=lane.my_running, next=following),
        ).model_dump(mode="json")


class QueueState(Reply):
    items: list[Lane]
