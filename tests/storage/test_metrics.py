"""The figures of a snapshot are those of the jobs that are there, and reading them never scans a backlog."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import metrics, pauses, workers
from storage.fleet.metrics import Snapshot
from storage.fleet.pauses import Pausable, PausableKind
from storage.money import limits
from storage.money.limits import SlotScope
from tests.conftest import new_tenant
from tests.support import transactions

SILENT_S = 10.0


def snapshot(ops: Database) -> Snapshot:
    with ops.connection() as connection:
        return metrics.snapshot(connection, silent_s=SILENT_S)


def staffed(ops: Database, *, threads: int = 4) -> UUID:
    worker = new_id()
    with ops.connection() as connection:
        workers.heartbeat(connection, worker, host="here", pid=1, threads=threads)
    return worker


def put(app: Database, tenant: UUID, n: int = 1, **fields: object) -> None:
    with app.as_tenant(tenant) as connection, connection.transaction():
        transactions.enqueue_jobs(connection, tenant, *(transactions.request(**fields) for _ in range(n)))


def runnable(now: Snapshot) -> dict[str, int]:
    return {one.lane: one.runnable for one in now.lanes}


def test_an_empty_platform_has_every_lane_and_no_load(ops: Database) -> None:
    now = snapshot(ops)

    assert (now.load, now.fleet.threads, now.fleet.behind_s, now.fleet.oldest_heartbeat_s) == (0, 0, 0, 0)
    assert now.fleet.schedulers == 0
    assert runnable(now) == now.running == {"batch": 0, "interactive": 0}
    assert (now.waiting, now.ended, list(now.calls)) == ({}, {}, [])


def test_every_job_is_counted_where_it_stands(app: Database, ops: Database, tenant: UUID) -> None:
    worker = staffed(ops)
    draining = staffed(ops)
    with ops.connection() as connection:
        workers.draining(connection, draining)
        at = connection.execute("select headrace.now() + interval '1 hour' as at").fetchone()["at"]  # type: ignore[index]
    put(app, tenant, 3)
    put(app, tenant, 2, lane="batch")
    put(app, tenant, 2, run_at=at.isoformat())
    claim, planned = new_id(), transactions.planned_call()
    with app.as_tenant(tenant) as connection, connection.transaction():
        done = transactions.claim_job(connection, tenant, claim_id=claim, worker_id=worker)
        assert done is not None
        assert transactions.begin_call(connection, tenant, done.job_id, claim, planned).verdict == "granted"
        transactions.settle_job(
            connection,
            tenant,
            done.job_id,
            claim,
            transactions.answered_run(planned.run_id),
            "ended",
            **transactions.succeeded_outcome(planned.run_id),
        )
        assert transactions.claim_job(connection, tenant, claim_id=new_id(), worker_id=worker) is not None

    now = snapshot(ops)

    assert runnable(now) == {"interactive": 1, "batch": 2}
    assert now.running == {"interactive": 1, "batch": 0}
    assert now.waiting == {"asked_for": 2}
    assert now.ended == {"succeeded": 1}
    assert (now.fleet.working, now.fleet.draining, now.fleet.threads) == (1, 1, 4)
    assert now.load == pytest.approx((1 + 3) / 4), "a job for later is not load"
    (calls,) = now.calls
    assert (calls.provider, calls.model, calls.succeeded, calls.failed) == (*transactions.CHEAP, 1, 0)
    with ops.connection() as connection:
        spent = connection.execute("select sum(cost_usd) as usd from headrace.runs").fetchone()
    assert spent is not None
    assert calls.cost_usd == spent["usd"] > Decimal(0)


@pytest.mark.parametrize(
    ("kind", "name", "left"),
    [
        (PausableKind.TENANT, "", {"interactive": 2, "batch": 0}),
        (PausableKind.LANE, "interactive", {"interactive": 0, "batch": 1}),
        (PausableKind.FEATURE, "report", {"interactive": 2 + 3, "batch": 1}),
    ],
)
def test_what_is_paused_is_not_runnable(
    app: Database, ops: Database, tenant: UUID, kind: PausableKind, name: str, left: dict[str, int]
) -> None:
    put(app, tenant, 3)
    put(app, tenant, 4, feature="report")
    put(app, tenant, lane="batch")
    put(app, new_tenant(ops, "Bee"), 2)

    with ops.connection() as connection:
        pauses.pause(connection, Pausable(kind, name or str(tenant), name), actor="a test")

    assert runnable(snapshot(ops)) == left


def test_what_finds_no_slot_free_is_not_runnable(app: Database, ops: Database, tenant: UUID) -> None:
    put(app, tenant, 5)
    put(app, new_tenant(ops, "Globex"), 2)
    for slots, expected in ((2, 4), (0, 2), (9, 7)):
        with ops.connection() as connection:
            limits.set_concurrency(connection, tenant, SlotScope.LANE, "interactive", slots, actor="a test")
        assert runnable(snapshot(ops))["interactive"] == expected


def test_a_scheduler_that_is_away_is_noticed_by_what_is_due(app: Database, ops: Database, tenant: UUID) -> None:
    with ops.connection() as connection:
        at = connection.execute("select headrace.now() as at").fetchone()["at"]  # type: ignore[index]
    put(app, tenant, run_at=(at + timedelta(hours=1)).isoformat())
    assert snapshot(ops).fleet.behind_s == 0

    with ops.connection() as connection:
        connection.execute("update headrace.queue set run_at = %s", [at - timedelta(seconds=40)])

    assert snapshot(ops).fleet.behind_s >= 40


def test_a_note_that_no_scheduler_took_tells_how_late_it_is(ops: Database, tenant: UUID) -> None:
    with ops.connection() as connection:
        connection.execute(
            "insert into headrace.wakes (tenant_id, lane, created_at)"
            " values (%s, 'interactive', headrace.now() - interval '14 seconds')",
            [tenant],
        )

    assert 14 <= snapshot(ops).fleet.behind_s < 600


def test_the_next_job_of_the_tenant_that_waits_longest_tells_the_wait(
    app: Database, ops: Database, tenant: UUID
) -> None:
    put(app, tenant)
    put(app, new_tenant(ops, "Bee"))
    with ops.connection() as connection:
        connection.execute(
            "update headrace.jobs set created_at = created_at - interval '50 seconds' where tenant_id = %s", [tenant]
        )

    waits = {one.lane: one.longest_s for one in snapshot(ops).lanes}

    assert waits["interactive"] >= 50
    assert waits["batch"] == 0


def test_counts_stop_at_their_bound(
    app: Database, ops: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "MOST_RUNNABLE", 10)
    monkeypatch.setattr(metrics, "LEAST_OF_EACH", 3)
    put(app, tenant, 12)
    assert runnable(snapshot(ops))["interactive"] == 10

    put(app, new_tenant(ops, "Bee"), 2)
    assert runnable(snapshot(ops))["interactive"] == 5 + 2, "half of the look for each"

    for name in ("Cee", "Dee", "Eee"):
        put(app, new_tenant(ops, name))
    assert runnable(snapshot(ops))["interactive"] == 3 + 2 + 3, "a fifth would be less than is looked at anyway"


def test_no_figure_needs_a_scan(ops: Database) -> None:
    """Where an index is made for the question, the planner can answer by it alone."""
    given = {"most": 10, "of_each": 3, "silent_s": 10, "window_s": 60}
    with ops.connection() as connection, connection.transaction():
        connection.execute("set local enable_seqscan = off")
        for file in sorted((Path(metrics.__file__).parent / "queries" / "metrics").glob("*.sql")):
            rows = connection.execute("explain " + file.read_text("utf-8"), given).fetchall()  # type: ignore[call-overload]
            plan = "\n".join(row["QUERY PLAN"] for row in rows)
            assert not re.search(r"Seq Scan on (queue|jobs|runs|spend_daily)", plan), f"{file.name}: {plan}"
            if file.stem in ("ended", "calls"):
                assert re.search(r"Index Cond: \((id|day) >?= \(InitPlan", plan), f"{file.name}: {plan}"
