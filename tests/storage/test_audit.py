"""The checker knows a breach when it sees one: each promise is broken on purpose, and nothing else is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from console.endpoints import Endpoints
from producers import Client
from storage.catalogue import tenants
from storage.db.connect import Connection, connect
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import audit, workers
from storage.fleet.audit import CHECKS, AuditFinding
from storage.jobs import jobs
from storage.money import limits
from storage.money.limits import SlotScope
from tests.conftest import TEMPLATE, _in_database, new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Fleet
from tests.support.transactions import (
    answered_run,
    begin_call,
    claim_job,
    enqueue_job,
    planned_call,
    refused_run,
    settle_job,
    succeeded_outcome,
    unknown_run,
)
from workers.scheduler import Scheduler

Journal = list[dict[str, Any]]


@dataclass(frozen=True)
class Books:
    """A healthy system in the middle of its work, as the superuser sees it: every kind of job and call."""

    owner: Connection
    tenant: UUID
    journal: Journal

    def findings(self, journal: Journal) -> list[AuditFinding]:
        """All that the checker finds, looking as operators do."""
        self.owner.execute("set local role headrace_ops")
        found = audit.findings(self.owner) + audit.calls(self.owner, journal)
        self.owner.execute("reset role")
        return found


@pytest.fixture(scope="module")
def books(services: Endpoints) -> Iterator[Books]:
    name = "audited"
    with psycopg.connect(services.require_owner(), autocommit=True) as server:
        server.execute(f"create database {name} template {TEMPLATE}")
        with (
            connect(_in_database(services.require_owner(), name)) as owner,
            connect(_in_database(services.database_url, name)) as app,
            connect(_in_database(services.require_ops(), name)) as ops,
        ):
            tenant = tenants.add(ops, name="Acme", plan="pro")
            yield Books(owner, tenant, _work(app, ops, tenant))
        server.execute(f"drop database {name} with (force)")


def _work(app: Connection, ops: Connection, tenant: UUID) -> Journal:
    """Run some jobs by hand; what a provider would have noted of their calls."""
    worker = new_id()
    workers.heartbeat(ops, worker, host="h", pid=1, threads=8)

    def begin(**fields: Any) -> tuple[UUID, UUID, UUID]:
        claim, planned = new_id(), planned_call(**fields)
        enqueue_job(app, tenant)
        job = claim_job(app, tenant, claim_id=claim, worker_id=worker, timeout_s=3600)
        assert job is not None
        assert begin_call(app, tenant, job.job_id, claim, planned).verdict == "granted"
        return job.job_id, claim, planned.run_id

    failed = {"outcome": "failed", "reason": "x", "error": {}}
    journal: Journal = []

    def note(run_id: UUID, status: int, input_tokens: int, output_tokens: int) -> None:
        tokens = {"input_tokens": input_tokens, "output_tokens": output_tokens}
        journal.append({"client_request_id": str(run_id), "status": status, **tokens})

    for own_key in ({}, {"key_owner": "tenant"}):
        job, claim, run = begin(**own_key)
        settle_job(app, tenant, job, claim, answered_run(run), "ended", **succeeded_outcome(run))
        note(run, 200, 10, 20)
    job, claim, run = begin()
    settle_job(app, tenant, job, claim, refused_run(run), "ended", **failed)
    note(run, 500, 0, 0)
    job, claim, run = begin()
    settle_job(app, tenant, job, claim, unknown_run(run), "ended", **failed)
    note(run, 200, 10, 20)
    for scope, key, n in (
        (SlotScope.LANE, "interactive", 9),
        (SlotScope.FEATURE, "chat", 4),
        (SlotScope.LANE, "batch", 2),
    ):
        limits.set_concurrency(ops, tenant, scope, key, n, actor="a person")
    begin()  # and never heard of again so far
    enqueue_job(app, tenant, user_id="waits")
    enqueue_job(app, tenant, user_id="later", run_at="2099-01-01T00:00:00Z")
    return journal


# What breaks each promise and no other: SQL that only a superuser could run, or what is done to the provider's journal.
BREAKS: dict[str, list[str | Callable[[Journal], object]]] = {
    "one_state": [
        "delete from headrace.queue where state = 'queued'",
        """insert into headrace.queue (id, tenant_id, lane, user_id, feature, state, rank, estimated_tokens)
           select id, tenant_id, lane, user_id, feature, 'queued', 0, 1 from headrace.jobs where outcome = 'failed'""",
    ],
    "no_orphan_queue_row": ["delete from headrace.jobs where outcome is null"],
    "one_result": [
        "delete from headrace.results",
        "update headrace.jobs set outcome = 'failed', reason = 'x' where outcome = 'succeeded'",
    ],
    "result_has_its_run": [
        "update headrace.results set run_id = (select id from headrace.runs where status = 'failed')",
        "update headrace.results set run_id = gen_random_uuid()",
    ],
    "result_is_of_the_last_claim": [
        "update headrace.jobs set ended_claim = gen_random_uuid() where outcome = 'succeeded'"
    ],
    "unknown_call_costs_its_reservation": [
        "update headrace.runs set reserved_usd = reserved_usd + 1 where status = 'unknown'"
    ],
    "reservation_has_a_live_claim": [
        "update headrace.reservations set claim_id = gen_random_uuid() where amount_usd > 0"
    ],
    "open_call_has_a_live_claim": ["update headrace.runs set claim_id = gen_random_uuid() where status = 'started'"],
    "caps_hold_what_is_reserved": [
        "update headrace.caps set reserved_usd = reserved_usd + 0.01 where scope = 'user'",
        "update headrace.caps set reserved_usd = 0",
    ],
    "ledger_equals_runs": [
        """with more as (
               update headrace.spend_buckets b set spent_usd = spent_usd + 0.01
               where hour = (select max(x.hour) from headrace.spend_buckets x where (x.scope, x.key) = (b.scope, b.key))
               returning scope, key)
           update headrace.caps c set spent_usd = spent_usd + 0.01 from more m
           where (m.scope, m.key) = (c.scope, c.key)"""
    ],
    "window_equals_buckets": ["update headrace.caps set spent_usd = spent_usd + 0.01 where scope = 'feature'"],
    "rollup_equals_runs": [
        "update headrace.spend_daily set calls = calls + 1",
        "update headrace.spend_daily set cached_input_tokens = cached_input_tokens + 1",
        "delete from headrace.spend_daily",
    ],
    "billing_equals_runs": [
        "update headrace.billing_daily set calls = calls + 1",
        "update headrace.billing_daily set output_tokens = output_tokens - 1",
        "update headrace.billing_daily set platform_usd = platform_usd + 0.000000000001",
        "delete from headrace.billing_daily",
    ],
    "taken_slot_has_a_live_claim": [
        "update headrace.slots set claim_id = gen_random_uuid(), of_tenant = gen_random_uuid()"
        " where claim_id is null and cap_key like '%lane:batch'"
    ],
    "cap_has_its_slots": [
        "delete from headrace.slots where cap_key like '%lane:batch' and n = 0",
        "update headrace.concurrency set slots = slots + 1 where key = 'batch'",
        "update headrace.slots set retired = true where claim_id is not null",
    ],
    "running_job_holds_its_slots": [
        "update headrace.slots set claim_id = null, of_tenant = null"
        " where cap_key like '%feature:chat' and claim_id is not null"
    ],
    "no_cap_is_passed": [
        "update headrace.tenants set daily_cost_cap_usd = 0",
        "update headrace.caps set limit_usd = 0 where scope = 'feature'",
    ],
    "limit_is_of_a_composed_id": [
        "insert into headrace.caps (tenant_id, scope, key, limit_usd, hour)"
        " select id, 'user', 'Jose' || chr(769), 1, headrace.now() from headrace.tenants",
        "insert into headrace.rates (tenant_id, scope, key, per_minute)"
        " select id, 'user', 'Jose' || chr(769), 1 from headrace.tenants",
    ],
    "call_has_a_run": [
        lambda journal: journal.append({**journal[0], "client_request_id": str(uuid4())}),
    ],
    "call_made_once": [lambda journal: journal.append(journal[0])],
    "run_equals_its_call": [
        lambda journal: journal[0].update(output_tokens=21),
        lambda journal: journal[0].update(status=500),
        lambda journal: journal[2].update(output_tokens=1),
    ],
    "unknown_call_was_reserved": [lambda journal: journal[3].update(output_tokens=1_000_000)],
    # (what is older than the journal's first call is not held against it)
    "known_run_reached_the_provider": [lambda journal: journal.pop(1), lambda journal: journal.pop(2)],
}


@pytest.mark.parametrize(
    "code", ["provider_unreachable", "provider_not_sent", "breaker_open", "rate_limit_held", "deadline_passed"]
)
def test_a_call_that_never_left_is_not_looked_for_at_the_provider(books: Books, code: str) -> None:
    refused_call = books.journal[2]
    with books.owner.transaction(force_rollback=True):
        books.owner.execute(
            "update headrace.runs set error_code = %s, http_status = null where id = %s",
            [code, refused_call["client_request_id"]],
        )
        assert books.findings([noted for noted in books.journal if noted is not refused_call]) == []


@pytest.mark.parametrize("code", ["usage_absurd", "usage_missing"])
def test_an_answer_whose_usage_is_not_known_is_a_result_of_an_unknown_run(books: Books, code: str) -> None:
    with books.owner.transaction(force_rollback=True):
        books.owner.execute(
            "update headrace.runs set status = 'unknown', error_code = %s where id = %s",
            [code, books.journal[0]["client_request_id"]],
        )
        assert "result_has_its_run" not in {finding.check for finding in books.findings(books.journal)}


def test_every_check_is_broken_here() -> None:
    assert set(BREAKS) == set(CHECKS)


def test_a_healthy_system_in_the_middle_of_its_work_has_nothing_to_find(books: Books) -> None:
    with books.owner.transaction(force_rollback=True):
        assert books.findings(books.journal) == []


@pytest.mark.parametrize(("check", "breach"), [(check, one) for check in CHECKS for one in BREAKS[check]])
def test_a_broken_promise_is_found_and_no_other(
    books: Books, check: str, breach: str | Callable[[Journal], object]
) -> None:
    journal = json.loads(json.dumps(books.journal))
    with books.owner.transaction(force_rollback=True):
        if isinstance(breach, str):
            assert books.owner.execute(breach).rowcount > 0  # type: ignore[call-overload]
        else:
            breach(journal)
        found = books.findings(journal)
    assert {one.check for one in found} == {check}
    assert {one.tenant_id for one in found} == {None if check == "call_has_a_run" else books.tenant}
    assert all(one.facts for one in found)


def test_a_cap_that_a_person_lowered_below_its_spend_is_no_breach(books: Books) -> None:
    with books.owner.transaction(force_rollback=True):
        books.owner.execute("set local role headrace_ops")
        tenants.set_cap(books.owner, books.tenant, Decimal(0), actor="a person")
        assert books.findings(books.journal) == []


def test_a_bill_beyond_the_bound_is_flagged_and_no_breach(app: Database, ops: Database) -> None:
    tenant = new_tenant(ops, "Billed", daily_cap_usd=Decimal("0.005"))  # a user's share is 0.001
    claim, planned = new_id(), planned_call()
    with app.connection() as connection:
        job = enqueue_job(connection, tenant)
        claim_job(connection, tenant, claim_id=claim, worker_id=new_id())
        assert begin_call(connection, tenant, job, claim, planned).verdict == "granted"
        settle_job(
            connection,
            tenant,
            job,
            claim,
            answered_run(planned.run_id, output_tokens=9000),
            "ended",
            **succeeded_outcome(planned.run_id),
        )
    with ops.connection() as connection:
        (cap,) = connection.execute("select spent_usd from headrace.caps where scope = 'user'").fetchall()
        assert cap["spent_usd"] > Decimal("0.001")
        assert audit.findings(connection) == []


def test_what_is_in_motion_is_no_breach(
    client: Client, fleet: Fleet, ops: Database, app: Database, tenant: UUID, scheduler: Scheduler
) -> None:
    """Looked at again and again while jobs run, fail, wait and are cancelled."""
    poor = new_tenant(ops, "Poor", daily_cap_usd=Decimal("0.002"))
    fleet.simulator(
        openai={"fault": "500", "fault_rate": 0.3, "latency_ms": 20},
        anthropic={"fault": "cut", "fault_rate": 0.3, "latency_ms": 20},
    )
    fleet.worker(threads=8, HEADRACE_BREAKER_RESET_S="0.2")
    batch = client.enqueue_many(
        {
            "tenant_id": poor if number % 4 == 0 else tenant, "user_id": f"u-{number % 3}", "feature": "chat",
            "messages": [{"role": "user", "content": f"Number {number}?"}], "max_output_tokens": 300,
            "on_over_budget": "wait" if number % 8 == 0 else "fail",
        }
        for number in range(200)
    )  # fmt: skip
    with app.connection() as connection:
        for number, job_id in enumerate(batch.job_ids):
            if job_id is not None and number % 10 == 9:
                jobs.cancel(connection, tenant if number % 4 else poor, job_id, by="a person")
    looks = 0
    with ops.connection() as connection:
        while True:
            assert audit.findings(connection) == []
            left = connection.execute(
                "select from headrace.queue where reason is distinct from 'over_budget'"
            ).fetchall()
            if not left:
                break
            looks += 1
    assert looks > 20, "the checker was to look while the system worked"
    check_books(ops, fleet.journal(), all_ended=False)
