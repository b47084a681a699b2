"""Two workers are replaced one after the other under load: no job runs twice, none waits for a repair.

No scheduler runs here. A job whose turn were lost in a drain would wait for the sweep, and one that were left behind
for the reclaim: without a scheduler such a job never ends. So when all end, the restart delayed no job past the
ordinary wait for a free thread.
"""

from __future__ import annotations

import threading
from uuid import UUID

from producers import Client
from storage.db.database import Database
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Fleet, eventually

THREADS = 4
BEAT_S = 0.05  # between two jobs: 20 a second for 8 threads that take 0.2 s each, so about half of them are busy


class Load:
    """Jobs of two tenants that keep coming in until it is stopped."""

    def __init__(self, client: Client, tenants: list[UUID]) -> None:
        self.enqueued = 0
        self._client = client
        self._tenants = tenants
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(BEAT_S):
            number = self.enqueued
            self._client.enqueue(
                tenant_id=self._tenants[number % len(self._tenants)],
                user_id=f"u-{number % 3}",
                feature="chat",
                messages=[{"role": "user", "content": f"What is {number} times seven?"}],
                max_output_tokens=50,
            )
            self.enqueued += 1


def rows(ops: Database, statement: str) -> list[dict[str, object]]:
    with ops.connection() as connection:
        return connection.execute(statement).fetchall()  # type: ignore[call-overload,no-any-return]


def runs_by(ops: Database, worker: int) -> bool:
    """Whether the worker that started as this one (0: the first) runs a job now."""
    found = rows(
        ops,
        "select exists (select from headrace.queue q where q.worker_id = w.id and q.state = 'running') as busy"
        " from headrace.workers w order by w.started_at",
    )
    return len(found) > worker and bool(found[worker]["busy"])


def test_a_rolling_restart_runs_nothing_twice_and_delays_nobody(
    client: Client, fleet: Fleet, ops: Database, tenant: UUID
) -> None:
    fleet.simulator(openai={"latency_ms": 200}, anthropic={"latency_ms": 200})
    for name in ("old-1", "old-2"):
        fleet.worker(name, threads=THREADS)
    with Load(client, [tenant, new_tenant(ops, "Bee")]) as load:
        for number, name in enumerate(("old-1", "old-2")):
            eventually(lambda number=number: runs_by(ops, number), why="it is drained in the middle of a job")
            fleet.worker(name.replace("old", "new"), threads=THREADS)
            assert fleet.end(name) == 0, fleet.log(name)
        seen = load.enqueued
        eventually(lambda: load.enqueued >= seen + 20, why="the new ones alone are at work")
    eventually(lambda: not rows(ops, "select id from headrace.queue limit 1"), why="every job ends, with no scheduler")

    assert rows(ops, "select outcome, attempts, count(*) as jobs from headrace.jobs group by 1, 2") == [
        {"outcome": "succeeded", "attempts": 1, "jobs": load.enqueued}
    ]
    assert rows(ops, "select job_id from headrace.runs group by job_id having count(*) <> 1") == []
    assert rows(ops, "select event from headrace.job_events where event <> 'handed_back'") == []
    assert rows(ops, "select job_id from headrace.job_events group by job_id having count(*) > 1") == []
    stopped = rows(ops, "select stopped_at is not null as stopped from headrace.workers order by started_at")
    assert [one["stopped"] for one in stopped] == [True, True, False, False]
    assert len(fleet.journal()) == load.enqueued
    check_books(ops, fleet.journal())
