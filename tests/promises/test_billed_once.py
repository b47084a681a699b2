"""Each closed day is counted at Stripe once, whatever fails, and what was exported never changes."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

from errors import BillerAnswerLostError, BillerAuthError, BillerUnavailableError
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import audit
from storage.money import billing
from storage.money.billing import SURE_S
from tests.conftest import new_tenant
from tests.support.database_clock import Clock
from tests.support.fleet import Urls, eventually
from tests.support.lossy_proxy import PostgresProxy
from tests.support.stripe_server import EVENT_NAME, KEY, MeterServer, meter_server
from tests.support.transactions import (
    answered_run,
    begin_call,
    claim_job,
    enqueue_job,
    planned_call,
    settle_job,
    succeeded_outcome,
    unknown_run,
)
from workers.backoff import Backoff
from workers.outbox.billing import LEASE_S, Biller
from workers.outbox.stripe_meter import TIMEOUT_S, StripeMeter

START = datetime(2031, 3, 1, 9, tzinfo=UTC)
FAULTS = ("500", "429", "cut", "dropped", "recorded_then_500", "400")


@pytest.fixture
def clock(urls: Urls) -> Iterator[Clock]:
    """Postgres's time, by hand from now on."""
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        yield Clock(owner, START)


@pytest.fixture
def server(clock: Clock) -> Iterator[MeterServer]:
    """Stripe, on the same clock."""
    with meter_server(lambda: clock.now, "cus_0", "cus_1", "cus_2") as server:
        yield server


@pytest.fixture
def biller(ops: Database, server: MeterServer) -> Iterator[Biller]:
    with a_biller(ops, server) as biller:
        yield biller


@contextmanager
def a_biller(database: Database, server: MeterServer) -> Iterator[Biller]:
    meter = StripeMeter(KEY, event_name=EVENT_NAME, base_url=server.url, timeout_s=5.0)
    yield Biller(database, meter, backoff=Backoff(base_s=10, cap_s=900, uniform=lambda _low, high: high))
    meter.close()


def billed_tenant(ops: Database, number: int, **amounts: str) -> UUID:
    tenant = new_tenant(ops, f"T{number}")
    prices = {name: Decimal(amount) for name, amount in (amounts or {"per_call_usd": "1"}).items()}
    with ops.connection() as connection:
        billing.set_customer(connection, tenant, f"cus_{number}", actor="x")
        billing.set_price(connection, tenant, effective_from=START.date(), actor="x", **prices)  # type: ignore[arg-type]
    return tenant


Open = tuple[UUID, UUID, UUID, UUID]


def begin(app: Database, tenant: UUID) -> Open:
    """A call that is under way."""
    claim, planned = new_id(), planned_call()
    with app.connection() as connection:
        job = enqueue_job(connection, tenant)
        assert claim_job(connection, tenant, claim_id=claim, worker_id=new_id()) is not None
        assert begin_call(connection, tenant, job, claim, planned).verdict == "granted"
    return tenant, job, claim, planned.run_id


def lose(app: Database, one: Open) -> None:
    tenant, job, claim, run = one
    with app.connection() as connection:
        settle_job(connection, tenant, job, claim, unknown_run(run), "ended", outcome="failed", reason="x", error={})


def settle(app: Database, one: Open, output_tokens: int = 20) -> None:
    tenant, job, claim, run = one
    with app.connection() as connection:
        settle_job(
            connection,
            tenant,
            job,
            claim,
            answered_run(run, output_tokens=output_tokens),
            "ended",
            **succeeded_outcome(run),
        )


def next_day(clock: Clock) -> None:
    clock.set((clock.now + timedelta(days=1)).replace(hour=0, minute=1))


def waiting_days(app: Database, ops: Database, clock: Clock, tenants: list[UUID], days: int) -> None:
    """Some closed days of some tenants, a call worth a dollar on each."""
    for _ in range(days):
        for tenant in tenants:
            settle(app, begin(app, tenant))
        next_day(clock)
    with ops.connection() as connection:
        assert len(billing.close_days(connection)) == days * len(tenants)


