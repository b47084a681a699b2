"""Both ways in, against the real database and wire: the Python client, and plain SQL as ``headrace_producer``."""

from __future__ import annotations

import asyncio
import importlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from errors import (
    HeadraceError,
    IdempotencyConflict,
    InvalidInputError,
    InvalidSchemaError,
    NotEndedError,
    NotFoundError,
    TooLongError,
    UnknownFeatureError,
    UnknownPromptError,
    UnknownTenantError,
)
from guards.cleaning import DEEPEST
from producers import Client
from producers.requests import MAX_INPUT_BYTES
from queues.broker_url import open_wire
from queues.turns import Wire
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs.jobs import State
from tests.conftest import new_tenant
from tests.support.fleet import Urls, eventually
from tests.support.requests import BAD, CHAT, MESSAGES, NOBODY, PROMPT, count, enqueue_by_sql
from workers.scheduler import Scheduler

Enqueue = Callable[..., UUID]


@pytest.fixture
def producer(urls: Urls) -> Iterator[psycopg.Connection[Any]]:
    """A connection as ``headrace_producer``, in transactions of its own."""
    with psycopg.connect(urls.producer, autocommit=True) as connection:
        yield connection


@pytest.fixture(params=["python", "sql"])
def enqueue(request: pytest.FixtureRequest, client: Client, producer: psycopg.Connection[Any]) -> Enqueue:
    """Either way in."""
    if request.param == "python":
        return client.enqueue

    def by_sql(**fields: Any) -> UUID:
        return enqueue_by_sql(producer, **fields)

    return by_sql


def _as_told(value: Any) -> str | None:
    """A refused value as one way or the other tells it: as it is, or as text, cut at 200 characters."""
    if value is None or isinstance(value, str):
        return value and value[:200]
    return json.dumps(value)


# ------------------------------------------------------------------------------------------------- both ways refuse


def test_bad_input_is_refused_by_field_and_value_and_leaves_nothing(
    enqueue: Enqueue, ops: Database, tenant: UUID, subtests: pytest.Subtests
) -> None:
    for fields, kind, field, value in BAD:
        with subtests.test(field=field, value=_as_told(value)):
            with pytest.raises(kind) as refused:
                enqueue(tenant_id=tenant, **fields)
            assert type(refused.value) is kind
            told = refused.value.value
            if told is None and value is not None:  # by SQL: nothing of the text, which Postgres would log
                assert refused.value.field == field.replace(".tone", "")
                assert refused.value.details["length"] in (len(_as_told(value) or ""), len(json.dumps(value)), 201)
            else:
                assert refused.value.field == field
                assert _as_told(told) == _as_told(value) or told in (json.dumps(value), repr(value))
    assert (count(ops), count(ops, "queue"), count(ops, "wakes")) == (0, 0, 0)


def test_an_unknown_tenant_is_refused_by_its_id(enqueue: Enqueue, tenant: UUID) -> None:
    with pytest.raises(UnknownTenantError) as refused:
        enqueue(tenant_id=NOBODY, **CHAT)
    assert (refused.value.field, refused.value.value) == ("tenant_id", str(NOBODY))


def test_a_key_used_for_another_request_is_a_conflict(enqueue: Enqueue, ops: Database, tenant: UUID) -> None:
    first = enqueue(tenant_id=tenant, idempotency_key="k", **CHAT)
    assert enqueue(tenant_id=tenant, idempotency_key="k", **CHAT) == first
    assert enqueue(tenant_id=tenant, idempotency_key="k", run_at="2090-01-01T00:00:00Z", **CHAT) == first
    with pytest.raises(IdempotencyConflict) as refused:
        enqueue(tenant_id=tenant, idempotency_key="k", **PROMPT)
    assert refused.value.field == "idempotency_key"
    assert count(ops) == 1
    # a key is the tenant's own
    assert enqueue(tenant_id=new_tenant(ops, "Other"), idempotency_key="k", **PROMPT) != first


def test_the_same_request_has_the_same_body_by_either_way(
    client: Client, producer: psycopg.Connection[Any], tenant: UUID
) -> None:
    for key, fields in enumerate(
        [
            CHAT,
            PROMPT,
            {**CHAT, "output_schema": {"type": "object"}, "metadata": {"a": None}, "context": [1, {"b": "é"}]},
            {**PROMPT, "force_tier": "strong", "on_unknown": "fail", "lane": "batch", "max_output_tokens": 99},
        ]
    ):
        first = client.enqueue(tenant_id=tenant, idempotency_key=str(key), **fields)
        assert enqueue_by_sql(producer, tenant_id=tenant, idempotency_key=str(key), **fields) == first


