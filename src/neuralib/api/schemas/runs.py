"""Pipelines, and their runs."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field

from neuralib import pipelines
from neuralib.entities import Part, RunState
from neuralib.executors.registry import Registry
from neuralib.pipeline import priority_word
from neuralib.pipelines import Pipeline as Definition
from neuralib.pipelines import RunStep
from neuralib.runs import RunView

from .base import PageQuery, Reply, Request, Word, listed
from .jobs import AudioFormat, JobOutput, Priority, small
from .problems import JobError

State = Literal["running", "cancelling", "succeeded", "partial", "failed", "cancelled"]
assert set(RunState) | {"cancelling"} == set(State.__args__)  # type: ignore[attr-defined]
Standing = Literal[
    "waiting", "running", "succeeded", "partial", "failed", "cancelled", "timed_out", "skipped"
]


# ── pipelines ─────────────────────────────────────────────────────────────────────────────────────────


class Takes(Reply):
    """What a step runs on."""

    steps: Annotated[list[str], Field(description="What these made; none: the track.")]
    stems: Annotated[list[str] | None, Field(description="Of that, these stems; null: every recording.")]
    above_dbfs: Annotated[float | None, Field(description="Stems that are quieter (RMS) are passed over.")]

    @classmethod
    def of(cls, takes: pipelines.Takes) -> Self:
        stems = None if takes.stems is None else list(takes.stems)
        return cls(steps=list(takes.steps), stems=stems, above_dbfs=takes.above_dbfs)


class PipelineStep(Reply):
    id: str
    operation: str
    model: Annotated[str | None, Field(description="null: the first that does the operation.")]
    takes: Takes
    params: Annotated[dict[str, Any], Field(description="Others have the defaults of the model.")]
    on_failure: Annotated[
        Literal["fail", "skip"],
        Field(
            description="fail: what takes from a job that failed fails too (`dependency-failed`). skip: it takes the track."
        ),
    ]


class Pipeline(Reply):
    slug: str
    title: str
    steps: list[PipelineStep]
    missing: Annotated[
        list[str], Field(description="Operations that no installed model does: it cannot run.")
    ]

    @classmethod
    def of(cls, pipeline: Definition, registry: Registry) -> dict[str, Any]:
        there = {executor.operation for executor in registry}
        return cls(
            slug=pipeline.slug,
            title=pipeline.title,
            steps=[
                PipelineStep(
                    id=step.id,
                    operation=step.operation,
                    model=step.model,
                    takes=Takes.of(step.takes),
                    params=dict(step.params),
                    on_failure=step.on_failure.value,
                )
                for step in pipeline.steps
            ],
            missing=sorted({step.operation for step in pipeline.steps} - there),
        ).model_dump(mode="json")


class PipelineList(Reply):
    items: list[Pipeline]


# ── runs ──────────────────────────────────────────────────────────────────────────────────────────────


class StepOverride(Request):
    model: Annotated[str | None, Field(max_length=200, description="See GET /models.")] = None
    params: Annotated[dict[str, Any], Field(description="Over those of the pipeline.")] = {}


class NewRun(Request):
    asset_id: UUID
    overrides: Annotated[
        dict[Word, StepOverride], Field(max_length=32, description="By step, what this run changes.")
    ] = {}
    format: AudioFormat = "wav"
    priority: Priority = "normal"
    timeout_s: Annotated[float, Field(gt=0, le=86400, description="Of each job.")] = 3600.0
    max_attempts: Annotated[int, Field(ge=1, le=10, description="Of each job.")] | None = None
    on_existing: Annotated[
        Literal["reuse", "rerun"],
        Field(description="Whether a job that waits, runs or has succeeded already is taken into the run."),
    ] = "reuse"
    metadata: Annotated[
        dict[str, Any], AfterValidator(small), Field(description="Given back as it is, also by the jobs.")
    ] = {}


class RunsQuery(PageQuery):
    state: Annotated[
        list[Literal["running", "succeeded", "partial", "failed", "cancelled"]] | None,
        BeforeValidator(listed),
        Field(description="One or more, separated by commas."),
    ] = None
    asset_id: UUID | None = None


class RunPart(Reply):
    """One input of a step, and its job."""

    input_id: Annotated[UUID | None, Field(description="The asset that it takes.")]
    job_id: Annotated[UUID | None, Field(description="null: none was begun; `error` says why.")]
    state: Standing | Literal["queued"]
    reused: Annotated[bool, Field(description="The job was there before the run.")]
    fraction: float
    error: JobError | None
    outputs: Annotated[list[JobOutput], Field(description="What it made; empty in lists of runs.")]


class StepOfRun(Reply):
    id: str
    operation: str
    model: str
    takes: Takes
    params: dict[str, Any]
    weight: Annotated[float, Field(description="How much of the run's work it is, beside the others.")]
    state: Standing
    fraction: float
    parts: list[RunPart]


class Run(Reply):
    id: UUID
    pipeline: str
    asset_id: UUID | None
    state: Annotated[State, Field(description="partial: some of it did well.")]
    fraction: Annotated[
        float, Field(description="How much is over: the sum of the steps by their weights. It never falls.")
    ]
    steps: list[StepOfRun]
    format: str
    priority: Priority
    metadata: dict[str, Any]
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, view: RunView) -> dict[str, Any]:
        run = view.run
        stopping = run.state is RunState.RUNNING and run.cancel_requested
        assert run.created_at is not None
        return cls(
            id=run.id,
            pipeline=run.pipeline,
            asset_id=run.asset_id,
            state="cancelling" if stopping else run.state.value,
            fraction=pipelines.fraction(view.steps, view.parts),
            steps=[_step(step, view) for step in view.steps],
            format=run.output["format"],
            priority=priority_word(run.priority),
            metadata=dict(run.metadata),
            created_at=run.created_at,
            finished_at=run.finished_at,
        ).model_dump(mode="json")


class RunPage(Reply):
    items: list[Run]
    next_cursor: str | None


def _step(step: RunStep, view: RunView) -> StepOfRun:
    parts = [part for part in view.parts if part.step == step.id]
    return StepOfRun(
        id=step.id,
        operation=step.operation,
        model=f"{step.model}/{step.checkpoint}" if step.checkpoint else step.model,
        takes=Takes.of(step.takes),
        params=dict(step.params),
        weight=step.weight,
        state=pipelines.step_standing(parts),
        fraction=round(pipelines.step_fraction(parts), 4),
        parts=[_part(part, view) for part in parts],
    )


def _part(part: Part, view: RunView) -> RunPart:
    error = part.error or part.job_error
    return RunPart(
        input_id=part.input_id,
        job_id=part.job_id,
        state=pipelines.standing(part),
        reused=part.job_id is not None and not part.made,
        fraction=1.0 if pipelines.has_ended(part) else part.fraction,
        error=JobError.model_validate(error) if error else None,
        outputs=[
            JobOutput(asset_id=a.id, kind=a.kind, role=a.role, stem=a.stem, name=a.name)
            for a in view.outputs
            if a.job_id == part.job_id
        ]
        if part.job_id
        else [],
    )
