"""What a scheduler's chores cost a bystander: the longest pass, and how late B's jobs are beside A's flood.

    python -m benchmarks.chores

50,000 due jobs of one tenant; 100,000 past one deadline; 4,000 tenants whose money window opens at the same moment;
3,000 users over their rate. Meanwhile B has one job due, one past its deadline and one note every 200 ms.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import psycopg

from benchmarks.rig import Rig, rig
from guards.rates import RateGuard
from queues.broker_url import open_wire, redis_client
from workers.scheduler import Scheduler

EVERY_S = 0.2
WATCHED_S = 20.0

JOBS = """
with made as (
    insert into headrace.jobs (id, tenant_id, user_id, feature, lane, messages, estimated_tokens, deadline, run_at)
    select uuidv7(), t, 'u-' || g, 'chat', 'interactive', '[]', 100, %(deadline)s::timestamptz, %(run_at)s::timestamptz
    from unnest(%(tenants)s::uuid[]) t cross join generate_series(1, %(n)s) g
    returning id, tenant_id, user_id, deadline, run_at)
insert into headrace.queue (id, tenant_id, lane, user_id, feature, state, reason, rank, estimated_tokens, run_at,
                            deadline, waits_for, need_usd)
select id, tenant_id, 'interactive', user_id, 'chat', %(state)s, 'x', 100, 100, run_at, deadline,
       replace(%(waits_for)s::text, '<user>', user_id), %(need)s::numeric
from made
"""


@dataclass
class Seen:
    """What was measured: seconds of each pass by chore, and how long each of B's things waited."""

    passes: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    due: list[float] = field(default_factory=list)
    expired: list[float] = field(default_factory=list)
    notes: list[float] = field(default_factory=list)

    def longest(self) -> tuple[str, float]:
        """The longest pass and the chore it was of."""
        return max(((name, max(times)) for name, times in self.passes.items()), key=lambda one: one[1])


def put(owner: psycopg.Connection, tenants: list[UUID], n: int, **facts: object) -> None:
    """So many jobs of each tenant, straight into the tables."""
    given = {"deadline": None, "run_at": None, "state": "scheduled", "waits_for": None, "need": None, **facts}
    owner.execute(JOBS.encode(), {"tenants": tenants, "n": n, **given})


@contextmanager
def chores(bench: Rig, seen: Seen) -> Iterator[None]:
    """A scheduler whose passes are timed."""
    wire = open_wire(bench.endpoints.broker_url, lanes=bench.settings.lane_weights)
    scheduler = Scheduler(
        database=bench.ops, wire=wire, rates=RateGuard(redis_client(bench.endpoints.redis_url)), worker_silent_s=10,
        max_deaths=3, turns_per_tenant=64, idempotency_days=30,
    )  # fmt: skip
    for chore in (one for loop in scheduler.loops for one in loop.chores):
        chore.step = timed(chore.step, seen.passes[chore.name])
    stopping = threading.Event()
    thread = threading.Thread(target=scheduler.run, args=[stopping])
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        wire.close()


def timed(step: Callable[[], object], times: list[float]) -> Callable[[], object]:
    """The step, with each of its times kept."""

    def run() -> object:
        began = time.monotonic()
        try:
            return step()
        finally:
            times.append(time.monotonic() - began)

    return run


def watch(owner: psycopg.Connection, b: UUID, seen: Seen, left: str) -> float:
    """Let B have something for each chore every 200 ms until nothing of A is left; for how long that was, s."""
    began = time.monotonic()
    while time.monotonic() - began < WATCHED_S:
        asked = time.monotonic()
        now = owner.execute("select clock_timestamp()").fetchone()
        assert now is not None
        put(owner, [b], 1, run_at=now[0])
        put(owner, [b], 1, deadline=now[0], state="queued")
        owner.execute("insert into headrace.wakes (tenant_id, lane) values (%s, 'interactive')", [b])
        waiting = {
            "due": ("select from headrace.queue where tenant_id = %s and state = 'scheduled' limit 1", seen.due),
            "late": ("select from headrace.queue where tenant_id = %s and deadline is not null limit 1", seen.expired),
            "note": ("select from headrace.wakes where tenant_id = %s limit 1", seen.notes),
        }
        while waiting:
            for name, (statement, times) in list(waiting.items()):
                if owner.execute(statement.encode(), [b]).rowcount == 0:
                    times.append(time.monotonic() - asked)
                    del waiting[name]
            time.sleep(0.01)
        if owner.execute(left.encode()).rowcount == 0:
            break
        time.sleep(max(0.0, EVERY_S - (time.monotonic() - asked)))
    return time.monotonic() - began


def scenario(name: str, owner: psycopg.Connection, bench: Rig) -> str:
    """Fill in A's flood; the statement that has a row while something of it is left."""
    a = bench.tenant("A")
    if name == "50,000 due jobs of A":
        put(owner, [a], 50_000, run_at="2020-01-01")
        return f"select from headrace.queue where tenant_id = '{a}' and state = 'scheduled' limit 1"
    if name == "100,000 expired jobs of A":
        put(owner, [a], 100_000, deadline="2020-01-01", state="queued")
        return f"select from headrace.queue where tenant_id = '{a}' limit 1"
    if name == "4,000 tenants' windows open":
        many = [bench.tenant(f"T{n}") for n in range(4000)]
        put(owner, many, 10, run_at="2020-01-01", waits_for="cap:tenant:", need=0.001)
        return "select from headrace.queue where waits_for like 'cap:%' and state = 'scheduled' limit 1"
    owner.execute("insert into headrace.rates (tenant_id, scope, key, per_minute) values (%s, 'user', '', 60)", [a])
    for _ in range(3):
        put(owner, [a], 3000, run_at="2020-01-01", waits_for="rate:user:<user>")
    return f"select from headrace.queue where tenant_id = '{a}' and state = 'scheduled' limit 1"


SCENARIOS = (
    "nothing else", "50,000 due jobs of A", "100,000 expired jobs of A", "4,000 tenants' windows open",
    "3,000 users over their rate",
)  # fmt: skip


def main() -> None:
    """Print a row for each scenario."""
    print("| beside | took, s | longest pass, s | B's due job late, s | B's expiry late, s | B's note late, s |")
    print("|---|---|---|---|---|---|")
    for name in SCENARIOS:
        with rig(scheduler=False) as bench, psycopg.connect(bench.endpoints.require_owner(), autocommit=True) as owner:
            b, seen = bench.tenant("B"), Seen()
            left = "select 1" if name == SCENARIOS[0] else scenario(name, owner, bench)
            owner.execute("analyze")
            with chores(bench, seen):
                took_s = watch(owner, b, seen, left)
            chore, longest_s = seen.longest()
        late = [
            f"{statistics.median(times):.2f}, at most {max(times):.2f}"
            for times in (seen.due, seen.expired, seen.notes)
        ]
        print(f"| {name} | {took_s:.1f} | {longest_s:.2f} ({chore}) | {' | '.join(late)} |", flush=True)


if __name__ == "__main__":
    main()
