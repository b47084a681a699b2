"""A job that SQL enqueues starts as fast as one of Python, by a signal to the scheduler; signals cost others little.

Every chore of these schedulers comes once at their start and then after an hour: what starts later starts by a signal.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from producers import Client
from queues.redis.wire import RedisWire
from settings import Settings
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import metrics, wake_signals
from storage.fleet.schedulers import BY_SIGNAL
from storage.fleet.wake_signals import CHANNEL, Unfit
from storage.jobs.jobs import State
from tests.support import transactions
from tests.support.fleet import Fleet, Urls, eventually
from tests.support.pgbouncer import is_wanted
from workers import wake_listener
from workers.scheduler import Scheduler
from workers.wake_listener import WakeListener

AN_HOUR_S = 3600.0
DIRECTLY = pytest.mark.skipif(is_wanted(), reason="no signal comes through a transaction pooler")
ENQUEUE = """select headrace.enqueue(tenant_id => %(tenant)s, user_id => 'ada', feature => 'chat', id => %(id)s,
    messages => '[{"role": "user", "content": "Where is my parcel?"}]', run_at => %(run_at)s)"""
MANY = "select * from headrace.enqueue_many(tenant_id => %s, requests => %s)"
ITS_CONNECTION = "select pid from pg_stat_activity where datname = current_database() and application_name = %s"


def enqueue(connection: psycopg.Connection[Any], tenant: UUID, *, run_at: object = None) -> UUID:
    job_id = new_id()
    connection.execute(ENQUEUE, {"tenant": tenant, "id": job_id, "run_at": run_at})
    return job_id


@pytest.fixture
def service(urls: Urls) -> Iterator[psycopg.Connection[Any]]:
    """Another service: each statement is a transaction of its own."""
    with psycopg.connect(urls.producer, autocommit=True, prepare_threshold=None) as connection:
        yield connection


@pytest.fixture
def ear(urls: Urls) -> Iterator[psycopg.Connection[Any]]:
    """A listener that hears every signal."""
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        connection.execute(f"listen {CHANNEL}".encode())
        yield connection


def heard(ear: psycopg.Connection[Any]) -> int:
    """Signals since the last look: all that were sent before a statement have come with its answer."""
    ear.execute("select 1")
    return sum(1 for _ in ear.notifies(timeout=0))


@contextmanager
def scheduler_that_never_looks(ops: Database, urls: Urls) -> Iterator[Scheduler]:
    wire = RedisWire(urls.redis, lanes=Settings().lane_weights)
    made = Scheduler(
        database=ops, wire=wire, worker_silent_s=10, max_deaths=3, turns_per_tenant=64, idempotency_days=30
    )
    chores = [chore for loop in made.loops for chore in loop.chores]
    for chore in chores:
        chore.every_s = AN_HOUR_S
    stopping = threading.Event()
    thread = threading.Thread(target=made.run, args=[stopping])
    thread.start()
    try:
        eventually(lambda: all(chore.due_at for chore in chores) and woken_by(made) == BY_SIGNAL)
        yield made
    finally:
        stopping.set()
        thread.join()
        wire.close()


def woken_by(scheduler: Scheduler) -> str:
    return scheduler._signals.woken_by


# --------------------------------------------------------------------------------------------------- it starts the job


@DIRECTLY
def test_a_job_starts_by_its_signal_also_after_the_listening_connection_died(
    ops: Database, urls: Urls, client: Client, fleet: Fleet, tenant: UUID, service: psycopg.Connection[Any]
) -> None:
    fleet.simulator()
    fleet.worker()
    with scheduler_that_never_looks(ops, urls), psycopg.connect(urls.owner, autocommit=True) as owner:
        before = owner.execute(ITS_CONNECTION, [wake_signals.NAME]).fetchall()
        first = enqueue(service, tenant)
        assert client.result(first, tenant_id=tenant, timeout=30).state is State.SUCCEEDED

        owner.execute("select pg_terminate_backend(%s)", before[0])
        eventually(lambda: not {*owner.execute(ITS_CONNECTION, [wake_signals.NAME])} <= {*before}, why="it is back")
        with psycopg.connect(urls.producer) as connection, connection.transaction():
            second = enqueue(connection, tenant)
        assert client.result(second, tenant_id=tenant, timeout=30).state is State.SUCCEEDED


@DIRECTLY
def test_what_was_left_before_anybody_listened_is_looked_for(
    ops: Database, urls: Urls, tenant: UUID, service: psycopg.Connection[Any]
) -> None:
    looks: list[int] = []
    enqueue(service, tenant)
    stopping = threading.Event()
    listener = WakeListener(ops, lambda: looks.append(1), lambda: 0)
    thread = threading.Thread(target=listener.run, args=[stopping])
    thread.start()
    try:
        eventually(lambda: looks, why="it looks as soon as it listens")
    finally:
        stopping.set()
        thread.join()


# ---------------------------------------------------------------------------------------------- and costs others little


def test_only_the_sql_door_signals_and_only_while_somebody_listens(
    app: Database, ops: Database, tenant: UUID, service: psycopg.Connection[Any], ear: psycopg.Connection[Any]
) -> None:
    requests = Jsonb([{"user_id": "u", "feature": "chat", "messages": [{"role": "user", "content": "Hi"}]}] * 100)

    enqueue(service, tenant)
    assert heard(ear) == 0, "there is no listener"

    with ops.connection() as connection:
        wake_signals.want(connection, for_s=600)
    enqueue(service, tenant)
    assert heard(ear) == 1
    with service.transaction():
        for _ in range(3):
            enqueue(service, tenant)
        service.execute(MANY, [tenant, requests])
        assert heard(ear) == 0, "nothing is signalled before the commit"
    assert heard(ear) == 1, "one a transaction, however many jobs"
    with service.transaction(force_rollback=True):
        enqueue(service, tenant)
    enqueue(service, tenant, run_at="2100-01-01")
    assert heard(ear) == 0, "a job that is rolled back, or may not run yet, wakes no process"

    claim, planned = new_id(), transactions.planned_call()
    with app.as_tenant(tenant) as connection, connection.transaction():
        transactions.enqueue_job(connection, tenant)
        job = transactions.claim_job(connection, tenant, claim_id=claim, worker_id=new_id())
        assert job is not None
        assert transactions.begin_call(connection, tenant, job.job_id, claim, planned).verdict == "granted"
        transactions.settle_job(
            connection,
            tenant,
            job.job_id,
            claim,
            transactions.answered_run(planned.run_id),
            "ended",
            **transactions.succeeded_outcome(planned.run_id),
        )
    assert heard(ear) == 0, "neither a producer that offers by itself nor claim, begin and settle signal"

    with ops.connection() as connection:
        wake_signals.pause(connection, for_s=600)
    enqueue(service, tenant)
    assert heard(ear) == 0, "a flood is under way, and schedulers look by themselves"


@DIRECTLY
def test_a_flood_of_signals_is_answered_by_a_pause_that_ends_with_it(
    ops: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake_listener, "FLOOD_WITHIN_S", AN_HOUR_S)  # however slow this machine is
    monkeypatch.setattr(wake_listener, "_PAUSE_RENEWED_S", 0.1)
    monkeypatch.setattr(wake_listener, "PAUSED_LOOK_S", 0.001)
    looks: list[int] = []
    notes = {"taken": 0, "each look": 10**9}

    def look() -> None:
        looks.append(1)
        notes["taken"] += notes["each look"]

    def pause() -> tuple[bool, datetime]:
        with ops.connection() as connection:
            row = connection.execute(
                "select paused_until > now() as paused, paused_until from headrace.wake_signals"
            ).fetchone()
            assert row is not None
            return row["paused"], row["paused_until"]

    stopping = threading.Event()
    listener = WakeListener(ops, look, lambda: notes["taken"])
    thread = threading.Thread(target=listener.run, args=[stopping])
    thread.start()
    try:
        eventually(lambda: listener.woken_by == BY_SIGNAL)
        assert not pause()[0]
        with ops.connection() as connection:
            for _ in range(wake_listener.FLOOD):
                wake_signals.try_channel(connection, CHANNEL)
        eventually(lambda: pause()[0], why="no more signals are asked for")
        (_, first), n = pause(), len(looks)
        eventually(lambda: len(looks) > n + 100, why="it looks by itself")
        eventually(lambda: pause()[1] > first, why="the pause is renewed while notes come")
        notes["each look"] = 0
        eventually(lambda: not pause()[0], why="signals are asked for again")
    finally:
        stopping.set()
        thread.join()


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"prepared": 0, "queue_used": 0.0}, None),
        ({"prepared": 10, "queue_used": 0.0}, Unfit.PREPARED),
        ({"prepared": 0, "queue_used": 0.5}, Unfit.QUEUE),
    ],
)
def test_no_signal_is_asked_for_where_one_could_fail_somebodys_commit(
    facts: dict[str, float], expected: Unfit | None
) -> None:
    """A transaction that has notified cannot be prepared, and fails where the server's queue is full."""
    assert wake_signals.objection(facts) is expected


# ----------------------------------------------------------------------------------- and a scheduler that is away shows


def test_a_scheduler_that_stands_still_is_seen_by_what_it_does_not_do(
    ops: Database, fleet: Fleet, tenant: UUID, service: psycopg.Connection[Any]
) -> None:
    process = fleet.start("scheduler", "console.processes.scheduler")
    eventually(lambda: seen(ops).schedulers == 1, why="its heart beats")
    assert seen(ops).behind_s == 0

    process.send_signal(signal.SIGSTOP)
    enqueue(service, tenant)

    eventually(lambda: seen(ops).behind_s > 1, why="the age of the note that is not taken")
    eventually(lambda: seen(ops).schedulers == 0, why="its silence")
    process.send_signal(signal.SIGCONT)
    eventually(lambda: seen(ops).schedulers == 1 and seen(ops).behind_s == 0, why="it goes on")
    fleet.end("scheduler")
    assert seen(ops).schedulers == 0, "it says that it ends"


def seen(ops: Database) -> metrics.FleetCounts:
    with ops.connection() as connection:
        return metrics.fleet(connection, silent_s=2)
