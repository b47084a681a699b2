"""What a job comes to, decided before anything is written: each outcome knows its verdict for ``settle``.

Pure: errors and refusals go in, outcomes come out; no database, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

from errors import (
    DeadlinePassedError,
    FeatureNotHereError,
    HeadraceError,
    InternalFaultError,
    JobCancelledError,
    NotNowError,
    OutcomeUnknownError,
    OutputInvalidError,
    OverBudgetError,
    ProviderAnswerLostError,
    ProviderError,
    ProviderForbiddenError,
    ProviderHeldError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
    RateLimitHeldError,
    RetryableError,
    SchemaWaitsError,
    UnknownFeatureError,
    UnpricedModelError,
)
from guards import budgets
from guards.rates import NoRoom
from router.providers.text import one_line
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
from workers.backoff import Backoff

SCHEMA_READ_WITHIN_S = 1.0  # a large schema takes 0.3 s, and those of other tenants stand in line too
FEATURE_AGAIN_S = 2.0  # a process reads its policy again after 5 s at most, and another worker may know it already
LONGEST_FEATURE_WAIT_S = 60.0
SETTLES_WITHIN_S = 1.0  # what a person is told of others' reservations: about a call's time
LONGEST_WAIT_S = (
    3_600.0  # what a provider asks for beyond this is not heeded; router/http/retry_after.py has the same ceiling
)
OUTPUT_FAULT_LENGTH = 400
"""So much of what was wrong with an answer is told to the model in the next attempt, characters."""
GRACE_S = 0.1  # come back just after a provider may be asked, not just before
HELD = "provider_held"
"""Reason of a job that waits for its providers to be well again."""
RATE_LIMITED = "provider_rate_limited"
"""Reason of a job that waits for a provider that limits our rate."""
ABOUT_ONE_CALL: Final = (OverBudget, WaitForRoom, NoSlot, Unpriced)
"""Refusals that another call of the same job may not get."""


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
    output_fault: str | None = None  # what was wrong with the answer: the next attempt says so

    verdict = "retry"

    def as_settled(self) -> dict[str, Any]:
        """The outcome as ``settle`` takes it."""
        told = {} if self.output_fault is None else {"output_fault": self.output_fault}
        return {"reason": self.reason, "delay_s": self.delay_s} | told


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
class NextCall:
    """The job goes on: its last call is settled, and the claim stays for the next one."""

    verdict = "next_call"

    def as_settled(self) -> dict[str, Any]:
        """The outcome as ``settle`` takes it."""
        return {}


@dataclass(frozen=True, slots=True)
class Lost:
    """The job is no longer this claim's, and nothing is left to settle.

    ``state``: what the last settle said of it. It is *lost*, or the ending that the job has by now.
    """

    state: str = "lost"

    verdict = "lost"


@dataclass(frozen=True, slots=True)
class ProviderWait:
    """What is known of a job's wait for its providers. Times in seconds; endless where there is none.

    ``held_s``: since a provider's fault first made it wait, without an attempt of its own in between; 0.0 for never.
    ``answered_s``: since a model that failed it last answered anybody. ``waits``: until each provider may be asked.
    ``most_s``: so long a job without a deadline waits at most.
    """

    held_s: float = 0.0
    remaining_s: float = math.inf
    answered_s: float = math.inf
    waits: Mapping[str, float] = field(default_factory=dict)
    most_s: float = 86_400.0


Outcome: TypeAlias = Succeeded | Ended | Retry | Defer | HandBack
"""What a job comes to, and ``settle`` carries out."""


def rejected(error: HeadraceError) -> Ended:
    """A guard refused the job for good."""
    return Ended("rejected", error.code, error.as_dict())


def of_refusal(refusal: NotGranted, *, on_over_budget: str, model: str) -> Outcome | Lost:
    """What it means for the job that ``begin`` did not grant its call."""
    match refusal:
        case OverBudget(room_at=room_at) if on_over_budget == "wait" and room_at is not None:
            return Defer(
                OverBudgetError.code, until=room_at, waits_for=f"cap:{_cap(refusal)}", need_usd=refusal.need_usd
            )
        case OverBudget():
            return Ended("rejected", OverBudgetError.code, _over_budget(refusal))
        case WaitForRoom(need_usd=need_usd):
            waits_for = f"room:{_cap(refusal)}"
            return Defer("waiting_for_room", delay_s=SETTLES_WITHIN_S, waits_for=waits_for, need_usd=need_usd)
        case NoSlot():
            return Defer("waiting_for_slot", delay_s=SETTLES_WITHIN_S, waits_for=f"slot:{_cap(refusal)}")
        case Unpriced():
            return Ended("rejected", UnpricedModelError.code, budgets.unpriced(model))
        case JobCancelled(verdict=verdict):
            return _ended_before_its_call(verdict, JobCancelledError)
        case JobExpired(verdict=verdict):
            return _ended_before_its_call(verdict, DeadlinePassedError)
        case ClaimLost():
            return Lost()


def of_schema_in_line() -> Defer:
    """Another large schema of the tenant is being read: that takes up to a third of a second, and no other thread."""
    return Defer(SchemaWaitsError.code, delay_s=SCHEMA_READ_WITHIN_S)


def of_feature_not_here(
    error: FeatureNotHereError, *, queued_s: float, remaining_s: float, most_s: float
) -> Defer | Ended:
    """The job's feature is published, but not in the policy of this process: another worker may know it.

    A young job comes back soon, an old one seldom; one without a deadline is refused after ``most_s`` seconds.
    """
    if remaining_s == math.inf and queued_s >= most_s:
        gone = UnknownFeatureError(field=error.field, value=error.value)
        return Ended("rejected", gone.code, gone.as_dict() | {"waited_s": round(queued_s)})
    return Defer(error.code, delay_s=min(max(queued_s / 2, FEATURE_AGAIN_S), LONGEST_FEATURE_WAIT_S))


def of_full_rate(no_room: NoRoom) -> Defer:
    """The job's request rate has no room: it waits for its turn under it."""
    return Defer("rate_limited", delay_s=no_room.wait_s, waits_for=no_room.rate.waits_for)


