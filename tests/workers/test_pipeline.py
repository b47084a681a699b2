"""One job's turn, decision by decision: real database, wire, router and breakers; providers that follow a script."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from structlog.testing import capture_logs

from console.terminal import waiting
from errors import (
    BreakerOpenError,
    HeadraceError,
    ProviderAnswerLostError,
    ProviderAuthError,
    ProviderEmptyAnswerError,
    ProviderError,
    ProviderForbiddenError,
    ProviderMalformedAnswerError,
    ProviderNotSentError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRefusedError,
    ProviderUnavailableError,
    ProviderUnreachableError,
    StatementFailedError,
    StatementRefusedError,
)
from guards import schemas
from guards.rates import RateGuard
from producers import Client, Result
from queues.redis.client import client as redis_client
from queues.turns import Turn, Wire
from router import pace
from router.breakers import Breakers
from router.current_policy import READ_EVERY_S, CurrentPolicy
from router.gateway import Gateway
from router.policy import Policy, Target, load_policy
from router.providers.calls import CallReply, CallRequest, Finish, Usage
from router.pseudonyms import Pseudonyms
from router.rate_holds import RateHolds
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import recovery
from storage.jobs import why
from storage.jobs.jobs import State
from storage.money import limits
from storage.money.rates import Rate
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Urls
from tests.support.hand_clock import Clock
from tests.support.requests import enqueue_by_sql
from workers.backoff import Backoff
from workers.group_commit import GroupCommit
from workers.pipeline import Pipeline
from workers.turn_account import TurnAccount

CHAT: dict[str, Any] = {"user_id": "u", "feature": "chat", "messages": [{"role": "user", "content": "Hi"}]}
FETCHES = {"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": {"id": "http://127.0.0.1:9/"}}}
DOWN = ProviderUnavailableError(provider="openai", http_status=500)
LOST = ProviderAnswerLostError(provider="openai")
USED = Usage(10, 0, 0, 5, 0)

Step = str | Exception | CallReply | Callable[[CallRequest], str]


def said(text: str, finish: Finish = "complete", *, usage: Usage | None = USED, fault: str | None = None) -> CallReply:
    return CallReply(text, usage, "model", "req-1", finish, fault)


@dataclass
class Scripted:
    """A provider that answers, or fails, as its script says; at the script's end it says ``fine``."""

    name: str
    script: list[Step] = field(default_factory=list)
    asked: list[CallRequest] = field(default_factory=list)

    def call(self, request: CallRequest) -> CallReply:
        self.asked.append(request)
        step = self.script.pop(0) if self.script else "fine"
        if isinstance(step, Exception):
            raise step
        if isinstance(step, CallReply):
            return step
        return said(step if isinstance(step, str) else step(request))


@dataclass
class Limited:
    """A step that answers so many calls in each stretch of time, and tells the others how long it still is."""

    clock: Clock
    allowed: int
    every_s: float
    refused: int = 0
    began: float = 0.0
    answered: int = 0

    def __call__(self, _: CallRequest) -> str:
        if self.clock.now - self.began >= self.every_s:
            self.began, self.answered = self.clock.now, 0
        if self.answered == self.allowed:
            self.refused += 1
            left_s = self.began + self.every_s - self.clock.now
            raise ProviderRateLimitedError(provider="openai", http_status=429, retry_after_s=left_s)
        self.answered += 1
        return "fine"


class CpuClock:
    """The pipeline reads it twice a job: every job takes as long as the test says."""

    a_job = 0.0
    now = 0.0

    def __call__(self) -> float:
        self.now += self.a_job
        return self.now


@dataclass
class Stage:
    """A worker's pipeline and all around it."""

    client: Client
    ops: Database
    pipeline: Pipeline
    openai: Scripted
    anthropic: Scripted
    draining: threading.Event
    tenant: UUID
    clock: Clock  # of breakers and holds
    cpu: CpuClock
    owner: str

    def run(self, **fields: Any) -> Result:
        """Enqueue a job and take its turn once."""
        return self.take(self.client.enqueue(**{"tenant_id": self.tenant, **CHAT, **fields}))

    def take(self, job_id: UUID) -> Result:
        self.pipeline.run(Turn(str(self.tenant), "interactive", 1000.0))
        return self.client.result(job_id, tenant_id=self.tenant)

    def make_due(self) -> None:
        """Queue what waits."""
        with psycopg.connect(self.owner, autocommit=True) as owner:
            owner.execute("update headrace.queue set run_at = headrace.now() where state = 'scheduled'")
        with self.ops.connection() as connection:
            recovery.release_due(connection)

    def take_again(self, job_id: UUID) -> Result:
        """Make it due and take its turn."""
        self.make_due()
        return self.take(job_id)

    def let_time_pass(self) -> None:
        """So much that breakers and holds let calls through."""
        self.clock.now += 3600.0

    def held_s(self, job_id: UUID) -> float | None:
        with self.ops.connection() as connection:
            row = connection.execute(
                "select extract(epoch from headrace.now() - held_since)::float8 as s from headrace.queue where id = %s",
                [job_id],
            ).fetchone()
        assert row is not None
        return row["s"]

    def held_since_long_ago(self, job_id: UUID, *, seconds: float) -> None:
        """Move the beginning of its wait, if it waits for a provider."""
        with psycopg.connect(self.owner, autocommit=True) as owner:
            owner.execute(
                "update headrace.queue set held_since = headrace.now() - make_interval(secs => %s)"
                " where id = %s and held_since is not null",
                [seconds, job_id],
            )

    def runs(self) -> list[dict[str, Any]]:
        with self.ops.connection() as connection:
            return connection.execute("select * from headrace.runs order by id").fetchall()


