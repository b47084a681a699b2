"""How far off is the start that `headrace jobs why` foretells? Three tenants of unequal weight, each with a backlog.

While real workers work it off, jobs all through the backlogs are asked about, at three moments. Afterwards each
estimate is held against the wait that came of it: |estimated − actual| / actual.

python -m benchmarks.why
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from benchmarks.rig import Rig, rig
from storage.jobs import why

BACKLOG, THREADS, LATENCY_MS = {"free": 200, "pro": 400, "enterprise": 400}, 8, 250
ASKED_AFTER_S, ASKED_OF_EACH = (3.0, 8.0, 13.0), 15


@dataclass(frozen=True, slots=True)
class Guess:
    """One estimate: of which job, at what moment (Postgres's clock), s from then."""

    job_id: UUID
    at: datetime
    starts_in_s: float | None


def enqueue(bench: Rig, tenant: UUID, n: int) -> None:
    bench.client.enqueue_many(
        {"tenant_id": tenant, "user_id": f"u{number % 5}", "feature": "chat",
         "max_output_tokens": 100 + 100 * (number % 5),
         "messages": [{"role": "user", "content": "What is six times seven? " * (1 + number % 7)}]}
        for number in range(n)
    )  # fmt: skip


def guesses(bench: Rig, tenant: UUID) -> list[Guess]:
    """Ask about jobs all through the tenant's backlog."""
    queued = bench.query(
        f"select id from headrace.queue where tenant_id = '{tenant}' and state = 'queued' order by rank, id"
    )
    step = max(len(queued) // ASKED_OF_EACH, 1)
    found = []
    for row in queued[step // 2 :: step]:
        with bench.ops.connection() as connection:
            told = why.explain(connection, row["id"], silent_s=bench.settings.worker_silent_s)
        if told is not None and told.state == "queued":
            found.append(Guess(told.job_id, told.now, told.starts_in_s))
    return found


def told(name: str, errors: list[float]) -> None:
    p90 = statistics.quantiles(errors, n=10)[8]
    print(f"  {name}: median {statistics.median(errors):.0%}, p90 {p90:.0%} of the wait ({len(errors)} jobs)")


def main() -> None:
    with rig() as bench:
        bench.behave(openai={"latency_ms": LATENCY_MS}, anthropic={"latency_ms": LATENCY_MS})
        tenants = {plan: bench.tenant(plan, plan) for plan in BACKLOG}
        with bench.ops.connection() as connection:  # dollars are not what is measured
            connection.execute("update headrace.tenants set daily_cost_cap_usd = 1000")
            connection.execute("update headrace.plans set user_share = 1")
        for plan, n in BACKLOG.items():
            enqueue(bench, tenants[plan], n)
        bench.worker(threads=THREADS)
        started = time.monotonic()
        made: dict[tuple[float, str], list[Guess]] = {}
        asking_ms = []
        for after in ASKED_AFTER_S:
            time.sleep(max(started + after - time.monotonic(), 0))
            for plan, tenant in tenants.items():
                before = time.monotonic()
                made[after, plan] = guesses(bench, tenant)
                asking_ms.append((time.monotonic() - before) * 1000 / max(len(made[after, plan]), 1))
        bench.wait_ended(sum(BACKLOG.values()))
        claimed = {
            row["id"]: row["first_claimed_at"] for row in bench.query("select id, first_claimed_at from headrace.jobs")
        }

    def errors(after: float | None = None, plan: str | None = None, least_s: float = 0.0) -> list[float]:
        found = []
        for (when, whose), some in made.items():
            if after not in (None, when) or plan not in (None, whose):
                continue
            for one in some:
                actual = (claimed[one.job_id] - one.at).total_seconds()
                if one.starts_in_s is not None and actual > least_s:
                    found.append(abs(one.starts_in_s - actual) / actual)
        return found

    print(
        f"{sum(BACKLOG.values())} jobs of three tenants (weights 1, 2, 4), {THREADS} threads, calls of {LATENCY_MS} ms"
    )
    told("all", errors())
    told("waits of a second or more", errors(least_s=1))
    for after in ASKED_AFTER_S:
        if len(errors(after)) > 1:
            told(f"asked after {after:.0f} s of work", errors(after))
    for plan in BACKLOG:
        told(f"of the {plan} tenant", errors(plan=plan))
    unknown = sum(one.starts_in_s is None for some in made.values() for one in some)
    print(f"  without an estimate: {unknown}; a question takes {statistics.median(asking_ms):.1f} ms")


if __name__ == "__main__":
    main()
