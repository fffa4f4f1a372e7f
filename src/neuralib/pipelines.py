"""Pipelines: named lists of jobs over one track, and what of a run is due. No input, no output, no models.

A step takes the track, or what earlier steps made of it. When a step fails, what takes from it fails with it
(`dependency-failed`); with `on_failure = "skip"` those steps take the track in its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from .entities import Asset, AssetKind, Event, Facts, Part, Run, RunState
from .errors import Cancelled, DependencyFailed
from .pipeline import TERMINAL


class OnFailure(StrEnum):
    """What becomes of the steps that take from one that failed."""

    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Takes:
    """What a step runs on: the track; or of what `steps` made all recordings, or those of `stems`."""

    steps: tuple[str, ...] = ()
    stems: tuple[str, ...] | None = None
    above_dbfs: float | None = None
    """Pass over stems that are known to be quieter: nobody sings there."""

    def wants(self, asset: Asset) -> bool:
        if asset.kind != AssetKind.AUDIO or (self.stems is not None and asset.stem not in self.stems):
            return False
        level = asset.facts.get("rms_dbfs")
        return self.above_dbfs is None or level is None or level > self.above_dbfs


TRACK = Takes()


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a pipeline: a job for each thing that it takes."""

    id: str
    operation: str
    takes: Takes = TRACK
    model: str | None = None
    """May name a checkpoint. None: the first model that does the operation."""
    params: Mapping[str, Any] = field(default_factory=dict)
    on_failure: OnFailure = OnFailure.FAIL


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A named list of steps, each after those that it takes from."""

    slug: str
    title: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        known: set[str] = set()
        for step in self.steps:
            assert known.issuperset(step.takes.steps), f"{self.slug}: {step.id} takes from a later step"
            assert step.id not in known, f"{self.slug}: two steps are called {step.id}"
            known.add(step.id)


PITCHED = ("vocals", "bass", "other", "guitar", "piano")
"""Stems that have notes."""
AUDIBLE = -60.0
"""RMS in dBFS below which a stem holds nothing."""
VOCALS = Takes(("separate",), ("vocals",), above_dbfs=AUDIBLE)
INSTRUMENTAL = {"name": "instrumental", "gains_db": {"vocals": None}}

PIPELINES: Mapping[str, Pipeline] = {
    pipeline.slug: pipeline
    for pipeline in (
        Pipeline("stems", "The stems of a mix.", (Step("separate", "separate"),)),
        Pipeline(
            "karaoke",
            "The mix without its vocals, and the vocals alone.",
            (Step("separate", "separate", params={"stems": ["vocals"], "mixes": [INSTRUMENTAL]}),),
        ),
        Pipeline(
            "full-breakdown",
            "Everything: stems, notes of what has pitch, the words, tempo and key.",
            (
                Step("separate", "separate"),
                Step("notes", "midi", Takes(("separate",), PITCHED, above_dbfs=AUDIBLE)),
                Step("lyrics", "transcribe", VOCALS),
                Step("analysis", "analyze"),
            ),
        ),
        Pipeline(
            "sample-pack",
            "The drums, cut into single hits that say what they are.",
            (
                Step("separate", "separate", params={"stems": ["drums"]}),
                Step("hits", "slice", Takes(("separate",), ("drums",)), params={"method": "onsets"}),
            ),
        ),
        Pipeline(
            "lyrics",
            "The words, heard from the vocals alone.",
            (
                Step("separate", "separate", params={"stems": ["vocals"]}),
                Step("lyrics", "transcribe", VOCALS),
            ),
        ),
    )
}
"""Those that ship with NeuraLib."""


def of_models(operations: Mapping[str, str]) -> Pipeline:
    """Every model once, given the operation of each: notes and words from the stems when there will be some, and from
    the track when separating it fails.
    """
    separating = tuple(model for model, operation in operations.items() if operation == "separate")
    listening = {"midi": PITCHED, "transcribe": ("vocals",)} if separating else {}
    steps = [
        Step(
            model,
            operation,
            Takes(separating, listening[operation]) if operation in listening else TRACK,
            model,
            on_failure=OnFailure.SKIP,
        )
        for model, operation in operations.items()
    ]
    return Pipeline(
        "models", "Some models over one track.", tuple(sorted(steps, key=lambda step: len(step.takes.steps)))
    )


# ── runs ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RunStep:
    """A step of a run: everything was looked up when the run began, so that whoever goes on with it needs no models."""

    id: str
    operation: str
    takes: Takes
    on_failure: OnFailure
    model: str
    checkpoint: str | None
    params: Mapping[str, Any]
    ingredients: Mapping[str, Any]
    """Of the recipes of its jobs."""
    weight: float = 1.0
    """Its share of the run's work."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, data: Facts) -> "RunStep":
        """What `as_dict` gave, after it was JSON."""
        takes = data["takes"]
        stems = None if takes["stems"] is None else tuple(takes["stems"])
        return cls(
            **{
                **data,
                "takes": Takes(tuple(takes["steps"]), stems, takes["above_dbfs"]),
                "on_failure": OnFailure(data["on_failure"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Due:
    """A part that should begin: on `input_id`, unless it has failed already. Without both there is nothing to do."""

    step: RunStep
    input_id: UUID | None
    error: Facts | None = None


def due(
    steps: Sequence[RunStep], parts: Sequence[Part], made: Mapping[UUID, Sequence[Asset]], track: UUID
) -> list[Due]:
    """What can begin: the parts of every step that has none yet and takes from steps that have ended. `made` is what
    each job made.
    """
    begun = _by_step(parts)
    return [
        each
        for step in steps
        if step.id not in begun and all(_over(begun.get(name, ())) for name in step.takes.steps)
        for each in _parts_of(step, _Before(steps, begun, made, track))
    ]


@dataclass(frozen=True, slots=True)
class _Before:
    """What a step looks back on."""

    steps: Sequence[RunStep]
    begun: Mapping[str, Sequence[Part]]
    made: Mapping[UUID, Sequence[Asset]]
    track: UUID


def _parts_of(step: RunStep, before: _Before) -> list[Due]:
    if not step.takes.steps:
        return [Due(step, before.track)]
    found: dict[UUID | None, Due] = {}
    for earlier in before.steps:
        for part in before.begun.get(earlier.id, ()) if earlier.id in step.takes.steps else ():
            for each in _following(step, earlier, part, before):
                found.setdefault(each.input_id, each)
    return list(found.values()) or [Due(step, None)]


def _following(step: RunStep, earlier: RunStep, part: Part, before: _Before) -> list[Due]:
    """What a step does because one part of an earlier step has ended."""
    match standing(part):
        case "succeeded":
            assert part.job_id is not None
            return [Due(step, a.id) for a in before.made.get(part.job_id, ()) if step.takes.wants(a)]
        case "skipped":
            return []
        case "failed" | "timed_out" if earlier.on_failure is OnFailure.SKIP:
            return [Due(step, before.track)]
        case ended:
            why = f"{step.id} takes from {earlier.id}, which has {ended.replace('_', ' ')}"
            return [Due(step, part.input_id, DependencyFailed(why).as_dict())]


def standing(part: Part) -> str:
    """The state of its job; `failed`, `cancelled` or `skipped` for a part that has none."""
    if part.error is not None:
        return "cancelled" if part.error["code"] == Cancelled.code else "failed"
    return part.state.value if part.state is not None else "skipped"


def has_ended(part: Part) -> bool:
    return part.error is not None or part.state is None or part.state in TERMINAL


def step_standing(parts: Sequence[Part]) -> str:
    """One word for all parts of a step: waiting, running, or how it ended; `partial`: some of it did well."""
    if not parts:
        return "waiting"
    if not _over(parts):
        return "running"
    words = {standing(part) for part in parts} - {"skipped"}
    if len(words) > 1:
        return "partial" if "succeeded" in words else "failed"
    return next(iter(words), "skipped")


def outcome(steps: Sequence[RunStep], parts: Sequence[Part], *, cancelled: bool) -> RunState:
    """Where a run stands when nothing is due: it runs while something waits or runs; once it was to be cancelled, what
    has not begun never will.
    """
    begun = _by_step(parts)
    if not _over(parts) or not (cancelled or len(begun) == len(steps)):
        return RunState.RUNNING
    words = {standing(part) for part in parts} - {"skipped"}
    if words <= {"succeeded"} and len(begun) == len(steps):
        return RunState.SUCCEEDED
    if cancelled or words == {"cancelled"}:
        return RunState.CANCELLED
    return RunState.PARTIAL if "succeeded" in words else RunState.FAILED


def fraction(steps: Sequence[RunStep], parts: Sequence[Part]) -> float:
    """How much of the run is over: the sum of its parts. A step weighs the same before and after its parts are known,
    so this never falls.
    """
    begun = _by_step(parts)
    total = sum(step.weight for step in steps)
    return round(sum(step.weight * step_fraction(begun.get(step.id, ())) for step in steps) / total, 4)


def step_fraction(parts: Sequence[Part]) -> float:
    """The mean of its parts; what has ended is over, however it ended."""
    return sum(1.0 if has_ended(part) else part.fraction for part in parts) / len(parts) if parts else 0.0


def run_event(kind: str, run: Run, steps: Sequence[RunStep], parts: Sequence[Part]) -> Event:
    """`run.started`, `run.succeeded`…"""
    told = {
        "id": str(run.id),
        "pipeline": run.pipeline,
        "state": run.state.value,
        "asset_id": str(run.asset_id) if run.asset_id else None,
        "fraction": fraction(steps, parts),
    }
    return Event(f"run.{kind}", {"type": f"run.{kind}", "run": told}, run.owner_id)


def _over(parts: Sequence[Part]) -> bool:
    return bool(parts) and all(has_ended(part) for part in parts)


def _by_step(parts: Sequence[Part]) -> dict[str, list[Part]]:
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.step, []).append(part)
    return found
