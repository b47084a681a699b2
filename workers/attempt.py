"""One attempt at a claimed job: a target is asked once, and comes to one of five answers.

A call has five steps, in this order: the call before it is settled, the request is counted under its rates, the worst
case is reserved, the provider is asked, and what the call used is reported. The pipeline goes from target to target,
and decides what their answers mean for the job.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from errors import (
    DeadlinePassedError,
    HeadraceError,
    OutputInvalidError,
    ProviderError,
    ProviderHeldError,
    SchemaTooCostlyError,
)
from guards.rates import NoRoom, RateGuard
from router.gateway import Gateway
from router.plan import Plan
from router.policy import Target
from router.providers.calls import CallReply, CallRequest
from router.pseudonyms import Pseudonyms
from storage.money.runs import Granted, PlannedCall
from workers import call_report, outcomes
from workers.answers import read_answer
from workers.call_report import CallReport
from workers.claim import Claim
from workers.group_commit import GroupCommit
from workers.outcomes import Ended, Lost, Outcome, Succeeded
from workers.trouble_log import TroubleLog


@dataclass(frozen=True, slots=True)
class Answered:
    """The target answered what was asked for."""

    outcome: Succeeded


@dataclass(frozen=True, slots=True)
class Held:
    """The target could not be asked, and nothing was sent: its breaker, its rate limit or a missing key is why."""

    why: HeadraceError


@dataclass(frozen=True, slots=True)
class TooLate:
    """The target was not asked: the deadline leaves less time than any of its answers has taken."""

    outcome: Ended


@dataclass(frozen=True, slots=True)
class Failed:
    """The target was asked, and its answer was lost or is of no use. ``final``: no other target may be asked."""

    why: HeadraceError
    final: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """The target was not asked, and this is what the job comes to.

    ``about_this_call``: what is in the way says nothing about another call of the same job.
    """

    outcome: Outcome | Lost
    about_this_call: bool = False


Answer: TypeAlias = Answered | Held | TooLate | Failed | Decided


@dataclass(slots=True)
class Progress:
    """What has been done for a claimed job so far: calls made, tokens used, the last call's report if still open."""

    calls: int = 0
    tokens: int = 0
    admitted: bool = False  # counted under its request rates
    unsettled: CallReport | None = None

    def note(self, report: CallReport) -> None:
        """Take a call's report, to be settled together with what comes next."""
        self.unsettled = report
        self.tokens += report.charged_tokens


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What all attempts of a process share.

    ``settle_call`` settles the last call before the next one begins, and returns the job's state: *kept* while the job
    is still the claim's.
    """

    gateway: Gateway
    group_commit: GroupCommit
    pseudonyms: Pseudonyms
    rates: RateGuard | None
    trouble: TroubleLog
    call_timeout_s: float
    settle_call: Callable[[Claim, Progress], str]


class Attempt:
    """Asks the targets of one job's plan. It decides and ends nothing."""

    def __init__(self, shared: Dependencies, claim: Claim, plan: Plan, progress: Progress) -> None:
        """Ask nothing yet. What its calls used waits in ``progress`` to be settled together with what comes next."""
        self._shared = shared
        self._claim = claim
        self._plan = plan
        self._progress = progress

    def ask(self, target: Target, *, after: HeadraceError | None) -> Answer:
        """Ask a target once. ``after``: why a target before it did not answer, where there is one."""
        not_now = self._shared.gateway.held(target, tenant=str(self._claim.tenant_id))
        if not_now is not None:
            return Held(not_now)
        if self._shared.gateway.hopeless(target, self._claim.remaining_s):
            return self._too_late(target)
        reserved = self._reserve(target)
        if isinstance(reserved, Decided):
            return reserved
        call, granted = reserved
        if call.fallback:
            self._shared.trouble.fell_back(self._claim.ids, call, instead_of=self._plan.route.primary, why=after)
        return self._answer(call, self._request(call, granted))

    # ----------------------------------------------------------------------------------------- the five steps of a call

    def _reserve(self, target: Target) -> tuple[PlannedCall, Granted] | Decided:
        """Settle the call before, count the request, reserve for the call. What refuses it is the job's outcome."""
        state = self._settle_last_call()
        if state != "kept":
            return Decided(Lost(state))
        no_room = self._admit()
        if no_room is not None:
            return Decided(outcomes.of_full_rate(no_room))
        claim, call = self._claim, self._plan.call(target)
        grant = self._shared.group_commit.begin(claim.tenant_id, claim.job.job_id, claim.id, call)
        if isinstance(grant, Granted):
            return call, grant
        outcome = outcomes.of_refusal(grant, on_over_budget=claim.job.on_over_budget, model=target.model)
        return Decided(outcome, about_this_call=isinstance(grant, outcomes.ABOUT_ONE_CALL))

    def _settle_last_call(self) -> str:
        if self._progress.unsettled is None:
            return "kept"
        state = self._shared.settle_call(self._claim, self._progress)
        self._progress.unsettled = None
        return state

    def _admit(self) -> NoRoom | None:
        """Count the request under its rates: once a job, before its first call. Another attempt is our affair.

        A job that was counted and then had to wait (for money, a slot, a provider, another worker) comes back without
        rates: its row remembers.
        """
        if self._shared.rates is None or self._progress.admitted or self._claim.job.attempt > 1:
            return None
        no_room = self._shared.rates.admit(self._claim.tenant_id, self._claim.job.rates)
        self._progress.admitted = no_room is None
        return no_room

    def _request(self, call: PlannedCall, granted: Granted) -> CallRequest:
        claim, plan, call_timeout_s = self._claim, self._plan, self._shared.call_timeout_s
        left_s = math.inf if granted.remaining_s is None else granted.remaining_s
        return CallRequest(
            run_id=call.run_id,
            job_id=claim.job.job_id,
            tenant_id=str(claim.tenant_id),
            end_user=self._shared.pseudonyms.of_user(str(claim.tenant_id), claim.job.user_id),
            feature=claim.job.feature,
            model=call.model,
            messages=plan.messages,
            max_output_tokens=granted.max_output_tokens,
            output_schema=plan.output_schema,
            output_fault=plan.output_fault,
            timeout_s=max(min(left_s, call_timeout_s), 0.001),
            hurried=left_s < call_timeout_s,
        )

    def _answer(self, call: PlannedCall, request: CallRequest) -> Answered | Held | TooLate | Failed:
        """Ask the provider, and read what it answers."""
        target = Target(call.provider, call.model)
        if request.hurried and self._shared.gateway.hopeless(
            target, request.timeout_s
        ):  # it waited for its reservation
            code = DeadlinePassedError.code
            self._progress.unsettled = CallReport(run_id=call.run_id, status="failed", error_code=code)
            return self._too_late(target)
        try:
            reply = self._call(call, target, request)
            output, value = read_answer(reply, self._plan.output_schema)
        except OutputInvalidError as error:
            return Failed(error, final=True)  # the provider is fine, the answer was not: the next attempt asks anew
        except SchemaTooCostlyError as error:
            return Failed(error, final=True)  # the next answer would cost as much to check
        except ProviderHeldError as error:
            return Held(error)  # the hold began since we looked: nothing was sent
        except ProviderError as error:
            return Failed(error, final=outcomes.must_not_be_repeated(error, on_unknown=self._claim.job.on_unknown))
        most = request.max_output_tokens
        return Answered(Succeeded(call.run_id, output, value, reply.finish, most, simulated=reply.simulated))

    def _call(self, call: PlannedCall, target: Target, request: CallRequest) -> CallReply:
        """Make the call. While it is under way its report says *unknown*: the worker may be torn away."""
        started, progress, most = time.monotonic(), self._progress, request.max_output_tokens
        progress.calls += 1
        progress.unsettled = CallReport(run_id=call.run_id, status="unknown", error_code="internal_fault")
        try:
            reply = self._shared.gateway.call(target, request)
        except (ProviderError, ProviderHeldError) as error:
            took_ms = _ms_since(started)
            report = call_report.failed(call, error, max_output_tokens=most, latency_ms=took_ms)
            progress.note(report)
            if isinstance(error, ProviderError):
                self._shared.trouble.call_failed(self._claim.ids, call, error, latency_ms=took_ms)
            self._shared.trouble.reported(self._claim.ids, call, report, max_output_tokens=most)
            raise
        report = call_report.answered(call, reply, max_output_tokens=most, latency_ms=_ms_since(started))
        progress.note(report)
        self._shared.trouble.reported(self._claim.ids, call, report, max_output_tokens=most)
        return reply

    def _too_late(self, target: Target) -> TooLate:
        return TooLate(outcomes.too_late(target.model, self._claim.remaining_s))


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
