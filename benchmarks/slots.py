"""What concurrency caps cost, and how soon a freed slot is at work again.

One connection's claims of a tenant without caps, with caps that do not bind, and with a full one; then the time from a
settle's commit to the next claim of a tenant at its cap, and of tenants that wait for a model, in a real worker.

python -m benchmarks.slots
"""

from __future__ import annotations

import itertools
import statistics
import time
from uuid import UUID

from benchmarks.rig import Rig, rig
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs import jobs
from storage.jobs.jobs import ClaimedJob
from storage.money import limits
from storage.money.limits import SlotScope

CLAIMS, JOBS = 1500, 300
FAILED = {"outcome": "failed", "reason": "x", "error": {}}
MODEL = "openai:gpt-6-luna"


def claim_ms(bench: Rig, tenant: UUID) -> tuple[float, float]:
    """Median times of a claim and of its settle, ms; a claim that is stopped has no settle."""
    claims, settles = [], []
    with Database(bench.endpoints.database_url, connections=1) as database, database.connection() as connection:
        for _ in range(CLAIMS):
            claim_id = new_id()
            began = time.perf_counter()
            job = jobs.claim(
                connection, tenant, "batch", claim_id=claim_id, worker_id=new_id(), timeout_s=600, turns_per_tenant=64
            )
            claims.append((time.perf_counter() - began) * 1000)
            if isinstance(job, ClaimedJob):
                began = time.perf_counter()
                jobs.settle(connection, tenant, job.job_id, claim_id, run=None, verdict="ended", outcome=FAILED)
                settles.append((time.perf_counter() - began) * 1000)
    return statistics.median(claims), statistics.median(settles or [0.0])


def ask(bench: Rig, tenant: UUID, n: int, lane: str) -> None:
    bench.client.enqueue_many(
        {"tenant_id": tenant, "user_id": "u", "feature": "chat", "lane": lane, "max_output_tokens": 50,
         "messages": [{"role": "user", "content": "Hi"}]}
        for _ in range(n)
    )  # fmt: skip


def cap(bench: Rig, tenant: UUID | None, scope: SlotScope, key: str, slots: int | None) -> None:
    with bench.ops.connection() as connection:
        limits.set_concurrency(connection, tenant, scope, key, slots, actor="a benchmark")


def gaps(bench: Rig, tenants: list[UUID]) -> list[float]:
    """Under a cap of one: from the end of each job to the claim (or, of a model, the call) of the next, ms."""
    among = ",".join(f"'{tenant}'" for tenant in tenants)
    rows = bench.query(
        "select j.ended_at, r.created_at as began from headrace.jobs j join headrace.runs r on r.job_id = j.id"
        f" where j.tenant_id in ({among}) and j.outcome = 'succeeded' order by r.created_at"
    )
    return [(after["began"] - before["ended_at"]).total_seconds() * 1000 for before, after in itertools.pairwise(rows)]


def told(what: str, found: list[float]) -> None:
    p = statistics.quantiles(found, n=100)
    print(f"  {what}: median {p[49]:.1f} ms, p95 {p[94]:.1f} ms, p99 {p[98]:.1f} ms ({len(found)} times)")


def main() -> None:
    with rig() as bench:
        print("claim and settle, one connection, median ms:")
        for name, caps in (
            ("no cap", []),
            ("two caps that do not bind", [(SlotScope.LANE, "batch", 100), (SlotScope.FEATURE, "chat", 100)]),
            ("a full lane (the claim is stopped)", [(SlotScope.LANE, "batch", 0)]),
        ):
            tenant = bench.tenant(name)
            ask(bench, tenant, CLAIMS, "batch")
            for scope, key, slots in caps:
                cap(bench, tenant, scope, key, slots)
            claim, settle = claim_ms(bench, tenant)
            print(f"  {name}: claim {claim:.3f}, settle {settle:.3f}")

        bench.behave(openai={"latency_ms": 10})
        bench.worker(threads=8)
        print("from the end of a job to the call of the next, cap of one:")
        for scope, key in ((SlotScope.LANE, "interactive"), (SlotScope.FEATURE, "chat")):
            tenant = bench.tenant("capped")
            cap(bench, tenant, scope, key, 1)
            ask(bench, tenant, JOBS, "interactive")
            bench.wait(tenant, 0)
            told(f"{scope}", gaps(bench, [tenant]))
        cap(bench, None, SlotScope.MODEL, MODEL, 1)
        tenants = [bench.tenant(f"T{n}") for n in range(3)]
        for tenant in tenants:
            ask(bench, tenant, JOBS // 3, "interactive")
        for tenant in tenants:
            bench.wait(tenant, 0)
        told("model, three tenants", gaps(bench, tenants))


if __name__ == "__main__":
    main()
