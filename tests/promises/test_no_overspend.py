"""No cap is passed: not at any concurrency, not in any rolling day, and no call costs more than was reserved for it."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from console.endpoints import Endpoints
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import recovery, workers
from storage.jobs import jobs
from storage.jobs.jobs import ClaimedJob
from storage.money import runs
from storage.money.runs import Grant, PlannedCall
from tests.conftest import TEMPLATE, new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Urls, eventually

LUNA = ("openai", "gpt-6-luna")  # $0.10 in ($0.125 written to the cache), $0.50 out, a million tokens
START = datetime(2030, 5, 17, 10, 20, tzinfo=UTC)


# ---------------------------------------------------------------------------------------------------- one worker's acts


def put(app: Database, tenant: UUID, n: int, **fields: Any) -> None:
    request = {"user_id": "u", "feature": "chat", "messages": [{"role": "user", "content": "Hi"}], **fields}
    with app.connection() as connection:
        done = jobs.enqueue_batch(connection, tenant, [{"id": str(new_id()), **request} for _ in range(n)], wake=False)
    assert not [one.error for one in done if one.error]


@dataclass(frozen=True)
class Claim:
    """One claimed job, driven by hand."""

    app: Database
    tenant: UUID
    job: UUID
    id: UUID

    @classmethod
    def next(cls, app: Database, tenant: UUID, *, worker: UUID | None = None) -> Claim | None:
        claim_id = new_id()
        with app.connection() as connection:
            job = jobs.claim(
                connection, tenant, "interactive", claim_id=claim_id, worker_id=worker or new_id(), timeout_s=3600,
                turns_per_tenant=64,
            )  # fmt: skip
        return cls(app, tenant, job.job_id, claim_id) if isinstance(job, ClaimedJob) else None

    def begin(self, call: PlannedCall, later: tuple[PlannedCall, ...] = ()) -> Grant:
        with self.app.connection() as connection:
            return runs.begin(connection, self.tenant, self.job, self.id, call, later)

    def settle(self, run: dict[str, Any] | None, verdict: str = "ended", **outcome: Any) -> str:
        outcome = outcome or {"outcome": "failed", "reason": "a test"}
        with self.app.connection() as connection:
            return jobs.settle(
                connection, self.tenant, self.job, self.id, run=run, verdict=verdict, outcome=outcome
            ).state


def call(input_bound: int, max_output_tokens: int, **fields: Any) -> PlannedCall:
    facts: dict[str, Any] = {
        "run_id": new_id(), "kind": "answer", "provider": LUNA[0], "model": LUNA[1], "tier": "cheap",
        "route_rule": "default", "fallback": False, "input_bound": input_bound, "max_output_tokens": max_output_tokens,
        "min_output_tokens": None, "prompt_id": None,
    }  # fmt: skip
    return PlannedCall(**{**facts, **fields})


def used(run_id: UUID, input_tokens: int, output_tokens: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": str(run_id), "status": "succeeded", "input_tokens": input_tokens, "cached_input_tokens": 0,
        "cache_write_tokens": 0, "output_tokens": output_tokens, "reasoning_tokens": 0, "http_status": 200, **fields,
    }  # fmt: skip


def answer(run_id: UUID) -> dict[str, Any]:
    return {
        "outcome": "succeeded", "run_id": str(run_id), "output": "Hi", "finish": "complete", "max_output_tokens": 1,
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- concurrency

THREADS, JOBS_EACH = 64, 6
ALIVE = new_id()  # the worker whose jobs are not reclaimed
_OVER = """
    select c.scope, c.key, c.spent_usd, c.reserved_usd, l.usd from headrace.caps c
    join headrace.tenants t on t.id = c.tenant_id join headrace.plans p on p.name = t.plan
    cross join lateral (select coalesce(c.limit_usd, case c.scope when 'tenant' then t.daily_cost_cap_usd
                               when 'user' then t.daily_cost_cap_usd * p.user_share end) as usd) l
    where c.spent_usd + c.reserved_usd > l.usd"""


@dataclass
class Watcher:
    """Looks at the caps without a pause until told to stop."""

    database: Database
    looks: int = 0
    seen_reserved: bool = False
    breaches: list[Any] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        with self.database.connection() as connection:
            while not stop.is_set():
                self.breaches += connection.execute(_OVER).fetchall()
                held = connection.execute("select from headrace.caps where reserved_usd > 0").fetchall()
                self.seen_reserved = self.seen_reserved or bool(held)
                self.looks += 1


@pytest.mark.parametrize("tight", ["tenant", "user", "feature"])
def test_no_number_of_threads_passes_a_cap(ops: Database, urls: Urls, tight: str) -> None:
    """Threads begin and settle at random under a cap that fits a part; some die in mid-call and are reclaimed."""
    limit = Decimal("0.02")  # of about 0.05 that all jobs together would spend
    tenant = new_tenant(ops, "Busy", daily_cap_usd={"tenant": limit, "user": limit * 5}.get(tight, Decimal(10)))
    users = ["u"] if tight == "user" else [f"u-{i}" for i in range(THREADS)]
    with ops.connection() as connection:
        if tight == "feature":
            connection.execute(
                "insert into headrace.caps (tenant_id, scope, key, limit_usd, hour)"
                " values (%s, 'feature', 'chat', %s, date_trunc('hour', headrace.now(), 'UTC'))",
                [tenant, limit],
            )
        workers.heartbeat(connection, ALIVE, host="here", pid=1, threads=THREADS)
    watcher, stop = Watcher(ops), threading.Event()
    with Database(urls.app, connections=24) as app, ThreadPoolExecutor(THREADS + 2) as threads:
        for user in users:
            put(app, tenant, THREADS * JOBS_EACH // len(users), user_id=user)
        background = [threads.submit(watcher.run, stop), threads.submit(_reclaim_the_dead, ops, stop)]
        try:
            ended = [one for many in threads.map(lambda seed: _work(app, tenant, seed), range(THREADS)) for one in many]
            eventually(lambda: not _running(ops), why="what the dead held is reclaimed")
        finally:
            stop.set()
            for one in background:
                one.result()
    assert watcher.breaches == []
    assert watcher.looks > 0 and watcher.seen_reserved
    assert set(ended) == {"succeeded", "rejected", "died", "came back"}
    assert len(ended) == THREADS * JOBS_EACH
    check_books(ops, None)
    with ops.connection() as connection:
        (total,) = connection.execute("select sum(cost_usd) as usd from headrace.runs").fetchall()
        spent = connection.execute(
            "select scope, sum(spent_usd) as usd from headrace.caps group by scope"
            " union all select scope, sum(spent_usd) from headrace.spend_buckets group by scope"
        ).fetchall()
    assert [row["usd"] for row in spent] == [total["usd"]] * 6
    assert limit * Decimal("0.8") < total["usd"] <= limit


def _work(app: Database, tenant: UUID, seed: int) -> list[str]:
    """Run some of the tenant's jobs one after the other; what became of each."""
    dice = random.Random(seed)
    ended = []
    for _ in range(JOBS_EACH):
        fate = dice.choices(["succeeded", "died", "came back"], [0.84, 0.08, 0.08])[0]
        claim = Claim.next(app, tenant, worker=ALIVE if fate == "succeeded" else new_id())
        assert claim is not None
        planned = call(dice.randint(0, 1500), dice.randint(1, 700))
        verdict = "wait_for_room"
        while verdict == "wait_for_room":
            verdict = claim.begin(planned).verdict
        if verdict == "over_budget":
            claim.settle(None, outcome="rejected", reason="over_budget")
            fate = "rejected"
        elif verdict == "granted" and fate != "died":
            # one that came back may have been taken for dead, and charged as reserved, meanwhile
            run = used(planned.run_id, dice.randint(0, planned.input_bound), dice.randint(0, planned.max_output_tokens))
            claim.settle(run, **answer(planned.run_id))
        else:
            assert verdict in ("granted", "lost")
            assert fate != "succeeded"
        ended.append(fate)
    return ended


