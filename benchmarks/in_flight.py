"""One worker process with 500 provider calls in flight: its memory, threads and connections; then 500 that drip.

First calls of some seconds, answered; then a server that sends a byte now and then for ever, against a total deadline
of 3 s a call.

python -m benchmarks.in_flight
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from uuid import UUID

from benchmarks.rig import Rig, rig
from queues.broker_url import redis_client

THREADS = 500
TENANTS, LATENCY_MS, DEADLINE_S = 20, 6000, 3
STARTED = "select count(*) as n from headrace.runs where status = 'started'"


def main() -> None:
    with rig() as bench:
        answered(bench)
    with rig() as bench:
        dripping(bench)


def answered(bench: Rig) -> None:
    """All threads in a call at once, and what that takes."""
    bench.behave(openai={"latency_ms": LATENCY_MS})
    enqueue(bench, [bench.tenant(f"t{i}") for i in range(TENANTS)])
    postgres_before, valkey_before = connections(bench)
    began = time.monotonic()
    worker = bench.worker(threads=THREADS)
    idle_kb, ready_s = status(worker.pid, "VmRSS"), time.monotonic() - began
    while bench.query(STARTED)[0]["n"] < THREADS:
        if time.monotonic() - began > 60:
            raise SystemExit(f"{bench.query(STARTED)[0]['n']} of {THREADS} calls were in flight after a minute")
        time.sleep(0.02)
    all_s = time.monotonic() - began - ready_s
    postgres, valkey = connections(bench)
    print(f"{THREADS} calls of {LATENCY_MS / 1000:.0f} s in flight in one process, {all_s:.1f} s after it was ready")
    print(f"resident memory {status(worker.pid, 'VmRSS') / 1024:.0f} MB (ready, idle: {idle_kb / 1024:.0f} MB)")
    print(f"threads {status(worker.pid, 'Threads')}, provider connections {tcp_connections(worker.pid)} in 16 pools")
    print(f"connections to Postgres {postgres - postgres_before}, to Valkey {valkey - valkey_before}")
    bench.wait_ended(THREADS)
    (row,) = bench.query("select count(*) as n from headrace.jobs where outcome = 'succeeded'")
    print(f"{row['n']} of {THREADS} answered; memory at its highest {status(worker.pid, 'VmHWM') / 1024:.0f} MB")


def dripping(bench: Rig) -> None:
    """A dripping server, and the longest that a call lasted."""
    bench.behave(openai={"fault": "drip"}, anthropic={"fault": "drip"})
    enqueue(bench, [bench.tenant(f"t{i}") for i in range(TENANTS)])
    bench.worker(threads=THREADS, HEADRACE_CALL_TIMEOUT_S=str(DEADLINE_S), HEADRACE_MAX_ATTEMPTS="1",
                 HEADRACE_BREAKER_FAIL_MAX="100000")  # fmt: skip
    bench.wait_ended(THREADS)
    (row,) = bench.query(
        "select count(*) as n, percentile_disc(0.5) within group (order by latency_ms) as median,"
        " max(latency_ms) as longest, count(*) filter (where error_code = 'provider_timeout') as cut from headrace.runs"
    )
    print(
        f"a dripping server, a deadline of {DEADLINE_S} s: {row['n']} calls, {row['cut']} cut off; they lasted"
        f" {row['median'] / 1000:.2f} s, the longest {row['longest'] / 1000:.2f} s"
    )


def enqueue(bench: Rig, tenants: list[UUID]) -> None:
    bench.client.enqueue_many(
        {"tenant_id": tenants[i % len(tenants)], "user_id": f"u-{i % 5}", "feature": "chat", "max_output_tokens": 100,
         "messages": [{"role": "user", "content": f"Question {i}: what is a headrace?"}]}
        for i in range(THREADS)
    )  # fmt: skip


def connections(bench: Rig) -> tuple[int, int]:
    """How many clients Postgres and Valkey have."""
    (row,) = bench.query("select count(*) as n from pg_stat_activity where datname = current_database()")
    valkey = redis_client(bench.endpoints.redis_url or "")
    try:
        return row["n"], len(valkey.client_list()) - 1
    finally:
        valkey.close()


def status(pid: int, name: str) -> int:
    """A number of the kernel's about a process; memory in kB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise KeyError(name)


def tcp_connections(pid: int) -> int:
    """How many established TCP connections a process has."""
    mine = set()
    for place in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(place)
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            mine.add(target[8:-1])
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(1 for line in lines if line.split()[9] in mine and line.split()[3] == "01")


if __name__ == "__main__":
    main()
