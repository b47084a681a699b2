"""Each table that grows has a rule, and what deletes by it takes the old rows, the whole batch, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from storage.db.connect import Connection
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import audit, retention, workers
from storage.money import billing, outbox
from tests.conftest import new_tenant
from tests.support.fleet import Urls
from tests.support.pages import DOCS
from tests.support.transactions import (
    answered_run,
    begin_call,
    claim_job,
    enqueue_job,
    planned_call,
    settle_job,
    succeeded_outcome,
)

STATEMENTS = Path(retention.__file__).parent / "queries" / "retention"
OLD, YOUNG = "100 days", "1 hour"


def rows_of(connection: Connection, table: str) -> int:
    row = connection.execute(f"select count(*) as n from headrace.{table}".encode()).fetchone()
    assert row is not None
    return int(row["n"])


@pytest.fixture
def both(urls: Urls, ops: Database, tenant: UUID) -> UUID:
    """Of each table that has a rule, seven old rows and two young ones of a tenant."""
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        for age, n in ((OLD, 7), (YOUNG, 2)):
            for table, columns, values in (
                ("idempotency", "tenant_id, key, job_id, body_hash, created_at", "%(t)s, age || g, id, '', at"),
                ("job_events", "tenant_id, job_id, event, at", "%(t)s, id, 'x', at"),
                ("outbox", "tenant_id, topic, payload, created_at", "%(t)s, 'spend.unusual', '{}', at"),
                ("spend_buckets", "tenant_id, scope, key, hour, spent_usd", "%(t)s, 'user', g || '', at, 0"),
                ("workers", "id, host, pid, threads, heartbeat_at", "id, 'h', g, 1, at"),
                ("schedulers", "id, host, pid, woken_by, heartbeat_at", "id, 'h', g, 'signal', at"),
                ("caps", "tenant_id, scope, key, hour", "%(t)s, 'user', age || g, at"),
            ):
                owner.execute(
                    f"insert into headrace.{table} ({columns}) select {values} from (select g, gen_random_uuid() as id,"
                    " %(age)s::text as age, date_trunc('hour', now() - %(age)s::interval) as at"
                    " from generate_series(1, %(n)s) g) rows".encode(),
                    {"t": tenant, "age": age, "n": n},
                )
    return tenant


@pytest.mark.usefixtures("both")
def test_old_rows_go_in_batches_and_young_ones_stay(ops: Database) -> None:
    with ops.connection() as connection:
        before = retention.oldest(connection)
        forget = {
            "idempotency": lambda: retention.forget_keys(connection, days=30, limit=5),
            "job_events": lambda: retention.forget_events(connection, days=30, limit=5),
            "outbox": lambda: retention.forget_outbox(connection, days=30, limit=5),
            "spend_buckets": lambda: retention.forget_buckets(connection, limit=5),
            "workers": lambda: retention.forget_workers(connection, limit=5),
        }
        gone = {table: [batch(), batch(), batch()] for table, batch in forget.items()}
        left = {table: rows_of(connection, table) for table in forget}
        after = retention.oldest(connection)

    of_both = {"workers": [10, 4, 0]}  # with as many schedulers
    assert gone == {table: [5, 2, 0] for table in forget} | of_both
    assert left == dict.fromkeys(forget, 2)
    assert (round(before.schedulers or 0), round(after.schedulers or 0)) == (100, 0)
    assert all(round(getattr(before, table)) == 100 and getattr(after, table) < 1 for table in forget)


@pytest.mark.parametrize(
    ("verb", "index"),
    [("forget_keys", "idempotency_age"), ("forget_outbox", "outbox_done"), ("forget_buckets", "spend_buckets_age")],
)
def test_nothing_that_is_young_is_read(ops: Database, verb: str, index: str) -> None:
    """The age is a condition of the index: else each look would read a table in which nothing is old."""
    statement = (STATEMENTS / f"{verb}.sql").read_text("utf-8") % {"days": 30, "limit": 5000}
    with ops.connection() as connection, connection.transaction():
        connection.execute("set local enable_seqscan = off")
        plan = "\n".join(row["QUERY PLAN"] for row in connection.execute(f"explain {statement}".encode()).fetchall())
    assert re.search(rf"{index}\b.*\n\s+Index Cond: \(\w+ < ", plan), plan


def test_caps_that_say_nothing_go_and_others_stay(urls: Urls, ops: Database, both: UUID) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute("update headrace.caps set limit_usd = 1 where key = '100 days1'")
        owner.execute("update headrace.caps set reserved_usd = 1 where key = '100 days2'")
    with ops.connection() as connection:
        gone, last = 0, retention.FIRST_CAP
        looks = 0
        while last is not None:
            some, last = retention.forget_caps(connection, last or retention.FIRST_CAP, limit=4)
            gone, looks = gone + some, looks + 1
        left = connection.execute("select key from headrace.caps order by key").fetchall()

    assert (gone, looks) == (5, 3)
    assert [row["key"] for row in left] == ["1 hour1", "1 hour2", "100 days1", "100 days2"]


def test_an_event_of_billing_that_was_not_sent_is_kept_and_one_that_was_still_counts_as_sent(
    urls: Urls, ops: Database, tenant: UUID
) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        for day in ("2020-01-01", "2020-01-02"):
            owner.execute(
                "insert into headrace.billing_daily (tenant_id, day, exported_at, revenue_usd, billed_micro_usd)"
                " values (%s, %s, now(), 1, 1000000)",
                [tenant, day],
            )
            owner.execute(
                "insert into headrace.outbox (tenant_id, topic, payload, created_at) values (%s, %s,"
                " jsonb_build_object('identifier', format('headrace-%%s-%%s', %s::text, %s::text)),"
                " now() - interval '1 year')",
                [tenant, billing.METER_EVENT, tenant, day],
            )
    with ops.connection() as connection:
        taken = outbox.take(connection, billing.METER_EVENT, lease_s=60, sure_s=60)
        assert taken is not None
        outbox.mark_sent(connection, taken)
        assert retention.forget_outbox(connection, days=30) == 1
        (status,) = billing.status(connection)

    assert (status.sent_days, status.waiting_days) == (1, 1)


def test_a_worker_with_a_job_is_not_forgotten(urls: Urls, app: Database, ops: Database, tenant: UUID) -> None:
    worker = new_id()
    with app.connection() as connection:
        enqueue_job(connection, tenant)
        assert claim_job(connection, tenant, claim_id=new_id(), worker_id=worker)
    with ops.connection() as connection:
        workers.heartbeat(connection, worker, host="h", pid=1, threads=1)
        connection.execute("update headrace.workers set heartbeat_at = now() - interval '1 year'")
        assert retention.forget_workers(connection) == 0


def test_the_books_are_equal_after_everything_old_was_forgotten(
    urls: Urls, app: Database, ops: Database, tenant: UUID
) -> None:
    """A call of last month: its bucket and its idle caps go, its run and its rollup stay, and the audit is content."""
    with app.connection() as connection:
        job, claim_id, planned = (
            enqueue_job(connection, tenant),
            new_id(),
            planned_call(input_bound=0, max_output_tokens=100),
        )
        assert claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id())
        begin_call(connection, tenant, job, claim_id, planned)
        settle_job(
            connection,
            tenant,
            job,
            claim_id,
            answered_run(planned.run_id, 0, 50),
            "ended",
            **succeeded_outcome(planned.run_id),
        )
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        for statement in (
            "update headrace.runs set created_at = created_at - interval '30 days'",
            "update headrace.spend_buckets set hour = hour - interval '30 days'",
            "update headrace.spend_daily set day = day - 30",
            "update headrace.caps set hour = hour - interval '30 days'",
        ):
            owner.execute(statement.encode())
    with ops.connection() as connection:
        assert audit.findings(connection) == []
        assert retention.forget_buckets(connection) == 3
        assert retention.forget_caps(connection) == (3, None)
        assert audit.findings(connection) == []
        assert retention.books(connection).bytes > 0
    with app.connection() as connection:  # and the caps are there again when they are needed
        job, claim_id, planned = (
            enqueue_job(connection, tenant),
            new_id(),
            planned_call(input_bound=0, max_output_tokens=100),
        )
        assert claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id())
        assert begin_call(connection, tenant, job, claim_id, planned).verdict == "granted"
    with ops.connection() as connection:
        assert audit.findings(connection) == []


def test_every_table_has_its_rule_in_the_page(urls: Urls) -> None:
    page = (DOCS / "reference" / "retention.md").read_text("utf-8")
    told = set(re.findall(r"`([a-z_]+)`", "\n".join(line for line in page.splitlines() if line.startswith("| `"))))
    with psycopg.connect(urls.owner) as connection:
        rows = connection.execute(
            "select relname from pg_class c where relnamespace = 'headrace'::regnamespace and relkind in ('r', 'p')"
            " and not relispartition"
        ).fetchall()
    fixed = {
        "schema_migrations",
        "deployment",
        "chore_locks",
        "provider_keys",
        "chunks",
        "prompt_pointers",
        "producer_bindings",
    }
    tables = {name for (name,) in rows if not name.startswith("caps_guard_")}
    assert tables - told - fixed == set()


def test_the_rules_of_several_tenants_are_one(urls: Urls, ops: Database, both: UUID) -> None:
    """What is old goes, whosever it is: the oldest first."""
    other = new_tenant(ops, "Other")
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute(
            "insert into headrace.idempotency (tenant_id, key, job_id, body_hash, created_at)"
            " values (%s, 'k', gen_random_uuid(), '', now() - interval '200 days')",
            [other],
        )
    with ops.connection() as connection:
        assert retention.forget_keys(connection, days=30, limit=1) == 1
        row = connection.execute("select count(*) as n from headrace.idempotency where tenant_id = %s", [other])
        assert row.fetchone() == {"n": 0}