def too_late(model: str, left_s: float) -> Ended:
    """The deadline leaves less time than any answer of the model has taken here: a call could only cost."""
    error = DeadlinePassedError(
        f"the deadline leaves {max(left_s, 0.0):.2f} s, and no answer of {model} has come so fast here"
    )
    return Ended("expired", error.code, error.as_dict())


def of_held_providers(held: Sequence[HeadraceError], *, backoff: Backoff, wait: ProviderWait | None = None) -> Outcome:
    """What it means that no provider could even be asked: wait for the first that may be, or give up without a key."""
    waited_for = [error for error in held if isinstance(error, ProviderHeldError)]
    return _wait(waited_for, backoff, wait or ProviderWait()) if waited_for else rejected(held[0])


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
    wait: ProviderWait | None = None,
) -> Outcome:
    """What an attempt means for the job whose calls all failed; ``held``: why other providers were not even asked.

    Attempts are for the job's own faults: where every call failed for a fault of its provider, the job waits and burns
    none. One call that failed for the job, or whose answer was lost (it may have been paid), makes it an attempt. Then
    one provider that may do better next time is enough for another, whatever the others said.
    """
    for error in failed:
        if must_not_be_repeated(error, on_unknown=on_unknown):
            return Ended("failed", OutcomeUnknownError.code, error.as_dict())
    wait = wait or ProviderWait()
    if all(_is_the_providers(error, wait) for error in failed):
        return _wait([error for error in (*failed, *held) if isinstance(error, NotNowError)], backoff, wait)
    hopes = [error for error in (*failed, *held) if isinstance(error, RetryableError | NotNowError)]
    own = [error for error in failed if not isinstance(error, NotNowError)] or failed
    told = next((error for error in reversed(own) if isinstance(error, RetryableError)), own[-1])
    if not hopes:
        return Ended("failed", told.code, told.as_dict())
    if attempt >= backoff.max_attempts:
        return Ended("failed", told.code, told.as_dict() | {"attempts": attempt})
    wait_s = min(_asked_to_wait_s(error, wait) for error in hopes)
    fault = one_line(told.message, OUTPUT_FAULT_LENGTH) if isinstance(told, OutputInvalidError) else None
    return Retry(told.code, backoff.delay_s(attempt, at_least_s=wait_s), fault)


