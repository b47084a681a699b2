"""What an attempt comes to, for every way in which it can end; each outcome in the words that ``settle`` takes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from errors import (
    BreakerOpenError,
    HeadraceError,
    InternalFaultError,
    NoProviderKeyError,
    OutputInvalidError,
    ProviderAnswerLostError,
    ProviderAuthError,
    ProviderForbiddenError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRefusedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    ProviderUnreachableError,
    RateLimitHeldError,
    TooLongError,
)
from storage.money.runs import (
    ClaimLost,
    JobCancelled,
    JobExpired,
    NoSlot,
    NotGranted,
    OverBudget,
    Unpriced,
    WaitForRoom,
)
from workers import outcomes
from workers.backoff import Backoff
from workers.outcomes import (
    GRACE_S,
    Defer,
    Ended,
    HandBack,
    Lost,
    NextCall,
    Outcome,
    ProviderWait,
    Retry,
    Succeeded,
)  # fmt: skip

ROOM_AT = datetime(2030, 1, 2, 3, tzinfo=UTC)
OVER_BUDGET = OverBudget(
    cap_scope="user",
    cap_key="u-1",
    need_usd=Decimal("0.5"),
    limit_usd=Decimal("1"),
    spent_usd=Decimal("0.75"),
    others_reserved_usd=Decimal("0.125"),
    room_at=ROOM_AT,
)
WAIT_FOR_ROOM = WaitForRoom("user", "u-1", Decimal("0.5"), Decimal("1"), Decimal("0"), Decimal("0.75"))
BACKOFF = Backoff(max_attempts=3, base_s=1.0, cap_s=60.0, uniform=lambda low, high: high)

DOWN = ProviderUnavailableError(provider="openai", http_status=500)
LIMITED = ProviderRateLimitedError(provider="anthropic", http_status=429, retry_after_s=7.0)
LOST = ProviderAnswerLostError(provider="openai")
REFUSED = ProviderRefusedError(provider="openai", http_status=400)
WRONG_KEY = ProviderAuthError(provider="anthropic", http_status=401)
OPEN = BreakerOpenError(provider="anthropic", retry_after_s=4.0)


def refused(refusal: NotGranted, *, on_over_budget: str = "fail") -> Outcome | Lost:
    return outcomes.of_refusal(refusal, on_over_budget=on_over_budget, model="gpt-x")


FORBIDDEN = ProviderForbiddenError(provider="openai", http_status=403)
UNREACHABLE = ProviderUnreachableError(provider="openai")
NO_MONEY = ProviderQuotaError(provider="openai", http_status=429)
LIMIT_HELD = RateLimitHeldError(provider="openai", retry_after_s=9.0)
OF_PROVIDERS = [DOWN, UNREACHABLE, LIMITED, WRONG_KEY, NO_MONEY, FORBIDDEN]


def failed(
    *errors: HeadraceError,
    attempt: int = 1,
    on_unknown: str = "retry",
    held: list[HeadraceError] | None = None,
    wait: ProviderWait | None = None,
) -> Outcome:
    return outcomes.of_failed_calls(
        list(errors), held=held or [], attempt=attempt, backoff=BACKOFF, on_unknown=on_unknown, wait=wait
    )


# ---------------------------------------------------------------------------------------------------- refused grants


def test_over_budget_rejects_with_every_fact_of_the_cap() -> None:
    outcome = refused(OVER_BUDGET)
    assert isinstance(outcome, Ended)
    assert (outcome.verdict, outcome.outcome, outcome.reason) == ("ended", "rejected", "over_budget")
    facts = outcome.error
    assert (facts["code"], facts["field"], facts["value"]) == ("over_budget", "cap.user", "u-1")
    assert (facts["limit_usd"], facts["spent_usd"], facts["reserved_usd"], facts["worst_case_usd"]) == (
        "1", "0.75", "0.125", "0.5",
    )  # fmt: skip
    assert facts["room_at"] == ROOM_AT.isoformat() and ROOM_AT.isoformat() in facts["hint"]
    assert "user u-1" in facts["message"]


def test_over_budget_with_wait_is_deferred_until_there_is_room() -> None:
    assert refused(OVER_BUDGET, on_over_budget="wait") == Defer(
        "over_budget", until=ROOM_AT, waits_for="cap:user:u-1", need_usd=Decimal("0.5")
    )


def test_waiting_for_what_will_never_fit_is_refused() -> None:
    outcome = refused(replace(OVER_BUDGET, room_at=None, cap_scope="tenant", cap_key=""), on_over_budget="wait")
    assert isinstance(outcome, Ended)
    assert (outcome.reason, outcome.error["room_at"]) == ("over_budget", None)
    assert (outcome.error["value"], "the tenant" in outcome.error["message"]) == ("tenant", True)
    assert "Raise the cap" in outcome.error["hint"]


@pytest.mark.parametrize("on_over_budget", ["fail", "wait"])
def test_others_reservations_are_waited_for(on_over_budget: str) -> None:
    outcome = refused(WAIT_FOR_ROOM, on_over_budget=on_over_budget)
    assert outcome == Defer(
        "waiting_for_room", delay_s=outcomes.SETTLES_WITHIN_S, waits_for="room:user:u-1", need_usd=Decimal("0.5")
    )


def test_a_busy_model_is_waited_for() -> None:
    outcome = refused(NoSlot("model", "openai:gpt-x"))
    assert outcome == Defer("waiting_for_slot", delay_s=outcomes.SETTLES_WITHIN_S, waits_for="slot:model:openai:gpt-x")


def test_an_unpriced_model_rejects_and_names_it() -> None:
    outcome = refused(Unpriced())
    assert isinstance(outcome, Ended)
    assert (outcome.outcome, outcome.reason) == ("rejected", "unpriced_model")
    assert (outcome.error["field"], outcome.error["value"]) == ("model", "gpt-x")


@pytest.mark.parametrize(
    ("refusal", "ending", "reason"),
    [(JobCancelled(), "cancelled", "cancelled"), (JobExpired(), "expired", "deadline_passed")],
)
def test_what_happened_to_the_job_meanwhile_ends_it(refusal: NotGranted, ending: str, reason: str) -> None:
    outcome = refused(refusal)
    assert isinstance(outcome, Ended)
    assert (outcome.outcome, outcome.reason, outcome.error["code"]) == (ending, reason, reason)


def test_a_lost_claim_ends_nothing() -> None:
    assert refused(ClaimLost()) == Lost("lost")


# ---------------------------------------------------------------------------------------------------- held providers


def test_the_first_breaker_to_open_up_is_waited_for() -> None:
    held = [BreakerOpenError(provider="openai", retry_after_s=9.0), OPEN, NoProviderKeyError()]
    outcome = outcomes.of_held_providers(held, backoff=BACKOFF)
    wait_s = 4.0 + GRACE_S
    assert outcome == Defer("provider_held", delay_s=wait_s + wait_s)  # the spread, at its widest
    limited = outcomes.of_held_providers([LIMIT_HELD], backoff=BACKOFF)
    assert isinstance(limited, Defer) and limited.reason == "provider_rate_limited"


def test_jobs_that_are_held_do_not_come_back_in_one_instant() -> None:
    spread = [outcomes.of_held_providers([OPEN], backoff=Backoff()) for _ in range(200)]
    delays = [one.delay_s for one in spread if isinstance(one, Defer) and one.delay_s is not None]
    assert len(delays) == len(set(delays)) == 200
    assert min(delays) > 4.0 and max(delays) - min(delays) > 2.0


def test_without_any_key_the_job_is_rejected() -> None:
    outcome = outcomes.of_held_providers([NoProviderKeyError(field="provider", value="openai")], backoff=BACKOFF)
    assert isinstance(outcome, Ended)
    assert (outcome.outcome, outcome.reason, outcome.error["value"]) == ("rejected", "no_provider_key", "'openai'")


# ------------------------------------------------------------------------------------------------------ failed calls


@pytest.mark.parametrize(
    "error", [LOST, ProviderTimeoutError(provider="openai"), OutputInvalidError(), InternalFaultError()]
)
def test_what_may_pass_is_tried_again_until_the_attempts_are_used_up(error: HeadraceError) -> None:
    fault = error.message if isinstance(error, OutputInvalidError) else None
    assert failed(error, attempt=1) == Retry(error.code, 1.0, fault)
    assert failed(error, attempt=2) == Retry(error.code, 2.0, fault)
    outcome = failed(error, attempt=3)
    assert isinstance(outcome, Ended)
    assert (outcome.outcome, outcome.reason, outcome.error["attempts"]) == ("failed", error.code, 3)


def test_what_never_passes_ends_at_once() -> None:
    outcome = failed(REFUSED)
    assert isinstance(outcome, Ended)
    assert (outcome.outcome, outcome.reason) == ("failed", REFUSED.code)


@pytest.mark.parametrize("errors", [(REFUSED, DOWN), (DOWN, REFUSED), (REFUSED, LIMITED), (WRONG_KEY, REFUSED)])
def test_one_provider_that_may_recover_is_enough_for_another_attempt(errors: tuple[HeadraceError, ...]) -> None:
    outcome = failed(*errors)
    assert isinstance(outcome, Retry) and outcome.reason == REFUSED.code
    last = failed(*errors, attempt=3)
    assert isinstance(last, Ended) and last.reason == REFUSED.code


# ------------------------------------------------------------------------------------------------ providers' faults


@pytest.mark.parametrize("attempt", [1, 3, 50])
@pytest.mark.parametrize("error", OF_PROVIDERS)
def test_a_providers_fault_burns_no_attempt(error: HeadraceError, attempt: int) -> None:
    for errors in ([error], [error, error], [DOWN, error], [error, WRONG_KEY]):
        outcome = failed(*errors, attempt=attempt, on_unknown="fail", held=[OPEN, NoProviderKeyError()])
        assert isinstance(outcome, Defer)
        assert outcome.reason in ("provider_held", "provider_rate_limited")


@pytest.mark.parametrize("error", OF_PROVIDERS)
def test_beside_a_lost_answer_it_is_an_attempt_since_it_may_have_been_paid(error: HeadraceError) -> None:
    assert isinstance(failed(error, LOST), Retry)
    last = failed(LOST, error, attempt=3)
    assert isinstance(last, Ended) and last.reason == LOST.code


def test_a_rate_limit_is_waited_for_as_long_as_it_names() -> None:
    assert failed(LIMITED) == Defer("provider_rate_limited", delay_s=7.0 + GRACE_S + 7.0 + GRACE_S)
    patient = ProviderRateLimitedError(provider="openai", retry_after_s=30.0)
    assert failed(patient, LIMITED) == failed(LIMITED)  # the first that may be asked again
    assert failed(DOWN, LIMITED) == Defer("provider_held", delay_s=1.0)
    # what the gateway knows counts too: others were told to wait longer, or a breaker has opened
    known = ProviderWait(waits={"openai": 20.0, "anthropic": 11.0})
    assert failed(DOWN, LIMITED, wait=known) == Defer("provider_rate_limited", delay_s=2 * (11.0 + GRACE_S))


def test_the_longer_a_job_was_held_the_wider_it_is_spread() -> None:
    waits = [failed(DOWN, wait=ProviderWait(held_s=held_s)) for held_s in (0.0, 1.0, 5.0, 30.0, 10_000.0)]
    assert waits == [Defer("provider_held", delay_s=delay_s) for delay_s in (1.0, 1.0, 5.0, 30.0, 60.0)]


def test_the_part_of_the_wait_that_is_of_our_choice_does_not_outlive_the_deadline() -> None:
    assert failed(DOWN, wait=ProviderWait(held_s=40.0, remaining_s=8.0)) == Defer("provider_held", delay_s=4.0)
    # the provider's own word does: there is nothing to be had before
    limited = failed(LIMITED, wait=ProviderWait(remaining_s=3.0))
    assert limited == Defer("provider_rate_limited", delay_s=7.0 + GRACE_S)


@pytest.mark.parametrize("error", OF_PROVIDERS)
def test_a_job_without_a_deadline_does_not_wait_for_ever(error: HeadraceError) -> None:
    day = ProviderWait(held_s=86_400.0)
    outcome = failed(error, wait=day)
    assert isinstance(outcome, Ended)
    assert (outcome.outcome, outcome.reason, outcome.error["waited_s"]) == ("failed", error.code, 86_400)
    held = outcomes.of_held_providers([OPEN], backoff=BACKOFF, wait=day)
    assert isinstance(held, Ended) and held.reason == "breaker_open"
    assert isinstance(failed(error, wait=replace(day, remaining_s=5.0)), Defer)  # its deadline decides


@pytest.mark.parametrize("error", [DOWN, FORBIDDEN])
def test_what_meets_one_job_again_while_others_are_answered_is_its_own_fault(error: HeadraceError) -> None:
    others_answered = ProviderWait(held_s=20.0, answered_s=3.0)
    assert failed(error, attempt=1, wait=others_answered) == Retry(error.code, 1.0)
    assert isinstance(failed(error, attempt=3, wait=others_answered), Ended)
    # never before, or not since it began to wait
    for wait in (
        ProviderWait(),
        ProviderWait(answered_s=0.1),
        ProviderWait(held_s=20.0, answered_s=25.0),
        ProviderWait(held_s=20.0),
    ):
        assert isinstance(failed(error, attempt=3, wait=wait), Defer)


@pytest.mark.parametrize("error", [UNREACHABLE, LIMITED, WRONG_KEY, NO_MONEY])
def test_what_cannot_be_a_jobs_own_fault_never_is(error: HeadraceError) -> None:
    assert isinstance(failed(error, attempt=9, wait=ProviderWait(held_s=20.0, answered_s=3.0)), Defer)


# ------------------------------------------------------------------------------------------------------ failed calls


def test_a_provider_behind_its_breaker_may_do_better_than_one_that_refused() -> None:
    assert failed(REFUSED, held=[OPEN]) == Retry(REFUSED.code, 4.0 + 1.0)
    last = failed(REFUSED, held=[OPEN], attempt=3)
    assert isinstance(last, Ended) and last.reason == REFUSED.code
    # a missing key does not come back by itself
    assert isinstance(failed(REFUSED, held=[NoProviderKeyError()]), Ended)


def test_another_attempt_waits_for_the_first_provider_that_may_be_asked_again() -> None:
    assert failed(REFUSED, LIMITED) == Retry(REFUSED.code, 7.0 + 1.0)
    assert failed(LOST, LIMITED) == Retry(LOST.code, 1.0)


@pytest.mark.parametrize("errors", [(LOST,), (LOST, DOWN), (DOWN, LOST)])
def test_a_job_that_must_not_be_repeated_ends_when_an_answer_was_lost(errors: tuple[HeadraceError, ...]) -> None:
    outcome = failed(*errors, on_unknown="fail")
    assert isinstance(outcome, Ended)
    assert (outcome.outcome, outcome.reason, outcome.error["code"]) == ("failed", "outcome_unknown", LOST.code)
    assert isinstance(failed(*errors, on_unknown="retry"), Retry)


def test_on_unknown_fail_is_about_lost_answers_only() -> None:
    assert failed(DOWN, on_unknown="fail") == Defer("provider_held", delay_s=1.0)
    assert outcomes.must_not_be_repeated(LOST, on_unknown="fail")
    assert not outcomes.must_not_be_repeated(DOWN, on_unknown="fail")
    assert not outcomes.must_not_be_repeated(LOST, on_unknown="retry")


# ----------------------------------------------------------------------------------------------- the words of settle


@pytest.mark.parametrize(
    ("outcome", "verdict", "settled"),
    [
        (
            Succeeded(UUID(int=7), "Hi", None, "complete", 50),
            "ended",
            {"outcome": "succeeded", "run_id": str(UUID(int=7)), "output": "Hi", "finish": "complete",
             "max_output_tokens": 50},
        ),
        (
            Succeeded(UUID(int=7), "[]", [], "length", 50),
            "ended",
            {"outcome": "succeeded", "run_id": str(UUID(int=7)), "output": "[]", "output_json": [], "finish": "length",
             "max_output_tokens": 50},
        ),
        (
            outcomes.rejected(TooLongError("is too long", field="messages", value="9 characters")),
            "ended",
            {"outcome": "rejected", "reason": "too_long",
             "error": {"code": "too_long", "message": "is too long", "field": "messages", "value": "'9 characters'"}},
        ),
        (Retry("provider_timeout", 2.5), "retry", {"reason": "provider_timeout", "delay_s": 2.5}),
        (Defer("provider_held", delay_s=1.5), "defer", {"reason": "provider_held", "delay_s": 1.5}),
        (Defer("over_budget", until=ROOM_AT), "defer", {"reason": "over_budget", "until": "2030-01-02T03:00:00+00:00"}),
        (HandBack(), "hand_back", {}),
        (NextCall(), "next_call", {}),
    ],
)  # fmt: skip
def test_each_outcome_in_the_words_of_settle(outcome: Outcome, verdict: str, settled: dict[str, Any]) -> None:
    assert (outcome.verdict, outcome.as_settled()) == (verdict, settled)
    json.dumps(outcome.as_settled(), allow_nan=False)