def test_a_key_in_an_open_transaction_is_waited_for(urls: Urls, ops: Database, tenant: UUID) -> None:
    """The second never raises: it gets the first one's id, or goes in itself when the first goes back."""
    for ending in ("commit", "rollback"):
        with (
            psycopg.connect(urls.producer) as first,
            psycopg.connect(urls.producer, autocommit=True) as second,
            ThreadPoolExecutor(1) as threads,
        ):
            fields = {"tenant_id": tenant, "idempotency_key": ending, **CHAT}
            job_id = enqueue_by_sql(first, **fields)
            waiting = threads.submit(enqueue_by_sql, second, **fields)
            eventually(lambda: _waits_for_a_lock(ops), why="the second waits for the first")
            assert not waiting.done()
            getattr(first, ending)()
            assert (waiting.result(30) == job_id) == (ending == "commit")
    assert count(ops) == 2


def _waits_for_a_lock(ops: Database) -> bool:
    with ops.connection() as connection:
        return bool(
            connection.execute(
                "select from pg_locks l join pg_database d on d.datname = current_database()"
                " where not l.granted and l.locktype = 'transactionid' or not l.granted and l.database = d.oid"
            ).fetchall()
        )


# ------------------------------------------------------------------------------------------------- many at a time


def test_of_a_thousand_the_good_go_in_and_the_bad_come_back_by_index(
    client: Client, ops: Database, wiped_wire: Wire, tenant: UUID
) -> None:
    other = new_tenant(ops, "Other")
    client.enqueue(tenant_id=tenant, idempotency_key="taken", **CHAT)
    requests: list[Any] = [{**CHAT, "tenant_id": (tenant, other)[i % 2], "user_id": f"u-{i % 7}"} for i in range(1000)]
    expected: dict[int, tuple[type[HeadraceError], str]] = {}
    more: list[tuple[Any, type[HeadraceError], str]] = [
        ({**CHAT, "tenant_id": NOBODY}, UnknownTenantError, "tenant_id"),
        ({**PROMPT, "tenant_id": tenant, "idempotency_key": "taken"}, IdempotencyConflict, "idempotency_key"),
        (None, InvalidInputError, "request"),
        ("text", InvalidInputError, "request"),
        ({}, InvalidInputError, "tenant_id"),
        ({**CHAT, "tenant_id": tenant, "context": {"a": object()}}, InvalidInputError, "context"),
        ({**CHAT, "tenant_id": tenant, "output_schema": {"type": "odd"}}, InvalidSchemaError, "output_schema.type"),
    ]
    bad = [({**fields, "tenant_id": tenant}, kind, field) for fields, kind, field, _ in BAD] + more
    for place, (fields, kind, field) in enumerate(bad):
        index = 7 + place * 28
        requests[index] = fields
        expected[index] = (kind, field)
    assert len(expected) == len(bad)
    handled: list[int] = []

    batch = client.enqueue_many(iter(requests), progress=handled.append)

    assert {one.index: (type(one.error), one.error.field) for one in batch.refused} == expected
    assert [one.index for one in batch.refused] == sorted(expected)
    assert len(batch.job_ids) == 1000 == sum(handled)
    assert [index for index, job_id in enumerate(batch.job_ids) if job_id is None] == sorted(expected)
    with ops.connection() as connection:
        rows = connection.execute("select id, tenant_id, user_id from headrace.jobs").fetchall()
    there = {row["id"]: (row["tenant_id"], row["user_id"]) for row in rows}
    assert len(there) == 1000 - len(bad) + 1
    for index, job_id in enumerate(batch.job_ids):
        if job_id is not None:
            assert there[job_id] == (requests[index]["tenant_id"], requests[index]["user_id"])
    assert {turn.tenant for turn in wiped_wire.take("interactive", 200)} == {str(tenant), str(other)}


def test_one_batch_may_repeat_a_key(client: Client, tenant: UUID) -> None:
    batch = client.enqueue_many([{**CHAT, "tenant_id": tenant, "idempotency_key": "k"}] * 3)
    assert len(set(batch.job_ids)) == 1 and not batch.refused


# ------------------------------------------------------------------------------------- the caller's own transaction


