"""Many calls in flight in one process need few connections to Postgres: none is held while a provider is called."""

from __future__ import annotations

from producers import Client
from storage.db.database import Database
from storage.jobs.jobs import State
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Fleet, eventually

THREADS, FEWER_THAN = 120, 20
CONNECTED = "select count(*) as n from pg_stat_activity where datname = current_database() and pid <> all(%s)"


def test_a_process_of_many_threads_keeps_its_connections_few(client: Client, fleet: Fleet, ops: Database) -> None:
    """Every thread has a call in flight at once; all of them have begun, and will settle, over a small pool."""
    fleet.simulator(openai={"latency_ms": 4000})
    tenants = [new_tenant(ops, f"T{n}") for n in range(4)]
    batch = client.enqueue_many(
        {"tenant_id": tenants[n % 4], "user_id": f"u-{n % 5}", "feature": "chat", "max_output_tokens": 50,
         "messages": [{"role": "user", "content": f"Question {n}"}]}
        for n in range(THREADS)
    )  # fmt: skip
    with ops.connection() as connection:
        ours = [row["pid"] for row in connection.execute("select pid from pg_stat_activity").fetchall()]
        fleet.worker(threads=THREADS)

        def connected() -> int:
            row = connection.execute(CONNECTED, [ours]).fetchone()
            assert row is not None
            return int(row["n"])

        most = [connected()]

        def all_in_flight() -> bool:
            most.append(connected())
            row = connection.execute("select count(*) as n from headrace.runs where status = 'started'").fetchone()
            return row is not None and row["n"] == THREADS

        eventually(all_in_flight, why="every thread has a call in flight")
        assert 1 < max(most) < FEWER_THAN
        states = {
            client.result(job_id, tenant_id=tenants[n % 4], timeout=30).state
            for n, job_id in enumerate(batch.job_ids)
            if job_id is not None
        }
        assert states == {State.SUCCEEDED}
        assert connected() < FEWER_THAN
    check_books(ops, fleet.journal())
