"""Who makes quotes: looks the request up, plans it as a worker would, asks what caps and rates say. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from errors import FeatureNotHereError, InvalidInputError
from guards.rates import RateGuard
from guards.schemas import check_schema
from producers.quote import CallQuote, Quote, RateQuote, Verdict, Wait, caps_of, missed_deadline, rejection, waits_of
from producers.requests import JobRequest, as_row, refusal
from router.current_policy import CurrentPolicy
from router.plan import Plan, plan_job
from router.policy import Policy
from storage import prompts, quotes
from storage.connect import Connection
from storage.database import Database
from storage.prompts import PromptVersion
from storage.quotes import CallLook, MoneyLook, RequestLook
from storage.rates import Rate
from storage.runs import PlannedCall

_WITHIN_S = 10.0  # how long a quote waits for Postgres to come back


class Quoter:
    """Makes quotes, as ``headrace_app``. Safe for many threads."""

    def __init__(
        self,
        database: Database,
        policy: Policy,
        rates: RateGuard | None = None,
        *,
        read_policy: Callable[[], Policy] | None = None,
    ) -> None:
        """``policy`` is that of the workers; ``rates`` is who counts requests (None: nobody does, none is full).

        ``read_policy`` reads the policy again, where a request names a feature that was published since.
        """
        self._database = database
        self._policies = CurrentPolicy(policy, read_policy)
        self._rates = rates

    def quote(self, request: JobRequest) -> Quote:
        """What this request would meet now.

        Raises what enqueue would raise: :class:`errors.InvalidInputError` (or its kind) naming the field, or
        :class:`errors.PostgresUnavailableError`.
        """
        tenant_id, row = request.tenant_id, as_row(request)
        asked, prompt = self._database.patiently(
            lambda connection, _repeat: _ask(connection, tenant_id, row), tenant_id=tenant_id, within_s=_WITHIN_S
        )
        if asked.error is not None:
            raise refusal(asked.error)
        plan, refused = self._plan(asked, prompt)
        calls = () if plan is None else tuple(plan.call(target) for target in plan.targets)
        look = self._look(request, UUID(row["id"]), asked.rank, calls)
        rates = tuple(self._rate(tenant_id, one) for one in look.rates)
        waits = waits_of(request, look, rates)
        if plan is None and refused is None:
            waits = (Wait(FeatureNotHereError.code, None, None), *waits)
        error = rejection(request, look, refused=refused, model=calls[0].model if calls else None)
        error = error or missed_deadline(request, waits)
        verdict = _verdict(asked.job_id, error, waits)
        priced = [_call_quote(call, said) for call, said in zip(calls, look.calls, strict=True)]
        costs = [one.worst_case_usd for one in priced if one.worst_case_usd is not None]
        return Quote(
            verdict=verdict,
            at=look.at,
            error=error if verdict is Verdict.WOULD_BE_REJECTED else None,
            waits=() if verdict is Verdict.WOULD_REPEAT else waits,
            job_id=asked.job_id,
            feature=request.feature,
            prompt=request.prompt,
            prompt_version=None if prompt is None else prompt.version,
            tier=None if plan is None else plan.route.tier,
            rule=None if plan is None else plan.route.rule,
            input_tokens=None if plan is None else plan.input_tokens,
            max_output_tokens=None if plan is None else plan.max_output_tokens,
            primary=priced[0] if priced else None,
            backup=priced[1] if len(priced) > 1 else None,
            worst_case_usd=priced[0].worst_case_usd if priced else None,
            dearest_usd=max(costs, default=None),
            caps=caps_of(look),
            rates=rates,
        )

    def _plan(self, asked: RequestLook, prompt: PromptVersion | None) -> tuple[Plan | None, InvalidInputError | None]:
        """The plan, or why a worker would refuse the job; neither of a feature that this process does not know yet."""
        policy = self._policies.knowing(asked.feature)  # SQL has said that it is published
        if asked.feature not in policy.features:
            return None, None
        try:
            return plan_job(asked, prompt, policy, check_schema=check_schema), None
        except InvalidInputError as error:
            return None, error

    def _look(self, request: JobRequest, job_id: UUID, rank: int, calls: Sequence[PlannedCall]) -> MoneyLook:
        return self._database.patiently(
            lambda connection, _repeat: quotes.calls(
                connection,
                request.tenant_id,
                job_id,
                user_id=request.user_id,
                feature=request.feature,
                lane=request.lane,
                rank=rank,
                planned=calls,
            ),
            tenant_id=request.tenant_id,
            within_s=_WITHIN_S,
        )

    def _rate(self, tenant_id: UUID, rate: Rate) -> RateQuote:
        room, room_in_s = (None, 0.0) if self._rates is None else self._rates.room(tenant_id, rate)
        return RateQuote(
            scope=rate.scope,
            key=rate.key,
            per_minute=rate.per_minute,
            room=room,
            room_in_s=room_in_s if room == 0 else 0.0,
            others_first=rate.behind,
        )


def _ask(connection: Connection, tenant_id: UUID, row: Mapping[str, Any]) -> tuple[RequestLook, PromptVersion | None]:
    asked = quotes.request(connection, tenant_id, row)
    return asked, None if asked.prompt_id is None else prompts.get(connection, asked.prompt_id)


def _verdict(job_id: UUID | None, error: Mapping[str, Any] | None, waits: Sequence[Wait]) -> Verdict:
    if job_id is not None:
        return Verdict.WOULD_REPEAT
    if error is not None:
        return Verdict.WOULD_BE_REJECTED
    return Verdict.WOULD_WAIT if waits else Verdict.WOULD_RUN


def _call_quote(call: PlannedCall, said: CallLook) -> CallQuote:
    return CallQuote(
        provider=call.provider,
        model=call.model,
        input_bound=call.input_bound,
        max_output_tokens=said.max_output_tokens,
        worst_case_usd=said.worst_case_usd,
    )
