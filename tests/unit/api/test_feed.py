"""What a stream tells of progress, and how many streams there may be."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralib.api.auth import Principal
from neuralib.api.feed import PROGRESS_EVERY_S, Throttle, frame
from neuralib.api.streams import Streams
from neuralib.config import Limits
from neuralib.errors import TooManyStreams


def progress(fraction: float, job: str = "a", attempt: int = 1) -> dict[str, object]:
    return {"job_id": job, "attempt": attempt, "fraction": fraction}


def test_of_many_words_about_a_job_only_the_newest_is_told() -> None:
    throttle = Throttle()
    for fraction in (0.1, 0.2, 0.3):
        throttle.offer(progress(fraction))
    throttle.offer(progress(0.9, job="b"))
    assert throttle.take(100.0) == [progress(0.3), progress(0.9, job="b")]
    assert throttle.next_at() is None


def test_the_next_word_waits_its_time() -> None:
    throttle = Throttle()
    throttle.offer(progress(0.1))
    throttle.take(100.0)
    throttle.offer(progress(0.2))
    assert throttle.take(100.0 + PROGRESS_EVERY_S / 2) == []
    assert throttle.next_at() == 100.0 + PROGRESS_EVERY_S
    assert throttle.take(100.0 + PROGRESS_EVERY_S) == [progress(0.2)]


def test_after_its_end_nothing_is_told_of_a_job() -> None:
    throttle = Throttle()
    throttle.offer(progress(0.5))
    throttle.end("a")
    throttle.offer(progress(0.6))
    assert throttle.take(100.0) == []


def test_a_new_attempt_starts_again_and_the_old_one_is_silent() -> None:
    throttle = Throttle()
    throttle.offer(progress(0.9))
    throttle.take(100.0)
    throttle.offer(progress(0.1, attempt=2))
    throttle.offer(progress(0.95, attempt=1))
    assert throttle.take(101.0) == [progress(0.1, attempt=2)]


@given(st.lists(st.floats(0, 1), max_size=30))
def test_progress_never_falls(fractions: list[float]) -> None:
    throttle, told = Throttle(), []
    for now, fraction in enumerate(fractions):
        throttle.offer(progress(fraction))
        told += [each["fraction"] for each in throttle.take(float(now))]
    assert told == sorted(told)


def test_a_frame_is_one_event_whatever_the_data_holds() -> None:
    wire = frame("job.failed", {"detail": "a\n\nid: 9\r\ndata: x\u2028"}, 7).decode()
    assert wire.startswith("id: 7\nevent: job.failed\ndata: {")
    assert wire.endswith("}\n\n")
    assert wire.count("\n") == 4
    assert "\r" not in wire


async def test_an_owner_may_open_only_so_many_streams() -> None:
    streams = Streams(Limits(streams=3, streams_per_owner=2))
    me, other = [Principal(uuid4(), frozenset(), "nothing") for _ in range(2)]
    with streams.enter(me), streams.enter(me):
        with pytest.raises(TooManyStreams, match="you have 2"), streams.enter(me):
            pass
        with streams.enter(other), pytest.raises(TooManyStreams, match="no room"), streams.enter(other):
            pass
    with streams.enter(me):
        pass
