"""A dry run: what enqueue would refuse is refused alike, nothing is written, and what is quoted then happens."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import redis
from psycopg import sql

from errors import ConfigurationError, HeadraceError, IdempotencyConflict, InvalidInputError, UnknownTenantError
from guards.rates import RateGuard
from producers import Client, Quote, Verdict
from producers.quoter import Quoter
from queues.broker_url import redis_client
from queues.turns import Wire
from router.policy import load_policy
from storage.db.database import Database
from storage.db.ids import new_id
from tests.conftest import new_tenant
from tests.support.fleet import Fleet, Urls
from tests.support.in_process import fresh, one_simulator, pipeline, turn
from tests.support.kinds_of_jobs import KINDS
from tests.support.requests import BAD, CHAT, MESSAGES, NOBODY, PROMPT, count, enqueue_by_sql


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with one_simulator(tmp_path_factory.mktemp("simulator")) as fleet:
        yield fleet


@pytest.fixture
def simulator(one: Fleet) -> Fleet:
    return fresh(one)


@pytest.fixture
def quoting(app: Database, urls: Urls, wiped_wire: Wire) -> Client:
    """A client that answers dry runs, with the shipped policy and a counter of requests."""
    return Client(
        app, wiped_wire, quoter=lambda: Quoter(app, load_policy(None), RateGuard(redis_client(urls.redis)))
    )  # fmt: skip


def runs_of(ops: Database, job_id: UUID) -> list[dict[str, Any]]:
    with ops.connection() as connection:
        return connection.execute(
            "select r.*, m.version from headrace.runs r left join headrace.prompts m on m.id = r.prompt_id"
            " where r.job_id = %s order by r.id",
            [job_id],
        ).fetchall()


# ----------------------------------------------------------------------------------------- what then happens is quoted


@pytest.mark.parametrize("kind", KINDS)
def test_the_quote_is_what_is_then_reserved(
    kind: str, quoting: Client, app: Database, ops: Database, wiped_wire: Wire, simulator: Fleet
) -> None:
    """Call by call: the primary's, and the backup's when the primary fails."""
    tenant = new_tenant(ops, "Acme", plan="enterprise")
    job: dict[str, Any] = {"tenant_id": tenant, **KINDS[kind]}
    quote = quoting.enqueue(dry_run=True, **job)
    assert (quote.verdict, quote.error, quote.waits) == (Verdict.WOULD_RUN, None, ())
    assert quote.primary is not None and quote.backup is not None
    simulator.behave(**{quote.primary.provider: {"fault": "500", "latency_ms": 0}})

    job_id = quoting.enqueue(**job)
    pipeline(app, ops, wiped_wire, simulator).run(turn(tenant))

    rows = runs_of(ops, job_id)
    assert [row["status"] for row in rows] == ["failed", "succeeded"]
    for row, call in zip(rows, (quote.primary, quote.backup), strict=True):
        assert (row["provider"], row["model"]) == (call.provider, call.model)
        assert (row["tier"], row["route_rule"]) == (quote.tier, quote.rule)
        assert (row["reserved_usd"], row["max_output_tokens"]) == (call.worst_case_usd, call.max_output_tokens)
        assert row["max_output_tokens"] == quote.max_output_tokens
        assert row["version"] == quote.prompt_version
    assert rows[1]["input_tokens"] <= quote.backup.input_bound and rows[1]["over_reserved_usd"] == 0
    assert quote.worst_case_usd == rows[0]["reserved_usd"] > 0
    assert quote.dearest_usd == max(row["reserved_usd"] for row in rows)
    assert quote.input_tokens is not None and quote.input_tokens <= quote.primary.input_bound


def test_the_kinds_take_every_route(quoting: Client, ops: Database) -> None:
    tenant = new_tenant(ops, "Acme", plan="enterprise")
    rules = {quoting.enqueue(tenant_id=tenant, dry_run=True, **job).rule for job in KINDS.values()}
    assert rules == {"default", "forced", "hard_feature", "code_block", "long_input", "enterprise_report"}


def test_an_answer_that_the_caps_shorten_is_quoted_as_short(
    quoting: Client, app: Database, ops: Database, wiped_wire: Wire, simulator: Fleet, tenant: UUID
) -> None:
    job: dict[str, Any] = {"tenant_id": tenant, **PROMPT}
    with ops.connection() as connection:
        for scope, key, limit in (("user", "u-1", "0.0003501"), ("feature", "chat", "0.0003002")):
            connection.execute(
                "insert into headrace.caps (tenant_id, scope, key, limit_usd, hour) values (%s, %s, %s, %s, 'epoch')",
                [tenant, scope, key, limit],
            )
    quote = quoting.enqueue(dry_run=True, **job)
    job_id = quoting.enqueue(**job)
    pipeline(app, ops, wiped_wire, simulator).run(turn(tenant))
    (run,) = runs_of(ops, job_id)
    assert quote.primary is not None and quote.verdict is Verdict.WOULD_RUN
    assert 128 < quote.primary.max_output_tokens < 1024 == quote.max_output_tokens
    assert (run["reserved_usd"], run["max_output_tokens"]) == (quote.worst_case_usd, quote.primary.max_output_tokens)


def test_the_prompt_is_the_one_that_a_claim_would_take(quoting: Client, ops: Database, tenant: UUID) -> None:
    """The tenant's own pointer before the default, and no other tenant's."""
    other = new_tenant(ops, "Other")
    mine = new_id()
    with ops.connection() as connection:
        connection.execute(
            "insert into headrace.prompts"
            " (id, tenant_id, name, version, body, variables, max_output_tokens, content_hash)"
            """ values (%s, %s, 'chat', 7, %s, '{"message": 50}', 33, '\\x00')""",
            [mine, other, "## user\n{{ message }}"],
        )
        connection.execute(
            "insert into headrace.prompt_pointers (tenant_id, name, prompt_id) values (%s, 'chat', %s)", [other, mine]
        )
    quotes = [quoting.enqueue(tenant_id=whose, dry_run=True, **PROMPT) for whose in (tenant, other)]
    assert [(one.prompt, one.prompt_version, one.max_output_tokens) for one in quotes] == [
        ("chat", 1, 1024), ("chat", 7, 33),
    ]  # fmt: skip
    assert quoting.enqueue(tenant_id=tenant, dry_run=True, **CHAT).prompt_version is None


# --------------------------------------------------------------------------------------------------- nothing is written


def everything(urls: Urls) -> dict[str, Any]:
    """All that is kept: every table row by row, every counter, every key in the Valkey."""
    kept: dict[str, Any] = {}
    with psycopg.connect(urls.owner) as connection:
        tables = connection.execute(
            "select relname from pg_class where relnamespace = 'headrace'::regnamespace and relkind in ('r', 'p')"
        ).fetchall()
        for (table,) in tables:
            query = sql.SQL("select t::text from headrace.{} t order by 1").format(sql.Identifier(table))
            kept[table] = connection.execute(query).fetchall()
        kept["counters"] = connection.execute(
            "select sequencename, last_value from pg_sequences where schemaname = 'headrace' order by 1"
        ).fetchall()
    with redis.Redis.from_url(urls.redis) as server:
        kept["keys"] = sorted(server.keys())
    return kept


def test_nothing_is_written_anywhere(quoting: Client, ops: Database, urls: Urls, tenant: UUID) -> None:
    quoting.enqueue(tenant_id=tenant, idempotency_key="taken", **CHAT)
    with ops.connection() as connection:
        connection.execute("update headrace.plans set user_per_minute = 5, tenant_per_minute = 5")
        connection.execute(
            "insert into headrace.caps (tenant_id, scope, key, limit_usd, hour)"
            " values (%s, 'user', 'poor', 0, 'epoch')",
            [tenant],
        )
    before = everything(urls)
    assert before["jobs"] and before["keys"], "or the comparison compares nothing"
    jobs = [
        *KINDS.values(),
        {**CHAT, "idempotency_key": "new"},
        {**CHAT, "idempotency_key": "taken"},
        {**CHAT, "lane": "batch", "on_over_budget": "wait"},
        {**CHAT, "user_id": "poor"},
    ]
    seen = {quoting.enqueue(tenant_id=tenant, dry_run=True, **job).verdict for job in jobs}
    for job in ({**CHAT, "idempotency_key": "taken", "max_output_tokens": 99}, {**CHAT, "feature": "nope"}):
        with pytest.raises(InvalidInputError):
            quoting.enqueue(tenant_id=tenant, dry_run=True, **job)
    assert seen == {Verdict.WOULD_RUN, Verdict.WOULD_REPEAT, Verdict.WOULD_BE_REJECTED}
    assert everything(urls) == before


def test_a_quote_neither_needs_to_write_nor_waits_for_who_does(urls: Urls, wiped_wire: Wire, tenant: UUID) -> None:
    with Database(f"{urls.app}&options=-c%20default_transaction_read_only%3Don", connections=2) as read_only:
        client = Client(read_only, wiped_wire, quoter=lambda: Quoter(read_only, load_policy(None)))
        with read_only.connection() as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("create table public.t ()")
        with psycopg.connect(urls.owner) as other:
            other.execute("select headrace.lock_caps(%s, 'u-1', 'chat')", [tenant])
            other.execute("lock headrace.jobs, headrace.queue, headrace.caps in share row exclusive mode")
            quote = client.enqueue(tenant_id=tenant, dry_run=True, idempotency_key="k", **CHAT)
        assert quote.verdict is Verdict.WOULD_RUN


# ------------------------------------------------------------------------------------------------- the door is the same


def refused(client: Client, **fields: Any) -> HeadraceError:
    with pytest.raises(HeadraceError) as refusal:
        client.enqueue(**fields)
    return refusal.value


def test_what_enqueue_refuses_is_refused_alike(quoting: Client, tenant: UUID, subtests: pytest.Subtests) -> None:
    for fields, kind, field, _ in BAD:
        with subtests.test(field=field, kind=kind.code):
            told = refused(quoting, tenant_id=tenant, dry_run=True, **fields)
            assert type(told) is kind
            assert told.as_dict() == refused(quoting, tenant_id=tenant, **fields).as_dict()
    nobody = refused(quoting, tenant_id=NOBODY, dry_run=True, **CHAT)
    assert type(nobody) is UnknownTenantError
    assert nobody.as_dict() == refused(quoting, tenant_id=NOBODY, **CHAT).as_dict()


def test_a_key_that_is_taken_repeats_or_conflicts(
    quoting: Client, urls: Urls, ops: Database, tenant: UUID, subtests: pytest.Subtests
) -> None:
    for place, (kind, job) in enumerate(KINDS.items()):
        with subtests.test(kind=kind), psycopg.connect(urls.producer, autocommit=True) as producer:
            by_python, by_sql = f"python {place}", f"sql {place}"
            first = quoting.enqueue(tenant_id=tenant, idempotency_key=by_python, **job)
            again = quoting.enqueue(tenant_id=tenant, idempotency_key=by_python, dry_run=True, **job)
            assert (again.verdict, again.job_id, again.waits) == (Verdict.WOULD_REPEAT, first, ())
            if kind != "text to be cleaned":  # which SQL takes as it comes
                second = enqueue_by_sql(producer, tenant_id=tenant, idempotency_key=by_sql, **job)
                assert quoting.enqueue(tenant_id=tenant, idempotency_key=by_sql, dry_run=True, **job).job_id == second
            changed = {**job, "tenant_id": tenant, "idempotency_key": by_python, "on_unknown": "fail"}
            told = refused(quoting, dry_run=True, **changed)
            assert type(told) is IdempotencyConflict
            assert told.as_dict() == refused(quoting, **changed).as_dict()
            assert told.details == {"job_id": str(first)}
    elsewhere = quoting.enqueue(tenant_id=new_tenant(ops, "Other"), idempotency_key="python 0", dry_run=True, **CHAT)
    assert (elsewhere.verdict, elsewhere.job_id) == (Verdict.WOULD_RUN, None)


def test_a_dry_run_takes_no_connection(quoting: Client, urls: Urls, tenant: UUID) -> None:
    with psycopg.connect(urls.producer) as connection:
        fields: dict[str, Any] = {"tenant_id": tenant, "conn": connection, **CHAT}
        told = refused(quoting, dry_run=True, **fields)
        assert (type(told), told.field) == (InvalidInputError, "conn")


def test_many_at_a_time_have_no_dry_run(quoting: Client, ops: Database, tenant: UUID) -> None:
    batch = quoting.enqueue_many([{**CHAT, "tenant_id": tenant, "dry_run": True}])
    assert [one.error.field for one in batch.refused] == ["dry_run"]
    assert count(ops) == 0


def test_a_client_without_a_quoter_says_so(client: Client, ops: Database, tenant: UUID) -> None:
    told = refused(client, tenant_id=tenant, dry_run=True, **CHAT)
    assert (type(told), told.field) == (ConfigurationError, "dry_run")
    assert count(ops) == 0


# ------------------------------------------------------------------------------------------------------- ways to ask


def test_threads_share_one_quoter(app: Database, wiped_wire: Wire, tenant: UUID) -> None:
    made: list[Quoter] = []
    start = threading.Barrier(8)

    def make() -> Quoter:
        made.append(Quoter(app, load_policy(None)))
        return made[-1]

    client = Client(app, wiped_wire, quoter=make)

    def ask(_: int) -> Quote:
        start.wait()
        return client.enqueue(tenant_id=tenant, dry_run=True, **CHAT)

    with ThreadPoolExecutor(8) as threads:
        quotes = list(threads.map(ask, range(8)))
    assert len({one.worst_case_usd for one in quotes}) == 1 == len(made)


def test_the_module_level_functions_quote_by_the_policy_of_the_environment(
    urls: Urls, wiped_wire: Wire, ops: Database, tenant: UUID, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import producers

    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "tiers:\n"
        "  cheap: {primary: {provider: openai, model: gpt-6.1-sol}}\n"
        "  strong: {primary: {provider: anthropic, model: claude-sonnet-5-5}}\n"
    )
    module = importlib.import_module("producers.enqueue")
    monkeypatch.setattr(module._default, "_client", None)
    monkeypatch.setenv("HEADRACE_DATABASE_URL", urls.app)
    monkeypatch.setenv("HEADRACE_REDIS_URL", urls.redis)
    monkeypatch.setenv("HEADRACE_ROUTING_POLICY", str(policy))
    monkeypatch.delenv("HEADRACE_BROKER_URL", raising=False)
    job: dict[str, Any] = {"tenant_id": tenant, **CHAT}
    try:
        quote = producers.enqueue(dry_run=True, **{**job, "messages": (dict(one) for one in MESSAGES)})
        also = asyncio.run(producers.aenqueue(dry_run=True, **job))
        for one in (quote, also):
            assert one.primary is not None
            assert (one.primary.model, one.backup, one.dearest_usd) == ("gpt-6.1-sol", None, one.worst_case_usd)
            assert [rate.room for rate in one.rates] == [rate.per_minute for rate in one.rates]
        assert count(ops) == 0
    finally:
        if module._default._client is not None:
            module._default._client.close()


def test_what_only_dry_runs_need_is_not_loaded_before() -> None:
    heavy = ("router.policy", "router.plan", "guards.rates", "producers.quoter", "limits", "yaml")
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, producers; print([one for one in {heavy} if one in sys.modules])"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert loaded.stdout.strip() == "[]"
