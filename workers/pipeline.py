"""The life of one job in a worker, from a turn taken to the job settled. Read top to bottom.

Each step is one named function. What is atomic with what shows here and in `workers/attempt.py`: `claim`, `begin` and
`settle` are one short transaction each, and no transaction is open while a provider is called. Those that come at the
same time may share a transaction: `workers/group_commit.py`.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import structlog

from errors import (
    FeatureNotHereError,
    HeadraceError,
    InternalFaultError,
    InvalidInputError,
    ProviderError,
    SchemaWaitsError,
    ServiceError,
    StatementFailedError,
)
from guards.rates import RateGuard
from guards.schemas import check_schema
from queues.turns import Turn
from router.current_policy import CurrentPolicy
from router.gateway import Gateway
from router.plan import Plan, plan_job
from router.policy import Policy
from router.pseudonyms import Pseudonyms
from storage.catalogue import policy as stored_policy
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs.jobs import ClaimedJob, Stopped
from workers import outcomes
from workers.attempt import Answered, Attempt, Decided, Dependencies, Failed, Held, Progress, TooLate
from workers.backoff import Backoff
from workers.call_report import CallReport
from workers.claim import Claim
from workers.group_commit import GroupCommit
from workers.outcomes import Ended, HandBack, Lost, NextCall, Outcome, ProviderWait
from workers.prompt_cache import LoadedPrompts
from workers.settling import with_less
from workers.trouble_log import TroubleLog
from workers.turn_account import TurnAccount

T = TypeVar("T")
STRAINED_TRIES = 4
"""So often a settle is tried whole, half a minute each, while Postgres is under strain."""
log = structlog.get_logger("headrace.job")


class Pipeline:
    """Runs one job for each turn. One object a process, shared by its threads; all that it needs is handed to it."""

    def __init__(
        self,
        *,
        worker_id: UUID,
        database: Database,
        turns: TurnAccount,
        gateway: Gateway,
        policy: Policy,
        read_policy: Callable[[], Policy] | None = None,
        pseudonyms: Pseudonyms,
        rates: RateGuard | None = None,
        backoff: Backoff,
        call_timeout_s: float,
        claim_timeout_s: float,
        held_most_s: float = 86_400.0,
        draining: threading.Event,
        may_claim: Callable[[threading.Event], bool] = lambda _draining: True,
        cpu_clock: Callable[[], float] = time.thread_time,
        trouble: TroubleLog | None = None,
    ) -> None:
        """Run nothing yet.

        :param read_policy: reads the policy again, where a job names a feature that was published since.
        :param held_most_s: so long a job without a deadline waits for providers that are away.
        :param may_claim: waits until this worker is heard of by the others; False when it drains meanwhile.
        :param cpu_clock: CPU seconds of the calling thread so far.
        :param trouble: where what fails is told.
        """
        self._worker_id = worker_id
        self._database = database
        self._turns = turns
        self._gateway = gateway
        self._policies = CurrentPolicy(policy, read_policy)
        self._backoff = backoff
        self._claim_timeout_s = claim_timeout_s
        self._held_most_s = held_most_s
        self._draining = draining
        self._may_claim = may_claim
        self._cpu_clock = cpu_clock
        self._trouble = trouble or TroubleLog()
        self._prompts = LoadedPrompts(database)
        self._shared = Dependencies(
            gateway=gateway,
            group_commit=GroupCommit(database, draining),
            pseudonyms=pseudonyms,
            rates=rates,
            trouble=self._trouble,
            call_timeout_s=call_timeout_s,
            settle_call=self._settle_call,
        )

    def run(self, turn: Turn) -> None:
        """Take the turn's tenant's next job through its life; nothing to claim is fine. Raises nothing.

        This is the outermost loop of a job: a fault of ours, or of what the job carries, must not hold it till its
        claim ends, and stops neither the thread nor the process.
        """
        try:
            claim = self._claim(turn)
        except Exception as error:
            log.exception("claim.failed", tenant_id=turn.tenant[:40], lane=turn.lane[:100], **_named(error))
            claim = None
        if claim is None:
            self._account(lambda: self._turns.claimed_nothing(turn), otherwise=None)
            return
        charged = self._account(lambda: self._turns.claimed(turn, claim.job), otherwise=turn.charge)
        progress, began = Progress(), self._cpu_clock()
        try:
            outcome = self._work(claim, progress)
        except BaseException as error:  # the panic of a library that is not written in Python is not an Exception
            log.exception("job.fault", tenant_id=turn.tenant, job_id=str(claim.job.job_id))
            outcome = outcomes.of_fault(
                InternalFaultError(f"{type(error).__name__}: the worker's log tells more"),
                call=None if progress.unsettled is None else progress.unsettled.status,
                attempt=claim.job.attempt,
                backoff=self._backoff,
                on_unknown=claim.job.on_unknown,
            )
        cpu_s = self._cpu_clock() - began
        settled = self._settle(claim, progress, outcome)
        self._account(
            lambda: self._turns.settled(
                turn, claim.job, progress.tokens, cpu_s=cpu_s, charged=charged, queued=settled.state == "queued"
            ),
            otherwise=None,
        )
        self._tell(claim, settled, progress)

    # ------------------------------------------------------------------------------------------------- the stations

    def _claim(self, turn: Turn) -> Claim | None:
        if not self._may_claim(self._draining):
            return None
        claim_id, tenant_id = new_id(), UUID(turn.tenant)
        job = self._shared.group_commit.claim(
            tenant_id,
            turn.lane,
            claim_id=claim_id,
            worker_id=self._worker_id,
            timeout_s=self._claim_timeout_s,
            turns_per_tenant=self._turns.turns_per_tenant,
        )
        if isinstance(job, Stopped):  # whoever frees a slot of that cap offers the next turn
            log.debug("claim.stopped", tenant_id=turn.tenant, lane=turn.lane, by=job.by)
            return None
        return None if job is None else Claim(claim_id, tenant_id, job, time.monotonic())

    def _work(self, claim: Claim, progress: Progress) -> Outcome | Lost:
        """Plan the job and ask its providers, one after the other, until one answers. Decides; ends nothing."""
        plan = self._plan(claim)
        if not isinstance(plan, Plan):
            return plan
        attempt = Attempt(self._shared, claim, plan, progress)
        held: list[HeadraceError] = []
        failed: list[HeadraceError] = []
        too_late: Outcome | None = None
        for target in plan.targets:
            if self._draining.is_set() and not failed:
                return HandBack()
            match attempt.ask(target, after=next(iter([*failed, *held]), None)):
                case Decided(about_this_call=True) if failed:
                    break  # the backup is too dear, or unpriced: that says nothing about the primary's next attempt
                case Answered(outcome) | Decided(outcome):
                    return outcome
                case TooLate(outcome):
                    too_late = outcome
                case Held(why):
                    held.append(why)
                case Failed(why, final):
                    failed.append(why)
                    if final:
                        break
        wait = self._provider_wait(claim, plan, failed)
        if not failed:
            return too_late or outcomes.of_held_providers(held, backoff=self._backoff, wait=wait)
        return outcomes.of_failed_calls(
            failed,
            held=held,
            attempt=claim.job.attempt,
            backoff=self._backoff,
            on_unknown=claim.job.on_unknown,
            wait=wait,
        )

    def _plan(self, claim: Claim) -> Plan | Outcome:
        try:
            _refuse_unreadable(claim.job)
            policy = self._policy_for(claim)
            prompt = self._prompts.get(claim.tenant_id, claim.job.prompt_id)
            check = partial(check_schema, reader=claim.tenant_id)
            return plan_job(claim.job, prompt, policy, check_schema=check, output_fault=claim.job.output_fault)
        except InvalidInputError as error:
            return outcomes.rejected(error)
        except SchemaWaitsError:
            return outcomes.of_schema_in_line()
        except FeatureNotHereError as error:
            return outcomes.of_feature_not_here(
                error, queued_s=claim.job.queued_s, remaining_s=claim.remaining_s, most_s=self._held_most_s
            )

    def _policy_for(self, claim: Claim) -> Policy:
        """The policy, read again for a feature that was published since. A retired one is refused by the plan."""
        feature = claim.job.feature
        if feature in self._policies.now.features or not self._is_published(claim.tenant_id, feature):
            return self._policies.now
        policy = self._policies.knowing(feature)
        if feature not in policy.features:
            raise FeatureNotHereError(field="feature", value=feature)
        return policy

    def _is_published(self, tenant_id: UUID, feature: str) -> bool:
        return self._database.retry_until_answered(
            lambda connection: stored_policy.is_published(connection, feature), tenant_id=tenant_id
        )

    def _provider_wait(self, claim: Claim, plan: Plan, failed: Sequence[HeadraceError]) -> ProviderWait:
        """What is known of the job's wait for its providers, after all has been tried."""
        at_fault = {error.provider for error in failed if isinstance(error, ProviderError)}
        since = (self._gateway.answered_s(target) for target in plan.targets if target.provider in at_fault)
        return ProviderWait(
            held_s=claim.held_s,
            remaining_s=claim.remaining_s,
            answered_s=min(since, default=math.inf),
            waits={
                target.provider: self._gateway.wait_s(target.provider, tenant=str(claim.tenant_id))
                for target in plan.targets
            },
            most_s=self._held_most_s,
        )

    def _settle_call(self, claim: Claim, progress: Progress) -> str:
        """Settle the failed call before the next one begins; the job's state: *kept* while it is still ours."""
        settled = self._settle(claim, progress, NextCall())
        self._tell_of_dead_letter(claim, settled)
        return settled.state

    def _settle(self, claim: Claim, progress: Progress, outcome: Outcome | NextCall | Lost) -> SettledAs:
        """A worker's only way out of *running*: the call's run and the job's outcome in one transaction.

        Postgres that is away is waited for. What fails for what it carries is settled again with less of it. Postgres
        under strain says of neither which it is: then the whole is tried for some minutes before there is less.
        """
        if isinstance(outcome, Lost):
            return SettledAs(outcome.state, outcome)
        report, admitted = progress.unsettled, progress.admitted
        failure: Exception = InternalFaultError()
        for _ in range(STRAINED_TRIES):
            try:
                return self._settle_as(claim, report, outcome, admitted=admitted)
            except StatementFailedError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 (what is left to do about it follows)
                failure = error
                break
        if not isinstance(failure, ServiceError):
            log.error("job.settle_failed", **claim.ids, **_named(failure))
            for less, instead in with_less(report, outcome, failure):
                try:
                    return self._settle_as(claim, less, instead, admitted=admitted)
                except Exception as error:  # noqa: BLE001 (there is less to try, and the last is told)
                    failure = error
        log.critical("job.not_settled", **claim.ids, **_named(failure))
        return SettledAs("unsettled", outcome)

    def _settle_as(
        self, claim: Claim, report: CallReport | None, outcome: Outcome | NextCall, *, admitted: bool
    ) -> SettledAs:
        run, facts = None if report is None else report.as_settled(), outcome.as_settled()
        if admitted and outcome.verdict not in ("ended", "next_call"):  # however often it has to wait, it is counted
            facts["admitted"] = True
        settled = self._shared.group_commit.settle(
            claim.tenant_id, claim.job.job_id, claim.id, run=run, verdict=outcome.verdict, outcome=facts
        )
        self._account(lambda: self._turns.let_in(settled.offers), otherwise=None)
        return SettledAs(settled.state, outcome)

    def _tell(self, claim: Claim, settled: SettledAs, progress: Progress) -> None:
        _log_line(claim, settled, progress)
        self._tell_of_dead_letter(claim, settled)

    def _tell_of_dead_letter(self, claim: Claim, settled: SettledAs) -> None:
        outcome, job = settled.outcome, claim.job
        if isinstance(outcome, Ended) and outcome.outcome == "failed" and settled.state == "ended":
            self._trouble.dead_letter(
                claim.ids, outcome.reason, outcome.error, feature=job.feature, attempt=job.attempt
            )

    def _account(self, step: Callable[[], T], *, otherwise: T) -> T:
        """Do a step of the turns' account. All of it is hints: none is worth a job."""
        try:
            return step()
        except Exception:
            log.exception("turn.account_failed")
            return otherwise


