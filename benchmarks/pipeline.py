"""Jobs a second through the whole pipeline, with Postgres, Valkey and the simulator on the same cores.

python -m benchmarks.pipeline
"""

from __future__ import annotations

import time

from benchmarks.rig import rig

JOBS, TENANTS, THREADS = 3000, 20, 16


def main() -> None:
    with rig() as bench:
        tenants = [bench.tenant(f"t{i}") for i in range(TENANTS)]
        bench.behave(openai={"latency_ms": 5})
        bench.worker(threads=THREADS)
        started = time.monotonic()
        bench.client.enqueue_many(
            {"tenant_id": tenants[i % TENANTS], "user_id": f"u-{i % 7}", "feature": "chat",
             "messages": [{"role": "user", "content": f"What is {i} plus {i}?"}]}
            for i in range(JOBS)
        )  # fmt: skip
        enqueued = time.monotonic() - started
        bench.wait_ended(JOBS)
        (row,) = bench.query("select extract(epoch from max(ended_at) - min(first_claimed_at)) as s from headrace.jobs")
        print(f"enqueue_many: {JOBS / enqueued:.0f} jobs/s while one process of {THREADS} threads was working on them")
        print(f"pipeline: {JOBS / float(row['s']):.0f} jobs/s from the first claim to the last end")


if __name__ == "__main__":
    main()
