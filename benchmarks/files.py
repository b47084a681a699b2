"""Files in and out: what a dry run takes beside the real run, and what results take beside a bare server-side cursor.

The real ``headrace`` in processes of its own, as an owner of a backfill runs it, to files. The memory is each process's
highest (Linux). The bare cursor is a program of ten lines that reads the same columns of the same jobs in one
snapshot, and writes each row as JSON.

python -m benchmarks.files               50,000 jobs
python -m benchmarks.files 10000         so many
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.rig import Rig, rig

JOBS, FEW, USERS, ROUNDS = 50_000, 5_000, 200, 3
TEXT = "My order 48-{n} has not arrived. It was promised for Tuesday, and nobody answers the phone. Where is it now?"
ANSWER = "I am sorry to hear that order 48-{n} is late. " * 6
BINARY = Path(sys.executable).with_name("headrace")


@dataclass(frozen=True, slots=True)
class Ran:
    """One command: how long it took, and its highest memory, MB."""

    wall_s: float
    peak_mb: float


def headrace(bench: Rig, *arguments: object, out: Path) -> Ran:
    """Run a command of ours with its output in a file."""
    return ran(bench, [str(BINARY), *map(str, arguments)], out=out)


def ran(bench: Rig, command: Sequence[str], *, out: Path) -> Ran:
    """Run a program with its output in a file."""
    env = {"PATH": os.environ["PATH"], "HOME": str(bench.directory), **bench.endpoints.environment()}
    started = time.perf_counter()
    with out.open("wb") as stream:
        process = subprocess.Popen(command, env=env, stdout=stream, stderr=subprocess.DEVNULL, cwd=bench.directory)
        peak_mb = 0.0
        while process.poll() is None:
            peak_mb = max(peak_mb, highest_mb(process.pid))
            time.sleep(0.02)
    if process.returncode != 0:
        raise SystemExit(f"{command[:4]} ended with {process.returncode}")
    return Ran(time.perf_counter() - started, peak_mb)


def highest_mb(pid: int) -> float:
    """The most memory that a process has had so far, MB. ``wait4`` would count its parent's, before the exec."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has ended
        return 0.0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def write_jobs(file: Path, jobs: int, users: int) -> Path:
    """A file of so many lines."""
    with file.open("w") as stream:
        for n in range(jobs):
            fields = {
                "user_id": f"user-{n % users}",
                "feature": "chat",
                "lane": "batch",
                "idempotency_key": f"{file.name}/{n}",
                "messages": [{"role": "user", "content": TEXT.format(n=n)}],
            }
            stream.write(json.dumps(fields) + "\n")
    return file


def answer_all(owner_url: str) -> None:
    """End every job with an answer and a call, by plain statements: what is measured here is reading them."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(
            "insert into headrace.runs (id, tenant_id, job_id, claim_id, attempt, user_id, feature, kind, route_rule,"
            " provider, model, price_id, max_output_tokens, input_tokens, cached_input_tokens, output_tokens,"
            " reserved_usd, cost_usd, status, settled_at)"
            " select uuidv7(), j.tenant_id, j.id, uuidv7(), 1, j.user_id, j.feature, 'answer', 'default', 'openai',"
            " 'gpt-6-luna', (select min(id) from headrace.model_prices), 1000, 40, 0, 90, 0.002, 0.000123, 'succeeded',"
            " now()"
            " from headrace.jobs j where j.outcome is null"
        )
        connection.execute(
            "insert into headrace.results (job_id, tenant_id, run_id, output, finish, max_output_tokens)"
            " select r.job_id, r.tenant_id, r.id, replace(%s, '{n}', r.job_id::text), 'complete', 1000"
            " from headrace.runs r join headrace.jobs j on j.id = r.job_id where j.outcome is null",
            [ANSWER],
        )
        connection.execute("delete from headrace.queue")
        connection.execute(
            "update headrace.jobs set outcome = 'succeeded', attempts = 1, ended_at = now() where outcome is null"
        )
        connection.execute("vacuum analyze headrace.jobs, headrace.results, headrace.runs, headrace.queue")


BARE = """
import json, sys, psycopg
url, tenant = sys.argv[1:]
with psycopg.connect(url) as connection, connection.cursor("bare") as cursor:
    cursor.itersize = 500
    cursor.execute(
        "select j.id, j.tenant_id, j.user_id, j.feature, j.lane, j.idempotency_key, j.metadata, j.outcome, j.reason,"
        " r.output, r.output_json, r.finish, j.error, j.attempts, u.provider, u.model, u.input_tokens,"
        " u.cached_input_tokens, u.output_tokens, u.cost_usd, r.simulated, j.created_at, j.ended_at"
        " from headrace.jobs j join headrace.results r on r.job_id = j.id and r.tenant_id = j.tenant_id"
        " join headrace.runs u on u.id = r.run_id and u.tenant_id = j.tenant_id where j.tenant_id = %s order by j.id",
        [tenant],
    )
    for row in cursor:
        print(json.dumps(row, default=str))
