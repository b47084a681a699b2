"""A quote's word on a call is what ``begin`` then says, whatever caps, reservations and waiting jobs there are."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

from storage.db.database import Database
from storage.db.ids import new_id
from storage.money import quotes
from storage.money.quotes import MoneyLook
from storage.money.runs import OverBudget, PlannedCall
from tests.conftest import new_tenant
from tests.support.database_clock import Clock
from tests.support.fleet import Urls
from tests.support.spent_tenant import START, stand
from tests.support.transactions import begin_call, claim_job, enqueue_job, planned_call

CASES = 150
MODELS = [
    ("openai", "gpt-6-luna"),
    ("anthropic", "claude-haiku-5-5"),
    ("anthropic", "claude-sonnet-5-5"),
    ("openai", "unknown"),
]


@pytest.fixture
def clock(urls: Urls) -> Any:
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        yield Clock(owner, START)


def look(app: Database, tenant: UUID, planned: PlannedCall, job_id: UUID | None = None) -> MoneyLook:
    with app.as_tenant(tenant) as connection:
        return quotes.calls(
            connection, tenant, job_id or new_id(), user_id="u-1", feature="chat", lane="interactive", rank=1,
            planned=[planned],
        )  # fmt: skip


def test_a_quote_and_begin_agree_in_every_case(app: Database, ops: Database, clock: Clock) -> None:
    dice = random.Random(20300517)
    seen: Counter[str] = Counter()
    for case in range(CASES):
        tenant = new_tenant(ops, f"Case {case}")
        stand(ops, tenant, dice)
        provider, model = dice.choices(MODELS, weights=[5, 5, 5, 1])[0]
        planned = planned_call(
            provider=provider,
            model=model,
            input_bound=dice.choice([0, 300, 5_000, 120_000]),
            max_output_tokens=dice.randrange(16, 9_000),
            min_output_tokens=dice.choice([None, 16, 500, 10_000]),
        )
        claim_id = new_id()
        with app.connection() as connection:
            job_id = enqueue_job(connection, tenant)
            assert claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id()) is not None
        with ops.connection() as connection:
            connection.execute("update headrace.queue set rank = 1 where id = %s", [job_id])

        looked = look(app, tenant, planned, job_id)
        with app.connection() as connection:
            grant = begin_call(connection, tenant, job_id, claim_id, planned)

        (said,) = looked.calls
        told = f"case {case}: {planned} under {looked.caps}: quoted {said}, granted {grant}"
        assert said.verdict == grant.verdict, told
        if grant.verdict == "unpriced":
            assert (said.worst_case_usd, said.fits) == (None, ()), told
        elif grant.verdict == "granted":
            assert (said.worst_case_usd, said.max_output_tokens) == (grant.reserved_usd, grant.max_output_tokens), told
            assert [fit.fit for fit in said.fits] == ["now"] * 3, told
        else:
            assert said.cap is not None
            cap, fit = looked.caps[said.cap], said.fits[said.cap]
            assert said.need_usd == grant.need_usd, told
            assert (cap.scope, cap.key) == (grant.cap_scope, grant.cap_key), told
            assert (cap.limit_usd, cap.spent_usd, cap.reserved_usd) == (
                grant.limit_usd, grant.spent_usd, grant.others_reserved_usd,
            ), told  # fmt: skip
            assert fit.room_at == (grant.room_at if isinstance(grant, OverBudget) else None), told
            assert said.max_output_tokens == planned.max_output_tokens
        short = grant.verdict == "granted" and grant.max_output_tokens != planned.max_output_tokens
        seen["shortened" if short else grant.verdict] += 1
    assert seen.keys() == {"granted", "shortened", "over_budget", "wait_for_room", "unpriced"}, seen
    assert min(seen.values()) >= 5, seen


def test_the_caps_are_looked_at_in_their_order_with_their_room(
    app: Database, ops: Database, tenant: UUID, clock: Clock
) -> None:
    with ops.connection() as connection:
        connection.execute(
            "insert into headrace.caps (tenant_id, scope, key, limit_usd, hour, spent_usd, reserved_usd)"
            " values (%s, 'user', 'u-1', 1, %s, 0.7, 0.5)",
            [tenant, START.replace(minute=0)],
        )
    looked = look(app, tenant, planned_call())
    assert [(cap.scope, cap.key) for cap in looked.caps] == [("tenant", ""), ("user", "u-1"), ("feature", "chat")]
    assert [cap.room_usd for cap in looked.caps] == [Decimal(50), Decimal(0), None]
    assert looked.caps[1].spent_usd == Decimal("0.7") and looked.caps[1].reserved_usd == Decimal("0.5")


def test_money_that_left_the_window_is_not_counted(app: Database, ops: Database, tenant: UUID, clock: Clock) -> None:
    """Though the cap's row was not rolled since: a reader may not do that."""
    with ops.connection() as connection:
        connection.execute(
            "insert into headrace.caps (tenant_id, scope, key, hour, spent_usd) values (%s, 'tenant', '', %s, 3)",
            [tenant, START.replace(minute=0)],
        )
        for hours, spent in ((0, 2), (-10, 1)):
            connection.execute(
                "insert into headrace.spend_buckets values (%s, 'tenant', '', %s, %s)",
                [tenant, START.replace(minute=0) + timedelta(hours=hours), spent],
            )
    assert look(app, tenant, planned_call()).caps[0].spent_usd == 3
    clock.advance(15 * 3600)
    assert look(app, tenant, planned_call()).caps[0].spent_usd == 2
    clock.advance(10 * 3600)
    assert look(app, tenant, planned_call()).caps[0].spent_usd == 0
