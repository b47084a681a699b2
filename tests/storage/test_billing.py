"""Closed days: worth what they were worth, exported once, never changed; nothing lost between them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from errors import InvalidInputError
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import audit
from storage.money import billing, outbox
from storage.money.billing import METER_EVENT, SURE_S
from tests.conftest import new_tenant
from tests.support.database_clock import Clock
from tests.support.fleet import Urls
from tests.support.lossy_proxy import PostgresProxy
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

START = datetime(2031, 3, 1, 9, tzinfo=UTC)
DAY = date(2031, 3, 1)


@pytest.fixture
def clock(urls: Urls) -> Iterator[Clock]:
    """Postgres's time, by hand from now on."""
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        yield Clock(owner, START)


def next_day(clock: Clock, hour: int = 0, minute: int = 1) -> None:
    clock.set((clock.now + timedelta(days=1)).replace(hour=hour, minute=minute))


def settle(app: Database, tenant: UUID, *, input_tokens: int = 10, output_tokens: int = 20, **fields: Any) -> UUID:
    """A job with one call, settled now: with luna 0.1 and 0.5 millionths of a dollar a token."""
    run = open_call(app, tenant, **fields)
    correct(app, tenant, run, input_tokens=input_tokens, output_tokens=output_tokens)
    return run[2]


def open_call(app: Database, tenant: UUID, **fields: Any) -> tuple[UUID, UUID, UUID]:
    """A call that is under way: job, claim and run."""
    claim, planned = new_id(), planned_call(**fields)
    with app.connection() as connection:
        job = enqueue_job(connection, tenant)
        assert claim_job(connection, tenant, claim_id=claim, worker_id=new_id()) is not None
        assert begin_call(connection, tenant, job, claim, planned).verdict == "granted"
    return job, claim, planned.run_id


def lose(app: Database, tenant: UUID, run: tuple[UUID, UUID, UUID]) -> None:
    """Its answer is lost: it costs its reservation."""
    with app.connection() as connection:
        settle_job(
            connection, tenant, run[0], run[1], unknown_run(run[2]), "ended", outcome="failed", reason="x", error={}
        )


def correct(
    app: Database, tenant: UUID, run: tuple[UUID, UUID, UUID], *, input_tokens: int = 10, output_tokens: int = 20
) -> None:
    """Its answer is there (after all)."""
    with app.connection() as connection:
        books = answered_run(run[2], input_tokens, output_tokens)
        settle_job(connection, tenant, run[0], run[1], books, "ended", **succeeded_outcome(run[2]))


def price(ops: Database, tenant: UUID, *, since: date = DAY, **amounts: str) -> None:
    with ops.connection() as connection:
        prices = {name: Decimal(amount) for name, amount in (amounts or {"cost_factor": "1"}).items()}
        billing.set_price(connection, tenant, effective_from=since, actor="a person", **prices)  # type: ignore[arg-type]


def customer(ops: Database, tenant: UUID, name: str | None = "cus_1") -> None:
    with ops.connection() as connection:
        billing.set_customer(connection, tenant, name, actor="a person")


def close(ops: Database) -> list[tuple[date, Decimal, int]]:
    with ops.connection() as connection:
        return [(one.day, one.revenue_usd, one.billed_micro_usd) for one in billing.close_days(connection)]


def events(ops: Database) -> list[dict[str, Any]]:
    with ops.connection() as connection:
        rows = connection.execute("select payload from headrace.outbox where topic = %s order by id", [METER_EVENT])
        return [row["payload"] for row in rows]


def days(ops: Database) -> list[dict[str, Any]]:
    with ops.connection() as connection:
        return connection.execute("select * from headrace.billing_daily order by tenant_id, day").fetchall()


def test_a_past_day_is_closed_once_with_its_event(app: Database, ops: Database, tenant: UUID, clock: Clock) -> None:
    price(ops, tenant, cost_factor="1.5", per_call_usd="0.0001", input_mtok_usd="2", output_mtok_usd="8")
    customer(ops, tenant)
    settle(app, tenant, input_tokens=1000, output_tokens=500)
    settle(app, tenant, key_owner="tenant", input_tokens=10, output_tokens=0)
    assert close(ops) == [], "today is not over"

    next_day(clock)

    worth = Decimal("0.00035") * Decimal("1.5") + 2 * Decimal("0.0001") + Decimal("0.00202") + Decimal("0.004")
    assert close(ops) == [(DAY, worth, 6745)]
    assert events(ops) == [
        {
            "day": "2031-03-01",
            "identifier": f"headrace-{tenant}-2031-03-01",
            "timestamp": int(datetime(2031, 3, 1, 23, 59, 59, tzinfo=UTC).timestamp()),
            "payload": {"stripe_customer_id": "cus_1", "value": "6745"},
        }
    ]
    assert close(ops) == []
    assert len(events(ops)) == 1


