"""Token buckets: so many at once, so many in the long run, and never more memory than a bound."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralib.api.rates import MAX_BUCKETS, Rates, address_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    steps=st.lists(st.floats(0, 5), max_size=60),
    per_s=st.floats(0.1, 20),
    burst=st.integers(1, 20),
)
def test_nobody_gets_more_than_the_burst_and_the_rate(steps: list[float], per_s: float, burst: int) -> None:
    clock = Clock()
    rates, granted = Rates(per_s, burst, clock), 0
    for step in steps:
        clock.now += step
        left, retry_s = rates.take("me")
        granted += retry_s is None
        assert 0 <= left.remaining < burst
        assert granted <= burst + per_s * (clock.now - 1000) + 1e-6


@given(per_s=st.floats(0.1, 20), burst=st.integers(1, 20))
def test_who_waits_as_long_as_it_is_told_gets_in(per_s: float, burst: int) -> None:
    clock = Clock()
    rates = Rates(per_s, burst, clock)
    for _ in range(burst):
        assert rates.take("me")[1] is None
    _, retry_s = rates.take("me")
    assert retry_s is not None
    clock.now += retry_s
    assert rates.take("me")[1] is None


def test_one_who_floods_costs_nobody_else() -> None:
    rates = Rates(1, 3, Clock())
    assert [rates.take("flood")[1] is None for _ in range(5)] == [True] * 3 + [False] * 2
    assert rates.take("other")[1] is None


def test_memory_is_bounded() -> None:
    rates = Rates(1, 3, Clock())
    for n in range(MAX_BUCKETS + 500):
        rates.take(n)
    assert len(rates._buckets) == MAX_BUCKETS


@pytest.mark.parametrize(
    ("remote", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (None, ""),
        ("/run/socket", "/run/socket"),
    ],
)
def test_an_address_is_counted_by_what_one_customer_has(remote: str | None, counted: str) -> None:
    assert address_of(SimpleNamespace(remote=remote)) == counted
