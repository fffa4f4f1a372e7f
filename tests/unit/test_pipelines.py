"""What of a run is due, where it stands and how far it is."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralib.entities import Asset, Blob, JobState, Part, RunState, new_id
from neuralib.errors import Cancelled, SourceDeleted
from neuralib.pipeline import TERMINAL
from neuralib.pipelines import (
    PIPELINES,
    OnFailure,
    RunStep,
    Takes,
    due,
    fraction,
    of_models,
    outcome,
    standing,
    step_standing,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TRACK = uuid4()
RUN = uuid4()


def an_asset(job: UUID, stem: str | None, kind: str = "audio", **facts: Any) -> Asset:
    blob = Blob(new_id(), "x", 1, "k", "audio/wav")
    head = (new_id(), RUN, RUN, TRACK, kind, "stem" if stem else "mix", stem, "name")
    return Asset(*head, None, facts, job, 1, NOW, NOW, blob)


def a_step(name: str, *steps: str, **more: Any) -> RunStep:
    takes = {key: more.pop(key) for key in ("stems", "above_dbfs") if key in more}
    whole = {"on_failure": OnFailure.FAIL, "weight": 1.0, **more}
    return RunStep(
        name, name, Takes(steps, **takes), model=name, checkpoint=None, params={}, ingredients={}, **whole
    )


def a_part(step: str, state: JobState | None, **more: Any) -> Part:
    job = None if state is None else uuid4()
    return Part(**{"run_id": RUN, "step": step, "input_id": TRACK, "job_id": job, "state": state, **more})


SPLIT = a_step("split")
NOTES = a_step("notes", "split", stems=("vocals", "bass"))
WORDS = a_step("words", "split", stems=("vocals",), above_dbfs=-60.0)
BEATS = a_step("beats")


def begun(
    steps: Sequence[RunStep], parts: Sequence[Part], *made: Asset
) -> list[tuple[str, UUID | None, str]]:
    by_job: dict[UUID, list[Asset]] = {}
    for asset in made:
        by_job.setdefault(asset.job_id or RUN, []).append(asset)
    found = due(steps, parts, by_job, TRACK)
    return [(each.step.id, each.input_id, each.error["code"] if each.error else "") for each in found]


# ── what is due ───────────────────────────────────────────────────────────────────────────────────────


def test_what_takes_the_track_begins_at_once_and_the_rest_waits():
    assert begun([SPLIT, NOTES, BEATS], []) == [("split", TRACK, ""), ("beats", TRACK, "")]


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_nothing_is_due_while_what_it_takes_from_goes_on(state):
    assert begun([SPLIT, NOTES], [a_part("split", state)]) == []


def test_a_step_takes_the_stems_it_names_one_job_each():
    done = a_part("split", JobState.SUCCEEDED)
    vocals, drums, bass = (an_asset(done.job_id, stem) for stem in ("vocals", "drums", "bass"))
    midi = an_asset(done.job_id, None, "midi")
    assert begun([SPLIT, NOTES, WORDS], [done], vocals, drums, bass, midi) == [
        ("notes", vocals.id, ""),
        ("notes", bass.id, ""),
        ("words", vocals.id, ""),
    ]


@pytest.mark.parametrize(("level", "heard"), [(-80.0, False), (-20.0, True), (None, True)])
def test_a_stem_that_is_known_to_be_silent_is_passed_over(level, heard):
    done = a_part("split", JobState.SUCCEEDED)
    vocals = an_asset(done.job_id, "vocals", **({} if level is None else {"rms_dbfs": level}))
    assert begun([SPLIT, WORDS], [done], vocals) == [("words", vocals.id if heard else None, "")]


def test_a_step_that_has_begun_is_never_due_again():
    done = a_part("split", JobState.SUCCEEDED)
    vocals, bass = an_asset(done.job_id, "vocals"), an_asset(done.job_id, "bass")
    parts = [done, a_part("notes", JobState.FAILED, input_id=vocals.id)]
    assert begun([SPLIT, NOTES], parts, vocals, bass) == []


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.TIMED_OUT, JobState.CANCELLED])
def test_what_takes_from_a_failed_job_fails_with_it_and_nothing_else_does(state):
    parts = [a_part("split", state), a_part("beats", JobState.RUNNING)]
    assert begun([SPLIT, NOTES, BEATS], parts) == [("notes", TRACK, "dependency-failed")]


def test_of_several_jobs_only_the_failed_one_takes_others_with_it():
    copy = a_step("copy", "notes")
    good, bad = (
        a_part("notes", JobState.SUCCEEDED, input_id=uuid4()),
        a_part("notes", JobState.FAILED, input_id=uuid4()),
    )
    echo = an_asset(good.job_id, None)
    found = begun([SPLIT, NOTES, copy], [a_part("split", JobState.SUCCEEDED), good, bad], echo)
    assert sorted(found, key=str) == sorted(
        [("copy", echo.id, ""), ("copy", bad.input_id, "dependency-failed")], key=str
    )


def test_when_a_step_that_may_fail_does_the_next_takes_the_track():
    may_fail = replace(SPLIT, on_failure=OnFailure.SKIP)
    assert begun([may_fail, NOTES], [a_part("split", JobState.FAILED)]) == [("notes", TRACK, "")]
    cancelled = [a_part("split", JobState.CANCELLED)]
    assert begun([may_fail, NOTES], cancelled) == [("notes", TRACK, "dependency-failed")]


def test_what_follows_nothing_is_nothing_to_do():
    skipped = a_part("notes", None, input_id=None)
    assert begun([SPLIT, NOTES, a_step("copy", "notes")], [a_part("split", JobState.SUCCEEDED), skipped]) == [
        ("copy", None, "")
    ]


# ── where it stands ───────────────────────────────────────────────────────────────────────────────────

DONE, BAD, GONE = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED


@pytest.mark.parametrize(
    ("states", "cancelled", "ends"),
    [
        ([DONE, DONE], False, RunState.SUCCEEDED),
        ([DONE, None], False, RunState.SUCCEEDED),
        ([DONE, BAD], False, RunState.PARTIAL),
        ([DONE, GONE], False, RunState.PARTIAL),
        ([BAD, JobState.TIMED_OUT], False, RunState.FAILED),
        ([GONE, GONE], False, RunState.CANCELLED),
        ([DONE, JobState.RUNNING], False, RunState.RUNNING),
        ([DONE], False, RunState.RUNNING),
        ([DONE], True, RunState.CANCELLED),
        ([DONE, JobState.RUNNING], True, RunState.RUNNING),
        ([DONE, GONE], True, RunState.CANCELLED),
        ([DONE, DONE], True, RunState.SUCCEEDED),
    ],
)
def test_a_run_ends_as_its_parts_did(states, cancelled, ends):
    parts = [a_part(name, state) for name, state in zip(("split", "beats"), states, strict=False)]
    assert outcome([SPLIT, BEATS], parts, cancelled=cancelled) is ends


def test_a_part_without_a_job_says_why():
    assert standing(a_part("x", None)) == "skipped"
    assert standing(a_part("x", None, error=SourceDeleted().as_dict())) == "failed"
    assert standing(a_part("x", JobState.RUNNING, error=Cancelled().as_dict())) == "cancelled"


def test_a_step_has_one_word_for_all_of_its_parts():
    words = {
        "waiting": [],
        "running": [DONE, JobState.QUEUED],
        "succeeded": [DONE, DONE],
        "partial": [DONE, BAD],
        "failed": [BAD, JobState.TIMED_OUT],
        "skipped": [None],
    }
    for word, states in words.items():
        assert step_standing([a_part("x", state) for state in states]) == word


# ── how far it is ─────────────────────────────────────────────────────────────────────────────────────


def test_steps_count_by_their_weight_and_parts_share_that_of_their_step():
    steps = [replace(SPLIT, weight=6.0), replace(NOTES, weight=2.0)]
    half = a_part("split", JobState.RUNNING, fraction=0.5)
    assert fraction(steps, [half]) == 3 / 8
    parts = [replace(half, state=DONE), a_part("notes", DONE), a_part("notes", JobState.QUEUED)]
    assert fraction(steps, parts) == 7 / 8


@given(st.integers(0, 2**32))
def test_the_fraction_of_a_run_never_falls_and_ends_at_one(seed):
    """Whatever its jobs do: they begin, are put back, go on, end."""
    chance = Random(seed)
    steps = [
        a_step(f"s{n}", *([f"s{n - 1}"] if n else []), weight=chance.uniform(0.01, 100)) for n in range(3)
    ]
    parts: list[Part] = []
    seen = 0.0
    while outcome(steps, parts, cancelled=False) is RunState.RUNNING:
        made = {p.job_id: [an_asset(p.job_id, str(n)) for n in range(3)] for p in parts if p.job_id}
        parts += [
            a_part(
                d.step.id,
                JobState.QUEUED if d.input_id and not d.error else None,
                input_id=d.input_id,
                error=d.error,
            )
            for d in due(steps, parts, made, TRACK)
        ]
        now = fraction(steps, parts)
        assert now >= seen
        seen = now
        active = [n for n, p in enumerate(parts) if p.state not in {*TERMINAL, None}]
        if active:
            n = chance.choice(active)
            state = chance.choice([JobState.QUEUED, JobState.RUNNING, DONE, BAD])
            farthest = max(parts[n].fraction, chance.random())  # as the database keeps it
            parts[n] = replace(parts[n], state=state, fraction=farthest)
    assert fraction(steps, parts) == 1.0


# ── definitions ───────────────────────────────────────────────────────────────────────────────────────


def test_a_step_of_a_run_is_the_same_after_it_was_json():
    for step in (SPLIT, WORDS, replace(NOTES, on_failure=OnFailure.SKIP)):
        assert RunStep.of(json.loads(json.dumps(step.as_dict()))) == step


def test_those_that_ship_are_called_what_they_are():
    assert all(slug == pipeline.slug for slug, pipeline in PIPELINES.items())
    assert {"stems", "karaoke", "lyrics"} <= set(PIPELINES)


def test_models_hear_the_stems_when_there_will_be_some():
    steps = {s.id: s for s in of_models({"w": "transcribe", "d": "separate", "b": "midi", "e": "echo"}).steps}
    assert (steps["w"].takes.steps, steps["w"].takes.stems) == (("d",), ("vocals",))
    assert "drums" not in steps["b"].takes.stems
    assert steps["d"].takes == steps["e"].takes == Takes()
    assert all(not s.takes.steps for s in of_models({"w": "transcribe", "b": "midi"}).steps)