def test_with_conn_the_job_exists_if_and_only_if_the_caller_commits(
    client: Client, urls: Urls, ops: Database, tenant: UUID
) -> None:
    with psycopg.connect(urls.producer) as connection:
        kept = client.enqueue(tenant_id=tenant, conn=connection, **CHAT)
        with pytest.raises(NotFoundError):
            client.result(kept, tenant_id=tenant)
        connection.commit()
        assert client.result(kept, tenant_id=tenant).state is State.QUEUED
        gone = client.enqueue(tenant_id=tenant, conn=connection, **CHAT)
        connection.rollback()
        with pytest.raises(NotFoundError):
            client.result(gone, tenant_id=tenant)
    with ops.connection() as connection_:
        wakes = connection_.execute("select tenant_id, lane from headrace.wakes").fetchall()
    assert wakes == [{"tenant_id": tenant, "lane": "interactive"}]


def test_with_conn_a_refusal_is_typed(client: Client, urls: Urls, tenant: UUID) -> None:
    with psycopg.connect(urls.producer) as connection, pytest.raises(UnknownFeatureError) as refused:
        client.enqueue(tenant_id=tenant, conn=connection, **{**CHAT, "feature": "nope"})
    assert (refused.value.field, refused.value.value) == ("feature", "nope")


def test_what_a_foreign_transaction_enqueued_gets_its_turn_with_nothing_more_to_do(
    producer: psycopg.Connection[Any], wiped_wire: Wire, scheduler: Scheduler, tenant: UUID
) -> None:
    enqueue_by_sql(producer, tenant_id=tenant, lane="batch", **CHAT)
    (turn,) = eventually(lambda: wiped_wire.take("batch", 1), why="the scheduler offers a turn")
    assert turn.tenant == str(tenant)


def test_the_callers_own_tenant_setting_is_untouched(urls: Urls, tenant: UUID) -> None:
    mine = str(uuid4())
    for local in (False, True):
        for fails in (False, True):
            with psycopg.connect(urls.producer) as connection:
                connection.execute("select set_config('app.tenant_id', %s, %s)", [mine, local])
                if fails:
                    with pytest.raises(UnknownPromptError), connection.transaction():
                        enqueue_by_sql(connection, tenant_id=tenant, **{**PROMPT, "prompt": "nope"})
                else:
                    enqueue_by_sql(connection, tenant_id=tenant, **CHAT)
                assert connection.execute("select current_setting('app.tenant_id')").fetchone() == (mine,)
                connection.commit()
                kept = connection.execute("select current_setting('app.tenant_id', true)").fetchone()
                assert kept == ("" if local else mine,)


def test_one_transaction_may_enqueue_for_several_tenants(
    client: Client, urls: Urls, ops: Database, tenant: UUID
) -> None:
    other = new_tenant(ops, "Other")
    with psycopg.connect(urls.producer) as connection:
        ids = {one: enqueue_by_sql(connection, tenant_id=one, **CHAT) for one in (tenant, other)}
        connection.commit()
    for one, job_id in ids.items():
        assert client.result(job_id, tenant_id=one).state is State.QUEUED
    with pytest.raises(NotFoundError):
        client.result(ids[other], tenant_id=tenant)


def test_a_result_is_asked_for_by_ids(client: Client, tenant: UUID) -> None:
    job_id = client.enqueue(tenant_id=tenant, **CHAT)
    assert client.result(str(job_id), tenant_id=str(tenant)).job_id == job_id  # type: ignore[arg-type]
    for given, field in (
        ({"job_id": "x", "tenant_id": tenant}, "job_id"),
        ({"job_id": job_id, "tenant_id": "x"}, "tenant_id"),
    ):
        with pytest.raises(InvalidInputError) as refused:
            client.result(**given)
        assert refused.value.field == field


# ------------------------------------------------------------------------------------------- the role of producers


