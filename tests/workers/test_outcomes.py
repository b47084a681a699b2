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
    ProviderRateLimitedError,
    ProviderRefusedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    TooLongError,
)
from storage.runs import Grant
from workers import outcomes
from workers.backoff import Backoff
from workers.outcomes import Defer, Ended, HandBack, Lost, Outcome, Retry, Succeeded

ROOM_AT = datetime(2030, 1, 2, 3, tzinfo=UTC)
GRANT = Grant(
    verdict="over_budget",
    reserved_usd=Decimal("0.5"),
    max_output_tokens=100,
    cap_scope="user",
    cap_key="u-1",
    limit_usd=Decimal("1"),
    spent_usd=Decimal("0.75"),
    others_reserved_usd=Decimal("0.125"),
    room_at=ROOM_AT,
    remaining_s=None,
)
BACKOFF = Backoff(max_attempts=3, base_s=1.0, cap_s=60.0, uniform=lambda low, high: high)

DOWN = ProviderUnavailableError(provider="openai", http_status=500)
LIMITED = ProviderRateLimitedError(provider="anthropic", http_status=429, retry_after_s=7.0)
LOST = ProviderAnswerLostError(provider="openai")
REFUSED = ProviderRefusedError(provider="openai", http_status=400)
WRONG_KEY = ProviderAuthError(provider="anthropic", http_status=401)
OPEN = BreakerOpenError(provider="anthropic", retry_after_s=4.0)


def refused(verdict: str, *, on_over_budget: str = "fail", **facts: Any) -> Outcome:
    grant = replace(GRANT, verdict=verdict, **facts)
    return outcomes.of_refused_grant(grant, on_over_budget=on_over_budget, model="gpt-x")


def failed(
    *errors: HeadraceError, attempt: int = 1, on_unknown: str = "retry", held: list[HeadraceError] | None = None
) -> Outcome:
    return outcomes.of_failed_calls(
        list(errors), held=held or [], attempt=attempt, backoff=BACKOFF, on_unknown=on_unknown
    )


# ---------------------------------------------------------------------------------------------------- refused grants


def test_over_budget_rejects_with_every_fact_of_the_cap() -> None:
    outcome = refused("over_budget")
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
    assert refused("over_budget", on_over_budget="wait") == Defer(
        "over_budget", until=ROOM_AT, waits_for="cap:user:u-1", need_usd=Decimal("0.5")
    )


def test_waiting_for_what_will_never_fit_is_refused() -> None:
    outcome = refused("over_budget", on_over_budget="wait", room_at=None, cap_scope="tenant", cap_key="")
    assert isinstance(outcome, Ended)
    assert (outcome.reason, outcome.error["room_at"]) == ("over_budget", None)
    assert (outcome.error["value"], "the tenant" in outcome.error["message"]) == ("tenant", True)
    assert "Raise the cap" in outcome.error["hint"]


@pytest.mark.parametrize("on_over_budget", ["fail", "wait"])
def test_others_reservations_are_waited_for(on_over_budget: str) -> None:
    outcome = refused("wait_for_room", on_over_budget=on_over_budget)
    assert outcome == Defer(
        "waiting_for_room", delay_s=outcomes.SETTLES_WITHIN_S, waits_for="room:user:u-1", need_usd=Decimal("0.5")
    )


def test_a_busy_model_is_waited_for() -> None:
    outcome = refused("no_slot", cap_scope="model", cap_key="openai:gpt-x")
    assert outcome == Defer("waiting_for_slot", delay_s=outcomes.SETTLES_WITHIN_S, waits_for="slot:model:openai:gpt-x")


def test_an_unpriced_model_rejects_and_names_it() -> None:
    outcome = refused("unpriced")
    assert isinstance(outcome, Ended)
    assert (outcome.outcome, outcome.reason) == ("rejected", "unpriced_model")
    assert (outcome.error["field"], outcome.error["value"]) == ("model", "gpt-x")


@pytest.mark.parametrize(("verdict", "reason"), [("cancelled", "cancelled"), ("expired", "deadline_passed")])
def test_what_happened_to_the_job_meanwhile_ends_it(verdict: str, reason: str) -> None:
    outcome = refused(verdict)
    assert isinstance(outcome, Ended)
    assert (outcome.outcome, outcome.reason, outcome.error["code"]) == (verdict, reason, reason)


