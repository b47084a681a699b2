"""Makes quotes: looks the request up, plans it as a worker would, and asks caps and rates. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from errors import FeatureNotHereError, HeadraceError, InvalidInputError
from guards.rates import RateGuard
from guards.schemas import check_schema
from producers.quote import CallQuote, Quote, RateQuote, Verdict, Wait, caps_of, missed_deadline, rejection, waits_of
from producers.requests import JobRequest, as_row, as_rows, refusal
from prompts.messages import Message
from router.current_policy import CurrentPolicy
from router.plan import Plan, messages_of, plan_job
from router.policy import Policy
from router.tokens import CountedTexts
from storage.catalogue import prompts
from storage.catalogue.prompts import PromptVersion
from storage.db.connect import Connection
from storage.db.database import Database
from storage.money import quotes
from storage.money.quotes import CallLook, JobLook, MoneyLook, RequestLook
from storage.money.rates import Rate
from storage.money.runs import PlannedCall

_WITHIN_S = 10.0  # how long a quote waits for Postgres to come back


@dataclass(frozen=True, slots=True)
class _Draft:
    """A request with everything that is known of it before money is looked at. ``refused``: why it could not be
    planned.
    """

    request: JobRequest
    asked: RequestLook
    prompt: PromptVersion | None
    plan: Plan | None
    refused: InvalidInputError | None
    calls: tuple[PlannedCall, ...]


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
        """``policy`` is that of the workers; ``rates`` counts requests (None: they are not counted, and no rate is
        full).

        ``read_policy`` reads the policy again, when a request names a feature that was published since.
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
        asked, prompt = self._database.retry_until_answered(
            lambda connection: _ask(connection, tenant_id, row), tenant_id=tenant_id, within_s=_WITHIN_S
        )
        if asked.error is not None:
            raise refusal(asked.error)
        plan, refused = self._plan(asked, prompt, check_schema)
        calls = () if plan is None else tuple(plan.call(target) for target in plan.targets)
        look = self._look(request, UUID(row["id"]), asked.rank, calls)
        drafted = _Draft(request, asked, prompt, plan, refused, calls)
        return _quote(drafted, look, tuple(self._rates_of(tenant_id, look.rates).values()))

    def quote_many(self, requests: Sequence[JobRequest]) -> list[Quote | HeadraceError]:
        """:meth:`quote` for each of many requests of one tenant. Their common facts are looked up once.

        Each is quoted as if it came alone. An error stands where :meth:`quote` would have raised it. Raises
        :class:`errors.PostgresUnavailableError`.
        """
        if not requests:
            return []
        tenant_id, rows = requests[0].tenant_id, as_rows(requests)
        asked, known = self._database.retry_until_answered(
            lambda connection: _ask_many(connection, tenant_id, rows), tenant_id=tenant_id, within_s=_WITHIN_S
        )
        drafts = self._drafts(requests, asked, known)
        looks = [
            JobLook(
                UUID(row["id"]), one.request.user_id, one.request.feature, one.request.lane, one.asked.rank, one.calls
            )
            for row, one in zip(rows, drafts, strict=True)
            if one is not None
        ]
        money = list(
            self._database.retry_until_answered(
                lambda connection: quotes.calls_of_many(connection, tenant_id, looks),
                tenant_id=tenant_id,
                within_s=_WITHIN_S,
            )
            if looks
            else ()
        )
        rates = self._rates_of(tenant_id, {rate for look in money for rate in look.rates})
        found = iter(money)
        told: list[Quote | HeadraceError] = []
        for look, draft in zip(asked, drafts, strict=True):
            if draft is None:
                assert look.error is not None, "only what is refused is not drafted"
                told.append(refusal(look.error))
                continue
            money_look = next(found)
            told.append(_quote(draft, money_look, tuple(rates[one] for one in money_look.rates)))
        return told

    def _drafts(
        self, requests: Sequence[JobRequest], asked: Sequence[RequestLook], known: Mapping[UUID, PromptVersion | None]
    ) -> list[_Draft | None]:
        """The plan of each request that is not refused. All texts are counted together."""
        counted = CountedTexts()
        prompts_of = [None if one.prompt_id is None else known[one.prompt_id] for one in asked]
        counted.add(
            message.content
            for look, prompt in zip(asked, prompts_of, strict=True)
            if look.error is None
            for message in _messages(look, prompt)
        )
        seen: dict[str, InvalidInputError | None] = {}

        def check_once(schema: Mapping[str, Any]) -> None:
            text = json.dumps(schema)
            if text not in seen:
                try:
                    check_schema(schema)
                    seen[text] = None
                except InvalidInputError as error:
                    seen[text] = error
            refused = seen[text]
            if refused is not None:
                raise refused.with_traceback(None)

        drafts: list[_Draft | None] = []
        for request, look, prompt in zip(requests, asked, prompts_of, strict=True):
            if look.error is not None:
                drafts.append(None)
                continue
            plan, refused = self._plan(look, prompt, check_once, counted)
            calls = () if plan is None else tuple(plan.call(target) for target in plan.targets)
            drafts.append(_Draft(request, look, prompt, plan, refused, calls))
        return drafts

    def _plan(
        self,
        asked: RequestLook,
        prompt: PromptVersion | None,
        check: Callable[[Mapping[str, Any]], None],
        counted: CountedTexts | None = None,
    ) -> tuple[Plan | None, InvalidInputError | None]:
        """The plan, or why a worker would refuse the job; neither for a feature that this process does not know yet."""
        policy = self._policies.knowing(asked.feature)  # SQL has said that it is published
        if asked.feature not in policy.features:
            return None, None
        try:
            return plan_job(asked, prompt, policy, check_schema=check, counted=counted), None
        except InvalidInputError as error:
            return None, error

    def _look(self, request: JobRequest, job_id: UUID, rank: int, calls: Sequence[PlannedCall]) -> MoneyLook:
        return self._database.retry_until_answered(
            lambda connection: quotes.calls(
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

    def _rates_of(self, tenant_id: UUID, rates: Collection[Rate]) -> dict[Rate, RateQuote]:
        """The state of each of these rates, in their order."""
        rooms = None if self._rates is None or not rates else self._rates.rooms(tenant_id, rates)
        return {one: _rate_quote(one, None if rooms is None else rooms[one]) for one in rates}


def _ask(connection: Connection, tenant_id: UUID, row: Mapping[str, Any]) -> tuple[RequestLook, PromptVersion | None]:
    (asked,) = quotes.requests(connection, tenant_id, [row])
    return asked, None if asked.prompt_id is None else prompts.get(connection, asked.prompt_id)


def _ask_many(
    connection: Connection, tenant_id: UUID, rows: Sequence[Mapping[str, Any]]
) -> tuple[list[RequestLook], dict[UUID, PromptVersion | None]]:
    asked = quotes.requests(connection, tenant_id, rows)
    wanted = {one.prompt_id for one in asked if one.prompt_id is not None}
    return asked, {one: prompts.get(connection, one) for one in wanted}


def _messages(asked: RequestLook, prompt: PromptVersion | None) -> tuple[Message, ...]:
    """The messages, to count them; none where the plan will report an error."""
    try:
        return messages_of(asked, prompt)
    except InvalidInputError:
        return ()


def _quote(draft: _Draft, look: MoneyLook, rates: tuple[RateQuote, ...]) -> Quote:
    """The quote from the looked-up facts and the plan."""
    request, asked, plan, calls = draft.request, draft.asked, draft.plan, draft.calls
    waits = waits_of(request, look, rates)
    if plan is None and draft.refused is None:
        waits = (Wait(FeatureNotHereError.code, None, None), *waits)
    error = rejection(request, look, refused=draft.refused, model=calls[0].model if calls else None)
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
        prompt_version=None if draft.prompt is None else draft.prompt.version,
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


def _verdict(job_id: UUID | None, error: Mapping[str, Any] | None, waits: Sequence[Wait]) -> Verdict:
    if job_id is not None:
        return Verdict.WOULD_REPEAT
    if error is not None:
        return Verdict.WOULD_BE_REJECTED
    return Verdict.WOULD_WAIT if waits else Verdict.WOULD_RUN


def _rate_quote(rate: Rate, said: tuple[int, float] | None) -> RateQuote:
    room, room_in_s = (None, 0.0) if said is None else said
    return RateQuote(
        scope=rate.scope,
        key=rate.key,
        per_minute=rate.per_minute,
        room=room,
        room_in_s=room_in_s if room == 0 else 0.0,
        others_first=rate.behind,
    )


def _call_quote(call: PlannedCall, said: CallLook) -> CallQuote:
    return CallQuote(
        provider=call.provider,
        model=call.model,
        input_bound=call.input_bound,
        max_output_tokens=said.max_output_tokens,
        worst_case_usd=said.worst_case_usd,
    )