def outbox(ops: Database) -> list[dict[str, Any]]:
    with ops.connection() as connection:
        return connection.execute("select * from headrace.outbox order by id").fetchall()


def test_a_day_is_sent_and_then_left_alone(
    app: Database, ops: Database, clock: Clock, server: MeterServer, biller: Biller
) -> None:
    tenant = billed_tenant(ops, 0)
    waiting_days(app, ops, clock, [tenant], 1)

    first, second = biller.send_some(), biller.send_some()

    assert (first.sent, first.failed, second.sent) == (1, 0, 0)
    (one,) = server.recorded
    assert (one.customer, one.value, one.identifier) == ("cus_0", 1_000_000, f"headrace-{tenant}-2031-03-01")
    assert datetime.fromtimestamp(one.timestamp, UTC).date() == date(2031, 3, 1)
    with ops.connection() as connection:
        (status,) = billing.status(connection)
    assert (status.sent_days, status.waiting_days, status.failed_days) == (1, 0, 0)


@pytest.mark.parametrize("fault", ["500", "429", "cut", "dropped", "recorded_then_500"])
def test_a_fault_ends_the_round_and_the_repeat_counts_nothing_twice(
    app: Database, ops: Database, clock: Clock, server: MeterServer, biller: Biller, fault: str
) -> None:
    tenant = billed_tenant(ops, 0)
    waiting_days(app, ops, clock, [tenant], 3)
    server.faults.append(fault)

    failed = biller.send_some()
    assert (failed.sent, failed.failed) == (0, 1)
    assert isinstance(failed.stopped_by, BillerUnavailableError if fault == "429" else BillerAnswerLostError)
    (first, *_) = outbox(ops)
    assert (first["attempts"], first["sent_at"]) == (1, None)
    assert first["next_try_at"] == clock.now + timedelta(seconds=10 + (7 if fault == "429" else 5))
    assert (first["unsure_since"] is None) == (fault == "429"), "only a refusal says that nothing was recorded"

    assert biller.send_some().sent == 2, "the others go meanwhile"
    clock.advance(20)
    assert biller.send_some().sent == 1
    assert server.total("cus_0") == 3_000_000
    assert len(server.recorded) == 3


def test_a_wait_that_stripe_asks_for_is_an_hour_at_most(
    app: Database, ops: Database, clock: Clock, server: MeterServer, biller: Biller
) -> None:
    waiting_days(app, ops, clock, [billed_tenant(ops, 0)], 1)
    server.retry_after_s = 10**9
    server.faults.append("429")

    biller.send_some()

    assert outbox(ops)[0]["next_try_at"] == clock.now + timedelta(seconds=3600 + 10)


def test_an_event_that_stripe_refuses_blocks_nobody_and_goes_when_its_cause_is_mended(
    app: Database, ops: Database, clock: Clock, server: MeterServer, biller: Biller
) -> None:
    tenants = [billed_tenant(ops, number) for number in range(3)]
    waiting_days(app, ops, clock, tenants, 1)
    server.customers.discard("cus_0")

    done = biller.send_some()

    assert (done.sent, done.failed, done.stopped_by) == (2, 1, None)
    with ops.connection() as connection:
        (trouble,) = billing.unsent(connection)
    assert trouble.error is not None
    assert (trouble.tenant, trouble.attempts, trouble.held) == ("T0", 1, False)
    assert "No such customer: cus_0" in trouble.error
    for attempt in range(2, 30):  # for days: each time later, never more than a quarter of an hour and a minute
        clock.advance(961)
        assert biller.send_some().failed == 1
        assert outbox(ops)[0]["attempts"] == attempt
        assert outbox(ops)[0]["next_try_at"] <= clock.now + timedelta(seconds=960)
    next_day(clock)
    server.customers.add("cus_0")
    assert biller.send_some().sent == 1
    assert [server.total(f"cus_{number}") for number in range(3)] == [1_000_000] * 3


