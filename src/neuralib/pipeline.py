"""What may follow what, with no input or output: the changes of a job's state, and what the world is told of it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .entities import Asset, Event, Job, JobInput, JobState

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT}
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.TIMED_OUT: frozenset(),
}
TERMINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)

STAGES = ("fetch", "decode", "load", "infer", "encode", "store")
"""What a worker does with a job, in order."""


def next_after_crash(job: Job) -> JobState:
    """Where a job goes whose worker vanished: cancelled if somebody wanted that, else back to the queue until its
    attempts are used up. Crashes and errors count together; drains never do.
    """
    if job.cancel_requested:
        return JobState.CANCELLED
    return JobState.QUEUED if job.crashes + job.errors + 1 < job.max_attempts else JobState.FAILED


PRIORITIES: Mapping[str, int] = {"low": -10, "normal": 0, "high": 10}
"""The words of the API and what they weigh."""


def priority_word(weight: int) -> str:
    """The nearest word for a priority."""
    return min(PRIORITIES, key=lambda word: abs(PRIORITIES[word] - weight))


def snapshot(
    job: Job,
    outputs: Sequence[Asset] = (),
    position: int | None = None,
    *,
    inputs: Sequence[JobInput] = (),
    cached: bool = False,
) -> dict[str, Any]:
    """A job as clients see it, in replies and in events alike. A running job that was asked to stop is
    `cancelling`. `position` is how many jobs of its model go before it; `cached`: it had been
    done before it was asked for.
    """
    stopping = job.state is JobState.RUNNING and job.cancel_requested
    return {
        "id": str(job.id),
        "operation": job.operation,
        "model": job.result.get("model")
        or (f"{job.model}/{job.checkpoint}" if job.checkpoint else job.model),
        "state": "cancelling" if stopping else job.state.value,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "cached": cached,
        "priority": priority_word(job.priority),
        "params": dict(job.params),
        "output": dict(job.output),
        "asset_id": str(job.asset_id) if job.asset_id else None,
        "inputs": [
            {"asset_id": str(each.asset_id), "name": each.name, "revision": each.revision} for each in inputs
        ],
        "library_id": str(job.library_id) if job.library_id else None,
        "queue": None if position is None else {"position": position},
        "progress": dict(job.progress) or None,
        "outputs": [
            {"asset_id": str(a.id), "kind": a.kind, "role": a.role, "stem": a.stem, "name": a.name}
            for a in outputs
        ],
        "result": dict(job.result),
        "error": dict(job.error) if job.error else None,
        "worker": job.worker,
        "metadata": dict(job.metadata),
        "retry_of": str(job.retry_of) if job.retry_of else None,
        "timeout_s": job.timeout_s,
        "created_at": stamp(job.created_at),
        "started_at": stamp(job.started_at),
        "finished_at": stamp(job.finished_at),
    }


def job_event(kind: str, job: Job, outputs: Sequence[Asset] = (), **more: Any) -> Event:
    """`job.queued`, `job.succeeded`…: the job without what a listener did not ask for."""
    left_out = {"params", "output", "metadata", "inputs"}
    body = {k: v for k, v in snapshot(job, outputs).items() if k not in left_out}
    return Event(f"job.{kind}", {"type": f"job.{kind}", "job": body, **more}, job.owner_id, job_id=job.id)


def asset_event(kind: str, asset: Asset, **more: Any) -> Event:
    """`asset.created`, `asset.updated`, `asset.trashed`, `asset.restored`, `asset.deleted`."""
    data = {
        "type": f"asset.{kind}",
        "asset_id": str(asset.id),
        "library_id": str(asset.library_id),
        "parent_id": str(asset.parent_id) if asset.parent_id else None,
        "kind": asset.kind,
        "role": asset.role,
        "name": asset.name,
        "version": asset.version,
        **more,
    }
    return Event(f"asset.{kind}", data, asset.owner_id, job_id=asset.job_id)


def stamp(at: datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else None
