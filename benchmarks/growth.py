"""CPU a job by how many tenants there are and how long the backlog is; Redis's memory with all of it queued.

    python -m benchmarks.growth                    up to 2,000 tenants and a backlog of 100,000
    python -m benchmarks.growth 10000 1000000      up to 10,000 and a million (a quarter of an hour)

A job is a turn taken, claim, begin, settle and the charges' corrections, by one client on one connection, with no
provider. CPU in ms: this process, every process of Postgres, and Valkey. Tables are analyzed as the scheduler does it.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from uuid import UUID

import psutil
import psycopg
import redis

from benchmarks.hot_tenant import books, call
from benchmarks.rig import Rig, rig
from queues.broker_url import open_wire
from queues.turns import Wire
from storage import jobs, recovery, runs
from storage.database import Database
from storage.ids import new_id
from workers.turn_account import TurnAccount

LANE, W = "interactive", 64
MEASURED, FEW_TENANTS, SHORT, OWNERS = 1_000, 10, 1_000, 100
CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU time so far or of one job, s or ms."""

    client: float
    postgres: float
    valkey: float

    @property
    def total(self) -> float:
        return self.client + self.postgres + self.valkey


class Bench:
    """One rig, one connection, one wire."""

    def __init__(self, made: Rig, app: Database, wire: Wire, server: redis.Redis, postmaster: int) -> None:
        self._rig, self._app, self._wire, self._server = made, app, wire, server
        self._postmaster = psutil.Process(postmaster)
        self._account = TurnAccount(wire, turns_per_tenant=W)
        self._worker = new_id()

    def tenants(self, n: int) -> list[UUID]:
        """So many new ones, that may spend."""
        made = [self._rig.tenant(f"t{i}") for i in range(n)]
        with self._rig.ops.connection() as connection:
            connection.execute(
                "update headrace.tenants set daily_cost_cap_usd = 1000000 where daily_cost_cap_usd < 10000"
            )
        return made

    def put(self, tenant: UUID, n: int) -> None:
        """Jobs of a tenant."""
        for start in range(0, n, CHUNK):
            rows = [
                {"id": str(new_id()), "user_id": f"u-{i % 5}", "feature": "chat", "estimated_tokens": 300,
                 "messages": [{"role": "user", "content": "How long is the coast of Norway?"}]}
                for i in range(start, min(start + CHUNK, n))
            ]  # fmt: skip
            with self._app.connection() as connection:
                jobs.enqueue_batch(connection, tenant, rows, wake=False)

    def settle_in(self, tenants: list[UUID]) -> None:
        """What the scheduler does: figures for the planner; and turns on the wire, for these tenants alone."""
        with self._rig.ops.connection() as connection:
            recovery.analyze_grown(connection)
            rows = connection.execute(
                "select tenant_id, least(count(*), %s)::integer as turns from headrace.queue"
                " where state = 'queued' and tenant_id = any(%s) group by 1",
                [W, tenants],
            ).fetchall()
        self._server.flushall()
        self._wire.refill(LANE, {str(row["tenant_id"]): row["turns"] for row in rows})

    def work(self, n: int) -> None:
        """So many jobs, from the turn to the settled books."""
        done = 0
        while done < n:
            (turn,) = self._wire.take(LANE, 1)
            tenant, claim_id = UUID(turn.tenant), new_id()
            with self._app.connection() as connection:
                job = jobs.claim(
                    connection, tenant, LANE, claim_id=claim_id, worker_id=self._worker, timeout_s=3600,
                    turns_per_tenant=W,
                )  # fmt: skip
            assert job is not None
            self._account.claimed(turn, job)
            planned = call()
            run, outcome = books(planned)
            with self._app.connection() as connection:
                assert runs.begin(connection, tenant, job.job_id, claim_id, planned).verdict == "granted"
            with self._app.connection() as connection:
                jobs.settle(connection, tenant, job.job_id, claim_id, run=run, verdict="ended", outcome=outcome)
            self._account.settled(turn, job, 300, queued=False)
            done += 1

    def measured(self, name: str) -> float:
        """CPU a job, ms."""
        self.work(MEASURED // 10)  # connections open, plans are made
        before = self._cpu()
        self.work(MEASURED)
        after = self._cpu()
        ms = Cpu(*(1000 * (getattr(after, part) - getattr(before, part)) / MEASURED for part in Cpu.__slots__))
        print(
            f"{name:<34} client {ms.client:6.3f}   Postgres {ms.postgres:6.3f}   Valkey {ms.valkey:6.3f}"
            f"   together {ms.total:6.3f} ms",
            flush=True,
        )
        return ms.total

    def memory(self) -> int:
        """What Valkey has in use, bytes."""
        return int(self._server.info("memory")["used_memory"])

    def wipe(self) -> None:
        """Empty the wire."""
        self._server.flushall()

    def _cpu(self) -> Cpu:
        mine = time.process_time()
        postgres = self._postmaster.cpu_times()
        used = postgres.user + postgres.system + postgres.children_user + postgres.children_system
        for child in self._postmaster.children():
            times = child.cpu_times()
            used += times.user + times.system
        info = self._server.info("cpu")
        return Cpu(mine, used, float(info["used_cpu_user"]) + float(info["used_cpu_sys"]))


def main() -> None:
    many, long = (int(sys.argv[i]) if len(sys.argv) > i else usual for i, usual in ((1, 2_000), (2, 100_000)))
    with (
        rig(scheduler=False) as made,
        Database(made.endpoints.database_url, connections=1) as app,
        redis.Redis.from_url(made.endpoints.redis_url) as server,
        psycopg.connect(made.endpoints.require_owner(), autocommit=True) as owner,
    ):
        owner.execute("update headrace.plans set user_share = 1")
        (backend,) = owner.execute("select pg_backend_pid()").fetchone() or (0,)
        wire = open_wire(made.endpoints.broker_url, lanes=made.settings.lane_weights)
        bench = Bench(made, app, wire, server, psutil.Process(backend).ppid())
        print(f"load {psutil.getloadavg()[0]:.1f}")

        owners = bench.tenants(OWNERS)
        for tenant in owners:
            bench.put(tenant, (SHORT + MEASURED * 11 // 10) // OWNERS)
        bench.settle_in(owners)
        short = bench.measured(f"{OWNERS} tenants, backlog {SHORT:,}")

        few = bench.tenants(FEW_TENANTS)
        for tenant in few:
            bench.put(tenant, MEASURED * 12 // 10 // FEW_TENANTS)
        bench.settle_in(few)
        at_few = bench.measured(f"{FEW_TENANTS} tenants")

        each = 2 + MEASURED * 12 // 10 // many
        crowd = bench.tenants(many)
        for tenant in crowd:
            bench.put(tenant, each)
        bench.settle_in(crowd)
        bench.work(many)  # everybody's books are open
        at_many = bench.measured(f"{many:,} tenants")
        print(f"CPU a job, {many:,} tenants ÷ {FEW_TENANTS}: {at_many / at_few:.2f}")

        bench.wipe()
        empty = bench.memory()
        started = time.monotonic()
        for tenant in owners:
            bench.put(tenant, long // OWNERS)
        took = time.monotonic() - started
        bench.settle_in(owners)
        grown = (bench.memory() - empty) / 2**20
        at_long = bench.measured(f"{OWNERS} tenants, backlog {long:,}")
        print(f"CPU a job, backlog {long:,} ÷ {SHORT:,}: {at_long / short:.2f} ({long / took:,.0f} jobs/s put in)")
        print(f"Valkey with {long:,} jobs of {OWNERS} tenants queued: {grown:.2f} MB above empty")
        print(f"load {psutil.getloadavg()[0]:.1f}")
        wire.close()


if __name__ == "__main__":
    main()
