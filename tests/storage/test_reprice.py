"""Pricing history anew: what is booked afterwards is what the right price would have booked, to the last digit."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

from storage.db.connect import connect
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import audit
from storage.money import prices, repricing
from storage.money.prices import Price
from storage.money.repricing import Mispriced, Period
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.database_clock import Clock
from tests.support.fleet import Urls, eventually
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

LUNA, HAIKU = ("openai", "gpt-6-luna"), ("anthropic", "claude-haiku-5-5")
START = datetime(2030, 5, 17, 20, 20, tzinfo=UTC)
EVER = Period(START - timedelta(days=1), START + timedelta(days=30))
WHO = {"actor": "ada", "reason": "the provider's own invoice"}


@pytest.fixture
def clock(urls: Urls) -> Iterator[Clock]:
    """Time stands still until a test moves it."""
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        yield Clock(owner, START)


class Town:
    """A tenant's calls, made by hand."""

    def __init__(self, app: Database, ops: Database, tenant: UUID) -> None:
        self.app, self.ops, self.tenant = app, ops, tenant

    def ask(self, model: tuple[str, str] = LUNA, *, user: str = "u", feature: str = "chat", **fields: Any) -> Any:
        """enqueue, claim, begin; what it takes to settle."""
        with self.app.connection() as connection:
            enqueue_job(connection, self.tenant, user_id=user, feature=feature)
            claim = new_id()
            claimed = claim_job(connection, self.tenant, claim_id=claim, worker_id=new_id(), timeout_s=10**7)
            assert claimed is not None
            bounds = {"input_bound": 20_000, "max_output_tokens": 5_000}
            planned = planned_call(provider=model[0], model=model[1], **(bounds | fields))
            assert begin_call(connection, self.tenant, claimed.job_id, claim, planned).verdict == "granted"
        return claimed.job_id, claim, planned.run_id

    def settle(self, asked: Any, books: dict[str, Any]) -> UUID:
        """settle; the run's id."""
        job, claim, run_id = asked
        failed = {"outcome": "failed", "reason": "a test", "error": {}}
        with self.app.connection() as connection:
            outcome = succeeded_outcome(run_id) if books["status"] == "succeeded" else failed
            assert settle_job(connection, self.tenant, job, claim, books, "ended", **outcome) == "ended"
        return UUID(str(run_id))

    def call(self, tokens_in: int = 1_000, tokens_out: int = 1_000, **fields: Any) -> UUID:
        """A call that is answered; its run's id."""
        asked = self.ask(**fields)
        return self.settle(asked, answered_run(asked[2], tokens_in, tokens_out))

    def runs(self) -> dict[UUID, dict[str, Any]]:
        with self.ops.connection() as connection:
            rows = connection.execute("select * from headrace.runs where tenant_id = %s", [self.tenant]).fetchall()
        return {row["id"]: row for row in rows}

    def reprice(self, period: Period = EVER, *, limit: int = 500) -> Mispriced | None:
        """All of it; None when there is nothing to do."""
        with self.ops.connection() as connection:
            found = repricing.mispriced(connection, period, tenant_id=self.tenant)
            if not found:
                return None
            (mine,) = found
            return repricing.reprice_all(connection, mine, period, limit=limit, **WHO)


@pytest.fixture
def town(app: Database, ops: Database, clock: Clock) -> Town:
    return Town(app, ops, new_tenant(ops, "Acme", plan="enterprise"))


def correct(ops: Database, at: datetime, model: tuple[str, str] = LUNA, **rates: Any) -> Price:
    """A row with an earlier date than some calls: by default ten times what Luna costs."""
    facts = {"input_usd": Decimal(1), "output_usd": Decimal(5), **rates}
    price = Price(*model, effective_from=at, **facts)
    with ops.connection() as connection:
        prices.add_by_hand(connection, price, actor="a test")
    return price


def one(ops: Database, query: str, *arguments: Any) -> dict[str, Any]:
    with ops.connection() as connection:
        row = connection.execute(query, arguments).fetchone()  # type: ignore[call-overload]
    assert row is not None
    return dict(row)


