"""Rollups are exact against the runs after any history; estimates, windows and notices of unusual spend."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from typing import Any
from uuid import UUID

import psycopg
import pytest

from storage.db.connect import Connection, connect
from storage.db.database import Database
from storage.db.ids import new_id
from storage.money import spend
from storage.money.spend import By, SpenderDay
from storage.money.spend_forecast import forecast
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.database_clock import Clock
from tests.support.fleet import Urls
from tests.support.transactions import (
    answered_run,
    begin_call,
    claim_job,
    enqueue_job,
    planned_call,
    refused_run,
    settle_job,
    unknown_run,
)

START = datetime(2031, 3, 1, 22, 15, tzinfo=UTC)
FIRST, LAST = START.date(), date(2031, 3, 31)
MODELS = (("openai", "gpt-6-luna"), ("anthropic", "claude-haiku-5-5"))


@dataclass(frozen=True)
class World:
    """One database under a clock of its own."""

    app: Connection
    ops: Connection
    owner: psycopg.Connection[Any]
    clock: Clock

    def prompt(self, tenant: UUID | None, name: str, version: int) -> UUID:
        """Publish a prompt; None: a default."""
        prompt_id = new_id()
        self.owner.execute(
            "insert into headrace.prompts (id, tenant_id, name, version, body, max_output_tokens, content_hash)"
            " values (%s, %s, %s, %s, 'x', 10, '')",
            [prompt_id, tenant, name, version],
        )
        return prompt_id

    def settle(
        self, tenant: UUID, *, user: str = "ada", feature: str = "chat", run: str = "used", **fields: Any
    ) -> Any:
        """A job with one call from start to end, and how the call's outcome is learned later if it was not."""
        claim, job = new_id(), enqueue_job(self.app, tenant, user_id=user, feature=feature)
        tokens = fields.pop("tokens", (10, 20))
        planned = planned_call(**fields)
        assert claim_job(self.app, tenant, claim_id=claim, worker_id=new_id()) is not None
        assert begin_call(self.app, tenant, job, claim, planned).verdict == "granted"
        books = {"used": answered_run(planned.run_id, *tokens), "refused": refused_run(planned.run_id)}
        settle_job(
            self.app, tenant, job, claim, books.get(run, unknown_run(planned.run_id)), "ended",
            outcome="failed", reason="a test", error={},
        )  # fmt: skip
        return lambda: settle_job(
            self.app, tenant, job, claim, books["used"], "ended", outcome="failed", reason="x", error={}
        )


@pytest.fixture
def world(urls: Urls) -> Iterator[World]:
    with psycopg.connect(urls.owner, autocommit=True) as owner, connect(urls.app) as app, connect(urls.ops) as ops:
        yield World(app, ops, owner, Clock(owner, START))


@pytest.fixture
def busy(world: World, ops: Database) -> World:
    """Five dozen calls of three tenants over several days, of every kind; some unknown ones were heard of later."""
    dice = random.Random(7)
    tenants = [new_tenant(ops, name) for name in ("Acme", "Bee", "Acme")]
    shared = [None, world.prompt(None, "greeting", 1), world.prompt(None, "greeting", 2)]
    own = {tenant: world.prompt(tenant, "greeting", 1) for tenant in tenants}
    later = []
    for n in range(60):
        world.clock.advance(dice.choice([60, 3600, 5 * 3600]))
        tenant = dice.choice(tenants)
        model = dice.choice(MODELS)
        hear = world.settle(
            tenant,
            user=dice.choice(["ada", "bob", "ada; drop table"]),
            feature=dice.choice(["chat", "support_reply"]),
            run=dice.choice(["used", "used", "used", "refused", "unknown"]),
            prompt_id=dice.choice([*shared, own[tenant]]),
            key_owner=dice.choice(["platform", "platform", "tenant"]),
            provider=model[0],
            model=model[1],
            tokens=(dice.randrange(3000), dice.randrange(3000)),  # up to 1,000 of each were reserved
        )
        if n % 3 == 0:
            later.append(hear)
    dice.shuffle(later)
    for hear in later:
        hear()
    return world