@pytest.fixture
def stage(client: Client, ops: Database, urls: Urls, wiped_wire: Wire, tenant: UUID) -> Iterator[Stage]:
    """The pool has one connection: a step that wanted two at once would wait for itself."""
    openai, anthropic, draining, clock = Scripted("openai"), Scripted("anthropic"), threading.Event(), Clock()
    cpu = CpuClock()
    with Database(urls.app, connections=1) as database:
        pipeline = Pipeline(
            worker_id=new_id(),
            database=database,
            turns=TurnAccount(wiped_wire, turns_per_tenant=64),
            gateway=Gateway(
                {"openai": openai, "anthropic": anthropic},
                Breakers(fail_max=1000, reset_s=60, clock=clock),
                RateHolds(clock=clock),
            ),
            policy=load_policy(None),
            rates=RateGuard(redis_client(urls.redis)),
            pseudonyms=Pseudonyms(b"of a test"),
            backoff=Backoff(max_attempts=2, base_s=0.01),
            call_timeout_s=5.0,
            claim_timeout_s=60.0,
            draining=draining,
            cpu_clock=cpu,
        )
        yield Stage(client, ops, pipeline, openai, anthropic, draining, tenant, clock, cpu, urls.owner)
    check_books(ops, None, all_ended=False)


def test_a_prompts_job_is_answered_over_a_pool_of_one_connection(stage: Stage) -> None:
    result = stage.run(messages=None, prompt="chat", variables={"message": "Hello"})
    assert (result.state, result.output) == (State.SUCCEEDED, "fine")
    (request,) = stage.openai.asked
    assert "Hello" in request.messages[-1].content
    assert request.timeout_s == 5.0


def test_nothing_to_claim_is_fine(stage: Stage) -> None:
    stage.pipeline.run(Turn(str(stage.tenant), "interactive", 1000.0))
    assert stage.runs() == []


@pytest.mark.parametrize(
    ("whose", "lane", "charge"),
    [
        ("not an id", "interactive", 1.0),
        ("", "", 0.0),
        (None, "no\x00lane \ud800", float("nan")),
        (None, "x" * 10**6, -1e300),
    ],
)
def test_a_turn_that_is_junk_ends_nothing(stage: Stage, whose: str | None, lane: str, charge: float) -> None:
    stage.pipeline.run(Turn(str(stage.tenant) if whose is None else whose, lane, charge))
    assert stage.run().state == State.SUCCEEDED


def test_a_prompt_that_cannot_be_read_rejects_its_jobs(stage: Stage, urls: Urls) -> None:
    job_id = stage.client.enqueue(
        tenant_id=stage.tenant, user_id="u", feature="chat", prompt="chat", variables={"message": "Hello"}
    )
    with psycopg.connect(urls.owner) as owner:
        owner.execute("alter table headrace.prompts disable trigger user")
        owner.execute("""update headrace.prompts set output_schema = '{"maximum": 1e5000}' where name = 'chat'""")
    result = stage.take(job_id)
    assert (result.state, result.reason, result.cost_usd) == (State.REJECTED, "invalid_prompt", 0)


def test_one_provider_that_may_recover_is_enough_to_try_again(stage: Stage) -> None:
    stage.openai.script = [DOWN]
    stage.anthropic.script = [ProviderAuthError(provider="anthropic", http_status=401)]
    result = stage.run()
    assert (result.state, result.reason, result.attempts) == (State.SCHEDULED, "provider_held", 0)
    assert [run["status"] for run in stage.runs()] == ["failed", "failed"]


OF_PROVIDERS: list[type[ProviderError]] = [
    ProviderUnavailableError, ProviderUnreachableError, ProviderRateLimitedError, ProviderAuthError, ProviderQuotaError,
    ProviderForbiddenError,
]  # fmt: skip


@pytest.mark.parametrize("kind", OF_PROVIDERS)
def test_a_providers_fault_is_waited_for_and_burns_no_attempt(stage: Stage, kind: type[ProviderError]) -> None:
    """More often than there are attempts, and whichever of the two providers it is that comes back."""
    fault = {name: kind(provider=name, http_status=500) for name in ("openai", "anthropic")}
    for one in (stage.openai, stage.anthropic):
        one.script = [fault[one.name]] * 4
    result = stage.run()
    for _ in range(3):
        assert (result.state, result.attempts, result.cost_usd) == (State.SCHEDULED, 0, 0)
        assert result.reason in ("provider_held", "provider_rate_limited")
        assert stage.held_s(result.job_id) is not None
        stage.let_time_pass()
        result = stage.take_again(result.job_id)
    stage.let_time_pass()
    stage.openai.script.clear()
    result = stage.take_again(result.job_id)
    assert (result.state, result.attempts, result.output) == (State.SUCCEEDED, 1, "fine")
    assert {run["cost_usd"] for run in stage.runs() if run["status"] != "succeeded"} == {0}


