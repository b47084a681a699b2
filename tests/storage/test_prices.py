"""Prices: what the package publishes becomes rows, a run costs what the provider bills, and no row is ever changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import TieredPrices, TimeOfDateConstraint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from console.commands.prices import REVIEWED
from console.endpoints import Endpoints
from console.provisioning import routed_models
from errors import InvalidInputError, UnpricedModelError
from router.policy import load_policy
from storage.db.connect import Connection
from storage.db.database import Database
from storage.db.ids import new_id
from storage.money import price_sync, price_table, prices
from storage.money.price_sync import due
from storage.money.price_table import compare_tables
from storage.money.prices import BY_HAND, ChangeKind, Model, Price, in_force
from storage.money.published_prices import read_published
from tests.conftest import TEMPLATE, new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Urls
from tests.support.transactions import begin_call, claim_job, enqueue_job, planned_call, settle_job, succeeded_outcome

ROUTED = sorted(routed_models(load_policy(None)))
LUNA: Model = ("openai", "gpt-6-luna")
UNROUTED: Model = ("openai", "gpt-5.4")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
START = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Used:
    """Tokens of one call; all input holds the cached and the written, all output the reasoning."""

    input: int
    cached: int = 0
    written: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def books(self) -> dict[str, int]:
        return {
            "input_tokens": self.input, "cached_input_tokens": self.cached, "cache_write_tokens": self.written,
            "output_tokens": self.output, "reasoning_tokens": self.reasoning,
        }  # fmt: skip


USES = [
    Used(1, output=1),
    Used(1_000, output=500),
    Used(1_000, cached=1_000, output=7),
    Used(1_000, written=1_000, output=7),
    Used(10_001, cached=4_000, written=3_000, output=999),
    Used(5_000, output=4_000, reasoning=3_500),
    Used(0, output=10),
    # both sides of the long-context cliffs of either provider
    *(Used(size, cached=30_000, written=20_000, output=3_333) for size in (100_000, 100_001, 272_000, 272_001)),
    Used(900_000, cached=899_999, output=64_000, reasoning=60_000),
]


def billed(model: Model, used: Used, at: datetime, *, in_batch: bool) -> Decimal:
    """What genai-prices itself makes of a call: it knows nothing of our rows."""
    usage = Usage(
        input_tokens=used.input, cache_read_tokens=used.cached, cache_write_tokens=used.written,
        output_tokens=used.output, output_reasoning_tokens=used.reasoning,
    )  # fmt: skip
    context = {"processing": "batch"} if in_batch else None
    return calc_price(
        usage, model[1], provider_id=model[0], genai_request_timestamp=at, price_context=context
    ).total_price


# ------------------------------------------------------------------------------------------- what a provider bills


def test_a_run_costs_what_the_provider_bills(app: Database, ops: Database) -> None:
    """Every routed model, standard and in a batch, through begin and settle, against genai-prices' own calculation."""
    tenant = new_tenant(ops, "Rich", plan="enterprise", daily_cap_usd=Decimal(10_000))
    asked: dict[UUID, tuple[Model, Used, str]] = {}
    with app.connection() as connection:
        for model in ROUTED:
            job, claim = enqueue_job(connection, tenant), new_id()
            assert claim_job(connection, tenant, claim_id=claim, worker_id=new_id()) is not None
            for used in USES:
                for processing in ("standard", "batch"):
                    planned = planned_call(
                        provider=model[0], model=model[1], processing=processing, input_bound=1_000_000,
                        max_output_tokens=64_000,
                    )  # fmt: skip
                    assert begin_call(connection, tenant, job, claim, planned).verdict == "granted"
                    books = {"id": str(planned.run_id), "status": "succeeded", "http_status": 200, **used.books}
                    settle_job(connection, tenant, job, claim, books, "next_call")
                    asked[planned.run_id] = (model, used, processing)
            settle_job(connection, tenant, job, claim, None, "ended", **succeeded_outcome(planned.run_id))
    with ops.connection() as connection:
        runs = connection.execute("select * from headrace.runs").fetchall()

    assert {run["id"] for run in runs} == asked.keys()
    for run in runs:
        model, used, processing = asked[run["id"]]
        right = billed(model, used, run["created_at"], in_batch=processing == "batch")
        assert run["cost_usd"] == right, (model, used, processing)
        assert run["over_reserved_usd"] == 0
    costs = {asked[run["id"]]: run["cost_usd"] for run in runs}
    assert all(costs[model, used, "standard"] == 2 * costs[model, used, "batch"] > 0 for model, used, _ in costs)
    check_books(ops, None)


