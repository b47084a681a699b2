"""Any service enqueues inside its own transaction: the job exists if and only if that commits, and then it runs.

All of it as ``headrace_producer``, which may call ``headrace.enqueue`` and read nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest
from psycopg import IsolationLevel, sql

from errors import IdempotencyConflict, NotFoundError
from producers import Client
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs.jobs import State
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Fleet, Urls, eventually
from tests.support.foreign_service import open_shop, orders_and_keys
from tests.support.foreign_transaction import READ_COMMITTED, Foreign, ask, foreign
from workers.scheduler import Scheduler

SERIALIZABLE = IsolationLevel.SERIALIZABLE
STRICTER = pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, SERIALIZABLE], ids=lambda one: one.name)
EVERY_LEVEL = pytest.mark.parametrize(
    "level", [READ_COMMITTED, IsolationLevel.REPEATABLE_READ, SERIALIZABLE], ids=lambda one: one.name
)
OTHERS = 50  # jobs of the same tenant that come and end while a foreign transaction is open


def waits_for_a_lock(urls: Urls, pid: int) -> None:
    """Returns when the server process waits for another transaction."""
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        eventually(
            lambda: connection.execute(
                "select 1 from pg_stat_activity where pid = %s and wait_event_type = 'Lock'", [pid]
            ).fetchone()
        )


def server_pid(connection: Foreign) -> int:
    """The server process of the open transaction (asked for: behind a pooler the connection does not know it)."""
    row = connection.execute("select pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


# ------------------------------------------------------------------------------------------------ commit and roll back


@pytest.mark.parametrize("level", [READ_COMMITTED, SERIALIZABLE], ids=lambda one: one.name)
def test_a_job_exists_if_and_only_if_its_transaction_commits(
    client: Client, fleet: Fleet, ops: Database, urls: Urls, tenant: UUID, scheduler: Scheduler, level: IsolationLevel
) -> None:
    """Held open while 50 other jobs of the same tenant and user come and end; committed, it runs with no more ado."""
    fleet.simulator()
    fleet.worker()
    with foreign(urls, level) as connection:
        for commits in (False, True):
            job_id = ask(connection, tenant, f"Committed: {commits}")

            batch = client.enqueue_many(
                {"tenant_id": tenant, "user_id": "ada", "feature": "chat",
                 "messages": [{"role": "user", "content": f"Question {i}"}]}
                for i in range(OTHERS)
            )  # fmt: skip
            for other in batch.job_ids:
                assert other is not None
                assert client.result(other, tenant_id=tenant, timeout=30).state is State.SUCCEEDED
            assert connection.info.transaction_status is psycopg.pq.TransactionStatus.INTRANS
            with pytest.raises(NotFoundError):
                client.result(job_id, tenant_id=tenant)

            if commits:
                connection.commit()
                assert client.result(job_id, tenant_id=tenant, timeout=30).state is State.SUCCEEDED
            else:
                connection.rollback()
                with pytest.raises(NotFoundError):
                    client.result(job_id, tenant_id=tenant)
    check_books(ops, fleet.journal())
    with ops.connection() as opened:
        assert opened.execute("select count(*) as jobs from headrace.jobs").fetchall() == [{"jobs": 2 * OTHERS + 1}]


def test_what_the_service_writes_and_the_job_share_their_fate(
    client: Client, ops: Database, urls: Urls, tenant: UUID
) -> None:
    """From Python, over the caller's connection: the order and its job are both there, or neither is."""
    open_shop(urls)
    with foreign(urls) as connection:
        for number in (1, 2):
            connection.execute("insert into shop.orders (number) values (%s)", [number])
            client.enqueue(
                tenant_id=tenant,
                user_id="ada",
                feature="chat",
                messages=[{"role": "user", "content": "Thank the customer."}],
                idempotency_key=f"order-{number}",
                conn=connection,
            )
            if number == 1:
                connection.rollback()
            else:
                connection.commit()
    assert orders_and_keys(urls, ops) == ([2], ["order-2"])


# --------------------------------------------------------------------------------------------------- the same key twice


