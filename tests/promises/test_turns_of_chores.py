"""A scheduler's chores take turns by tenant, and what one row carries stops no other row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from queues.redis.wire import RedisWire
from settings import Settings
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import chores, recovery
from tests.conftest import new_tenant
from tests.support.fleet import Urls
from tests.support.transactions import all_waiting_tenants, claim_job, enqueue_job, enqueue_jobs, request
from workers.scheduler import NOTES_AT_ONCE, Scheduler

MANY = 2000
LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def idle(urls: Urls, ops: Database) -> Iterator[Scheduler]:
    """A scheduler that does what the test tells it to."""
    wire = RedisWire(urls.redis, lanes=Settings().lane_weights)
    yield Scheduler(
        database=ops, wire=wire, worker_silent_s=2.0, max_deaths=3, turns_per_tenant=64, idempotency_days=30
    )
    wire.close()


@pytest.fixture
def two(ops: Database) -> tuple[UUID, UUID]:
    """A, which has many jobs, and B, which has one."""
    return new_tenant(ops, "A"), new_tenant(ops, "B")


def one_and_many(app: Database, two: tuple[UUID, UUID], **fields: object) -> UUID:
    """Many jobs of A, and then one of B; its id."""
    a, b = two
    with app.connection() as connection:
        for _ in range(MANY // 1000):
            enqueue_jobs(connection, a, *(request(**fields) for _ in range(1000)))
        return enqueue_job(connection, b, **fields)


def change(ops: Database, statement: str, *facts: object) -> None:
    with ops.connection() as connection:
        connection.execute(statement.encode(), facts)


def states(ops: Database, *jobs: UUID) -> list[str]:
    with ops.connection() as connection:
        rows = connection.execute("select id, state from headrace.job_status where id = any (%s)", [list(jobs)])
        found = {row["id"]: row["state"] for row in rows.fetchall()}
    return [found[job] for job in jobs]


def break_at(urls: Urls, job: UUID, sqlstate: str = "22003") -> None:
    """From now on every change of this job's row in the queue fails, like a row that was not foreseen."""
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        connection.execute(
            f"""create function public.break() returns trigger language plpgsql as
                $$ begin raise 'this row cannot be' using errcode = '{sqlstate}'; end $$;
                create trigger breaks before update or delete on headrace.queue for each row
                when (old.id = '{job}') execute function public.break()""".encode()
        )


def aside(ops: Database) -> list[tuple[str, UUID, UUID | None, str]]:
    with ops.connection() as connection:
        return [(one.chore, one.tenant_id, one.job_id, one.error) for one in chores.aside(connection)]


# ------------------------------------------------------------------------------------------------- turns by tenant


def test_a_due_job_does_not_wait_for_another_tenant_s_backlog(
    app: Database, ops: Database, idle: Scheduler, two: tuple[UUID, UUID]
) -> None:
    of_b = one_and_many(app, two, run_at=LATER.isoformat())
    change(ops, "update headrace.queue set run_at = now() - interval '1 hour' where tenant_id = %s", two[0])
    change(ops, "update headrace.queue set run_at = now() where tenant_id = %s", two[1])

    assert [idle.release_due(), idle.release_due()] == [True, True], "more is due, and it says so"

    assert states(ops, of_b) == ["queued"]
    while idle.release_due():
        pass
    with ops.connection() as connection:
        rows = connection.execute("select count(*) as n from headrace.queue where state <> 'queued'").fetchone()
    assert rows == {"n": 0}


def test_a_job_expires_though_another_tenant_has_a_backlog_of_expired_jobs(
    app: Database, ops: Database, idle: Scheduler, two: tuple[UUID, UUID]
) -> None:
    of_b = one_and_many(app, two, deadline=LATER.isoformat())
    change(ops, "update headrace.queue set deadline = now() - interval '1 hour' where tenant_id = %s", two[0])
    change(ops, "update headrace.queue set deadline = now() where tenant_id = %s", two[1])

    assert [idle.expire(), idle.expire()] == [True, True]

    assert states(ops, of_b) == ["expired"]
    while idle.expire():
        pass
    with ops.connection() as connection:
        assert connection.execute("select count(*) as n from headrace.queue").fetchone() == {"n": 0}


