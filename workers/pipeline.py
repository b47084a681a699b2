"""The life of one job in a worker, from a turn taken to the job settled. Read top to bottom.

Each step is one named function; what is atomic with what shows here: `claim`, `begin` and `settle` are one short
transaction each (those that come at the same time may share one: `workers/ledger.py`), and no transaction is open
while a provider is called.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import structlog

from errors import (
    DeadlinePassedError,
    FeatureNotHereError,
    HeadraceError,
    InternalFaultError,
    InvalidInputError,
    OutputInvalidError,
    ProviderError,
    ProviderHeldError,
    SchemaTooCostlyError,
    SchemaWaitsError,
    ServiceError,
    StatementFailedError,
)
from guards.rates import NoRoom, RateGuard
from guards.schemas import check_schema
from queues.turns import Turn
from router.current_policy import CurrentPolicy
from router.gateway import Gateway
from router.plan import Plan, plan_job
from router.policy import Policy, Target
from router.providers.calls import CallRequest
from router.pseudonyms import Pseudonyms
from storage.catalogue import policy as stored_policy
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs.jobs import ClaimedJob, Stopped
from storage.money.runs import Grant, PlannedCall
from workers import call_books, outcomes
from workers.answers import read_answer
from workers.backoff import Backoff
from workers.call_books import CallBooks
from workers.ledger import Ledger
from workers.outcomes import Ended, HandBack, Held, Lost, Outcome, Succeeded
from workers.prompt_cache import PromptCache
from workers.settling import with_less
from workers.trouble_log import TroubleLog
from workers.turn_account import TurnAccount

T = TypeVar("T")
STRAINED_TRIES = 4
"""So often a settle is tried whole, half a minute each, while Postgres is under strain."""
log = structlog.get_logger("headrace.job")


@dataclass(frozen=True, slots=True)
class Claim:
    """What ties a worker to a job: the fence of everything that it writes."""

    id: UUID
    tenant_id: UUID
    job: ClaimedJob
    since: float  # when it was made; Python's clock

    @property
    def remaining_s(self) -> float:
        """Seconds until the job's deadline; endless without one."""
        left_s = self.job.remaining_s
        return math.inf if left_s is None else left_s - (time.monotonic() - self.since)

    @property
    def held_s(self) -> float:
        """Seconds since a provider's fault first made the job wait; 0.0 when none has."""
        return 0.0 if self.job.held_s is None else self.job.held_s + (time.monotonic() - self.since)


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
        self._pseudonyms = pseudonyms
        self._rates = rates
        self._backoff = backoff
        self._call_timeout_s = call_timeout_s
        self._claim_timeout_s = claim_timeout_s
        self._held_most_s = held_most_s
        self._draining = draining
        self._may_claim = may_claim
        self._cpu_clock = cpu_clock
        self._trouble = trouble or TroubleLog()
        self._ledger = Ledger(database, draining)
        self._prompts = PromptCache(database)

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
        work, began = Work(), self._cpu_clock()
        try:
            outcome = self._work(claim, work)
        except BaseException as error:  # the panic of a library that is not written in Python is not an Exception
            log.exception("job.fault", tenant_id=turn.tenant, job_id=str(claim.job.job_id))
            outcome = outcomes.of_fault(
                InternalFaultError(f"{type(error).__name__}: the worker's log tells more"),
                call=None if work.unsettled_run is None else work.unsettled_run["status"],
                attempt=claim.job.attempt,
                backoff=self._backoff,
                on_unknown=claim.job.on_unknown,
            )
        cpu_s = self._cpu_clock() - began
        settled = self._settle(claim, work, outcome)
        self._account(
            lambda: self._turns.settled(
                turn, claim.job, work.tokens, cpu_s=cpu_s, charged=charged, queued=settled.state == "queued"
            ),
            otherwise=None,
        )
        self._tell(claim, settled.outcome or outcome, settled.state, work)

    # ------------------------------------------------------------------------------------------------- the stations

    def _claim(self, turn: Turn) -> Claim | None:
        if not self._may_claim(self._draining):
            return None
        claim_id, tenant_id = new_id(), UUID(turn.tenant)
        job = self._ledger.claim(
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

    def _work(self, claim: Claim, work: Work) -> Outcome:
        """Plan the job and ask its providers, one after the other, until one answers. Decides; ends nothing."""
        try:
            _refuse_unreadable(claim.job)
            plan = self._plan(claim)
        except InvalidInputError as error:
            return outcomes.rejected(error)
        except SchemaWaitsError:
            return outcomes.of_schema_in_line()
        except FeatureNotHereError as error:
            return outcomes.of_feature_not_here(
                error, queued_s=claim.job.queued_s, remaining_s=claim.remaining_s, most_s=self._held_most_s
            )

        held: list[HeadraceError] = []  # why a provider could not even be asked
        failed: list[HeadraceError] = []
        too_late: Outcome | None = None  # why a target was not asked though it could be
        for target in plan.targets:
            if self._draining.is_set() and not failed:
                return HandBack()
            not_now = self._gateway.held(target, tenant=str(claim.tenant_id))
            if not_now is not None:
                held.append(not_now)
                continue
            if self._gateway.hopeless(target, claim.remaining_s):
                too_late = outcomes.too_late(target.model, claim.remaining_s)
                continue
            if not self._keep_books(claim, work):
                return Lost()
            no_room = self._admit(claim, work)
            if no_room is not None:
                return outcomes.of_full_rate(no_room)
            call = plan.call(target)
            grant = self._begin(claim, call)
            if failed and grant.verdict in outcomes.ABOUT_ONE_CALL:
                break  # the backup is too dear, or unpriced: that says nothing about the primary's next attempt
            if grant.verdict != "granted":
                return outcomes.of_refused_grant(grant, on_over_budget=claim.job.on_over_budget, model=target.model)
            if call.fallback:
                why = next(iter([*failed, *held]), None)
                self._trouble.fell_back(_whose(claim), call, instead_of=plan.route.primary, why=why)
            try:
                return self._call(claim, plan, call, grant, work)
            except DeadlinePassedError:
                too_late = outcomes.too_late(target.model, claim.remaining_s)
            except OutputInvalidError as error:
                failed.append(error)  # the provider is fine, the answer was not: the next attempt asks anew
                break
            except SchemaTooCostlyError as error:
                failed.append(error)  # the next answer would cost as much to check
                break
            except ProviderHeldError as error:
                held.append(error)  # the hold began since we looked: nothing was sent
            except ProviderError as error:
                failed.append(error)
                if outcomes.must_not_be_repeated(error, on_unknown=claim.job.on_unknown):
                    break
        hold = self._hold(claim, plan, failed)
        if not failed:
            return too_late or outcomes.of_held_providers(held, backoff=self._backoff, hold=hold)
        return outcomes.of_failed_calls(
            failed,
            held=held,
            attempt=claim.job.attempt,
            backoff=self._backoff,
            on_unknown=claim.job.on_unknown,
            hold=hold,
        )

    def _hold(self, claim: Claim, plan: Plan, failed: Sequence[HeadraceError]) -> Held:
        """What is known of the job's wait for its providers, after all has been tried."""
        at_fault = {error.provider for error in failed if isinstance(error, ProviderError)}
        since = (self._gateway.answered_s(target) for target in plan.targets if target.provider in at_fault)
        return Held(
            held_s=claim.held_s,
            remaining_s=claim.remaining_s,
            answered_s=min(since, default=math.inf),
            waits={
                target.provider: self._gateway.wait_s(target.provider, tenant=str(claim.tenant_id))
                for target in plan.targets
            },
            most_s=self._held_most_s,
        )

    def _plan(self, claim: Claim) -> Plan:
        policy = self._policy_for(claim)
        prompt = self._prompts.get(claim.tenant_id, claim.job.prompt_id)
        check = partial(check_schema, reader=claim.tenant_id)
        return plan_job(claim.job, prompt, policy, check_schema=check, output_fault=claim.job.output_fault)

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
        return self._database.patiently(
            lambda connection, _repeat: stored_policy.is_published(connection, feature), tenant_id=tenant_id
        )

    def _admit(self, claim: Claim, work: Work) -> NoRoom | None:
        """Count the request under its rates: once a job, before its first call. Another attempt is our affair.

        A job that was counted and then had to wait (for money, a slot, a provider, another worker) comes back without
        rates: its row remembers.
        """
        if self._rates is None or work.admitted or claim.job.attempt > 1:
            return None
        no_room = self._rates.admit(claim.tenant_id, claim.job.rates)
        work.admitted = no_room is None
        return no_room

    def _begin(self, claim: Claim, call: PlannedCall) -> Grant:
        return self._ledger.begin(claim.tenant_id, claim.job.job_id, claim.id, call)

    def _call(self, claim: Claim, plan: Plan, call: PlannedCall, grant: Grant, work: Work) -> Succeeded:
        """Ask the provider once. What it used waits in ``work`` to be settled together with what comes next."""
        request = self._request(claim, plan, call, grant)
        target = Target(call.provider, call.model)
        if request.hurried and self._gateway.hopeless(target, request.timeout_s):  # it waited for its reservation
            work.unsettled_run = {"id": str(call.run_id), "status": "failed", "error_code": DeadlinePassedError.code}
            raise DeadlinePassedError
        started = time.monotonic()
        work.calls += 1
        work.unsettled_run = {"id": str(call.run_id), "status": "unknown", "error_code": "internal_fault"}
        whose, most = _whose(claim), request.max_output_tokens
        try:
            reply = self._gateway.call(target, request)
        except (ProviderError, ProviderHeldError) as error:
            took_ms = _ms_since(started)
            books = call_books.failed(call, error, max_output_tokens=most, latency_ms=took_ms)
            work.note(books)
            if isinstance(error, ProviderError):
                self._trouble.call_failed(whose, call, error, latency_ms=took_ms)
            self._trouble.booked(whose, call, books, max_output_tokens=most)
            raise
        books = call_books.answered(call, reply, max_output_tokens=most, latency_ms=_ms_since(started))
        work.note(books)
        self._trouble.booked(whose, call, books, max_output_tokens=most)
        output, value = read_answer(reply, plan.output_schema)
        return Succeeded(call.run_id, output, value, reply.finish, request.max_output_tokens, simulated=reply.simulated)

    def _request(self, claim: Claim, plan: Plan, call: PlannedCall, grant: Grant) -> CallRequest:
        left_s = math.inf if grant.remaining_s is None else grant.remaining_s
        return CallRequest(
            run_id=call.run_id,
            job_id=claim.job.job_id,
            tenant_id=str(claim.tenant_id),
            end_user=self._pseudonyms.of_user(str(claim.tenant_id), claim.job.user_id),
            feature=claim.job.feature,
            model=call.model,
            messages=plan.messages,
            max_output_tokens=grant.max_output_tokens or call.max_output_tokens,
            output_schema=plan.output_schema,
            output_fault=plan.output_fault,
            timeout_s=max(min(left_s, self._call_timeout_s), 0.001),
            hurried=left_s < self._call_timeout_s,
        )

    def _keep_books(self, claim: Claim, work: Work) -> bool:
        """Settle the failed call before the next one begins; whether the job is still ours."""
        if work.unsettled_run is None:
            return True
        settled = self._settle(claim, work, None)
        work.unsettled_run = None
        return settled.state == "kept"

    def _settle(self, claim: Claim, work: Work, outcome: Outcome | None) -> SettledAs:
        """The only way out of *running*: run and verdict in one transaction. No outcome: another call follows.

        Postgres that is away is waited for. What fails for what it carries is settled again with less of it. Postgres
        under strain says of neither which it is: then the whole is tried for some minutes before there is less.
        """
        run, admitted = work.unsettled_run, work.admitted and outcome is not None
        failure: Exception = InternalFaultError()
        for _ in range(STRAINED_TRIES):
            try:
                return self._settle_as(claim, run, outcome, admitted=admitted)
            except StatementFailedError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 (what is left to do about it follows)
                failure = error
                break
        if not isinstance(failure, ServiceError):
            log.error("job.settle_failed", **_whose(claim), **_named(failure))
            for less, instead in with_less(run, outcome, failure):
                try:
                    return self._settle_as(claim, less, instead, admitted=admitted)
                except Exception as error:  # noqa: BLE001 (there is less to try, and the last is told)
                    failure = error
        log.critical("job.not_settled", **_whose(claim), **_named(failure))
        return SettledAs("unsettled", outcome)

    def _settle_as(
        self, claim: Claim, run: Mapping[str, Any] | None, outcome: Outcome | None, *, admitted: bool
    ) -> SettledAs:
        verdict, facts = ("next_call", {}) if outcome is None else (outcome.verdict, outcome.as_settled())
        if admitted and verdict != "ended":  # however often it has to wait now, its rates have counted it
            facts["admitted"] = True
        settled = self._ledger.settle(
            claim.tenant_id, claim.job.job_id, claim.id, run=run, verdict=verdict, outcome=facts
        )
        self._account(lambda: self._turns.let_in(settled.offers), otherwise=None)
        return SettledAs(settled.state, outcome)

    def _tell(self, claim: Claim, outcome: Outcome, state: str, work: Work) -> None:
        _log_line(claim, outcome, state, work)
        if isinstance(outcome, Ended) and outcome.outcome == "failed" and state == "ended":
            job = claim.job
            self._trouble.dead_letter(
                _whose(claim), outcome.reason, outcome.error, feature=job.feature, attempt=job.attempt
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
    """What a settle came to: the state, and the outcome that was settled in the end (None: another call follows)."""

    state: str
    outcome: Outcome | None


@dataclass(slots=True)
class Work:
    """What has been done for a job so far: calls made, tokens used, the last call's books if still open."""

    calls: int = 0
    tokens: int = 0
    admitted: bool = False  # counted under its request rates
    unsettled_run: Mapping[str, Any] | None = None

    def note(self, books: CallBooks) -> None:
        """Take a call's entry, to be settled together with what comes next."""
        self.unsettled_run = books.run
        self.tokens += books.tokens


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


def _whose(claim: Claim) -> dict[str, str]:
    return {"tenant_id": str(claim.tenant_id), "job_id": str(claim.job.job_id), "claim_id": str(claim.id)}


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _log_line(claim: Claim, outcome: Outcome, state: str, work: Work) -> None:
    """The one canonical line of a job's turn; never its text."""
    log.info(
        "job.settled",
        **_whose(claim),
        feature=claim.job.feature,
        attempt=claim.job.attempt,
        verdict=outcome.verdict,
        state=state,
        reason=getattr(outcome, "reason", None),
        calls=work.calls,
        tokens=work.tokens,
        queued_s=round(claim.job.queued_s, 3),
    )
