"""CPU a job by how many tenants there are and how long the backlog is; Redis's memory with all of it queued.

    python -m benchmarks.growth                    10,000 tenants, and a backlog of a million
    python -m benchmarks.growth 2000 100000        fewer

A job is a turn taken, claim, begin, settle and the charges' corrections, by one client on one connection, with no
provider. CPU in ms: this process, every process of Postgres, and Valkey. Two systems stand side by side, a small one
and a big one, and are measured in turns, so that what else the machine does meets both.

The long backlog is put in by one INSERT as the owner; the rows are compared with what enqueue makes of the same.
Tables are analyzed as the scheduler does it, and vacuumed once after the filling, as autovacuum would do in its time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import UUID

import psutil
import psycopg
import redis

from benchmarks.figures import keep
from benchmarks.hot_tenant import books, call
from benchmarks.rig import Rig, rig
from queues.broker_url import open_wire
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import recovery
from storage.jobs import jobs
from storage.jobs.jobs import ClaimedJob
from storage.money import runs
from workers.turn_account import TurnAccount

LANE, W = "interactive", 64
FEW_TENANTS, SHORT, OWNERS, USERS = 10, 1_000, 100, 5
JOBS, ROUNDS = 200, 18  # measured a round and system
CHUNK = 2_000
GOAL = 1.2


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU time so far or of one job, s or ms."""

    client: float
    postgres: float
    valkey: float

    @property
    def total(self) -> float:
        return self.client + self.postgres + self.valkey


