"""What is said of a job's progress must be true."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralib.execution import backoff
from neuralib.pipeline import STAGES
from neuralib.progress import INFER_SHARE, Fetching, Progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def inferring(audio_s: float = 200.0) -> tuple[Progress, Clock]:
    clock = Clock()
    progress = Progress(audio_s=audio_s, clock=clock)
    progress.enter("infer")
    return progress, clock


@pytest.mark.parametrize("warm_up", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("batch", [1, 4])
def test_the_eta_is_right_after_the_first_tenth(warm_up: float, batch: int) -> None:
    """Even when the first windows are slow: models warm up."""
    progress, clock = inferring()
    total, window = 80, 0.5
    clock.now += 500  # in line behind another job
    progress.count(0, 0)
    costs = [window * batch * (warm_up if n == 0 else 1.0) for n in range(total // batch)]
    for n, cost in enumerate(costs):
        clock.now += cost
        progress.count((n + 1) * batch, total)
        left = sum(costs[n + 1 :])
        if (n + 1) * batch >= total / 10:
            assert progress.as_dict()["eta_s"] == pytest.approx(left, abs=0.06)
            assert progress.as_dict()["rate_x"] == pytest.approx(200.0 / (total * window), rel=0.01)


def test_the_eta_falls_between_windows_and_never_below_nothing() -> None:
    progress, clock = inferring()
    progress.count(0, 0)
    for done in (1, 2):
        clock.now += 10
        progress.count(done, 4)
    assert progress.as_dict()["eta_s"] == 20
    clock.now += 5
    progress.count(2, 4)
    assert progress.as_dict()["eta_s"] == 15
    clock.now += 100
    assert progress.as_dict()["eta_s"] == 0


def test_nothing_is_promised_before_there_is_something_to_go_by() -> None:
    progress, clock = inferring()
    for done, total in ((0, 0), (0, 10)):
        clock.now += 1
        progress.count(done, total)
        body = progress.as_dict()
        assert (body["eta_s"], body["rate_x"], body["fraction"]) == (None, None, 0.0)


def test_a_model_that_counts_from_its_first_report_on_is_understood() -> None:
    progress, clock = inferring()
    progress.count(3, 10)
    assert progress.as_dict()["eta_s"] is None
    clock.now += 6
    progress.count(6, 10)
    assert progress.as_dict()["eta_s"] == 8


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(0, 10)), max_size=30))
def test_the_fraction_never_falls_whatever_is_reported(reports: list[tuple[int, int, float]]) -> None:
    progress, clock = inferring()
    last = 0.0
    for done, total, seconds in reports:
        clock.now += seconds
        progress.count(done, max(done, total))
        body = progress.as_dict()
        assert last <= body["fraction"] <= INFER_SHARE
        assert body["eta_s"] is None or body["eta_s"] >= 0
        last = body["fraction"]
    for stage in ("encode", "store", "done"):
        progress.enter(stage)
        assert last <= progress.as_dict()["fraction"] <= 1.0
        last = progress.as_dict()["fraction"]


def test_every_stage_has_its_place() -> None:
    progress = Progress()
    for index, stage in enumerate(STAGES):
        progress.enter(stage)
        body = progress.as_dict()
        assert (body["stage"], body["stage_index"], body["stages"]) == (stage, index, list(STAGES))


def test_the_wait_after_an_error_doubles_up_to_a_minute() -> None:
    assert [backoff(n) for n in (0, 1, 2)] == [timedelta(seconds=s) for s in (2, 4, 8)]
    assert backoff(50) == timedelta(minutes=1)


def test_a_download_counts_bytes_and_knows_its_rate() -> None:
    now = [0.0]
    fetching = Fetching(clock=lambda: now[0])
    assert fetching.as_dict()["eta_s"] is None
    fetching.count(1000, 9000)  # what came before is no speed of this try
    for done in (3000, 5000):
        now[0] += 2.0
        fetching.count(done, 9000)
    told = fetching.as_dict()
    assert (told["unit"], told["stage"], told["fraction"]) == ("bytes", "download", 0.5556)
    assert (told["bytes_per_s"], told["eta_s"]) == (1000, 4.0)
    fetching.count(6000, 0)
    assert fetching.as_dict()["eta_s"] is None, "nobody said how much it is"