def test_a_rate_limit_holds_the_providers_other_jobs_back_for_the_time_that_it_names(stage: Stage) -> None:
    stage.openai.script = [ProviderRateLimitedError(provider="openai", http_status=429, retry_after_s=30.0)]
    stage.anthropic.script = [ProviderRateLimitedError(provider="anthropic", http_status=429, retry_after_s=40.0)]
    first = stage.run()
    others = [stage.run() for _ in range(5)]
    assert len(stage.openai.asked) == len(stage.anthropic.asked) == 1
    for one in (first, *others):
        assert (one.state, one.reason, one.attempts, one.cost_usd) == (State.SCHEDULED, "provider_rate_limited", 0, 0)
    with stage.ops.connection() as connection:
        waits = connection.execute(
            "select extract(epoch from run_at - headrace.now()) as s from headrace.queue"
        ).fetchall()
    assert all(29 < wait["s"] < 62 for wait in waits)
    stage.clock.now += 30.0
    assert stage.run().state is State.SUCCEEDED


def test_what_a_provider_answers_to_one_job_alone_is_that_jobs_fault(stage: Stage) -> None:
    """A request that breaks the server each time is not an outage: others are answered meanwhile."""
    broken = ProviderUnavailableError(provider="openai", http_status=500)
    stage.openai.script = stage.anthropic.script = [broken, broken]
    result = stage.run()
    assert (result.state, result.reason, result.attempts) == (State.SCHEDULED, "provider_held", 0)
    for attempts in (1, 1, 2):  # counted; waits again; counted, and it is the last
        assert stage.run().state is State.SUCCEEDED
        stage.openai.script = stage.anthropic.script = [broken, broken]
        stage.held_since_long_ago(result.job_id, seconds=60)
        result = stage.take_again(result.job_id)
        assert result.attempts == attempts
        stage.openai.script = stage.anthropic.script = []
    assert (result.state, result.reason) == (State.FAILED, "provider_unavailable")


def test_a_job_without_a_deadline_waits_for_its_providers_for_a_day(stage: Stage) -> None:
    stage.openai.script, stage.anthropic.script = [DOWN] * 3, [DOWN] * 3
    result = stage.run()
    stage.held_since_long_ago(result.job_id, seconds=86_000)
    result = stage.take_again(result.job_id)
    assert (result.state, result.attempts) == (State.SCHEDULED, 0)
    stage.held_since_long_ago(result.job_id, seconds=86_500)
    result = stage.take_again(result.job_id)
    assert (result.state, result.reason, result.attempts) == (State.FAILED, "provider_unavailable", 1)
    assert result.error is not None and result.error["waited_s"] >= 86_500


def test_a_wait_for_something_else_begins_the_wait_for_providers_anew(stage: Stage) -> None:
    stage.openai.script, stage.anthropic.script = [DOWN, LOST], [DOWN, LOST]
    result = stage.run()
    assert stage.held_s(result.job_id) is not None
    result = stage.take_again(result.job_id)  # the answer was lost: an attempt of its own
    assert (result.state, result.reason, result.attempts) == (State.SCHEDULED, "provider_answer_lost", 1)
    assert stage.held_s(result.job_id) is None


def test_a_backlog_over_a_providers_rate_all_succeeds_and_burns_no_attempt(stage: Stage) -> None:
    """A server that allows eight calls a minute, and says how long its minute still is; the test lets time pass."""
    limited = Limited(stage.clock, allowed=8, every_s=60.0)
    stage.openai.script = [limited] * 10_000
    stage.anthropic.script = [
        ProviderRateLimitedError(provider="anthropic", http_status=429, retry_after_s=3600.0)
    ] * 10_000
    ids = [stage.client.enqueue(tenant_id=stage.tenant, **CHAT) for _ in range(20)]
    for minute in range(3):
        for _ in ids[8 * minute :]:
            stage.pipeline.run(Turn(str(stage.tenant), "interactive", 1000.0))
        stage.clock.now += 61.0
        stage.make_due()
    ended = [stage.client.result(job_id, tenant_id=stage.tenant) for job_id in ids]
    assert {(one.state, one.attempts) for one in ended} == {(State.SUCCEEDED, 1)}
    assert limited.refused == 2  # one a minute tells; the others are held back without a call


def test_a_backup_that_is_too_dear_does_not_reject_what_the_primary_may_still_answer(stage: Stage) -> None:
    stage.tenant = new_tenant(stage.ops, "Poor", daily_cap_usd=Decimal("0.0005"))  # a user's part: 0.0001
    with stage.ops.connection() as connection:
        connection.execute(
            "insert into headrace.model_prices (provider, model, effective_from, input_usd, output_usd, source,"
            " source_hash) values ('anthropic', 'claude-haiku-5-5', headrace.now(), 5, 25, 'a test', '')"
        )
    stage.openai.script = [DOWN]
    result = stage.run(max_output_tokens=100)
    assert (result.state, result.reason) == (State.SCHEDULED, "provider_held")
    assert stage.anthropic.asked == []
    assert [run["provider"] for run in stage.runs()] == ["openai"]


def test_after_a_lost_answer_a_job_that_must_not_be_repeated_asks_nobody_else(stage: Stage) -> None:
    stage.openai.script = [LOST]
    result = stage.run(on_unknown="fail")
    assert (result.state, result.reason) == (State.FAILED, "outcome_unknown")
    assert stage.anthropic.asked == []
    (run,) = stage.runs()
    assert (run["status"], run["cost_usd"]) == ("unknown", run["reserved_usd"])
    assert result.cost_usd == run["reserved_usd"] > 0


def test_otherwise_the_backup_is_asked_after_a_lost_answer(stage: Stage) -> None:
    stage.openai.script = [LOST]
    result = stage.run()
    assert (result.state, result.attempts) == (State.SUCCEEDED, 1)
    assert [run["status"] for run in stage.runs()] == ["unknown", "succeeded"]
    assert result.cost_usd == sum(run["cost_usd"] for run in stage.runs())