def rows(ops: Database, query: str, *arguments: Any) -> list[dict[str, Any]]:
    with ops.connection() as connection:
        return connection.execute(query, arguments).fetchall()  # type: ignore[call-overload, no-any-return]


def close_days(ops: Database) -> None:
    """As if every day so far had been exported."""
    with ops.connection() as connection:
        connection.execute(
            "update headrace.billing_daily set exported_at = headrace.now(), revenue_usd = 0, billed_micro_usd = 0"
            " where exported_at is null"
        )


# ------------------------------------------------------------------------------------------------------- one at a time


def test_a_corrected_price_costs_nothing_until_it_is_applied_and_then_everywhere(town: Town, ops: Database) -> None:
    run = town.call()
    correct(ops, START - timedelta(hours=1))
    assert town.runs()[run]["cost_usd"] == Decimal("0.0006")

    done = town.reprice()

    assert done is not None
    assert (done.tenant, done.runs, done.before_usd, done.after_usd) == ("Acme", 1, Decimal("0.0006"), Decimal("0.006"))
    after = town.runs()[run]
    assert (after["cost_usd"], after["repriced_at"]) == (Decimal("0.006"), START)
    assert (after["reserved_usd"], after["over_reserved_usd"]) == (Decimal("0.005"), Decimal("0.001"))
    assert {cap["spent_usd"] for cap in rows(ops, "select * from headrace.caps")} == {Decimal("0.006")}
    assert {hour["spent_usd"] for hour in rows(ops, "select * from headrace.spend_buckets")} == {Decimal("0.006")}
    day = one(ops, "select * from headrace.spend_daily")
    assert (day["calls"], day["cost_usd"]) == (1, Decimal("0.006"))
    assert (day["over_calls"], day["over_reserved_usd"]) == (1, Decimal("0.001"))
    bill = one(ops, "select * from headrace.billing_daily")
    assert (bill["calls"], bill["input_tokens"], bill["platform_usd"]) == (1, 1_000, Decimal("0.006"))
    noted = one(ops, "select * from headrace.audit where tenant_id = %s", town.tenant)
    assert (noted["actor"], noted["action"], noted["target"]) == ("ada", "run.reprice", "every model")
    assert noted["before"] == {"cost_usd": "0.0006"}
    assert {name: noted["after"][name] for name in ("cost_usd", "runs", "raised_usd", "reason")} == {
        "cost_usd": "0.006", "runs": 1, "raised_usd": "0.0054", "reason": WHO["reason"],
    }  # fmt: skip
    check_books(ops, None, all_ended=False)


def test_a_service_tier_that_came_back_rules_the_new_price_too(town: Town, ops: Database) -> None:
    def call_priced_as(how: str) -> UUID:
        asked = town.ask()
        return town.settle(asked, answered_run(asked[2], 1_000, 1_000) | {"service_tier": "x", "priced_as": how})

    batch, reserved = call_priced_as("batch"), call_priced_as("reserved")
    before = town.runs()
    assert before[batch]["cost_usd"] == Decimal("0.0003")
    assert before[reserved]["cost_usd"] == before[reserved]["reserved_usd"] == Decimal("0.005")
    correct(
        ops, START - timedelta(hours=1), input_usd=Decimal(1), output_usd=Decimal(3), batch_discount=Decimal("0.25")
    )

    assert town.reprice() is not None

    after = town.runs()
    assert after[batch]["cost_usd"] == Decimal("0.003")
    assert after[reserved]["cost_usd"] == Decimal("0.005")  # its tokens would cost 0.004
    check_books(ops, None, all_ended=False)


def test_it_is_safe_to_repeat(town: Town, ops: Database) -> None:
    town.call()
    correct(ops, START)
    assert town.reprice() is not None
    books = [rows(ops, f"select * from headrace.{table} order by 1, 2, 3, 4") for table in ("runs", "caps", "audit")]

    assert town.reprice() is None
    with ops.connection() as connection:
        again = repricing.reprice(connection, town.tenant, EVER, **WHO)
    assert (again.runs, again.before_usd, again.after_usd, again.last_at) == (0, 0, 0, START)
    assert books == [
        rows(ops, f"select * from headrace.{table} order by 1, 2, 3, 4") for table in ("runs", "caps", "audit")
    ]


