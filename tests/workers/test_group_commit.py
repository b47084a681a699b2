"""Steps that come at the same time share a transaction, and each gets its own answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

from errors import StatementRefusedError
from storage.db.connect import Connection
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs import group_commit
from storage.jobs.group_commit import BeginStep, SettleStep
from storage.jobs.jobs import ClaimedJob, Settled
from storage.money.runs import Grant
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Urls, eventually
from tests.support.lossy_proxy import PostgresProxy
from tests.support.transactions import answered_run, claim_job, enqueue_job, planned_call, settle_job, succeeded_outcome
from workers.group_commit import AT_ONCE, GroupCommit


def claimed(app: Database, tenant: UUID, n: int) -> list[tuple[UUID, UUID]]:
    """So many claimed jobs: (job, claim)."""
    claims = []
    with app.connection() as connection:
        for _ in range(n):
            enqueue_job(connection, tenant)
            claim_id = new_id()
            job = claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id())
            assert job is not None
            claims.append((job.job_id, claim_id))
    return claims


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps each shared transaction had."""
    seen: list[int] = []
    run = group_commit.run

    def watched(connection: Connection, steps: Any, **how: Any) -> Any:
        seen.append(len(steps))
        return run(connection, steps, **how)

    monkeypatch.setattr("workers.group_commit.group_commit.run", watched)
    return seen


@pytest.fixture
def held(urls: Urls) -> Iterator[Any]:
    """Locks a tenant's cap until it is let go, so that a line forms behind it."""
    with psycopg.connect(urls.ops) as connection:

        def hold(tenant: UUID) -> psycopg.Connection[Any]:
            connection.execute("select from headrace.caps where tenant_id = %s for update", [tenant])
            return connection

        yield hold


def in_line(commits: GroupCommit, tenant: UUID) -> int:
    line = commits._lines.get(tenant)
    return 0 if line is None else 1 + len(line)


def together(commits: GroupCommit, tenant: UUID, hold: Any, steps: list[Any]) -> list[Any]:
    """Do steps that all come while the first of them waits for a lock."""
    lock = hold(tenant)
    with ThreadPoolExecutor(len(steps)) as threads:
        pending = []
        for n, step in enumerate(steps, start=1):
            pending.append(threads.submit(step))
            eventually(lambda n=n: in_line(commits, tenant) == n, why="it is in line")
        lock.rollback()
        return [one.exception() or one.result() for one in pending]


def test_what_comes_at_the_same_time_shares_a_transaction(
    app: Database, ops: Database, tenant: UUID, batches: list[int], held: Any
) -> None:
    commits = GroupCommit(app, lines=0)
    claims = claimed(app, tenant, 21)
    calls = [planned_call() for _ in claims]
    commits.begin(tenant, *claims[0], calls[0])
    assert batches == [], "what comes alone goes alone"
    grants = together(
        commits,
        tenant,
        held,
        [lambda i=i: commits.begin(tenant, *claims[i], calls[i]) for i in range(1, 21)],
    )
    assert [one.verdict for one in grants] == ["granted"] * 20
    assert batches == [AT_ONCE, 20 - 1 - AT_ONCE]
    settled = together(
        commits,
        tenant,
        held,
        [
            lambda i=i: commits.settle(
                tenant,
                *claims[i],
                run=answered_run(calls[i].run_id),
                verdict="ended",
                outcome=succeeded_outcome(calls[i].run_id),
            )
            for i in range(21)
        ],
    )
    assert settled == [Settled("ended")] * 21
    assert commits._lines == {}
    check_books(ops, None)


def test_each_gets_its_own_answer(app: Database, ops: Database, batches: list[int], held: Any) -> None:
    tenant = new_tenant(ops, "Mixed", daily_cap_usd=Decimal("0.005"))  # a user's part: 0.001
    commits = GroupCommit(app, lines=0)
    (first, lost, granted, too_much, later) = claimed(app, tenant, 5)
    call_of_first = planned_call(input_bound=0, max_output_tokens=1000)  # 0.0005
    assert commits.begin(tenant, *first, call_of_first).verdict == "granted"
    done = together(
        commits,
        tenant,
        held,
        [
            lambda: commits.begin(tenant, *granted, planned_call(input_bound=0, max_output_tokens=900)),
            lambda: commits.begin(tenant, lost[0], new_id(), planned_call()),
            lambda: commits.begin(tenant, *too_much, planned_call(input_bound=0, max_output_tokens=5000)),
            lambda: commits.begin(tenant, *later, planned_call(input_bound=0, max_output_tokens=1500)),
            lambda: commits.settle(
                tenant, *first, run=answered_run(call_of_first.run_id, 0, 10), verdict="ended",
                outcome=succeeded_outcome(call_of_first.run_id),
            ),
        ],
    )  # fmt: skip
    assert batches == [4]
    assert [one.verdict if isinstance(one, Grant) else one for one in done] == [
        "granted", "lost", "over_budget", "wait_for_room", Settled("ended"),
    ]  # fmt: skip
    assert done[2].cap_key == "u-1"
    assert done[2].others_reserved_usd == Decimal("0.00045"), "the settle came before the begins"


