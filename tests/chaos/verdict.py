"""Was a promise broken? Everything that a schedule left behind, held against what was asked for and what was billed."""

from __future__ import annotations

import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import psycopg

from storage.fleet import audit
from tests.chaos.load import MARK, Fate, Ledger
from tests.chaos.schedule import WORKERS
from tests.chaos.stage import CLAIM_TIMEOUT_S, Stage

_SHOWN = 5  # of each kind of breach
_ENDINGS = ("ended", "cancelled", "expired")

_AT_REST = (
    ("a job is still live", "select id, state, reason, attempts, deaths, run_at, deadline from headrace.queue"),
    ("a job has no ending", "select id from headrace.jobs where outcome is null"),
    ("a call is still open", "select id, job_id from headrace.runs where status = 'started'"),
    (
        "a call cost more than was reserved",
        "select id, over_reserved_usd from headrace.runs where over_reserved_usd > 0",
    ),
    ("a reservation is left", "select claim_id, job_id, amount_usd from headrace.reservations"),
    ("a cap still holds a reservation", "select scope, key, reserved_usd from headrace.caps where reserved_usd <> 0"),
    ("a slot is still taken", "select cap_key, claim_id from headrace.slots where claim_id is not null"),
    ("a note was not taken", "select id, lane from headrace.wakes"),
)
_JOBS = f"select id, tenant_id, (metadata ->> '{MARK}')::integer as number, ended_claim from headrace.jobs"
_COUNTS = """
    select (select count(*) from headrace.jobs) as jobs,
           (select count(*) from headrace.runs) as runs,
           (select count(*) from headrace.runs where status = 'unknown') as unknown_runs,
           (select coalesce(sum(cost_usd), 0) from headrace.runs) as cost_usd
"""
_TAKEN_BACK = """
    select detail ->> 'worker_id' as worker_id,
           extract(epoch from at - headrace.time_of((detail ->> 'claim_id')::uuid)) as held_s
    from headrace.job_events where event = 'reclaimed'
"""
_BY_OUTCOME = """
    select coalesce(outcome, 'live') as outcome, case when outcome = 'failed' then reason end as reason,
           count(*) as jobs
    from headrace.jobs group by 1, 2
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a schedule came to."""

    jobs: int
    runs: int
    unknown_runs: int
    cost_usd: str
    reclaimed: int  # jobs that were queued again because their worker seemed lost
    taken_from_the_living: int  # of them, those whose worker was not disturbed and whose claim was not overdue
    endings: dict[str, int]
    failures: dict[str, int]  # the reasons of those that failed
    longest_pause_s: float  # in which no worker settled anything


def figures(stage: Stage) -> Figures:
    """Count."""

    def read(connection: psycopg.Connection[dict[str, Any]]) -> Figures:
        counts = connection.execute(_COUNTS).fetchone() or {}
        endings: Counter[str] = Counter()
        failures: Counter[str] = Counter()
        for row in connection.execute(_BY_OUTCOME).fetchall():
            endings[row["outcome"]] += row["jobs"]
            if row["reason"] is not None:
                failures[row["reason"]] += row["jobs"]
        taken = connection.execute(_TAKEN_BACK).fetchall()
        return Figures(
            jobs=counts["jobs"],
            runs=counts["runs"],
            unknown_runs=counts["unknown_runs"],
            cost_usd=f"{counts['cost_usd']:.4f}",
            reclaimed=len(taken),
            taken_from_the_living=sum(
                row["held_s"] < CLAIM_TIMEOUT_S and row["worker_id"] not in stage.disturbed for row in taken
            ),
            endings=endings,
            failures=failures,
            longest_pause_s=_longest_pause_s(stage),
        )

    return stage.ground.retry(read, url=stage.superuser_url)