def test_looking_says_what_would_be_and_changes_nothing(town: Town, ops: Database) -> None:
    town.call()
    town.call(500, 0, user="v")
    correct(ops, START)
    before = town.runs()
    with ops.connection() as connection:
        seen = repricing.mispriced(connection, EVER)

    assert town.runs() == before
    assert seen == [town.reprice()]
    assert [(entry.runs, entry.before_usd, entry.after_usd) for entry in seen] == [
        (2, Decimal("0.00065"), Decimal("0.0065"))
    ]


def test_a_cheaper_price_gives_back_what_was_too_much(town: Town, ops: Database) -> None:
    town.call()
    correct(ops, START, input_usd=Decimal(0), output_usd=Decimal("0.1"))

    town.reprice()

    assert {cap["spent_usd"] for cap in rows(ops, "select * from headrace.caps")} == {Decimal("0.0001")}
    assert one(ops, "select * from headrace.billing_daily")["platform_usd"] == Decimal("0.0001")
    assert one(ops, "select after from headrace.audit where tenant_id is not null")["after"]["raised_usd"] == "0"
    check_books(ops, None)


def test_what_was_spent_in_another_day_is_booked_there_and_billed_in_the_first_open_one(
    town: Town, ops: Database, clock: Clock
) -> None:
    town.call()
    close_days(ops)
    clock.advance(36 * 3600)
    correct(ops, START)

    town.reprice()

    hours = rows(ops, "select hour, spent_usd from headrace.spend_buckets where scope = 'tenant'")
    assert hours == [{"hour": START.replace(minute=0), "spent_usd": Decimal("0.006")}]
    assert {cap["spent_usd"] for cap in rows(ops, "select * from headrace.caps")} == {0}, "it has left the window"
    assert one(ops, "select * from headrace.spend_daily")["day"] == START.date()
    days = rows(ops, "select day, calls, platform_usd from headrace.billing_daily order by day")
    assert [(day["day"], day["calls"], day["platform_usd"]) for day in days] == [
        (START.date(), 1, Decimal("0.0006")),
        (clock.now.date(), 0, Decimal("0.0054")),
    ]
    close_days(ops)
    correct(ops, START + timedelta(microseconds=-1), input_usd=Decimal(9))
    assert town.reprice() is None, "the newer row is still the one in force"
    check_books(ops, None, all_ended=False)


def test_a_day_that_is_exported_already_is_left_as_it_is(town: Town, ops: Database) -> None:
    town.call()
    close_days(ops)
    correct(ops, START)

    town.reprice()

    days = rows(ops, "select day, calls, platform_usd from headrace.billing_daily order by day")
    assert [(day["day"], day["platform_usd"]) for day in days] == [
        (START.date(), Decimal("0.0006")),
        (START.date() + timedelta(days=1), Decimal("0.0054")),
    ]


def test_only_what_its_tokens_price_is_priced_anew(town: Town, ops: Database, clock: Clock) -> None:
    lost, open_, down = town.ask(), town.ask(), town.ask()
    unknown = town.settle(lost, unknown_run(lost[2]))
    failed = town.settle(down, refused_run(down[2]))
    correct(ops, START)
    before = town.runs()

    assert town.reprice() is None
    assert town.runs() == before

    # each is priced by the row that it began with when its end becomes known, and then as everybody
    town.settle(open_, answered_run(open_[2], 1_000, 1_000))
    with town.app.connection() as connection:
        settle_job(
            connection,
            town.tenant,
            lost[0],
            lost[1],
            answered_run(lost[2], 2_000, 1_000),
            "ended",
            **succeeded_outcome(lost[2]),
        )
    settled = town.runs()
    assert (settled[open_[2]]["cost_usd"], settled[unknown]["cost_usd"]) == (Decimal("0.0006"), Decimal("0.0007"))
    done = town.reprice()
    assert done is not None
    assert (done.runs, done.after_usd) == (2, Decimal("0.013"))
    assert town.runs()[failed] == before[failed]
    check_books(ops, None, all_ended=False)


