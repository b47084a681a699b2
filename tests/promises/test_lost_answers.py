"""The answer to a commit is lost: the change is done, and its caller must repeat it without doing it twice."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

import queues.redis
from producers import Client
from queues.broker_url import open_wire
from queues.turns import Wire
from settings import Settings
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import recovery
from storage.jobs import jobs
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Fleet, Urls, eventually
from tests.support.in_process import fresh, one_simulator, pipeline, turn
from tests.support.lossy_proxy import Loss, PostgresProxy, RedisProxy
from tests.support.transactions import (
    all_waiting_tenants,
    answered_run,
    begin_call,
    claim_job,
    enqueue_job,
    planned_call,
    settle_job,
    succeeded_outcome,
)
from workers.group_commit import GroupCommit
from workers.pipeline import Pipeline
from workers.scheduler import Scheduler

ENQUEUE = b"headrace.enqueue_batch"
# as steps of a transaction that may be shared, which is how a worker sends them; and each alone
CLAIM, BEGIN, SETTLE = b'"do": "claim"', b'"do": "begin"', b'"do": "settle"'
CLAIM_ALONE, BEGIN_ALONE, SETTLE_ALONE = b"headrace.claim", b"headrace.begin", b"headrace.settle"


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with one_simulator(tmp_path_factory.mktemp("simulator")) as fleet:
        yield fleet


@pytest.fixture
def simulator(one: Fleet) -> Fleet:
    return fresh(one)


@pytest.fixture
def proxy(urls: Urls) -> Iterator[PostgresProxy]:
    with PostgresProxy(urls.app) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: PostgresProxy) -> Iterator[Database]:
    """The test's database as headrace_app, through the proxy."""
    with Database(proxy.url) as database:
        yield database


@pytest.fixture
def worker(behind: Database, ops: Database, wiped_wire: Wire, simulator: Fleet) -> Pipeline:
    """A pipeline whose Postgres is behind the proxy."""
    return pipeline(behind, ops, wiped_wire, simulator)


@pytest.fixture
def apart(worker: Pipeline, behind: Database) -> Pipeline:
    """The same, whose steps go alone and wait for locks, as they do when tenants stand in lines of their own."""
    worker._shared = replace(worker._shared, group_commit=GroupCommit(behind, lines=0))
    return worker


def asked(tenant: UUID, number: int = 0, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"What is {number} times seven?"}]
    return {"tenant_id": tenant, "user_id": "u", "feature": "chat", "messages": messages,
            "max_output_tokens": 100, **fields}  # fmt: skip


def count(ops: Database, what: str) -> int:
    with ops.connection() as connection:
        row = connection.execute(f"select count(*)::integer as n from headrace.{what}").fetchone()  # type: ignore[arg-type]
    return row["n"] if row else 0


def only_job(ops: Database) -> dict[str, Any]:
    with ops.connection() as connection:
        (row,) = connection.execute(
            "select s.*, q.claim_id from headrace.job_status s left join headrace.queue q on q.id = s.id"
        ).fetchall()
    return row


# ------------------------------------------------------------------------------------------------------------- enqueue


def test_enqueue(proxy: PostgresProxy, behind: Database, ops: Database, wiped_wire: Wire, tenant: UUID) -> None:
    loss = proxy.lose(ENQUEUE)
    job_id = Client(behind, wiped_wire).enqueue(**asked(tenant))
    assert loss.done.is_set()
    assert only_job(ops)["id"] == job_id
    assert [one.tenant for one in wiped_wire.take("interactive", 9)] == [str(tenant)], "the repeat offers the turn"


def test_enqueue_with_a_key(
    proxy: PostgresProxy, behind: Database, ops: Database, wiped_wire: Wire, tenant: UUID
) -> None:
    client = Client(behind, wiped_wire)
    loss = proxy.lose(ENQUEUE)
    job_id = client.enqueue(**asked(tenant, idempotency_key="k"))
    assert loss.done.is_set()
    assert client.enqueue(**asked(tenant, idempotency_key="k")) == job_id == only_job(ops)["id"]


def test_enqueue_many(proxy: PostgresProxy, behind: Database, ops: Database, wiped_wire: Wire, tenant: UUID) -> None:
    """Two chunks of one tenant and one of another, each answer lost; a bad request among them is told of once."""
    other = new_tenant(ops, "Other")
    requests = [asked(tenant, number) for number in range(1001)] + [asked(other), asked(other, feature="no_such")]
    loss = proxy.lose(ENQUEUE, times=3)
    batch = Client(behind, wiped_wire).enqueue_many(requests)
    assert loss.left == 0
    assert [one.index for one in batch.refused] == [1002]
    assert len({one for one in batch.job_ids if one is not None}) == 1002 == count(ops, "jobs") == count(ops, "queue")
    turns = [one.tenant for one in wiped_wire.take("interactive", 999)]
    assert (turns.count(str(tenant)), turns.count(str(other))) == (64, 1)