def _reclaim_the_dead(ops: Database, stop: threading.Event) -> None:
    while not stop.wait(0.005):
        with ops.connection() as connection:
            recovery.reclaim(connection, silent_s=3600, max_deaths=1)


def _running(ops: Database) -> list[Any]:
    with ops.connection() as connection:
        return connection.execute("select from headrace.queue where state = 'running'").fetchall()


def test_a_plan_of_several_calls_reserves_them_all_at_once_and_gives_back_what_is_left(
    app: Database, ops: Database
) -> None:
    tenant = new_tenant(ops, "Planner", daily_cap_usd=Decimal("0.005"))  # a user's part: 0.001
    put(app, tenant, 2)
    claim, other = Claim.next(app, tenant), Claim.next(app, tenant)
    assert claim and other
    first, second = call(0, 800), call(0, 1000)  # 0.0004 and 0.0005
    grant = claim.begin(first, (second,))
    assert (grant.verdict, grant.reserved_usd) == ("granted", Decimal("0.0004"))
    assert reserved(ops) == Decimal("0.0009")
    assert other.begin(call(0, 400)).verdict == "wait_for_room"
    assert claim.settle(used(first.run_id, 0, 100), "next_call") == "kept"
    assert reserved(ops) == Decimal("0.0005")
    assert claim.begin(second).verdict == "granted"
    assert reserved(ops) == Decimal("0.0005")  # it was held already
    assert claim.settle(used(second.run_id, 0, 10), **answer(second.run_id)) == "ended"
    assert reserved(ops) == 0
    assert other.begin(call(0, 400)).verdict == "granted"
    other.settle(None)
    check_books(ops, None)