def test_one_that_fails_takes_nobody_with_it(
    app: Database, ops: Database, tenant: UUID, batches: list[int], held: Any
) -> None:
    commits = GroupCommit(app, lines=0)
    claims = claimed(app, tenant, 5)
    calls = [planned_call() for _ in claims]
    for one, planned in zip(claims, calls, strict=True):
        commits.begin(tenant, *one, planned)
    bad = answered_run(calls[2].run_id) | {"status": "who knows"}
    done = together(
        commits,
        tenant,
        held,
        [
            lambda i=i: commits.settle(
                tenant, *claims[i], run=bad if i == 2 else answered_run(calls[i].run_id), verdict="ended",
                outcome=succeeded_outcome(calls[i].run_id),
            )
            for i in range(5)
        ],
    )  # fmt: skip
    assert batches == [4], "all of it was undone, and each was done alone"
    assert isinstance(done[2], StatementRefusedError)
    assert [done[i] for i in (0, 1, 3, 4)] == [Settled("ended")] * 4
    with app.connection() as connection:
        assert (
            settle_job(
                connection,
                tenant,
                *claims[2],
                answered_run(calls[2].run_id),
                "ended",
                **succeeded_outcome(calls[2].run_id),
            )
            == "ended"
        )
    check_books(ops, None)


def test_an_answer_that_is_lost_is_asked_for_again(urls: Urls, ops: Database, tenant: UUID, app: Database) -> None:
    """All steps of the transaction are done, and the answer is lost: the repeat finds each of them done."""
    claims = claimed(app, tenant, 6)
    calls = [planned_call() for _ in claims]
    with PostgresProxy(urls.app) as proxy, Database(proxy.url) as behind:
        loss = proxy.lose(b"group_commit")
        ends = [planned_call() for _ in claims[3:]]
        for one, planned in zip(claims[3:], ends, strict=True):
            GroupCommit(app).begin(tenant, *one, planned)
        steps = [
            *(BeginStep(*one, planned) for one, planned in zip(claims[:3], calls, strict=False)),
            *(
                SettleStep(*one, answered_run(planned.run_id), "ended", succeeded_outcome(planned.run_id))
                for one, planned in zip(claims[3:], ends, strict=True)
            ),
        ]
        done = behind.retry_until_answered(
            lambda connection: group_commit.run(connection, [(tenant, one) for one in steps], wait=True)
        )
        assert loss.done.is_set()
    assert [one.verdict if isinstance(one, Grant) else one for one in done] == ["granted"] * 3 + [Settled("ended")] * 3
    check_books(ops, None, all_ended=False)


def test_many_threads_of_several_tenants(app: Database, ops: Database) -> None:
    tenants = [new_tenant(ops, f"T{n}") for n in range(3)]
    jobs = [(tenant, *one) for tenant in tenants for one in claimed(app, tenant, 40)]
    commits, barrier = GroupCommit(app), threading.Barrier(24)

    def work(n: int) -> list[str]:
        barrier.wait(20)
        ended = []
        for tenant, job_id, claim_id in jobs[n::24]:
            planned = planned_call()
            assert commits.begin(tenant, job_id, claim_id, planned).verdict == "granted"
            ended.append(
                commits.settle(
                    tenant,
                    job_id,
                    claim_id,
                    run=answered_run(planned.run_id),
                    verdict="ended",
                    outcome=succeeded_outcome(planned.run_id),
                ).state
            )
        return ended

    with ThreadPoolExecutor(24) as threads:
        assert [one for many in threads.map(work, range(24)) for one in many] == ["ended"] * 120
    assert commits._lines == {}
    check_books(ops, None)