def test_what_is_corrected_later_goes_to_a_day_that_is_open_and_an_exported_day_stays(
    app: Database, ops: Database, tenant: UUID, clock: Clock
) -> None:
    price(ops, tenant)
    customer(ops, tenant)
    lost, open_still = open_call(app, tenant), open_call(app, tenant)
    settle(app, tenant)
    lose(app, tenant, lost)
    next_day(clock)
    assert len(close(ops)) == 1
    (exported,) = days(ops)

    correct(app, tenant, lost)
    correct(app, tenant, open_still)

    first, second = days(ops)
    assert first == exported
    assert (second["day"], second["calls"]) == (date(2031, 3, 2), 1), "the lost call had been counted on its day"
    assert second["platform_usd"] < 0, "more was given back than was used"
    assert (second["input_tokens"], second["output_tokens"]) == (20, 40)
    with ops.connection() as connection:
        assert audit.findings(connection) == []


def test_a_settlement_that_began_before_midnight_and_came_late_finds_the_next_day(
    app: Database, ops: Database, tenant: UUID, clock: Clock
) -> None:
    """Its transaction took its time from the day that was closed meanwhile."""
    price(ops, tenant)
    customer(ops, tenant)
    settle(app, tenant)
    next_day(clock)
    close(ops)
    clock.set(START.replace(hour=23, minute=59, second=59))  # as it looked when that transaction began
    settle(app, tenant)

    assert [(one["day"], one["calls"]) for one in days(ops)] == [(DAY, 1), (date(2031, 3, 2), 1)]


def test_a_day_that_a_settlement_holds_is_left_for_the_next_time(
    app: Database, ops: Database, urls: Urls, tenant: UUID, clock: Clock
) -> None:
    price(ops, tenant)
    customer(ops, tenant)
    settle(app, tenant)
    held = open_call(app, tenant)
    with psycopg.connect(urls.app) as late:
        books = [tenant, held[0], held[1], Jsonb(answered_run(held[2])), Jsonb(succeeded_outcome(held[2]))]
        late.execute("select headrace.settle(%s, %s, %s, %s, 'ended', %s)", books)
        next_day(clock)
        assert close(ops) == []
        late.commit()
    ((day, revenue, _),) = close(ops)

    assert (day, revenue) == (DAY, 2 * Decimal("0.000011"))


def test_no_role_of_ours_can_change_an_exported_day(
    app: Database, ops: Database, urls: Urls, tenant: UUID, clock: Clock
) -> None:
    price(ops, tenant)
    customer(ops, tenant)
    settle(app, tenant)
    next_day(clock)
    close(ops)
    change = "update headrace.billing_daily set platform_usd = 0, exported_at = null where day = %s"

    with ops.connection() as connection:
        assert connection.execute(change, [DAY]).rowcount == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege), app.as_tenant(tenant) as connection:
        connection.execute(change, [DAY])
    with psycopg.connect(urls.owner) as owner:
        owner.execute("set role headrace_owner")
        owner.execute("select set_config('app.tenant_id', %s, true)", [str(tenant)])
        assert owner.execute(change, [DAY]).rowcount == 0
        assert owner.execute("select count(*) from headrace.billing_daily").fetchone() == (1,), "though it sees it"


def test_a_day_needs_a_customer_and_a_price_and_waits_for_both(
    app: Database, ops: Database, tenant: UUID, clock: Clock
) -> None:
    settle(app, tenant)
    next_day(clock)
    settle(app, tenant)
    next_day(clock)
    assert close(ops) == []
    customer(ops, tenant)
    assert close(ops) == []

    price(ops, tenant, since=date(2031, 3, 2))

    assert [day for day, *_ in close(ops)] == [date(2031, 3, 2)], "the first day had no price"