def reserved(ops: Database) -> Decimal:
    with ops.connection() as connection:
        rows = connection.execute("select distinct reserved_usd from headrace.caps").fetchall()
    (row,) = rows  # the tenant's, the user's and the feature's alike
    return Decimal(row["reserved_usd"])


# ------------------------------------------------------------------------------------------------------ the rolling day


class Clock:
    """Postgres's time in the test's own database, moved by hand."""

    def __init__(self, owner_url: str) -> None:
        self._url = owner_url
        with psycopg.connect(owner_url, autocommit=True) as connection:
            connection.execute("create table headrace.test_clock (at timestamptz not null)")
            connection.execute("insert into headrace.test_clock values (%s)", [START])
            connection.execute("grant select on headrace.test_clock to public")
            connection.execute(
                "create or replace function headrace.now() returns timestamptz language sql volatile"
                " return (select at from headrace.test_clock)"
            )

    def to(self, at: datetime) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("update headrace.test_clock set at = %s", [at])


@pytest.fixture
def clock(urls: Urls) -> Clock:
    return Clock(urls.owner)


@pytest.fixture
def spender(app: Database, ops: Database, clock: Clock) -> Iterator[Spender]:
    yield Spender(app, ops, new_tenant(ops, "Steady", daily_cap_usd=Decimal("0.05")))  # a user's part: 0.01
    clock.to(START + timedelta(days=400))
    check_books(ops, None)


@dataclass
class Spender:
    """A tenant whose one user spends by the cent's fraction. 2,000 tokens of output are 0.001 USD."""

    app: Database
    ops: Database
    tenant: UUID

    def ask(self, usd: str) -> tuple[Claim, PlannedCall, Grant]:
        put(self.app, self.tenant, 1)
        claim = Claim.next(self.app, self.tenant)
        assert claim is not None
        planned = call(0, int(Decimal(usd) * 2_000_000))
        return claim, planned, claim.begin(planned)

    def spend(self, usd: str) -> None:
        claim, planned, grant = self.ask(usd)
        assert grant.verdict == "granted", grant
        claim.settle(used(planned.run_id, 0, planned.max_output_tokens), **answer(planned.run_id))

    def refused(self, usd: str) -> Grant:
        claim, _, grant = self.ask(usd)
        assert grant.verdict == "over_budget", grant
        claim.settle(None, outcome="rejected", reason="over_budget")
        return grant

    def cap(self, scope: str = "user") -> dict[str, Any]:
        with self.ops.connection() as connection:
            row = connection.execute("select * from headrace.caps where scope = %s", [scope]).fetchone()
        assert row is not None
        return row

    def warnings(self, scope: str = "user") -> list[dict[str, Any]]:
        with self.ops.connection() as connection:
            return [
                row["payload"]
                for row in connection.execute(
                    "select payload from headrace.outbox where topic = 'cap.soft_limit' order by id"
                )
                if row["payload"]["scope"] == scope
            ]


