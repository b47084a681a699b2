"""A cap with burst is passed into idle threads only, by lent slots; others get those threads back within one call."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from uuid import UUID

import pytest

from errors import InvalidInputError
from producers import Client
from storage.catalogue import tenants
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import audit, recovery, workers
from storage.jobs import jobs
from storage.jobs.jobs import ClaimedJob, Settled, Stopped
from storage.money import limits
from storage.money.limits import SlotScope
from tests.conftest import new_tenant
from tests.support.fleet import Fleet, eventually
from tests.support.transactions import all_waiting_tenants, enqueue_jobs, request
from workers.scheduler import Scheduler

LANE, FEATURE = SlotScope.LANE, SlotScope.FEATURE
FAILED = {"outcome": "failed", "reason": "x", "error": {}}
WORKER = new_id()


def fleet_of(ops: Database, threads: int, *, worker: UUID = WORKER) -> None:
    with ops.connection() as connection:
        workers.heartbeat(connection, worker, host="h", pid=1, threads=threads)


def cap(
    ops: Database, tenant: UUID, slots: int | None, *, scope: SlotScope = LANE, key: str = "batch", burst: bool = True
) -> None:
    with ops.connection() as connection:
        limits.set_concurrency(connection, tenant, scope, key, slots, burst=burst, actor="a test")


def some(app: Database, tenant: UUID, n: int, *, lane: str = "batch") -> None:
    with app.connection() as connection:
        enqueue_jobs(connection, tenant, *(request(lane=lane) for _ in range(n)))


def lend(ops: Database) -> Mapping[str, Mapping[UUID, int]]:
    with ops.connection() as connection:
        turns = recovery.lend_slots(connection, silent_s=10, turns_per_tenant=64)
        recovery.release_for_slots(connection, all_waiting_tenants(connection))
        assert audit.findings(connection) == []
    return turns


def claim(app: Database, tenant: UUID, lane: str = "batch") -> tuple[UUID, ClaimedJob] | Stopped | None:
    claim_id = new_id()
    with app.connection() as connection:
        got = jobs.claim(
            connection, tenant, lane, claim_id=claim_id, worker_id=WORKER, timeout_s=600, turns_per_tenant=64
        )
    return (claim_id, got) if isinstance(got, ClaimedJob) else got


def as_many_as_may(app: Database, tenant: UUID, lane: str = "batch") -> list[tuple[UUID, ClaimedJob]]:
    held = []
    while isinstance(got := claim(app, tenant, lane), tuple):
        held.append(got)
    return held


def settle(app: Database, tenant: UUID, held: tuple[UUID, ClaimedJob]) -> Settled:
    with app.connection() as connection:
        return jobs.settle(connection, tenant, held[1].job_id, held[0], run=None, verdict="ended", outcome=FAILED)


def stand(ops: Database, tenant: UUID) -> tuple[int, int, int]:
    """Of its one cap: slots, lent, taken."""
    with ops.connection() as connection:
        (one,) = limits.concurrency(connection, tenant)
    return one.slots, one.lent, one.taken


def test_idle_threads_are_lent_and_go_back_when_others_have_work(app: Database, ops: Database, tenant: UUID) -> None:
    other = new_tenant(ops, "Globex")
    fleet_of(ops, 8)
    cap(ops, tenant, 2)
    some(app, tenant, 20)

    assert lend(ops) == {"batch": {tenant: 6}}  # 8 threads, and 2 of its jobs find slots of its own
    assert lend(ops) == {}
    held = as_many_as_may(app, tenant)
    assert (len(held), stand(ops, tenant)) == (8, (2, 6, 8))

    freed = held.pop()
    assert settle(app, tenant, freed).offers == ((tenant, "batch"),)
    held += as_many_as_may(app, tenant)  # while no other tenant has work, a lent slot serves the next of its jobs
    assert (len(held), stand(ops, tenant)) == (8, (2, 6, 8))

    some(app, other, 4)
    assert lend(ops) == {}
    assert stand(ops, tenant) == (2, 2, 8)  # four go when they are let go
    for one in held[:4]:
        settle(app, tenant, one)
        assert isinstance(claim(app, tenant), Stopped)
        claim(app, other)
    lend(ops)
    assert stand(ops, tenant) == (2, 2, 4)


def test_what_nobody_waits_for_any_more_is_not_kept(app: Database, ops: Database, tenant: UUID) -> None:
    fleet_of(ops, 8)
    cap(ops, tenant, 1)
    some(app, tenant, 4)
    lend(ops)
    for one in as_many_as_may(app, tenant):
        settle(app, tenant, one)
    assert stand(ops, tenant) == (1, 3, 0)

    lend(ops)

    assert stand(ops, tenant) == (1, 0, 0)


def test_without_burst_or_without_idle_threads_nothing_is_lent(app: Database, ops: Database, tenant: UUID) -> None:
    cap(ops, tenant, 1)
    some(app, tenant, 5)
    fleet_of(ops, 1)
    assert lend(ops) == {}
    cap(ops, tenant, 1, burst=False)
    fleet_of(ops, 8, worker=new_id())
    assert lend(ops) == {}
    assert len(as_many_as_may(app, tenant)) == 1


def test_idle_threads_are_shared_by_weight(app: Database, ops: Database, tenant: UUID) -> None:
    other, small = new_tenant(ops, "Globex"), new_tenant(ops, "Initech")
    with ops.connection() as connection:
        tenants.set_weight(connection, other, Decimal(6), actor="a test")  # the others are on a plan of weight 2
    for one in (tenant, other, small):
        cap(ops, one, 0)
    some(app, tenant, 50)
    some(app, other, 50)
    some(app, small, 1)
    fleet_of(ops, 13)

    assert lend(ops) == {"batch": {small: 1, tenant: 3, other: 9}}


def test_a_feature_s_list_is_let_in_too(app: Database, ops: Database, tenant: UUID) -> None:
    fleet_of(ops, 4)
    cap(ops, tenant, 1, scope=FEATURE, key="chat")
    some(app, tenant, 9)
    held = as_many_as_may(app, tenant)
    assert len(held) == 1

    lend(ops)

    assert len(as_many_as_may(app, tenant)) == 3


@pytest.mark.parametrize("change", [{"burst": False}, {"slots": None}, {"slots": 5}])
def test_a_cap_may_change_while_it_is_passed(
    app: Database, ops: Database, tenant: UUID, change: dict[str, int | bool | None]
) -> None:
    fleet_of(ops, 8)
    cap(ops, tenant, 2)
    some(app, tenant, 20)
    lend(ops)
    held = as_many_as_may(app, tenant)

    cap(ops, tenant, **{"slots": 2, **change})  # type: ignore[arg-type]

    with ops.connection() as connection:
        assert audit.findings(connection) == []
    for one in held:
        settle(app, tenant, one)
    lend(ops)
    if change == {"burst": False}:
        assert len(as_many_as_may(app, tenant)) == 2


def test_a_model_s_cap_has_none(ops: Database) -> None:
    with ops.connection() as connection, pytest.raises(InvalidInputError) as refused:
        limits.set_concurrency(connection, None, SlotScope.MODEL, "openai:gpt-6-luna", 1, burst=True, actor="a test")
    assert refused.value.field == "burst"


def test_real_workers_pass_a_cap_while_they_are_idle(
    client: Client, fleet: Fleet, ops: Database, tenant: UUID, scheduler: Scheduler
) -> None:
    fleet.simulator(openai={"latency_ms": 400}, anthropic={"latency_ms": 400})
    fleet.worker("one", threads=6)
    cap(ops, tenant, 1)
    asked = {"user_id": "u", "feature": "chat", "lane": "batch", "messages": [{"role": "user", "content": "Hello"}]}
    client.enqueue_many([{**asked, "tenant_id": tenant}] * 30)

    most = 0

    def passed() -> bool:
        nonlocal most
        most = max(most, stand(ops, tenant)[2])
        return most > 3

    eventually(passed, why="more than its cap run")
    other = new_tenant(ops, "Globex")
    job_id = client.enqueue(**{**asked, "tenant_id": other})
    eventually(lambda: client.result(job_id, tenant_id=other).state.ended, why="the other tenant's job ends")
    eventually(lambda: stand(ops, tenant) == (1, 0, 0), why="all end, and nothing stays lent")
    with ops.connection() as connection:
        assert audit.findings(connection) == []
