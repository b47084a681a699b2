"""Many jobs in one call: what is new goes in, what was in stays as it is, what is refused says why; ranks in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs import jobs
from storage.jobs.jobs import Enqueued
from tests.conftest import new_tenant


def request(**fields: object) -> dict[str, Any]:
    asked = {"user_id": "u-1", "feature": "chat", "messages": [{"role": "user", "content": "Hello"}]}
    return {"id": str(new_id()), "estimated_tokens": 100, **asked, **fields}


def put(app: Database, tenant: UUID, *requests: dict[str, Any]) -> list[Enqueued]:
    with app.connection() as connection:
        return jobs.enqueue_batch(connection, tenant, requests, wake=False)


def ranks(app: Database, tenant: UUID) -> dict[UUID, tuple[str, int | None]]:
    with app.as_tenant(tenant) as connection:
        rows = connection.execute("select id, state, rank from headrace.queue").fetchall()
    return {row["id"]: (row["state"], row["rank"]) for row in rows}


def test_new_repeated_refused_and_keyed_requests_go_side_by_side(app: Database, tenant: UUID) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    running, waiting, keyed = request(), request(user_id="u-2"), request(idempotency_key="k-1")
    put(app, tenant, running, waiting, keyed)
    with app.connection() as connection:
        jobs.claim(
            connection, tenant, "interactive", claim_id=new_id(), worker_id=uuid4(), timeout_s=60, turns_per_tenant=64
        )
    before = ranks(app, tenant)
    claimed = next(one for one, (state, _) in before.items() if state == "running")
    again = running if str(claimed) == running["id"] else waiting
    other = waiting if again is running else running

    fresh, asleep, first = request(), request(run_at=later), request(idempotency_key="k-2")
    batch = [
        request(feature="nonsense"),
        fresh,
        again,
        {**other, "feature": "nonsense"},  # it is in: what would be said of it by now does not count
        request(idempotency_key="k-1"),
        request(idempotency_key="k-1", user_id="somebody else"),
        asleep,
        first,
        {**first, "id": str(new_id())},
    ]
    done = put(app, tenant, *batch)

    assert [one.index for one in done] == list(range(len(batch)))
    said = [
        (str(one.job_id) if one.job_id else None, one.created, one.lane, one.error and one.error["code"])
        for one in done
    ]
    assert said == [
        (None, False, None, "unknown_feature"),
        (fresh["id"], True, "interactive", None),
        (again["id"], False, None, None),  # it runs: no turn for it
        (other["id"], False, "interactive", None),
        (keyed["id"], False, None, None),
        (None, False, None, "idempotency_conflict"),
        (asleep["id"], True, None, None),
        (first["id"], True, "interactive", None),
        (first["id"], False, None, None),
    ]
    after = ranks(app, tenant)
    assert before.items() <= after.items()
    assert {str(one) for one in after.keys() - before.keys()} == {fresh["id"], asleep["id"], first["id"]}
    assert after[UUID(asleep["id"])] == ("scheduled", None)
    assert {one.created for one in put(app, tenant, *batch)} == {False}
    assert ranks(app, tenant) == after


def test_a_batch_ranks_its_jobs_as_if_they_came_one_by_one(app: Database, ops: Database) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    asked: list[dict[str, Any]] = [
        {"user_id": f"u-{n % 3}", "lane": "batch" if n % 4 == 3 else "interactive", "estimated_tokens": 100 + 7 * n}
        for n in range(24)
    ]
    asked[5]["run_at"] = asked[9]["run_at"] = later
    together, alone = new_tenant(ops, "Together"), new_tenant(ops, "Alone")
    for tenant in (together, alone):  # both have work before
        put(app, tenant, request(user_id="u-1", estimated_tokens=1000), request(user_id="u-9"))
    in_one = put(app, together, *[request(**fields) for fields in asked])
    one_by_one = [done for fields in asked for done in put(app, alone, request(**fields))]
    got, expected = ranks(app, together), ranks(app, alone)
    assert [got[one.job_id] for one in in_one if one.job_id] == [
        expected[one.job_id] for one in one_by_one if one.job_id
    ]
    assert len(got) == len(asked) + 2
