"""What it costs to look: a page of metrics, and one `jobs why`, with a few jobs and with 50,000 of 500 tenants.

python -m benchmarks.signals
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from uuid import UUID

from benchmarks.rig import Rig, rig
from console.metrics.exposition import exposition
from storage.db.connect import Connection
from storage.fleet import metrics
from storage.jobs import why

TENANTS, JOBS, LOOKS = 500, 50_000, 15


def enqueue(bench: Rig, tenants: list[UUID], jobs: int) -> None:
    """So many jobs, a tenth of them for an hour from now."""
    (row,) = bench.query("select headrace.now() + interval '1 hour' as later")
    bench.client.enqueue_many(
        {"tenant_id": tenants[number * len(tenants) // jobs], "user_id": f"u{number % 7}", "feature": "chat",
         "max_output_tokens": 100, "messages": [{"role": "user", "content": "What is six times seven?"}],
         "run_at": row["later"] if number % 10 == 0 else None}
        for number in range(jobs)
    )  # fmt: skip


def median_ms(bench: Rig, look: Callable[[Connection], object]) -> float:
    taken = []
    for _ in range(LOOKS):
        with bench.ops.connection() as connection:
            before = time.monotonic()
            look(connection)
            taken.append((time.monotonic() - before) * 1000)
    return statistics.median(taken)


def told(bench: Rig, name: str) -> None:
    (last,) = bench.query("select id from headrace.queue where state = 'queued' order by rank desc, id desc limit 1")
    page = median_ms(bench, lambda connection: exposition(metrics.snapshot(connection, silent_s=10)))
    one = median_ms(bench, lambda connection: why.explain(connection, last["id"], silent_s=10))
    print(f"{name}: a page of metrics {page:.1f} ms, one `jobs why` {one:.1f} ms")


def main() -> None:
    with rig() as bench:  # no worker: what is queued stays so
        few = [bench.tenant(f"few{number}") for number in range(3)]
        enqueue(bench, few, 300)
        told(bench, "300 jobs of 3 tenants")
        enqueue(bench, [bench.tenant(f"many{number}") for number in range(TENANTS)], JOBS)
        bench.query("select headrace.analyze_grown()")
        told(bench, f"{JOBS:,} jobs of {TENANTS:,} tenants")


if __name__ == "__main__":
    main()
