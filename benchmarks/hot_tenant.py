"""One hot tenant, one user, one feature, 32 threads and connections, full durability: begin + settle pairs a second.

Side by side, in turns: each step in a transaction of its own, and the workers' commits, which does steps that come at
the same time in one. Nothing is readable before it is durable in either.

python -m benchmarks.hot_tenant
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from benchmarks.rig import Rig, rig
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import recovery
from storage.jobs import jobs
from storage.jobs.jobs import ClaimedJob
from storage.money import runs
from storage.money.runs import PlannedCall
from workers.group_commit import GroupCommit

THREADS, PAIRS, ROUNDS = 32, 60, 5  # pairs of each thread in a round
Claims = list[tuple[UUID, UUID]]


def claimed(database: Database, tenant: UUID, n: int) -> Claims:
    """So many jobs, claimed."""
    request = {
        "user_id": "u",
        "feature": "chat",
        "estimated_tokens": 100,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    claims = []
    with database.connection() as connection:
        jobs.enqueue_batch(connection, tenant, [{"id": str(new_id()), **request} for _ in range(n)], wake=False)
        for _ in range(n):
            claim_id = new_id()
            job = jobs.claim(
                connection, tenant, "interactive", claim_id=claim_id, worker_id=new_id(), timeout_s=3600,
                turns_per_tenant=64,
            )  # fmt: skip
            assert isinstance(job, ClaimedJob)
            claims.append((job.job_id, claim_id))
    return claims


def call() -> PlannedCall:
    return PlannedCall(
        run_id=new_id(), kind="answer", provider="openai", model="gpt-6-luna", tier="cheap", route_rule="default",
        fallback=False, input_bound=500, max_output_tokens=500, min_output_tokens=None, prompt_id=None,
    )  # fmt: skip


def books(planned: PlannedCall) -> tuple[dict[str, Any], dict[str, Any]]:
    run = {
        "id": str(planned.run_id), "status": "succeeded", "input_tokens": 200, "cached_input_tokens": 0,
        "cache_write_tokens": 0, "output_tokens": 100, "reasoning_tokens": 0, "http_status": 200, "latency_ms": 5,
    }  # fmt: skip
    outcome = {
        "outcome": "succeeded", "run_id": str(planned.run_id), "output": "An answer. " * 30, "finish": "complete",
        "max_output_tokens": 500,
    }  # fmt: skip
    return run, outcome


def pairs_a_second(pair: Callable[[UUID, UUID], None], claims: Claims) -> float:
    """All threads do their pairs as fast as they can."""
    ready = threading.Barrier(THREADS + 1)

    def work(n: int) -> None:
        ready.wait()
        for job_id, claim_id in claims[n::THREADS]:
            pair(job_id, claim_id)

    with ThreadPoolExecutor(THREADS) as threads:
        done = [threads.submit(work, n) for n in range(THREADS)]
        ready.wait()
        started = time.perf_counter()
        for one in done:
            one.result()
        return len(claims) / (time.perf_counter() - started)


def measure(bench: Rig) -> None:
    tenant = bench.tenant()
    with bench.ops.connection() as connection:
        connection.execute("update headrace.tenants set daily_cost_cap_usd = 100000 where id = %s", [tenant])
        connection.execute("update headrace.plans set user_share = 1")
    with Database(bench.endpoints.database_url, connections=THREADS) as database:
        commits = GroupCommit(database)

        def alone(job_id: UUID, claim_id: UUID) -> None:
            planned = call()
            run, outcome = books(planned)
            with database.connection() as connection:
                assert runs.begin(connection, tenant, job_id, claim_id, planned).verdict == "granted"
            with database.connection() as connection:
                jobs.settle(connection, tenant, job_id, claim_id, run=run, verdict="ended", outcome=outcome)

        def together(job_id: UUID, claim_id: UUID) -> None:
            planned = call()
            run, outcome = books(planned)
            assert commits.begin(tenant, job_id, claim_id, planned).verdict == "granted"
            commits.settle(tenant, job_id, claim_id, run=run, verdict="ended", outcome=outcome)

        found: dict[str, list[float]] = {"alone": [], "together": []}
        for pair in (alone, together):  # the pool opens its connections
            pairs_a_second(pair, claimed(database, tenant, THREADS * 4))
        for _ in range(ROUNDS):
            for pair in (alone, together):
                found[pair.__name__].append(pairs_a_second(pair, claimed(database, tenant, THREADS * PAIRS)))
    one, many = (statistics.median(found[name]) for name in ("alone", "together"))
    for name, rates in found.items():
        print(f"{name:9} {statistics.median(rates):6.0f} pairs/s ({min(rates):.0f} to {max(rates):.0f})")
    print(f"ratio     {many / one:6.1f}")
    (row,) = bench.query(
        "select (select sum(cost_usd) from headrace.runs) as runs, (select sum(spent_usd) from headrace.caps"
        " where scope = 'tenant') as caps, (select sum(reserved_usd) from headrace.caps) as reserved"
    )
    assert row["runs"] == row["caps"], row
    assert row["reserved"] == 0, row


def keep_figures(bench: Rig, stop: threading.Event) -> None:
    """What the scheduler does each second, so that statements are planned over tables as they are."""
    with Database(bench.endpoints.require_ops(), connections=1) as database:
        while not stop.wait(1):
            with database.connection() as connection:
                recovery.analyze_grown(connection)


def main() -> None:
    with rig(scheduler=False) as bench:
        # no scheduler, which would take these jobs back: no worker sends heartbeats. One of its chores matters here.
        stop = threading.Event()
        chore = threading.Thread(target=keep_figures, args=[bench, stop])
        chore.start()
        try:
            measure(bench)
        finally:
            stop.set()
            chore.join()


if __name__ == "__main__":
    main()