def test_a_lost_claim_ends_nothing() -> None:
    assert refused("lost") == Lost()


# ---------------------------------------------------------------------------------------------------- held providers


def test_the_first_breaker_to_open_up_is_waited_for() -> None:
    held = [BreakerOpenError(provider="openai", retry_after_s=9.0), OPEN, NoProviderKeyError()]
    outcome = outcomes.of_held_providers(held)
    assert outcome == Defer("provider_held", delay_s=4.0 + outcomes.BREAKER_GRACE_S)


def test_without_any_key_the_job_is_rejected() -> None:
    outcome = outcomes.of_held_providers([NoProviderKeyError(field="provider", value="openai")])
    assert isinstance(outcome, Ended)
    assert (outcome.outcome, outcome.reason, outcome.error["value"]) == ("rejected", "no_provider_key", "'openai'")


# ------------------------------------------------------------------------------------------------------ failed calls


@pytest.mark.parametrize(
    "error", [DOWN, LOST, ProviderTimeoutError(provider="openai"), OutputInvalidError(), InternalFaultError()]
)
def test_what_may_pass_is_tried_again_until_the_attempts_are_used_up(error: HeadraceError) -> None:
    assert failed(error, attempt=1) == Retry(error.code, 1.0)
    assert failed(error, attempt=2) == Retry(error.code, 2.0)
    outcome = failed(error, attempt=3)
    assert isinstance(outcome, Ended)
    assert (outcome.outcome, outcome.reason, outcome.error["attempts"]) == ("failed", error.code, 3)


@pytest.mark.parametrize("error", [REFUSED, WRONG_KEY])
def test_what_never_passes_ends_at_once(error: HeadraceError) -> None:
    outcome = failed(error)
    assert isinstance(outcome, Ended)
    assert (outcome.outcome, outcome.reason) == ("failed", error.code)


@pytest.mark.parametrize("errors", [(DOWN, WRONG_KEY), (WRONG_KEY, DOWN), (REFUSED, DOWN)])
def test_one_provider_that_may_recover_is_enough_for_another_attempt(errors: tuple[HeadraceError, ...]) -> None:
    assert failed(*errors) == Retry(DOWN.code, 1.0)
    last = failed(*errors, attempt=3)
    assert isinstance(last, Ended) and last.reason == DOWN.code


def test_a_provider_behind_its_breaker_may_do_better_than_one_that_refused() -> None:
    assert failed(REFUSED, held=[OPEN]) == Retry(REFUSED.code, 4.0 + 1.0)
    last = failed(REFUSED, held=[OPEN], attempt=3)
    assert isinstance(last, Ended) and last.reason == REFUSED.code
    # a missing key is no hope
    assert isinstance(failed(REFUSED, held=[NoProviderKeyError()]), Ended)


def test_the_wait_is_that_of_the_first_provider_that_may_be_asked_again() -> None:
    assert failed(LIMITED) == Retry(LIMITED.code, 7.0 + 1.0)
    assert failed(DOWN, LIMITED) == Retry(LIMITED.code, 1.0)
    patient = ProviderRateLimitedError(provider="openai", retry_after_s=30.0)
    assert failed(patient, LIMITED) == Retry(LIMITED.code, 7.0 + 1.0)


@pytest.mark.parametrize("errors", [(LOST,), (LOST, DOWN), (DOWN, LOST)])
def test_a_job_that_must_not_be_repeated_ends_when_an_answer_was_lost(errors: tuple[HeadraceError, ...]) -> None:
    outcome = failed(*errors, on_unknown="fail")
    assert isinstance(outcome, Ended)
    assert (outcome.outcome, outcome.reason, outcome.error["code"]) == ("failed", "outcome_unknown", LOST.code)
    assert isinstance(failed(*errors, on_unknown="retry"), Retry)


def test_on_unknown_fail_is_about_lost_answers_only() -> None:
    assert failed(DOWN, on_unknown="fail") == Retry(DOWN.code, 1.0)
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
        (Lost(), "next_call", {}),
    ],
)  # fmt: skip
def test_each_outcome_in_the_words_of_settle(outcome: Outcome, verdict: str, settled: dict[str, Any]) -> None:
    assert (outcome.verdict, outcome.as_settled()) == (verdict, settled)
    json.dumps(outcome.as_settled(), allow_nan=False)
