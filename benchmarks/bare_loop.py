"""The whole pipeline against a bare loop of the SDK's ``responses.create``: jobs/s of both, in alternating rounds.

Same simulator, same prompts, same latency, same number of calls in flight, same number of processes; Postgres and
Valkey run on the same cores all the while. The pipeline's jobs are enqueued before a round begins, in a paused lane; a
round lasts from the first claim to the last end. CPU a job says what a busy machine hides: ms of all processes.

python -m benchmarks.bare_loop                                  64 in flight, calls of 50 ms, 1 process
python -m benchmarks.bare_loop --in-flight 256 --latency-ms 500 --processes 2
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import openai

from benchmarks.rig import Rig, rig
from queues.broker_url import open_wire
from storage.fleet import pauses
from storage.fleet.pauses import Pausable, PausableKind

MODEL, LANE, WARM_UP = "gpt-6-luna", Pausable(PausableKind.LANE, "interactive", "interactive"), 400
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Round:
    """What one side did in one round."""

    jobs_s: float
    cpu_ms: dict[str, float]  # a job, by kind of process

    @property
    def cpu_of_all(self) -> float:
        return sum(self.cpu_ms.values())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bare_loop", description=__doc__)
    parser.add_argument("--in-flight", type=int, default=64, help="calls at once, of all processes together")
    parser.add_argument("--latency-ms", type=int, default=50, help="of the simulator's answer")
    parser.add_argument("--processes", type=int, default=1, help="worker processes, and processes of the bare loop")
    parser.add_argument("--jobs", type=int, default=2000, help="a round")
    parser.add_argument("--tenants", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop", metavar="URL", help=argparse.SUPPRESS)  # a child: be the bare loop
    given = parser.parse_args()
    if given.loop:
        bare_loop(given.loop, given.in_flight)
        return
    with rig() as bench:
        compare(bench, given)


def compare(bench: Rig, given: argparse.Namespace) -> None:
    """Alternate the two sides and print what came of it."""
    threads = given.in_flight // given.processes
    bench.behave(openai={"latency_ms": given.latency_ms})
    tenants = [bench.tenant(f"t{i}") for i in range(given.tenants)]
    workers = [bench.worker(threads=threads) for _ in range(given.processes)]
    loops = [Loop(f"{bench.endpoints.simulator_url}/v1", threads) for _ in range(given.processes)]
    try:
        pipeline_round(bench, workers, tenants, WARM_UP)
        bare_round(bench, loops, WARM_UP)
        rounds = []
        for number in range(1, given.rounds + 1):
            bare = bare_round(bench, loops, given.jobs)
            ours = pipeline_round(bench, workers, tenants, given.jobs)
            rounds.append((ours, bare))
            print(
                f"round {number}: pipeline {ours.jobs_s:.0f} jobs/s, bare loop {bare.jobs_s:.0f}, ratio"
                f" {ours.jobs_s / bare.jobs_s:.2f}; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    finally:
        for loop in loops:
            loop.end()
    print(f"{given.in_flight} in flight, {given.processes} process(es) a side, calls of {given.latency_ms} ms")
    print(f"pipeline   {_told([ours.jobs_s for ours, _ in rounds])} jobs/s")
    print(f"bare loop  {_told([bare.jobs_s for _, bare in rounds])} calls/s")
    print(f"ratio      {_told([ours.jobs_s / bare.jobs_s for ours, bare in rounds], 2)}")
    print(f"CPU ratio  {_told([bare.cpu_of_all / ours.cpu_of_all for ours, bare in rounds], 2)} (bare / pipeline)")
    for name, side in (("pipeline", [ours for ours, _ in rounds]), ("bare loop", [bare for _, bare in rounds])):
        parts = (f"{kind} {statistics.median(one.cpu_ms[kind] for one in side):.2f}" for kind in side[0].cpu_ms)
        print(f"ms of CPU a job, {name}: {', '.join(parts)}")


def pipeline_round(bench: Rig, workers: list[subprocess.Popen[bytes]], tenants: list[UUID], jobs: int) -> Round:
    """Enqueue in a paused lane, let it go, wait for the last end."""
    with bench.ops.connection() as connection:
        pauses.pause(connection, LANE, actor="a benchmark")
    accepted = bench.client.enqueue_many(
        {"tenant_id": tenants[i % len(tenants)], "user_id": f"u-{i % 7}", "feature": "chat", "max_output_tokens": 100,
         "messages": asked(i)} for i in range(jobs)
    )  # fmt: skip
    assert len(accepted.job_ids) == jobs, accepted
    before = cpu_s(bench, workers)
    (began,) = bench.query("select clock_timestamp() as at")
    with bench.ops.connection() as connection:
        pauses.resume(connection, LANE, actor="a benchmark")
        wire = open_wire(bench.endpoints.broker_url, lanes=bench.settings.lane_weights)
        for lane, turns in pauses.turns(connection, LANE, turns_per_tenant=64).items():
            wire.refill(lane, {str(tenant): n for tenant, n in turns.items()})
        wire.close()
    while bench.query("select exists (select from headrace.queue) as busy")[0]["busy"]:
        time.sleep(0.05)
    after = cpu_s(bench, workers)
    (row,) = bench.query(
        "select extract(epoch from max(ended_at) - min(first_claimed_at)) as s, count(*) as n from headrace.jobs"
        f" where outcome = 'succeeded' and first_claimed_at >= '{began['at'].isoformat()}'"
    )
    assert row["n"] == jobs, f"{row['n']} of {jobs} jobs succeeded"
    return Round(jobs / float(row["s"]), {kind: (after[kind] - before[kind]) * 1000 / jobs for kind in after})


def bare_round(bench: Rig, loops: list[Loop], calls: int) -> Round:
    """Every loop makes its part of the calls."""
    processes = [loop.process for loop in loops]
    before = cpu_s(bench, processes)
    for loop in loops:
        loop.go(calls // len(loops))
    taken_s = max(loop.took_s() for loop in loops)
    after = cpu_s(bench, processes)
    made = calls // len(loops) * len(loops)
    return Round(made / taken_s, {kind: (after[kind] - before[kind]) * 1000 / made for kind in after})


def bare_loop(base_url: str, threads: int) -> None:
    """The loop itself, as one would write it: a client, a pool of threads, ``responses.create``."""
    client = openai.OpenAI(api_key="sk-benchmark", base_url=base_url, max_retries=0)

    def call(number: int) -> None:
        answer = client.responses.create(
            model=MODEL, input=asked(number), max_output_tokens=100, store=False, metadata={"feature": "chat"}
        )
        assert answer.output_text

    with ThreadPoolExecutor(threads) as pool:
        for line in sys.stdin:
            started = time.monotonic()
            for _ in pool.map(call, range(int(line))):
                pass
            print(time.monotonic() - started, flush=True)


class Loop:
    """A process that runs the bare loop."""

    def __init__(self, base_url: str, threads: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare_loop", "--loop", base_url, "--in-flight", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def go(self, calls: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"%d\n" % calls)
        self.process.stdin.flush()

    def took_s(self) -> float:
        assert self.process.stdout is not None
        return float(self.process.stdout.readline())

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def asked(number: int) -> Any:
    """The messages of one job: about 60 tokens."""
    text = (
        f"Order {number} was to arrive on Monday and is not here. The tracking page has said 'in transit' for six days."
        " What can I tell the customer, and what should we do about it now? Answer in two or three sentences."
    )
    return [{"role": "user", "content": text}]


def cpu_s(bench: Rig, processes: Iterable[subprocess.Popen[bytes]]) -> dict[str, float]:
    """CPU seconds used so far, by kind of process; ``client``: those that make the calls."""
    mine = {process.pid for process in processes}
    used = {"client": 0.0, "simulator": 0.0, "postgres": 0.0, "valkey": 0.0}
    directory = str(bench.directory)
    postmasters: set[int] = set()
    facts = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        pid, parent = int(place.name), int(fields[1])
        # of a postmaster: its own time and that of backends that have ended
        facts[pid] = (parent, line, sum(map(int, fields[11:13])) * _TICK_S, sum(map(int, fields[13:15])) * _TICK_S)
        if "postgres" in line and directory in line:
            postmasters.add(pid)
    for pid, (parent, line, own, of_children) in facts.items():
        if pid in mine:
            used["client"] += own
        elif pid in postmasters:
            used["postgres"] += own + of_children
        elif parent in postmasters:
            used["postgres"] += own
        elif directory in line and ("valkey" in line or "redis" in line):
            used["valkey"] += own
        elif directory in line and "simulator" in line:
            used["simulator"] += own
    return used


def _told(figures: list[float], digits: int = 0) -> str:
    return f"{statistics.median(figures):.{digits}f} ({min(figures):.{digits}f} to {max(figures):.{digits}f})"


if __name__ == "__main__":
    main()
