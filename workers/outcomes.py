"""What a job comes to, decided before anything is written: each outcome knows its verdict for ``settle``.

Pure: errors and grants go in, outcomes come out; no database, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

from errors import (
    BreakerOpenError,
    HeadraceError,
    InternalFaultError,
    ProviderAnswerLostError,
    ProviderError,
    RetryableError,
)
from guards import budgets
from guards.rates import NoRoom
from storage.runs import Grant
from workers.backoff import Backoff

SETTLES_WITHIN_S = 1.0  # what a person is told of others' reservations: about a call's time
LONGEST_WAIT_S = (
    3_600.0  # what a provider asks for beyond this is not heeded; failures.retry_after_s has the same ceiling
)
BREAKER_GRACE_S = 0.1  # come back just after the breaker lets a probe through, not just before
ABOUT_ONE_CALL = ("over_budget", "wait_for_room", "no_slot", "unpriced")  # verdicts that another call may not get


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The model answered."""

    run_id: UUID
    output: str
    output_json: Any
    finish: str
    max_output_tokens: int
    simulated: bool = False  # made up by the simulator

    verdict = "ended"

    def as_settled(self) -> dict[str, Any]:
        """The outcome as ``settle`` takes it."""
        facts: dict[str, Any] = {
            "outcome": "succeeded",
            "run_id": str(self.run_id),
            "output": self.output,
            "finish": self.finish,
            "max_output_tokens": self.max_output_tokens,
        }
        facts |= {} if self.output_json is None else {"output_json": self.output_json}
        return facts | ({"simulated": True} if self.simulated else {})


@dataclass(frozen=True, slots=True)
class Ended:
    """The job ends without an answer: failed, rejected, cancelled or expired."""

    outcome: str
    reason: str
    error: Mapping[str, Any]

    verdict = "ended"

    def as_settled(self) -> dict[str, Any]:
        """The outcome as ``settle`` takes it."""
        return {"outcome": self.outcome, "reason": self.reason, "error": dict(self.error)}


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed; another one after ``delay_s`` seconds."""

    reason: str
    delay_s: float

    verdict = "retry"

    def as_settled(self) -> dict[str, Any]:
        """The outcome as ``settle`` takes it."""
        return {"reason": self.reason, "delay_s": self.delay_s}


@dataclass(frozen=True, slots=True)
class Defer:
    """Nothing failed, but it cannot run now: later, without burning an attempt.

    ``waits_for`` names the cap or rate that has to have room first (``queue.waits_for``), and ``need_usd`` how much;
    then the time only says when that is expected. Without it the job is due at that time.
    """

    reason: str
    delay_s: float | None = None
    until: datetime | None = None
    waits_for: str | None = None
    need_usd: Decimal | None = None

    verdict = "defer"

    def as_settled(self) -> dict[str, Any]:
        """The outcome as ``settle`` takes it."""
        facts: dict[str, Any] = {"reason": self.reason}
        facts |= {"delay_s": self.delay_s} if self.until is None else {"until": self.until.isoformat()}
        if self.waits_for is not None:
            facts["waits_for"] = self.waits_for
        if self.need_usd is not None:
            facts["need_usd"] = str(self.need_usd)
        return facts


@dataclass(frozen=True, slots=True)
class HandBack:
    """This process is draining: somebody else runs it, at once."""

    verdict = "hand_back"

    def as_settled(self) -> dict[str, Any]:
        """The outcome as ``settle`` takes it."""
        return {}


@dataclass(frozen=True, slots=True)
class Lost:
    """The job is no longer this claim's: only what its calls used is still settled."""

    verdict = "next_call"

    def as_settled(self) -> dict[str, Any]:
        """The outcome as ``settle`` takes it."""
        return {}


Outcome: TypeAlias = Succeeded | Ended | Retry | Defer | HandBack | Lost


def rejected(error: HeadraceError) -> Ended:
    """A guard refused the job for good."""
    return Ended("rejected", error.code, error.as_dict())