@pytest.fixture
def schema(services: Endpoints) -> Iterator[psycopg.Connection[Any]]:
    """The functions are pure: the schema that the tests' databases are made of will do."""
    with psycopg.connect(make_conninfo(services.require_owner(), dbname=TEMPLATE)) as connection:
        yield connection


def priceable() -> list[Model]:
    """Every model of our two providers that a row can price."""
    found: list[Model] = []
    for provider in get_snapshot().providers:
        for model in provider.models if provider.id in ("openai", "anthropic") else ():
            try:
                read_published([(provider.id, model.id)])
            except UnpricedModelError:
                continue
            if provider.find_model(model.id) is model:  # not a pattern of fine-tuned models
                found.append((provider.id, model.id))
    return found


def test_any_model_that_could_be_routed_costs_what_its_provider_bills(schema: psycopg.Connection[Any]) -> None:
    models = priceable()
    assert len(models) > 100
    assert set(ROUTED) < set(models)
    exact = least = 0
    for row in read_published(models):
        at = max(row.effective_from, START) + timedelta(hours=1)
        facts = Jsonb({name: str(value) for name, value in row.rates().items() if value is not None})
        for in_batch in (False, True):
            found = schema.execute(
                """select headrace.cost_of(jsonb_populate_record(null::headrace.model_prices, %s),
                       x.input_tokens, x.cached_input_tokens, x.cache_write_tokens, x.output_tokens, %s)
                   from jsonb_to_recordset(%s) as x(input_tokens bigint, cached_input_tokens bigint,
                       cache_write_tokens bigint, output_tokens bigint)""",
                [facts, in_batch, Jsonb([used.books for used in USES])],
            ).fetchall()
            for used, (cost,) in zip(USES, found, strict=True):
                right = billed(row.of, used, at, in_batch=in_batch)
                if in_batch and "least batch discount" in row.source:
                    assert cost >= right, (row, used)
                    least += 1
                else:
                    assert cost == right, (row, used, in_batch)
                    exact += 1
    assert exact > 2_000
    assert least > 0


def test_a_run_keeps_its_price_when_another_comes_into_force_during_the_call(
    app: Database, ops: Database, tenant: UUID
) -> None:
    with app.connection() as connection, ops.connection() as operator:
        job, claim, planned = enqueue_job(connection, tenant), new_id(), planned_call()
        claim_job(connection, tenant, claim_id=claim, worker_id=new_id())
        reserved = begin_call(connection, tenant, job, claim, planned).reserved_usd
        _dearer(operator, prices.moment(operator))
        books = {"id": str(planned.run_id), "status": "succeeded", **Used(1_000, output=1_000).books}
        settle_job(connection, tenant, job, claim, books, "next_call")
        later = planned_call()
        assert begin_call(connection, tenant, job, claim, later).reserved_usd == Decimal("0.105")
        settle_job(
            connection,
            tenant,
            job,
            claim,
            {**books, "id": str(later.run_id)},
            "ended",
            **succeeded_outcome(later.run_id),
        )
        rows = operator.execute("select id, cost_usd, price_id from headrace.runs").fetchall()
    runs = {row["id"]: row for row in rows}

    assert reserved == Decimal("0.000625")
    assert runs[planned.run_id]["cost_usd"] == Decimal("0.0006")
    assert runs[later.run_id]["cost_usd"] == Decimal("0.105")
    assert runs[planned.run_id]["price_id"] != runs[later.run_id]["price_id"]


def _dearer(operator: Connection, at: datetime) -> None:
    price = Price(*LUNA, effective_from=at, input_usd=Decimal(5), output_usd=Decimal(100))
    prices.add_by_hand(operator, price, actor="a test")