@pytest.mark.parametrize("first_commits", [True, False])
def test_at_read_committed_a_duplicate_waits_and_never_raises(
    urls: Urls, ops: Database, tenant: UUID, threads: ThreadPoolExecutor, first_commits: bool
) -> None:
    with foreign(urls) as second, foreign(urls) as first:
        for what in ({"key": "order-1"}, {"job_id": new_id()}):
            first_id = ask(first, tenant, **what)
            pid = server_pid(second)
            other = threads.submit(ask, second, tenant, **what)
            waits_for_a_lock(urls, pid)
            first.commit() if first_commits else first.rollback()
            second_id = other.result(30)
            second.commit()
            if "job_id" in what:
                assert second_id == first_id
            else:
                assert (second_id == first_id) is first_commits
    with ops.connection() as connection:
        assert connection.execute("select count(*) as jobs from headrace.jobs").fetchall() == [{"jobs": 2}]


def test_at_read_committed_no_storm_of_duplicates_raises(
    urls: Urls, ops: Database, tenant: UUID, threads: ThreadPoolExecutor
) -> None:
    """8 services ask for the same 20 things, each in a transaction of its own; some change their mind."""

    def service(number: int) -> dict[str, UUID]:
        kept = {}
        with foreign(urls) as connection:
            for i in range(20):
                job_id = ask(connection, tenant, f"Thing {i}", key=f"thing-{i}")
                if (i + number) % 3:
                    connection.commit()
                    kept[f"thing-{i}"] = job_id
                else:
                    connection.rollback()
        return kept

    answers = [one.result(60) for one in [threads.submit(service, number) for number in range(8)]]
    with ops.connection() as connection:
        rows = connection.execute("select idempotency_key as key, id from headrace.jobs").fetchall()
    there = {row["key"]: row["id"] for row in rows}
    assert len(rows) == len(there) == 20
    for kept in answers:
        assert kept.items() <= there.items()


def test_the_same_key_for_another_request_is_refused(client: Client, urls: Urls, tenant: UUID) -> None:
    with foreign(urls) as connection:
        first_id = ask(connection, tenant, "This", key="order-1")
        connection.commit()
        with pytest.raises(psycopg.Error) as refused:
            ask(connection, tenant, "That", key="order-1")
        assert refused.value.sqlstate == "HR400"
        told = json.loads(refused.value.diag.message_detail or "")
        assert (told["code"], told["field"], told["job_id"]) == (
            "idempotency_conflict", "idempotency_key", str(first_id),
        )  # fmt: skip
        connection.rollback()
        messages = [{"role": "user", "content": "That"}]
        with pytest.raises(IdempotencyConflict):
            client.enqueue(
                tenant_id=tenant, user_id="ada", feature="chat", messages=messages, idempotency_key="order-1",
                conn=connection,
            )  # fmt: skip


@STRICTER
def test_above_read_committed_a_duplicate_in_flight_is_a_serialization_failure(
    urls: Urls, tenant: UUID, threads: ThreadPoolExecutor, level: IsolationLevel
) -> None:
    with foreign(urls, level) as second, foreign(urls) as first:
        first_id = ask(first, tenant, key="order-1")
        pid = server_pid(second)
        other = threads.submit(ask, second, tenant, key="order-1")
        waits_for_a_lock(urls, pid)
        first.commit()
        with pytest.raises(psycopg.errors.SerializationFailure):
            other.result(30)
        second.rollback()

        assert ask(second, tenant, key="order-1") == first_id  # repeated, it finds what is there and does not raise
        second.commit()

        # not even waiting: the other one has committed, but after this one's snapshot
        server_pid(second)
        ask(first, tenant, key="order-2")
        first.commit()
        with pytest.raises(psycopg.errors.SerializationFailure):
            ask(second, tenant, key="order-2")


@STRICTER
def test_above_read_committed_a_duplicate_of_what_is_rolled_back_goes_in(
    urls: Urls, tenant: UUID, threads: ThreadPoolExecutor, level: IsolationLevel
) -> None:
    with foreign(urls, level) as second, foreign(urls) as first:
        first_id = ask(first, tenant, key="order-1")
        pid = server_pid(second)
        other = threads.submit(ask, second, tenant, key="order-1")
        waits_for_a_lock(urls, pid)
        first.rollback()
        assert other.result(30) != first_id
        second.commit()


def test_serializable_services_get_every_job_in_by_repeating_what_failed_with_40001(
    urls: Urls, ops: Database, tenant: UUID, threads: ThreadPoolExecutor
) -> None:
    def service(number: int) -> list[UUID]:
        with foreign(urls, SERIALIZABLE) as connection:
            return [
                _repeated(connection, lambda i=i: ask(connection, tenant, f"Thing {i} of {number}"))  # type: ignore[misc]
                for i in range(10)
            ]

    asked: list[Future[list[UUID]]] = [threads.submit(service, number) for number in range(4)]
    ids = [job_id for one in asked for job_id in one.result(60)]
    with ops.connection() as connection:
        rows = connection.execute("select id from headrace.jobs").fetchall()
    assert sorted(row["id"] for row in rows) == sorted(ids)
    assert len(ids) == 40