def of_fault(
    fault: InternalFaultError, *, call: str | None, attempt: int, backoff: Backoff, on_unknown: str
) -> Outcome:
    """What a fault of ours means for the job; ``call``: the status of its call that is not settled yet."""
    if call == "succeeded":  # the answer is paid: asking anew would pay for the same fault again
        return Ended("failed", fault.code, fault.as_dict())
    if call == "unknown" and on_unknown == "fail":
        return Ended("failed", OutcomeUnknownError.code, fault.as_dict())
    return of_failed_calls([fault], attempt=attempt, backoff=backoff, on_unknown=on_unknown)


def _over_budget(refusal: OverBudget) -> dict[str, Any]:
    return budgets.over_budget(
        scope=refusal.cap_scope,
        key=refusal.cap_key,
        need_usd=refusal.need_usd,
        limit_usd=refusal.limit_usd,
        spent_usd=refusal.spent_usd,
        reserved_usd=refusal.others_reserved_usd,
        room_at=refusal.room_at,
    )


def _cap(refusal: OverBudget | WaitForRoom | NoSlot) -> str:
    return f"{refusal.cap_scope}:{refusal.cap_key}"


def _ended_before_its_call(how: str, kind: type[HeadraceError]) -> Ended:
    return Ended(how, kind.code, kind(f"the job was {how} before its call").as_dict())


def _is_the_providers(error: HeadraceError, wait: ProviderWait) -> bool:
    """Whether a failure is its provider's own, and not the job's.

    What a provider answers to one job again, though it has answered others since that job began to wait, is the job's:
    some requests break a server, or a gateway refuses them, each time.
    """
    if isinstance(error, ProviderUnavailableError | ProviderForbiddenError):
        return not wait.answered_s < wait.held_s
    return isinstance(error, NotNowError)


def _wait(errors: Sequence[HeadraceError], backoff: Backoff, wait: ProviderWait) -> Outcome:
    """Wait until the first provider may be asked; a job without a deadline not for ever."""
    first = min(errors, key=lambda error: _asked_to_wait_s(error, wait))
    wait_s = _asked_to_wait_s(first, wait)
    if wait.remaining_s == math.inf and wait.held_s >= wait.most_s:
        return Ended("failed", first.code, first.as_dict() | {"waited_s": round(wait.held_s)})
    if wait_s > 0:
        wait_s += GRACE_S
    left_s = (wait.remaining_s - wait_s) / 2  # the deadline must not pass in the part of the wait that is of our choice
    reason = RATE_LIMITED if isinstance(first, ProviderRateLimitedError | RateLimitHeldError) else HELD
    return Defer(reason, delay_s=wait_s + backoff.spread_s(wait_s=wait_s, held_s=wait.held_s, most_s=left_s))


def _asked_to_wait_s(error: HeadraceError, wait: ProviderWait) -> float:
    asked = error.retry_after_s if isinstance(error, ProviderError) else error.details.get("retry_after_s")
    wait_s = float(asked or 0.0)
    wait_s = min(wait_s, LONGEST_WAIT_S) if wait_s > 0 else 0.0  # 0 for what is not a number, too
    provider = error.details.get("provider")
    return max(wait_s, wait.waits.get(provider, 0.0) if isinstance(provider, str) else 0.0)