# --------------------------------------------------------------------------------------------------- what is published


def test_the_reviewed_table_is_what_the_installed_package_says() -> None:
    announced = read_published(ROUTED)
    text = REVIEWED.read_text("utf-8")

    assert compare_tables(price_table.read_table(text), announced) == []
    assert text == price_table.write_table(announced)


def test_each_step_has_the_date_from_which_it_holds() -> None:
    steps = [row for row in read_published([("anthropic", "claude-sonnet-4-6")]) if row.effective_from.year > 2020]
    first, *_ = read_published([("openai", "o3")])

    assert steps[0].effective_from == datetime(2026, 3, 13, tzinfo=UTC)
    assert (first.effective_from, first.input_usd) == (START, Decimal(10)), "what o3 cost before it became cheaper"
    assert [row.effective_from for row in read_published(ROUTED)].count(START) == len(ROUTED)


def test_a_batch_has_the_discount_that_all_its_tokens_have_or_the_least_of_several() -> None:
    luna = read_published([LUNA])
    uneven = read_published([UNROUTED])  # its cached input is half a cent dearer than half

    assert [(row.batch_discount, row.source) for row in luna] == [
        (Decimal(0), luna[0].source),
        (Decimal("0.5"), luna[0].source),
    ]
    assert uneven[-1].batch_discount == Decimal("0.48")
    assert uneven[-1].source.endswith(", least batch discount")


def test_what_no_row_can_say_is_refused_with_the_reason() -> None:
    by_hour = several_tiers = thinking = None
    for provider in get_snapshot().providers:
        for model in provider.models:
            steps = model.prices if isinstance(model.prices, list) else []
            name = (provider.id, model.id)
            if any(isinstance(step.constraint, TimeOfDateConstraint) for step in steps):
                by_hour = name
            elif not steps:
                rate = model.prices.input_mtok  # type: ignore[union-attr]
                if isinstance(rate, TieredPrices) and len(rate.tiers) > 1:
                    several_tiers = name
                if getattr(model.prices, "output_reasoning_mtok", None) is not None:
                    thinking = name
    for name, why in (
        (by_hour, "time of day"),
        (several_tiers, "several long-context tiers"),
        (thinking, "output_reasoning_mtok"),
        (("openai", "whisper-1"), "no input or output rate"),
        (("openai", "gpt-of-tomorrow"), "knows no price"),
        (("nobody", "gpt-6-luna"), "knows no price"),
    ):
        assert name is not None, why
        with pytest.raises(UnpricedModelError, match=why) as refused:
            read_published([name])
        assert refused.value.value == f"{name[0]}:{name[1]}"
        assert "by hand" in str(refused.value.hint)


# --------------------------------------------------------------------------------------------------- what a sync adds

ONE: Model = ("openai", "one")


def row(day: datetime, usd: int, **facts: Any) -> Price:
    return Price(*ONE, effective_from=day, input_usd=Decimal(usd), output_usd=Decimal(1), **facts)


def days(number: int) -> datetime:
    return NOW + timedelta(days=number)


