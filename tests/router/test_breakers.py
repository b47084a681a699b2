"""Breakers: what opens them, what does not, and that they never stand between calls that could run together."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from errors import (
    BreakerOpenError,
    ProviderAnswerLostError,
    ProviderAuthError,
    ProviderError,
    ProviderForbiddenError,
    ProviderMalformedAnswerError,
    ProviderNotSentError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRefusedError,
    ProviderRequestTooLargeError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    ProviderUnreachableError,
)
from router.breakers import Breakers
from tests.support.hand_clock import Clock

FAIL_MAX = 3
RESET_S = 10.0


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breakers(clock):
    return Breakers(fail_max=FAIL_MAX, reset_s=RESET_S, clock=clock)


def attempt(
    breakers: Breakers,
    error: Exception | None = None,
    provider: str = "openai",
    *,
    tenant: str | None = None,
    hurried: bool = False,
) -> None:
    """One call that ends as said; its own error is swallowed, any other is not."""
    try:
        with breakers.calling(provider, tenant=tenant, hurried=hurried):
            if error is not None:
                raise error
    except (ProviderError, KeyError) as raised:
        if raised is not error:
            raise


def unavailable() -> ProviderUnavailableError:
    return ProviderUnavailableError(provider="openai")


def opened(breakers: Breakers) -> Breakers:
    for _ in range(FAIL_MAX):
        attempt(breakers, unavailable())
    assert breakers.state("openai") == "open"
    return breakers


@pytest.mark.parametrize(
    "kind",
    [
        ProviderUnavailableError,
        ProviderTimeoutError,
        ProviderAnswerLostError,
        ProviderUnreachableError,
        ProviderMalformedAnswerError,
    ],
)
def test_failures_in_a_row_open_the_breaker(breakers, kind):
    for _ in range(FAIL_MAX - 1):
        attempt(breakers, kind(provider="openai"))
    assert breakers.state("openai") == "closed"

    attempt(breakers, kind(provider="openai"))

    assert breakers.state("openai") == "open"


NEUTRAL = [ProviderRefusedError, ProviderRequestTooLargeError, ProviderRateLimitedError, ProviderNotSentError]
FOR_ALL = [ProviderAuthError, ProviderQuotaError]


@pytest.mark.parametrize("kind", FOR_ALL)
def test_a_refusal_of_the_platforms_key_holds_for_every_call_and_opens_it_at_once(breakers, clock, kind):
    attempt(breakers, kind(provider="openai"), tenant="a")
    with pytest.raises(BreakerOpenError):
        attempt(breakers, tenant="b")

    clock.now += RESET_S
    attempt(breakers, kind(provider="openai"), tenant="b")  # the probe
    assert breakers.wait_s("openai", tenant="a") == RESET_S

    clock.now += RESET_S
    attempt(breakers, tenant="b")
    assert breakers.state("openai") == "closed"


@pytest.mark.parametrize("kind", FOR_ALL)
def test_a_refusal_of_a_tenants_own_key_holds_nobody(breakers, kind):
    for _ in range(5 * FAIL_MAX):
        with pytest.raises(kind), breakers.calling("openai", tenant="a", own_key=True):
            raise kind(provider="openai")
    assert breakers.wait_s("openai", tenant="a") == 0.0


@pytest.mark.parametrize("kind", [ProviderForbiddenError])
def test_what_a_gateway_forbids_one_tenant_holds_that_tenant_alone(breakers, kind):
    for _ in range(5 * FAIL_MAX):
        with suppress(BreakerOpenError):
            attempt(breakers, kind(provider="openai"), tenant="a")
    assert breakers.wait_s("openai", tenant="a") > 0
    assert breakers.wait_s("openai", tenant="b") == 0.0


@pytest.mark.parametrize("kind", NEUTRAL)
def test_refusals_and_rate_limits_do_not_open_it(breakers, kind):
    for _ in range(5 * FAIL_MAX):
        attempt(breakers, kind(provider="openai"))

    assert breakers.state("openai") == "closed"


@pytest.mark.parametrize("kind", NEUTRAL)
def test_refusals_and_rate_limits_do_not_heal_it_either(breakers, kind):
    for _ in range(FAIL_MAX):
        attempt(breakers, kind(provider="openai"))
        attempt(breakers, unavailable())

    assert breakers.state("openai") == "open"


def test_a_success_breaks_the_row(breakers):
    for _ in range(5):
        for _ in range(FAIL_MAX - 1):
            attempt(breakers, unavailable())
        attempt(breakers)

    assert breakers.state("openai") == "closed"


def test_the_failure_that_opens_it_reaches_the_caller_unchanged(breakers):
    for _ in range(FAIL_MAX - 1):
        attempt(breakers, unavailable())
    last = unavailable()

    with pytest.raises(ProviderUnavailableError) as caught, breakers.calling("openai"):
        raise last

    assert caught.value is last
    assert caught.value.__context__ is None


def test_an_open_breaker_says_who_and_for_how_long(breakers, clock):
    opened(breakers)
    clock.now += 4.0

    with pytest.raises(BreakerOpenError) as caught, breakers.calling("openai"):
        pytest.fail("nothing may be called")

    assert caught.value.details == {"provider": "openai", "retry_after_s": 6.0}


def test_each_provider_has_its_own(breakers):
    opened(breakers)

    attempt(breakers, provider="anthropic")

    assert breakers.state("anthropic") == "closed"


def test_a_probe_that_succeeds_closes_it(breakers, clock):
    opened(breakers)
    clock.now += RESET_S

    with breakers.calling("openai"):
        assert breakers.state("openai") == "half-open"

    assert breakers.state("openai") == "closed"


def test_a_probe_that_fails_opens_it_for_the_whole_time_again(breakers, clock):
    opened(breakers)
    clock.now += RESET_S
    attempt(breakers, unavailable())
    clock.now += RESET_S - 1

    with pytest.raises(BreakerOpenError) as caught, breakers.calling("openai"):
        pytest.fail("nothing may be called")

    assert caught.value.details["retry_after_s"] == 1.0


def test_only_one_probe_runs_at_a_time(breakers, clock):
    opened(breakers)
    clock.now += RESET_S

    with breakers.calling("openai"), pytest.raises(BreakerOpenError) as caught, breakers.calling("openai"):
        pytest.fail("a second probe was let through")

    assert 0 < caught.value.details["retry_after_s"] <= RESET_S


@pytest.mark.parametrize("kind", [*NEUTRAL, KeyError])
def test_a_probe_that_shows_nothing_lets_the_next_call_probe(breakers, clock, kind):
    opened(breakers)
    clock.now += RESET_S
    attempt(breakers, kind(provider="openai") if kind is not KeyError else KeyError())
    assert breakers.state("openai") == "half-open"

    attempt(breakers)

    assert breakers.state("openai") == "closed"


@pytest.mark.parametrize("late", [None, unavailable()], ids=["success", "failure"])
def test_a_call_from_before_the_breaker_opened_changes_nothing_when_it_ends(breakers, clock, late):
    late_call = breakers.calling("openai")
    late_call.__enter__()
    opened(breakers)
    clock.now += 4.0
    late_call.__exit__(type(late) if late else None, late, None)

    assert breakers.state("openai") == "open"
    clock.now += RESET_S - 4.0
    attempt(breakers)
    assert breakers.state("openai") == "closed"


def test_calls_run_side_by_side(breakers):
    inside = threading.Barrier(8)

    def call(_: int) -> None:
        with breakers.calling("openai"):
            inside.wait(timeout=30)  # breaks unless all eight are inside at once

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(8)))


def test_of_many_threads_exactly_one_probes(breakers, clock):
    opened(breakers)
    clock.now += RESET_S
    others_refused = threading.Semaphore(0)
    start = threading.Barrier(8)

    def call(_: int) -> str:
        start.wait(timeout=30)
        try:
            with breakers.calling("openai"):
                for _ in range(7):
                    assert others_refused.acquire(timeout=30)
                return "probed"
        except BreakerOpenError:
            others_refused.release()
            return "refused"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(call, range(8)))

    assert sorted(outcomes) == ["probed"] + ["refused"] * 7
    assert breakers.state("openai") == "closed"


def test_no_failure_of_concurrent_calls_goes_uncounted():
    breakers = Breakers(fail_max=400, reset_s=RESET_S)

    def fail(_: int) -> None:
        attempt(breakers, unavailable())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fail, range(399)))
        assert breakers.state("openai") == "closed"
        list(pool.map(fail, range(1)))

    assert breakers.state("openai") == "open"


def no_connection_in_time() -> ProviderUnreachableError:
    error = ProviderUnreachableError(provider="openai")
    error.timed_out = True
    return error


@pytest.mark.parametrize("ran_out", [lambda: ProviderTimeoutError(provider="openai"), no_connection_in_time])
def test_a_call_that_ran_out_of_its_jobs_own_time_says_nothing_of_the_provider(breakers, ran_out):
    for n in range(10 * FAIL_MAX):
        attempt(breakers, ran_out(), tenant=f"tenant {n}", hurried=True)
    assert breakers.state("openai") == "closed"

    for n in range(FAIL_MAX):
        attempt(breakers, ran_out(), tenant=f"tenant {n}")
    assert breakers.state("openai") == "open"


def test_a_hurried_call_that_fails_otherwise_counts(breakers):
    for n in range(FAIL_MAX):
        attempt(breakers, unavailable(), tenant=f"tenant {n}", hurried=True)

    assert breakers.state("openai") == "open"


def test_one_tenants_failures_hold_that_tenant_alone(breakers, clock):
    for _ in range(FAIL_MAX):
        attempt(breakers, unavailable(), tenant="a")
    assert breakers.state("openai") == "closed"
    assert breakers.wait_s("openai", tenant="b") == 0.0
    attempt(breakers, tenant="b")

    assert breakers.wait_s("openai", tenant="a") == RESET_S
    with pytest.raises(BreakerOpenError), breakers.calling("openai", tenant="a"):
        pytest.fail("nothing may be called")
    clock.now += RESET_S
    attempt(breakers, tenant="a")
    assert breakers.wait_s("openai", tenant="a") == 0.0


def test_failures_of_two_tenants_are_the_providers(breakers):
    for _ in range(FAIL_MAX - 1):
        attempt(breakers, unavailable(), tenant="a")
    attempt(breakers, unavailable(), tenant="b")

    assert breakers.state("openai") == "open"
    assert breakers.wait_s("openai", tenant="c") == RESET_S


def test_an_answer_to_another_tenant_ends_the_row_of_both(breakers):
    attempt(breakers, unavailable(), tenant="b")
    attempt(breakers, tenant="c")
    for _ in range(FAIL_MAX):
        attempt(breakers, unavailable(), tenant="a")

    assert breakers.state("openai") == "closed"


def test_a_slow_probe_holds_nobody_up_and_is_old_news_when_it_ends(breakers, clock):
    opened(breakers)
    clock.now += RESET_S
    slow = breakers.calling("openai", tenant="a")
    slow.__enter__()
    clock.now += RESET_S

    attempt(breakers, tenant="b")
    late = unavailable()
    slow.__exit__(type(late), late, None)

    assert breakers.state("openai") == "closed"


def test_the_breakers_of_single_tenants_are_bounded(breakers):
    for n in range(5_000):
        attempt(breakers, unavailable(), tenant=f"tenant {n}")
        attempt(breakers, tenant="another")

    assert len(breakers._of_one) == 4096


def test_each_opening_and_closing_is_told_once(clock):
    told = []
    breakers = Breakers(fail_max=2, reset_s=RESET_S, clock=clock, on_change=told.append)
    down = ProviderUnavailableError(provider="openai")
    for _ in range(2):
        attempt(breakers, down)
    assert [(one.provider, one.tenant, one.is_open, one.code, one.reset_s) for one in told] == [
        ("openai", None, True, "provider_unavailable", RESET_S)
    ]
    clock.now += RESET_S
    attempt(breakers, down)  # the probe fails: it is still open
    clock.now += RESET_S
    attempt(breakers)
    attempt(breakers)
    assert [(one.is_open, one.open_s) for one in told[1:]] == [(False, 2 * RESET_S)]

    attempt(breakers, ProviderAuthError(provider="openai"))
    assert (told[2].is_open, told[2].code) == (True, "provider_auth")


def test_a_tenants_own_breaker_is_told_with_the_tenant(clock):
    told = []
    breakers = Breakers(fail_max=2, reset_s=RESET_S, clock=clock, on_change=told.append)
    for _ in range(2):
        attempt(breakers, ProviderUnavailableError(provider="openai"), tenant="a")
    assert [(one.tenant, one.is_open) for one in told] == [("a", True)]
