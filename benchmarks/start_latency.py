"""From the enqueue call to the claim on an idle system: median and p99, in ms.

    python -m benchmarks.start_latency

The call's own time is measured beside it, and the part from the row's creation (inside the call) to the claim, both by
Postgres. The call begins by this process's clock, which is the same machine's.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.rig import rig

JOBS = 200


def main() -> None:
    with rig() as bench:
        tenant = bench.tenant()
        bench.behave(openai={"latency_ms": 0})
        bench.worker(threads=4)
        calls, began = [], []
        for i in range(JOBS):
            began.append(time.time())
            started = time.monotonic()
            job_id = bench.client.enqueue(
                tenant_id=tenant, user_id="u", feature="chat", messages=[{"role": "user", "content": f"Hello {i}"}]
            )
            calls.append((time.monotonic() - started) * 1000)
            bench.client.result(job_id, tenant_id=tenant, timeout=10)
            time.sleep(0.02)
        rows = bench.query(
            "select extract(epoch from first_claimed_at - created_at) * 1000 as ms,"
            " extract(epoch from first_claimed_at) as claimed from headrace.jobs order by id"
        )
    whole = sorted((float(row["claimed"]) - start) * 1000 for row, start in list(zip(rows, began, strict=True))[10:])
    waits = sorted(float(row["ms"]) for row in rows[10:])
    calls = sorted(calls[10:])
    for name, values in (("enqueue call", calls), ("created → claimed", waits), ("call → claimed", whole)):
        p99 = values[int(len(values) * 0.99)]
        print(f"{name:20} median {statistics.median(values):6.2f} ms   p99 {p99:6.2f} ms   (n={len(values)})")


if __name__ == "__main__":
    main()