def test_a_breaker_that_opens_between_the_look_and_the_call_burns_no_attempt(stage: Stage) -> None:
    stage.openai.script = [BreakerOpenError(provider="openai", retry_after_s=30.0)]
    stage.anthropic.script = [BreakerOpenError(provider="anthropic", retry_after_s=20.0)]
    result = stage.run()
    assert (result.state, result.reason, result.attempts, result.cost_usd) == (State.SCHEDULED, "provider_held", 0, 0)
    assert {(run["status"], run["error_code"], run["cost_usd"]) for run in stage.runs()} == {
        ("failed", "breaker_open", 0)
    }


@pytest.mark.parametrize(
    ("primary", "backup", "reason"),
    [
        (DOWN, LOST, "provider_answer_lost"),
        (ProviderRefusedError(provider="openai", http_status=400), LOST, "provider_answer_lost"),
    ],
)
def test_the_last_attempt_dead_letters_with_what_went_wrong(
    stage: Stage, primary: HeadraceError, backup: HeadraceError, reason: str
) -> None:
    stage.openai.script, stage.anthropic.script = [primary, primary], [backup, backup]
    first = stage.run()
    assert (first.state, first.attempts) == (State.SCHEDULED, 1)
    with stage.ops.connection() as connection:
        connection.execute("update headrace.queue set run_at = headrace.now()")
        recovery.release_due(connection)
    last = stage.take(first.job_id)
    assert (last.state, last.reason, last.attempts) == (State.FAILED, reason, 2)
    assert last.error is not None and last.error["attempts"] == 2
    assert len(stage.runs()) == 4


def test_an_answer_that_does_not_match_is_paid_and_asked_for_again(stage: Stage) -> None:
    stage.openai.script = ['{"a": "no number"}']
    result = stage.run(output_schema={"type": "object", "properties": {"a": {"type": "integer"}}})
    assert (result.state, result.reason, result.attempts) == (State.SCHEDULED, "output_invalid", 1)
    (run,) = stage.runs()
    assert (run["status"], run["cost_usd"]) == ("succeeded", result.cost_usd)
    assert result.cost_usd > 0
    assert stage.anthropic.asked == []


def test_the_attempt_after_it_says_what_was_wrong_and_reserves_for_the_words(stage: Stage) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    stage.openai.script = ['{"a": "no number"}', DOWN, "not even JSON", '{"a": 1}']
    stage.anthropic.script = [DOWN]
    stage.pipeline._backoff = replace(stage.pipeline._backoff, max_attempts=3)
    first = stage.run(output_schema=schema)
    stage.take_again(first.job_id)  # a fault of both providers in between: it waits, and what was wrong is kept
    stage.let_time_pass()
    third = stage.take_again(first.job_id)
    assert (third.state, third.reason, third.attempts) == (State.SCHEDULED, "output_invalid", 2)
    last = stage.take_again(first.job_id)

    assert (last.state, last.output_json, last.attempts) == (State.SUCCEEDED, {"a": 1}, 3)
    told = [request.output_fault for request in stage.openai.asked]
    assert told[0] is None
    said = "the answer does not match the output schema at a: must be of type integer, but is a string"
    assert told[1] == told[2] == said
    assert told[3] is not None and told[3].startswith("the answer is no JSON: Expecting value")
    of_openai = [run["reserved_usd"] for run in stage.runs() if run["provider"] == "openai"]
    assert of_openai[0] < of_openai[1] == of_openai[2]


def test_other_attempts_ask_the_same_again(stage: Stage) -> None:
    stage.openai.script, stage.anthropic.script = [LOST], [LOST]
    first = stage.run(output_schema={"type": "object"})
    stage.take_again(first.job_id)
    assert [request.output_fault for request in stage.openai.asked] == [None, None]


def test_an_answer_that_costs_too_much_to_check_is_paid_and_ends_its_job(stage: Stage) -> None:
    stage.openai.script = ["[" + ",".join(['"a"'] * 100_000) + "]"]
    result = stage.run(output_schema={"items": {"allOf": [{"type": "string"}] * 9_000}})
    assert (result.state, result.reason, result.attempts) == (State.FAILED, "schema_too_costly", 1)
    assert len(stage.openai.asked) == 1
    assert stage.anthropic.asked == []
    assert [run["status"] for run in stage.runs()] == ["succeeded"]
    assert result.cost_usd > 0


@pytest.mark.parametrize(
    ("answer", "schema", "output", "value"),
    [
        ("nul \x00 and half \ud800 of a pair", None, "nul  and half \ufffd of a pair", None),
        (
            '{"a\\u0000": "x\\u0000y", "b": "\\ud800"}',
            {"type": "object"},
            '{"a\\u0000": "x\\u0000y", "b": "\\ud800"}',
            {"a": "xy", "b": "\ufffd"},
        ),
        ('Here:\n```json\n{"a": 1}\n```', {"type": "object"}, '{"a": 1}', {"a": 1}),
        ("null", {}, "null", None),
    ],
)
def test_an_answer_that_postgres_could_not_keep_is_kept_as_far_as_it_can_be(
    stage: Stage, answer: str, schema: dict[str, Any] | None, output: str, value: Any
) -> None:
    stage.openai.script = [answer]
    result = stage.run(output_schema=schema)
    assert (result.state, result.output, result.output_json) == (State.SUCCEEDED, output, value)


