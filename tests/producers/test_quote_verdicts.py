"""What a quote says of a job's fate, and that it is its fate: at full caps, others' reservations, rates, pauses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from guards.rates import RateGuard
from producers import Client, Quote, Result, Verdict
from producers.quote import CapFit, Wait
from producers.quoter import Quoter
from queues.broker_url import redis_client
from queues.turns import Wire
from router.policy import Policy, load_policy
from storage.db.database import Database
from storage.db.ids import new_id
from storage.money import runs
from tests.support.database_clock import Clock
from tests.support.fleet import Fleet, Urls
from tests.support.in_process import fresh, one_simulator, pipeline, turn
from tests.support.requests import CHAT, PROMPT
from tests.support.transactions import claim_job, enqueue_job, planned_call

START = datetime(2030, 5, 17, 10, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with one_simulator(tmp_path_factory.mktemp("simulator")) as fleet:
        yield fleet


@pytest.fixture
def clock(urls: Urls) -> Iterator[Clock]:
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        yield Clock(owner, START)


class Ground:
    """One tenant; a job is quoted, then enqueued and run, by the same policy and the same counts of requests."""

    def __init__(
        self, app: Database, ops: Database, wire: Wire, simulator: Fleet, tenant: UUID, policy: Policy, guard: RateGuard
    ) -> None:
        self.app, self.ops, self.tenant, self.guard = app, ops, tenant, guard
        self.client = Client(app, wire, quoter=lambda: Quoter(app, policy, guard))
        self.pipeline = pipeline(app, ops, wire, simulator, policy=policy, rates=guard)

    def quote(self, **fields: Any) -> Quote:
        return self.client.enqueue(tenant_id=self.tenant, dry_run=True, **{**CHAT, **fields})

    def run(self, **fields: Any) -> Result:
        """Enqueue a job and take its turn once."""
        job_id = self.client.enqueue(tenant_id=self.tenant, **{**CHAT, **fields})
        self.pipeline.run(turn(self.tenant))
        return self.client.result(job_id, tenant_id=self.tenant)

    def change(self, query: str, *values: object) -> None:
        with self.ops.connection() as connection:
            connection.execute(query, values)  # type: ignore[call-overload]

    def cap(self, scope: str, key: str, limit: str) -> None:
        self.change(
            "insert into headrace.caps (tenant_id, scope, key, limit_usd, hour) values (%s, %s, %s, %s, 'epoch')"
            " on conflict (tenant_id, scope, key) do update set limit_usd = excluded.limit_usd",
            self.tenant, scope, key, limit,
        )  # fmt: skip

    def spend(self, scope: str, key: str, usd: str, at: datetime) -> None:
        """Let a cap have spent, at an hour within the window."""
        hour = at.replace(minute=0, second=0, microsecond=0)
        self.change(
            "insert into headrace.spend_buckets values (%s, %s, %s, %s, %s)", self.tenant, scope, key, hour, usd
        )
        self.change(
            "insert into headrace.caps (tenant_id, scope, key, hour, spent_usd) values (%s, %s, %s, 'epoch', 0)"
            " on conflict (tenant_id, scope, key) do nothing",
            self.tenant, scope, key,
        )  # fmt: skip

    def waiting(self) -> dict[str, Any]:
        """The one job that waits: why, for what, until when."""
        with self.ops.connection() as connection:
            (row,) = connection.execute(
                "select reason, waits_for, run_at, need_usd from headrace.queue where state = 'scheduled'"
            ).fetchall()
        return row

    def hold(self, tokens: int) -> None:
        """Another user's call is under way, with a worst case of so many output tokens of gpt-6-luna."""
        claim_id = new_id()
        with self.app.connection() as connection:
            job_id = enqueue_job(connection, self.tenant, user_id="somebody")
            assert claim_job(connection, self.tenant, claim_id=claim_id, worker_id=new_id()) is not None
            planned = planned_call(input_bound=0, max_output_tokens=tokens)
            assert runs.begin(connection, self.tenant, job_id, claim_id, planned).verdict == "granted"


@pytest.fixture
def make(app: Database, ops: Database, urls: Urls, wiped_wire: Wire, one: Fleet, tenant: UUID) -> Callable[..., Ground]:
    def ground(policy: Policy | None = None, redis_url: str | None = None) -> Ground:
        guard = RateGuard(redis_client(redis_url or urls.redis))
        return Ground(app, ops, wiped_wire, fresh(one), tenant, policy or load_policy(None), guard)

    return ground


@pytest.fixture
def ground(make: Callable[..., Ground]) -> Ground:
    return make()