# ------------------------------------------------------------------------------------------------ claim, begin, settle


@pytest.mark.parametrize("lost", [[CLAIM], [BEGIN], [SETTLE], [CLAIM, BEGIN, SETTLE]])
def test_a_job_ends_once_and_is_paid_once(
    lost: list[bytes],
    proxy: PostgresProxy,
    worker: Pipeline,
    client: Client,
    ops: Database,
    simulator: Fleet,
    tenant: UUID,
) -> None:
    job_id = client.enqueue(**asked(tenant))
    losses = [proxy.lose(one) for one in lost]
    worker.run(turn(tenant))
    assert all(loss.done.is_set() for loss in losses)
    result = client.result(job_id, tenant_id=tenant)
    assert (result.state, result.attempts) == ("succeeded", 1)
    assert len(simulator.journal()) == 1
    assert count(ops, "job_events") == 0
    check_books(ops, simulator.journal())


@pytest.mark.parametrize("lost", [[CLAIM_ALONE], [BEGIN_ALONE], [SETTLE_ALONE]])
def test_so_it_does_when_each_step_goes_alone(
    lost: list[bytes],
    proxy: PostgresProxy,
    apart: Pipeline,
    client: Client,
    ops: Database,
    simulator: Fleet,
    tenant: UUID,
) -> None:
    test_a_job_ends_once_and_is_paid_once(lost, proxy, apart, client, ops, simulator, tenant)


def test_settle_as_failed(
    proxy: PostgresProxy, worker: Pipeline, client: Client, ops: Database, simulator: Fleet, tenant: UUID
) -> None:
    simulator.behave(openai={"fault": "400"}, anthropic={"fault": "400"})
    job_id = client.enqueue(**asked(tenant))
    loss = proxy.lose(SETTLE, b"ended")
    worker.run(turn(tenant))
    assert loss.done.is_set()
    result = client.result(job_id, tenant_id=tenant)
    assert (result.state, result.reason, result.attempts) == ("failed", "provider_refused", 1)
    assert len(simulator.journal()) == 2
    check_books(ops, simulator.journal())


def test_settle_with_another_call_to_come(
    proxy: PostgresProxy, worker: Pipeline, client: Client, ops: Database, simulator: Fleet, tenant: UUID
) -> None:
    simulator.behave(openai={"fault": "500"})
    job_id = client.enqueue(**asked(tenant))
    loss = proxy.lose(SETTLE, b"next_call")
    worker.run(turn(tenant))
    assert loss.done.is_set()
    assert client.result(job_id, tenant_id=tenant).state == "succeeded"
    assert [one["status"] for one in simulator.journal()] == [500, 200]
    check_books(ops, simulator.journal())


def test_settle_to_retry(
    proxy: PostgresProxy, worker: Pipeline, client: Client, ops: Database, simulator: Fleet, tenant: UUID
) -> None:
    simulator.behave(openai={"fault": "cut", "fault_count": 1}, anthropic={"fault": "cut", "fault_count": 1})
    job_id = client.enqueue(**asked(tenant))
    loss = proxy.lose(SETTLE, b"retry")
    worker.run(turn(tenant))
    assert loss.done.is_set()
    row = only_job(ops)
    assert (row["state"], row["reason"], row["attempts"]) == ("scheduled", "provider_answer_lost", 1)
    check_books(ops, simulator.journal(), all_ended=False)
    run_when_due(ops, worker, tenant)
    result = client.result(job_id, tenant_id=tenant)
    assert (result.state, result.attempts) == ("succeeded", 2)
    assert count(ops, "job_events") == 1
    check_books(ops, simulator.journal())


def test_settle_to_defer(
    proxy: PostgresProxy, worker: Pipeline, client: Client, ops: Database, simulator: Fleet, urls: Urls
) -> None:
    poor = new_tenant(ops, "Poor", daily_cap_usd=None)
    held = "insert into headrace.caps (tenant_id, scope, key, hour, reserved_usd) values (%s, 'tenant', '', now(), %s)"
    with psycopg.connect(urls.owner) as owner:  # as if others' calls had reserved it all
        owner.execute(held, [poor, 50])
    job_id = client.enqueue(**asked(poor))
    loss = proxy.lose(SETTLE, b"defer")
    worker.run(turn(poor))
    assert loss.done.is_set()
    row = only_job(ops)
    assert (row["state"], row["reason"], row["attempts"]) == ("scheduled", "waiting_for_room", 0)
    with psycopg.connect(urls.owner) as owner:
        owner.execute("update headrace.caps set reserved_usd = 0")
    with ops.connection() as connection:
        assert recovery.release_for_money(connection, all_waiting_tenants(connection)).turns == {
            "interactive": {poor: 1}
        }
    worker.run(turn(poor))
    result = client.result(job_id, tenant_id=poor)
    assert (result.state, result.attempts) == ("succeeded", 1)
    check_books(ops, simulator.journal())