def test_a_note_does_not_wait_for_another_tenant_s_notes(
    ops: Database, idle: Scheduler, two: tuple[UUID, UUID]
) -> None:
    a, b = two
    change(
        ops,
        "insert into headrace.wakes (tenant_id, lane) select %s, 'batch' from generate_series(1, %s)",
        a,
        4 * NOTES_AT_ONCE,
    )
    change(ops, "insert into headrace.wakes (tenant_id, lane) values (%s, 'batch')", b)

    assert [idle.drain_wakes(), idle.drain_wakes()] == [True, True]

    with ops.connection() as connection:
        rows = connection.execute("select distinct tenant_id from headrace.wakes").fetchall()
    assert [row["tenant_id"] for row in rows] == [a]


def test_a_turn_at_money_is_an_equal_share_and_ends_in_time(
    app: Database, ops: Database, two: tuple[UUID, UUID]
) -> None:
    """A's jobs all fit, and so do B's. Where there is no time, the first tenant has its turn all the same."""
    with app.connection() as connection:
        jobs = {tenant: [enqueue_job(connection, tenant) for _ in range(6)] for tenant in two}
    change(
        ops,
        "update headrace.queue set state = 'scheduled', run_at = now(), reason = 'waiting_for_room', need_usd = 0.001,"
        " waits_for = 'room:tenant:'",
    )
    with ops.connection() as connection:
        turn = all_waiting_tenants(connection)
        first = recovery.release_for_money(connection, turn, within_s=0.0)
        share = recovery.release_for_money(connection, dict.fromkeys(reversed(turn)), limit=4)

    assert list(first.upto) == [min(two)], "one had a turn, and it is known which"
    assert first.turns == {"interactive": {min(two): 6}}
    assert share.turns == {"interactive": {max(two): 2}}
    assert sorted(states(ops, *jobs[max(two)])) == ["queued"] * 2 + ["scheduled"] * 4


def test_every_list_of_a_tenant_has_its_turn(app: Database, ops: Database, tenant: UUID) -> None:
    """A tenant with more lists than a pass looks at: the next pass goes on where this one ended."""
    with app.connection() as connection:
        enqueue_jobs(connection, tenant, *(request(user_id=f"u-{n}") for n in range(7)))
    change(
        ops,
        "update headrace.queue set state = 'scheduled', run_at = now(), reason = 'waiting_for_room', need_usd = 0.001,"
        " waits_for = 'room:user:' || user_id",
    )
    released: list[int] = []
    turn: dict[UUID, str | None] = {tenant: None}
    with ops.connection() as connection:
        while not released or turn[tenant] is not None:
            got = recovery.release_for_money(connection, turn, lists=3)
            released.append(sum(got.turns.get("interactive", {}).values()))
            turn = dict(got.upto)

    assert released == [3, 3, 1]


# --------------------------------------------------------------------------------- what one row carries is its own


def test_a_row_that_cannot_be_ended_is_set_aside_and_the_others_end(
    app: Database, ops: Database, urls: Urls, tenant: UUID
) -> None:
    with app.connection() as connection:
        jobs = [enqueue_job(connection, tenant, deadline=LATER.isoformat()) for _ in range(5)]
    change(ops, "update headrace.queue set deadline = now()")
    break_at(urls, jobs[0])

    with ops.connection() as connection:
        assert recovery.expire(connection) == 4
        assert recovery.expire(connection) == 0, "it is passed by"

    assert states(ops, *jobs) == ["queued"] + ["expired"] * 4
    assert aside(ops) == [("expire", tenant, jobs[0], "this row cannot be")]


