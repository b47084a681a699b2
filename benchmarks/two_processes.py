"""Two worker processes against one, in alternating rounds of one run: jobs/s and CPU a job.

One process of T threads; two of T/2, so with the same number of calls in flight; and two of T. All else as in
``benchmarks.bare_loop``: jobs are enqueued before a round begins, a round lasts from the first claim to the last end.

python -m benchmarks.two_processes [--threads 32] [--latency-ms 50] [--jobs 1500] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
from uuid import UUID

from benchmarks.bare_loop import WARM_UP, Round, pipeline_round
from benchmarks.rig import Rig, rig


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_processes", description=__doc__)
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument("--latency-ms", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    sides = {
        f"1 process of {given.threads}": [given.threads],
        f"2 processes of {given.threads // 2}": [given.threads // 2] * 2,
        f"2 processes of {given.threads}": [given.threads] * 2,
    }
    rounds: dict[str, list[Round]] = {name: [] for name in sides}
    with rig() as bench:
        bench.behave(openai={"latency_ms": given.latency_ms})
        tenants = [bench.tenant(f"t{i}") for i in range(20)]
        for number in range(1, given.rounds + 1):
            for name, threads in sides.items():
                rounds[name].append(one_round(bench, tenants, threads, given.jobs))
            last = ", ".join(f"{name} {told[-1].jobs_s:.0f} jobs/s" for name, told in rounds.items())
            print(f"round {number}: {last}; load {os.getloadavg()[0]:.1f}", flush=True)
    first, *_ = rounds.values()
    for name, told in rounds.items():
        ratios = [one.jobs_s / base.jobs_s for one, base in zip(told, first, strict=True)]
        print(
            f"{name}: {statistics.median(one.jobs_s for one in told):.0f} jobs/s, {statistics.median(ratios):.2f}"
            f" ({min(ratios):.2f} to {max(ratios):.2f}) times the first;"
            f" {statistics.median(one.cpu_of_all for one in told):.2f} ms of CPU a job"
        )


def one_round(bench: Rig, tenants: list[UUID], threads: list[int], jobs: int) -> Round:
    """Start the workers, warm them up, measure, end them."""
    workers = [bench.worker(threads=n) for n in threads]
    pipeline_round(bench, workers, tenants, WARM_UP)
    measured = pipeline_round(bench, workers, tenants, jobs)
    for one in workers:
        one.terminate()
    for one in workers:
        one.wait(60)
    return measured


if __name__ == "__main__":
    main()