def with_models(directory: Path, primary: str, backup: str) -> Policy:
    file = directory / "policy.yaml"
    file.write_text(
        "tiers:\n"
        "  cheap:\n"
        f"    primary: {{provider: openai, model: {primary}}}\n"
        f"    backup: {{provider: anthropic, model: {backup}}}\n"
        "  strong: {primary: {provider: anthropic, model: claude-sonnet-5-5}}\n"
        "features: {chat: {description: Talk., max_input_chars: 500}}\n"
    )
    return load_policy(file)


def fits(quote: Quote) -> list[str | None]:
    return [cap.fit for cap in quote.caps]


# ---------------------------------------------------------------------------------------- what a worker would refuse


def test_input_over_the_features_cap_would_be_rejected(make: Callable[..., Ground], tmp_path: Path) -> None:
    ground = make(with_models(tmp_path, "gpt-6-luna", "claude-haiku-5-5"))
    job = {"messages": [{"role": "user", "content": "x" * 501}]}
    quote = ground.quote(**job)
    result = ground.run(**job)
    assert (quote.verdict, result.state) == (Verdict.WOULD_BE_REJECTED, "rejected")
    assert quote.error == result.error and quote.error is not None and quote.error["code"] == "too_long"
    assert (quote.tier, quote.primary, quote.worst_case_usd, quote.input_tokens) == (None, None, None, None)
    assert fits(quote) == [None] * 3


def test_a_feature_that_the_policy_has_not_yet_would_wait(make: Callable[..., Ground], tmp_path: Path) -> None:
    ground = make(with_models(tmp_path, "gpt-6-luna", "claude-haiku-5-5"))
    quote, result = ground.quote(feature="report"), ground.run(feature="report")
    assert (quote.verdict, result.state, result.reason) == (Verdict.WOULD_WAIT, "scheduled", "feature_not_here")
    assert (quote.error, quote.primary, [one.reason for one in quote.waits]) == (None, None, ["feature_not_here"])


def test_a_model_without_a_price_would_be_rejected(make: Callable[..., Ground], tmp_path: Path) -> None:
    ground = make(with_models(tmp_path, "gpt-99-nobody", "claude-haiku-5-5"))
    quote, result = ground.quote(), ground.run()
    assert (quote.verdict, result.state) == (Verdict.WOULD_BE_REJECTED, "rejected")
    assert quote.error == result.error and quote.error is not None and quote.error["code"] == "unpriced_model"
    assert quote.primary is not None and quote.backup is not None
    assert (quote.worst_case_usd, quote.primary.worst_case_usd) == (None, None)
    assert quote.dearest_usd == quote.backup.worst_case_usd is not None


def test_a_backup_without_a_price_keeps_nobody_from_running(make: Callable[..., Ground], tmp_path: Path) -> None:
    ground = make(with_models(tmp_path, "gpt-6-luna", "claude-99-nobody"))
    quote, result = ground.quote(), ground.run()
    assert (quote.verdict, result.state) == (Verdict.WOULD_RUN, "succeeded")
    assert quote.backup is not None and quote.backup.worst_case_usd is None
    assert quote.dearest_usd == quote.worst_case_usd is not None


# --------------------------------------------------------------------------------------------------------- full caps


def test_at_a_full_cap_it_is_rejected_in_the_same_words(ground: Ground, clock: Clock) -> None:
    ground.cap("user", "u-1", "0.5")
    ground.spend("user", "u-1", "0.4999", START - timedelta(hours=3))
    quote, result = ground.quote(), ground.run()
    assert (quote.verdict, result.state) == (Verdict.WOULD_BE_REJECTED, "rejected")
    assert quote.error == result.error and quote.error is not None and quote.error["code"] == "over_budget"
    assert fits(quote) == [CapFit.NOW, CapFit.OVER_BUDGET, CapFit.NOW]
    cap = quote.caps[1]
    assert (cap.limit_usd, cap.spent_usd, cap.reserved_usd, cap.room_usd) == (
        Decimal("0.5"), Decimal("0.4999"), 0, Decimal("0.0001"),
    )  # fmt: skip
    assert cap.room_at == START.replace(minute=0) + timedelta(hours=22)
    assert quote.primary is not None and quote.primary.max_output_tokens == 1024 == quote.max_output_tokens


