"""Filters choose the same jobs whatever way they are walked: in windows of any size, or by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from storage.db.connect import Connection
from storage.db.database import Database
from storage.db.ids import first_id_at, new_id
from storage.db.statements import sql
from storage.jobs import jobs, selection
from storage.jobs.jobs import State
from storage.jobs.selection import Selection
from tests.conftest import new_tenant

NOW = datetime.now(UTC)
KINDS: Sequence[dict[str, Any]] = [
    {"feature": feature, "user_id": user, "lane": lane, "state": state}
    for feature in ("chat", "report")
    for user in ("ada", "bob")
    for lane in ("batch", "interactive")
    for state in ("queued", "scheduled", "succeeded", "failed", "cancelled")
]


def put(connection: Connection, tenant: UUID, *, state: str, created_at: datetime, **fields: Any) -> UUID:
    """One job in this state that came in at that time."""
    id = UUID(int=first_id_at(created_at).int | new_id().int & ((1 << 80) - 1))
    row = {"id": str(id), "messages": [{"role": "user", "content": "x"}], **fields}
    if state == "scheduled":
        row["run_at"] = "2100-01-01T00:00:00Z"
    (done,) = jobs.enqueue_batch(connection, tenant, [row], wake=False)
    assert done.error is None, done.error
    connection.execute("update headrace.jobs set created_at = %s where id = %s", [created_at, id])
    if State(state).ended:
        connection.execute("delete from headrace.queue where id = %s", [id])
        connection.execute(
            "update headrace.jobs set outcome = %s, reason = 'x', ended_at = now() where id = %s", [state, id]
        )
    return id


@pytest.fixture
def stock(ops: Database, tenant: UUID) -> dict[UUID, dict[str, Any]]:
    """Eighty jobs of two tenants, an hour between one and the next, and what each is."""
    bee = new_tenant(ops, "Bee")
    stock: dict[UUID, dict[str, Any]] = {}
    with ops.connection() as connection, connection.transaction():
        for n, kind in enumerate(KINDS * 2):
            whose = bee if n % 2 else tenant
            at = NOW - timedelta(hours=len(KINDS) * 2 - n)
            stock[put(connection, whose, created_at=at, **kind)] = {**kind, "tenant_id": whose, "created_at": at}
    return stock


def fits(chosen: Selection, job: dict[str, Any]) -> bool:
    """What a selection means, said once more."""
    return (
        chosen.tenant_id in (None, job["tenant_id"])
        and (not chosen.states or job["state"] in chosen.states)
        and chosen.feature in (None, job["feature"])
        and chosen.user_id in (None, job["user_id"])
        and chosen.lane in (None, job["lane"])
        and (chosen.since is None or job["created_at"] >= chosen.since)
        and (chosen.until is None or job["created_at"] < chosen.until)
    )


def walked(connection: Connection, chosen: Selection, looked_at: int) -> list[tuple[UUID, State]]:
    found, after = [], None
    while True:
        one = selection.window(connection, chosen, after=after, looked_at=looked_at)
        found += [(job.id, job.state) for job in one.found]
        if one.last is None:
            return found
        after = one.last


def test_every_way_finds_what_fits_and_nothing_else(
    ops: Database, stock: dict[UUID, dict[str, Any]], tenant: UUID, subtests: pytest.Subtests
) -> None:
    middle = NOW - timedelta(hours=len(KINDS))
    nothing = Selection()
    chosen_ones = [
        nothing,
        Selection(tenant_id=tenant),
        Selection(tenant_id=tenant, states=(State.FAILED,)),
        Selection(states=(State.FAILED,)),
        Selection(tenant_id=tenant, states=(State.QUEUED, State.SCHEDULED)),
        Selection(states=(State.SCHEDULED,)),
        Selection(states=(State.RUNNING,)),
        Selection(states=(State.CANCELLED, State.QUEUED), feature="report", user_id="bob", lane="batch"),
        Selection(since=middle),
        Selection(until=middle),
        Selection(since=middle, until=middle + timedelta(hours=3)),
        Selection(tenant_id=tenant, states=(State.QUEUED,), until=middle),
        Selection(tenant_id=new_id()),
        Selection(user_id="nobody"),
        Selection(since=NOW + timedelta(days=3000)),
        Selection(until=NOW - timedelta(days=3000)),
    ]
    with ops.connection() as connection:
        for chosen in chosen_ones:
            wanted = [(id, State(job["state"])) for id, job in sorted(stock.items()) if fits(chosen, job)]
            with subtests.test(chosen=str(chosen)):
                for looked_at in (1, 7, selection.LOOKED_AT):
                    assert walked(connection, chosen, looked_at) == wanted
                ids = [*sorted(stock, reverse=True), new_id()]
                named = selection.by_ids(connection, chosen, ids)
                assert [one.id for one in named] == ids[:-1], "in the given order, without ids that are not a job's"
                assert [(one.id, one.state) for one in named if one.fits] == wanted[::-1]
                listed = jobs.list_jobs(connection, chosen, limit=1000)
                assert [(row["id"], State(row["state"])) for row in listed] == wanted[::-1]


def test_a_walk_goes_on_after_a_job(ops: Database, stock: dict[UUID, dict[str, Any]]) -> None:
    ids = sorted(stock)
    with ops.connection() as connection:
        rest = selection.window(connection, Selection(), after=ids[50])
        live = selection.window(connection, Selection(states=(State.QUEUED,)), after=ids[50])

    assert [one.id for one in rest.found] == ids[51:]
    assert [one.id for one in live.found] == [id for id in ids[51:] if stock[id]["state"] == "queued"]


def test_an_id_of_last_week_is_found_by_when_its_job_came_in(ops: Database, tenant: UUID) -> None:
    with ops.connection() as connection:
        old = put(connection, tenant, feature="chat", user_id="ada", state="queued", created_at=NOW - timedelta(days=6))
        connection.execute("update headrace.jobs set created_at = %s where id = %s", [NOW, old])
        today = selection.window(connection, Selection(since=NOW - timedelta(hours=1)))

    assert [one.id for one in today.found] == [old]


def test_a_window_reads_an_index_in_its_order(ops: Database, tenant: UUID) -> None:
    """Nothing sorts or reads all: else the walk would take the square of what there is."""
    first, before = Selection().range()
    facts = {**Selection().facts(), "after": first, "before": before, "only_failed": False, "looked_at": 10}
    with ops.connection() as connection, connection.transaction():
        connection.execute("set local enable_seqscan = off")
        for given in (facts, {**facts, "tenant_id": tenant}, {**facts, "only_failed": True, "states": ["failed"]}):
            rows = connection.execute(b"explain " + sql("jobs/selection", "window").encode(), given).fetchall()
            plan = "\n".join(str(row["QUERY PLAN"]) for row in rows)
            seen = plan[plan.index("CTE seen") : plan.index("InitPlan 2")]
            assert "Merge Append" in seen and "Index" in seen, plan
            assert "Sort  " not in seen and "Seq Scan" not in seen, plan


def test_the_least_id_of_an_instant_parts_those_before_from_those_after() -> None:
    at = datetime(2026, 11, 29, 12, 0, 0, 5000, tzinfo=UTC)

    assert first_id_at(at).int >> 80 == int(at.timestamp() * 1000)
    assert first_id_at(at) < first_id_at(at + timedelta(milliseconds=1))
    assert first_id_at(datetime(1900, 1, 1, tzinfo=UTC)) == UUID(int=0)
    assert replace(Selection(), until=at).range()[1] > first_id_at(at)