def test_a_number_beyond_all_numbers_is_not_stored_as_null(stage: Stage) -> None:
    stage.openai.script = ['{"n": 1e999}']
    result = stage.run(output_schema={"type": "object"})
    assert (result.state, result.reason) == (State.SCHEDULED, "output_invalid")


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (said("fine", usage=Usage(10, 0, 0, 100_000_000, 0)), "usage_absurd"),
        (said("fine", usage=Usage(3_000_000_000, 0, 0, 5, 0)), "usage_absurd"),
        (said("fine", usage=None, fault="usage_missing"), "usage_missing"),
        (said("fine", usage=None, fault="usage_absurd"), "usage_absurd"),
    ],
)
def test_a_usage_that_cannot_be_is_unknown_at_the_reservation_and_weighs_no_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, reply: CallReply, code: str
) -> None:
    weighed: list[int] = []
    settled = TurnAccount.settled
    monkeypatch.setattr(
        TurnAccount,
        "settled",
        lambda self, turn, job, tokens, **more: (
            weighed.append(tokens),
            settled(self, turn, job, tokens, **more),
        )[1],
    )
    stage.openai.script = [reply]
    result = stage.run(max_output_tokens=400)
    assert (result.state, result.output) == (State.SUCCEEDED, "fine")
    (run,) = stage.runs()
    assert (run["status"], run["error_code"], run["cost_usd"]) == ("unknown", code, run["reserved_usd"])
    assert result.cost_usd == run["reserved_usd"] > 0
    assert 400 < weighed[0] < 1_000


def test_a_few_times_its_bound_is_a_bill_in_full_and_flagged(stage: Stage) -> None:
    stage.openai.script = [said("fine", usage=Usage(10, 0, 0, 1_600, 0))]
    stage.run(max_output_tokens=400)
    (run,) = stage.runs()
    assert (run["status"], run["output_tokens"], run["error_code"]) == ("succeeded", 1_600, None)
    assert run["over_reserved_usd"] > 0


def test_a_usage_that_was_mended_is_booked_and_flagged(stage: Stage) -> None:
    stage.openai.script = [said("fine", usage=Usage(10, 10, 0, 5, 5), fault="usage_mended")]
    result = stage.run()
    (run,) = stage.runs()
    assert (run["status"], run["error_code"], run["cached_input_tokens"]) == ("succeeded", "usage_mended", 10)
    assert result.state == State.SUCCEEDED


@pytest.mark.parametrize(
    ("tier", "priced_as", "code"),
    [(None, None, None), ("flex", "batch", None), ("priority", "reserved", "tier_unpriced"),
     ("of tomorrow", "reserved", "tier_unpriced")],
)  # fmt: skip
def test_the_tier_that_came_back_rules_the_price(
    stage: Stage, tier: str | None, priced_as: str | None, code: str | None
) -> None:
    stage.openai.script = ["fine", said("fine", usage=replace(USED, tier=tier))]
    with capture_logs() as lines:
        stage.run()
        result = stage.run()
    standard, run = stage.runs()
    assert (result.state, run["status"], run["error_code"]) == (State.SUCCEEDED, "succeeded", code)
    assert (run["service_tier"], run["priced_as"]) == (tier, priced_as)
    assert run["cost_usd"] == {
        None: standard["cost_usd"], "batch": standard["cost_usd"] / 2, "reserved": run["reserved_usd"],
    }[priced_as]  # fmt: skip
    assert (run["over_reserved_usd"], run["output_tokens"]) == (0, 5)  # no cap was passed
    told = [line for line in lines if line["event"] == "call.other_tier"]
    assert [(line["service_tier"], line["priced_as"]) for line in told] == ([] if tier is None else [(tier, priced_as)])


def test_an_unpriced_tier_beyond_its_bound_is_a_bill_in_full(stage: Stage) -> None:
    stage.openai.script = [said("fine", usage=Usage(10, 0, 0, 1_600, 0, "priority"))]
    stage.run(max_output_tokens=400)
    (run,) = stage.runs()
    assert (run["priced_as"], run["error_code"]) == ("reserved", "tier_unpriced")
    assert run["over_reserved_usd"] == run["cost_usd"] - run["reserved_usd"] > 0


def test_a_failed_answer_of_an_unpriced_tier_costs_its_reservation(stage: Stage) -> None:
    usage = replace(USED, tier="priority")
    stage.openai.script = [ProviderEmptyAnswerError(provider="openai", http_status=200, usage=usage)]
    stage.run()
    failed, answered = stage.runs()
    assert (failed["status"], failed["error_code"]) == ("failed", "provider_empty_answer")
    assert (failed["service_tier"], failed["cost_usd"]) == ("priority", failed["reserved_usd"])
    assert answered["cost_usd"] < failed["cost_usd"]


@pytest.mark.parametrize("kind", [ProviderUnavailableError, ProviderMalformedAnswerError, ProviderEmptyAnswerError])
def test_a_failed_answer_costs_what_it_says_it_used(stage: Stage, kind: type[ProviderError]) -> None:
    failed = kind(provider="openai", http_status=200, request_id="req-1", usage=USED)
    stage.openai.script = [failed]
    result = stage.run(on_unknown="fail")  # nothing of it is unknown
    assert (result.state, result.output) == (State.SUCCEEDED, "fine")
    first, second = stage.runs()
    assert (first["status"], first["error_code"], first["http_status"]) == ("failed", kind.code, 200)
    assert (first["output_tokens"], first["cost_usd"]) == (5, second["cost_usd"])
    assert 0 < first["cost_usd"] < first["reserved_usd"]