def of_refused_grant(grant: Grant, *, on_over_budget: str, model: str) -> Outcome:
    """What a verdict of ``begin`` other than *granted* means for the job."""
    if grant.verdict == "lost":
        return Lost()
    cap = f"{grant.cap_scope}:{grant.cap_key}"
    if grant.verdict == "wait_for_room":
        return Defer("waiting_for_room", delay_s=SETTLES_WITHIN_S, waits_for=f"room:{cap}", need_usd=grant.reserved_usd)
    if grant.verdict == "no_slot":
        return Defer("waiting_for_slot", delay_s=SETTLES_WITHIN_S, waits_for=f"slot:{cap}")
    if grant.verdict == "over_budget":
        if on_over_budget == "wait" and grant.room_at is not None:
            return Defer("over_budget", until=grant.room_at, waits_for=f"cap:{cap}", need_usd=grant.reserved_usd)
        return Ended("rejected", "over_budget", _over_budget(grant))
    if grant.verdict == "unpriced":
        return Ended("rejected", "unpriced_model", budgets.unpriced(model))
    reason = {"cancelled": "cancelled", "expired": "deadline_passed"}[grant.verdict]
    return Ended(grant.verdict, reason, {"code": reason, "message": f"the job was {grant.verdict} before its call"})


def of_full_rate(no_room: NoRoom) -> Defer:
    """The job's request rate has no room: it waits for its turn under it."""
    return Defer("rate_limited", delay_s=no_room.wait_s, waits_for=no_room.rate.waits_for)


def too_late(model: str, left_s: float) -> Ended:
    """The deadline leaves less time than any answer of the model has taken here: a call could only cost."""
    message = f"the deadline leaves {max(left_s, 0.0):.2f} s, and no answer of {model} has come so fast here"
    return Ended("expired", "deadline_passed", {"code": "deadline_passed", "message": message})


def of_held_providers(held: Sequence[HeadraceError]) -> Outcome:
    """What it means that no provider could even be asked: wait for the first breaker, or give up without a key."""
    waits = [float(error.details["retry_after_s"]) for error in held if isinstance(error, BreakerOpenError)]
    if waits:
        return Defer("provider_held", delay_s=min(waits) + BREAKER_GRACE_S)
    return rejected(held[0])


def must_not_be_repeated(error: HeadraceError, *, on_unknown: str) -> bool:
    """Whether the job asked not to be tried again after this, not even at another provider."""
    return on_unknown == "fail" and isinstance(error, ProviderAnswerLostError) and error.billable is None


def of_failed_calls(
    failed: Sequence[HeadraceError],
    *,
    attempt: int,
    backoff: Backoff,
    on_unknown: str,
    held: Sequence[HeadraceError] = (),
) -> Outcome:
    """What an attempt means for the job whose calls all failed; ``held``: why other providers were not even asked.

    One provider that may do better next time is enough for another attempt, whatever the others said.
    """
    for error in failed:
        if must_not_be_repeated(error, on_unknown=on_unknown):
            return Ended("failed", "outcome_unknown", error.as_dict())
    hopes = [error for error in (*failed, *held) if isinstance(error, RetryableError)]
    told = next((error for error in reversed(failed) if isinstance(error, RetryableError)), failed[-1])
    if not hopes:
        return Ended("failed", told.code, told.as_dict())
    if attempt >= backoff.max_attempts:
        return Ended("failed", told.code, told.as_dict() | {"attempts": attempt})
    return Retry(told.code, backoff.delay_s(attempt, at_least_s=min(_asked_to_wait_s(error) for error in hopes)))


def of_fault(
    fault: InternalFaultError, *, call: str | None, attempt: int, backoff: Backoff, on_unknown: str
) -> Outcome:
    """What a fault of ours means for the job; ``call``: the status of its call that is not settled yet."""
    if call == "succeeded":  # the answer is paid: asking anew would pay for the same fault again
        return Ended("failed", fault.code, fault.as_dict())
    if call == "unknown" and on_unknown == "fail":
        return Ended("failed", "outcome_unknown", fault.as_dict())
    return of_failed_calls([fault], attempt=attempt, backoff=backoff, on_unknown=on_unknown)


def _asked_to_wait_s(error: HeadraceError) -> float:
    asked = error.retry_after_s if isinstance(error, ProviderError) else error.details.get("retry_after_s")
    wait_s = float(asked or 0.0)
    return min(wait_s, LONGEST_WAIT_S) if wait_s > 0 else 0.0  # 0 for what is not a number, too


def _over_budget(grant: Grant) -> dict[str, Any]:
    return budgets.over_budget(
        scope=str(grant.cap_scope),
        key=str(grant.cap_key),
        need_usd=grant.reserved_usd,
        limit_usd=grant.limit_usd,
        spent_usd=grant.spent_usd,
        reserved_usd=grant.others_reserved_usd,
        room_at=grant.room_at,
    )