def test_a_row_that_cannot_be_queued_is_set_aside_and_the_others_are_queued(
    app: Database, ops: Database, urls: Urls, tenant: UUID
) -> None:
    with app.connection() as connection:
        jobs = [enqueue_job(connection, tenant, run_at=LATER.isoformat()) for _ in range(5)]
    change(ops, "update headrace.queue set run_at = now()")
    break_at(urls, jobs[2])

    with ops.connection() as connection:
        assert recovery.release_due(connection) == {"interactive": {tenant: 4}}
        assert recovery.release_due(connection) == {}

    assert aside(ops) == [("due", tenant, jobs[2], "this row cannot be")]


def test_a_job_that_cannot_be_reclaimed_stands_in_nobody_s_way(
    app: Database, ops: Database, urls: Urls, tenant: UUID
) -> None:
    lost = new_id()
    with app.connection() as connection:
        jobs = [enqueue_job(connection, tenant) for _ in range(3)]
        for _ in jobs:
            assert claim_job(connection, tenant, claim_id=new_id(), worker_id=lost) is not None
    break_at(urls, jobs[1])

    with ops.connection() as connection:
        taken = [recovery.reclaim(connection, silent_s=60, max_deaths=3) for _ in range(4)]

    assert {one.job_id: one.state for one in taken if one} == {
        jobs[0]: "queued", jobs[1]: "set_aside", jobs[2]: "queued",
    }  # fmt: skip
    assert taken[-1] is None
    assert aside(ops) == [("reclaim", tenant, jobs[1], "this row cannot be")]


@pytest.mark.parametrize("waits_for", ["room:tenant:", "rate:tenant:", "slot:model:openai:x"])
def test_a_row_that_cannot_be_let_in_stops_its_own_tenant_only(
    app: Database, ops: Database, urls: Urls, two: tuple[UUID, UUID], waits_for: str
) -> None:
    with app.connection() as connection:
        jobs = [enqueue_job(connection, tenant) for tenant in two]
    change(
        ops,
        "update headrace.queue set state = 'scheduled', run_at = now(), reason = 'waiting', waits_for = %s,"
        " need_usd = case when %s like 'room%%' then 0.001 end",
        waits_for,
        waits_for,
    )
    break_at(urls, jobs[0])
    chore = {"room": "money", "rate": "rates", "slot": "slots"}[waits_for[:4]]

    with ops.connection() as connection:
        turn = all_waiting_tenants(connection)
        turns = {
            "money": lambda: recovery.release_for_money(connection, turn).turns,
            "rates": lambda: recovery.release_for_rates(connection, [(one, waits_for, 1) for one in turn]),
            "slots": lambda: recovery.release_for_slots(connection, turn).turns,
        }[chore]()

    assert turns == {"interactive": {two[1]: 1}}
    assert aside(ops) == [(chore, two[0], None, "this row cannot be")]


def test_what_is_not_the_row_s_own_fault_sets_nothing_aside(
    app: Database, ops: Database, urls: Urls, tenant: UUID
) -> None:
    """A server that is short of something, or a release that is half done, would set every row aside."""
    with app.connection() as connection:
        jobs = [enqueue_job(connection, tenant, deadline=LATER.isoformat()) for _ in range(2)]
    change(ops, "update headrace.queue set deadline = now()")
    break_at(urls, jobs[0], sqlstate="53100")

    with ops.connection() as connection, pytest.raises(psycopg.errors.DiskFull):
        recovery.expire(connection)

    assert aside(ops) == []
    assert states(ops, *jobs) == ["queued", "queued"], "all or nothing"


def test_what_was_set_aside_is_tried_again_later_and_later(app: Database, ops: Database, tenant: UUID) -> None:
    job = new_id()
    waits: list[float] = []
    for _ in range(9):
        change(ops, "select headrace.put_aside('expire', %s, %s, 'x', '22003')", tenant, job)
        with ops.connection() as connection:
            row = connection.execute(
                "select extract(epoch from until - headrace.now())::float8 as s from headrace.set_aside"
            ).fetchone()
        assert row is not None
        waits.append(round(row["s"] / 60))

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