class System:
    """One rig, one connection, one wire."""

    def __init__(self, made: Rig, stack: ExitStack) -> None:
        self._ops = made.ops
        self._app = stack.enter_context(Database(made.endpoints.database_url, connections=1))
        self._server = stack.enter_context(redis.Redis.from_url(made.endpoints.redis_url))
        self._owner = stack.enter_context(psycopg.connect(made.endpoints.require_owner(), autocommit=True))
        self._owner.execute("update headrace.plans set user_share = 1")
        (backend,) = self._owner.execute("select pg_backend_pid()").fetchone() or (0,)
        self._postmaster = psutil.Process(psutil.Process(backend).ppid())
        self._wire = open_wire(made.endpoints.broker_url, lanes=made.settings.lane_weights)
        stack.callback(self._wire.close)
        self._account = TurnAccount(self._wire, turns_per_tenant=W)
        self._worker = new_id()

    def tenants(self, n: int) -> list[UUID]:
        """So many new ones, that may spend."""
        ids = [new_id() for _ in range(n)]
        with self._ops.connection() as connection:
            connection.execute(
                "insert into headrace.tenants (id, name, plan, daily_cost_cap_usd, shares_name)"
                " select id, 'tenant ' || n, 'enterprise', 1000000, true"
                " from unnest(%s::uuid[]) with ordinality t(id, n)",
                [ids],
            )
        return ids

    def put(self, tenants: Sequence[UUID], each: int) -> None:
        """So many jobs for each of these tenants, by enqueue."""
        for tenant in tenants:
            for start in range(0, each, CHUNK):
                rows = [
                    {"id": str(new_id()), "user_id": f"u-{i % USERS}", "feature": "chat", "estimated_tokens": 300,
                     "messages": [{"role": "user", "content": "How long is the coast of Norway?"}]}
                    for i in range(start, min(start + CHUNK, each))
                ]  # fmt: skip
                with self._app.connection() as connection:
                    jobs.enqueue_batch(connection, tenant, rows, wake=False)

    def pour(self, tenants: Sequence[UUID], each: int) -> None:
        """The same by one INSERT as the owner, into the empty queues of these tenants."""
        self._owner.execute(
            "with poured as (insert into headrace.jobs (id, tenant_id, user_id, feature, lane, messages,"
            "   estimated_tokens, created_at)"
            " select uuidv7(), t, 'u-' || i %% %(users)s, 'chat', %(lane)s, %(messages)s::jsonb, 300, headrace.now()"
            " from unnest(%(tenants)s::uuid[]) t, generate_series(0, %(each)s - 1) i"
            " returning id, tenant_id, user_id, created_at)"
            " insert into headrace.queue (id, tenant_id, lane, user_id, feature, state, rank, estimated_tokens,"
            "   created_at)"
            " select id, tenant_id, %(lane)s, user_id, 'chat', 'queued',"
            "   300 * (row_number() over (partition by tenant_id, user_id order by id) - 1), 300, created_at"
            " from poured",
            {"users": USERS, "lane": LANE, "tenants": list(tenants), "each": each,
             "messages": '[{"role": "user", "content": "How long is the coast of Norway?"}]'},
        )  # fmt: skip

    def compare_both_ways_in(self) -> None:
        """What is poured differs from what is enqueued in nothing but identity and time."""
        enqueued, poured = self.tenants(2)
        self.put([enqueued], 4 * USERS)
        self.pour([poured], 4 * USERS)
        for table in ("jobs", "queue"):
            ways = [
                self._owner.execute(
                    f"select to_jsonb(x) - array['id', 'tenant_id', 'created_at'] from headrace.{table} x"
                    " where tenant_id = %s order by 1",
                    [tenant],
                ).fetchall()
                for tenant in (enqueued, poured)
            ]
            assert ways[0] == ways[1], f"what is poured into {table} is not what enqueue writes"

    def tidy(self) -> None:
        """What autovacuum and the checkpointer would get to: done now, so that they do not do it while we measure."""
        self._owner.execute("vacuum (analyze) headrace.queue, headrace.jobs_default, headrace.tenants")
        self._owner.execute("checkpoint")

    def settle_in(self, tenants: Sequence[UUID]) -> None:
        """What the scheduler does: figures for the planner; and turns on the wire, for these tenants alone."""
        with self._ops.connection() as connection:
            recovery.analyze_grown(connection)
        rows = self._owner.execute(
            "select t, (select count(*) from (select from headrace.queue q where q.tenant_id = t and q.lane = %s"
            " and q.state = 'queued' limit %s) x) from unnest(%s::uuid[]) t",
            [LANE, W, list(tenants)],
        ).fetchall()
        self._server.flushall()
        self._wire.refill(LANE, {str(tenant): turns for tenant, turns in rows})

    def work(self, n: int) -> None:
        """So many jobs, from the turn to the settled books."""
        for _ in range(n):
            (turn,) = self._wire.take(LANE, 1)
            tenant, claim_id = UUID(turn.tenant), new_id()
            with self._app.connection() as connection:
                job = jobs.claim(
                    connection, tenant, LANE, claim_id=claim_id, worker_id=self._worker, timeout_s=3600,
                    turns_per_tenant=W,
                )  # fmt: skip
            assert isinstance(job, ClaimedJob)
            charged = self._account.claimed(turn, job)
            planned = call()
            run, outcome = books(planned)
            with self._app.connection() as connection:
                assert runs.begin(connection, tenant, job.job_id, claim_id, planned).verdict == "granted"
            with self._app.connection() as connection:
                jobs.settle(connection, tenant, job.job_id, claim_id, run=run, verdict="ended", outcome=outcome)
            self._account.settled(turn, job, 300, cpu_s=0.0, charged=charged, queued=False)

    def measured(self) -> Cpu:
        """CPU a job, ms."""
        self.work(JOBS // 10)  # the processor's caches hold other data
        servers, mine = self._servers(), time.process_time()
        self.work(JOBS)
        mine = time.process_time() - mine
        postgres, valkey = (after - before for after, before in zip(self._servers(), servers, strict=True))
        return Cpu(*(1_000 * spent / JOBS for spent in (mine, postgres, valkey)))

    def sweep(self) -> str:
        """What the scheduler does each second, the medians of five: how long Postgres and the wire take, ms."""
        asked, told = [], []
        for _ in range(5):
            started = time.perf_counter()
            with self._ops.connection() as connection:
                wanted = recovery.turns_wanted(connection, turns_per_tenant=W)
            known = time.perf_counter()
            for lane, turns in wanted.items():
                self._wire.refill(lane, {str(tenant): n for tenant, n in turns.items()})
            asked.append((known - started) * 1_000)
            told.append((time.perf_counter() - known) * 1_000)
        return f"{statistics.median(asked):.1f} ms to ask + {statistics.median(told):.1f} ms to tell"

    def memory(self) -> int:
        """What Valkey has in use, bytes."""
        return int(self._server.info("memory")["used_memory"])

    def _servers(self) -> tuple[float, float]:
        postgres = self._postmaster.cpu_times()
        used = postgres.user + postgres.system + postgres.children_user + postgres.children_system
        for child in self._postmaster.children():
            times = child.cpu_times()
            used += times.user + times.system
        info = self._server.info("cpu")
        return used, float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def compared(what: str, small: tuple[System, list[UUID]], big: tuple[System, list[UUID]], file: str | None) -> None:
    """Rounds in turns; prints each system's CPU and the ratio of the two. The small one is topped up each round."""
    found: dict[str, list[Cpu]] = {"small": [], "big": []}
    pair = (("small", small), ("big", big))
    for n in range(ROUNDS):
        small[0].put(small[1], JOBS * 11 // 10 // len(small[1]))
        for name, (system, tenants) in (pair, pair[::-1])[n % 2]:
            system.settle_in(tenants)
            found[name].append(system.measured())
    for name, rounds in found.items():
        parts = "   ".join(
            f"{part} {statistics.median(getattr(c, part) for c in rounds):6.3f}" for part in Cpu.__slots__
        )
        print(
            f"{what:<24} {name:<6} {parts}   together {statistics.median(c.total for c in rounds):6.3f} ms", flush=True
        )
    ratios = [more.total / less.total for less, more in zip(found["small"], found["big"], strict=True)]
    print(
        f"CPU a job, {what}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; goal {GOAL})",
        flush=True,
    )
    keep(file, "growth", what, ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tenants", type=int, nargs="?", default=10_000)
    parser.add_argument("backlog", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--json", metavar="FILE", help="append the figures to this file, for benchmarks.plots")
    given = parser.parse_args()
    started = time.monotonic()
    with ExitStack() as stack:
        small, big = (System(stack.enter_context(rig(scheduler=False)), stack) for _ in range(2))
        print(f"load {psutil.getloadavg()[0]:.1f}", flush=True)
        empty = big.memory()
        big.compare_both_ways_in()

        few, crowd = small.tenants(FEW_TENANTS), big.tenants(given.tenants)
        small.put(few, 2)
        small.settle_in(few)
        small.work(len(few))  # everybody's books are open
        big.put(crowd, 2 + ROUNDS * JOBS * 11 // 10 // len(crowd))
        big.settle_in(crowd)
        big.work(len(crowd))
        big.tidy()
        small.tidy()
        compared(f"{given.tenants:,} tenants ÷ {FEW_TENANTS}", (small, few), (big, crowd), given.json)
        print(f"a sweep, small: {small.sweep()}; big: {big.sweep()}", flush=True)

        owners, holders = small.tenants(OWNERS), big.tenants(OWNERS)
        small.put(owners, SHORT // OWNERS)
        began = time.monotonic()
        big.pour(holders, given.backlog // OWNERS)
        big.tidy()
        print(f"{given.backlog:,} jobs poured in in {time.monotonic() - began:.0f} s", flush=True)
        big.settle_in(holders)
        grown = (big.memory() - empty) / 2**20
        for system, tenants in ((small, owners), (big, holders)):
            system.settle_in(tenants)
            system.work(OWNERS)
        compared(f"backlog {given.backlog:,} ÷ {SHORT:,}", (small, owners), (big, holders), given.json)
        print(f"a sweep, small: {small.sweep()}; big: {big.sweep()}", flush=True)
        print(f"Valkey with {given.backlog:,} jobs of {OWNERS} tenants queued: {grown:.2f} MB above empty")
        print(f"load {psutil.getloadavg()[0]:.1f}, {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