def _repeated(connection: Foreign, step: Callable[[], UUID]) -> UUID:
    while True:
        try:
            done = step()
            connection.commit()
        except psycopg.errors.SerializationFailure:  # any other error fails the test
            connection.rollback()
        else:
            return done


# ------------------------------------------------------------------------------------------- what is and isn't touched


@EVERY_LEVEL
def test_no_setting_of_the_caller_is_touched(urls: Urls, ops: Database, tenant: UUID, level: IsolationLevel) -> None:
    other = new_tenant(ops, "Other")
    everything = """select name, setting from pg_settings union all
                    select 'app.tenant_id', nullif(current_setting('app.tenant_id', true), '') union all
                    select 'transaction', pg_current_xact_id()::text union all
                    select 'role', current_user"""

    def settings(connection: Foreign) -> dict[str, str]:
        return dict(connection.execute(everything).fetchall())

    for prepare in (
        "select",  # nothing was ever set
        f"set local app.tenant_id = '{other}'",
        "set local search_path = pg_temp, public",
        "set local search_path = ''; set local datestyle = 'German'; set local timezone = 'Asia/Tokyo'",
    ):
        with foreign(urls, level) as connection:
            connection.execute("do 'begin end'")  # the language brings settings of its own, once a connection
            connection.execute(prepare.encode())
            before = settings(connection)
            assert before["transaction_isolation"] == level.name.replace("_", " ").lower()
            ask(connection, tenant)
            assert settings(connection) == before
            with pytest.raises(psycopg.Error, match="user_id"), connection.transaction():
                ask(connection, tenant, user="")
            assert settings(connection) == before, "after a request that was refused"
            connection.commit()


def test_objects_of_the_caller_cannot_stand_in_for_ours(urls: Urls, ops: Database, tenant: UUID) -> None:
    """Temporary tables shadow any name that is looked up by the search path."""
    with foreign(urls) as connection:
        for name in ("jobs", "queue", "tenants", "idempotency", "wakes", "features", "lanes"):
            connection.execute(sql.SQL("create temporary table {} (id uuid)").format(sql.Identifier(name)))
        connection.execute("set local search_path = pg_temp, pg_catalog")
        job_id = ask(connection, tenant)
        connection.commit()
    with ops.connection() as opened:
        assert opened.execute("select id from headrace.queue").fetchall() == [{"id": job_id}]


def test_a_producer_may_call_three_functions_and_read_nothing(urls: Urls, tenant: UUID) -> None:
    with psycopg.connect(urls.owner) as connection:
        relations = connection.execute(
            """select c.relname, has_any_column_privilege('headrace_producer', c.oid, 'select, insert, update')
                       or has_table_privilege('headrace_producer', c.oid, 'delete, truncate, references, trigger')
               from pg_class c where c.relnamespace = 'headrace'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')"""
        ).fetchall()
        sequences = connection.execute(
            """select c.relname, has_sequence_privilege('headrace_producer', c.oid, 'usage, select, update')
               from pg_class c where c.relnamespace = 'headrace'::regnamespace and c.relkind = 'S'"""
        ).fetchall()
        functions = connection.execute(
            """select p.proname from pg_proc p left join pg_depend d on d.objid = p.oid and d.deptype = 'e'
               where p.pronamespace = 'headrace'::regnamespace and d.objid is null
                 and has_function_privilege('headrace_producer', p.oid, 'execute')"""
        ).fetchall()
        member_of = connection.execute(
            """select r.rolname from pg_roles r where pg_has_role('headrace_producer', r.oid, 'member')
                 and r.rolname <> 'headrace_producer'"""
        ).fetchall()
    assert len(relations) > 20
    assert [name for name, may in [*relations, *sequences] if may] == []
    assert {name for (name,) in functions} == {"enqueue", "enqueue_many", "result"}
    assert member_of == []

    with foreign(urls) as connection:
        for name, _ in relations:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(sql.SQL("select from headrace.{}").format(sql.Identifier(name)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute("select * from headrace.enqueue_batch(%s, '[]', false)", [tenant])
