"""A cap's rolling day turns with the hour, also under those who were waiting for it when it did."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg

from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import audit
from tests.support.database_clock import Clock
from tests.support.fleet import Urls, eventually
from tests.support.transactions import (
    answered_run,
    begin_call,
    claim_job,
    enqueue_job,
    planned_call,
    settle_job,
    succeeded_outcome,
)

YESTERDAY = datetime(2030, 5, 17, 10, 40, tzinfo=UTC)


def test_the_hour_turns_while_somebody_waits(urls: Urls, app: Database, ops: Database, tenant: UUID) -> None:
    """A call of yesterday is settled at 10:59 and waits; at 11:00 another begins, and yesterday leaves the window."""

    def begin() -> tuple[UUID, UUID, UUID]:
        claim_id, planned = new_id(), planned_call()
        with app.connection() as connection:
            job_id = enqueue_job(connection, tenant)
            assert claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id()) is not None
            assert begin_call(connection, tenant, job_id, claim_id, planned).verdict == "granted"
        return job_id, claim_id, planned.run_id

    def settle(job_id: UUID, claim_id: UUID, run_id: UUID) -> str:
        with app.connection() as connection:
            return settle_job(
                connection, tenant, job_id, claim_id, answered_run(run_id), "ended", **succeeded_outcome(run_id)
            )

    with (
        ThreadPoolExecutor() as beside,
        psycopg.connect(urls.owner, autocommit=True) as owner,
        psycopg.connect(urls.owner) as holder,  # closed first, which lets everybody go on
    ):
        clock = Clock(owner, YESTERDAY)
        settle(*begin())
        old = begin()
        clock.set(YESTERDAY + timedelta(hours=24, minutes=19))
        holder.execute("select from headrace.queue where id = %s for update", [old[0]])
        settling = beside.submit(settle, *old)
        waits = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        eventually(lambda: owner.execute(waits).fetchall(), every_s=0.01)
        clock.advance(60)
        begin()
        holder.rollback()
        assert settling.result(20) == "ended"
    with ops.connection() as connection:
        caps = connection.execute("select distinct hour, spent_usd from headrace.caps").fetchall()
        assert caps == [{"hour": clock.now.replace(minute=0), "spent_usd": Decimal(0)}]
        assert audit.findings(connection) == []


def test_a_begin_that_waited_for_its_caps_starts_after_the_wait(
    urls: Urls, app: Database, ops: Database, tenant: UUID
) -> None:
    """Asked at 10:59, held up until 11:00: at 11:00 what was spent yesterday until 10:59:59 leaves the window. The call
    that gets its room must not have started at 10:59, or twice the cap was spent within 24 hours."""
    claim_id, planned = new_id(), planned_call()
    with app.connection() as connection:
        job_id = enqueue_job(connection, tenant)
        assert claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id()) is not None

    def begin() -> str:
        with app.connection() as connection:
            return begin_call(connection, tenant, job_id, claim_id, planned).verdict

    with (
        ThreadPoolExecutor() as beside,
        psycopg.connect(urls.owner, autocommit=True) as owner,
        psycopg.connect(urls.owner) as holder,  # closed first, which lets everybody go on
    ):
        clock = Clock(owner, YESTERDAY + timedelta(hours=24, minutes=19, seconds=59))
        owner.execute("select headrace.lock_caps(%s, 'u-1', 'chat')", [tenant])
        spent_yesterday(owner, tenant)
        assert begin() == "over_budget", "yesterday's dollar is in the window until the hour turns"
        holder.execute("select from headrace.caps for update")
        beginning = beside.submit(begin)
        waits = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        eventually(lambda: owner.execute(waits).fetchall(), every_s=0.01)
        clock.advance(1)
        holder.execute("select headrace.lock_caps(%s, 'u-1', 'chat')", [tenant])  # as another begin would
        holder.commit()
        assert beginning.result(20) == "granted"
        (run,) = owner.execute("select created_at, settled_at from headrace.runs").fetchall()
        assert run[0] == clock.now

        holder.execute("select from headrace.caps for update")
        with app.connection() as connection:
            settling = beside.submit(
                settle_job, connection, tenant, job_id, claim_id, answered_run(planned.run_id), "ended",
                **succeeded_outcome(planned.run_id),
            )  # fmt: skip
            eventually(lambda: owner.execute(waits).fetchall(), every_s=0.01)
            clock.advance(24 * 3600)
            holder.rollback()
            assert settling.result(20) == "ended"
        (booked,) = owner.execute(
            "select r.settled_at, j.ended_at, b.day from headrace.runs r join headrace.jobs j on j.id = r.job_id"
            " join headrace.billing_daily b on b.tenant_id = r.tenant_id"
        ).fetchall()
        assert booked == (clock.now, clock.now, clock.now.date()), "it is billed on the day on which it was booked"
    with ops.connection() as connection:  # yesterday's dollars have no run
        assert {one.check for one in audit.findings(connection)} <= {"ledger_equals_runs"}


def spent_yesterday(owner: psycopg.Connection[Any], tenant: UUID) -> None:
    """All of the tenant's money, in yesterday's bucket."""
    hour = YESTERDAY.replace(minute=0)
    owner.execute(
        "insert into headrace.spend_buckets (tenant_id, scope, key, hour, spent_usd) values (%s, 'tenant', '', %s, 50)",
        [tenant, hour],
    )
    owner.execute("update headrace.caps set spent_usd = 50 where scope = 'tenant'")


def test_a_job_that_expires_while_it_waits_for_its_caps_is_not_begun(urls: Urls, app: Database, tenant: UUID) -> None:
    claim_id = new_id()
    with (
        ThreadPoolExecutor() as beside,
        app.connection() as connection,
        psycopg.connect(urls.owner, autocommit=True) as owner,
        psycopg.connect(urls.owner) as holder,
    ):
        clock = Clock(owner, YESTERDAY)
        owner.execute("select headrace.lock_caps(%s, 'u-1', 'chat')", [tenant])
        job_id = enqueue_job(connection, tenant, deadline=(YESTERDAY + timedelta(seconds=2)).isoformat())
        assert claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id()) is not None
        holder.execute("select from headrace.caps for update")
        beginning = beside.submit(begin_call, connection, tenant, job_id, claim_id, planned_call())
        waits = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        eventually(lambda: owner.execute(waits).fetchall(), every_s=0.01)
        clock.advance(3)
        holder.rollback()
        assert beginning.result(20).verdict == "expired"
