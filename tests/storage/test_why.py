"""Why does a job wait? Each reason by a job that waits for just that; and what stands before it is counted."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from console.terminal import waiting
from storage.db.connect import Connection
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import pauses, schedulers, workers
from storage.fleet.pauses import Pausable, PausableKind
from storage.jobs import why
from storage.jobs.why import Explanation, Why
from storage.money import limits
from storage.money.limits import SlotScope
from tests.conftest import new_tenant
from tests.support import transactions


def explained(ops: Database, job_id: UUID) -> Explanation:
    with ops.connection() as connection:
        told = why.explain(connection, job_id, silent_s=10)
    assert told is not None
    assert waiting.sentence(told), "there are words for every reason"
    return told


def staffed(ops: Database, *, threads: int = 1) -> UUID:
    """A live worker; its id."""
    worker = new_id()
    with ops.connection() as connection:
        workers.heartbeat(connection, worker, host="here", pid=1, threads=threads)
    return worker


@pytest.fixture(autouse=True)
def a_scheduler(ops: Database) -> None:
    """A live scheduler: without one, that is the reason."""
    with ops.connection() as connection:
        schedulers.heartbeat(connection, new_id(), host="here", pid=1, woken_by=schedulers.BY_SIGNAL)


def put(app: Database, tenant: UUID, n: int = 1, **fields: object) -> list[UUID]:
    with app.as_tenant(tenant) as connection, connection.transaction():
        done = transactions.enqueue_jobs(connection, tenant, *(transactions.request(**fields) for _ in range(n)))
    return [one.job_id for one in done if one.job_id is not None]


def run(app: Database, tenant: UUID, worker: UUID) -> tuple[UUID, UUID]:
    """Claim the next job; its id and the claim."""
    claim = new_id()
    with app.as_tenant(tenant) as connection, connection.transaction():
        job = transactions.claim_job(connection, tenant, claim_id=claim, worker_id=worker)
    assert job is not None
    return job.job_id, claim


def deferred(connection: Connection, tenant: UUID, worker: UUID, verdict: str, **outcome: object) -> UUID:
    job_id, claim = new_id(), new_id()
    transactions.enqueue_jobs(connection, tenant, transactions.request(id=str(job_id)))
    job = transactions.claim_job(connection, tenant, claim_id=claim, worker_id=worker)
    assert job is not None
    assert job.job_id == job_id
    assert transactions.settle_job(connection, tenant, job_id, claim, None, verdict, **outcome) == "scheduled"
    return job_id


# ------------------------------------------------------------------------------------------------- not in the queue


def test_no_job_no_reason(ops: Database) -> None:
    with ops.connection() as connection:
        assert why.explain(connection, uuid4(), silent_s=10) is None


def test_a_job_that_runs_or_has_ended_says_so(app: Database, ops: Database, tenant: UUID) -> None:
    put(app, tenant)
    job_id, claim = run(app, tenant, staffed(ops))
    running = explained(ops, job_id)
    with app.as_tenant(tenant) as connection, connection.transaction():
        transactions.settle_job(connection, tenant, job_id, claim, None, "ended", outcome="rejected", reason="too_long")
    ended = explained(ops, job_id)

    assert (running.why, running.state, running.starts_in_s) == (Why.RUNNING, "running", None)
    assert running.since is not None
    assert (ended.why, ended.state, ended.detail) == (Why.ENDED, "rejected", "too_long")


# ---------------------------------------------------------------------------------------------------- what is paused


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        (PausableKind.TENANT, "", Why.TENANT_PAUSED),
        (PausableKind.FEATURE, "chat", Why.FEATURE_PAUSED),
        (PausableKind.LANE, "interactive", Why.LANE_PAUSED),
    ],
)
def test_a_pause_comes_before_all_that_time_brings_about(
    app: Database, ops: Database, tenant: UUID, kind: PausableKind, name: str, reason: Why
) -> None:
    staffed(ops)
    (job_id,) = put(app, tenant)
    with ops.connection() as connection:
        pauses.pause(connection, Pausable(kind, name or str(tenant), name), actor="a test")

    told = explained(ops, job_id)

    assert (told.why, told.starts_in_s) == (reason, None)
    assert told.since is not None


# ------------------------------------------------------------------------------------------------ what is scheduled


@pytest.mark.parametrize(
    ("verdict", "reason", "waits_for", "expected"),
    [
        ("retry", "provider_answer_lost", None, Why.BACKOFF),
        ("defer", "provider_held", None, Why.PROVIDER_HELD),
        ("defer", "provider_rate_limited", None, Why.PROVIDER_RATE_LIMITED),
        ("defer", "rate_limited", "rate:user:ada", Why.RATE_LIMITED),
        ("defer", "waiting_for_room", "room:tenant:", Why.WAITING_FOR_ROOM),
        ("defer", "over_budget", "cap:user:ada", Why.OVER_BUDGET),
        ("defer", "waiting_for_slot", "slot:model:openai:gpt-x", Why.WAITING_FOR_SLOT),
        ("defer", "never_heard_of_it", "room:user:ada", Why.WAITS),
    ],
)
def test_what_is_requeue_names_what_it_waits_for(
    app: Database, ops: Database, tenant: UUID, verdict: str, reason: str, waits_for: str | None, expected: Why
) -> None:
    worker = staffed(ops)
    outcome = {"reason": reason, "delay_s": 90.0, **({"waits_for": waits_for} if waits_for else {})}
    with app.as_tenant(tenant) as connection, connection.transaction():
        job_id = deferred(connection, tenant, worker, verdict, **outcome)

    told = explained(ops, job_id)

    assert (told.why, told.detail, told.waits_for) == (expected, reason, waits_for)
    assert told.until is not None
    if expected in (Why.BACKOFF, Why.PROVIDER_HELD, Why.PROVIDER_RATE_LIMITED):
        assert told.starts_in_s is not None
        assert 60 < told.starts_in_s <= 90
    else:
        assert told.starts_in_s is None, "when there is room cannot be predicted for sure"


def test_a_job_for_later_says_until_when_and_whether_its_deadline_comes_first(
    app: Database, ops: Database, tenant: UUID
) -> None:
    with ops.connection() as connection:
        now = connection.execute("select headrace.now() as now").fetchone()["now"]  # type: ignore[index]
    (later,) = put(app, tenant, run_at=(now + timedelta(hours=1)).isoformat())
    (late,) = put(
        app, tenant,
        run_at=(now + timedelta(hours=1)).isoformat(), deadline=(now + timedelta(hours=2)).isoformat(),
    )  # fmt: skip
    with ops.connection() as connection:  # the deadline moves, as a queue that grows would move the start
        connection.execute("update headrace.jobs set deadline = %s where id = %s", [now + timedelta(minutes=30), late])

    assert explained(ops, later).why is Why.ASKED_FOR
    assert not explained(ops, later).too_late
    assert explained(ops, later).until == now + timedelta(hours=1)
    assert explained(ops, late).too_late
    assert waiting.start(explained(ops, late)) == "its deadline comes first: it will expire"


def test_who_waits_for_a_slot_of_its_lane_is_told_so_and_when_by_its_tenant_s_pace(
    app: Database, ops: Database, tenant: UUID
) -> None:
    worker = staffed(ops, threads=8)
    ids = put(app, tenant, 3)
    with ops.connection() as connection:
        limits.set_concurrency(connection, tenant, SlotScope.LANE, "interactive", 1, actor="a test")
    first, claim = run(app, tenant, worker)

    told = explained(ops, ids[-1])

    assert (told.why, told.waits_for, told.ahead) == (Why.WAITING_FOR_SLOT, "slot:lane:interactive", 1)
    assert told.starts_in_s is None  # nothing was done lately by which to tell
    assert "concurrency cap of its lane interactive" in waiting.sentence(told)

    with app.as_tenant(tenant) as connection, connection.transaction():
        transactions.settle_job(connection, tenant, first, claim, None, "ended", outcome="rejected", reason="too_long")
    assert explained(ops, ids[-1]).why == Why.BEHIND_OWN_USER  # the slot is free
    assert explained(ops, ids[1]).why == Why.NEXT


# --------------------------------------------------------------------------------------------------- what is queued


def test_without_a_live_worker_that_takes_work_that_is_the_reason(app: Database, ops: Database, tenant: UUID) -> None:
    first, second = put(app, tenant, 2)
    assert explained(ops, second).why is Why.NO_WORKERS

    worker = staffed(ops)
    assert explained(ops, first).why is Why.NEXT
    assert explained(ops, first).starts_in_s == 0

    with ops.connection() as connection:
        workers.draining(connection, worker)
    assert explained(ops, first).why is Why.NO_WORKERS


def test_without_a_scheduler_nothing_is_foretold(app: Database, ops: Database, tenant: UUID) -> None:
    worker = staffed(ops)
    with app.as_tenant(tenant) as connection, connection.transaction():
        waiting_job = deferred(connection, tenant, worker, "retry", reason="provider_answer_lost", delay_s=90.0)
    (queued,) = put(app, tenant)
    with ops.connection() as connection:
        connection.execute("update headrace.schedulers set heartbeat_at = heartbeat_at - interval '11 seconds'")

    told, later = explained(ops, queued), explained(ops, waiting_job)
    assert (told.why, told.schedulers, told.starts_in_s) == (Why.NO_SCHEDULER, 0, None)
    assert "start one with `headrace scheduler`" in waiting.sentence(told)
    assert (later.why, later.starts_in_s) == (Why.BACKOFF, None), "it is not due, and no scheduler will see it be"
    assert (
        waiting.start(later) == "the start cannot be predicted: no scheduler is alive (`headrace scheduler` starts one)"
    )

    with ops.connection() as connection:
        connection.execute(
            "update headrace.queue set run_at = run_at - interval '91 seconds' where id = %s", [waiting_job]
        )
    assert explained(ops, waiting_job).why is Why.NO_SCHEDULER
    assert "so jobs that are due reach no worker" in waiting.sentence(explained(ops, waiting_job))


def test_a_scheduler_that_beats_and_does_nothing_is_the_reason(app: Database, ops: Database, tenant: UUID) -> None:
    worker = staffed(ops)
    with app.as_tenant(tenant) as connection, connection.transaction():
        waiting_job = deferred(connection, tenant, worker, "retry", reason="provider_answer_lost", delay_s=90.0)
    (queued,) = put(app, tenant)
    assert explained(ops, queued).why is Why.NEXT
    with ops.connection() as connection:
        connection.execute(
            "insert into headrace.wakes (tenant_id, lane, created_at)"
            " values (%s, 'interactive', headrace.now() - interval '6 seconds')",
            [tenant],
        )
        connection.execute(
            "update headrace.queue set run_at = run_at - interval '96 seconds' where id = %s", [waiting_job]
        )

    for job_id in (queued, waiting_job):
        told = explained(ops, job_id)
        assert (told.why, told.starts_in_s) == (Why.SCHEDULER_BEHIND, None)
        assert "headrace doctor" in waiting.sentence(told)


def test_a_wire_that_takes_no_offer_is_the_reason(app: Database, ops: Database, tenant: UUID) -> None:
    staffed(ops)
    (queued,) = put(app, tenant)

    with ops.connection() as connection:
        told = why.explain(connection, queued, silent_s=10, wire_error="the wire is refused")

    assert told is not None
    assert (told.why, told.detail, told.starts_in_s) == (Why.WIRE_AWAY, "the wire is refused", None)
    assert "takes no offer, so no worker is told of it: the wire is refused" in waiting.sentence(told)


def test_what_stands_before_it_is_told_by_whose_it_is(app: Database, ops: Database, tenant: UUID) -> None:
    worker = staffed(ops)
    mine = put(app, tenant, 4, user_id="ada")
    colleagues = put(app, tenant, 2, user_id="bob")
    run(app, tenant, worker)
    others = [new_tenant(ops, name) for name in ("Bee", "Cee")]
    put(app, others[0], 3)

    last = explained(ops, mine[3])
    assert (last.why, last.ahead_of_user) == (Why.BEHIND_OWN_USER, 2)
    assert last.ahead >= 3, "two of her own, and the colleague's first"
    assert (last.rivals, last.running, last.threads) == (1, 1, 1)
    behind = [explained(ops, one) for one in (mine[1], colleagues[0])]
    assert {one.why for one in behind} == {Why.BEHIND_OWN_TENANT, Why.BEHIND_OTHERS}, "one of the two is first"
    (alone,) = put(app, others[1])
    assert explained(ops, alone).why is Why.BEHIND_OTHERS
    assert explained(ops, alone).rivals == 2


def test_a_job_alone_waits_for_a_free_thread_only(app: Database, ops: Database, tenant: UUID) -> None:
    worker = staffed(ops, threads=1)
    put(app, tenant)
    run(app, tenant, worker)
    (waits,) = put(app, tenant)

    assert explained(ops, waits).why is Why.BUSY
    staffed(ops, threads=1)
    assert explained(ops, waits).why is Why.NEXT


def test_what_a_paused_feature_holds_is_in_nobodys_way(app: Database, ops: Database, tenant: UUID) -> None:
    staffed(ops)
    put(app, tenant, 5, feature="report")
    (job_id,) = put(app, tenant)
    other = new_tenant(ops, "Bee")
    put(app, other, 2, feature="report")
    assert (explained(ops, job_id).ahead, explained(ops, job_id).rivals) == (5, 1)

    with ops.connection() as connection:
        pauses.pause(connection, Pausable(PausableKind.FEATURE, "report", "report"), actor="a test")

    told = explained(ops, job_id)
    assert (told.why, told.ahead, told.ahead_of_user, told.rivals) == (Why.NEXT, 0, 0, 0)


def test_the_estimate_follows_what_was_done_lately(app: Database, ops: Database, tenant: UUID) -> None:
    worker = staffed(ops)
    put(app, tenant, 12)
    for _ in range(4):
        job_id, claim = run(app, tenant, worker)
        with app.as_tenant(tenant) as connection, connection.transaction():
            planned = transactions.planned_call()
            assert transactions.begin_call(connection, tenant, job_id, claim, planned).verdict == "granted"
            transactions.settle_job(
                connection,
                tenant,
                job_id,
                claim,
                transactions.answered_run(planned.run_id),
                "ended",
                **transactions.succeeded_outcome(planned.run_id),
            )
    run(app, tenant, worker)
    with ops.connection() as connection:
        rows = connection.execute("select id from headrace.queue where state = 'queued' order by rank, id").fetchall()
    near, far = explained(ops, rows[0]["id"]), explained(ops, rows[-1]["id"])

    assert (near.ahead, far.ahead) == (0, 6)
    assert near.starts_in_s is not None
    assert far.starts_in_s is not None
    assert 0 < near.starts_in_s < far.starts_in_s
    assert far.starts_in_s < 600, "four jobs took a moment, so seven take no age"


def test_no_query_reads_the_backlog(app: Database, ops: Database, tenant: UUID) -> None:
    """Each plan seeks: no sequential scan of queue, jobs or runs, once they are worth an index."""
    staffed(ops)
    ids = put(app, tenant, 3000)
    with ops.connection() as connection, connection.transaction():
        connection.execute("set local enable_seqscan = off")
        facts = why.job(connection, ids[-1])
        assert facts is not None
        given = {
            **{name: facts[name] for name in ("tenant_id", "lane", "feature", "rank", "user_id")},
            "job_id": ids[-1], "most": 10, "of_each": 3, "tenants": 10, "silent_s": 10, "window_s": 60,
        }  # fmt: skip
        for file in sorted((Path(why.__file__).parent / "queries" / "why").glob("*.sql")):
            rows = connection.execute("explain " + file.read_text("utf-8"), given).fetchall()  # type: ignore[call-overload]
            plan = "\n".join(row["QUERY PLAN"] for row in rows)
            assert not re.search(r"Seq Scan on (queue|jobs|runs)", plan), f"{file.name}: {plan}"
            if file.stem == "recent":
                assert re.search(r"Index Cond: \(id >= \(InitPlan", plan), plan
