"""A model's concurrency cap holds over all tenants, and those who wait under it get equal shares."""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from producers import Client
from storage.db.connect import connect
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import audit, recovery, workers
from storage.jobs import jobs
from storage.jobs.jobs import ClaimedJob, Settled
from storage.money import limits, runs
from storage.money.limits import SlotScope
from storage.money.runs import Grant
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Fleet, Urls, eventually
from tests.support.transactions import (
    CHEAP,
    all_waiting_tenants,
    answered_run,
    enqueue_jobs,
    planned_call,
    refused_run,
    request,
    succeeded_outcome,
)
from workers import outcomes
from workers.scheduler import Scheduler

MODEL = ":".join(CHEAP)
OTHER = ("anthropic", "claude-haiku-5-5")
WORKER = new_id()


@pytest.fixture(autouse=True)
def alive(ops: Database) -> None:
    with ops.connection() as connection:
        workers.heartbeat(connection, WORKER, host="h", pid=1, threads=8)


@dataclass
class Held:
    """A claimed job, and its call once that was granted."""

    app: Database
    tenant: UUID
    claim: UUID
    job: ClaimedJob
    run: UUID | None = None

    def begin(self, **fields: Any) -> Grant:
        planned = planned_call(**fields)
        with self.app.connection() as connection:
            grant = runs.begin(connection, self.tenant, self.job.job_id, self.claim, planned)
        if grant.verdict == "granted":
            self.run = planned.run_id
        return grant

    def settle(self, verdict: str, books: dict[str, Any] | None = None, **facts: Any) -> Settled:
        with self.app.connection() as connection:
            return jobs.settle(
                connection, self.tenant, self.job.job_id, self.claim, run=books, verdict=verdict, outcome=facts
            )

    def wait(self, grant: Grant) -> Settled:
        outcome = outcomes.of_refusal(grant, on_over_budget="fail", model="m")
        return self.settle(outcome.verdict, **outcome.as_settled())

    def end(self) -> Settled:
        assert self.run is not None
        return self.settle("ended", answered_run(self.run), **succeeded_outcome(self.run))


def cap(ops: Database, slots: int | None, model: str = MODEL) -> None:
    with ops.connection() as connection:
        limits.set_concurrency(connection, None, SlotScope.MODEL, model, slots, actor="a test")


def facts(ops: Database) -> dict[str, tuple[int, int, int]]:
    with ops.connection() as connection:
        return {one.key: (one.slots, one.taken, one.waiting) for one in limits.concurrency(connection, None)}


def some(app: Database, tenant: UUID, n: int, **fields: Any) -> None:
    with app.connection() as connection:
        enqueue_jobs(connection, tenant, *(request(**fields) for _ in range(n)))


def claimed(app: Database, tenant: UUID, lane: str = "interactive") -> Held | None:
    claim_id = new_id()
    with app.connection() as connection:
        got = jobs.claim(
            connection, tenant, lane, claim_id=claim_id, worker_id=WORKER, timeout_s=600, turns_per_tenant=64
        )
    return Held(app, tenant, claim_id, got) if isinstance(got, ClaimedJob) else None


def held(app: Database, tenant: UUID) -> Held:
    got = claimed(app, tenant)
    assert got is not None
    return got


def let_in(ops: Database) -> int:
    with ops.connection() as connection:
        return sum(
            n
            for of_lane in recovery.release_for_slots(connection, all_waiting_tenants(connection)).turns.values()
            for n in of_lane.values()
        )


def keeps_its_promises(ops: Database) -> None:
    with ops.connection() as connection:
        assert audit.findings(connection) == []


