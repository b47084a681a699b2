"""256 jobs at once against a cap that fits about 100, 20 rounds, random costs, a worker killed in each.

A watcher looks at every cap throughout. At the end ledger, runs and the journal are compared to the last digit.
Beside it the usual guard is measured: sum the last day's runs, and call if that is under the cap.

python -m benchmarks.overspend
"""

from __future__ import annotations

import json
import random
import signal
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg

from benchmarks.rig import Rig, rig
from storage.db.database import Database
from storage.fleet import audit

ROUNDS, JOBS, FIT, THREADS = 20, 256, 100, 64
OVER = """
    select c.scope, c.key, c.spent_usd, c.reserved_usd, l.limit_usd
    from headrace.caps c cross join lateral headrace.cap_now(c.tenant_id, c.scope, c.key, headrace.now()) l
    where c.spent_usd + c.reserved_usd > l.limit_usd"""


def ask(bench: Rig, tenant: UUID, n: int, dice: random.Random) -> None:
    batch = bench.client.enqueue_many(
        {"tenant_id": tenant, "user_id": f"u-{i % 7}", "feature": "chat", "max_output_tokens": dice.randint(50, 900),
         "messages": [{"role": "user", "content": "Tell me about rivers. " * dice.randint(1, 60)}]}
        for i in range(n)
    )  # fmt: skip
    assert not batch.refused


def watch(bench: Rig, stop: threading.Event, seen: dict[str, Any]) -> None:
    with Database(bench.endpoints.require_ops(), connections=1) as database, database.connection() as connection:
        while not stop.is_set():
            seen["over"] += connection.execute(OVER).fetchall()
            seen["looks"] += 1


def one_round(bench: Rig, number: int, cap: Decimal) -> dict[str, Any]:
    tenant = bench.tenant(f"round {number}")
    bench.cap(tenant, cap)
    victim = bench.worker(threads=THREADS)
    ask(bench, tenant, JOBS, random.Random(number))
    bench.wait(tenant, JOBS * 2 // 3)
    victim.send_signal(signal.SIGKILL)
    bench.wait(tenant, 0)
    (row,) = bench.query(
        "select count(*) filter (where outcome = 'succeeded') as ran, count(*) filter (where outcome = 'rejected') as"
        " rejected, count(*) as jobs,"
        " (select sum(cost_usd) from headrace.runs r where r.tenant_id = j.tenant_id) as usd,"
        " (select count(*) from headrace.runs r where r.tenant_id = j.tenant_id and r.status = 'unknown') as unknown"
        f" from headrace.jobs j where tenant_id = '{tenant}' group by j.tenant_id"
    )
    return row


def naive(bench: Rig, costs: list[Decimal], cap: Decimal) -> Decimal:
    """The usual guard, with 256 at once: what is spent in the end, USD."""
    with psycopg.connect(bench.endpoints.require_owner(), autocommit=True) as owner:
        owner.execute("drop table if exists public.calls; create table public.calls (cost numeric, at timestamptz)")
        owner.execute("grant all on public.calls to headrace_app")
    started = threading.Barrier(JOBS)

    def call(cost: Decimal) -> None:
        started.wait()
        with database.connection() as connection:
            row = connection.execute(
                "select coalesce(sum(cost), 0) as usd from public.calls where at > now() - interval '1 day'"
            ).fetchone()
        if row is not None and row["usd"] < cap:
            time.sleep(0.3)  # the provider
            with database.connection() as connection:
                connection.execute("insert into public.calls values (%s, now())", [cost])

    with Database(bench.endpoints.database_url, connections=32) as database, ThreadPoolExecutor(JOBS) as threads:
        list(threads.map(call, costs))
        with database.connection() as connection:
            row = connection.execute("select sum(cost) as usd from public.calls").fetchone()
    return Decimal(row["usd"]) if row else Decimal(0)


def journal(bench: Rig) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{bench.endpoints.simulator_url}/_sim/journal", timeout=60) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found


def main() -> None:
    with rig() as bench:
        with psycopg.connect(bench.endpoints.require_owner(), autocommit=True) as owner:
            owner.execute("update headrace.plans set user_share = 1")
        bench.behave(openai={"latency_ms": 300}, anthropic={"latency_ms": 300})
        bench.worker(threads=THREADS)
        calibration = bench.tenant("calibration")
        ask(bench, calibration, 64, random.Random(0))
        bench.wait(calibration, 0)
        costs = [row["cost_usd"] for row in bench.query("select cost_usd from headrace.runs")]
        cap = sum(costs, Decimal(0)) / len(costs) * FIT
        stop, seen = threading.Event(), {"over": [], "looks": 0}
        watcher = threading.Thread(target=watch, args=[bench, stop, seen])
        watcher.start()
        rounds = []
        try:
            for number in range(1, ROUNDS + 1):
                rounds.append(one_round(bench, number, cap))
        finally:
            stop.set()
            watcher.join()
        with bench.ops.connection() as connection:
            findings = audit.findings(connection)
            calls = audit.calls(connection, journal(bench))
        dice = random.Random(1)
        overshoot = [naive(bench, [dice.choice(costs) for _ in range(JOBS)], cap) / cap for _ in range(5)]
        share = sorted(row["usd"] / cap for row in rounds)
        print(f"{ROUNDS} rounds of {JOBS} jobs at once, a cap of {cap:.6f} USD that fits about {FIT}:")
        print(f"  the watcher looked {seen['looks']} times and saw a cap passed {len(seen['over'])} times")
        ran, unknown = [row["ran"] for row in rounds], sum(row["unknown"] for row in rounds)
        print(f"  spent {share[0]:.0%} to {share[-1]:.0%} of the cap; {min(ran)} to {max(ran)} jobs ran")
        print(f"  {unknown} calls of unknown outcome in all")
        print(f"  every job ended: {all(r['jobs'] == JOBS == r['ran'] + r['rejected'] for r in rounds)}; "
              f"breaches of the audit: {len(findings)}; calls that differ from the journal: {len(calls)}")  # fmt: skip
        print(f"the usual guard (sum, then call): {min(overshoot):.0%} to {max(overshoot):.0%} of the cap spent")
        if seen["over"] or findings or calls:
            raise SystemExit(f"{seen['over'][:3]} {findings[:3]} {calls[:3]}")


if __name__ == "__main__":
    main()
