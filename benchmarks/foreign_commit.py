"""From the commit of a transaction that is not ours to the claim of its job: median, p99 and the longest, in ms.

    python -m benchmarks.foreign_commit

Another service enqueues as ``headrace_producer``; nobody offers a turn, so the job waits for the scheduler to find its
note. The goal is a second. Then one transaction is held open for 30 s while other jobs of its tenant come and end.
The commit's instant is Postgres's clock right before the commit is sent, so the figures include the commit itself.
"""

from __future__ import annotations

import statistics
import threading
import time
from uuid import UUID

import psycopg

from benchmarks.rig import Rig, rig

JOBS, HELD_S = 200, 30.0
_ENQUEUE = """select headrace.enqueue(tenant_id => %s, user_id => 'ada', feature => 'chat',
    messages => '[{"role": "user", "content": "Where is my parcel?"}]')"""


def main() -> None:
    with rig() as bench:
        tenant = bench.tenant()
        bench.behave(openai={"latency_ms": 0})
        bench.worker(threads=8)
        url = bench.endpoints.database_url.replace("headrace_app@", "headrace_producer@")
        with psycopg.connect(url) as connection:
            waits = [_wait_ms(bench, connection, tenant) for _ in range(JOBS)]
            _report("commit → claim, idle", waits)
            ended, held = _held_open(bench, connection, tenant)
            _report(f"commit → claim, held open {HELD_S:.0f} s", [held])
            print(f"{ended} other jobs of the tenant ended while it was open")


def _wait_ms(bench: Rig, connection: psycopg.Connection, tenant: UUID) -> float:
    job_id = connection.execute(_ENQUEUE, [tenant]).fetchone()[0]  # type: ignore[index]
    return _claimed_after_ms(bench, connection, tenant, job_id)


def _claimed_after_ms(bench: Rig, connection: psycopg.Connection, tenant: UUID, job_id: UUID) -> float:
    committed_at = connection.execute("select clock_timestamp()").fetchone()[0]  # type: ignore[index]
    connection.commit()
    bench.client.result(job_id, tenant_id=tenant, timeout=30)
    (row,) = bench.query(f"select first_claimed_at as at from headrace.jobs where id = '{job_id}'")
    return float((row["at"] - committed_at).total_seconds() * 1000)


def _held_open(bench: Rig, connection: psycopg.Connection, tenant: UUID) -> tuple[int, float]:
    ended = 0
    over = threading.Event()
    threading.Timer(HELD_S, over.set).start()
    job_id = connection.execute(_ENQUEUE, [tenant]).fetchone()[0]  # type: ignore[index]
    while not over.is_set():
        other = bench.client.enqueue(
            tenant_id=tenant, user_id="ada", feature="chat", messages=[{"role": "user", "content": f"Hello {ended}"}]
        )
        bench.client.result(other, tenant_id=tenant, timeout=30)
        ended += 1
        time.sleep(0.01)
    return ended, _claimed_after_ms(bench, connection, tenant, job_id)


def _report(name: str, values: list[float]) -> None:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"{name:34} median {statistics.median(ordered):7.1f} ms   p99 {p99:7.1f} ms   longest {ordered[-1]:7.1f} ms")


if __name__ == "__main__":
    main()