def test_the_model_that_answered_is_kept_where_it_is_another_one(stage: Stage) -> None:
    stage.openai.script = [replace(said("fine"), model="gpt-6-luna"), replace(said("fine"), model="claude-in-disguise")]
    results = [stage.run(), stage.run()]
    assert [one.state for one in results] == [State.SUCCEEDED] * 2
    assert [(run["model"], run["answered_model"]) for run in stage.runs()] == [
        ("gpt-6-luna", None),
        ("gpt-6-luna", "claude-in-disguise"),
    ]
    assert results[0].cost_usd == results[1].cost_usd


def test_an_empty_answer_of_both_ends_the_job_without_success(stage: Stage) -> None:
    empty = [ProviderEmptyAnswerError(provider=name, usage=USED) for name in ("openai", "anthropic")]
    stage.openai.script, stage.anthropic.script = [empty[0]], [empty[1]]
    result = stage.run()
    assert (result.state, result.reason, result.attempts) == (State.SCHEDULED, "provider_empty_answer", 1)
    assert [run["status"] for run in stage.runs()] == ["failed", "failed"]


def test_no_provider_parks_a_job_for_ever(stage: Stage) -> None:
    stage.openai.script = [ProviderRateLimitedError(provider="openai", http_status=429, retry_after_s=1e13)]
    stage.anthropic.script = [ProviderRateLimitedError(provider="anthropic", http_status=429, retry_after_s=1e13)]
    result = stage.run()
    assert result.state == State.SCHEDULED
    with stage.ops.connection() as connection:
        row = connection.execute(
            "select extract(epoch from run_at - headrace.now()) as s from headrace.queue"
        ).fetchone()
    assert row is not None and 3_000 < row["s"] <= 3_661


def test_whatever_a_providers_error_says_can_be_kept(stage: Stage) -> None:
    stage.openai.script = [ProviderRefusedError("bad \x00 input \ud800", provider="openai", http_status=400)]
    stage.anthropic.script = [ProviderRefusedError("bad \x00 input", provider="anthropic", http_status=400)]
    result = stage.run()
    assert (result.state, result.reason) == (State.FAILED, "provider_refused")
    assert result.error is not None and result.error["message"] == "bad  input"


def test_a_job_comes_back_while_another_large_schema_of_its_tenant_is_read(stage: Stage) -> None:
    large = {"type": "string", "$comment": "x" * 20_000}
    job_id = stage.client.enqueue(tenant_id=stage.tenant, **CHAT, output_schema=large)
    stage.openai.script = ['"fine"']
    schemas._KEPT_LARGE._by_text.clear()  # as in a worker, which is another process

    with schemas._KEPT_LARGE.reading(stage.tenant):
        result = stage.take(job_id)

    assert (result.state, result.reason, result.attempts) == (State.SCHEDULED, "schema_waits", 0)
    assert stage.runs() == []


def test_a_call_that_was_not_sent_costs_nothing_and_holds_nobody(stage: Stage) -> None:
    unsent = ProviderNotSentError("refused by our own client", provider="openai")
    stage.openai.script = [unsent] * 10
    stage.anthropic.script = [unsent] * 10

    results = [stage.run() for _ in range(3)]

    assert [(one.state, one.reason, one.cost_usd) for one in results] == [(State.FAILED, "provider_not_sent", 0)] * 3
    assert {(run["status"], run["cost_usd"]) for run in stage.runs()} == {("failed", 0)}


def deadline_in(seconds: float) -> dict[str, Any]:
    return {"deadline": datetime.now(UTC) + timedelta(seconds=seconds)}


def test_only_a_call_with_less_than_its_whole_time_is_hurried(stage: Stage) -> None:
    stage.run()
    stage.run(**deadline_in(60))
    stage.run(**deadline_in(4))  # the stage's calls may take five

    assert [request.hurried for request in stage.openai.asked] == [False, False, True]


def test_a_call_that_cannot_end_in_time_is_not_made_and_costs_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "ALWAYS_A_CHANCE_S", 60.0)
    stage.openai.script = [DOWN]
    stage.run()  # so both have been asked
    stage.pipeline._gateway._pace = pace.Pace()
    for one in (stage.openai, stage.anthropic):
        for _ in range(20):
            stage.pipeline._gateway._pace.answered(Target(one.name, one.asked[0].model), 30.0)

    late, early = stage.run(**deadline_in(20)), stage.run(**deadline_in(40))

    assert (late.state, late.reason, late.cost_usd) == (State.EXPIRED, "deadline_passed", 0)
    assert late.error is not None and "the deadline leaves" in late.error["message"]
    assert early.state == State.SUCCEEDED
    assert len(stage.runs()) == 3


def test_a_fault_of_our_own_is_tried_again_and_its_call_is_charged_as_reserved(stage: Stage) -> None:
    stage.openai.script = [ZeroDivisionError("a fault")]
    result = stage.run()
    assert (result.state, result.reason) == (State.SCHEDULED, "internal_fault")
    (run,) = stage.runs()
    assert (run["status"], run["error_code"], run["cost_usd"]) == ("unknown", "internal_fault", run["reserved_usd"])


def test_a_fault_after_the_answer_does_not_pay_for_another_one(stage: Stage) -> None:
    stage.openai.script = [lambda _: None]  # type: ignore[list-item, return-value]
    result = stage.run()
    assert (result.state, result.reason, result.attempts) == (State.FAILED, "internal_fault", 1)
    (run,) = stage.runs()
    assert (run["status"], run["output_tokens"]) == ("succeeded", 5)