def test_each_day_has_the_price_that_was_in_force(app: Database, ops: Database, tenant: UUID, clock: Clock) -> None:
    customer(ops, tenant)
    price(ops, tenant, per_call_usd="1")
    price(ops, tenant, since=date(2031, 3, 3), per_call_usd="2")
    for _ in range(4):
        settle(app, tenant)
        next_day(clock)
    price(ops, tenant, since=date(2031, 3, 4), per_call_usd="5", cost_factor="0")

    assert [revenue for _, revenue, _ in close(ops)] == [1, 1, 2, 5]

    price(ops, tenant, since=DAY, per_call_usd="100")
    assert close(ops) == [], "a price that is set later changes no closed day"
    assert [one["revenue_usd"] for one in days(ops)] == [1, 1, 2, 5]


def test_what_rounding_leaves_is_carried_and_a_credit_too(
    app: Database, ops: Database, tenant: UUID, clock: Clock
) -> None:
    """Value by value: 0.4 of a millionth a call, then more given back than used, then a day that makes up for it."""
    customer(ops, tenant)
    price(ops, tenant, per_call_usd="0.0000004")
    for calls in (1, 1, 1, 2):
        for _ in range(calls):
            settle(app, tenant)
        next_day(clock)
    assert [billed for *_, billed in close(ops)] == [0, 0, 1, 1]
    assert [one["day"] for one in events(ops)] == ["2031-03-03", "2031-03-04"], "a day with nothing has no event"

    price(ops, tenant, since=date(2031, 3, 5), per_call_usd="0", cost_factor="1")
    lost = open_call(app, tenant)
    lose(app, tenant, lost)
    next_day(clock)
    ((_, _, reserved),) = close(ops)
    correct(app, tenant, lost)  # costs 11 millionths, and the reservation comes back
    next_day(clock)
    ((_, credit, nothing),) = close(ops)
    settle(app, tenant, output_tokens=2000)
    next_day(clock)
    ((_, revenue, billed),) = close(ops)

    assert (credit < 0, nothing) == (True, 0)
    total = 5 * Decimal("0.0000004") + Decimal("0.000011") + revenue
    assert 0 <= total * 1_000_000 - (2 + reserved + billed) < 1
    with ops.connection() as connection:
        (status,) = billing.status(connection)
    assert status.carried_usd == total - status.billed_usd


def test_a_day_beyond_stripes_fifteen_digits_is_exported_in_parts(
    app: Database, ops: Database, tenant: UUID, clock: Clock
) -> None:
    customer(ops, tenant)
    price(ops, tenant, per_call_usd="1500000000")
    settle(app, tenant)
    next_day(clock)
    price(ops, tenant, since=date(2031, 3, 2), per_call_usd="0")
    settle(app, tenant)
    next_day(clock)

    assert [billed for *_, billed in close(ops)] == [999_999_999_999_999, 500_000_000_000_001]


def test_many_closers_at_once_close_each_day_once_and_carry_once(app: Database, ops: Database, clock: Clock) -> None:
    tenants = [new_tenant(ops, f"T{number}") for number in range(6)]
    for number, tenant in enumerate(tenants):
        customer(ops, tenant, f"cus_{number}")
        price(ops, tenant, per_call_usd="0.0000007")
    for _ in range(5):
        for tenant in tenants:
            settle(app, tenant)
        next_day(clock)
    gate = threading.Barrier(8)

    def closer(_: int) -> int:
        gate.wait()
        return len(close(ops))

    with ThreadPoolExecutor(8) as threads:
        closed = sum(threads.map(closer, range(8)))
    closed += len(close(ops))  # what all of them left to each other

    assert closed == 30
    assert len({one["identifier"] for one in events(ops)}) == len(events(ops))
    with ops.connection() as connection:
        rows = connection.execute(
            "select sum(billed_micro_usd) as billed from headrace.billing_daily group by tenant_id"
        ).fetchall()
    assert [row["billed"] for row in rows] == [3] * 6, "5 × 0.7"


def test_the_answer_to_a_closing_is_lost_and_it_is_repeated(
    app: Database, ops: Database, urls: Urls, tenant: UUID, clock: Clock
) -> None:
    customer(ops, tenant)
    price(ops, tenant, per_call_usd="1")
    for _ in range(3):
        settle(app, tenant)
        next_day(clock)
    with PostgresProxy(urls.ops) as proxy, Database(proxy.url) as behind:
        loss = proxy.lose(b"headrace.close_day", times=2)
        behind.retry_until_answered(lambda connection: billing.close_days(connection), within_s=20)
        assert loss.left == 0

    assert [one["payload"]["value"] for one in events(ops)] == ["1000000"] * 3
    assert all(one["exported_at"] for one in days(ops))


