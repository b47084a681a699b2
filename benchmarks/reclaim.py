"""kill -9 of a worker in the middle of 500 jobs with 1 s calls: when do its jobs run elsewhere? Default settings.

python -m benchmarks.reclaim
"""

from __future__ import annotations

import signal
import time

from benchmarks.rig import rig

JOBS, THREADS = 500, 40


def main() -> None:
    with rig() as bench:
        tenant = bench.tenant()
        bench.behave(openai={"latency_ms": 1000})
        victim, _ = bench.worker(threads=THREADS), bench.worker(threads=THREADS)
        bench.client.enqueue_many(
            {"tenant_id": tenant, "user_id": f"u-{i % 9}", "feature": "chat",
             "messages": [{"role": "user", "content": f"Question {i}"}]}
            for i in range(JOBS)
        )  # fmt: skip
        bench.wait_ended(JOBS // 4)
        victim.send_signal(signal.SIGKILL)
        killed = time.time()
        bench.wait_ended(JOBS)
        (row,) = bench.query(
            "select count(*) as jobs, count(*) filter (where outcome = 'succeeded') as answered,"
            " (select count(*) from headrace.job_events where event = 'reclaimed') as reclaimed,"
            " (select count(*) from headrace.runs where status = 'unknown') as unknown,"
            " (select extract(epoch from max(r.created_at)) from headrace.runs r join headrace.job_events e"
            "  on e.job_id = r.job_id where e.event = 'reclaimed' and r.created_at > e.at) as last_elsewhere"
            " from headrace.jobs"
        )
        print(
            f"{row['answered']} of {row['jobs']} jobs answered, each once; {row['reclaimed']} were reclaimed "
            f"({row['unknown']} calls unknown); the last of them ran elsewhere "
            f"{float(row['last_elsewhere']) - killed:.1f} s after the kill"
        )


if __name__ == "__main__":
    main()