def test_a_fault_in_mid_call_is_not_repeated_where_the_job_said_so(stage: Stage) -> None:
    stage.openai.script = [ZeroDivisionError("a fault")]
    result = stage.run(on_unknown="fail")
    assert (result.state, result.reason) == (State.FAILED, "outcome_unknown")
    assert [run["status"] for run in stage.runs()] == ["unknown"]


def test_a_strained_postgres_costs_no_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    settle, strained = GroupCommit.settle, [StatementFailedError("a test"), StatementFailedError("a test")]

    def later(*given: Any, **how: Any) -> Any:
        if strained:
            raise strained.pop()
        return settle(*given, **how)

    monkeypatch.setattr(GroupCommit, "settle", later)
    result = stage.run()
    assert (result.state, result.output, strained) == (State.SUCCEEDED, "fine", [])


def test_a_job_that_ends_between_two_calls_is_a_dead_letter_and_asks_nobody_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its first call came to cannot be settled so that another one follows, only as the job's end."""
    settle = GroupCommit.settle

    def refuse_next_call(*given: Any, verdict: str, **how: Any) -> Any:
        if verdict == "next_call":
            raise StatementRefusedError("a test")
        return settle(*given, verdict=verdict, **how)

    monkeypatch.setattr(GroupCommit, "settle", refuse_next_call)
    stage.openai.script = [DOWN]

    with capture_logs() as logs:
        result = stage.run()

    assert (result.state, result.reason) == (State.FAILED, "result_not_storable")
    assert stage.anthropic.asked == []
    told = [(one["event"], one.get("reason"), one.get("state")) for one in logs if one["event"].startswith("job.")]
    assert told == [
        ("job.settle_failed", None, None),
        ("job.dead_letter", "result_not_storable", None),
        ("job.settled", None, "ended"),
    ]


def test_a_job_that_was_reclaimed_in_mid_call_is_not_ended_by_the_late_answer(stage: Stage) -> None:
    def too_late(_: CallRequest) -> str:
        with stage.ops.connection() as connection:
            taken = recovery.reclaim(connection, silent_s=0, max_deaths=3)
        assert taken is not None and taken.state == "queued"
        return "too late"

    stage.openai.script = [too_late]
    result = stage.run()
    assert (result.state, result.output) == (State.QUEUED, None)
    (run,) = stage.runs()
    assert (run["status"], run["output_tokens"]) == ("succeeded", 5)  # the true usage corrects the book


def test_a_job_cancelled_in_mid_call_ends_cancelled_and_is_paid(stage: Stage) -> None:
    def cancelled(request: CallRequest) -> str:
        with stage.ops.connection() as connection:
            connection.execute("select headrace.cancel(%s, %s, 'a test')", [stage.tenant, request.job_id])
        return "never read"

    stage.openai.script = [cancelled]
    result = stage.run()
    assert (result.state, result.output) == (State.CANCELLED, None)
    assert result.cost_usd > 0


def test_a_request_is_counted_once_however_often_its_job_has_to_wait(stage: Stage, urls: Urls) -> None:
    """It waits for money, for a provider and for another worker; a request rate has counted it when it came first."""
    with stage.ops.connection() as connection:
        limits.set_rate(connection, stage.tenant, limits.Scope.USER, "u", 12, actor="a test")
    guard, rate = RateGuard(redis_client(urls.redis)), Rate("user", "u", 12)
    held = [BreakerOpenError(provider=name, retry_after_s=30.0) for name in ("openai", "anthropic")]

    def drain(_: CallRequest) -> str:
        stage.draining.set()
        raise held[0]

    stage.openai.script, stage.anthropic.script = [held[0], held[0], drain], [held[1], held[1]]
    result = stage.run()
    for state in (State.SCHEDULED, State.SCHEDULED, State.QUEUED):
        assert (result.state, result.attempts) == (state, 0)
        assert guard.room(stage.tenant, rate)[0] == 11
        with psycopg.connect(urls.owner, autocommit=True) as owner:
            owner.execute("update headrace.queue set run_at = headrace.now() where state = 'scheduled'")
        with stage.ops.connection() as connection:
            recovery.release_due(connection)
        stage.draining.clear()
        result = stage.take(result.job_id)
    assert (result.state, guard.room(stage.tenant, rate)[0]) == (State.SUCCEEDED, 11)
    assert stage.run().state is State.SUCCEEDED
    assert guard.room(stage.tenant, rate)[0] == 10, "another request is another one"


def test_a_draining_worker_hands_back_what_has_not_begun(stage: Stage) -> None:
    stage.draining.set()
    result = stage.run()
    assert (result.state, result.attempts) == (State.QUEUED, 0)
    assert stage.openai.asked == []