def test_an_event_is_in_the_outbox_once_whatever_happens(
    app: Database, ops: Database, urls: Urls, tenant: UUID, clock: Clock
) -> None:
    customer(ops, tenant)
    price(ops, tenant)
    settle(app, tenant)
    next_day(clock)
    close(ops)
    again = (
        "insert into headrace.outbox (tenant_id, topic, payload) select tenant_id, topic, payload from headrace.outbox"
    )
    with psycopg.connect(urls.owner) as owner, pytest.raises(psycopg.errors.UniqueViolation):
        owner.execute(again)


def test_prices_keep_what_is_left_out_and_are_audited(ops: Database, tenant: UUID, clock: Clock) -> None:
    price(ops, tenant, cost_factor="1.20", per_call_usd="0.01")
    price(ops, tenant, since=date(2031, 4, 1), per_call_usd="0.02")
    price(ops, tenant, since=date(2031, 4, 1), input_mtok_usd="3")
    with ops.connection() as connection:
        april, march = billing.prices(connection, tenant)
        notes = connection.execute("select * from headrace.audit order by id").fetchall()

    assert (march.cost_factor, march.per_call_usd) == (Decimal("1.20"), Decimal("0.01"))
    assert (april.cost_factor, april.per_call_usd, april.input_mtok_usd) == (
        Decimal("1.20"), Decimal("0.02"), Decimal(3),
    )  # fmt: skip
    assert [(one["action"], one["target"], one["actor"]) for one in notes] == [
        ("billing.set_price", "2031-03-01", "a person"),
        ("billing.set_price", "2031-04-01", "a person"),
        ("billing.set_price", "2031-04-01", "a person"),
    ]
    assert notes[0]["before"] is None
    assert (notes[2]["before"]["per_call_usd"], notes[2]["after"]["input_mtok_usd"]) == (0.02, 3)


def test_two_tenants_are_not_one_customer(ops: Database, tenant: UUID) -> None:
    customer(ops, tenant, "cus_1")
    with pytest.raises(InvalidInputError) as refused:
        customer(ops, new_tenant(ops, "Bee"), "cus_1")
    assert refused.value.field == "customer"
    customer(ops, tenant, None)
    with ops.connection() as connection:
        notes = connection.execute("select before, after from headrace.audit order by id").fetchall()
    assert notes == [{"before": None, "after": "cus_1"}, {"before": "cus_1", "after": None}]


def test_margin_is_of_priced_days_by_the_day_of_settling(
    app: Database, ops: Database, tenant: UUID, clock: Clock
) -> None:
    free = new_tenant(ops, "Free")
    settle(app, tenant, output_tokens=2000)  # before it had a price: 1001 millionths
    settle(app, free)
    next_day(clock)
    price(ops, tenant, since=date(2031, 3, 2), cost_factor="1.25")
    customer(ops, tenant)
    settle(app, tenant)
    next_day(clock)
    close(ops)
    price(ops, tenant, since=date(2031, 3, 2), cost_factor="9")  # too late for the closed day
    settle(app, tenant)
    settle(app, tenant, key_owner="tenant")

    with ops.connection() as connection:
        ours, frees = billing.margin(connection, since=DAY)
        (since_second,) = billing.margin(connection, since=date(2031, 3, 2), tenant_id=tenant)

    assert (ours.tenant, ours.calls, ours.cost_usd) == ("Acme", 4, Decimal("0.001023"))
    assert (ours.unpriced_usd, ours.revenue_usd) == (Decimal("0.001001"), Decimal("0.00011275"))
    assert ours.margin_usd == Decimal("0.00009075")
    assert (since_second.unpriced_usd, since_second.margin_usd) == (0, ours.margin_usd)
    assert since_second.margin_percent is not None
    assert round(since_second.margin_percent, 2) == Decimal("80.49")
    assert (frees.tenant, frees.cost_usd, frees.unpriced_usd) == ("Free", Decimal("0.000011"), Decimal("0.000011"))
    assert (frees.revenue_usd, frees.margin_usd, frees.margin_percent) == (None, None, None)


# ---------------------------------------------------------------------------------------------------------- the outbox