def test_tenants_share_a_transaction_and_each_claim_gets_its_own_job(
    app: Database, ops: Database, batches: list[int]
) -> None:
    """While the first in line waits for a connection, the others stand behind it, whatever they are about."""
    tenants = [new_tenant(ops, f"T{n}") for n in range(3)]
    claims = {tenant: claimed(app, tenant, 2) for tenant in tenants}
    calls = {tenant: planned_call() for tenant in tenants}
    worker_id = new_id()
    with Database(app.url, connections=1) as database:
        commits = GroupCommit(database, lines=1)
        for tenant in tenants:
            assert commits.begin(tenant, *claims[tenant][0], calls[tenant]).verdict == "granted"
            with app.connection() as connection:
                enqueue_job(connection, tenant)

        def claim(tenant: UUID) -> Any:
            return commits.claim(
                tenant, "interactive", claim_id=new_id(), worker_id=worker_id, timeout_s=60, turns_per_tenant=64
            )

        def settle(tenant: UUID) -> Any:
            used_up = answered_run(calls[tenant].run_id)
            told = succeeded_outcome(calls[tenant].run_id)
            return commits.settle(tenant, *claims[tenant][0], run=used_up, verdict="ended", outcome=told)

        batches.clear()
        work = [lambda t=t, what=what: what(t) for t in tenants for what in (claim, settle, claim)]
        work += [lambda t=t: commits.begin(t, *claims[t][1], planned_call()) for t in tenants]
        with ThreadPoolExecutor(len(work)) as threads:
            with database.connection():
                pending = []
                for n, step in enumerate(work, start=1):
                    pending.append(threads.submit(step))
                    eventually(lambda n=n: 1 + len(commits._lines.get(0, ())) == n, why="it is in line")
            done = [one.result() for one in pending]
    assert batches == [1, len(work) - 1]
    for n in range(len(tenants)):
        first, settled, second = done[3 * n : 3 * n + 3]
        assert [isinstance(one, ClaimedJob) for one in (first, second)] == [True, False], "one job, so one claim has it"
        assert isinstance(first.job_id, UUID)
        assert settled == Settled("ended")
    assert [one.verdict for one in done[9:]] == ["granted"] * 3
    check_books(ops, None, all_ended=False)


def test_who_waits_for_a_lock_keeps_no_other_tenant_waiting(
    app: Database, ops: Database, tenant: UUID, held: Any
) -> None:
    """Another session holds a tenant's caps: its steps wait, all others go on."""
    other = new_tenant(ops, "Other")
    commits = GroupCommit(app, lines=1)
    (first, second), of_other = claimed(app, tenant, 2), claimed(app, other, 20)
    assert commits.begin(tenant, *first, planned_call()).verdict == "granted"
    lock = held(tenant)
    with ThreadPoolExecutor(21) as threads:
        stuck = threads.submit(commits.begin, tenant, *second, planned_call())
        granted = threads.map(lambda one: commits.begin(other, *one, planned_call()).verdict, of_other)
        assert list(granted) == ["granted"] * 20
        assert not stuck.done()
        lock.rollback()
        assert stuck.result(20).verdict == "granted"
    check_books(ops, None, all_ended=False)


def test_a_step_that_fails_parts_its_company_and_fails_alone(app: Database, ops: Database, tenant: UUID) -> None:
    other = new_tenant(ops, "Other")
    claims = [(tenant, *claimed(app, tenant, 1)[0]), *((other, *one) for one in claimed(app, other, 3))]
    calls = [planned_call() for _ in claims]
    with Database(app.url, connections=1) as database:
        commits = GroupCommit(database, lines=1)
        for one, planned in zip(claims, calls, strict=True):
            commits.begin(*one, planned)
        with ThreadPoolExecutor(len(claims)) as threads:
            with database.connection():
                pending = []
                for n, (one, planned) in enumerate(zip(claims, calls, strict=True)):
                    run = answered_run(planned.run_id) | ({"status": "who knows"} if n == 1 else {})
                    told = succeeded_outcome(planned.run_id)
                    pending.append(
                        threads.submit(commits.settle, *one, run=run, verdict="ended", outcome=told)  # type: ignore[arg-type]
                    )
                    eventually(lambda n=n: len(commits._lines.get(0, ())) == n, why="it is in line")
            done = [one.exception() or one.result() for one in pending]
    assert isinstance(done[1], StatementRefusedError)
    assert [done[i] for i in (0, 2, 3)] == [Settled("ended")] * 3
    check_books(ops, None, all_ended=False)


def test_a_claim_whose_answer_was_lost_holds_one_job(urls: Urls, ops: Database, tenant: UUID, app: Database) -> None:
    with app.connection() as connection:
        for _ in range(3):
            enqueue_job(connection, tenant)
    claim_id, worker_id = new_id(), new_id()
    with PostgresProxy(urls.app) as proxy, Database(proxy.url) as behind:
        loss = proxy.lose(b"group_commit")
        job = GroupCommit(behind, lines=1).claim(
            tenant, "interactive", claim_id=claim_id, worker_id=worker_id, timeout_s=60, turns_per_tenant=64
        )
        assert loss.done.is_set()
    assert isinstance(job, ClaimedJob)
    with ops.connection() as connection:
        running = connection.execute("select id from headrace.queue where claim_id = %s", [claim_id]).fetchall()
    assert [row["id"] for row in running] == [job.job_id]
