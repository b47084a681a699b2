"""What a job will cost and whether it would run, before it exists: the answer of ``enqueue(…, dry_run=True)``.

A quote is a look, not a promise: it reserves nothing, and each is made as if its job came alone. Pure: the facts go in,
the quote comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from errors import DeadlinePassedError, HeadraceError
from guards import budgets
from producers.requests import JobRequest
from storage.money.quotes import MoneyLook
from storage.money.rates import Rate


class Verdict(StrEnum):
    """The verdict on the job, as things stand."""

    WOULD_RUN = "would_run"  # as soon as its turn comes
    WOULD_WAIT = "would_wait"  # for what `waits` says; then it would run
    WOULD_BE_REJECTED = "would_be_rejected"  # `error` says why
    WOULD_REPEAT = (
        "would_repeat"  # its idempotency key belongs to a job: `job_id` would be returned, and nothing new would run
    )


class CapFit(StrEnum):
    """How the primary's call fits under a cap."""

    NOW = "now"
    ONCE_SETTLED = "once_settled"  # when others' reservations have settled, or those before it have had their turn
    OVER_BUDGET = "over_budget"  # spent and its own worst case pass the cap


@dataclass(frozen=True, slots=True)
class CallQuote:
    """One call at its highest price.

    ``input_bound`` and ``max_output_tokens`` are tokens, ``worst_case_usd`` what would be reserved for them (None: the
    model has no price). If the caps have room for a shorter answer only, both are for that answer.
    """

    provider: str
    model: str
    input_bound: int
    max_output_tokens: int
    worst_case_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class CapQuote:
    """One cap as it stands, in USD of its rolling 24 hours; ``limit_usd`` and ``room_usd`` None: there is no limit.

    ``scope`` is tenant, user or feature. ``fit`` is None when no call could be planned or priced; ``room_at``: when the
    window will have freed enough, None when it never will.
    """

    scope: str
    key: str
    limit_usd: Decimal | None
    spent_usd: Decimal
    reserved_usd: Decimal
    room_usd: Decimal | None
    fit: CapFit | None
    room_at: datetime | None


@dataclass(frozen=True, slots=True)
class RateQuote:
    """One request rate that binds the job. ``room``: how many requests it lets through now (None: requests are not
    counted).

    ``room_in_s``: seconds until there is room again, 0 where there is some; ``others_first``: jobs that wait for this
    rate and come before this one.
    """

    scope: str
    key: str
    per_minute: int
    room: int | None
    room_in_s: float
    others_first: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that the job would wait for, in the words that it would show while it waits.

    ``reason``: paused | asked_for | rate_limited | over_budget | waiting_for_room | feature_not_here (it is published,
    and the policy of this process does not have it). ``waits_for`` names the cap, the rate or what is paused (None: the
    time alone). ``until``: when that is expected to be over, None when it cannot be predicted.
    """

    reason: str
    waits_for: str | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Quote:
    """What a job would meet at the instant ``at``. Money in USD; None where there was nothing to plan or to price.

    ``worst_case_usd`` is of the primary's call, ``dearest_usd`` of the more expensive of primary and backup: one
    attempt at one provider. ``max_output_tokens`` is what was asked for (or the prompt's, or the feature's);
    ``input_tokens`` is an estimate; a call's ``input_bound`` is an upper bound. ``prompt_version``: the one that is
    active now.
    """

    verdict: Verdict
    at: datetime
    error: Mapping[str, Any] | None
    waits: tuple[Wait, ...]
    job_id: UUID | None
    feature: str
    prompt: str | None
    prompt_version: int | None
    tier: str | None
    rule: str | None
    input_tokens: int | None
    max_output_tokens: int | None
    primary: CallQuote | None
    backup: CallQuote | None
    worst_case_usd: Decimal | None
    dearest_usd: Decimal | None
    caps: tuple[CapQuote, ...]
    rates: tuple[RateQuote, ...]


def caps_of(look: MoneyLook) -> tuple[CapQuote, ...]:
    """The three caps, and how the first call fits under each."""
    fits = look.calls[0].fits if look.calls else ()
    return tuple(
        CapQuote(
            scope=cap.scope,
            key=cap.key,
            limit_usd=cap.limit_usd,
            spent_usd=cap.spent_usd,
            reserved_usd=cap.reserved_usd,
            room_usd=cap.room_usd,
            fit=CapFit(fits[place].fit) if fits else None,
            room_at=fits[place].room_at if fits else None,
        )
        for place, cap in enumerate(look.caps)
    )


def rejection(
    request: JobRequest, look: MoneyLook, *, refused: HeadraceError | None, model: str | None
) -> Mapping[str, Any] | None:
    """Why a worker would refuse the job, as its ``error`` would say; None when nothing permanent stands against it.

    ``refused``: why it could not be planned. ``model``: the primary's.
    """
    if refused is not None:
        return refused.as_dict()
    if not look.calls:
        return None
    call = look.calls[0]
    if call.verdict == "unpriced":
        return budgets.unpriced(model)
    for cap, fit in zip(look.caps, call.fits, strict=True):
        if fit.fit != CapFit.OVER_BUDGET:
            continue
        in_time = fit.room_at is not None and (
            request.on_over_budget == "wait" or (request.run_at is not None and request.run_at >= fit.room_at)
        )
        if not in_time:
            return budgets.over_budget(
                scope=cap.scope,
                key=cap.key,
                need_usd=call.need_usd,
                limit_usd=cap.limit_usd,
                spent_usd=cap.spent_usd,
                reserved_usd=cap.reserved_usd,
                room_at=fit.room_at,
            )
    return None


def waits_of(request: JobRequest, look: MoneyLook, rates: Sequence[RateQuote]) -> tuple[Wait, ...]:
    """Everything that would delay the job, in the order in which it would meet it."""
    named = {"tenant": "", "lane": request.lane, "feature": request.feature}
    waits = [Wait("paused", f"pause:{scope}:{named[scope]}", None) for scope in look.paused]
    if request.run_at is not None and request.run_at > look.at:
        waits.append(Wait("asked_for", None, request.run_at))
    for rate in rates:
        if rate.others_first or rate.room == 0:
            until = look.at + timedelta(seconds=rate.room_in_s) if rate.room == 0 else None
            waits.append(Wait("rate_limited", Rate(rate.scope, rate.key, rate.per_minute).waits_for, until))
    fits = look.calls[0].fits if look.calls else ()
    for cap, fit in zip(look.caps, fits, strict=bool(fits)):
        if fit.fit == CapFit.ONCE_SETTLED:
            waits.append(Wait("waiting_for_room", f"room:{cap.scope}:{cap.key}", None))
        elif fit.fit == CapFit.OVER_BUDGET and (request.run_at is None or _before(request.run_at, fit.room_at)):
            waits.append(Wait("over_budget", f"cap:{cap.scope}:{cap.key}", fit.room_at))
    return tuple(waits)


def missed_deadline(request: JobRequest, waits: Sequence[Wait]) -> Mapping[str, Any] | None:
    """The error of a job that would still wait when its deadline passes."""
    late = [one.until for one in waits if one.until is not None]
    if request.deadline is None or not late or max(late) < request.deadline:
        return None
    return DeadlinePassedError(
        f"it would wait until {max(late).isoformat()}, and the deadline passes before",
        field="deadline",
        value=request.deadline.isoformat(),
    ).as_dict()


def _before(at: datetime, room_at: datetime | None) -> bool:
    return room_at is None or at < room_at