def test_a_call_on_the_tenants_own_key_is_recorded_and_never_charged(town: Town, ops: Database) -> None:
    run = town.call(key_owner="tenant")
    correct(ops, START)

    assert town.reprice() is not None

    assert town.runs()[run]["cost_usd"] == Decimal("0.006")
    assert rows(ops, "select from headrace.spend_buckets") == []
    assert one(ops, "select * from headrace.spend_daily")["cost_usd"] == Decimal("0.006")
    assert one(ops, "select * from headrace.billing_daily")["platform_usd"] == 0
    assert one(ops, "select after from headrace.audit where tenant_id is not null")["after"]["raised_usd"] == "0"
    check_books(ops, None, all_ended=False)


def test_a_call_of_a_batch_keeps_its_discount(town: Town, ops: Database) -> None:
    run = town.call(processing="batch")
    assert town.runs()[run]["cost_usd"] == Decimal("0.0003")
    correct(ops, START, batch_discount=Decimal("0.25"))

    town.reprice()

    assert town.runs()[run]["cost_usd"] == Decimal("0.0045")


def test_period_model_and_tenant_bound_it(town: Town, app: Database, ops: Database, clock: Clock) -> None:
    first = town.call()
    clock.advance(3600)
    second, other_model = town.call(), town.call(model=HAIKU)
    bee = Town(app, ops, new_tenant(ops, "Bee", plan="enterprise"))
    others = bee.call()
    correct(ops, START)
    correct(ops, START, HAIKU)

    def repriced() -> set[UUID]:
        return {run["id"] for run in (town.runs() | bee.runs()).values() if run["repriced_at"] is not None}

    town.reprice(Period(START, START + timedelta(hours=1)))
    assert repriced() == {first}, "from the one instant on, and before the other"
    town.reprice(Period(START, EVER.until, model="gpt-6-luna"))
    assert repriced() == {first, second}
    town.reprice()
    assert repriced() == {first, second, other_model}
    bee.reprice()
    assert repriced() == {first, second, other_model, others}
    noted = rows(ops, "select target from headrace.audit where action = 'run.reprice' order by id")
    assert [row["target"] for row in noted] == ["every model", "gpt-6-luna", "every model", "every model"]


def test_a_correction_may_pass_a_cap_and_is_no_breach_but_more_would_be(
    app: Database, ops: Database, clock: Clock, urls: Urls
) -> None:
    poor = Town(app, ops, new_tenant(ops, "Poor", daily_cap_usd=Decimal("0.025")))  # a user's part: 0.005
    first = poor.ask()  # which reserves all of that
    poor.settle(first, answered_run(first[2], 20_000, 1_000))
    poor.ask(input_bound=10_000, max_output_tokens=2_500)  # has what is left of it
    correct(ops, START, input_usd=Decimal("0.2"), output_usd=Decimal("0.5"))

    done = poor.reprice()

    assert done is not None
    assert (done.before_usd, done.after_usd) == (Decimal("0.0025"), Decimal("0.0045"))
    cap = one(ops, "select * from headrace.caps where scope = 'user'")
    assert (cap["spent_usd"], cap["reserved_usd"]) == (Decimal("0.0045"), Decimal("0.0025"))
    assert not any(run["over_reserved_usd"] for run in poor.runs().values())
    check_books(ops, None, all_ended=False)
    with psycopg.connect(urls.owner) as owner:
        owner.execute(
            """update headrace.audit set after = after || '{"raised_usd": "0.0019"}' where action = 'run.reprice'"""
        )
    with ops.connection() as connection:
        assert {finding.check for finding in audit.findings(connection)} == {"no_cap_is_passed"}


def test_the_application_itself_may_not(app: Database, town: Town) -> None:
    with app.connection() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        repricing.reprice(connection, town.tenant, EVER, **WHO)
    with town.ops.connection() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("update headrace.model_prices set input_usd = 0")


# ------------------------------------------------------------------------------------------------ against recomputation


