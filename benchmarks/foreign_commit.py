"""From the commit of a transaction that is not ours to the claim of its job, and what its signals cost other commits.

    python -m benchmarks.foreign_commit

Another service enqueues as ``headrace_producer``; no turn is offered, so the job waits for a scheduler to find its
note: by a signal, or behind a transaction pooler (a PgBouncer before the scheduler) by its look every 200 ms. The goals
are medians of 10 ms and of 210 ms. Then one transaction is held open for 30 s while other jobs of its tenant come and
end. The commit's instant is Postgres's clock right before the commit is sent, so the figures include the commit itself.

At the end eight connections enqueue as fast as they can: without a listener, with a scheduler that pauses the
signals of a flood, and with a signal at each commit.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import psycopg

from benchmarks.rig import Rig, rig
from storage.fleet.wake_signals import CHANNEL
from tests.support.pgbouncer import bouncer

JOBS, HELD_S = 200, 30.0
FLOOD_CONNECTIONS, FLOOD_S = 8, 4.0
_ENQUEUE = """select headrace.enqueue(tenant_id => %s, user_id => 'ada', feature => 'chat',
    messages => '[{"role": "user", "content": "Where is my parcel?"}]')"""


def main() -> None:
    with rig(scheduler=False) as bench:
        tenant = bench.tenant()
        bench.behave(openai={"latency_ms": 0})
        bench.worker(threads=8)
        url = bench.endpoints.database_url.replace("headrace_app@", "headrace_producer@")
        with psycopg.connect(url) as connection:
            ops_url = bench.endpoints.require_ops()
            with _scheduler(bench, ops_url, "scheduler.signals_heard"):
                _report("commit → claim, idle", [_wait_ms(bench, connection, tenant) for _ in range(JOBS)])
                ended, held = _held_open(bench, connection, tenant)
                _report(f"commit → claim, held open {HELD_S:.0f} s", [held])
                print(f"{ended} other jobs of the tenant ended while it was open")
            with (
                bouncer(bench.endpoints.require_owner()) as through,
                _scheduler(bench, through(ops_url), "scheduler.no_signals"),
            ):
                _report("the same behind a pooler, idle", [_wait_ms(bench, connection, tenant) for _ in range(JOBS)])
        _floods(bench, url)


@contextmanager
def _scheduler(bench: Rig, ops_url: str, ready: str) -> Iterator[None]:
    """A scheduler process, from when its log has a line."""
    log = bench.directory / "scheduler.log"
    env = {"PATH": os.environ["PATH"], "HOME": str(bench.directory), **bench.endpoints.environment()}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "console.processes.scheduler"],
            env=env | {"HEADRACE_OPS_DATABASE_URL": ops_url},
            stdout=out,
            stderr=out,
        )
    try:
        while ready not in log.read_text():
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(30)


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


def _floods(bench: Rig, url: str) -> None:
    """With no worker, so that little else than the commits is measured."""
    for worker in bench.processes:
        worker.terminate()
    time.sleep(11)  # whatever scheduler listened has asked for no signal any more
    _flood("a flood, nobody listens", bench, url)
    with _scheduler(bench, bench.endpoints.require_ops(), "scheduler.signals_heard"):
        _flood("a flood, signals paused", bench, url)
    time.sleep(11)
    _flood("a flood, a signal each commit", bench, url, always=True)


def _flood(name: str, bench: Rig, url: str, *, always: bool = False) -> None:
    tenant = bench.tenant(name)
    until = time.monotonic() + FLOOD_S

    def service(_number: int) -> int:
        done = 0
        with psycopg.connect(url) as connection:
            while time.monotonic() < until:
                connection.execute(_ENQUEUE, [tenant])
                if always:
                    connection.execute(f"notify {CHANNEL}")  # type: ignore[arg-type]
                connection.commit()
                done += 1
        return done

    with (
        psycopg.connect(bench.endpoints.require_owner(), autocommit=True) as ear,
        ThreadPoolExecutor(FLOOD_CONNECTIONS) as services,
    ):
        ear.execute(f"listen {CHANNEL}")  # type: ignore[arg-type]
        jobs = sum(services.map(service, range(FLOOD_CONNECTIONS)))
        ear.execute("select 1")
        signals = sum(1 for _ in ear.notifies(timeout=0.2))
    print(f"{name:34} {jobs / FLOOD_S:7.0f} commits/s   {signals} signals of {jobs} commits")


def _report(name: str, values: list[float]) -> None:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"{name:34} median {statistics.median(ordered):7.1f} ms   p99 {p99:7.1f} ms   longest {ordered[-1]:7.1f} ms")


if __name__ == "__main__":
    main()
