"""PgBouncer in transaction mode may stand in front of Postgres: transactions of many clients share a server process.

Some of the promises again, through one; ``make test-pgbouncer`` runs all of them so. The tests that are imported run
here with this module's ``way_in``.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest

from console.endpoints import Endpoints
from producers import Client
from storage.db.database import Database
from storage.fleet import schedulers, wake_signals
from storage.fleet.wake_signals import Unfit
from storage.jobs.jobs import State
from tests.conftest import new_tenant
from tests.promises.test_foreign_transactions import (  # noqa: F401
    test_at_read_committed_a_duplicate_waits_and_never_raises,
    test_no_setting_of_the_caller_is_touched,
    threads,
)
from tests.promises.test_main_job import test_a_job_is_enqueued_claimed_called_and_paid  # noqa: F401
from tests.promises.test_one_ending import test_two_errors_then_an_answer  # noqa: F401
from tests.promises.test_tenant_isolation import (  # noqa: F401
    test_a_function_gives_the_caller_s_tenant_back_and_a_tenant_s_transaction_stays_that_tenant,
)
from tests.support.audit import check_books
from tests.support.fleet import Fleet, Urls, eventually
from tests.support.pgbouncer import WayIn, bouncer

CLIENTS, SERVERS, ROUNDS = 8, 2, 25


@pytest.fixture(scope="module")
def way_in(services: Endpoints) -> Iterator[WayIn]:
    """Through a PgBouncer with fewer servers than there are clients."""
    with bouncer(services.require_owner(), servers=SERVERS) as through:
        yield through


def test_it_is_really_in_the_way(urls: Urls) -> None:
    with psycopg.connect(urls.app, prepare_threshold=None) as connection:
        (pid,) = connection.execute("select pg_backend_pid()").fetchone() or (None,)
        assert pid != connection.info.backend_pid
    with psycopg.connect(urls.owner) as connection:
        (pid,) = connection.execute("select pg_backend_pid()").fetchone() or (None,)
        assert pid == connection.info.backend_pid, "the owner migrates, and goes directly"


def test_each_transaction_reads_instants_alike_whatever_the_role_sets(urls: Urls) -> None:
    """Start-up options are refused by a PgBouncer, so sessions are pinned by statements, and it follows those."""
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        for setting in ("TimeZone = 'Asia/Kolkata'", "DateStyle = 'SQL, DMY'"):
            owner.execute(f"alter role headrace_app in database {owner.info.dbname} set {setting}")
    seen: set[tuple[str, str]] = set()
    servers: set[int] = set()
    with Database(urls.app) as database:

        def client(_number: int) -> None:
            for _ in range(ROUNDS):
                with database.connection() as connection, connection.transaction():
                    row = connection.execute(
                        "select pg_backend_pid() as server, now() as at, now()::text as text,"
                        " current_setting('TimeZone') as zone, current_setting('DateStyle') as style"
                    ).fetchone()
                    assert row is not None
                    assert row["text"].endswith("+00")
                    seen.add((row["zone"], row["style"]))
                    servers.add(row["server"])

        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(client, range(CLIENTS)))
    assert seen == {("UTC", "ISO, YMD")}
    assert len(servers) == SERVERS


def test_tenants_that_share_a_server_see_only_their_own(ops: Database, urls: Urls) -> None:
    """The setting that says who the tenant is ends with its transaction, so the next client's begins with none."""
    tenants = [new_tenant(ops, f"T{i}") for i in range(CLIENTS)]
    look = "select array(select id from headrace.tenants) as seen, pg_backend_pid() as server"

    def client(number: int) -> set[int]:
        servers = set()
        with Database(urls.app, connections=1) as database:
            for _ in range(ROUNDS):
                with database.as_tenant(tenants[number]) as connection:
                    row = connection.execute(look).fetchone()
                    assert row is not None and row["seen"] == [tenants[number]]
                    servers.add(row["server"])
                with database.connection() as connection:
                    assert connection.execute(look).fetchone()["seen"] == []  # type: ignore[index]
        return servers

    with ThreadPoolExecutor(CLIENTS) as pool:
        seen = list(pool.map(client, range(CLIENTS)))
    assert len(set().union(*seen)) == SERVERS
    assert any(len(servers) > 1 for servers in seen), "no client was ever moved to another server"


def test_a_scheduler_behind_it_says_once_that_no_signal_comes_and_looks(
    client: Client, fleet: Fleet, ops: Database, urls: Urls, tenant: UUID
) -> None:
    fleet.simulator()
    fleet.worker()
    fleet.start("scheduler", "console.processes.scheduler")
    eventually(lambda: "scheduler.no_signals" in fleet.log("scheduler"), why="it finds out")

    with psycopg.connect(urls.producer, autocommit=True, prepare_threshold=None) as service:
        row = service.execute(
            "select headrace.enqueue(tenant_id => %s, user_id => 'ada', feature => 'chat',"
            """ messages => '[{"role": "user", "content": "Hello"}]')""",
            [tenant],
        ).fetchone()
    assert row is not None
    assert client.result(row[0], tenant_id=tenant, timeout=30).state is State.SUCCEEDED

    assert fleet.log("scheduler").count("scheduler.no_signals") == 1
    assert "transaction_pooler" in fleet.log("scheduler")
    with ops.connection() as connection:
        # its heartbeat tells it from the next one on
        eventually(lambda: [one.woken_by for one in schedulers.list_schedulers(connection)] == ["transaction_pooler"])
        wanted = connection.execute("select wanted_until > now() as yes from headrace.wake_signals").fetchone()
    assert wanted == {"yes": False}, "no commit notifies in vain"


def test_a_pooler_of_sessions_carries_signals(services: Endpoints, urls: Urls, ops: Database) -> None:
    """What tells it from one of transactions is a signal that is tried."""
    for mode, expected in (("session", None), ("transaction", Unfit.POOLER)):
        with (
            bouncer(services.require_owner(), mode=mode) as through,
            wake_signals.own_connection(through(urls.owner)) as connection,
        ):
            assert wake_signals.unfit(connection, ops) is expected, mode


@pytest.mark.usefixtures("scheduler")
def test_two_hundred_jobs_end_once(client: Client, fleet: Fleet, ops: Database, tenant: UUID) -> None:
    """More threads than server connections, a third of the calls failing, a worker killed in the middle."""
    fleet.simulator(openai={"fault": "500", "fault_rate": 0.33, "latency_ms": 20})
    for name in ("worker-1", "worker-2"):
        fleet.worker(name, threads=16, HEADRACE_BREAKER_RESET_S="0.2")
    batch = client.enqueue_many(
        {"tenant_id": tenant, "user_id": f"u-{i % 7}", "feature": "chat",
         "messages": [{"role": "user", "content": f"What is {i} plus {i}?"}]}
        for i in range(200)
    )  # fmt: skip
    assert not batch.refused
    for number, job_id in enumerate(batch.job_ids):
        assert job_id is not None
        assert client.result(job_id, tenant_id=tenant, timeout=60).state is State.SUCCEEDED
        if number == 50:
            fleet.end("worker-1", with_signal=signal.SIGKILL)
    check_books(ops, fleet.journal())