def test_the_wrong_key_stops_the_round_and_harms_nothing(
    app: Database, ops: Database, clock: Clock, server: MeterServer, biller: Biller
) -> None:
    waiting_days(app, ops, clock, [billed_tenant(ops, 0)], 2)
    wrong = Biller(ops, StripeMeter("sk_test_old", event_name=EVENT_NAME, base_url=server.url))

    done = wrong.send_some()

    assert isinstance(done.stopped_by, BillerAuthError)
    assert len(server.asked) == 1
    clock.advance(60)
    assert biller.send_some().sent == 2


def test_two_senders_at_once_count_each_day_once(
    app: Database, ops: Database, clock: Clock, server: MeterServer
) -> None:
    waiting_days(app, ops, clock, [billed_tenant(ops, number) for number in range(3)], 6)
    meeting = threading.Barrier(2)
    met = threading.Event()

    def meet() -> None:  # the first two calls are under way at the same time, for sure
        if not met.is_set():
            meeting.wait(20)
            met.set()

    server.delay = meet
    with a_biller(ops, server) as one, a_biller(ops, server) as other, ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda biller: biller.send_some(), [one, other]))
        for _ in range(5):  # one call at a time for a customer: a second one is put off
            clock.advance(1000)
            one.send_some()

    assert [server.total(f"cus_{number}") for number in range(3)] == [6_000_000] * 3
    assert len(server.recorded) == 18
    assert met.is_set()


DYING = """
import sys
from storage.db.database import Database
from workers.outbox.billing import Biller
from workers.outbox.stripe_meter import TIMEOUT_S, StripeMeter
meter = StripeMeter(sys.argv[3], event_name=sys.argv[4], base_url=sys.argv[2], timeout_s=100)
Biller(Database(sys.argv[1]), meter).send_some()
"""


def test_a_sender_that_is_killed_after_stripe_recorded_leaves_a_repeat_that_stripe_knows(
    app: Database, ops: Database, urls: Urls, clock: Clock, server: MeterServer, biller: Biller
) -> None:
    waiting_days(app, ops, clock, [billed_tenant(ops, 0)], 1)
    server.faults.append("drip")
    process = subprocess.Popen([sys.executable, "-c", DYING, urls.ops, server.url, KEY, EVENT_NAME])
    try:
        eventually(lambda: server.recorded or process.poll() is not None, why="it is recorded")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()

    assert biller.send_some().sent == 0, "the dead one's lease holds"
    clock.advance(LEASE_S)
    assert biller.send_some().sent == 1
    assert server.total("cus_0") == 1_000_000
    assert server.answered[400] == 1, "it was asked again, and refused as known"
    assert (outbox(ops)[0]["attempts"], outbox(ops)[0]["sent_at"]) == (2, clock.now)