def test_a_full_model_makes_calls_wait_in_a_list_and_the_next_is_let_in(app: Database, ops: Database) -> None:
    ann, bob, cyd = (new_tenant(ops, name) for name in ("Ann", "Bob", "Cyd"))
    for tenant in (ann, bob, cyd):
        some(app, tenant, 2)
    cap(ops, 1)
    first, second = held(app, ann), held(app, bob)
    assert first.begin().verdict == "granted"

    grant = second.begin()

    assert (grant.verdict, grant.cap_scope, grant.cap_key) == ("no_slot", "model", MODEL)
    assert second.begin(provider=OTHER[0], model=OTHER[1]).verdict == "granted"
    assert second.wait(grant) == Settled("scheduled", ())
    assert facts(ops) == {MODEL: (1, 1, 1)}
    assert first.end() == Settled("ended", ((bob, "interactive"),))
    # a job that comes now does not get what was promised
    newcomer = held(app, cyd)
    refusal = newcomer.begin()
    assert refusal.verdict == "no_slot"
    newcomer.wait(refusal)
    again = held(app, bob)
    assert again.job.attempt == 1
    assert again.begin().verdict == "granted"
    assert again.end() == Settled("ended", ((cyd, "interactive"),))
    keeps_its_promises(ops)


def test_a_repeated_begin_holds_one_slot_and_a_failed_call_gives_it_back(app: Database, ops: Database) -> None:
    ann, bob = new_tenant(ops, "Ann"), new_tenant(ops, "Bob")
    some(app, ann, 1)
    some(app, bob, 1)
    cap(ops, 2)
    first = held(app, ann)
    planned = planned_call()
    for _ in range(2):
        with app.connection() as connection:
            assert runs.begin(connection, ann, first.job.job_id, first.claim, planned).verdict == "granted"
    assert facts(ops) == {MODEL: (2, 1, 0)}
    cap(ops, 1)
    waiter = held(app, bob)
    waiter.wait(waiter.begin())

    kept = first.settle("next_call", refused_run(planned.run_id))  # the backup is asked next

    assert kept == Settled("kept", ((bob, "interactive"),))
    assert facts(ops) == {MODEL: (1, 0, 0)}
    assert held(app, bob).begin().verdict == "granted"
    keeps_its_promises(ops)


def test_nothing_is_reserved_for_a_call_that_finds_no_slot(app: Database, ops: Database, tenant: UUID) -> None:
    some(app, tenant, 1)
    cap(ops, 0)
    one = held(app, tenant)
    one.wait(one.begin())
    with ops.connection() as connection:
        assert connection.execute("select from headrace.reservations").fetchall() == []
        assert connection.execute("select from headrace.runs").fetchall() == []
        assert connection.execute("select from headrace.caps where reserved_usd <> 0").fetchall() == []
    assert let_in(ops) == 0
    cap(ops, None)
    assert let_in(ops) == 1
    assert held(app, tenant).begin().verdict == "granted"


def test_a_promise_that_is_not_kept_goes_to_the_next(app: Database, ops: Database) -> None:
    ann, bob = new_tenant(ops, "Ann"), new_tenant(ops, "Bob")
    some(app, ann, 1)
    some(app, bob, 1)
    cap(ops, 0)
    for tenant in (ann, bob):
        one = held(app, tenant)
        one.wait(one.begin())
    cap(ops, 1)
    assert (let_in(ops), let_in(ops)) == (1, 0)
    with ops.connection() as connection:
        (promised,) = connection.execute("select promised_to from headrace.slots").fetchall()
        (queued,) = connection.execute("select id, tenant_id from headrace.queue where state = 'queued'").fetchall()
    assert promised["promised_to"] == queued["id"]
    with app.connection() as connection:
        assert jobs.cancel(connection, queued["tenant_id"], queued["id"], by="x") == "cancelled"
    assert let_in(ops) == 1
    # and one that is not at work in time
    with ops.connection() as connection:
        connection.execute("update headrace.slots set promised_at = promised_at - interval '31 s'")
    assert let_in(ops) == 0
    with ops.connection() as connection:
        assert connection.execute("select from headrace.slots where promised_to is not null").fetchall() == []
    assert held(app, bob if queued["tenant_id"] == ann else ann).begin().verdict == "granted"
    keeps_its_promises(ops)


