"""Who meets a full cap waits in fair order and is let in as room comes: not all at once, and not overtaken for ever."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest

from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import recovery
from storage.money.rates import Rate
from storage.money.runs import Grant
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.database_clock import Clock
from tests.support.fleet import Urls
from tests.support.transactions import (
    all_waiting_tenants,
    answered_run,
    begin_call,
    claim_job,
    enqueue_job,
    planned_call,
    settle_job,
    succeeded_outcome,
)
from workers import outcomes
from workers.outcomes import Outcome

START = datetime(2030, 5, 17, 10, 20, tzinfo=UTC)
DOLLAR = 2_000_000  # output tokens of gpt-6-luna for a dollar
DIME = 200_000


@pytest.fixture
def clock(urls: Urls) -> Any:
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        yield Clock(owner, START)


def cap_of_user(ops: Database, tenant: UUID, user: str, limit: str) -> None:
    with ops.connection() as connection:
        connection.execute(
            "insert into headrace.caps (tenant_id, scope, key, limit_usd, hour) values (%s, 'user', %s, %s, 'epoch')"
            " on conflict (tenant_id, scope, key) do update set limit_usd = excluded.limit_usd",
            [tenant, user, Decimal(limit)],
        )


def cap_of_tenant(ops: Database, tenant: UUID, limit: str) -> None:
    with ops.connection() as connection:
        connection.execute(
            "update headrace.tenants set daily_cost_cap_usd = %s where id = %s", [Decimal(limit), tenant]
        )


def begun(
    app: Database, tenant: UUID, tokens: int, *, lane: str = "interactive"
) -> tuple[UUID, UUID, Any, Grant] | None:
    """Claim the next job and begin a call of so many output tokens at most; None when nothing is queued."""
    claim_id, planned = new_id(), planned_call(input_bound=0, max_output_tokens=tokens)
    with app.connection() as connection:
        job = claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id(), lane=lane)
        if job is None:
            return None
        return job.job_id, claim_id, planned, begin_call(connection, tenant, job.job_id, claim_id, planned)


def turned_away(app: Database, tenant: UUID, begun_: tuple[UUID, UUID, Any, Grant], *, wait: bool = True) -> Outcome:
    """Settle a job as the pipeline does when its grant was refused."""
    job_id, claim_id, _, grant = begun_
    outcome = outcomes.of_refusal(grant, on_over_budget="wait" if wait else "fail", model="m")
    with app.connection() as connection:
        settle_job(connection, tenant, job_id, claim_id, None, outcome.verdict, **outcome.as_settled())
    return outcome


def answered(app: Database, tenant: UUID, begun_: tuple[UUID, UUID, Any, Grant], tokens: int) -> str:
    job_id, claim_id, planned, grant = begun_
    assert grant.verdict == "granted", grant
    with app.connection() as connection:
        return settle_job(
            connection,
            tenant,
            job_id,
            claim_id,
            answered_run(planned.run_id, 0, tokens),
            "ended",
            **succeeded_outcome(planned.run_id),
        )


def spend(app: Database, tenant: UUID, user: str, tokens: int) -> None:
    """Let a user spend what so many output tokens cost."""
    with app.connection() as connection:
        enqueue_job(connection, tenant, user_id=user)
    now = begun(app, tenant, tokens)
    assert now is not None
    answered(app, tenant, now, tokens)


def release(ops: Database) -> int:
    """What the scheduler does; how many jobs were let in."""
    with ops.connection() as connection:
        turns = recovery.release_for_money(connection, all_waiting_tenants(connection)).turns
    return sum(n for of_lane in turns.values() for n in of_lane.values())


def lists(ops: Database) -> Counter[tuple[str, str]]:
    with ops.connection() as connection:
        rows = connection.execute("select state, coalesce(waits_for, '') as waits_for from headrace.queue").fetchall()
    return Counter((row["state"], row["waits_for"]) for row in rows)


def test_a_cap_that_fits_few_at_once_runs_them_all(app: Database, ops: Database, urls: Urls) -> None:
    """$25 and 200 calls of $1 at worst and $0.10 in truth: all run, none is rejected, the cap is never passed."""
    tenant = new_tenant(ops, "Narrow", daily_cap_usd=Decimal(25))
    cap_of_user(ops, tenant, "u-1", "25")
    with app.connection() as connection:
        for _ in range(200):
            enqueue_job(connection, tenant)
    stop, counting, verdicts, over = threading.Event(), threading.Lock(), Counter[str](), []

    def watch() -> None:
        while not stop.wait(0.002):
            with ops.connection() as connection:
                over.extend(
                    connection.execute("select from headrace.caps where spent_usd + reserved_usd > 25").fetchall()
                )

    def let_in() -> None:
        while not stop.wait(0.02):
            release(ops)

    def work(wide: Database) -> None:
        """Run jobs until all have ended."""
        while not stop.is_set():
            now = begun(wide, tenant, DOLLAR)
            if now is None:
                stop.wait(0.005)
                continue
            verdict = now[3].verdict
            if verdict == "granted":
                stop.wait(0.02)  # the call
                verdict = answered(wide, tenant, now, DIME)
            else:
                turned_away(wide, tenant, now, wait=False)
            with counting:
                verdicts[verdict] += 1
                if verdicts["ended"] == 200:
                    stop.set()

    def until_it_fails(step: Callable[[], None]) -> None:
        try:
            step()
        finally:
            stop.set()

    with Database(urls.app, connections=32) as wide, ThreadPoolExecutor(34) as threads:
        steps = [watch, let_in, *[partial(work, wide)] * 32]
        for one in [threads.submit(until_it_fails, step) for step in steps]:
            one.result(120)
    assert not over
    assert verdicts["ended"] == 200
    assert set(verdicts) == {"ended", "wait_for_room"}
    check_books(ops, None)


def test_as_many_as_the_room_fits_are_let_in_in_fair_order(app: Database, ops: Database, clock: Clock) -> None:
    tenant = new_tenant(ops, "Capped", daily_cap_usd=Decimal(10))
    for user in ("ann", "bob", "u"):
        cap_of_user(ops, tenant, user, "10")
    spend(app, tenant, "u", 3 * DOLLAR)
    clock.advance(3600)
    spend(app, tenant, "u", 7 * DOLLAR)
    with app.connection() as connection:
        for user in ("ann", "ann", "ann", "ann", "bob", "bob", "bob", "bob"):  # ann's whole backlog was there first
            enqueue_job(connection, tenant, user_id=user, on_over_budget="wait")
    for _ in range(8):
        now = begun(app, tenant, DOLLAR)
        assert now is not None
        assert now[3].verdict == "over_budget"
        assert turned_away(app, tenant, now).verdict == "defer"
    assert lists(ops) == {("scheduled", "cap:tenant:"): 8}
    assert release(ops) == 0, "there is no room yet"

    clock.set(START.replace(minute=0) + timedelta(hours=25))  # the first three dollars have left the window
    assert release(ops) == 3
    assert release(ops) == 0, "what was let in has its room, though it has not begun"
    ran = []
    while now := begun(app, tenant, DOLLAR):
        assert now[3].verdict == "granted"
        with ops.connection() as connection:
            (job,) = connection.execute("select user_id from headrace.jobs where id = %s", [now[0]]).fetchall()
        ran.append(job["user_id"])
        answered(app, tenant, now, DIME)
    assert sorted(ran[:2]) == ["ann", "bob"], "users take turns"
    assert release(ops) == 2, "they cost less than was reserved: more fit"
    check_books(ops, None, all_ended=False)


def test_a_raised_cap_lets_in_at_once(app: Database, ops: Database, clock: Clock) -> None:
    tenant = new_tenant(ops, "Raised", daily_cap_usd=Decimal(1))
    cap_of_user(ops, tenant, "u", "10")
    cap_of_user(ops, tenant, "u-1", "10")
    spend(app, tenant, "u", DOLLAR)
    with app.connection() as connection:
        for _ in range(5):
            enqueue_job(connection, tenant, on_over_budget="wait")
    while now := begun(app, tenant, DOLLAR):
        turned_away(app, tenant, now)
    cap_of_tenant(ops, tenant, "4")
    assert release(ops) == 3


def test_a_small_job_does_not_overtake_a_big_one_that_waits_for_room(
    app: Database, ops: Database, clock: Clock
) -> None:
    tenant = new_tenant(ops, "Mixed", daily_cap_usd=Decimal(10))
    for user in ("first", "big", "small"):
        cap_of_user(ops, tenant, user, "10")
    with app.connection() as connection:
        enqueue_job(connection, tenant, user_id="first")
    running = begun(app, tenant, 5 * DOLLAR)
    assert running is not None
    with app.connection() as connection:
        enqueue_job(connection, tenant, user_id="big", estimated_tokens=100)
    big = begun(app, tenant, 8 * DOLLAR)
    assert big is not None
    assert big[3].verdict == "wait_for_room"
    turned_away(app, tenant, big)
    with app.connection() as connection:  # later, and behind it
        enqueue_job(connection, tenant, user_id="first", estimated_tokens=5000)
        enqueue_job(connection, tenant, user_id="first", estimated_tokens=5000)
    small = begun(app, tenant, DOLLAR)
    assert small is not None
    assert small[3].verdict == "wait_for_room", "it fits, but it is not its turn"
    turned_away(app, tenant, small)
    answered(app, tenant, running, 1)
    assert release(ops) == 2, "both fit now"
    now = begun(app, tenant, 8 * DOLLAR)
    assert now is not None
    assert (now[0], now[3].verdict) == (big[0], "granted")
    check_books(ops, None, all_ended=False)


@pytest.mark.parametrize("wait", [True, False])
def test_room_that_others_spend_is_room_no_more(app: Database, ops: Database, clock: Clock, wait: bool) -> None:
    """It waited for others, and they used all: it waits for the window if it asked to, else it is turned away."""
    tenant = new_tenant(ops, "Gone", daily_cap_usd=Decimal(10))
    for user in ("u", "u-1"):
        cap_of_user(ops, tenant, user, "10")
    with app.connection() as connection:
        enqueue_job(connection, tenant, user_id="u")
        enqueue_job(connection, tenant, on_over_budget="wait" if wait else "fail")
    running, waiting = begun(app, tenant, 8 * DOLLAR), begun(app, tenant, 5 * DOLLAR)
    assert running and waiting
    assert turned_away(app, tenant, waiting).as_settled()["waits_for"] == "room:tenant:"
    answered(app, tenant, running, 8 * DOLLAR)
    release(ops)
    if wait:
        assert lists(ops) == {("scheduled", "cap:tenant:"): 1}
        with ops.connection() as connection:
            (row,) = connection.execute("select reason, run_at from headrace.queue").fetchall()
        assert row["reason"] == "over_budget"
        assert row["run_at"] == START.replace(minute=0) + timedelta(hours=25), "it says when room returns"
    else:
        assert lists(ops) == {("queued", ""): 1}
        again = begun(app, tenant, 5 * DOLLAR)
        assert again is not None
        assert again[3].verdict == "over_budget"


def test_a_job_that_another_cap_stops_moves_to_its_list(app: Database, ops: Database, clock: Clock) -> None:
    tenant = new_tenant(ops, "Both", daily_cap_usd=Decimal(10))
    cap_of_user(ops, tenant, "u", "10")
    cap_of_user(ops, tenant, "u-1", "2")
    with app.connection() as connection:
        enqueue_job(connection, tenant, user_id="u-1")
    spent = begun(app, tenant, 2 * DOLLAR)
    assert spent is not None
    answered(app, tenant, spent, 2 * DOLLAR)
    spend(app, tenant, "u", 8 * DOLLAR)
    with app.connection() as connection:
        for _ in range(3):
            enqueue_job(connection, tenant, on_over_budget="wait")
    while now := begun(app, tenant, DOLLAR):
        turned_away(app, tenant, now)
    assert lists(ops) == {("scheduled", "cap:tenant:"): 3}
    cap_of_tenant(ops, tenant, "20")
    assert release(ops) == 0
    assert lists(ops) == {("scheduled", "cap:user:u-1"): 3}


def far_ahead(app: Database, tenant: UUID) -> None:
    """Let the lane's virtual time run far past those who wait: another user's job of high rank is running."""
    with app.connection() as connection:
        for _ in range(2):
            enqueue_job(connection, tenant, user_id="ahead", estimated_tokens=1_000_000)
        for _ in range(2):
            assert claim_job(connection, tenant, claim_id=new_id(), worker_id=new_id()) is not None


def test_who_was_let_in_is_not_behind_those_who_still_wait_for_room(app: Database, ops: Database, clock: Clock) -> None:
    """It comes back with the rank of now, which is higher than theirs; its turn it is all the same."""
    tenant = new_tenant(ops, "Ahead", daily_cap_usd=Decimal(10))
    for user in ("first", "u-1", "ahead"):
        cap_of_user(ops, tenant, user, "10")
    with app.connection() as connection:
        enqueue_job(connection, tenant, user_id="first")
        for _ in range(3):
            enqueue_job(connection, tenant)
    running = begun(app, tenant, 10 * DOLLAR)
    assert running is not None
    while now := begun(app, tenant, 6 * DOLLAR):
        assert now[3].verdict == "wait_for_room"
        turned_away(app, tenant, now)
    far_ahead(app, tenant)
    answered(app, tenant, running, 1)
    assert release(ops) == 1
    now = begun(app, tenant, 6 * DOLLAR)
    assert now is not None
    assert now[3].verdict == "granted"


def test_nor_behind_those_who_still_wait_for_a_rate(app: Database, ops: Database, tenant: UUID) -> None:
    with ops.connection() as connection:
        connection.execute(
            "insert into headrace.rates (tenant_id, scope, key, per_minute) values (%s, 'user', '', 60)", [tenant]
        )
    with app.connection() as connection:
        for _ in range(3):
            enqueue_job(connection, tenant)
        for _ in range(3):
            claim_id = new_id()
            job = claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id())
            assert job is not None
            settle_job(connection, tenant, job.job_id, claim_id, None, "defer",
                reason="rate_limited", delay_s=1, waits_for="rate:user:u-1")  # fmt: skip
    far_ahead(app, tenant)
    with ops.connection() as connection:
        assert recovery.release_for_rates(connection, [(tenant, "rate:user:u-1", 1)]) == {"interactive": {tenant: 1}}
    with app.connection() as connection:
        enqueue_job(connection, tenant)
        let_in = claim_job(connection, tenant, claim_id=new_id(), worker_id=new_id())
        newcomer = claim_job(connection, tenant, claim_id=new_id(), worker_id=new_id())
    assert let_in and newcomer
    assert [one.behind for one in let_in.rates] == [False]
    assert [one.behind for one in newcomer.rates] == [True], "who has just come stands behind them"


def test_nobody_is_let_in_while_paused(app: Database, ops: Database, clock: Clock) -> None:
    tenant = new_tenant(ops, "Paused", daily_cap_usd=Decimal(1))
    spend(app, tenant, "u", DOLLAR // 10)
    with app.connection() as connection:
        enqueue_job(connection, tenant, user_id="u", on_over_budget="wait")
    now = begun(app, tenant, DOLLAR // 6)
    assert now is not None
    turned_away(app, tenant, now)
    cap_of_user(ops, tenant, "u", "1")
    for table, column, value in (
        ("tenants", "id", tenant),
        ("features", "name", "chat"),
        ("lanes", "name", "interactive"),
    ):
        with ops.connection() as connection:
            connection.execute(f"update headrace.{table} set paused_at = headrace.now() where {column} = %s", [value])  # type: ignore[arg-type]
            assert release(ops) == 0, table
            connection.execute(f"update headrace.{table} set paused_at = null where {column} = %s", [value])  # type: ignore[arg-type]
    assert release(ops) == 1


def test_a_list_for_a_rate_is_let_in_in_order_and_never_twice(app: Database, ops: Database) -> None:
    tenant = new_tenant(ops, "Rated")
    rate = Rate("user", "u-1", 60)
    with app.connection() as connection:
        ids = [enqueue_job(connection, tenant) for _ in range(6)]
        for _ in ids:
            claim_id = new_id()
            job = claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id())
            assert job is not None
            settle_job(connection, tenant, job.job_id, claim_id, None, "defer",
                reason="rate_limited", delay_s=1, waits_for=rate.waits_for)  # fmt: skip
    with ops.connection() as connection:
        assert recovery.release_for_rates(connection, [(tenant, rate.waits_for, 2)]) == {"interactive": {tenant: 2}}
        assert recovery.release_for_rates(connection, [(tenant, rate.waits_for, 3)]) == {"interactive": {tenant: 1}}
    first = begun(app, tenant, DIME)
    assert first is not None
    assert first[3].verdict == "granted"
    with ops.connection() as connection:
        assert recovery.release_for_rates(connection, [(tenant, rate.waits_for, 3)]) == {"interactive": {tenant: 1}}
    assert lists(ops)[("scheduled", rate.waits_for)] == 2
