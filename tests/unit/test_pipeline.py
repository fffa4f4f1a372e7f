"""What may follow what."""

from datetime import UTC, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from neuralib.entities import Job, JobState, new_id
from neuralib.pipeline import (
    TERMINAL,
    TRANSITIONS,
    job_event,
    next_after_crash,
    snapshot,
    stamp,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def a_job(**changes) -> Job:
    whole = {
        "id": uuid4(),
        "owner_id": uuid4(),
        "operation": "separate",
        "model": "demucs",
        "checkpoint": None,
        "params": {"shifts": 1},
        "output": {"format": "wav"},
        "asset_id": uuid4(),
        "library_id": uuid4(),
        "state": JobState.RUNNING,
        "priority": 0,
        "attempt": 1,
        "max_attempts": 3,
        "errors": 0,
        "crashes": 0,
        "drains": 0,
        "timeout_s": 60.0,
        "cancel_requested": False,
        "progress": {},
        "result": {},
        "error": None,
        "worker": "w",
        "lease_until": None,
        "created_at": NOW,
        "queued_at": NOW,
        "started_at": NOW,
        "finished_at": None,
        "metadata": {},
    }
    return Job(**(whole | changes))


def test_every_state_has_its_transitions_and_terminal_ones_have_none():
    assert set(TRANSITIONS) == set(JobState)
    assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT} == TERMINAL


def test_a_crashed_job_is_tried_again_until_its_attempts_are_used_up():
    assert next_after_crash(a_job(crashes=1)) is JobState.QUEUED
    assert next_after_crash(a_job(crashes=2)) is JobState.FAILED
    assert next_after_crash(a_job(crashes=1, errors=1)) is JobState.FAILED


def test_shutdowns_cost_no_attempt():
    assert next_after_crash(a_job(drains=99)) is JobState.QUEUED


def test_a_crashed_job_that_was_to_be_cancelled_is_cancelled():
    assert next_after_crash(a_job(cancel_requested=True)) is JobState.CANCELLED


@given(st.builds(dict, crashes=st.integers(0, 5), errors=st.integers(0, 5), cancel_requested=st.booleans()))
def test_what_follows_a_crash_is_an_allowed_change(changes):
    assert next_after_crash(a_job(**changes)) in TRANSITIONS[JobState.RUNNING]


def test_a_running_job_that_was_asked_to_stop_shows_as_cancelling():
    assert snapshot(a_job(cancel_requested=True))["state"] == "cancelling"
    assert snapshot(a_job(state=JobState.CANCELLED, cancel_requested=True))["state"] == "cancelled"


def test_a_snapshot_names_the_weights_that_ran():
    assert snapshot(a_job(checkpoint="htdemucs"))["model"] == "demucs/htdemucs"
    assert snapshot(a_job(result={"model": "demucs/x@sha256:12"}))["model"] == "demucs/x@sha256:12"


def test_events_carry_no_parameters():
    event = job_event("queued", a_job())
    assert event.type == event.data["type"] == "job.queued"
    assert "params" not in event.data["job"]


def test_times_are_rfc_3339_in_utc():
    assert stamp(NOW) == "2026-01-02T03:04:05Z"
    assert stamp(None) is None


def test_ids_sort_as_they_were_made():
    made = [new_id() for _ in range(200)]
    assert sorted(made, key=lambda id_: id_.int >> 80) == made
    assert {id_.version for id_ in made} == {7}
    assert len(set(made)) == 200