def test_a_sender_that_was_held_up_leaves_the_event_to_whoever_has_it_now(
    app: Database, ops: Database, clock: Clock, server: MeterServer, biller: Biller, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting_days(app, ops, clock, [billed_tenant(ops, 0)], 1)
    monkeypatch.setattr(
        "workers.outbox.billing.LEASE_S", TIMEOUT_S
    )  # so that any moment between take and try is too long

    assert biller.send_some().sent == 0
    assert server.asked == []
    monkeypatch.undo()
    clock.advance(TIMEOUT_S)
    assert biller.send_some().sent == 1


def test_a_postgres_that_is_away_when_the_answer_comes_costs_a_repeat_and_no_more(
    app: Database, ops: Database, urls: Urls, clock: Clock, server: MeterServer, biller: Biller
) -> None:
    waiting_days(app, ops, clock, [billed_tenant(ops, 0)], 1)
    with PostgresProxy(urls.ops) as proxy, Database(proxy.url) as behind, a_biller(behind, server) as other:
        loss = proxy.lose(b"An event has been received")  # done, and the answer lost: safe to repeat
        assert other.send_some().sent == 1
        assert loss.left == 0
    clock.advance(LEASE_S)
    assert biller.send_some().sent == 0
    assert server.total("cus_0") == 1_000_000


def test_a_lost_answer_is_not_repeated_after_stripe_has_forgotten_the_identifier(
    app: Database, ops: Database, clock: Clock, server: MeterServer, biller: Biller
) -> None:
    """The server does forget: sent again after a day, the event would be counted twice."""
    tenant = billed_tenant(ops, 0)
    waiting_days(app, ops, clock, [tenant], 1)
    server.faults.append("cut")
    assert biller.send_some().failed == 1
    server.faults.extend(["500"] * 3)
    for _ in range(3):
        clock.advance(1000)
        biller.send_some()
    clock.advance(SURE_S)

    assert biller.send_some().sent == 0
    clock.advance(10 * 86400)
    assert biller.send_some().sent == 0
    assert server.total("cus_0") == 1_000_000
    with ops.connection() as connection:
        (held,) = billing.unsent(connection)
        assert held.held
        assert billing.resolve(connection, tenant, held.day, sent=True, actor="a person")
        (status,) = billing.status(connection)
    assert (status.held_days, status.sent_days) == (0, 1)


@pytest.mark.parametrize(("late_days", "timestamp_moves"), [(33, False), (40, True)])
def test_a_day_that_is_too_old_for_stripe_is_sent_as_of_now(
    app: Database, ops: Database, clock: Clock, server: MeterServer, biller: Biller, late_days: int,
    timestamp_moves: bool,
) -> None:  # fmt: skip
    waiting_days(app, ops, clock, [billed_tenant(ops, 0)], 1)
    clock.advance(late_days * 86400)

    assert biller.send_some().sent == 1

    (one,) = server.recorded
    day_end = int(datetime(2031, 3, 1, 23, 59, 59, tzinfo=UTC).timestamp())
    assert one.timestamp == (int(clock.now.timestamp()) if timestamp_moves else day_end)


def test_the_loop_closes_and_sends_survives_faults_and_ends_when_told(
    app: Database, ops: Database, urls: Urls, clock: Clock, server: MeterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.outbox.billing._SEND_EVERY_S", 0.02)
    monkeypatch.setattr("workers.outbox.billing._CLOSE_EVERY_S", 0.02)
    tenant = billed_tenant(ops, 0)
    stopping = threading.Event()
    with psycopg.connect(urls.owner, autocommit=True) as owner, a_biller(ops, server) as biller:
        owner.execute("revoke update on headrace.outbox from headrace_ops")  # an unforeseen fault
        thread = threading.Thread(target=biller.run, args=[stopping])
        thread.start()
        settle(app, begin(app, tenant))
        next_day(clock)
        eventually(lambda: outbox(ops), why="the day is closed")
        assert server.asked == []
        owner.execute("grant update on headrace.outbox to headrace_ops")
        eventually(lambda: outbox(ops)[0]["sent_at"], why="its event is sent")
        stopping.set()
        thread.join(20)
    assert not thread.is_alive()
    assert server.total("cus_0") == 1_000_000


def test_without_a_key_days_are_closed_and_wait(app: Database, ops: Database, clock: Clock) -> None:
    tenant = billed_tenant(ops, 0)
    settle(app, begin(app, tenant))
    next_day(clock)
    stopping = threading.Event()
    thread = threading.Thread(target=Biller(ops, None).run, args=[stopping])
    thread.start()
    eventually(lambda: outbox(ops), why="the day is closed")
    stopping.set()
    thread.join(20)
    assert not thread.is_alive()
    assert outbox(ops)[0]["attempts"] == 0


@pytest.mark.parametrize("seed", range(4))
def test_over_any_history_stripe_has_what_is_owed_and_the_books_agree(
    app: Database, ops: Database, clock: Clock, server: MeterServer, biller: Biller, seed: int
) -> None:
    """Calls that are answered, lost and found again over days; closings; a Stripe that fails in every way."""
    dice = random.Random(seed)
    tenants = [
        billed_tenant(ops, 0, cost_factor="1.3"),
        billed_tenant(ops, 1, per_call_usd="0.0000007", input_mtok_usd="0.333", output_mtok_usd="1.7"),
        billed_tenant(ops, 2, cost_factor="0.77", per_call_usd="0.00001"),
    ]
    under_way: list[Open] = []
    lost: list[Open] = []
    exported: dict[tuple[UUID, date], dict[str, Any]] = {}

    def close() -> None:
        with ops.connection() as connection:
            billing.close_days(connection)
            rows = connection.execute("select * from headrace.billing_daily where exported_at is not null").fetchall()
        for row in rows:
            assert exported.setdefault((row["tenant_id"], row["day"]), row) == row, "an exported day has changed"

    acts: list[tuple[int, Callable[[], object]]] = [
        (30, lambda: under_way.append(begin(app, dice.choice(tenants)))),
        (20, lambda: under_way and settle(app, under_way.pop(dice.randrange(len(under_way))), dice.randrange(2000))),
        (12, lambda: under_way and lost.append(_lost(app, under_way.pop(dice.randrange(len(under_way)))))),
        (8, lambda: lost and settle(app, lost.pop(dice.randrange(len(lost))), dice.randrange(2000))),
        (10, lambda: clock.advance(dice.uniform(600, 30000))),
        (8, close),
        (12, lambda: (server.faults.extend(dice.choices(FAULTS, k=dice.randrange(3))), biller.send_some())),
    ]
    for _ in range(220):
        dice.choices([act for _, act in acts], weights=[weight for weight, _ in acts])[0]()
        clock.advance(60)
        with ops.connection() as connection:
            assert audit.findings(connection) == []
    next_day(clock)
    close()
    server.faults.clear()
    for _ in range(6):  # all that was put off, within the day for which an identifier is known
        biller.send_some()
        clock.advance(1000)

    with ops.connection() as connection:
        days = connection.execute("select * from headrace.billing_daily").fetchall()
        runs = connection.execute(
            "select tenant_id, sum(cost_usd) as usd, count(*) as calls from headrace.runs"
            " where cost_usd is not null group by 1"
        ).fetchall()
        held = {(one.tenant_id, one.day) for one in billing.unsent(connection) if one.held}
    assert len(days) > 5
    assert len(server.asked) > len(server.recorded) > 0, "some were tried in vain, some were not"
    assert len(exported) == len(days), "the last day is over"
    assert len({one.identifier for one in server.recorded}) == len(server.recorded)
    for row in runs:
        mine = [day for day in days if day["tenant_id"] == row["tenant_id"]]
        assert sum(day["platform_usd"] for day in mine) == row["usd"]
        assert sum(day["calls"] for day in mine) == row["calls"]
        owed = Decimal(0)
        for day in sorted(mine, key=lambda one: (one["exported_at"], one["day"])):
            owed += day["revenue_usd"] * 1_000_000
            assert day["billed_micro_usd"] == max(0, owed // 1), "what was carried is exported as soon as it can be"
            owed -= day["billed_micro_usd"]
        billed = sum(day["billed_micro_usd"] for day in mine)
        at_stripe = server.total(f"cus_{tenants.index(row['tenant_id'])}")
        of_held = sum(day["billed_micro_usd"] for day in mine if (day["tenant_id"], day["day"]) in held)
        assert billed - of_held <= at_stripe <= billed


def _lost(app: Database, one: Open) -> Open:
    lose(app, one)
    return one