"""


def bare_cursor(bench: Rig, tenant: object, out: Path) -> Ran:
    """A program of ten lines: a server-side cursor over the same, its rows written as JSON."""
    return ran(bench, [sys.executable, "-c", BARE, bench.endpoints.require_ops(), str(tenant)], out=out)


def told(name: str, ran: Sequence[Ran], jobs: int) -> float:
    """Print one row; the median of the seconds."""
    walls = sorted(one.wall_s for one in ran)
    middle = walls[len(walls) // 2]
    peak = max(one.peak_mb for one in ran)
    spread = f"{walls[0]:.2f} to {walls[-1]:.2f}"
    load = os.getloadavg()[0]
    print(
        f"{name:<34} {middle:8.2f} s ({spread}) {jobs / middle:10,.0f} a second {peak:8.1f} MB, load {load:.1f}",
        flush=True,
    )
    return middle


def main() -> int:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else JOBS
    with rig(scheduler=False) as bench:
        directory = bench.directory
        with bench.ops.connection() as connection:  # as it is shipped: a dry run looks at the rates
            connection.execute("update headrace.plans set user_per_minute = 60")
        print(f"-- {jobs:,} lines, in")
        quoted, taken = [], []
        tenants: list[Any] = []
        for n in range(ROUNDS):
            tenants.append(bench.tenant(f"bench {n}"))
            file = write_jobs(directory / f"jobs-{n}.jsonl", jobs, USERS)
            given = ("jobs", "enqueue", "--tenant", tenants[-1], "--file", file)
            quoted.append(headrace(bench, *given, "--dry-run", out=directory / "quotes"))
            taken.append(headrace(bench, *given, out=directory / "ids"))
        dry, real = told("dry run", quoted, jobs), told("the real run", taken, jobs)
        print(f"dry run ÷ the real run: {dry / real:.2f} (goal: 2)")
        total = re.search(r"total worst case ([\d.]+) USD", (directory / "quotes").read_text())
        print(f"total: {total[1] if total else '?'} USD")

        few = bench.tenant("few")
        headrace(
            bench, "jobs", "enqueue", "--tenant", few, "--file", write_jobs(directory / "few", min(FEW, jobs), USERS),
            out=directory / "ids",
        )  # fmt: skip
        answer_all(bench.endpoints.require_owner())
        print(f"-- {jobs:,} results, out")
        target = directory / "results"
        bare, ours, small, as_csv = [], [], [], []
        for _ in range(ROUNDS):
            bare.append(bare_cursor(bench, tenants[0], directory / "bare"))
            ours.append(headrace(bench, "jobs", "results", "--tenant", tenants[0], out=target))
            small.append(headrace(bench, "jobs", "results", "--tenant", few, out=directory / "few-results"))
            as_csv.append(
                headrace(bench, "jobs", "results", "--tenant", tenants[0], "--format", "csv", out=directory / "csv")
            )
        if sum(1 for _ in target.open()) != jobs:
            raise SystemExit("results are missing")
        cursor, export = told("a bare server-side cursor", bare, jobs), told("results", ours, jobs)
        told("results as CSV", as_csv, jobs)
        told(f"results, {min(FEW, jobs):,}", small, min(FEW, jobs))
        print(f"pace ÷ the cursor's: {cursor / export:.2f} (goal: 0.5)")
        print(f"memory beside that of {min(FEW, jobs):,}: {ours[0].peak_mb - small[0].peak_mb:+.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