def test_what_sql_cannot_check_is_rejected_at_the_claim_and_costs_nothing(
    stage: Stage, urls: Urls, subtests: pytest.Subtests
) -> None:
    with stage.ops.connection() as connection:
        connection.execute("update headrace.features set max_input_chars = null")  # as before this release's migrate
    bad: list[tuple[dict[str, Any], str, str]] = [
        ({"output_schema": {"type": "nonsense"}}, "invalid_schema", "output_schema.type"),
        ({"output_schema": {"$ref": "http://127.0.0.1:9/"}}, "invalid_schema", "output_schema.$ref"),
        ({"output_schema": FETCHES}, "invalid_schema", "output_schema.$schema"),
        ({"output_schema": {"pattern": "(?=a)"}}, "invalid_schema", "output_schema.pattern"),
        ({"output_schema": {"allOf": [{}] * 11_000}}, "invalid_schema", "output_schema"),
        ({"messages": [{"role": "user", "content": "x" * 200_001}]}, "too_long", "messages"),
    ]
    with psycopg.connect(urls.producer, autocommit=True) as producer:
        for fields, reason, field_ in bad:
            with subtests.test(reason=reason):
                result = stage.take(enqueue_by_sql(producer, tenant_id=stage.tenant, **{**CHAT, **fields}))
                assert (result.state, result.reason) == (State.REJECTED, reason)
                assert result.error is not None and result.error["field"] == field_
    assert stage.openai.asked == stage.anthropic.asked == []
    assert stage.runs() == []


def test_a_feature_that_is_published_while_a_worker_runs_is_read_or_waited_for(stage: Stage, app: Database) -> None:
    """And one that is retired, or that no worker has learned of in a day, ends its job."""
    shipped, reads = load_policy(None), [0]
    known = {"unheard_of": shipped.features["chat"]}

    def read() -> Policy:
        reads[0] += 1
        return replace(shipped, features={**shipped.features, **known}) if reads[0] > 1 else shipped

    with stage.ops.connection() as connection:
        connection.execute("insert into headrace.features (name) values ('unheard_of'), ('nowhere')")
    clock = Clock()
    stage.pipeline._policies = CurrentPolicy(shipped, read, clock=clock)
    job_id = stage.client.enqueue(**{"tenant_id": stage.tenant, **CHAT, "feature": "unheard_of"})
    waits = stage.take(job_id)
    assert (waits.state, waits.reason, waits.attempts) == (State.SCHEDULED, "feature_not_here", 0)
    assert (stage.take_again(job_id).state, reads[0]) == (State.SCHEDULED, 1)  # not read again at once
    clock.now += READ_EVERY_S
    assert (stage.take_again(job_id).state, reads[0]) == (State.SUCCEEDED, 2)

    lost = stage.client.enqueue(**{"tenant_id": stage.tenant, **CHAT, "feature": "nowhere"})
    gone = stage.client.enqueue(**{"tenant_id": stage.tenant, **CHAT, "feature": "nowhere"})
    assert [stage.take(one).reason for one in (lost, gone)] == ["feature_not_here"] * 2
    with stage.ops.connection() as connection:
        told = why.explain(connection, lost, silent_s=10.0)
        assert told is not None and told.why is why.Why.FEATURE_NOT_HERE
        assert "nowhere is published" in waiting.sentence(told)
        connection.execute("update headrace.jobs set created_at = created_at - interval '2 days' where id = %s", [lost])
    assert (stage.take_again(lost).state, stage.take(gone).state) == (State.REJECTED, State.SCHEDULED)
    error = stage.client.result(lost, tenant_id=stage.tenant).error
    assert error is not None and (error["code"], error["value"]) == ("unknown_feature", "'nowhere'")
    with stage.ops.connection() as connection:
        connection.execute("update headrace.features set retired_at = headrace.now() where name = 'nowhere'")
    ended = stage.take_again(gone)
    assert (ended.state, ended.reason) == (State.REJECTED, "unknown_feature")
    assert len(stage.openai.asked) == 1


@pytest.mark.parametrize(
    ("cpu_s", "turns", "least"), [(0.0, 66, 4), (0.04, 24, 9)], ids=["cheap to refuse", "dear to refuse"]
)
def test_jobs_that_are_turned_away_take_no_more_turns_than_their_time_is_worth(
    stage: Stage, wiped_wire: Wire, urls: Urls, cpu_s: float, turns: int, least: int
) -> None:
    """A tenant that says its jobs are worth a token, and whose schemas are all refused, beside one with answers.

    An answer is 1,000 tokens here, a refusal 100, or 800 where it takes 40 ms of the worker's time.
    """
    stage.cpu.a_job = cpu_s
    hostile = new_tenant(stage.ops, "Mallory")
    stage.openai.script = [said("fine", usage=Usage(500, 0, 0, 500, 0))] * turns
    with psycopg.connect(urls.producer, autocommit=True) as producer:
        for n in range(turns):
            schema = {"$comment": str(n), "anyOf": [1]}
            enqueue_by_sql(producer, **CHAT, tenant_id=hostile, output_schema=schema, estimated_tokens=1)
    stage.client.enqueue_many([{"tenant_id": stage.tenant, **CHAT}] * turns)
    answered = 0
    for _ in range(turns):
        wiped_wire.refill("interactive", {str(hostile): 4, str(stage.tenant): 4})
        (turn,) = wiped_wire.take("interactive", 1)
        stage.pipeline.run(turn)
        answered += turn.tenant == str(stage.tenant)
    assert least <= answered < turns


def test_an_answer_of_the_simulator_is_marked_and_a_models_is_not(stage: Stage) -> None:
    stage.openai.script = [CallReply("invented", USED, "model", "req_sim_0000", "complete"), said("true")]

    invented, true = stage.run(), stage.run()

    assert (invented.output, invented.simulated) == ("invented", True)
    assert (true.output, true.simulated) == ("true", False)
    with stage.ops.connection() as connection:
        kept = connection.execute("select output, simulated from headrace.results order by created_at").fetchall()
    assert [(row["output"], row["simulated"]) for row in kept] == [("invented", True), ("true", False)]
