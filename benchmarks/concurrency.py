"""50 jobs whose calls take 1 s on one process of 50 threads: from the first claim to the last end, in s.

python -m benchmarks.concurrency
"""

from __future__ import annotations

from benchmarks.rig import rig

JOBS = THREADS = 50


def main() -> None:
    with rig() as bench:
        tenant = bench.tenant()
        bench.behave(openai={"latency_ms": 1000})
        bench.worker(threads=THREADS)
        bench.client.enqueue_many(
            {"tenant_id": tenant, "user_id": f"u-{i % 5}", "feature": "chat",
             "messages": [{"role": "user", "content": f"Question {i}"}]}
            for i in range(JOBS)
        )  # fmt: skip
        bench.wait_ended(JOBS)
        (row,) = bench.query(
            "select extract(epoch from max(ended_at) - min(first_claimed_at)) as s,"
            " count(*) filter (where outcome = 'succeeded') as answered from headrace.jobs"
        )
    print(f"{row['answered']} of {JOBS} jobs with 1 s calls in {float(row['s']):.2f} s from the first claim")


if __name__ == "__main__":
    main()