def test_a_producer_may_call_the_three_doors_and_nothing_else(urls: Urls) -> None:
    with psycopg.connect(urls.owner) as connection:
        relations = connection.execute(
            """select c.relname, p.what from pg_class c join pg_namespace n on n.oid = c.relnamespace
               cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'trigger']) p(what)
               where n.nspname = 'headrace' and c.relkind in ('r', 'p', 'v', 'm')
                 and has_table_privilege('headrace_producer', c.oid, p.what)"""
        ).fetchall()
        columns = connection.execute(
            """select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = 'headrace' and c.relkind in ('r', 'p', 'v', 'm')
                 and has_any_column_privilege('headrace_producer', c.oid, 'select, insert, update, references')"""
        ).fetchall()
        sequences = connection.execute(
            """select s.sequencename from pg_sequences s where s.schemaname = 'headrace' and has_sequence_privilege(
                   'headrace_producer', format('%I.%I', s.schemaname, s.sequencename), 'usage, select, update')"""
        ).fetchall()
        functions = connection.execute(
            """select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
               where n.nspname = 'headrace' and has_function_privilege('headrace_producer', p.oid, 'execute')
                 and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')"""
        ).fetchall()
        roles = connection.execute(
            """select r.rolname from pg_roles r where pg_has_role('headrace_producer', r.oid, 'member')
               and r.rolname <> 'headrace_producer'"""
        ).fetchall()
        may_create = connection.execute(
            "select has_schema_privilege('headrace_producer', 'headrace', 'create')"
        ).fetchone()
    assert (relations, columns, sequences, roles) == ([], [], [], [])
    assert sorted(functions) == [("enqueue",), ("enqueue_many",), ("result",)]
    assert may_create == (False,)