@pytest.fixture
def event(app: Database, ops: Database, tenant: UUID, clock: Clock) -> UUID:
    """One event that waits; whose it is."""
    customer(ops, tenant)
    price(ops, tenant)
    settle(app, tenant)
    next_day(clock)
    assert len(close(ops)) == 1
    return tenant


def taken(ops: Database) -> outbox.TakenEvent | None:
    with ops.connection() as connection:
        return outbox.take(connection, METER_EVENT, lease_s=60, sure_s=SURE_S)


def test_a_taken_event_is_nobody_elses_until_its_lease_is_over(ops: Database, event: UUID, clock: Clock) -> None:
    first = taken(ops)
    assert first is not None
    assert (first.attempt, first.unsure_before, first.taken_at) == (1, None, clock.now)
    assert taken(ops) is None
    clock.advance(60)
    second = taken(ops)
    assert second is not None
    assert (second.attempt, second.unsure_before) == (2, first.taken_at), "the first try was not reported"

    with ops.connection() as connection:
        outbox.mark_failed(connection, first, error="late word", again_in_s=0, received=False)
        assert taken(ops) is None, "the first try's word came after the second began"
        outbox.mark_sent(connection, first)  # but a report of receipt is true from any process
        (row,) = connection.execute("select * from headrace.outbox").fetchall()
    assert (row["sent_at"], row["unsure_since"], row["last_error"]) == (clock.now, None, None)


def test_only_an_unsure_event_is_held_and_only_after_a_day(ops: Database, event: UUID, clock: Clock) -> None:
    with ops.connection() as connection:
        for _ in range(3):  # refused for sure, for days: it stays due
            one = taken(ops)
            assert one is not None
            outbox.mark_failed(connection, one, error="no such customer", again_in_s=86400, received=False)
            clock.advance(86400)
        one = taken(ops)
        assert one is not None
        assert one.unsure_before is None
        outbox.mark_failed(connection, one, error="cut", again_in_s=10, received=None)
        clock.advance(SURE_S - 1)
        again = taken(ops)
        assert again is not None
        outbox.mark_failed(connection, again, error="refused", again_in_s=0, received=False)
        clock.advance(1)
        assert taken(ops) is None, "the try before may have been received, and Stripe is about to forget it"

        (status,) = billing.status(connection)
        (held,) = billing.unsent(connection)
        assert (status.held_days, status.failed_days, status.waiting_days, status.sent_days) == (1, 0, 0, 0)
        assert (held.held, held.day, held.error, held.attempts) == (True, DAY, "refused", 5)

        assert billing.resolve(connection, event, DAY, sent=False, actor="a person") is True
        assert taken(ops) is not None
        assert billing.resolve(connection, event, DAY, sent=True, actor="a person") is True
        assert billing.resolve(connection, event, DAY, sent=True, actor="a person") is False
        clock.advance(86400)
        assert taken(ops) is None
        notes = connection.execute("select after from headrace.audit where action = 'billing.resolve' order by id")
        assert [one["after"] for one in notes] == ["again", "sent"]


def test_events_that_wait_follow_a_new_customer_but_not_those_that_stripe_may_have(
    app: Database, ops: Database, event: UUID, clock: Clock
) -> None:
    settle(app, event)
    next_day(clock)
    close(ops)
    first = taken(ops)
    assert first is not None

    customer(ops, event, "cus_2")

    assert [one["payload"]["stripe_customer_id"] for one in events(ops)] == ["cus_1", "cus_2"]
    with ops.connection() as connection:
        outbox.mark_failed(connection, first, error="No such customer", again_in_s=3600, received=False)
    customer(ops, event, "cus_3")
    assert [one["payload"]["stripe_customer_id"] for one in events(ops)] == ["cus_3", "cus_3"]
    again = taken(ops)
    assert again is not None
    customer(ops, event, None)
    assert [one["payload"]["stripe_customer_id"] for one in events(ops)] == ["cus_3", "cus_3"], "they are owed still"


def test_many_takers_at_once_take_each_event_once(app: Database, ops: Database, event: UUID, clock: Clock) -> None:
    for _ in range(11):
        settle(app, event)
        next_day(clock)
    close(ops)
    gate = threading.Barrier(6)

    def taker(_: int) -> list[int]:
        gate.wait()
        found = []
        while (one := taken(ops)) is not None:
            found.append(one.id)
        return found

    with ThreadPoolExecutor(6) as threads:
        ids = [one for found in threads.map(taker, range(6)) for one in found]

    assert len(ids) == len(set(ids)) == 12
