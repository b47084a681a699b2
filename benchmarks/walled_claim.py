"""What a claim costs where its tenant has a wall of jobs that cannot run, against the same without the wall.

    python -m benchmarks.walled_claim              100,000 past their deadline, 100,000 under a full cap, 10^6 paused
    python -m benchmarks.walled_claim --of 0.01    a hundredth of that

Two systems stand side by side, in both a tenant A and a bystander B with jobs that can run; only in one of them A has
the wall before its own. Their claims are made in turns, one by one (one client, one connection as headrace_app); every
job that was claimed ends at once. Figures are medians of the CPU of one claim, in ms of its backend in Postgres, and
the ratio of the two: what else the machine does is not in them. Needs Linux.

The walls are put in by one INSERT as the owner, then the tables are vacuumed and analyzed. After the wall of jobs past
their deadline the scheduler's `expire` ends it, and the claims are measured again: over what it left in the indexes,
and after the scheduler's vacuum.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import psutil
import psycopg

from benchmarks.rig import Rig, rig
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import pauses, recovery
from storage.fleet.pauses import Pausable, PausableKind
from storage.jobs import jobs
from storage.jobs.jobs import ClaimedJob, Stopped
from storage.money import limits
from storage.money.limits import SlotScope

LANE, GOAL = "interactive", 1.5
CLAIMS = 300  # of each tenant, system and wall
ENDED = {"outcome": "failed", "reason": "a_benchmark", "error": {}}
PAUSED = Pausable(PausableKind.FEATURE, "legal_summary", "legal_summary")


class System:
    """One rig with A and B."""

    def __init__(self, made: Rig, stack: ExitStack) -> None:
        self.ops = made.ops
        self._app = stack.enter_context(Database(made.endpoints.database_url, connections=1))
        self._owner = stack.enter_context(psycopg.connect(made.endpoints.require_owner(), autocommit=True))
        self._worker = new_id()
        with self._app.connection() as connection:
            (row,) = connection.execute("select pg_backend_pid() as pid").fetchall()
        self._cpu = Path(f"/proc/{row['pid']}/schedstat")  # its first figure: ns on a processor
        self.a, self.b = made.tenant("A"), made.tenant("B")

    def pour(self, tenant: UUID, n: int, *, feature: str, rank: int, deadline: str | None = None) -> None:
        """So many queued jobs by one INSERT, from ``rank`` on."""
        self._owner.execute(
            "with poured as (insert into headrace.jobs (id, tenant_id, user_id, feature, lane, messages,"
            "   estimated_tokens, deadline, created_at)"
            " select uuidv7(), %(tenant)s, 'u-' || i %% 5, %(feature)s, %(lane)s,"
            '   \'[{"role": "user", "content": "How long is the coast of Norway?"}]\', 300,'
            "   headrace.now() + %(deadline)s::interval, headrace.now()"
            " from generate_series(0, %(n)s - 1) i returning id, tenant_id, user_id, deadline, created_at)"
            " insert into headrace.queue (id, tenant_id, lane, user_id, feature, state, rank, estimated_tokens,"
            "   deadline, created_at)"
            " select id, tenant_id, %(lane)s, user_id, %(feature)s, 'queued',"
            "   %(rank)s + 300 * (row_number() over (order by id) - 1), 300, deadline, created_at from poured",
            {"tenant": tenant, "feature": feature, "lane": LANE, "n": n, "rank": rank, "deadline": deadline},
        )

    def tidy(self) -> None:
        """What autovacuum would get to, done now."""
        self._owner.execute("vacuum (analyze) headrace.queue, headrace.jobs_default")
        self._owner.execute("checkpoint")

    def empty(self) -> None:
        """No job is left."""
        self._owner.execute("truncate headrace.queue, headrace.jobs")

    def claim(self, tenant: UUID) -> tuple[float, tuple[UUID, UUID] | None]:
        """One claim: ms of CPU, and what it holds."""
        claim_id = new_id()
        with self._app.connection() as connection:
            before = self._used_ms()
            got = jobs.claim(
                connection, tenant, LANE, claim_id=claim_id, worker_id=self._worker, timeout_s=3600, turns_per_tenant=64
            )
            took = self._used_ms() - before
        assert got is not None
        return took, None if isinstance(got, Stopped) else (got.job_id, claim_id)

    def _used_ms(self) -> float:
        return int(self._cpu.read_text().split()[0]) / 1_000_000

    def end(self, tenant: UUID, held: tuple[UUID, UUID]) -> None:
        """Its job ends."""
        with self._app.connection() as connection:
            jobs.settle(connection, tenant, *held, run=None, verdict="ended", outcome=ENDED)

    def hold_a_slot(self, feature: str) -> None:
        """A's cap of the feature is one, and a job of it runs."""
        self.pour(self.a, 1, feature=feature, rank=0)
        with self.ops.connection() as connection:
            limits.set_concurrency(connection, self.a, SlotScope.FEATURE, feature, 1, actor="a benchmark")
        with self._app.connection() as connection:
            got = jobs.claim(
                connection, self.a, LANE, claim_id=new_id(), worker_id=self._worker, timeout_s=3600, turns_per_tenant=64
            )
        assert isinstance(got, ClaimedJob)