def test_settle_to_hand_back(
    proxy: PostgresProxy,
    behind: Database,
    client: Client,
    ops: Database,
    simulator: Fleet,
    wiped_wire: Wire,
    tenant: UUID,
) -> None:
    draining = threading.Event()
    draining.set()
    job_id = client.enqueue(**asked(tenant))
    loss = proxy.lose(SETTLE, b"hand_back")
    pipeline(behind, ops, wiped_wire, simulator, draining=draining).run(turn(tenant))
    assert loss.done.is_set()
    row = only_job(ops)
    assert (row["state"], row["attempts"], count(ops, "job_events")) == ("queued", 0, 1)
    pipeline(behind, ops, wiped_wire, simulator).run(turn(tenant))
    assert client.result(job_id, tenant_id=tenant).state == "succeeded"
    check_books(ops, simulator.journal())


def run_when_due(ops: Database, worker: Pipeline, tenant: UUID) -> None:
    def due() -> bool:
        with ops.connection() as connection:
            return bool(connection.execute("select * from headrace.release_due(9)").fetchall())

    eventually(due, every_s=0.01)
    worker.run(turn(tenant))


# ------------------------------------------------------------------- cut off while the server is still at the statement


def while_locked(urls: Urls, lock: str, loss: Loss, step: Callable[[], object], *, waiting: int) -> None:
    """Run ``step`` while ``lock`` holds its statement up; it is cut off there and repeated, and both go on together."""
    blocked = (  # a repeated claim looks again and again whether the first one has ended
        "select from pg_stat_activity where (wait_event_type = 'Lock' or wait_event = 'PgSleep')"
        " and datname = current_database()"
    )
    with (
        ThreadPoolExecutor() as beside,
        psycopg.connect(urls.owner, autocommit=True) as looker,
        psycopg.connect(urls.owner) as owner,  # closed first, which lets everybody go on
    ):
        owner.execute(lock)  # type: ignore[arg-type]
        working = beside.submit(step)
        assert loss.cut.wait(20)
        eventually(lambda: len(looker.execute(blocked).fetchall()) == waiting, why="both wait")
        owner.rollback()
        working.result(30)
        assert loss.done.wait(20)


def test_an_enqueue_and_its_repeat_at_the_same_time(
    urls: Urls, proxy: PostgresProxy, behind: Database, ops: Database, wiped_wire: Wire, tenant: UUID
) -> None:
    loss = proxy.lose(ENQUEUE, at_once=True)
    client = Client(behind, wiped_wire)
    lock = "lock table headrace.jobs in share mode"
    while_locked(urls, lock, loss, lambda: client.enqueue(**asked(tenant, idempotency_key="k")), waiting=2)
    assert (count(ops, "jobs"), count(ops, "queue"), count(ops, "idempotency")) == (1, 1, 1)


def test_a_claim_and_its_repeat_at_the_same_time(
    urls: Urls, proxy: PostgresProxy, apart: Pipeline, client: Client, ops: Database, simulator: Fleet, tenant: UUID
) -> None:
    """Two jobs wait; a claim must not end up with both, or one of them would hang until the claim's deadline."""
    client.enqueue_many([asked(tenant, number) for number in range(2)])
    loss = proxy.lose(CLAIM_ALONE, at_once=True)
    lock = "lock table headrace.queue in share mode"  # lets a claim choose its job, not take it
    while_locked(urls, lock, loss, lambda: apart.run(turn(tenant)), waiting=2)
    with ops.connection() as connection:
        assert jobs.count_by_state(connection, tenant) == {"queued": 1, "succeeded": 1}
    apart.run(turn(tenant))
    assert len(simulator.journal()) == 2
    check_books(ops, simulator.journal())