@dataclass(frozen=True, slots=True)
class SettledAs:
    """What a settle came to: the job's state, and the outcome that was carried out in the end."""

    state: str
    outcome: Outcome | NextCall | Lost


def _refuse_unreadable(job: ClaimedJob) -> None:
    for name, why in job.unreadable.items():
        raise InvalidInputError(why, field=name)


def _named(error: Exception) -> dict[str, Any]:
    """An error for the log: of what Postgres said only the code, since its words may quote a tenant's."""
    sqlstate = getattr(error, "sqlstate", None) or getattr(error, "details", {}).get("sqlstate")
    typed = isinstance(error, HeadraceError)
    return {
        "error": str(error) if typed else type(error).__name__,
        "sqlstate": sqlstate,
        "exc_info": None if sqlstate or typed else error,
    }


def _log_line(claim: Claim, settled: SettledAs, progress: Progress) -> None:
    """The one canonical line of a job's turn; never its text."""
    log.info(
        "job.settled",
        **claim.ids,
        feature=claim.job.feature,
        attempt=claim.job.attempt,
        verdict=settled.outcome.verdict,
        outcome=None if isinstance(settled.outcome, Lost) else settled.outcome.as_settled().get("outcome"),
        state=settled.state,
        reason=getattr(settled.outcome, "reason", None),
        calls=progress.calls,
        tokens=progress.tokens,
        queued_s=round(claim.job.queued_s, 3),
    )