def test_a_cap_counts_the_calls_that_are_under_way(app: Database, ops: Database, tenant: UUID) -> None:
    some(app, tenant, 4)
    under_way = [held(app, tenant) for _ in range(3)]
    for one in under_way:
        assert one.begin().verdict == "granted"
    cap(ops, 2)
    last = held(app, tenant)
    last.wait(last.begin())
    assert facts(ops) == {MODEL: (2, 3, 1)}
    assert under_way[0].end().offers == ()
    assert under_way[1].end().offers == ((tenant, "interactive"),)
    keeps_its_promises(ops)


@pytest.mark.parametrize("slots", [1, 3, 5])
def test_three_equal_tenants_get_equal_shares(app: Database, ops: Database, slots: int) -> None:
    """One has three times the backlog and turns of the others; one more, of half the weight, gets half as much."""
    dice = random.Random(slots)
    big, small, third = (new_tenant(ops, name) for name in ("Big", "Small", "Third"))
    half = new_tenant(ops, "Half", plan="free")
    cap(ops, slots)
    backlog = {big: 100, small: 30, third: 30, half: 30}
    for tenant, n in backlog.items():
        some(app, tenant, n)
    turns: deque[UUID] = deque(tenant for tenant, n in backlog.items() for _ in range(n))
    under_way: list[Held] = []
    shares: Counter[UUID] = Counter()
    while shares.total() < 70:
        while turns:
            one = claimed(app, turns.popleft())
            if one is None:
                continue
            grant = one.begin()
            if grant.verdict == "granted":
                under_way.append(one)
                shares[one.tenant] += 1
                assert len(under_way) <= slots
            else:
                turns.extend(tenant for tenant, _ in one.wait(grant).offers)
        assert under_way, "a free slot does not wait"
        done = under_way.pop(dice.randrange(len(under_way)))
        turns.extend(tenant for tenant, _ in done.end().offers)
    equal = [shares[tenant] for tenant in (big, small, third)]
    assert max(equal) - min(equal) <= slots + 1, shares
    assert abs(2 * shares[half] - shares[small]) <= 2 * (slots + 1), shares


def test_never_more_calls_than_the_cap(urls: Urls, app: Database, ops: Database) -> None:
    """Threads begin and end calls of four tenants, and hints are lost; a watcher counts open calls throughout."""
    tenants = [new_tenant(ops, f"T{n}", daily_cap_usd=Decimal(1000)) for n in range(4)]
    cap(ops, 3)
    for tenant in tenants:
        some(app, tenant, 60)
    done, most = threading.Event(), [0]

    def watch() -> None:
        with connect(urls.ops) as connection:
            while not done.is_set():
                (row,) = connection.execute(
                    "select count(*) as n from headrace.runs where status = 'started'"
                ).fetchall()
                most[0] = max(most[0], row["n"])

    def work(seed: int) -> None:
        dice = random.Random(seed)
        with Database(urls.app, connections=1) as mine:
            while not done.is_set():
                one = claimed(mine, dice.choice(tenants))
                if one is None:
                    continue
                grant = one.begin()
                if grant.verdict == "granted":
                    one.end()
                elif grant.verdict == "no_slot":
                    one.wait(grant)
                else:
                    one.settle("hand_back")

    def nothing_left() -> bool:
        for thread in running:
            if thread.done():
                thread.result()  # it failed, and what it held would be waited for in vain
        let_in(ops)
        with ops.connection() as connection:
            return not connection.execute("select from headrace.queue limit 1").fetchall()

    with ThreadPoolExecutor(17) as threads:
        running = [threads.submit(watch), *(threads.submit(work, seed) for seed in range(16))]
        try:
            eventually(nothing_left, within_s=90, why="all jobs end")
        finally:
            done.set()
        for thread in running:
            thread.result()
    assert 1 <= most[0] <= 3
    assert facts(ops) == {MODEL: (3, 0, 0)}
    check_books(ops, None)