def cost(price: Price, run: dict[str, Any]) -> Decimal:
    """What a run costs by a row, said once more and plainly."""
    long = price.long_from is not None and run["input_tokens"] > price.long_from
    rates = [
        getattr(price, f"{'long_' if long else ''}{name}_usd")
        for name in ("input", "cached_input", "cache_write", "output")
    ]
    plain, cached, written, output = (rates[0] if rate is None else rate for rate in rates)
    fresh = run["input_tokens"] - run["cached_input_tokens"] - run["cache_write_tokens"]
    whole = (
        fresh * plain
        + run["cached_input_tokens"] * cached
        + run["cache_write_tokens"] * written
        + run["output_tokens"] * output
    )
    return whole / 1_000_000 * (1 - price.batch_discount if run["processing"] == "batch" else 1)


@pytest.mark.parametrize(("seed", "limit"), [(1, 500), (2, 7), (3, 1)])
def test_it_equals_recomputation(app: Database, ops: Database, clock: Clock, seed: int, limit: int) -> None:
    """Two tenants' calls of every kind over three days, two corrections, in transactions of some size."""
    drawn = random.Random(seed)
    towns = [Town(app, ops, new_tenant(ops, name, plan="enterprise")) for name in ("Acme", "Bee")]
    for _ in range(60):
        clock.advance(drawn.choice([0, 1, 700, 9_000]))
        town = drawn.choice(towns)
        asked = town.ask(
            drawn.choice([LUNA, HAIKU]),
            user=drawn.choice(["u", "v"]),
            feature=drawn.choice(["chat", "report"]),
            processing=drawn.choice(["standard", "standard", "batch"]),
            key_owner=drawn.choice(["platform", "platform", "platform", "tenant"]),
        )
        cached, written, fresh = (drawn.randrange(0, 5_000) for _ in range(3))
        books = {
            **answered_run(asked[2], cached + written + fresh, drawn.randrange(0, 5_000)),
            "cached_input_tokens": cached,
            "cache_write_tokens": written,
        }
        ending = drawn.choice([books, books, books, unknown_run(asked[2]), refused_run(asked[2])])
        town.settle(asked, ending)
    span = clock.now - START
    before = {town.tenant: town.runs() for town in towns}
    for model in (LUNA, HAIKU):
        for share in (0.2, 0.7):
            correct(
                ops, START + share * span, model, input_usd=Decimal(drawn.randrange(1, 9)),
                output_usd=Decimal(drawn.randrange(1, 90)) / 100, cached_input_usd=Decimal("1e-7"), long_from=9_000,
                long_input_usd=Decimal("2.5"), long_output_usd=Decimal(1), batch_discount=Decimal("0.3"),
            )  # fmt: skip
    with ops.connection() as connection:
        table = prices.list_prices(connection)

    done = [town.reprice(limit=limit) for town in towns]

    daily: dict[Any, Decimal] = defaultdict(Decimal)
    hours: dict[Any, Decimal] = defaultdict(Decimal)
    platform: dict[UUID, Decimal] = defaultdict(Decimal)
    changed: dict[UUID, int] = defaultdict(int)
    for town in towns:
        after = town.runs()
        for run_id, run in before[town.tenant].items():
            price = prices.in_force(table, run["created_at"])[run["provider"], run["model"]]
            right = run["cost_usd"] if run["input_tokens"] is None else cost(price, run)
            assert after[run_id]["cost_usd"] == right, run
            assert after[run_id]["over_reserved_usd"] == max(after[run_id]["cost_usd"] - run["reserved_usd"], 0)
            if after[run_id]["repriced_at"] is None:
                assert after[run_id] == run
            else:
                changed[town.tenant] += 1
            exact = after[run_id]["cost_usd"]
            daily[town.tenant, run["created_at"].date()] += exact
            if run["key_owner"] == "platform":
                platform[town.tenant] += exact
                hours[town.tenant, run["created_at"].replace(minute=0, second=0, microsecond=0)] += exact
    for row in rows(ops, "select tenant_id, day, sum(cost_usd) as usd from headrace.spend_daily group by 1, 2"):
        assert row["usd"] == daily.pop((row["tenant_id"], row["day"]))
    assert not any(daily.values())
    for row in rows(ops, "select * from headrace.spend_buckets where scope = 'tenant'"):
        assert row["spent_usd"] == hours.pop((row["tenant_id"], row["hour"]))
    assert not any(hours.values())
    for row in rows(ops, "select tenant_id, sum(platform_usd) as usd from headrace.billing_daily group by 1"):
        assert row["usd"] == platform[row["tenant_id"]]

    for town, told in zip(towns, done, strict=True):
        assert told is not None
        noted = rows(ops, "select * from headrace.audit where tenant_id = %s order by id", town.tenant)
        assert told.runs == changed[town.tenant] == sum(one["after"]["runs"] for one in noted) > 5
        assert len(noted) >= told.runs / limit / 3 if limit < 500 else len(noted) == 1
        assert told.before_usd == sum(Decimal(one["before"]["cost_usd"]) for one in noted)
        assert told.after_usd == sum(Decimal(one["after"]["cost_usd"]) for one in noted)
        assert town.reprice() is None
    check_books(ops, None, all_ended=False)