def recomputed(world: World, by: Sequence[By], *, first: date, last: date, tenant: UUID | None) -> dict[Any, Any]:
    """The same from the runs themselves, added up here: whose → figures."""
    rows = world.ops.execute(
        "select r.*, t.name as tenant, p.name as prompt, p.version from headrace.runs r"
        " join headrace.tenants t on t.id = r.tenant_id left join headrace.prompts p on p.id = r.prompt_id"
    ).fetchall()
    sums: dict[Any, list[Fraction]] = defaultdict(lambda: [Fraction(0)] * 9)
    for row in rows:
        day = row["created_at"].astimezone(UTC).date()
        if not first <= day <= last or (tenant is not None and row["tenant_id"] != tenant):
            continue
        prompt_id = None if row["prompt_id"] is None else str(row["prompt_id"])
        whose = {
            By.DAY: (day,),
            By.TENANT: (row["tenant"], str(row["tenant_id"])),
            By.USER: (row["tenant"], str(row["tenant_id"]), row["user_id"]),
            By.FEATURE: (row["feature"],),
            By.PROMPT: (row["prompt"], row["version"], prompt_id),
            By.PROVIDER: (row["provider"],),
            By.MODEL: (row["provider"], row["model"]),
            By.KEY: (row["key_owner"],),
        }
        over = row["cost_usd"] - row["reserved_usd"]
        figures = [
            1, row["status"] != "succeeded", row["input_tokens"] or 0, row["cached_input_tokens"] or 0,
            row["output_tokens"] or 0, row["cost_usd"], row["reserved_usd"], over > 0, max(over, 0),
        ]  # fmt: skip
        key = tuple(whose[one] for one in by)
        sums[key] = [a + Fraction(b) for a, b in zip(sums[key], figures, strict=True)]
    return dict(sums)


def told(world: World, by: Sequence[By], **period: Any) -> dict[Any, Any]:
    names = {one: spend.names([one]) for one in by}
    rows = spend.rollup(world.ops, by, **period)
    found = {
        tuple(tuple(row.of[name] for name in names[one]) for one in by): [
            Fraction(getattr(row, figure)) for figure in spend.FIGURES
        ]
        for row in rows
    }
    assert len(found) == len(rows), "one row a combination"
    return found


def test_the_history_has_every_kind_of_call(busy: World) -> None:
    """The tests below are worth nothing if it has not."""
    rows = busy.ops.execute("select * from headrace.runs").fetchall()
    assert {row["status"] for row in rows} == {"succeeded", "failed", "unknown"}
    assert {row["key_owner"] for row in rows} == {"platform", "tenant"}
    assert any(row["over_reserved_usd"] > 0 for row in rows)
    assert len({row["created_at"].date() for row in rows}) > 4
    corrected = busy.ops.execute(
        "select from headrace.runs where settled_at - created_at > interval '1 day'"
    ).fetchall()
    assert len(corrected) >= 3
    with Database(busy.ops.info.dsn) as ops:
        check_books(ops, None, all_ended=False)


@pytest.mark.parametrize("size", [1, 2, len(By)])
def test_the_rollup_equals_the_runs_in_every_grouping(busy: World, size: int, subtests: pytest.Subtests) -> None:
    for by in combinations(By, size):
        with subtests.test(by=",".join(by)):
            assert told(busy, by, since=FIRST, until=LAST) == recomputed(busy, by, first=FIRST, last=LAST, tenant=None)


def test_a_part_of_the_days_and_one_tenant_equal_the_runs(busy: World) -> None:
    (tenant, *_), day = [row["id"] for row in busy.ops.execute("select id from headrace.tenants order by id")], FIRST
    first, last = day + timedelta(days=1), day + timedelta(days=3)

    found = told(busy, [By.DAY, By.MODEL], since=first, until=last, tenant_id=tenant)

    assert found
    assert found == recomputed(busy, [By.DAY, By.MODEL], first=first, last=last, tenant=tenant)


def test_rows_stand_by_day_and_then_dearest_first(busy: World) -> None:
    rows = spend.rollup(busy.ops, [By.USER, By.DAY], since=FIRST, until=LAST)

    assert rows == sorted(rows, key=lambda row: (row.of["day"], -row.cost_usd))
    assert list(rows[0].of) == ["day", "tenant", "tenant_id", "user"]


def test_a_total_rounds_nothing() -> None:
    (row,) = [spend.total([])]
    big, small = Decimal("9" * 25 + ".1"), Decimal("1E-30")

    assert spend.exact_sum([big, small, small]) == Decimal("9" * 25 + ".1" + "0" * 28 + "2")
    assert row.cost_usd == 0


# -------------------------------------------------------------------------------------------------------- estimates