def breaches(stage: Stage, ledger: Ledger) -> list[str]:
    """Everything that should not be, in words; call it when all processes but the simulator have ended."""
    journal = stage.fleet.journal()

    def read(connection: psycopg.Connection[dict[str, Any]]) -> list[str]:
        found = [*audit.findings(connection), *audit.calls(connection, journal)]
        broken = [f"{one.check}: {one.subject} {dict(one.facts)}" for one in found]
        for what, question in _AT_REST:
            broken += [f"{what}: {row}" for row in connection.execute(question).fetchall()]
        rows = connection.execute(_JOBS).fetchall()
        broken += _against_ledger(rows, ledger)
        broken += _ended_by_others(stage, {str(row["id"]): str(row["ended_claim"]) for row in rows})
        return broken

    return [
        *stage.ground.retry(read, url=stage.urls.ops),
        *ledger.breaches,
        *_told_twice(stage),
        *(f"{one.name} ended by itself with {one.code}: {one.said}" for one in stage.own_ends),
    ]


def shortened(broken: list[str]) -> list[str]:
    """At most a few of each kind, and how many more there are."""
    seen: Counter[str] = Counter()
    shown = []
    for one in broken:
        kind = one.split(":", 1)[0]
        seen[kind] += 1
        if seen[kind] <= _SHOWN:
            shown.append(one)
    shown += [f"{kind}: {n - _SHOWN} more" for kind, n in seen.items() if n > _SHOWN]
    return shown


def _against_ledger(rows: list[dict[str, Any]], ledger: Ledger) -> Iterator[str]:
    """Each job that was acknowledged is there once; none is there that was rolled back, refused or never asked for."""
    made: dict[int | None, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        made[row["number"]].append(row)
    for number, entry in enumerate(ledger.entries):
        found = made.pop(number, [])
        if len(found) > 1:
            yield f"job made twice: number {number} is {[str(row['id']) for row in found]}"
        if entry.fate is Fate.IN and not found:
            yield f"job lost: number {number}, {entry.job_id}"
        if entry.fate is Fate.OUT and found:
            yield f"job made though it was not to be: number {number}, {found[0]['id']}"
        for row in found:
            if entry.job_id not in (None, row["id"]) or row["tenant_id"] != entry.tenant_id:
                yield f"job is another one: number {number} was {entry.job_id} and is {row['id']}"
    for left in made.values():
        yield f"job that was never asked for: {left[0]}"


def _told_twice(stage: Stage) -> Iterator[str]:
    """The workers' own words, apart from the database: no two claims say that they ended the same job."""
    ended: dict[str, set[str]] = defaultdict(set)
    for said in _worker_events(stage, "job.settled", "job.fault"):
        if said["event"] == "job.fault":
            yield f"fault in a worker: {said.get('exception', said)}"
        elif said["state"] in _ENDINGS:
            ended[said["job_id"]].add(said["claim_id"])
    for job_id, claims in ended.items():
        if len(claims) > 1:
            yield f"job ended twice: {job_id} by the claims {sorted(claims)}"


def _ended_by_others(stage: Stage, ended_by: dict[str, str]) -> Iterator[str]:
    """Apart from what the fence says of itself: no claim believes that it ended a job which another one ended."""
    for said in _worker_events(stage, "job.settled"):
        if said["state"] in _ENDINGS and said["claim_id"] != ended_by.get(said["job_id"]):
            yield f"job ended by one that had lost it: {said['job_id']} by {said['claim_id']}"


def _longest_pause_s(stage: Stage) -> float:
    times = sorted(datetime.fromisoformat(said["timestamp"]) for said in _worker_events(stage, "job.settled"))
    return max(((after - before).total_seconds() for before, after in pairwise(times)), default=0.0)


def _worker_events(stage: Stage, *events: str) -> Iterator[dict[str, Any]]:
    for name in WORKERS:
        for line in stage.fleet.log(name).splitlines():
            if any(f'"{event}"' in line for event in events):
                with contextlib.suppress(ValueError):  # cut short by a SIGKILL
                    yield json.loads(line)