def test_who_waits_for_the_window_is_told_until_when(ground: Ground, clock: Clock) -> None:
    ground.cap("user", "u-1", "0.5")
    ground.spend("user", "u-1", "0.4999", START - timedelta(hours=3))
    quote, result = ground.quote(on_over_budget="wait"), ground.run(on_over_budget="wait")
    assert (quote.verdict, quote.error, result.state) == (Verdict.WOULD_WAIT, None, "scheduled")
    (wait,) = quote.waits
    waiting = ground.waiting()
    assert (wait.reason, wait.waits_for, wait.until) == (waiting["reason"], waiting["waits_for"], waiting["run_at"])
    assert wait == Wait("over_budget", "cap:user:u-1", START.replace(minute=0) + timedelta(hours=22))
    assert quote.worst_case_usd == waiting["need_usd"]


def test_who_would_wait_for_ever_is_rejected(ground: Ground, clock: Clock) -> None:
    ground.cap("feature", "chat", "0.0001")
    quote, result = ground.quote(on_over_budget="wait"), ground.run(on_over_budget="wait")
    assert (quote.verdict, result.state) == (Verdict.WOULD_BE_REJECTED, "rejected")
    assert quote.error == result.error and quote.error is not None and quote.error["room_at"] is None
    assert quote.caps[2].room_at is None


def test_one_cap_that_never_has_room_is_stronger_than_one_that_will(ground: Ground, clock: Clock) -> None:
    ground.cap("user", "u-1", "0.5")
    ground.spend("user", "u-1", "0.4999", START)
    ground.cap("feature", "chat", "0.0001")
    quote = ground.quote(on_over_budget="wait")
    assert (quote.verdict, fits(quote)) == (
        Verdict.WOULD_BE_REJECTED, [CapFit.NOW, CapFit.OVER_BUDGET, CapFit.OVER_BUDGET],
    )  # fmt: skip
    assert quote.error is not None and quote.error["field"] == "cap.feature"


def test_who_asks_to_start_when_there_is_room_again_only_waits_for_that(ground: Ground, clock: Clock) -> None:
    ground.cap("user", "u-1", "0.5")
    ground.spend("user", "u-1", "0.4999", START)
    room_at = START.replace(minute=0) + timedelta(hours=25)
    early, late = room_at - timedelta(seconds=1), room_at
    assert ground.quote(run_at=early).verdict is Verdict.WOULD_BE_REJECTED
    assert ground.quote(run_at=late).waits == (Wait("asked_for", None, late),)
    both = ground.quote(run_at=early, on_over_budget="wait")
    assert both.waits == (Wait("asked_for", None, early), Wait("over_budget", "cap:user:u-1", room_at))


def test_a_deadline_that_comes_before_the_room_would_be_missed(ground: Ground, clock: Clock) -> None:
    ground.cap("user", "u-1", "0.5")
    ground.spend("user", "u-1", "0.4999", START)
    room_at = START.replace(minute=0) + timedelta(hours=25)
    missed = {"on_over_budget": "wait", "deadline": room_at}
    quote, result = ground.quote(**missed), ground.run(**missed)
    assert (quote.verdict, result.state) == (Verdict.WOULD_BE_REJECTED, "expired")
    assert quote.error is not None and quote.error["code"] == result.reason == "deadline_passed"
    met = ground.quote(on_over_budget="wait", deadline=room_at + timedelta(seconds=1))
    assert met.verdict is Verdict.WOULD_WAIT


# -------------------------------------------------------------------------------------------- others' reservations


def test_others_reservations_are_waited_for(ground: Ground) -> None:
    ground.cap("tenant", "", "0.0010")
    ground.hold(tokens=1200)  # $0.0006
    quote, result = ground.quote(), ground.run()
    assert (quote.verdict, result.state) == (Verdict.WOULD_WAIT, "scheduled")
    assert quote.waits == (Wait("waiting_for_room", "room:tenant:", None),)
    waiting = ground.waiting()
    assert (waiting["reason"], waiting["waits_for"]) == ("waiting_for_room", "room:tenant:")
    assert quote.worst_case_usd == waiting["need_usd"]
    assert fits(quote) == [CapFit.ONCE_SETTLED, CapFit.NOW, CapFit.NOW]
    assert (quote.caps[0].reserved_usd, quote.caps[0].room_usd) == (Decimal("0.0006"), Decimal("0.0004"))