def test_spend_counts_for_a_day_and_leaves_the_window_25_hours_after_its_hour_began(
    spender: Spender, clock: Clock
) -> None:
    hour = START.replace(minute=0)
    spender.spend("0.006")
    clock.to(hour + timedelta(hours=5))
    spender.spend("0.004")
    for at in (timedelta(hours=23, minutes=59), timedelta(hours=24, minutes=59, seconds=59)):
        clock.to(hour + at)
        grant = spender.refused("0.001")
        assert (grant.spent_usd, grant.limit_usd, grant.cap_scope, grant.cap_key) == (
            Decimal("0.01"), Decimal("0.01"), "user", "u",
        )  # fmt: skip
    clock.to(hour + timedelta(hours=25))
    spender.spend("0.006")
    assert spender.cap()["spent_usd"] == Decimal("0.01")
    spender.refused("0.001")
    clock.to(hour + timedelta(hours=30))
    spender.spend("0.004")
    assert spender.cap()["spent_usd"] == spender.cap("tenant")["spent_usd"] == Decimal("0.01")


def test_room_at_is_the_first_instant_at_which_the_same_request_is_granted(spender: Spender, clock: Clock) -> None:
    hour = START.replace(minute=0)
    for hours, usd in ((0, "0.001"), (2, "0.005"), (3, "0.004")):
        clock.to(hour + timedelta(hours=hours, minutes=40))
        spender.spend(usd)
    room = {25: ["0.001"], 27: ["0.002", "0.006"], 28: ["0.007", "0.01"]}  # hours after the first → what fits then
    clock.to(hour + timedelta(hours=20))
    for hours, amounts in room.items():
        for usd in amounts:
            assert spender.refused(usd).room_at == hour + timedelta(hours=hours)
    assert spender.refused("0.011").room_at is None  # more than the whole cap: never
    for hours, amounts in room.items():
        at = hour + timedelta(hours=hours)
        clock.to(at - timedelta(microseconds=1))
        for usd in amounts:
            assert spender.refused(usd).room_at == at
        clock.to(at)
        for usd in amounts:
            claim, planned, grant = spender.ask(usd)
            assert grant.verdict == "granted"
            claim.settle({"id": str(planned.run_id), "status": "failed", "error_code": "a_test"})  # and costs nothing


def test_the_soft_limit_warns_once_a_crossing_and_is_armed_again_under_75_percent(
    spender: Spender, clock: Clock
) -> None:
    hour = START.replace(minute=0)
    spender.spend("0.004")
    clock.to(hour + timedelta(hours=1))
    spender.spend("0.0035")  # 75 %
    assert (spender.cap()["warned_at"], spender.warnings()) == (None, [])
    spender.spend("0.0005")  # 80 %, at last
    assert spender.cap()["warned_at"] == hour + timedelta(hours=1)
    (warning,) = spender.warnings()
    assert (warning["key"], Decimal(warning["spent_usd"]), Decimal(warning["limit_usd"])) == (
        "u", Decimal("0.008"), Decimal("0.01"),
    )  # fmt: skip
    spender.spend("0.001")  # 90 %: it was said
    assert len(spender.warnings()) == 1

    clock.to(hour + timedelta(hours=25))  # the first hour's spend is gone: 50 %
    spender.spend("0.0001")
    assert spender.cap()["warned_at"] is None
    spender.spend("0.003")  # 81 % again
    assert spender.cap()["warned_at"] == hour + timedelta(hours=25)
    assert len(spender.warnings()) == 2


def test_a_crossing_after_the_window_emptied_unseen_is_a_crossing(spender: Spender, clock: Clock) -> None:
    spender.spend("0.009")
    clock.to(START + timedelta(hours=30))
    spender.spend("0.0085")  # from nothing to 85 % in one step, without a reader when the first spend left
    assert spender.cap()["warned_at"] == START + timedelta(hours=30)
    assert len(spender.warnings()) == 2