# ---------------------------------------------------------------------------------------------------- beside the others


def test_who_waited_for_another_to_do_it_does_nothing(town: Town, ops: Database, urls: Urls) -> None:
    town.call()
    correct(ops, START)
    second: list[int] = []

    def also() -> None:
        with connect(urls.ops) as connection:
            second.append(repricing.reprice(connection, town.tenant, EVER, **WHO).runs)

    thread = threading.Thread(target=also)
    with ops.connection() as connection:
        with connection.transaction():
            first = repricing.reprice(connection, town.tenant, EVER, **WHO).runs
            thread.start()
            eventually(lambda: one(ops, "select count(*) as n from pg_locks where not granted")["n"] == 1)
        thread.join(timeout=60)

    assert (first, second) == (1, [0])
    assert one(ops, "select count(*) as n from headrace.audit where action = 'run.reprice'")["n"] == 1
    check_books(ops, None, all_ended=False)


def test_beside_workers_and_other_repricers_every_cent_is_booked_once(app: Database, ops: Database, urls: Urls) -> None:
    """Calls begin and end while three reprice again and again, between corrections that keep coming."""
    town = Town(app, ops, new_tenant(ops, "Acme", plan="enterprise", daily_cap_usd=Decimal(10_000)))
    started = datetime.now(UTC) - timedelta(minutes=1)
    period = Period(started, started + timedelta(days=1))
    done = threading.Event()
    failures: list[Exception] = []
    counted: list[int] = []
    whole = Mispriced(town.tenant, "Acme", 0, Decimal(0), Decimal(0))

    def guarded(act: Any) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 (told in the test's own thread)
            failures.append(error)
            done.set()

    def work() -> None:
        for number in range(40):
            town.call(number, 10, user=f"u-{number % 3}")

    def again_and_again() -> None:
        with Database(urls.ops, connections=2) as mine, mine.connection() as connection:
            runs = 0
            while not done.is_set():
                runs += repricing.reprice_all(connection, whole, period, limit=5, **WHO).runs
            counted.append(runs)

    workers = [threading.Thread(target=guarded, args=[work]) for _ in range(3)]
    repricers = [threading.Thread(target=guarded, args=[again_and_again]) for _ in range(3)]
    for thread in (*workers, *repricers):
        thread.start()
    number = 0
    while any(thread.is_alive() for thread in workers) and not failures:
        number += 1
        # each with a date before some calls that have been made, and after those that keep their price
        correct(
            ops,
            started + timedelta(minutes=1, milliseconds=50 * number),
            input_usd=Decimal(number % 7),
            output_usd=Decimal(1),
        )
        workers[0].join(timeout=0.05)
    for thread in workers:
        thread.join(timeout=120)
    done.set()
    for thread in repricers:
        thread.join(timeout=120)

    assert failures == []
    town.reprice(period)
    assert len(town.runs()) == 120
    assert sum(counted) > 20, "they were to have something to do"
    noted = rows(ops, "select after from headrace.audit where action = 'run.reprice'")
    assert sum(row["after"]["runs"] for row in noted) >= sum(counted)
    assert one(ops, "select sum(platform_usd) as usd from headrace.billing_daily") == one(
        ops, "select sum(cost_usd) as usd from headrace.runs"
    )
    with ops.connection() as connection:
        assert audit.findings(connection) == []
        assert repricing.mispriced(connection, period) == []
