"""A claim reads a bounded number of rows, whatever its tenant has queued, and holds up no other tenant."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from storage.db.connect import Connection
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import pauses, recovery
from storage.fleet.pauses import Pausable, PausableKind
from storage.jobs import group_commit, jobs
from storage.jobs.group_commit import BeginStep, ClaimStep
from storage.jobs.jobs import ClaimedJob, Stopped
from storage.money import limits
from storage.money.limits import SlotScope
from tests.conftest import new_tenant
from tests.support.fleet import Urls, eventually
from tests.support.transactions import enqueue_jobs, planned_call, request

WALL = 3_000
EXTRA_BLOCKS = 40  # of 8 kB: a wall of so many jobs fills 100 and more
REPORT = Pausable(PausableKind.FEATURE, "report", "report")


@pytest.fixture
def one(app: Database) -> Iterator[Connection]:
    """One session, so that its plans are made once."""
    with app.connection() as connection:
        yield connection


def claim(connection: Connection, tenant: UUID) -> ClaimedJob | Stopped | None:
    return jobs.claim(
        connection, tenant, "interactive", claim_id=new_id(), worker_id=new_id(), timeout_s=600, turns_per_tenant=64
    )


def blocks_of_a_claim(connection: Connection, tenant: UUID) -> int:
    """How many blocks a claim touches, when its plans are made."""
    facts = [tenant, "interactive", 600, 64]
    (row,) = connection.execute(
        "explain (analyze, buffers, format json) select * from headrace.claim(%s, %s, uuidv7(), uuidv7(), %s, %s)",
        facts,
    ).fetchall()
    plan = row["QUERY PLAN"][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def wall(urls: Urls, tenant: UUID, *, feature: str, deadline: str | None = None) -> None:
    """So many queued jobs before all others, with the figures that the planner has of them."""
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute(
            "with made as (insert into headrace.jobs (id, tenant_id, user_id, feature, lane, messages,"
            "   estimated_tokens, deadline) select uuidv7(), %(tenant)s, 'u-1', %(feature)s, 'interactive', '[]', 1,"
            "   headrace.now() + %(deadline)s::interval from generate_series(1, %(n)s) returning *)"
            " insert into headrace.queue (id, tenant_id, lane, user_id, feature, state, rank, estimated_tokens,"
            "   deadline)"
            " select id, tenant_id, lane, user_id, feature, 'queued', 0, 1, deadline from made",
            {"tenant": tenant, "feature": feature, "deadline": deadline, "n": WALL},
        )
        owner.execute("analyze headrace.queue")


def enqueued(connection: Connection, tenant: UUID, n: int, **fields: str) -> list[UUID]:
    """So many jobs behind any wall."""
    done = enqueue_jobs(
        connection, tenant, *(request(user_id="u-2", estimated_tokens=1000, **fields) for _ in range(n))
    )
    return [one.job_id for one in done if one.job_id is not None]


def queued(ops: Database, tenant: UUID) -> int:
    with ops.connection() as connection:
        (row,) = connection.execute(
            "select count(*) as n from headrace.queue where tenant_id = %s and state = 'queued'", [tenant]
        ).fetchall()
    return int(row["n"])


def test_a_claim_passes_over_what_is_past_its_deadline_and_ends_none(
    urls: Urls, one: Connection, ops: Database, tenant: UUID
) -> None:
    wall(urls, new_tenant(ops, "Third"), feature="chat")  # indexes are as deep without the wall
    enqueued(one, tenant, 20)
    for _ in range(8):
        assert isinstance(claim(one, tenant), ClaimedJob)
    without = blocks_of_a_claim(one, tenant)
    wall(urls, tenant, feature="chat", deadline="-1 s")

    assert claim(one, tenant) == Stopped("deadline_passed")
    assert blocks_of_a_claim(one, tenant) <= without + EXTRA_BLOCKS
    assert queued(ops, tenant) == WALL + 11

    with ops.connection() as connection:
        while recovery.expire(connection, limit=1000):
            pass
    assert isinstance(claim(one, tenant), ClaimedJob)


def test_what_has_ended_at_once_is_cleared_out_of_the_way(
    urls: Urls, one: Connection, ops: Database, tenant: UUID
) -> None:
    """Thousands of dead index entries stand before the next job until the scheduler has vacuumed, as headrace_ops."""
    wall(urls, tenant, feature="chat", deadline="-1 s")
    enqueued(one, tenant, 10)
    with psycopg.connect(urls.owner, autocommit=True) as owner, ops.connection() as connection:
        while recovery.expire(connection, limit=1000):
            pass
        owner.execute("select pg_stat_force_next_flush()")
        size = "select pg_table_size('headrace.queue')"
        before = owner.execute(size).fetchone()
        eventually(lambda: recovery.ended_outweigh(connection, least=WALL // 2), why="the server has counted them")
        recovery.vacuum_queue(connection)
        assert owner.execute(size).fetchone() >= before, "no table is cut, which would shut everybody out"
        eventually(lambda: not recovery.ended_outweigh(connection, least=WALL // 2), why="they are gone")
    assert isinstance(claim(one, tenant), ClaimedJob)


def test_behind_a_few_that_are_late_the_next_one_runs(one: Connection, tenant: UUID, urls: Urls) -> None:
    late = enqueued(one, tenant, 60, deadline="2200-01-01T00:00:00Z")
    others = enqueued(one, tenant, 2)
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute("update headrace.queue set deadline = headrace.now() where id = any (%s)", [late])
    got = [claim(one, tenant) for _ in range(2)]
    assert [job.job_id for job in got if isinstance(job, ClaimedJob)] == others


@pytest.mark.parametrize("why", ["its cap is full", "it is paused"])
def test_a_claim_reads_nothing_of_a_feature_that_cannot_run(
    urls: Urls, one: Connection, ops: Database, tenant: UUID, why: str
) -> None:
    other = new_tenant(ops, "Bystander")
    wall(urls, new_tenant(ops, "Third"), feature="chat")  # indexes are as deep without the wall
    with ops.connection() as connection:
        if why == "it is paused":
            pauses.pause(connection, REPORT, actor="a test")
        else:
            limits.set_concurrency(connection, tenant, SlotScope.FEATURE, "report", 1, actor="a test")
    enqueued(one, tenant, 1, feature="report")
    if why == "its cap is full":
        assert isinstance(claim(one, tenant), ClaimedJob)
        enqueued(one, tenant, 1, feature="report")
    behind = [*enqueued(one, tenant, 20), *enqueued(one, other, 20)]
    for _ in range(8):
        for each in (tenant, other):
            got = claim(one, each)
            assert isinstance(got, ClaimedJob) and got.job_id in behind
    without = {each: blocks_of_a_claim(one, each) for each in (tenant, other)}
    wall(urls, tenant, feature="report")

    for each in (tenant, other):
        got = claim(one, each)
        assert isinstance(got, ClaimedJob) and got.job_id in behind
        assert blocks_of_a_claim(one, each) <= without[each] + EXTRA_BLOCKS
    assert queued(ops, tenant) == WALL + 1 + 9, "what cannot run stays where it is"
    with ops.connection() as connection:
        assert (
            recovery.turns_wanted(connection, turns_per_tenant=64)["interactive"].items()
            >= {tenant: 9, other: 9}.items()
        )
    while isinstance(claim(one, tenant), ClaimedJob):
        pass
    assert claim(one, tenant) == (None if why == "it is paused" else Stopped(f"tenant:{tenant}:feature:report"))


def test_what_is_late_in_one_feature_is_in_no_other_ones_way(
    urls: Urls, one: Connection, ops: Database, tenant: UUID
) -> None:
    """Where features are looked at one by one, each has its own look."""
    with ops.connection() as connection:
        limits.set_concurrency(connection, tenant, SlotScope.FEATURE, "chat", 5, actor="a test")
    wall(urls, tenant, feature="report", deadline="-1 s")
    (job_id,) = enqueued(one, tenant, 1)
    got = claim(one, tenant)
    assert isinstance(got, ClaimedJob) and got.job_id == job_id
    assert claim(one, tenant) == Stopped("deadline_passed")


def test_no_claim_is_made_while_another_tenants_caps_are_held(urls: Urls, app: Database, ops: Database) -> None:
    """Steps of two tenants in one transaction. While the claim is held up, the other tenant's caps are free."""
    first, second = sorted(new_tenant(ops, name) for name in ("First", "Second"))
    planned, held = planned_call(), new_id()
    with app.connection() as connection:
        (job_id,) = enqueued(connection, first, 1)
        enqueued(connection, second, 1)
        got = jobs.claim(
            connection, first, "interactive", claim_id=held, worker_id=new_id(), timeout_s=600, turns_per_tenant=64
        )
        assert isinstance(got, ClaimedJob)
    steps = [
        (first, BeginStep(job_id, held, planned)),
        (second, ClaimStep("interactive", new_id(), new_id(), 600, 64)),
    ]
    done: list[object] = []

    def together() -> None:
        with app.connection() as connection:
            done.extend(group_commit.run(connection, steps, wait=True))

    with psycopg.connect(urls.owner, autocommit=True) as owner, psycopg.connect(urls.owner) as holder:
        owner.execute("select set_config('app.tenant_id', %s, false)", [str(first)])
        owner.execute("select headrace.lock_caps(%s, 'u-2', 'chat')", [first])
        holder.execute("lock headrace.prompt_pointers in access exclusive mode")  # a claim reads it, no other step does
        thread = threading.Thread(target=together)
        thread.start()
        waits = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        eventually(lambda: owner.execute(waits).fetchall(), every_s=0.01)
        owner.execute("select from headrace.caps where tenant_id = %s for update nowait", [first])
        holder.rollback()
        thread.join(20)
    assert getattr(done[0], "verdict", None) == "granted"
    assert isinstance(done[1], ClaimedJob)