MOMENT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("announced", "stored", "added"),
    [
        pytest.param([row(START, 1)], [row(START, 1)], [], id="equal"),
        pytest.param(
            [row(START, 1), row(days(9), 2)], [], [(START, 1, "new model"), (days(9), 2, "new model")], id="new"
        ),
        pytest.param([row(START, 2)], [row(START, 1)], [(NOW, 2, "changed rate")], id="changed without a date"),
        pytest.param([row(START, 2)], [row(START, 1), row(days(-3), 2)], [], id="a change that was taken over"),
        pytest.param(
            [row(START, 1), row(days(-3), 2)], [row(START, 1)], [(days(-3), 2, "new step")], id="a step that has begun"
        ),
        pytest.param(
            [row(START, 1), row(days(5), 2)], [row(START, 1)], [(days(5), 2, "new step")], id="a step to come"
        ),
        pytest.param(
            [row(START, 1), row(days(-9), 3)],
            [row(START, 1), row(days(-3), 2)],
            [(days(-9), 3, "new step"), (NOW, 3, "changed rate")],
            id="a step before a row that has become wrong",
        ),
        pytest.param(
            [row(START, 1), row(days(5), 3)],
            [row(START, 1), row(days(5), 2)],
            [(days(5) + MOMENT, 3, "changed rate")],
            id="a step to come has changed",
        ),
        pytest.param(
            [row(START, 1)],
            [row(START, 1), row(days(5), 2)],
            [(days(5) + MOMENT, 1, "changed rate")],
            id="a step to come was called off",
        ),
        pytest.param(
            [row(START, 1), row(days(5), 4)],
            [row(START, 1), row(days(5), 2), row(days(5) + MOMENT, 3)],
            [(days(5) + 2 * MOMENT, 4, "changed rate")],
            id="and has changed once more",
        ),
        pytest.param([row(START, 2)], [row(START, 1), row(days(-400), 7, source=BY_HAND)], [], id="kept by hand"),
        pytest.param(
            [row(START, 1, batch_discount=Decimal("0.5"))], [row(START, 1)], [(NOW, 1, "changed rate")], id="a discount"
        ),
        pytest.param([], [row(START, 1)], [], id="nothing is said of it"),
    ],
)
def test_what_is_due(announced: list[Price], stored: list[Price], added: list[tuple[datetime, int, str]]) -> None:
    changes = due(announced, stored, NOW)

    assert [(one.row.effective_from, one.row.input_usd, one.kind.value) for one in changes] == added
    assert all(one.rates() for one in changes)


@st.composite
def histories(draw: st.DrawFn) -> list[Price]:
    when = draw(st.lists(st.integers(-20, 20), unique=True, max_size=5))
    return [row(day, draw(st.integers(1, 4))) for day in (START, *map(days, sorted(when)))]


@settings(deadline=None, max_examples=150)
@given(first=histories(), later=st.lists(st.tuples(st.integers(0, 10), histories()), max_size=4))
def test_after_any_number_of_syncs_what_is_published_is_in_force(
    first: list[Price], later: list[tuple[int, list[Price]]]
) -> None:
    stored, now = list(first), NOW
    for passed, announced in later:
        now += timedelta(days=passed, microseconds=1)
        before = list(stored)
        stored += [one.row for one in due(announced, stored, now)]

        assert stored[: len(before)] == before, "no row is changed"
        assert len({one.effective_from for one in stored}) == len(stored), "no row is lost to another of its instant"
        assert due(announced, stored, now) == [], "once is enough"
        for at in (now, *(days(day) + timedelta(seconds=2) for day in range(-20, 60))):
            if at >= now:
                assert in_force(stored, at)[ONE].rates() == in_force(announced, at)[ONE].rates()
        assert {one.effective_from for one in announced} <= {one.effective_from for one in stored}


# ------------------------------------------------------------------------------------------------------ the database


def test_a_provisioned_database_has_not_drifted(ops: Database) -> None:
    with ops.connection() as connection, connection.transaction():
        assert price_sync.sync(connection, ROUTED) == price_sync.Drift([], [])
        stored = prices.list_prices(connection)
    announced = read_published(ROUTED)
    assert [(one.of, one.effective_from, one.rates(), one.source) for one in stored] == [
        (one.of, one.effective_from, one.rates(), one.source) for one in announced
    ]