def test_estimates_compare_what_was_billed_by_tokens_and_count_the_rest_apart(busy: World) -> None:
    since = FIRST + timedelta(days=1)
    rows = busy.ops.execute("select * from headrace.runs").fetchall()

    found = {(one.provider, one.model): one for one in spend.estimates(busy.ops, since=since)}

    assert found.keys() == set(MODELS)
    for (provider, model), one in found.items():
        mine = [r for r in rows if (r["provider"], r["model"]) == (provider, model) and r["created_at"].date() >= since]
        billed = [r for r in mine if r["status"] == "succeeded"]
        unknown = [r for r in mine if r["status"] == "unknown"]
        ratios = sorted(Fraction(r["cost_usd"]) / Fraction(r["reserved_usd"]) for r in billed)
        assert (one.calls, one.unknown_calls) == (len(billed), len(unknown))
        assert one.refused_calls == sum(r["status"] == "failed" for r in mine)
        assert one.reserved_usd == sum(r["reserved_usd"] for r in billed)
        assert one.cost_usd == sum(r["cost_usd"] for r in billed)
        assert one.unknown_usd == sum(r["reserved_usd"] for r in unknown)
        assert one.over_calls == sum(ratio > 1 for ratio in ratios) > 0
        assert one.over_reserved_usd == sum(max(r["cost_usd"] - r["reserved_usd"], Decimal(0)) for r in billed)
        for is_, should in (
            (one.ratio, Fraction(one.cost_usd) / Fraction(one.reserved_usd)),
            (one.ratio_p50, ratios[-(-len(ratios) * 50 // 100) - 1]),
            (one.ratio_p95, ratios[-(-len(ratios) * 95 // 100) - 1]),
            (one.ratio_max, ratios[-1]),
        ):
            assert is_ is not None and abs(Fraction(is_) - should) <= Fraction(1, 2_000_000)


def test_calls_of_unknown_outcome_alone_make_no_ratio(world: World, ops: Database) -> None:
    tenant = new_tenant(ops, "Acme")
    hear = world.settle(tenant, run="unknown")
    world.settle(tenant, run="refused")

    (before,) = spend.estimates(world.ops, since=FIRST)
    hear()
    (after,) = spend.estimates(world.ops, since=FIRST)

    assert (before.calls, before.ratio, before.ratio_max, before.refused_calls, before.unknown_calls) == (
        0,
        None,
        None,
        1,
        1,
    )
    assert before.unknown_usd == Decimal("0.000625")
    assert (after.calls, after.unknown_calls, after.unknown_usd, after.ratio) == (1, 0, 0, Decimal("0.017600"))


# ---------------------------------------------------------------------------------------------------------- windows


def test_a_window_is_the_cap_and_its_buckets_as_they_stand(world: World, ops: Database) -> None:
    acme = new_tenant(ops, "Acme", daily_cap_usd=Decimal("0.01"))
    bee = new_tenant(ops, "Bee", plan="free")
    world.settle(acme)
    world.clock.advance(3600)
    world.settle(acme, run="unknown")
    world.settle(acme, key_owner="tenant")  # not under the platform's caps
    claim, job = new_id(), enqueue_job(world.app, acme)
    claim_job(world.app, acme, claim_id=claim, worker_id=new_id())
    begin_call(world.app, acme, job, claim, planned_call())

    one, other = spend.windows(world.ops)

    hour = START.replace(minute=0)
    assert (one.tenant, one.tenant_id, one.now) == ("Acme", acme, world.clock.now)
    assert (one.limit_usd, one.reserved_usd) == (Decimal("0.01"), Decimal("0.000625"))
    assert one.buckets == {hour: Decimal("0.000011"), hour + timedelta(hours=1): Decimal("0.000625")}
    assert one.spent_usd == sum(one.buckets.values())
    assert (other.tenant_id, other.limit_usd, other.spent_usd, other.buckets) == (bee, 5, 0, {})
    assert [window.tenant_id for window in spend.windows(world.ops, tenant_id=bee)] == [bee]


def test_a_window_lets_go_of_old_hours_though_nobody_calls(world: World, ops: Database) -> None:
    acme = new_tenant(ops, "Acme")
    world.settle(acme, run="unknown")
    world.clock.set(START.replace(minute=59) + timedelta(hours=24))
    (before,) = spend.windows(world.ops)
    world.clock.advance(60)
    (after,) = spend.windows(world.ops)

    assert (before.spent_usd, len(before.buckets)) == (Decimal("0.000625"), 1)
    assert (after.spent_usd, after.buckets) == (0, {})


def test_the_forecast_comes_true(world: World, ops: Database) -> None:
    """A call an hour, each charged in full, until the cap says no: at the hour that was foretold."""
    acme = new_tenant(ops, "Acme", daily_cap_usd=Decimal("0.005"))
    world.ops.execute(
        "insert into headrace.caps (tenant_id, scope, key, hour, limit_usd) values (%s, 'user', 'ada', %s, 1)",
        [acme, START.replace(minute=0)],
    )
    world.clock.set(START.replace(minute=0))
    for _ in range(4):
        world.settle(acme, run="unknown")  # 0.000625 each, so the cap has room for 8 of them
        world.clock.advance(3600)
    (window,) = spend.windows(world.ops)
    foretold = forecast(window, hours=4)

    assert foretold.pace_usd == Decimal("0.000625")
    assert foretold.meets_cap_at == world.clock.now + timedelta(hours=4)
    for _ in range(4):
        world.settle(acme, run="unknown")
        world.clock.advance(3600)
    assert world.clock.now == foretold.meets_cap_at
    (window,) = spend.windows(world.ops)
    assert forecast(window, hours=4).met_now


# ---------------------------------------------------------------------------------------------------------- unusual


TODAY = START.date()


def spent_on(world: World, tenant: UUID, day: date, amounts: dict[tuple[str, str], str]) -> None:
    """What (user, feature) spent on a day."""
    for (user, feature), usd in amounts.items():
        world.ops.execute(
            "insert into headrace.spend_daily (day, tenant_id, user_id, feature, provider, model, key_owner, calls,"
            " failed_calls, input_tokens, cached_input_tokens, output_tokens, cost_usd)"
            " values (%s, %s, %s, %s, 'openai', %s, 'platform', 1, 0, 0, 0, 0, %s::numeric)",
            [day, tenant, user, feature, str(new_id()), usd],
        )


@pytest.fixture
def surprised(world: World, ops: Database) -> tuple[World, UUID]:
    """Ada spends twenty times what she did; the feature she uses is so big that it does not show there."""
    acme = new_tenant(ops, "Acme")
    for ago in (3, 9, 30):
        day = TODAY - timedelta(days=ago)
        spent_on(world, acme, day, {("ada", "chat"): "1", ("bob", "chat"): "50", ("eve", "report"): "0.01"})
    spent_on(world, acme, TODAY - timedelta(days=57), {("eve", "report"): "0.01", ("new", "chat"): "1"})
    spent_on(
        world,
        acme,
        TODAY,
        {("ada", "chat"): "20", ("bob", "chat"): "60", ("eve", "report"): "0.9", ("new", "chat"): "40"},
    )
    spent_on(world, new_tenant(ops, "Bee"), TODAY, {("ada", "chat"): "30"})
    return world, acme


def test_who_is_far_over_its_own_history_is_found(surprised: tuple[World, UUID]) -> None:
    world, acme = surprised

    (found,) = spend.unusual(world.ops)

    assert found.what == SpenderDay(TODAY, acme, "Acme", "user", "ada", Decimal(20))
    assert (found.median_usd, found.bound_usd, found.days) == (1, 4, 3)
    assert spend.unusual(world.ops, since=TODAY) == [found]
    # a day is judged by what came before it, from wherever one looks back
    assert spend.unusual(world.ops, since=TODAY - timedelta(days=200)) == [found]
    world.clock.advance(86_400)
    assert spend.unusual(world.ops) == []


def test_a_notice_is_left_once_a_day(surprised: tuple[World, UUID]) -> None:
    world, acme = surprised

    first = spend.flag_unusual(world.ops)
    again = spend.flag_unusual(world.ops)
    spent_on(world, acme, TODAY, {("eve", "report"): "5", ("ada", "chat"): "5"})
    more = spend.flag_unusual(world.ops)
    world.clock.advance(86_400)
    spent_on(world, acme, TODAY + timedelta(days=1), {("ada", "chat"): "100"})
    next_day = spend.flag_unusual(world.ops)

    assert [(one.what.scope, one.what.key) for one in first] == [("user", "ada")]
    assert again == []
    assert {(one.what.scope, one.what.key) for one in more} == {("user", "eve"), ("feature", "report")}
    assert [(one.what.scope, one.what.key, one.days) for one in next_day] == [("user", "ada", 4)]
    rows = world.ops.execute("select tenant_id, topic, payload from headrace.outbox order by id").fetchall()
    assert [(row["tenant_id"], row["topic"]) for row in rows] == [(acme, "spend.unusual")] * 4
    assert rows[0]["payload"] == {
        "scope": "user", "key": "ada", "day": "2031-03-01", "spent_usd": "20", "median_usd": "1.000000",
        "bound_usd": "4.000000",
    }  # fmt: skip


def test_two_that_flag_at_once_leave_one_notice(surprised: tuple[World, UUID], urls: Urls) -> None:
    world, _ = surprised
    with connect(urls.ops) as other:
        with other.transaction():
            assert len(spend.flag_unusual(other)) == 1
            assert spend.flag_unusual(world.ops) == [], "somebody is at it"
        assert spend.flag_unusual(world.ops) == [], "it has been done"
        world.ops.execute("delete from headrace.outbox")
        with other.transaction(force_rollback=True):
            assert len(spend.flag_unusual(other)) == 1
        assert len(spend.flag_unusual(world.ops)) == 1, "what was undone is done anew"
    assert world.ops.execute("select count(*) as n from headrace.outbox").fetchone() == {"n": 1}