def test_who_waits_already_comes_first(ground: Ground) -> None:
    ground.cap("tenant", "", "0.0010")
    ground.hold(tokens=1200)
    big = ground.run(messages=[{"role": "user", "content": "Hi"}], user_id="big")
    assert big.state == "scheduled"
    small = {"max_output_tokens": 16, "user_id": "small"}
    quote, result = ground.quote(**small), ground.run(**small)
    assert (quote.verdict, result.state) == (Verdict.WOULD_WAIT, "scheduled")
    assert quote.waits == (Wait("waiting_for_room", "room:tenant:", None),)
    cap = quote.caps[0]
    assert quote.worst_case_usd is not None and cap.room_usd is not None
    assert quote.worst_case_usd < cap.room_usd, "it would fit, were it not for the other"


def test_a_shorter_answer_that_fits_does_not_wait(ground: Ground) -> None:
    ground.cap("tenant", "", "0.0010")
    ground.hold(tokens=1200)
    job = {**PROMPT, "messages": None}
    quote, result = ground.quote(**job), ground.run(**job)
    assert (quote.verdict, result.state) == (Verdict.WOULD_RUN, "succeeded")
    assert quote.primary is not None and 128 <= quote.primary.max_output_tokens < 1024


# ------------------------------------------------------------------------------------------------------------- rates


def test_a_rate_without_room_is_waited_for_and_a_quote_uses_none_of_it(ground: Ground) -> None:
    ground.change("update headrace.plans set user_per_minute = 2, tenant_per_minute = 5")
    for room in (2, 1):
        for _ in range(5):
            quote = ground.quote()
            told = {(rate.scope, rate.key): (rate.per_minute, rate.room, rate.room_in_s) for rate in quote.rates}
            assert told == {("tenant", ""): (5, room + 3, 0.0), ("user", "u-1"): (2, room, 0.0)}
            assert quote.verdict is Verdict.WOULD_RUN
        assert ground.run().state == "succeeded"

    quote, result = ground.quote(), ground.run()
    assert (quote.verdict, result.state) == (Verdict.WOULD_WAIT, "scheduled")
    (wait,) = quote.waits
    waiting = ground.waiting()
    assert (
        (wait.reason, wait.waits_for) == (waiting["reason"], waiting["waits_for"]) == ("rate_limited", "rate:user:u-1")
    )
    assert wait.until is not None and abs(wait.until - waiting["run_at"]) < timedelta(seconds=30)
    full = next(rate for rate in quote.rates if rate.scope == "user")
    assert full.room == 0 and 0 < full.room_in_s <= 60

    behind = ground.quote()
    assert next(rate for rate in behind.rates if rate.scope == "user").others_first
    assert ground.quote(user_id="u-2").verdict is Verdict.WOULD_RUN


def test_what_is_over_budget_is_rejected_whatever_its_rate_says(ground: Ground) -> None:
    ground.change("update headrace.plans set user_per_minute = 1")
    assert ground.run().state == "succeeded"
    ground.cap("user", "u-1", "0.0000001")
    quote = ground.quote()
    assert quote.verdict is Verdict.WOULD_BE_REJECTED
    assert [wait.reason for wait in quote.waits] == ["rate_limited", "over_budget"]


def test_rates_that_nobody_counts_hold_nobody(make: Callable[..., Ground]) -> None:
    ground = make(redis_url="redis://127.0.0.1:1/0")
    ground.change("update headrace.plans set user_per_minute = 1")
    quote = ground.quote()
    assert quote.verdict is Verdict.WOULD_RUN
    assert [(rate.per_minute, rate.room) for rate in quote.rates] == [(1, 1)]


# ----------------------------------------------------------------------------------------------- pauses, later starts


@pytest.mark.parametrize(
    ("query", "waits_for"),
    [
        ("update headrace.tenants set paused_at = now()", "pause:tenant:"),
        ("update headrace.lanes set paused_at = now() where name = 'interactive'", "pause:lane:interactive"),
        ("update headrace.features set paused_at = now() where name = 'chat'", "pause:feature:chat"),
    ],
)
def test_what_is_paused_is_waited_for(query: str, waits_for: str, ground: Ground) -> None:
    ground.change(query)
    quote, result = ground.quote(), ground.run()
    assert (quote.verdict, result.state) == (Verdict.WOULD_WAIT, "queued")
    assert quote.waits == (Wait("paused", waits_for, None),)


def test_a_later_start_is_waited_for(ground: Ground) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    quote, result = ground.quote(run_at=at), ground.run(run_at=at)
    assert (quote.verdict, result.state) == (Verdict.WOULD_WAIT, "scheduled")
    assert quote.waits == (Wait("asked_for", None, at),)
    assert quote.waits[0].until == ground.waiting()["run_at"]
    assert ground.quote(run_at=datetime.now(UTC) - timedelta(hours=1)).verdict is Verdict.WOULD_RUN
