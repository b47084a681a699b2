"""10,000 jobs of a tenant at its cap: what they cost, and whether another tenant's waits move.

Two ways that a backlog meets a full cap: jobs that say `wait`, then room for 50 of them; and jobs that say `fail`. The
other tenant asks one thing after the other meanwhile, against the same system without the backlog.

python -m benchmarks.waiting
"""

from __future__ import annotations

import statistics
import threading
import time
from decimal import Decimal
from uuid import UUID

import psycopg

from benchmarks.rig import Rig, rig

JOBS, FIT, THREADS, PROBES = 10_000, 50, 8, 150
OUT = 400  # tokens at most: the worst case is 0.0002 USD and some input


class Other:
    """Another tenant, which asks one thing after the other."""

    def __init__(self, bench: Rig) -> None:
        self.bench = bench
        self.tenant = bench.tenant("other")

    def ask(self, n: int | None = None, until: threading.Event | None = None) -> list[float]:
        """Waits from created to claimed, ms, of ``n`` jobs or of as many as come until then."""
        ids = []
        while (n is None or len(ids) < n) and (until is None or not until.is_set()):
            ids.append(ask(self.bench, self.tenant, "u", 1)[0])
            time.sleep(0.02)
        self.bench.wait(self.tenant, 0)
        waits = self.bench.query(
            "select extract(epoch from first_claimed_at - created_at) * 1000 as ms from headrace.jobs"
            f" where tenant_id = '{self.tenant}' and id >= '{ids[0]}'"
        )
        return [float(row["ms"]) for row in waits]


def ask(bench: Rig, tenant: UUID, user: str, n: int, **fields: object) -> list[UUID]:
    batch = bench.client.enqueue_many(
        {"tenant_id": tenant, "user_id": user, "feature": "chat", "max_output_tokens": OUT,
         "messages": [{"role": "user", "content": "What is six times seven?"}], **fields}
        for _ in range(n)
    )  # fmt: skip
    return [one for one in batch.job_ids if one is not None]


def told(name: str, waits: list[float]) -> None:
    p99 = statistics.quantiles(waits, n=100)[98]
    median = statistics.median(waits)
    print(f"  another tenant's wait, {name}: median {median:.1f} ms, p99 {p99:.1f} ms ({len(waits)} jobs)")


def function_ms(bench: Rig, *names: str) -> float:
    with psycopg.connect(bench.endpoints.require_owner()) as connection:
        row = connection.execute(
            "select coalesce(sum(total_time), 0) from pg_stat_user_functions where funcname = any (%s)", [list(names)]
        ).fetchone()
    return float(row[0]) if row else 0.0


def at_its_cap(bench: Rig) -> tuple[UUID, Decimal]:
    """A tenant that has spent its cap, which one job would fit under; and what a job reserves, USD."""
    tenant = bench.tenant("capped")
    ask(bench, tenant, "u", 60)
    bench.wait(tenant, 0)
    (row,) = bench.query(
        f"select sum(cost_usd) as spent, max(reserved_usd) as worst from headrace.runs where tenant_id = '{tenant}'"
    )
    bench.cap(tenant, row["spent"])
    return tenant, row["worst"]


def runs_of(bench: Rig, tenant: UUID) -> int:
    return int(bench.query(f"select count(*) as n from headrace.runs where tenant_id = '{tenant}'")[0]["n"])


def meanwhile(other: Other, step: object, *arguments: object) -> list[float]:
    """The other tenant's waits for as long as the step takes."""
    done = threading.Event()
    waits: list[float] = []
    asking = threading.Thread(target=lambda: waits.extend(other.ask(until=done)))
    asking.start()
    try:
        step(*arguments)  # type: ignore[operator]
    finally:
        done.set()
        asking.join()
    return waits


def main() -> None:
    with rig(track_functions=True) as bench:
        with psycopg.connect(bench.endpoints.require_owner(), autocommit=True) as owner:
            owner.execute("update headrace.plans set user_share = 1")
        bench.worker(threads=THREADS)
        other = Other(bench)
        other.ask(30)
        told("without other waiters", other.ask(PROBES))

        for mode in ("wait", "fail"):
            tenant, worst = at_its_cap(bench)
            calls = runs_of(bench, tenant)
            started = time.monotonic()

            def backlog(tenant: UUID = tenant, mode: str = mode) -> None:
                ask(bench, tenant, "u", JOBS, on_over_budget=mode)
                bench.settled(tenant)

            waits = meanwhile(other, backlog)
            took = time.monotonic() - started
            made = runs_of(bench, tenant) - calls
            print(f"{JOBS} jobs that say {mode}: {made} calls; turned away in {took:.0f} s")
            told("meanwhile", waits)
            if mode == "fail":
                continue
            told("while they wait", other.ask(PROBES))
            (row,) = bench.query(f"select daily_cost_cap_usd as cap from headrace.tenants where id = '{tenant}'")
            before = function_ms(bench, "release_for_money")
            looked = time.monotonic()
            bench.cap(tenant, row["cap"] + worst * FIT)

            def room(tenant: UUID = tenant) -> None:
                time.sleep(3)
                bench.settled(tenant)

            waits = meanwhile(other, room)
            ran = runs_of(bench, tenant) - calls
            spent = function_ms(bench, "release_for_money") - before
            took = time.monotonic() - looked
            (row,) = bench.query(
                f"select spent_usd, reserved_usd from headrace.caps where tenant_id = '{tenant}' and scope = 'tenant'"
            )
            print(f"room for {FIT} worst cases: {ran} ran in {took:.0f} s (they cost less, which made room for more)")
            print(
                f"  the lists cost {spent:.0f} ms of Postgres in that time: {spent / JOBS:.3f} ms for each that waits"
            )
            told("meanwhile", waits)


if __name__ == "__main__":
    main()
