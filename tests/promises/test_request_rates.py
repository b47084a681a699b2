"""Request rates, end to end: a user that asks too often waits, in order; others do not; rates guard no money."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import psycopg

from producers import Client
from storage.db.database import Database
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Fleet, Urls, eventually


def put(client: Client, tenant: UUID, user: str, n: int) -> None:
    batch = client.enqueue_many(
        {
            "tenant_id": tenant, "user_id": user, "feature": "chat", "max_output_tokens": 50,
            "messages": [{"role": "user", "content": f"What is {number} times seven?"}],
        }
        for number in range(n)
    )  # fmt: skip
    assert not batch.refused


def rate(ops: Database, tenant: UUID, scope: str, key: str, per_minute: int) -> None:
    with ops.connection() as connection:
        connection.execute(
            "insert into headrace.rates (tenant_id, scope, key, per_minute) values (%s, %s, %s, %s)"
            " on conflict (tenant_id, scope, key) do update set per_minute = excluded.per_minute",
            [tenant, scope, key, per_minute],
        )


def states(ops: Database, tenant: UUID) -> Counter[tuple[str, str, str]]:
    with ops.connection() as connection:
        rows = connection.execute(
            "select user_id, state, coalesce(reason, '') as reason from headrace.job_status where tenant_id = %s",
            [tenant],
        ).fetchall()
    return Counter((row["user_id"], row["state"], row["reason"]) for row in rows)


def test_a_user_that_asks_too_often_waits_and_nobody_else_does(
    fleet: Fleet, client: Client, ops: Database, tenant: UUID
) -> None:
    other = new_tenant(ops, "Other")
    rate(ops, tenant, "user", "", 6)
    rate(ops, tenant, "user", "backfill", 1000)
    fleet.simulator()
    fleet.start("scheduler", "console.processes.scheduler")
    fleet.worker()
    put(client, tenant, "eager", 20)
    put(client, tenant, "calm", 5)
    put(client, tenant, "backfill", 30)
    put(client, other, "eager", 15)
    eventually(lambda: states(ops, other) == {("eager", "succeeded", ""): 15}, why="another tenant's users run")
    expected = {
        ("eager", "succeeded", ""): 6,
        ("eager", "scheduled", "rate_limited"): 14,
        ("calm", "succeeded", ""): 5,
        ("backfill", "succeeded", ""): 30,
    }
    eventually(lambda: states(ops, tenant) == expected, why=str(states(ops, tenant)))
    assert len(fleet.journal()) == 6 + 5 + 30 + 15, "who waits causes no call"

    rate(ops, tenant, "user", "eager", 11)
    eventually(lambda: states(ops, tenant)[("eager", "succeeded", "")] == 11, why="a raised rate holds at once")
    with ops.connection() as connection:
        waiting = connection.execute(
            "select waits_for, run_at > headrace.now() as later, attempts from headrace.queue"
        ).fetchall()
    assert {(row["waits_for"], row["attempts"]) for row in waiting} == {("rate:user:eager", 0)}, "no attempt is burnt"
    check_books(ops, fleet.journal(), all_ended=False)


def test_a_feature_may_let_its_users_ask_more_often(
    fleet: Fleet, client: Client, ops: Database, urls: Urls, tenant: UUID
) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute("update headrace.plans set user_per_minute = 3")
        owner.execute("update headrace.features set user_per_minute = 9 where name = 'chat'")
    fleet.simulator()
    fleet.start("scheduler", "console.processes.scheduler")
    fleet.worker()
    put(client, tenant, "ann", 12)
    eventually(
        lambda: states(ops, tenant) == {("ann", "succeeded", ""): 9, ("ann", "scheduled", "rate_limited"): 3},
        why=str(states(ops, tenant)),
    )


def test_without_redis_rates_open_and_dollars_do_not(fleet: Fleet, client: Client, ops: Database, tenant: UUID) -> None:
    rate(ops, tenant, "user", "", 2)
    with ops.connection() as connection:
        connection.execute("update headrace.tenants set daily_cost_cap_usd = 0.0004 where id = %s", [tenant])
        connection.execute("update headrace.plans set user_share = 1")
    fleet.simulator()
    # the wire is there, the server that counts requests is not
    nowhere = {"HEADRACE_BROKER_URL": fleet.urls.redis, "HEADRACE_REDIS_URL": "unix:///nowhere/s"}
    fleet.start("scheduler", "console.processes.scheduler", **nowhere)
    fleet.worker(**nowhere)
    put(client, tenant, "ann", 40)
    eventually(
        lambda: sum(n for (_, state, _), n in states(ops, tenant).items() if state in ("succeeded", "rejected")) == 40,
        why=str(states(ops, tenant)),
    )
    found = states(ops, tenant)
    assert found[("ann", "succeeded", "")] > 2, "no rate holds"
    assert found[("ann", "rejected", "over_budget")] > 0, "the cap does"
    assert fleet.log("worker").count("rates.open") == 1
    check_books(ops, fleet.journal())
