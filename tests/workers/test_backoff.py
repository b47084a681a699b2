"""The wait between attempts: within its bounds at every attempt, never shorter than the provider asked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.backoff import Backoff

SECONDS = st.floats(0.001, 1e4)


@settings(deadline=None)
@given(base_s=SECONDS, cap_s=SECONDS, attempt=st.integers(1, 500), asked_s=st.none() | st.floats(0, 1e6))
def test_the_wait_lies_between_what_was_asked_and_that_plus_the_ceiling(
    base_s: float, cap_s: float, attempt: int, asked_s: float | None
) -> None:
    least = Backoff(base_s=base_s, cap_s=cap_s, uniform=lambda low, high: low).delay_s(attempt, at_least_s=asked_s)
    most = Backoff(base_s=base_s, cap_s=cap_s, uniform=lambda low, high: high).delay_s(attempt, at_least_s=asked_s)
    some = Backoff(base_s=base_s, cap_s=cap_s).delay_s(attempt, at_least_s=asked_s)
    assert least == (asked_s or 0.0)
    assert least <= some <= most <= (asked_s or 0.0) + cap_s


@pytest.mark.parametrize(("attempt", "ceiling_s"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (40, 10.0)])
def test_the_ceiling_doubles_up_to_the_cap(attempt: int, ceiling_s: float) -> None:
    backoff = Backoff(base_s=1.0, cap_s=10.0, uniform=lambda low, high: high)
    assert backoff.delay_s(attempt) == ceiling_s


def test_the_jitter_is_full() -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    Backoff(base_s=0.5, uniform=uniform).delay_s(3)
    Backoff(base_s=0.5, uniform=uniform).spread_s(wait_s=3.0, held_s=7.0)
    assert asked == [(0, 2.0), (0, 7.0)]


@settings(deadline=None)
@given(base_s=SECONDS, cap_s=SECONDS, wait_s=SECONDS, held_s=SECONDS, most_s=st.floats(-1e4, 1e4))
def test_a_spread_is_never_wider_than_it_may_be(
    base_s: float, cap_s: float, wait_s: float, held_s: float, most_s: float
) -> None:
    spread_s = Backoff(base_s=base_s, cap_s=cap_s).spread_s(wait_s=wait_s, held_s=held_s, most_s=most_s)
    assert 0 <= spread_s <= min(cap_s, max(most_s, 0.0))
