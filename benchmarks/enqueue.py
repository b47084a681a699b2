"""Enqueue, ours against Procrastinate: the same payload, the same Postgres, every commit flushed; rounds in turns.

Ours is the whole way in: the checks, the estimate, the transaction with all indexes and row security, and the turns
offered to the wire. CPU is that of this process and of Postgres with all its processes, a job.

pip install procrastinate
python -m benchmarks.enqueue             one by one and in bulk
python -m benchmarks.enqueue 51          so many rounds
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import psycopg.conninfo

from benchmarks.rig import Rig, rig

ROUNDS, SINGLES, BULK, USERS = 21, 100, 5_000, 20
PEER = "procrastinate"
ONE_BY_ONE, IN_BULK = "one by one", f"in bulk of {BULK:,}"
TEXT = "My order 48-{n} has not arrived. It was promised for Tuesday, and nobody answers the phone. Where is it now?"


@dataclass(frozen=True, slots=True)
class Round:
    """What one round took, seconds a job."""

    wall_s: float
    client_s: float
    server_s: float


def fields(tenant: UUID, n: int) -> dict[str, Any]:
    """The n-th job: its tenant and user, its feature, and the question."""
    return {
        "tenant_id": str(tenant),
        "user_id": f"user-{n % USERS}",
        "feature": "chat",
        "messages": [{"role": "user", "content": TEXT.format(n=n)}],
    }


def postmaster_of(owner: str) -> int:
    """The process id of a Postgres."""
    with psycopg.connect(owner) as connection:
        row = connection.execute("select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)").fetchone()
    assert row is not None
    return int(row[0])


def server_cpu_s(postmaster: int) -> float:
    """CPU that a Postgres took so far, s: its postmaster and every process of it that lives."""
    total_ns = 0
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    for pid in [str(postmaster), *children]:
        try:
            total_ns += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile; the pools' connections do not
            continue
    return total_ns / 1e9


def measured(postmaster: int, jobs: int, work: Callable[[], object]) -> Round:
    """One round of so many jobs."""
    server, client, wall = server_cpu_s(postmaster), time.process_time(), time.perf_counter()
    work()
    wall, client = time.perf_counter() - wall, time.process_time() - client
    return Round(wall / jobs, client / jobs, (server_cpu_s(postmaster) - server) / jobs)


@contextmanager
def procrastinate_task(bench: Rig) -> Iterator[Any]:
    """A task of Procrastinate, in a database of its own on the same server."""
    try:
        peer: Any = import_module("procrastinate")
    except ImportError as error:
        raise SystemExit("This compares with Procrastinate, which is not here: pip install procrastinate") from error
    owner = bench.endpoints.require_owner()
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f"create database {PEER}")
    connector = peer.SyncPsycopgConnector(conninfo=psycopg.conninfo.make_conninfo(owner, dbname=PEER))
    app = peer.App(connector=connector)

    def answer(**_: Any) -> None:
        """No worker runs here."""

    with app.open():
        app.schema_manager.apply_schema()
        yield app.task(name="answer")(answer)


def analyze(bench: Rig) -> None:
    """Both databases, as a scheduler (ours) or a minute of autovacuum (theirs) would by now."""
    for database in ("headrace", PEER):
        with psycopg.connect(bench.endpoints.require_owner(), dbname=database, autocommit=True) as connection:
            connection.execute("analyze")


def line(name: str, rounds: list[Round]) -> str:
    """Medians and ranges of one side."""
    per_s = sorted(1 / one.wall_s for one in rounds)
    cpu = sorted(1e6 * (one.client_s + one.server_s) for one in rounds)
    client = statistics.median(1e6 * one.client_s for one in rounds)
    server = statistics.median(1e6 * one.server_s for one in rounds)
    return (
        f"  {name:<16}{statistics.median(per_s):>8,.0f} jobs/s ({per_s[0]:,.0f} to {per_s[-1]:,.0f}); CPU "
        f"{statistics.median(cpu):,.0f} µs a job ({cpu[0]:,.0f} to {cpu[-1]:,.0f}): client {client:,.0f}, "
        f"server {server:,.0f}; {1e6 / statistics.median(cpu):,.0f} jobs a second of CPU"
    )


def ratio(ours: list[Round], theirs: list[Round], of: Callable[[Round], float]) -> str:
    """How many times theirs ours is, round by round."""
    each = sorted(of(b) / of(a) for a, b in zip(ours, theirs, strict=True))
    return f"{statistics.median(each):.2f} ({each[0]:.2f} to {each[-1]:.2f})"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with rig(scheduler=False) as bench, procrastinate_task(bench) as task:
        tenant = bench.tenant()
        postmaster = postmaster_of(bench.endpoints.require_owner())
        singles = [fields(tenant, n) for n in range(SINGLES)]
        bulk = [fields(tenant, n) for n in range(BULK)]

        def one_by_one() -> None:
            for one in singles:
                bench.client.enqueue(**one)

        def deferred_one_by_one() -> None:
            for one in singles:
                task.defer(**one)

        sides: dict[str, tuple[int, Callable[[], object], Callable[[], object]]] = {
            ONE_BY_ONE: (SINGLES, one_by_one, deferred_one_by_one),
            IN_BULK: (BULK, lambda: bench.client.enqueue_many(bulk), lambda: task.batch_defer(*bulk)),
        }
        for what, (jobs, ours, theirs) in sides.items():
            ours(), theirs()  # connections, pages
            analyze(bench)
            ours(), theirs()  # plans
            pairs = []
            for n in range(rounds):
                first, second = (ours, theirs) if n % 2 == 0 else (theirs, ours)
                pair = (measured(postmaster, jobs, first), measured(postmaster, jobs, second))
                pairs.append(pair if first is ours else pair[::-1])
            mine, other = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            print(f"{what}, {rounds} rounds in turns", flush=True)
            print(line("Headrace", mine))
            print(line("Procrastinate", other))
            wall = ratio(mine, other, lambda one: one.wall_s)
            cpu = ratio(mine, other, lambda one: one.client_s + one.server_s)
            print(f"  ratio of jobs/s {wall}, of jobs a second of CPU {cpu}", flush=True)


if __name__ == "__main__":
    main()
