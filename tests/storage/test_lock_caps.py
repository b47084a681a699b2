"""A cap's rolling day turns with the hour, also under those who were waiting for it when it did."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg

from storage import audit
from storage.database import Database
from storage.ids import new_id
from tests.clock import Clock
from tests.fleet import Urls, eventually
from tests.steps import answer, ask, call, end, put_one, take, used

YESTERDAY = datetime(2030, 5, 17, 10, 40, tzinfo=UTC)


def test_the_hour_turns_while_somebody_waits(urls: Urls, app: Database, ops: Database, tenant: UUID) -> None:
    """A call of yesterday is settled at 10:59 and waits; at 11:00 another begins, and yesterday leaves the window."""

    def begin() -> tuple[UUID, UUID, UUID]:
        claim_id, planned = new_id(), call()
        with app.connection() as connection:
            job_id = put_one(connection, tenant)
            assert take(connection, tenant, claim_id=claim_id, worker_id=new_id()) is not None
            assert ask(connection, tenant, job_id, claim_id, planned).verdict == "granted"
        return job_id, claim_id, planned.run_id

    def settle(job_id: UUID, claim_id: UUID, run_id: UUID) -> str:
        with app.connection() as connection:
            return end(connection, tenant, job_id, claim_id, used(run_id), "ended", **answer(run_id))

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
