"""Simulate fairness: seeded, on a logical clock, over the real Lua on a private Valkey.

    python -m benchmarks.fairness_sim                          every scenario, jobs waiting in memory
    python -m benchmarks.fairness_sim zipf flood --seed 7      some
    python -m benchmarks.fairness_sim flood split --real-claim the jobs wait in a private Postgres: headrace.claim

``--scale 0.1`` takes a tenth of the jobs. Exits 1 when a figure is not what it should be.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from benchmarks.fairness_sim.postgres import PostgresBacklog
from benchmarks.fairness_sim.scenarios import PROCESSES, SCENARIOS, SLOTS, Bench, Finding
from console.endpoints import Endpoints, start, stop
from settings import Settings
from storage.db.database import Database

#: Those that need no endless tenants.
WITH_REAL_CLAIM = ("zipf", "flood", "split", "lanes")


@contextmanager
def services() -> Iterator[Endpoints]:
    directory = Path(tempfile.mkdtemp(prefix="headrace-fair-"))
    directory.chmod(0o755)
    try:
        yield start(directory, which={"postgres", "redis"}, settings=Settings(simulator_url="http://127.0.0.1:9"))
    finally:
        stop(directory)
        shutil.rmtree(directory, ignore_errors=True)


def told(findings: list[Finding]) -> bool:
    good = True
    for one in findings:
        mark = {None: "", True: "met", False: "MISSED"}[one.met]
        value = f"{one.value:,.0f}" if one.value >= 1000 else f"{one.value:.4g}"
        if "index" in one.what:
            value = f"{one.value:.5f}"
        print(f"  {one.what:<54}{value:>12}  {one.goal:<24}{mark}", flush=True)
        good = good and one.met is not False
    return good


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness_sim")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--real-claim", action="store_true")
    chosen = parser.parse_args()
    names = chosen.scenarios or (WITH_REAL_CLAIM if chosen.real_claim else list(SCENARIOS))
    if unknown := set(names) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    if chosen.real_claim and (endless := set(names) - set(WITH_REAL_CLAIM)):
        parser.error(f"tenants without end live in memory only: {', '.join(sorted(endless))}")

    print(f"seed {chosen.seed}, scale {chosen.scale:g}, {PROCESSES} processes of {SLOTS} slots", end="")
    print(", jobs claimed in Postgres" if chosen.real_claim else ", jobs waiting in memory")
    good = True
    with ExitStack() as open_, services() as endpoints:
        server = open_.enter_context(redis.Redis.from_url(endpoints.redis_url))
        bench = Bench(endpoints.broker_url, server.flushall, seed=chosen.seed, scale=chosen.scale)
        if chosen.real_claim:
            app = open_.enter_context(Database(endpoints.database_url, connections=1))
            ops = open_.enter_context(Database(endpoints.require_ops(), connections=1))
            bench.real_backlog = lambda: PostgresBacklog(app, ops)
        for name in names:
            started = time.monotonic()
            findings = SCENARIOS[name](bench)
            print(f"{name} ({time.monotonic() - started:.0f} s)")
            good = told(findings) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
