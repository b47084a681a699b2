"""Who takes part: one rig with our side and the peers on it, and the arguments that these benchmarks share."""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

import psutil
import psycopg
from psycopg import conninfo

from benchmarks.peers import job, peer
from benchmarks.peers.guest import Guest
from benchmarks.peers.ours import Ours
from benchmarks.peers.reports import Reports
from benchmarks.peers.side import Side
from benchmarks.rig import rig


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every benchmark here understands."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="append the figures to this file, for benchmarks.plots")
    parser.add_argument(
        "--only", nargs="*", choices=sorted(peer.PEERS), default=sorted(peer.PEERS), help="peers; none: ours alone"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds in turns (3)")
    return parser


@contextmanager
def sides(names: Iterable[str]) -> Iterator[tuple[Ours, list[Guest]]]:
    """Our side and these peers, on one Postgres and one Valkey."""
    with rig() as bench, ExitStack() as stack:
        owner = bench.endpoints.require_owner()
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute("create database bench_peers")
        os.environ[peer.POSTGRES] = conninfo.make_conninfo(owner, dbname="bench_peers")
        os.environ[peer.REDIS] = bench.endpoints.redis_url
        reports = stack.enter_context(closing(Reports(bench.directory / "reports.sock")))
        os.environ[job.REPORT_TO] = str(reports.path)
        guests = [stack.enter_context(closing(Guest(name, reports, bench.directory))) for name in names]
        print(f"load {psutil.getloadavg()[0]:.1f}", flush=True)
        yield Ours(bench), guests


def in_turns(everybody: Sequence[Side], rounds: int, measure: Callable[[Side], float]) -> dict[str, list[float]]:
    """One figure of every side a round; every second round goes backwards, so that no side is always the last."""
    found: dict[str, list[float]] = {side.name: [] for side in everybody}
    for n in range(rounds):
        for side in everybody if n % 2 == 0 else reversed(everybody):
            found[side.name].append(measure(side))
            side.empty()
    return found


def ranged(values: Sequence[float], digits: int = 0) -> str:
    """``median (least to most)``."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def p99(values: Iterable[float]) -> float:
    """The value that 99 % do not pass."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