def test_several_bookings_of_one_instant_are_one_crossing(spender: Spender, clock: Clock) -> None:
    """Two open calls of a worker that was lost are charged in one transaction, one after the other."""
    spender.spend("0.004")
    put(spender.app, spender.tenant, 1)
    claim = Claim.next(spender.app, spender.tenant)
    assert claim is not None
    for output in (9_000, 2_000):  # 85 %, then 95 %
        assert claim.begin(call(0, output)).verdict == "granted"
    with spender.ops.connection() as connection:
        taken = recovery.reclaim(connection, silent_s=0, max_deaths=1)
    assert taken is not None and taken.state == "failed"
    assert spender.cap()["spent_usd"] == Decimal("0.0095")
    assert len(spender.warnings()) == 1


def test_what_a_provider_bills_beyond_its_bound_is_recorded_in_full_and_flagged(
    app: Database, ops: Database, tenant: UUID
) -> None:
    put(app, tenant, 1)
    claim = Claim.next(app, tenant)
    assert claim is not None
    planned = call(100, 100)
    grant = claim.begin(planned)
    assert grant.reserved_usd is not None
    claim.settle(used(planned.run_id, 1000, 1000), **answer(planned.run_id))
    with ops.connection() as connection:
        (run,) = connection.execute("select * from headrace.runs").fetchall()
        (cap,) = connection.execute("select * from headrace.caps where scope = 'tenant'").fetchall()
    assert run["cost_usd"] == Decimal("0.0006")
    assert run["over_reserved_usd"] == run["cost_usd"] - grant.reserved_usd > 0
    assert (cap["spent_usd"], cap["reserved_usd"]) == (Decimal("0.0006"), 0)


# --------------------------------------------------------------------------------------------------------------- prices

RATE = st.decimals("0", "1000", places=4)
OPTIONAL = st.none() | RATE


@st.composite
def prices(draw: st.DrawFn) -> dict[str, Any]:
    """A price row as Postgres takes it; with a long context in half of the cases."""
    row: dict[str, Any] = {
        "input_usd": draw(RATE), "cached_input_usd": draw(OPTIONAL), "cache_write_usd": draw(OPTIONAL),
        "output_usd": draw(RATE),
    }  # fmt: skip
    if draw(st.booleans()):
        row |= {
            "long_from": draw(st.integers(1, 2_000)), "long_input_usd": draw(RATE), "long_output_usd": draw(RATE),
            "long_cached_input_usd": draw(OPTIONAL), "long_cache_write_usd": draw(OPTIONAL),
        }  # fmt: skip
    return row


def model_cost(price: dict[str, Any], cached: int, written: int, plain: int, output: int) -> Decimal:
    """What a call costs, said once more and plainly."""
    long = price.get("long_from") is not None and cached + written + plain > price["long_from"]
    prefix = "long_" if long else ""
    rate = price[f"{prefix}input_usd"]

    def or_plain(name: str) -> Decimal:
        special = price.get(f"{prefix}{name}_usd")
        return Decimal(rate if special is None else special)

    dear = cached * or_plain("cached_input") + written * or_plain("cache_write") + plain * Decimal(rate)
    return (dear + output * Decimal(price[f"{prefix}output_usd"])) / 1_000_000


@pytest.fixture
def asked(services: Endpoints) -> Iterator[psycopg.Connection[Any]]:
    """The functions are pure: the schema that the tests' databases are made of will do."""
    with psycopg.connect(make_conninfo(services.require_owner(), dbname=TEMPLATE)) as connection:
        yield connection


TOKENS = st.integers(0, 3_000)
PURE = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])


@PURE
@given(price=prices(), cached=TOKENS, written=TOKENS, plain=TOKENS, output=TOKENS, more_in=TOKENS, more_out=TOKENS)
def test_a_call_costs_what_the_tokens_say_and_never_more_than_its_worst_case(
    asked: psycopg.Connection[Any],
    price: dict[str, Any], cached: int, written: int, plain: int, output: int, more_in: int, more_out: int,
) -> None:  # fmt: skip
    total = cached + written + plain
    row = asked.execute(
        """select headrace.cost_of(p, %(total)s, %(cached)s, %(written)s, %(output)s),
                  headrace.worst_case(p, %(total)s, %(output)s),
                  headrace.worst_case(p, %(total)s + %(more_in)s, %(output)s + %(more_out)s)
           from jsonb_populate_record(null::headrace.model_prices, %(price)s) p""",
        {
            "price": Jsonb({name: str(value) for name, value in price.items() if value is not None}),
            "total": total, "cached": cached, "written": written, "output": output, "more_in": more_in,
            "more_out": more_out,
        },
    ).fetchone()  # fmt: skip
    assert row is not None
    cost, exact, bound = row
    assert cost == model_cost(price, cached, written, plain, output)
    assert cost <= exact <= bound