@pytest.mark.parametrize(("statement", "table"), [(BEGIN_ALONE, "runs"), (SETTLE_ALONE, "spend_daily")])
def test_a_begin_or_a_settle_and_its_repeat_at_the_same_time(
    statement: bytes, table: str, urls: Urls, proxy: PostgresProxy, apart: Pipeline, client: Client, ops: Database,
    simulator: Fleet, tenant: UUID,
) -> None:  # fmt: skip
    client.enqueue(**asked(tenant))
    loss = proxy.lose(statement, at_once=True)
    while_locked(urls, f"lock table headrace.{table} in share mode", loss, lambda: apart.run(turn(tenant)), waiting=2)
    row = only_job(ops)
    assert (row["state"], row["attempts"], count(ops, "job_events")) == ("succeeded", 1, 0)
    assert len(simulator.journal()) == 1
    check_books(ops, simulator.journal())


def test_a_zombies_settle_and_its_repeat_at_the_same_time(
    urls: Urls, proxy: PostgresProxy, behind: Database, app: Database, ops: Database, tenant: UUID
) -> None:
    """The job is gone, so nothing but the run itself stands between the two."""
    claim_id, planned = new_id(), planned_call()
    with app.connection() as connection, ops.connection() as scheduler:
        job_id = enqueue_job(connection, tenant, on_unknown="fail")
        claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id())
        begin_call(connection, tenant, job_id, claim_id, planned)
        assert recovery.reclaim(scheduler, silent_s=1, max_deaths=3) is not None

    def settle() -> str:
        return behind.retry_until_answered(
            lambda connection: settle_job(
                connection,
                tenant,
                job_id,
                claim_id,
                answered_run(planned.run_id),
                "ended",
                **succeeded_outcome(planned.run_id),
            )
        )

    loss = proxy.lose(SETTLE_ALONE, at_once=True)
    while_locked(urls, "lock table headrace.spend_daily in share mode", loss, settle, waiting=2)
    check_books(ops, None)


# ------------------------------------------------------------------------------------------------------------- the wire


@pytest.fixture
def redis_proxy(urls: Urls, wiped_wire: Wire) -> Iterator[RedisProxy]:
    with RedisProxy(urls.redis) as proxy:
        yield proxy


@pytest.fixture
def wire_behind(redis_proxy: RedisProxy) -> Iterator[Wire]:
    wire = open_wire(redis_proxy.url, lanes=Settings().lane_weights)
    yield wire
    wire.close()


def script(name: str) -> bytes:
    """How a call of one of the wire's scripts is told from others."""
    text = Path(queues.redis.__path__[0], f"{name}.lua").read_bytes()
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


@pytest.fixture
def behind_the_wire(fleet: Fleet, redis_proxy: RedisProxy, simulator: Fleet) -> Fleet:
    """A worker process whose wire is behind the proxy."""
    ours = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HEADRACE_OPENAI_BASE_URL", "HEADRACE_ANTHROPIC_BASE_URL")
    fleet.env |= {name: simulator.env[name] for name in ours}
    fleet.worker(HEADRACE_REDIS_URL=redis_proxy.url)
    return fleet


@pytest.mark.parametrize(
    ("at_once", "times"), [(True, 99), (False, 99), (False, 1)], ids=["every offer", "every reply", "one reply"]
)
def test_offers(
    at_once: bool, times: int, redis_proxy: RedisProxy, wire_behind: Wire, wiped_wire: Wire, app: Database,
    ops: Database, client: Client, behind_the_wire: Fleet, simulator: Fleet, scheduler: Scheduler, tenant: UUID,
) -> None:  # fmt: skip
    """The jobs are in whatever becomes of the offers; with too many turns or none, each job ends once."""
    wiped_wire.offer("interactive", "nobody")  # so that the server knows the script
    loss = redis_proxy.lose(script("offer"), at_once=at_once, times=times)
    behind = Client(app, wire_behind)
    job_ids = [behind.enqueue(**asked(tenant, number)) for number in range(5)]
    assert loss.done.is_set()
    for job_id in job_ids:
        assert client.result(job_id, tenant_id=tenant, timeout=30).state == "succeeded"
    assert len(simulator.journal()) == 5
    check_books(ops, simulator.journal())


def test_turns_that_were_taken_and_never_arrived(
    redis_proxy: RedisProxy, ops: Database, client: Client, behind_the_wire: Fleet, simulator: Fleet,
    scheduler: Scheduler, tenant: UUID,
) -> None:  # fmt: skip
    loss = redis_proxy.lose(script("take"), times=4)
    job_ids = [client.enqueue(**asked(tenant, number)) for number in range(20)]
    for job_id in job_ids:
        assert client.result(job_id, tenant_id=tenant, timeout=30).state == "succeeded"
    assert loss.left == 0
    assert len(simulator.journal()) == 20
    check_books(ops, simulator.journal())