def test_a_producer_reads_nothing_even_of_the_tenant_it_works_for(
    producer: psycopg.Connection[Any], tenant: UUID
) -> None:
    enqueue_by_sql(producer, tenant_id=tenant, **CHAT)
    producer.execute("select set_config('app.tenant_id', %s, false)", [str(tenant)])
    for statement in (
        "select * from headrace.jobs",
        "select * from headrace.job_status",
        "select * from headrace.tenants",
        "insert into headrace.wakes (tenant_id, lane) values (gen_random_uuid(), 'batch')",
        "delete from headrace.queue",
        f"select headrace.cancel('{tenant}', '{tenant}', 'me')",
        f"select headrace.claim('{tenant}', 'interactive', '{tenant}', '{tenant}', 1, 1)",
        "set role headrace_owner",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            producer.execute(statement)


def test_enqueue_runs_as_the_owner_with_a_pinned_search_path(urls: Urls, tenant: UUID) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        row = connection.execute(
            """select r.rolname, p.prosecdef, p.proconfig from pg_proc p join pg_roles r on r.oid = p.proowner
               where p.oid = 'headrace.enqueue'::regproc"""
        ).fetchone()
        assert row == ("headrace_owner", True, ["search_path=pg_catalog, pg_temp", "app.tenant_id="])
    with psycopg.connect(urls.producer, autocommit=True) as connection:
        # a caller's temporary objects and path are not looked at
        connection.execute("create temporary table tenants (id uuid)")
        connection.execute("create function pg_temp.uuidv7() returns uuid language sql return null::uuid")
        connection.execute("set search_path = pg_temp, public")
        assert enqueue_by_sql(connection, tenant_id=tenant, **CHAT).version == 7
        assert connection.execute("show search_path").fetchone() == ("pg_temp, public",)


# ----------------------------------------------------------------------------------------- what only SQL can be told


def test_the_same_id_twice_is_one_job(producer: psycopg.Connection[Any], ops: Database, tenant: UUID) -> None:
    mine = new_id()
    assert [enqueue_by_sql(producer, tenant_id=tenant, id=mine, **CHAT) for _ in range(2)] == [mine, mine]
    assert count(ops) == 1 == count(ops, "queue")


def test_an_absurd_estimate_hurts_nobody(producer: psycopg.Connection[Any], ops: Database, tenant: UUID) -> None:
    for absurd in (-5, 0, 2**63 - 1, 2**63 - 1):
        enqueue_by_sql(producer, tenant_id=tenant, estimated_tokens=absurd, **CHAT)
    enqueue_by_sql(producer, tenant_id=tenant, **CHAT)
    with ops.connection() as connection:
        rows = connection.execute("select rank, estimated_tokens from headrace.queue order by id").fetchall()
    assert len(rows) == 5
    assert all(1 <= row["estimated_tokens"] <= 10**8 and 0 <= row["rank"] <= 10**9 for row in rows)


def test_messages_with_more_than_role_and_content_are_refused(producer: psycopg.Connection[Any], tenant: UUID) -> None:
    with pytest.raises(InvalidInputError) as refused:
        enqueue_by_sql(producer, tenant_id=tenant, **{**CHAT, "messages": [{**MESSAGES[0], "name": "Ada"}]})
    assert (refused.value.field, refused.value.details["length"]) == ("messages[0]", len('{"name": "Ada"}'))


def test_nesting_has_the_same_bound_by_either_way(enqueue: Enqueue, tenant: UUID) -> None:
    def nested(levels: int) -> Any:
        value: Any = []
        for _ in range(levels - 2):
            value = [value]
        return {"enum": value}

    for field in ("context", "metadata", "output_schema"):
        enqueue(tenant_id=tenant, **{**CHAT, field: nested(DEEPEST)})
        for levels in (DEEPEST + 1, 500):
            with pytest.raises(InvalidInputError, match=f"deeper than {DEEPEST} levels") as refused:
                enqueue(tenant_id=tenant, **{**CHAT, field: nested(levels)})
            assert refused.value.field == field


def test_an_input_of_just_the_features_cap_goes_in(enqueue: Enqueue, ops: Database, tenant: UUID) -> None:
    with ops.connection() as connection:
        connection.execute("update headrace.features set max_input_chars = 10 where name = 'chat'")

    # characters, not bytes: of all messages, or of all variables
    enqueue(tenant_id=tenant, **{**CHAT, "messages": [{"role": "user", "content": "中" * 5}] * 2})
    enqueue(tenant_id=tenant, **{**PROMPT, "variables": {"message": "中" * 10}})
    for fields, field in (
        ({**CHAT, "messages": [{"role": "user", "content": "中" * 6}] * 2}, "messages"),
        ({**PROMPT, "variables": {"message": "x" * 11}}, "variables"),
    ):
        with pytest.raises(TooLongError) as refused:
            enqueue(tenant_id=tenant, **fields)
        assert refused.value.field == field
        assert refused.value.message == "is over the cap of 10 characters of the feature chat"


def test_of_an_input_that_is_too_long_the_largest_part_is_named(
    producer: psycopg.Connection[Any], tenant: UUID
) -> None:
    for field in ("output_schema", "context", "messages"):
        large = [{"role": "user", "content": "x" * 399_990}] if field == "messages" else {"description": "x" * 399_990}
        with pytest.raises(TooLongError) as refused:
            enqueue_by_sql(producer, tenant_id=tenant, **{**CHAT, field: large})
        assert refused.value.field == field


def test_sql_and_python_have_the_same_cap(ops: Database) -> None:
    with ops.connection() as connection:
        row = connection.execute("select headrace.max_input_bytes() as most").fetchone()
    assert row == {"most": MAX_INPUT_BYTES}


# --------------------------------------------------------------------------------------------------- what comes back


def test_another_tenants_job_is_not_found(client: Client, ops: Database, tenant: UUID) -> None:
    job_id = client.enqueue(tenant_id=tenant, **CHAT)
    for asked, whose in ((job_id, new_tenant(ops, "Other")), (job_id, NOBODY), (uuid4(), tenant)):
        with pytest.raises(NotFoundError) as refused:
            client.result(asked, tenant_id=whose)
        assert (refused.value.field, refused.value.value) == ("job_id", str(asked))


def test_a_job_that_must_end_and_does_not_is_an_error(client: Client, tenant: UUID) -> None:
    job_id = client.enqueue(tenant_id=tenant, **CHAT)
    for timeout in (None, 0.05):
        with pytest.raises(NotEndedError) as raised:
            client.result(job_id, tenant_id=tenant, timeout=timeout, must_end=True)
        facts = raised.value.as_dict()
        assert (facts["code"], facts["job_id"], facts["state"], facts["reason"]) == (
            "not_ended",
            str(job_id),
            "queued",
            None,
        )
        assert str(raised.value) == (
            f"the job is queued after {timeout or 0:g} s. `headrace jobs why {job_id}` says what it waits for."
        )
    for odd in (-1, float("nan")):
        with pytest.raises(InvalidInputError) as refused:
            client.result(job_id, tenant_id=tenant, timeout=odd)
        assert refused.value.field == "timeout"


def test_when_the_time_is_up_the_state_at_hand_comes_back(client: Client, tenant: UUID) -> None:
    job_id = client.enqueue(tenant_id=tenant, **CHAT)
    for timeout in (None, 0.0, 0.05):
        result = client.result(job_id, tenant_id=tenant, timeout=timeout)
        assert (result.state, result.output, result.attempts, result.cost_usd) == (State.QUEUED, None, 0, 0)
    later = client.enqueue(tenant_id=tenant, run_at="2090-01-01T00:00:00Z", **CHAT)
    scheduled = client.result(later, tenant_id=tenant)
    assert (scheduled.state, scheduled.reason) == (State.SCHEDULED, "asked_for")


def test_a_waiting_result_sees_the_end(client: Client, app: Database, tenant: UUID) -> None:
    job_id = client.enqueue(tenant_id=tenant, **CHAT)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.result, job_id, tenant_id=tenant, timeout=60)
        with app.connection() as connection:
            row = connection.execute("select headrace.cancel(%s, %s, 'a test') as how", [tenant, job_id]).fetchone()
        assert row == {"how": "cancelled"}
        result = waiting.result(60)
    assert (result.state, result.reason) == (State.CANCELLED, "cancelled")


