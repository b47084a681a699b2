"""What a provider's limit holds back: for the time that it names, and no longer."""

from __future__ import annotations

import pytest

from errors import RateLimitHeldError
from router.rate_holds import MOST_WAIT_S, RateHolds
from tests.support.hand_clock import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def holds(clock):
    return RateHolds(clock=clock)


def test_a_provider_is_left_alone_for_the_time_that_it_names(holds, clock):
    holds.limited("openai", 17.0)
    with pytest.raises(RateLimitHeldError) as caught:
        holds.check("openai")
    assert caught.value.details == {"provider": "openai", "retry_after_s": 17.0}
    holds.check("anthropic")

    clock.now += 17.0

    assert holds.wait_s("openai") == 0.0
    holds.check("openai")


def test_the_longest_of_several_times_counts(holds, clock):
    holds.limited("openai", 30.0)
    holds.limited("openai", 5.0)
    assert holds.wait_s("openai") == 30.0
    clock.now += 10.0
    holds.limited("openai", 40.0)
    assert holds.wait_s("openai") == 40.0


@pytest.mark.parametrize("named", [None, 0.0, 0.01])
def test_without_a_time_of_its_own_the_wait_doubles_until_it_answers(holds, clock, named):
    waits = []
    for _ in range(9):
        holds.limited("openai", named)
        waits.append(holds.wait_s("openai"))
        holds.limited("openai", named)  # a call that was under way
        assert holds.wait_s("openai") == waits[-1]
        clock.now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, MOST_WAIT_S, MOST_WAIT_S, MOST_WAIT_S]

    holds.answered("openai")
    holds.limited("openai", named)

    assert holds.wait_s("openai") == 1


def test_one_tenants_429_holds_that_tenant_and_two_tenants_hold_the_provider(holds: RateHolds) -> None:
    holds.limited("openai", 3600.0, tenant="a")
    holds.limited("openai", 3600.0, tenant="a")
    assert holds.wait_s("openai", tenant="a") == 3600.0
    assert holds.wait_s("openai", tenant="b") == 0.0
    holds.check("openai", tenant="b")

    holds.limited("openai", 20.0, tenant="b")

    assert holds.wait_s("openai", tenant="b") == 20.0
    assert holds.wait_s("openai", tenant="c") == 20.0


def test_the_holds_of_tenants_are_bounded(holds: RateHolds) -> None:
    for n in range(10_000):
        holds.limited("openai", 60.0, tenant=f"tenant {n}")
    assert len(holds._holds) <= 4096
