"""Every job ends once, whatever fails: calls, workers, the wire. The books agree call by call."""

from __future__ import annotations

import signal
from uuid import UUID

import redis

from producers import Client
from storage.db.database import Database
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Fleet, Urls, eventually
from workers.scheduler import Scheduler

JOBS = 2000


def _requests(tenants: list[UUID], n: int) -> list[dict[str, object]]:
    return [
        {
            "tenant_id": tenants[i % len(tenants)],
            "user_id": f"u-{i % 7}",
            "feature": "chat",
            "messages": [{"role": "user", "content": f"Question number {i}: what is {i} times {i + 1}?"}],
            "max_output_tokens": 200,
        }
        for i in range(n)
    ]


def _ended(ops: Database) -> int:
    with ops.connection() as connection:
        row = connection.execute("select count(*) as n from headrace.jobs where outcome is not null").fetchone()
    return row["n"] if row else 0


def test_two_errors_then_an_answer(
    client: Client, fleet: Fleet, ops: Database, tenant: UUID, scheduler: Scheduler
) -> None:
    fleet.simulator(openai={"fault": "500", "fault_count": 1}, anthropic={"fault": "500", "fault_count": 1})
    fleet.worker()
    (job_id,) = client.enqueue_many(_requests([tenant], 1)).job_ids
    assert job_id is not None
    result = client.result(job_id, tenant_id=tenant, timeout=30)
    assert (result.state, result.attempts) == ("succeeded", 1)  # an outage burns none
    journal = fleet.journal()
    with ops.connection() as connection:
        runs = connection.execute("select * from headrace.runs order by id").fetchall()
    assert [call["status"] for call in journal] == [500, 500, 200]
    assert [run["http_status"] for run in runs] == [500, 500, 200]
    assert [run["fallback"] for run in runs] == [False, True, False]
    assert [str(run["id"]) for run in runs] == [call["client_request_id"] for call in journal]
    check_books(ops, journal)


def test_two_thousand_jobs_of_twenty_tenants_with_a_third_of_the_calls_failing(
    client: Client, fleet: Fleet, ops: Database, scheduler: Scheduler
) -> None:
    tenants = [new_tenant(ops, f"T{i}") for i in range(20)]
    fleet.simulator(
        openai={"fault": "500", "fault_rate": 0.33, "latency_ms": 5},
        anthropic={"fault": "529", "fault_rate": 0.33, "latency_ms": 5},
    )
    for name in ("worker-1", "worker-2"):
        fleet.worker(name, threads=16, HEADRACE_BREAKER_RESET_S="0.2")
    batch = client.enqueue_many(_requests(tenants, JOBS))
    assert not batch.refused
    eventually(lambda: _ended(ops) == JOBS, within_s=120, why="every job ends")
    check_books(ops, fleet.journal())


def test_the_same_with_a_killed_worker_and_a_wiped_wire(
    client: Client, fleet: Fleet, ops: Database, urls: Urls, scheduler: Scheduler
) -> None:
    tenants = [new_tenant(ops, f"T{i}") for i in range(20)]
    fleet.simulator(
        openai={"fault": "500", "fault_rate": 0.33, "latency_ms": 20},
        anthropic={"fault": "529", "fault_rate": 0.33, "latency_ms": 20},
    )
    for name in ("worker-1", "worker-2"):
        fleet.worker(name, threads=16, HEADRACE_BREAKER_RESET_S="0.2")
    client.enqueue_many(_requests(tenants, JOBS))
    eventually(lambda: _ended(ops) > JOBS // 4, within_s=120)
    fleet.end("worker-1", with_signal=signal.SIGKILL)
    with redis.Redis.from_url(urls.redis) as server:
        server.flushall()
    eventually(lambda: _ended(ops) > JOBS // 2, within_s=120)
    fleet.worker("worker-1", threads=16, HEADRACE_BREAKER_RESET_S="0.2")
    eventually(lambda: _ended(ops) == JOBS, within_s=120, why="every job ends")
    check_books(ops, fleet.journal())


def test_every_job_ends_by_the_sweep_alone(
    client: Client, fleet: Fleet, ops: Database, urls: Urls, tenant: UUID, scheduler: Scheduler
) -> None:
    """The wire is wiped again and again while jobs run: it knows nothing that is needed."""
    fleet.simulator()
    fleet.worker()
    client.enqueue_many(_requests([tenant], 200))
    with redis.Redis.from_url(urls.redis) as server:
        done = 0
        while done < 200:
            server.flushall()
            done = eventually(lambda seen=done: _ended(ops) if _ended(ops) > seen else 0, within_s=30)
    check_books(ops, fleet.journal())


def test_a_drained_worker_hands_back_and_ends_what_runs(
    client: Client, fleet: Fleet, ops: Database, tenant: UUID, scheduler: Scheduler
) -> None:
    fleet.simulator(openai={"latency_ms": 1000})
    fleet.worker("old", threads=4)
    client.enqueue_many(_requests([tenant], 12))
    eventually(lambda: len(_running(ops)) == 4)
    fleet.worker("new", threads=8)
    assert fleet.end("old") == 0, fleet.log("old")
    eventually(lambda: _ended(ops) == 12)
    with ops.connection() as connection:
        twice = connection.execute("select job_id from headrace.runs group by job_id having count(*) > 1").fetchall()
        attempts = connection.execute("select distinct attempts from headrace.jobs").fetchall()
    assert twice == []
    assert attempts == [{"attempts": 1}]
    check_books(ops, fleet.journal())


def _running(ops: Database) -> list[object]:
    with ops.connection() as connection:
        return list(connection.execute("select id from headrace.queue where state = 'running'").fetchall())