# ------------------------------------------------------------------------------------------- the wire is only a hint


@pytest.mark.parametrize("wire", ["away", "of other lanes"])
def test_jobs_go_in_whatever_the_wire_does(app: Database, urls: Urls, tenant: UUID, wire: str) -> None:
    there = "unix:///nowhere/valkey.sock" if wire == "away" else urls.redis
    lanes = {"interactive": 9, "batch": 1} if wire == "away" else {"express": 1}
    client = Client(app, open_wire(there, lanes=lanes))
    job_id = client.enqueue(tenant_id=tenant, **CHAT)
    batch = client.enqueue_many([{**CHAT, "tenant_id": tenant, "lane": "batch"}])
    assert client.result(job_id, tenant_id=tenant).state is State.QUEUED
    assert not batch.refused


# ----------------------------------------------------------------------------------------------------- asyncio, shells


def test_the_async_forms(client: Client, ops: Database, tenant: UUID) -> None:
    async def all_of_them() -> None:
        ids = await asyncio.gather(*(client.aenqueue(tenant_id=tenant, **CHAT) for _ in range(5)))
        assert len(set(ids)) == 5
        batch = await client.aenqueue_many([{**CHAT, "tenant_id": tenant}, {}])
        assert [one.index for one in batch.refused] == [1]
        results = await asyncio.gather(*(client.aresult(one, tenant_id=tenant) for one in ids))
        assert {one.state for one in results} == {State.QUEUED}
        with pytest.raises(NotFoundError):
            await client.aresult(NOBODY, tenant_id=tenant)
        with pytest.raises(UnknownFeatureError):
            await client.aenqueue(tenant_id=tenant, **{**CHAT, "feature": "nope"})

    asyncio.run(all_of_them())
    assert count(ops) == 6


def test_the_module_level_functions_share_one_client_made_from_the_environment(
    urls: Urls, wiped_wire: Wire, ops: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    import producers

    module = importlib.import_module("producers.enqueue")
    monkeypatch.setattr(module._default, "_client", None)
    monkeypatch.setenv("HEADRACE_DATABASE_URL", urls.app)
    monkeypatch.setenv("HEADRACE_REDIS_URL", urls.redis)
    monkeypatch.delenv("HEADRACE_BROKER_URL", raising=False)
    try:
        with ThreadPoolExecutor(8) as threads:
            made = list(threads.map(lambda _: module.default_client(), range(8)))
        assert len({id(one) for one in made}) == 1
        job_id = producers.enqueue(
            tenant_id=tenant, user_id="u", feature="chat", messages=(dict(one) for one in MESSAGES), metadata={"a": 1}
        )
        assert producers.result(job_id, tenant_id=tenant, timeout=0.01).state is State.QUEUED
        batch = producers.enqueue_many([{**CHAT, "tenant_id": tenant}])

        async def all_of_them() -> None:
            mine = await producers.aenqueue(tenant_id=tenant, **CHAT)
            assert (await producers.aresult(mine, tenant_id=tenant)).state is State.QUEUED
            assert not (await producers.aenqueue_many([{**CHAT, "tenant_id": tenant}])).refused

        asyncio.run(all_of_them())
        assert not batch.refused
        assert count(ops) == 4
        with psycopg.connect(urls.producer) as connection:
            producers.enqueue(tenant_id=tenant, conn=connection, **CHAT)
            connection.rollback()
        assert count(ops) == 4
    finally:
        if module._default._client is not None:
            module._default._client.close()


def test_many_threads_may_share_a_client(client: Client, ops: Database, tenant: UUID) -> None:
    start = threading.Barrier(16)

    def some(n: int) -> list[UUID]:
        start.wait()
        return [client.enqueue(tenant_id=tenant, **{**CHAT, "user_id": f"u-{n}"}) for _ in range(5)]

    with ThreadPoolExecutor(16) as threads:
        ids = [one for many in threads.map(some, range(16)) for one in many]
    assert len(set(ids)) == 80 == count(ops)