def compared(what: str, without: System, walled: System, *, claims: int = CLAIMS, ends: bool = True) -> None:
    """Claims in turns, and what came of them. ``ends`` false: A's claims in the walled system find nothing to run."""
    took: dict[tuple[str, str], list[float]] = {}
    both = [("without", without), ("walled", walled)]
    for n in range(claims):
        for name, system in both if n % 2 else both[::-1]:
            for tenant, one in (("A", system.a), ("B", system.b)):
                ms, held = system.claim(one)
                took.setdefault((tenant, name), []).append(ms)
                assert (held is not None) == (ends or (tenant, name) != ("A", "walled"))
                if held is not None:
                    system.end(one, held)
    for tenant in ("A", "B"):
        bare, met = (statistics.median(took[tenant, name]) for name in ("without", "walled"))
        print(
            f"{what:<46} {tenant}: {met:.3f} ms, without {bare:.3f}, ratio {met / bare:.2f} (goal {GOAL})", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", type=float, default=1.0, help="the size of the walls, against 10^5, 10^5 and 10^6")
    given = parser.parse_args()
    wall, big_wall = round(100_000 * given.of), round(1_000_000 * given.of)
    with ExitStack() as stack:
        without, walled = both = [System(stack.enter_context(rig(scheduler=False)), stack) for _ in range(2)]

        def begin(stock: int) -> None:
            """What can run stands behind every wall."""
            for system in both:
                system.empty()
                for tenant in (system.a, system.b):
                    system.pour(tenant, stock, feature="chat", rank=10**10)

        print(f"load {psutil.getloadavg()[0]:.1f}", flush=True)
        begin(CLAIMS)
        for system in both:
            system.tidy()
        compared("no wall in either", without, walled)

        begin(3 * CLAIMS)
        walled.pour(walled.a, wall, feature="chat", rank=0, deadline="-1 s")
        for system in both:
            system.tidy()
        compared(f"{wall:,} past their deadline: nothing found", without, walled, ends=False)
        began = time.monotonic()
        with walled.ops.connection() as connection:
            while recovery.expire(connection):
                pass
        print(f"the scheduler ended them in {time.monotonic() - began:.1f} s", flush=True)
        compared("the same, ended and not yet vacuumed", without, walled, claims=50)
        began = time.monotonic()
        with walled.ops.connection() as connection:
            recovery.vacuum_queue(connection)
        print(f"the scheduler vacuumed the queue in {time.monotonic() - began:.2f} s", flush=True)
        compared("the same, ended and vacuumed", without, walled)

        begin(CLAIMS)
        for system in both:
            system.hold_a_slot("report")
        walled.pour(walled.a, wall, feature="report", rank=0)
        for system in both:
            system.tidy()
        compared(f"{wall:,} of a feature at its cap", without, walled)

        begin(CLAIMS)
        for system in both:
            with system.ops.connection() as connection:
                limits.set_concurrency(connection, system.a, SlotScope.FEATURE, "report", None, actor="a benchmark")
                pauses.pause(connection, PAUSED, actor="a benchmark")
        walled.pour(walled.a, big_wall, feature=PAUSED.key, rank=0)
        for system in both:
            system.tidy()
        compared(f"{big_wall:,} of a paused feature", without, walled)
        print(f"load {psutil.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