def test_a_sync_adds_new_models_steps_and_rates_and_leaves_what_is_there(ops: Database, urls: Urls) -> None:
    with psycopg.connect(urls.owner) as owner:
        owner.execute("delete from headrace.model_prices where model = %s and effective_from > '2026-01-01'", [LUNA[1]])
    sonnet: Model = ("anthropic", "claude-sonnet-5-5")
    with ops.connection() as connection:
        wrong = Price(*sonnet, prices.moment(connection) - timedelta(hours=1), Decimal(3), Decimal(15))
        assert prices.add(connection, wrong)
        before = prices.list_prices(connection)
        wanted = [*ROUTED, UNROUTED]
        seen = price_sync.drift(connection, wanted)
        assert prices.list_prices(connection) == before, "looking changes nothing"
        with connection.transaction():
            done = price_sync.sync(connection, wanted)
        after = prices.list_prices(connection)
        again = price_sync.drift(connection, wanted)
        now = prices.moment(connection)

    kinds = {(one.row.of, one.kind) for one in done.changes}
    assert kinds == {(one.row.of, one.kind) for one in seen.changes}
    assert kinds == {(sonnet, ChangeKind.CHANGED_RATE), (LUNA, ChangeKind.NEW_STEP), (UNROUTED, ChangeKind.NEW_MODEL)}
    assert again.changes == []
    assert [one for one in after if one in before] == before
    assert len(after) == len(before) + len(done.changes)
    current = in_force(after, now)
    for model, right in in_force(read_published(wanted), now).items():
        assert current[model].rates() == right.rates()
    (step,) = (one.row for one in done.changes if one.kind == ChangeKind.NEW_STEP)
    assert step.effective_from == datetime(2026, 10, 14, tzinfo=UTC)


def test_a_model_with_a_price_by_hand_is_kept_by_hand(ops: Database) -> None:
    with ops.connection() as connection:
        _dearer(connection, prices.moment(connection))
        before = prices.list_prices(connection)
        with connection.transaction():
            done = price_sync.sync(connection, ROUTED)
        private: Model = ("openai", "our-own")
        prices.add_by_hand(connection, Price(*private, NOW, Decimal(1), Decimal(2)), actor="ada")
        # the package knows nothing of it, and is not asked
        also = price_sync.drift(connection, [*ROUTED, private])

        assert (done.changes, done.by_hand) == ([], [LUNA])
        assert (also.changes, also.by_hand) == ([], [LUNA, private])
        assert [one for one in prices.list_prices(connection) if one.of != private] == before
        with pytest.raises(UnpricedModelError):
            price_sync.drift(connection, [("openai", "nobody-s")])


def test_two_syncs_at_once_add_a_change_once(ops: Database) -> None:
    with ops.connection() as connection:
        prices.add(connection, Price(*LUNA, prices.moment(connection) - timedelta(hours=1), Decimal(3), Decimal(15)))
        before = len(prices.list_prices(connection))
    ready = threading.Barrier(4)
    added: list[int] = []

    def one() -> None:
        with ops.connection() as connection:
            ready.wait(timeout=30)
            with connection.transaction():
                added.append(len(price_sync.sync(connection, ROUTED).changes))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(added) == [0, 0, 0, 1]
    with ops.connection() as connection:
        assert len(prices.list_prices(connection)) == before + 1


def test_a_price_by_hand_is_audited_with_what_it_replaces(ops: Database) -> None:
    full = Price(
        *LUNA, NOW, input_usd=Decimal("0.1234567890123"), output_usd=Decimal(2), cached_input_usd=Decimal("0.01"),
        cache_write_usd=Decimal("0.2"), long_from=1000, long_input_usd=Decimal(3), long_output_usd=Decimal(4),
        long_cached_input_usd=Decimal(5), long_cache_write_usd=Decimal(6), batch_discount=Decimal("0.25"),
    )  # fmt: skip
    private = Price("openai", "our-own", NOW, Decimal(1), Decimal(2))
    with ops.connection() as connection:
        prices.add_by_hand(connection, full, actor="ada")
        prices.add_by_hand(connection, private, actor="bob")
        stored = prices.list_prices(connection, LUNA[1])
        audit = connection.execute("select * from headrace.audit order by id").fetchall()

    assert stored[-1] == replace(full, source=BY_HAND)
    assert {one.of for one in stored} == {LUNA}
    assert [(one["actor"], one["action"], one["target"], one["tenant_id"]) for one in audit] == [
        ("ada", "price.add", "openai:gpt-6-luna", None),
        ("bob", "price.add", "openai:our-own", None),
    ]
    assert audit[0]["before"]["input_usd"] == 0.1
    assert audit[0]["after"]["long_output_usd"] == 4
    assert audit[1]["before"] is None