def test_real_workers_hold_caps_and_run_everything(
    client: Client, fleet: Fleet, ops: Database, scheduler: Scheduler
) -> None:
    """Three tenants, caps on models, a lane and a feature: all ends, and the caps hold throughout."""
    tenants = [new_tenant(ops, name) for name in ("Ann", "Bob", "Cyd")]
    for model in (MODEL, ":".join(OTHER), "anthropic:claude-sonnet-5-5", "openai:gpt-6.1-sol"):
        cap(ops, 2, model)
    with ops.connection() as connection:
        limits.set_concurrency(connection, tenants[0], SlotScope.LANE, "interactive", 1, actor="a test")
        limits.set_concurrency(connection, tenants[1], SlotScope.FEATURE, "chat", 1, actor="a test")
    fleet.simulator(openai={"latency_ms": 10}, anthropic={"latency_ms": 10})
    client.enqueue_many(
        {"tenant_id": tenant, "user_id": "u", "feature": "chat", "messages": [{"role": "user", "content": "Hi"}],
         "max_output_tokens": 50} for _ in range(20) for tenant in tenants
    )  # fmt: skip
    fleet.worker(threads=8)
    looks = 0
    with ops.connection() as connection:
        while connection.execute("select from headrace.queue limit 1").fetchall():
            assert audit.findings(connection) == []
            rows = connection.execute(
                "select provider, model, count(*) as n from headrace.runs where status = 'started' group by 1, 2"
            ).fetchall()
            assert all(row["n"] <= 2 for row in rows)
            rows = connection.execute(
                "select tenant_id, count(*) as n from headrace.queue where state = 'running' group by 1"
            ).fetchall()
            assert all(row["n"] <= 1 for row in rows if row["tenant_id"] in tenants[:2])
            looks += 1
        (ended,) = connection.execute("select count(*) filter (where outcome = 'succeeded') as n from headrace.jobs")
    assert ended["n"] == 60
    assert looks > 5
    check_books(ops, fleet.journal())


@pytest.mark.parametrize("scope", list(SlotScope))
def test_whoever_frees_a_slot_wakes_the_next_and_no_scheduler_is_needed(
    client: Client, fleet: Fleet, ops: Database, scope: SlotScope
) -> None:
    """All turns are used up while the first call is under way; from then on each settle brings the next."""
    ann, bob = new_tenant(ops, "Ann"), new_tenant(ops, "Bob")
    tenants = (ann, bob) if scope is SlotScope.MODEL else (ann, ann)
    with ops.connection() as connection:
        key = {SlotScope.LANE: "interactive", SlotScope.FEATURE: "chat", SlotScope.MODEL: MODEL}[scope]
        owner = None if scope is SlotScope.MODEL else ann
        limits.set_concurrency(connection, owner, scope, key, 1, actor="a test")
        recovery.drain_wakes(connection)
    fleet.simulator(openai={"latency_ms": 400})
    for n in range(6):
        client.enqueue(
            tenant_id=tenants[n % 2], user_id="u", feature="chat", messages=[{"role": "user", "content": "Hi"}],
            max_output_tokens=50,
        )  # fmt: skip
    fleet.worker(threads=8)

    def all_ended() -> bool:
        with ops.connection() as connection:
            return not connection.execute("select from headrace.queue limit 1").fetchall()

    eventually(all_ended, why="each settle wakes the next")
    with ops.connection() as connection:
        overlapping = connection.execute(
            "select from headrace.runs a join headrace.runs b on a.id <> b.id"
            " and a.created_at < b.created_at and b.created_at < a.settled_at - interval '1 ms'"
        ).fetchall()
    assert overlapping == []
    check_books(ops, fleet.journal())
