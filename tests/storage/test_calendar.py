"""The partitions of `jobs` and `runs`: months of UTC in every time zone, made ahead without a lock that is noticed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from console.doctor import servers
from storage.db.database import Database
from storage.fleet import recovery
from tests.support.database_clock import Clock
from tests.support.fleet import Urls
from tests.support.made_ids import made_at
from tests.support.transactions import enqueue_job

START = datetime(2034, 5, 20, tzinfo=UTC)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia")
_SPANS = """
    select headrace.time_of(b.bounds[1]::uuid), headrace.time_of(b.bounds[2]::uuid)
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    cross join lateral regexp_match(pg_get_expr(c.relpartbound, c.oid), '([0-9a-f-]{36}).*([0-9a-f-]{36})') b(bounds)
    where i.inhparent = %s::regclass and b.bounds is not null
      and headrace.time_of(b.bounds[1]::uuid) >= %s order by 1"""


@pytest.fixture
def owner(urls: Urls) -> Iterator[psycopg.Connection[tuple[datetime, datetime]]]:
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


@pytest.fixture
def clock(owner: psycopg.Connection[tuple[datetime, datetime]]) -> Clock:
    """Postgres's time, by hand from now on."""
    return Clock(owner, START)


def make_all(ops: Database, ahead: int = 6) -> list[str | None]:
    """Every partition that can be made now, each in its transaction; the outcomes."""
    outcomes: list[str | None] = []
    with ops.connection() as connection:
        while True:
            row = connection.execute("select * from headrace.ensure_partitions(%s)", [ahead]).fetchone()
            assert row is not None
            outcomes.append(row["outcome"])
            if row["outcome"] != "made":
                return outcomes


def spans(
    owner: psycopg.Connection[tuple[datetime, datetime]], table: str, since: datetime
) -> list[tuple[datetime, datetime]]:
    """From when to when each partition goes, from ``since`` on."""
    return owner.execute(_SPANS, [f"headrace.{table}", since]).fetchall()