@pytest.mark.parametrize(
    ("tokens", "usd"),
    [
        ((0, 0, 0, 0), "0"),
        ((1_000, 0, 0, 0), "0.003"),  # plain input
        ((1_000, 1_000, 0, 0), "0.0003"),  # all of it from the cache
        ((1_000, 0, 1_000, 0), "0.00375"),  # all of it written to the cache
        ((1_000, 300, 200, 50), "0.00309"),
        ((200_000, 0, 0, 1), "0.600015"),  # the last that is short
        ((200_001, 0, 0, 1), "1.2000285"),  # and the first that is long, whole
        ((200_001, 200_001, 0, 0), "0.1200006"),
    ],
)
def test_prices_by_example(asked: psycopg.Connection[Any], tokens: tuple[int, int, int, int], usd: str) -> None:
    price = {
        "input_usd": "3", "cached_input_usd": "0.3", "cache_write_usd": "3.75", "output_usd": "15",
        "long_from": 200_000, "long_input_usd": "6", "long_cached_input_usd": "0.6", "long_cache_write_usd": "7.5",
        "long_output_usd": "22.5",
    }  # fmt: skip
    row = asked.execute(
        "select headrace.cost_of(jsonb_populate_record(null::headrace.model_prices, %s), %s, %s, %s, %s)",
        [Jsonb(price), *tokens],
    ).fetchone()
    assert row == (Decimal(usd),)


def test_a_run_is_priced_by_the_row_in_force_when_it_started(
    app: Database, ops: Database, clock: Clock, tenant: UUID
) -> None:
    with ops.connection() as connection:
        connection.execute(
            "insert into headrace.model_prices (provider, model, effective_from, input_usd, output_usd, source,"
            " source_hash) values (%s, %s, %s, 0, 100, 'a test', '')",
            [*LUNA, START + timedelta(minutes=10)],
        )
    put(app, tenant, 2)
    before = Claim.next(app, tenant)
    assert before is not None
    planned = call(0, 1000)
    assert before.begin(planned).reserved_usd == Decimal("0.0005")
    clock.to(START + timedelta(minutes=10))
    before.settle(used(planned.run_id, 0, 1000), **answer(planned.run_id))
    after = Claim.next(app, tenant)
    assert after is not None
    late = call(0, 1000)
    assert after.begin(late).reserved_usd == Decimal("0.1")
    after.settle(used(late.run_id, 0, 1000), **answer(late.run_id))
    with ops.connection() as connection:
        rows = connection.execute("select id, cost_usd from headrace.runs").fetchall()
    assert {row["id"]: row["cost_usd"] for row in rows} == {
        planned.run_id: Decimal("0.0005"),
        late.run_id: Decimal("0.1"),
    }
    check_books(ops, None)


def test_everybody_waits_for_room_rather_than_being_refused(app: Database, ops: Database) -> None:
    """What fits once the others have settled is not refused while they hold the room."""
    tenant = new_tenant(ops, "Narrow", daily_cap_usd=Decimal("0.005"))  # a user's part: 0.001
    put(app, tenant, 8)

    def one(_: int) -> str:
        claim = Claim.next(app, tenant)
        assert claim is not None
        planned = call(0, 800)  # 40 % of the cap at worst, next to nothing in truth
        seen = set()

        def granted() -> bool:
            seen.add(claim.begin(planned).verdict)
            return "granted" in seen

        eventually(granted, why="room for one after the other")
        assert seen <= {"granted", "wait_for_room"}
        return claim.settle(used(planned.run_id, 0, 1), **answer(planned.run_id))

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(one, range(8))) == {"ended"}
    check_books(ops, None)
