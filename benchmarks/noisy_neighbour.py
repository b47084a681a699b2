"""Quiet tenants' waits, created → claimed, beside one tenant's flood and without it: median and p99, in ms.

    python -m benchmarks.noisy_neighbour          a flood of 100,000 jobs
    python -m benchmarks.noisy_neighbour 10000

Ten quiet tenants ask for one job now and then, ten in a second among them; calls take 0.2 to 0.6 s, on two processes
of 24 threads. Under the flood every slot is busy, so a quiet job waits for the next call that ends; what a plain queue
would make it wait (the flood's jobs at the rate at which they were done) is printed beside it.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from uuid import UUID

from benchmarks.rig import Rig, rig
from storage import jobs
from storage.database import Database
from storage.ids import new_id

PROCESSES, THREADS = 2, 24
QUIET, PER_S, SAMPLES = 10, 10.0, 300
LATENCY_MS = (200, 600)
CHUNK = 2_000


@contextlib.contextmanager
def calls_of_mixed_length(bench: Rig) -> Iterator[None]:
    """The simulator's latency changes all the time, so that calls do not end in step."""
    over = threading.Event()

    def stir() -> None:
        dice = random.Random(1)
        while not over.wait(0.02):
            bench.behave(openai={"latency_ms": dice.randint(*LATENCY_MS)})

    stirring = threading.Thread(target=stir)
    stirring.start()
    try:
        yield
    finally:
        over.set()
        stirring.join()


def flood(bench: Rig, database: Database, tenant: UUID, n: int) -> float:
    """Put so many jobs in, by the function that every way in ends in. How long that took, s."""
    started = time.monotonic()
    for start in range(0, n, CHUNK):
        rows = [
            {"id": str(new_id()), "user_id": f"u-{i % 50}", "feature": "chat", "estimated_tokens": 60,
             "messages": [{"role": "user", "content": f"What is {i} plus {i}?"}]}
            for i in range(start, min(start + CHUNK, n))
        ]  # fmt: skip
        with database.connection() as connection:
            jobs.enqueue_batch(connection, tenant, rows, wake=True)
    return time.monotonic() - started


def quiet_waits(bench: Rig, tenants: list[UUID], seed: int) -> list[float]:
    """Waits of the quiet tenants' jobs, ms, sorted."""
    dice = random.Random(seed)
    asked = []
    for _ in range(SAMPLES):
        tenant = dice.choice(tenants)
        asked.append(
            bench.client.enqueue(
                tenant_id=tenant, user_id="u", feature="chat", messages=[{"role": "user", "content": "What is 6 x 7?"}]
            )
        )
        time.sleep(dice.expovariate(PER_S))
    for tenant in tenants:
        bench.wait(tenant, 0)
    ids = ",".join(map(str, asked))
    rows = bench.query(
        "select extract(epoch from first_claimed_at - created_at) * 1000 as ms from headrace.jobs"
        f" where id = any('{{{ids}}}')"
    )
    assert len(rows) == SAMPLES
    return sorted(float(row["ms"]) for row in rows)


def told(name: str, waits: list[float]) -> float:
    p99 = waits[int(len(waits) * 0.99)]
    print(
        f"{name:<24} median {statistics.median(waits):7.1f} ms   p99 {p99:7.1f} ms   longest {waits[-1]:7.1f} ms",
        flush=True,
    )
    return p99


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with rig() as bench, Database(bench.endpoints.database_url, connections=1) as database:
        tenants = [bench.tenant(f"quiet-{i}") for i in range(QUIET)]
        loud = bench.tenant("flood")
        with bench.ops.connection() as connection:
            connection.execute("update headrace.tenants set daily_cost_cap_usd = 1000000")
            connection.execute("update headrace.plans set user_share = 1")
        with calls_of_mixed_length(bench):
            for _ in range(PROCESSES):
                bench.worker(threads=THREADS)
            quiet_waits(bench, tenants, seed=0)  # connections open, plans are made
            alone = told("without the flood", quiet_waits(bench, tenants, seed=1))
            took = flood(bench, database, loud, n)
            print(f"{n:,} jobs were put in in {took:.0f} s", flush=True)
            time.sleep(3)
            left = _queued(bench, loud)
            started = time.monotonic()
            beside = told(f"with {left:,} jobs queued", quiet_waits(bench, tenants, seed=1))
            still = _queued(bench, loud)
            rate = (left - still) / (time.monotonic() - started)
    print(f"ratio of the p99s        {beside / alone:7.2f}")
    print(f"{still:,} were left at the end; {rate:.0f} of them done in a second.")
    print(f"In one queue for all, a quiet job would have waited {still / rate:,.0f} s.")


def _queued(bench: Rig, tenant: UUID) -> int:
    rows = bench.query(f"select count(*) as n from headrace.queue where tenant_id = '{tenant}' and state = 'queued'")
    return int(rows[0]["n"])


if __name__ == "__main__":
    main()
