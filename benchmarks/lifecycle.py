"""100,000 jobs through the four transactions: table sizes, and what a claim costs at the start and at the end.

    python -m benchmarks.lifecycle [JOBS]

No wire and no provider: eight threads take the place of workers, so that what is measured is Postgres.
"""

from __future__ import annotations

import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from benchmarks.rig import Rig, rig
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs import jobs
from storage.jobs.jobs import ClaimedJob
from storage.money import runs
from storage.money.runs import PlannedCall

TENANTS, THREADS, BACKLOG = 20, 8, 10_000


def main() -> None:
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with rig(scheduler=False) as bench, Database(bench.endpoints.database_url, connections=THREADS) as database:
        tenants = [bench.tenant(f"t{i}") for i in range(TENANTS)]
        with bench.ops.connection() as connection:
            connection.execute("update headrace.tenants set daily_cost_cap_usd = 1000000")
        claims: list[float] = []
        started = time.monotonic()
        with ThreadPoolExecutor(THREADS) as pool:
            for done in range(0, total, BACKLOG):
                _enqueue(database, tenants, BACKLOG)
                for batch in pool.map(lambda i: _work(database, tenants, i), range(BACKLOG // 100)):
                    claims += batch
                if done == 0:
                    _sizes(bench, f"after {BACKLOG} jobs")
        seconds = time.monotonic() - started
        _sizes(bench, f"after {total} jobs")
        for name, part in (("first", claims[:BACKLOG]), ("last", claims[-BACKLOG:])):
            part = sorted(part)
            print(
                f"claim, {name} {BACKLOG}: median {statistics.median(part):.2f} ms, "
                f"p99 {part[int(len(part) * 0.99)]:.2f} ms"
            )
        print(f"{total / seconds:.0f} jobs/s through enqueue, claim, begin and settle, {THREADS} connections")


def _enqueue(database: Database, tenants: list[UUID], n: int) -> None:
    for tenant in tenants:
        rows = [
            {"id": str(new_id()), "user_id": f"u-{i % 50}", "feature": "chat", "estimated_tokens": 300,
             "messages": [{"role": "user", "content": "How long is the coast of Norway, fjords included?"}]}
            for i in range(n // len(tenants))
        ]  # fmt: skip
        with database.connection() as connection:
            jobs.enqueue_batch(connection, tenant, rows, wake=False)


def _work(database: Database, tenants: list[UUID], batch: int) -> list[float]:
    """A hundred jobs of one tenant after the other; how long each claim took, in ms."""
    took = []
    worker = new_id()
    for i in range(100):
        tenant = tenants[(batch + i) % len(tenants)]
        claim_id = new_id()
        with database.connection() as connection:
            started = time.monotonic()
            job = jobs.claim(
                connection,
                tenant,
                "interactive",
                claim_id=claim_id,
                worker_id=worker,
                timeout_s=60,
                turns_per_tenant=64,
            )
            took.append((time.monotonic() - started) * 1000)
            if not isinstance(job, ClaimedJob):
                continue
            call = PlannedCall(
                new_id(), "answer", "openai", "gpt-6-luna", "cheap", "default", False, 60, 200, None, None
            )
            runs.begin(connection, tenant, job.job_id, claim_id, call)
            usage = {"id": str(call.run_id), "status": "succeeded", "input_tokens": 40, "output_tokens": 90}
            outcome = {"outcome": "succeeded", "run_id": str(call.run_id), "output": "About 100,000 km.",
                       "finish": "complete", "max_output_tokens": 200}  # fmt: skip
            jobs.settle(connection, tenant, job.job_id, claim_id, run=usage, verdict="ended", outcome=outcome)
    return took


def _sizes(bench: Rig, when: str) -> None:
    rows = bench.query(
        "select c.relname as name, pg_relation_size(c.oid) / 1024 as kb, pg_indexes_size(c.oid) / 1024 as index_kb"
        " from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'headrace'"
        " and c.relkind = 'r' and pg_relation_size(c.oid) > 65536 order by 2 desc limit 8"
    )
    print(f"{when}: " + ", ".join(f"{row['name']} {row['kb']} + {row['index_kb']} kB" for row in rows))


if __name__ == "__main__":
    main()