def month(n: int) -> datetime:
    """The first instant of a month of UTC, counted from May 2034."""
    return datetime(2034 + (4 + n) // 12, (4 + n) % 12 + 1, 1, tzinfo=UTC)


def test_months_are_utcs_in_every_time_zone(
    urls: Urls, owner: psycopg.Connection[tuple[datetime, datetime]], clock: Clock
) -> None:
    with psycopg.connect(urls.ops, autocommit=True, prepare_threshold=None) as connection:
        for zone in ZONES:
            connection.execute("select set_config('timezone', %s, false)", [zone])
            for at in (START, month(0), month(1) - timedelta(milliseconds=1), month(6) - timedelta(minutes=30)):
                clock.set(at)
                rows = connection.execute(
                    "select headrace.month_of(headrace.now(), n) from generate_series(0, 24) n order by n"
                ).fetchall()
                first = (at.year - 2034) * 12 + at.month - 5
                assert [row[0] for row in rows] == [month(first + n) for n in range(25)], zone

        clock.set(START)  # in Apia's, which is 13 hours ahead
        looks = [connection.execute("select * from headrace.ensure_partitions(24)").fetchone() for _ in range(51)]
        assert looks[-1] == (None, 0)
    for table in ("jobs", "runs"):
        assert spans(owner, table, START - timedelta(days=40)) == [(month(n), month(n + 1)) for n in range(25)]
        assert owner.execute(f"select to_regclass('headrace.{table}_2034_05') is null").fetchone() == (False,)


def test_an_open_transaction_delays_the_months_and_nothing_else(
    ops: Database, urls: Urls, owner: psycopg.Connection[tuple[datetime, datetime]], clock: Clock
) -> None:
    """As pg_dump does it: every partition is read by a transaction that stays open."""
    done = threading.Event()
    waited: list[tuple[object, ...]] = []

    def watch() -> None:
        query = (
            "select l.relation::regclass::text, l.mode from pg_locks l where not l.granted and l.relation is not null"
        )
        with psycopg.connect(urls.owner, autocommit=True) as connection:
            while not done.wait(0.002):
                waited.extend(connection.execute(query).fetchall())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with psycopg.connect(urls.ops) as dump:
            dump.execute("select count(*) from headrace.jobs")
            dump.execute("select count(*) from headrace.runs")
            with psycopg.connect(urls.ops, autocommit=True) as connection:
                connection.execute("set statement_timeout = '10s'")
                assert connection.execute("select * from headrace.ensure_partitions()").fetchone() == ("busy", 14)
    finally:
        done.set()
        watcher.join()
    assert waited == []  # a lock that is waited for stands in the way of every later transaction
    assert make_all(ops) == ["made"] * 14 + [None]


def test_a_row_of_a_month_ahead_costs_that_month_an_instant(
    app: Database, ops: Database, tenant: UUID, owner: psycopg.Connection[tuple[datetime, datetime]], clock: Clock
) -> None:
    early = month(3) + timedelta(days=10, microseconds=7000)
    clock.set(early)
    with app.connection() as connection:
        enqueue_job(connection, tenant, id=str(made_at(early)))
    clock.set(START)

    assert make_all(ops) == ["made"] * 15 + [None]  # in no need of another try
    after = early + timedelta(milliseconds=1)
    whole = [(month(n), month(n + 1)) for n in range(7)]
    assert spans(owner, "runs", month(0)) == whole
    assert spans(owner, "jobs", month(0)) == [*whole[:3], (month(3), early), (after, month(4)), *whole[4:]]
    with ops.connection() as connection:
        assert servers.calendar(connection).verdict == "ok"


def test_the_running_month_gets_its_partition_from_the_next_hour_on(
    app: Database, ops: Database, tenant: UUID, owner: psycopg.Connection[tuple[datetime, datetime]], clock: Clock
) -> None:
    with app.connection() as connection:
        enqueue_job(connection, tenant, id=str(made_at(START)))
    assert make_all(ops, ahead=0) == ["made"] * 3 + [None]
    assert spans(owner, "jobs", month(0)) == [(month(0), START), (START + timedelta(hours=1), month(1))]


def test_months_with_wrong_bounds_are_filled_up(
    ops: Database, owner: psycopg.Connection[tuple[datetime, datetime]], clock: Clock
) -> None:
    """What an earlier release made on a server in Berlin: a month that ends an hour early."""
    owner.execute("set role headrace_owner")
    cut = month(2) - timedelta(hours=1)
    for name, since, until in (("jobs_2034_05", month(0), month(1)), ("jobs_2034_06", month(1), cut)):
        row = owner.execute("select headrace.uuid_at(%s)::text, headrace.uuid_at(%s)::text", [since, until]).fetchone()
        assert row is not None
        owner.execute(
            f"create table headrace.{name} partition of headrace.jobs for values from ('{row[0]}') to ('{row[1]}')"
        )
    owner.execute("reset role")
    assert make_all(ops, ahead=2) == ["made"] * 5 + [None]
    assert spans(owner, "jobs", month(0)) == [
        (month(0), month(1)), (month(1), cut), (cut, month(2)), (month(2), month(3)),
    ]  # fmt: skip


def test_a_new_partition_is_like_its_parent(
    ops: Database, owner: psycopg.Connection[tuple[datetime, datetime]], clock: Clock
) -> None:
    make_all(ops, ahead=0)
    for table in ("jobs", "runs"):
        made, model = f"headrace.{table}_2034_05", f"headrace.{table}_default"
        for facts in (
            "select relrowsecurity, relforcerowsecurity, relowner from pg_class where oid = %s::regclass",
            "select attname, atttypid, attnotnull from pg_attribute where attrelid = %s::regclass and attnum > 0"
            " order by 1",
            # (a check that old rows were not held against is `not valid` there)
            "select contype, replace(pg_get_constraintdef(oid), ' NOT VALID', '') from pg_constraint"
            " where conrelid = %s::regclass order by 1, 2",
            "select p.inhparent::regclass::text from pg_index i join pg_inherits p on p.inhrelid = i.indexrelid"
            " where i.indrelid = %s::regclass order by 1",
        ):
            assert owner.execute(facts, [made]).fetchall() == owner.execute(facts, [model]).fetchall()


def test_a_large_default_partition_is_not_read_while_others_wait(
    ops: Database, owner: psycopg.Connection[tuple[datetime, datetime]], tenant: UUID, clock: Clock
) -> None:
    owner.execute("alter table headrace.jobs_default alter metadata set storage plain")
    owner.execute(
        """insert into headrace.jobs (id, tenant_id, user_id, feature, lane, prompt, estimated_tokens, metadata)
           select uuidv7(interval '-20 years'), %s, 'u', 'chat', 'batch', 'p', 1,
                  jsonb_build_object('x', repeat('x', 7000))
           from generate_series(1, 4200)""",
        [tenant],
    )
    assert make_all(ops)[-1] == "large"
    with ops.connection() as connection:
        finding = servers.calendar(connection)
    assert finding.verdict == "wrong"
    assert "default partitions hold 34." in finding.says

    owner.execute(  # the way out that decision 23 gives
        "alter table headrace.jobs_default add constraint without_months"
        " check (id < headrace.uuid_at('2034-06-01Z') or id >= headrace.uuid_at('2035-01-01Z')) not valid"
    )
    owner.execute("alter table headrace.jobs_default validate constraint without_months")
    notices: list[str | None] = []
    owner.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    owner.execute("set client_min_messages = debug1")
    owner.execute("select headrace.make_partition('jobs', '2034-06-01Z', '2034-07-01Z')")
    assert (
        'updated partition constraint for default partition "jobs_default" is implied by existing constraints'
        in notices
    )
    assert set(make_all(ops)[1:]) <= {"made", None}


def test_doctor_wants_two_months_ahead(ops: Database, urls: Urls) -> None:
    with ops.connection() as connection:
        assert servers.calendar(connection).says == "partitions exist for 6 months ahead"
        with psycopg.connect(urls.owner, autocommit=True) as owner:
            now = datetime.now(UTC)
            later = Clock(owner, now)
            for months, left, verdict in ((4, 2, "ok"), (5, 1, "wrong"), (7, 0, "wrong")):
                ahead = now.year * 12 + now.month - 1 + months
                later.set(datetime(ahead // 12, ahead % 12 + 1, 10, tzinfo=UTC))
                finding = servers.calendar(connection)
                assert (finding.verdict, finding.says) == (verdict, f"partitions exist for {left} months ahead")
                assert (finding.to_do is None) == (verdict == "ok")
            assert recovery.ensure_partitions(connection).outcome == "made"