def test_what_is_no_price_is_refused_and_a_row_is_never_changed(ops: Database) -> None:
    price = Price("openai", "our-own", NOW, Decimal(1), Decimal(2))
    with ops.connection() as connection:
        prices.add_by_hand(connection, price, actor="ada")
        with pytest.raises(InvalidInputError, match="never changed") as taken:
            prices.add_by_hand(connection, replace(price, input_usd=Decimal(7)), actor="ada")
        for wrong in (
            replace(price, effective_from=days(1), input_usd=Decimal(-1)),
            replace(price, effective_from=days(1), batch_discount=Decimal(1)),
            replace(price, effective_from=days(1), long_from=10),
        ):
            with pytest.raises(InvalidInputError, match="no price that could be"):
                prices.add_by_hand(connection, wrong, actor="ada")
        assert not prices.add(connection, replace(price, input_usd=Decimal(9)))
        assert prices.list_prices(connection, "our-own") == [replace(price, source=BY_HAND)]
        assert len(connection.execute("select from headrace.audit").fetchall()) == 1
    assert taken.value.field == "from"


# ---------------------------------------------------------------------------------------------------------- the table

RATE = st.decimals("0", "100", places=6)


@st.composite
def tables(draw: st.DrawFn) -> list[Price]:
    rows = []
    for model in draw(st.lists(st.sampled_from(["a", "b,c", 'd"e']), unique=True)):
        for day in draw(st.lists(st.integers(0, 3_000), unique=True, max_size=3)):
            long = {}
            if draw(st.booleans()):
                long = {
                    "long_from": draw(st.integers(1, 10**6)),
                    "long_input_usd": draw(RATE),
                    "long_output_usd": draw(RATE),
                }
            rates = {
                "cached_input_usd": draw(st.none() | RATE),
                "batch_discount": draw(st.decimals(0, "0.99", places=2)),
            }
            rows.append(Price("openai", model, START + timedelta(days=day), draw(RATE), draw(RATE), **rates, **long))
    return rows


@given(rows=tables())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_table_reads_as_it_was_written(rows: list[Price]) -> None:
    text = price_table.write_table(rows)
    again = price_table.read_table(text)

    assert again == sorted(rows, key=lambda one: (one.of, one.effective_from))
    assert compare_tables(rows, again) == []
    assert price_table.write_table(again) == text
    assert len(text.splitlines()) == len(rows) + 1


def test_differences_are_named_by_model_date_and_rate() -> None:
    before = [row(START, 1), row(days(-50), 2), replace(row(START, 5), model="old")]
    after = [row(START, 3), row(days(-50), 2), row(days(-1), 4), replace(row(START, 6), model="new")]

    changes = compare_tables(before, after)

    assert [(one.kind, one.row.model, one.rates()) for one in changes] == [
        (ChangeKind.NEW_MODEL, "new", _all(None, 6)),
        (ChangeKind.GONE, "old", _all(5, None)),
        (ChangeKind.CHANGED_RATE, "one", {"input_usd": (1, 3)}),
        (ChangeKind.NEW_STEP, "one", {"input_usd": (2, 4)}),
    ]


def _all(before: int | None, after: int | None) -> dict[str, tuple[int | None, int | None]]:
    others = (None, 1) if before is None else (1, None)
    discount = (None, 0) if before is None else (0, None)
    return {"input_usd": (before, after), "output_usd": others, "batch_discount": discount}


@pytest.mark.parametrize(
    ("lines", "at"),
    [
        ([], "line 1"),
        (["provider,model"], "line 1"),
        ([None, "openai,x,2026-01-01,1,,,2,,,,,,0", "openai,x,2026-01-01,,,,2,,,,,,0"], "line 3"),
        ([None, "openai,x,2026-13-01,1,,,2,,,,,,0"], "line 2"),
        ([None, "openai,x,2026-01-01,much,,,2,,,,,,0"], "line 2"),
        ([None, "openai,x,2026-01-01,NaN,,,2,,,,,,0"], "line 2"),
        ([None, "openai,x,2026-01-01,1,,,2"], "line 2"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(lines: Sequence[str | None], at: str) -> None:
    text = "\n".join(",".join(price_table.COLUMNS) if line is None else line for line in lines)
    with pytest.raises(InvalidInputError) as refused:
        price_table.read_table(text)
    assert refused.value.field == at
