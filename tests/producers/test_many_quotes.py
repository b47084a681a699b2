"""Many quotes at once say what as many single ones say, to the last digit, whatever stands in their jobs' way."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

from errors import HeadraceError, InvalidInputError
from guards.rates import RateGuard
from producers import Client, Quote
from producers.quoter import Quoter
from queues.broker_url import redis_client
from queues.turns import Wire
from router.policy import load_policy
from storage.db.database import Database
from tests.conftest import new_tenant
from tests.support.database_clock import Clock
from tests.support.fleet import Urls
from tests.support.kinds_of_jobs import KINDS
from tests.support.requests import BAD, CHAT, MESSAGES, PROMPT
from tests.support.spent_tenant import START, stand

WORLDS, JOBS = 16, 40


@pytest.fixture
def clock(urls: Urls) -> Iterator[Clock]:
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        yield Clock(owner, START)


@pytest.fixture
def quoting(app: Database, urls: Urls, wiped_wire: Wire) -> Client:
    return Client(app, wiped_wire, quoter=lambda: Quoter(app, load_policy(None), RateGuard(redis_client(urls.redis))))


def one_by_one(client: Client, requests: list[dict[str, Any]]) -> list[Quote | HeadraceError]:
    told: list[Quote | HeadraceError] = []
    for fields in requests:
        try:
            told.append(client.quote(fields))
        except InvalidInputError as error:
            told.append(error)
    return told


def plain(told: Quote | HeadraceError) -> object:
    """What can be compared. Beside a bulk's first refusals alone it is said what there is."""
    return told if isinstance(told, Quote) else (type(told), told.message, told.field, told.value)


def random_job(dice: random.Random) -> dict[str, Any]:
    job: dict[str, Any] = {
        **dice.choice(list(KINDS.values())),
        "user_id": dice.choice(["u-1", "u-1", "u-2", "u-3"]),
        "lane": dice.choice(["interactive", "batch"]),
        "on_over_budget": dice.choice(["fail", "wait"]),
    }
    if dice.random() < 0.5:
        job["max_output_tokens"] = dice.randrange(16, 9000)
    if dice.random() < 0.2:
        job["run_at"] = (START + timedelta(hours=dice.randrange(-3, 40))).isoformat()
    if dice.random() < 0.2:
        job["deadline"] = (START + timedelta(hours=dice.randrange(41, 60))).isoformat()
    if dice.random() < 0.3:
        job["idempotency_key"] = f"k {dice.randrange(4)}"
    return job


def test_they_are_what_single_quotes_are(app: Database, ops: Database, clock: Clock, wiped_wire: Wire) -> None:
    client = Client(app, wiped_wire, quoter=lambda: Quoter(app, load_policy(None)))
    dice = random.Random(20300518)
    seen: Counter[str] = Counter()
    total = Decimal(0)
    for world in range(WORLDS):
        tenant = new_tenant(ops, f"World {world}", plan=dice.choice(["pro", "enterprise"]))
        stand(ops, tenant, dice)
        with ops.connection() as connection:
            if dice.random() < 0.3:
                connection.execute("update headrace.features set paused_at = now() where name = 'report'")
            if dice.random() < 0.3:
                _let_one_wait_for_its_rate(connection, tenant)
        for key in ("k 0", "k 1"):
            client.enqueue(tenant_id=tenant, **{**CHAT, "idempotency_key": key, "lane": "batch"})
        requests = [{"tenant_id": tenant, **random_job(dice)} for _ in range(JOBS)]
        requests.append({"tenant_id": tenant, **CHAT, "idempotency_key": "k 1", "lane": "batch"})

        many, single = client.quote_many(requests), one_by_one(client, requests)

        for fields, one, other in zip(requests, many, single, strict=True):
            assert plain(one) == plain(other), f"world {world}: {fields}"
            seen[other.verdict if isinstance(other, Quote) else other.code] += 1
        total += sum(one.worst_case_usd or 0 for one in many if isinstance(one, Quote))
        with ops.connection() as connection:
            connection.execute("update headrace.features set paused_at = null")
    assert seen.keys() == {
        "would_run", "would_wait", "would_be_rejected", "would_repeat", "idempotency_conflict",
    }, seen  # fmt: skip
    assert min(seen.values()) >= 5, seen
    assert total > 0


def _let_one_wait_for_its_rate(connection: Any, tenant: UUID) -> None:
    connection.execute(
        "insert into headrace.rates (tenant_id, scope, key, per_minute) values (%s, 'user', 'u-1', 7)", [tenant]
    )
    connection.execute(
        "insert into headrace.queue (id, tenant_id, lane, user_id, feature, state, reason, rank, estimated_tokens,"
        " run_at, waits_for) values (uuidv7(), %s, 'batch', 'u-1', 'chat', 'scheduled', 'rate_limited', 0, 1, %s,"
        " 'rate:user:u-1')",
        [tenant, START],
    )


def test_each_error_stands_where_its_request_stood(quoting: Client, ops: Database, tenant: UUID) -> None:
    bee = new_tenant(ops, "Bee")
    requests: list[Any] = []
    for n, (fields, _, _, _) in enumerate(BAD):
        requests += [
            {"tenant_id": tenant, **fields},
            {"tenant_id": bee if n % 2 else tenant, **(PROMPT if n % 3 else CHAT)},
        ]
    requests += ["no request at all", {"tenant_id": UUID(int=7), **CHAT}]

    many, single = quoting.quote_many(requests), one_by_one(quoting, requests)

    assert len(many) == len(requests)
    for one, other in zip(many, single, strict=True):
        if isinstance(other, Quote):
            assert isinstance(one, Quote) and one.primary == other.primary
        else:
            assert plain(one) == plain(other)


def test_a_thousand_of_several_tenants_with_rates_are_told_of_in_their_order(
    quoting: Client, ops: Database, tenant: UUID
) -> None:
    bee = new_tenant(ops, "Bee")
    with ops.connection() as connection:
        connection.execute("update headrace.plans set user_per_minute = 60")
    requests = [
        {
            "tenant_id": bee if n % 3 == 0 else tenant,
            "user_id": f"u {n % 7}",
            "feature": "chat",
            "messages": [*MESSAGES, {"role": "user", "content": f"{'word ' * (n % 50)}{n}"}],
        }
        for n in range(2500)
    ]

    many = quoting.quote_many(requests)

    assert all(isinstance(one, Quote) and one.rates[0].room == 60 for one in many)
    for n in range(0, 2500, 250):
        alone, one = quoting.quote(requests[n]), many[n]
        assert isinstance(one, Quote)
        assert (one.primary, one.backup, one.caps, one.rates) == (alone.primary, alone.backup, alone.caps, alone.rates)
    with ops.connection() as connection:
        assert connection.execute("select count(*) as n from headrace.jobs").fetchone() == {"n": 0}
