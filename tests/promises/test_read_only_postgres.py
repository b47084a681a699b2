"""Postgres takes no writes for a while: a failover, a full disk. Nothing is lost, repeated or reclaimed for it.

Four times as long as a worker may be silent, so that hearts, claims, settles and every chore meet it.
"""

from __future__ import annotations

import os
import time
from uuid import UUID

from producers import Client
from storage.db.database import Database
from tests.support.audit import check_books
from tests.support.fleet import Fleet, Urls, eventually
from tests.support.read_only_postgres import read_only

READ_ONLY_S = float(os.environ.get("HEADRACE_TEST_READ_ONLY_S", "8"))  # 60 in the long run
JOBS = 60
PROCESSES = ("scheduler", "worker-1", "worker-2")


def test_a_read_only_postgres_costs_time_and_nothing_else(
    fleet: Fleet, urls: Urls, client: Client, ops: Database, tenant: UUID
) -> None:
    fleet.simulator(openai={"latency_ms": 1000}, anthropic={"latency_ms": 1000})
    fleet.start("scheduler", "console.processes.scheduler")
    for name in PROCESSES[1:]:
        fleet.worker(name, threads=4)
    chat = {"tenant_id": tenant, "user_id": "u", "feature": "chat", "max_output_tokens": 50}
    batch = client.enqueue_many(
        [{**chat, "messages": [{"role": "user", "content": f"What is {i} + 1?"}]} for i in range(JOBS)]
    )
    assert not batch.refused
    eventually(lambda: ended(ops) > 4 and running(ops) == 8, why="jobs run")

    with read_only(urls.owner):
        time.sleep(READ_ONLY_S)  # the outage itself
        met = {name: fleet.log(name).count("read-only") for name in PROCESSES}
    assert all(met.values()), f"each process met it: {met}"

    eventually(lambda: ended(ops) == JOBS, within_s=90, why="every job ends")
    outcomes = read(ops, "select outcome, attempts, count(*)::integer as n from headrace.jobs group by 1, 2")
    assert [(row["outcome"], row["attempts"], row["n"]) for row in outcomes] == [("succeeded", 1, JOBS)]
    assert read(ops, "select job_id from headrace.job_events where event = 'reclaimed'") == []
    check_books(ops, fleet.journal())
    assert len(fleet.journal()) == JOBS, "no answer was paid twice"
    for name in PROCESSES:
        assert fleet.processes[name].poll() is None, fleet.log(name)
        assert "Traceback" not in fleet.log(name)


def ended(ops: Database) -> int:
    return int(read(ops, "select count(*) as n from headrace.jobs where outcome is not null")[0]["n"])


def running(ops: Database) -> int:
    return int(read(ops, "select count(*) as n from headrace.queue where state = 'running'")[0]["n"])


def read(ops: Database, statement: str) -> list[dict[str, object]]:
    return ops.retry_until_answered(lambda connection: connection.execute(statement).fetchall())
