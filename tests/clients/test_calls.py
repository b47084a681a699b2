"""The light client: jobs in and results out over three SQL functions, sync and async, alike."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import headrace_client
import psycopg
import pytest
import sqlalchemy
import sqlalchemy.orm
from headrace_client import AsyncClient, Batch, Client, Result, State, steps
from headrace_client.client import run
from headrace_client.errors import (
    ConfigurationError,
    HeadraceError,
    IdempotencyConflict,
    InvalidInputError,
    InvalidSchemaError,
    NotEndedError,
    NotFoundError,
    PostgresUnavailableError,
    StatementRefusedError,
    TooLongError,
    UnknownFeatureError,
    UnknownTenantError,
)
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb
from pydantic import BaseModel, TypeAdapter

from errors import HeadraceError as WholeError
from producers import Client as WholeClient
from storage.catalogue import producers
from storage.db.database import Database
from tests.clients.conftest import answer_next
from tests.conftest import new_tenant
from tests.support.fleet import Urls
from tests.support.foreign_service import open_shop, orders_and_keys
from tests.support.requests import BAD, CHAT, PROMPT, count

Call = Callable[..., Any]


class Door:
    """One of the two clients, called in the same way: ``door.enqueue(…)`` returns what it returns."""

    def __init__(self, kind: str, url: str) -> None:
        self.is_async = kind == "async"
        self._loop = asyncio.Runner() if self.is_async else None
        self._client: Any = AsyncClient(url) if self.is_async else Client(url)

    def __getattr__(self, name: str) -> Call:
        method = getattr(self._client, name)
        if self._loop is None:
            return method  # type: ignore[no-any-return]
        runner = self._loop
        return lambda *arguments, **named: runner.run(method(*arguments, **named))

    def shut(self) -> None:
        self.close()
        if self._loop is not None:
            self._loop.close()


@pytest.fixture(params=["sync", "async"])
def door(request: pytest.FixtureRequest, urls: Urls) -> Iterator[Door]:
    """The client, as ``headrace_producer``."""
    door = Door(request.param, urls.producer)
    yield door
    door.shut()


@pytest.fixture
def light(urls: Urls) -> Iterator[Client]:
    with Client(urls.producer) as client:
        yield client


# ------------------------------------------------------------------------------------------------------- in and out


def test_a_job_goes_in_and_its_result_comes_out(
    door: Door, client: WholeClient, app: Database, ops: Database, tenant: UUID
) -> None:
    job_id = door.enqueue(
        tenant_id=str(tenant), run_at=datetime(2026, 1, 1, tzinfo=UTC), deadline="2090-01-01T00:00:00+02:00",
        metadata={"order": 5}, idempotency_key="order-5", **CHAT,
    )  # fmt: skip
    assert door.result(job_id, tenant_id=tenant).state is State.QUEUED
    with ops.connection() as connection:
        row = connection.execute("select metadata, deadline from headrace.jobs where id = %s", [job_id]).fetchone()
    assert row == {"metadata": {"order": 5}, "deadline": datetime(2089, 12, 31, 22, tzinfo=UTC)}
    assert answer_next(app, tenant, output_json={"thanks": [1, "ü"]}, simulated=True) == job_id
    found, whole = door.result(str(job_id), tenant_id=tenant, timeout=5), client.result(job_id, tenant_id=tenant)
    assert {name: getattr(found, name) for name in Result.__slots__} == {
        name: getattr(whole, name) for name in Result.__slots__
    }
    assert (found.output, found.output_json, found.finish) == ("Hi", {"thanks": [1, "ü"]}, "complete")
    assert found.simulated
    assert found.cost_usd > Decimal(0)
    assert count(ops, "wakes") == 1, "a scheduler is told"


def test_a_job_that_must_end_and_does_not_is_an_error(door: Door, tenant: UUID) -> None:
    job_id = door.enqueue(tenant_id=tenant, **CHAT)
    for timeout in (None, 0.05):
        with pytest.raises(NotEndedError) as raised:
            door.result(job_id, tenant_id=tenant, timeout=timeout, must_end=True)
        assert (raised.value.code, raised.value.details["state"]) == ("not_ended", State.QUEUED)
        assert f"`headrace jobs why {job_id}`" in str(raised.value)


def test_a_tenant_by_its_name_is_told_where_the_ids_are(door: Door, client: WholeClient, tenant: UUID) -> None:
    told = []
    doors: list[Any] = [door, client]
    for one in doors:
        asked: list[tuple[Call, tuple[Any, ...], dict[str, Any]]] = [
            (one.enqueue, (), {"tenant_id": "Acme", **CHAT}),
            (one.result, (tenant,), {"tenant_id": "Acme"}),
            (one.result, ("4711",), {"tenant_id": tenant}),
        ]
        for call, given, named in asked:
            with pytest.raises((HeadraceError, WholeError)) as raised:
                call(*given, **named)
            told.append(str(raised.value))
    of_the_tenant = (
        "tenant_id: must be a UUID (got 'Acme'). "
        "Only options and arguments of the command line take a tenant's name: `headrace tenants list` shows the ids."
    )
    assert told == [of_the_tenant, of_the_tenant, "job_id: must be a UUID (got '4711')"] * 2


class Thanks(BaseModel):
    """What an answer holds."""

    words: list[str]


class Unschemable(BaseModel):
    """What no JSON schema can describe."""

    call: Callable[[int], int]


def test_a_pydantic_class_is_taken_as_the_schema_that_it_means(
    door: Door, client: WholeClient, ops: Database, tenant: UUID
) -> None:
    for schema, meant in (
        (Thanks, Thanks.model_json_schema()),
        (TypeAdapter(dict[str, int]), {"type": "object", "additionalProperties": {"type": "integer"}}),
        ({"type": "object"}, {"type": "object"}),
    ):
        for one in (door, client):
            job_id = one.enqueue(tenant_id=tenant, output_schema=schema, **CHAT)
            with ops.connection() as connection:
                row = connection.execute("select output_schema from headrace.jobs where id = %s", [job_id]).fetchone()
            assert row == {"output_schema": meant}
    for schema in (Unschemable, int, 5, "text", [1]):
        for one in (door, client):
            with pytest.raises((HeadraceError, WholeError)) as refused:
                one.enqueue(tenant_id=tenant, output_schema=schema, **CHAT)
            told: Any = refused.value
            assert (told.code, told.field) == ("invalid_schema", "output_schema")
            assert "pydantic" not in str(told).lower()


def test_an_error_of_the_job_is_read(door: Door, app: Database, ops: Database, tenant: UUID) -> None:
    job_id = door.enqueue(tenant_id=tenant, **CHAT)
    with ops.connection() as connection:
        connection.execute("select headrace.cancel(%s, %s, 'x')", [tenant, job_id])
    found = door.result(job_id, tenant_id=tenant, timeout=1)
    assert (found.state, found.state.ended, found.output) == (State.CANCELLED, True, None)


def test_what_python_cannot_hold_is_named_and_the_rest_is_read(
    door: Door, app: Database, ops: Database, tenant: UUID
) -> None:
    job_id = door.enqueue(tenant_id=tenant, **CHAT)
    with ops.connection() as connection:
        connection.execute(
            "insert into headrace.results (job_id, tenant_id, run_id, output, output_json, finish, max_output_tokens)"
            " values (%s, %s, uuidv7(), 'x', ('[' || repeat('9', 5000) || ']')::jsonb, 'complete', 16)",
            [job_id, tenant],
        )
    found = door.result(job_id, tenant_id=tenant)
    assert (found.output, found.output_json, list(found.unreadable)) == ("x", None, ["output_json"])


def test_a_result_is_read_in_a_transaction_that_may_not_write(urls: Urls, light: Client, tenant: UUID) -> None:
    job_id = light.enqueue(tenant_id=tenant, **CHAT)
    with psycopg.connect(urls.producer) as connection:
        connection.read_only = True
        assert headrace_client.result(job_id, tenant_id=tenant, conn=connection).state is State.QUEUED


# ------------------------------------------------------------------------------------------------------- refusals


def test_bad_input_is_refused_with_the_codes_of_the_whole_client(
    door: Door, ops: Database, tenant: UUID, subtests: pytest.Subtests
) -> None:
    for fields, kind, field, value in BAD:
        with subtests.test(field=field, value=str(value)[:30]):
            with pytest.raises(HeadraceError) as refused:
                door.enqueue(tenant_id=tenant, **fields)
            assert (refused.value.code, type(refused.value).__name__) == (kind.code, kind.__name__)
            assert refused.value.field == field
    assert (count(ops), count(ops, "wakes")) == (0, 0)


NOT_SENT: list[tuple[dict[str, Any], type[HeadraceError], str]] = [
    ({**CHAT, "tenant_id": "Acme"}, InvalidInputError, "tenant_id"),
    ({**CHAT, "tenant_id": None}, InvalidInputError, "tenant_id"),
    ({**CHAT, "colour": "red"}, InvalidInputError, "colour"),
    ({**CHAT, "user_id": None}, InvalidInputError, "user_id"),
    ({**CHAT, "user_id": b"u"}, InvalidInputError, "user_id"),
    ({**CHAT, "run_at": "2026-01-01T00:00:00"}, InvalidInputError, "run_at"),
    ({**CHAT, "run_at": "tomorrow"}, InvalidInputError, "run_at"),
    ({**CHAT, "deadline": 5}, InvalidInputError, "deadline"),
    ({**CHAT, "max_output_tokens": "100"}, InvalidInputError, "max_output_tokens"),
    ({**CHAT, "max_output_tokens": True}, InvalidInputError, "max_output_tokens"),
    ({**CHAT, "max_output_tokens": 2**40}, InvalidInputError, "max_output_tokens"),
    ({**CHAT, "context": float("nan")}, InvalidInputError, "context"),
    ({**CHAT, "context": {5: 6}}, InvalidInputError, "context"),
    ({**CHAT, "context": {1, 2}}, InvalidInputError, "context"),
    ({**CHAT, "output_schema": {"const": 10**5000}}, InvalidSchemaError, "output_schema"),
    ({**CHAT, "metadata": {"a": "x" * 5_000_000}}, TooLongError, "metadata"),
]


def test_what_is_not_even_sent_names_its_field(light: Client, tenant: UUID, subtests: pytest.Subtests) -> None:
    endless: list[Any] = []
    endless.append(endless)
    for fields, kind, field in [*NOT_SENT, ({**CHAT, "context": endless}, InvalidInputError, "context")]:
        with subtests.test(field=field, kind=kind.__name__):
            with pytest.raises(kind) as refused:
                light.enqueue(**{"tenant_id": tenant, **fields})
            assert refused.value.field == field
            assert len(str(refused.value)) < 400


def test_text_that_postgres_cannot_keep_loses_what_it_cannot_keep(
    door: Door, client: WholeClient, ops: Database, tenant: UUID
) -> None:
    odd = "a\x00b\ud800c\U0001f600"
    messages = [{"role": "user", "content": odd}]
    given = {"user_id": "u", "feature": "chat", "metadata": {odd: odd}, "messages": messages, "context": {odd: odd}}
    ids = [door.enqueue(tenant_id=tenant, **given), client.enqueue(tenant_id=tenant, **given)]  # type: ignore[arg-type]
    with ops.connection() as connection:
        rows = connection.execute(
            "select messages, context, metadata from headrace.jobs where id = any (%s)",
            [ids],
        ).fetchall()
    assert rows[0] == rows[1]
    assert rows[0]["metadata"] == {"ab?c\U0001f600": "ab?c\U0001f600"}


def test_of_many_the_repeated_ones_are_named(door: Door, tenant: UUID) -> None:
    first = door.enqueue(tenant_id=tenant, idempotency_key="k", **CHAT)
    batch = door.enqueue_many([{"tenant_id": tenant, **CHAT}, {"tenant_id": tenant, "idempotency_key": "k", **CHAT}])
    assert (batch.job_ids[1], set(batch.repeated), batch.refused) == (first, {1}, [])


def test_a_key_used_for_another_request_is_a_conflict(door: Door, tenant: UUID) -> None:
    first = door.enqueue(tenant_id=tenant, idempotency_key="k", **CHAT)
    assert door.enqueue(tenant_id=tenant, idempotency_key="k", **CHAT) == first
    with pytest.raises(IdempotencyConflict) as refused:
        door.enqueue(tenant_id=tenant, idempotency_key="k", **PROMPT)
    assert (refused.value.field, refused.value.details) == ("idempotency_key", {"job_id": str(first)})


def test_another_tenants_job_answers_as_one_that_there_is_not(
    door: Door, urls: Urls, ops: Database, tenant: UUID
) -> None:
    other = new_tenant(ops, "Other")
    job_id = door.enqueue(tenant_id=tenant, **CHAT)
    told = set()
    for job, whose in ((job_id, other), (uuid4(), tenant), (job_id, uuid4())):
        with pytest.raises(NotFoundError) as refused:
            door.result(job, tenant_id=whose, timeout=1)
        told.add(str(refused.value).replace(str(job), "<id>"))
    assert told == {"job_id: no such job of this tenant (got '<id>')"}
    with pytest.raises(UnknownTenantError):
        door.enqueue(tenant_id=uuid4(), **CHAT)


def test_a_bound_login_reads_and_enqueues_for_its_tenants_alone(urls: Urls, ops: Database, tenant: UUID) -> None:
    other = new_tenant(ops, "Other")
    name = f"service_{uuid4().hex[:8]}"
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute(sql.SQL("create role {} login in role headrace_producer").format(sql.Identifier(name)))
        try:
            with Client(make_conninfo(urls.owner, user=name)) as bound:
                theirs = bound.enqueue(tenant_id=other, **CHAT)
                with ops.connection() as connection:
                    assert producers.bind(connection, name, tenant, actor="x")
                mine = bound.enqueue(tenant_id=tenant, **CHAT)
                assert bound.result(mine, tenant_id=tenant).state is State.QUEUED
                with pytest.raises(NotFoundError):
                    bound.result(theirs, tenant_id=other)
                batch = bound.enqueue_many(
                    [{"tenant_id": other, **CHAT}, {"tenant_id": tenant, **CHAT}, {"tenant_id": uuid4(), **CHAT}]  # type: ignore[list-item]
                )
                assert [one is not None for one in batch.job_ids] == [False, True, False]
                assert {type(one.error) for one in batch.refused} == {UnknownTenantError}
                with psycopg.connect(make_conninfo(urls.owner, user=name)) as connection:
                    connection.execute("set role headrace_producer")
                    assert connection.execute(
                        "select count(*) from headrace.result(%s, %s)", [other, theirs]
                    ).fetchone() == (0,)
        finally:
            owner.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_a_login_without_the_role_is_told_what_it_lacks(urls: Urls, tenant: UUID) -> None:
    name = f"stranger_{uuid4().hex[:8]}"
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
        try:
            with (
                Client(make_conninfo(urls.owner, user=name)) as stranger,
                pytest.raises(StatementRefusedError, match="has to be a member of headrace_producer"),
            ):
                stranger.enqueue(tenant_id=tenant, **CHAT)
        finally:
            owner.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


# ------------------------------------------------------------------------------------------------------- many


def test_many_go_in_by_chunks_and_bad_ones_are_told_by_their_place(door: Door, ops: Database, tenant: UUID) -> None:
    other = new_tenant(ops, "Other")
    requests: list[Any] = [{"tenant_id": (tenant, other)[n % 7 == 0], **CHAT, "user_id": f"u-{n}"} for n in range(1300)]
    requests[3] = {**requests[3], "feature": "nope"}
    requests[5] = {**requests[5], "colour": "red"}
    requests[7] = "not a request"
    requests[9] = {**requests[9], "tenant_id": uuid4()}
    batch: Batch = door.enqueue_many(iter(requests))
    assert [(one.index, type(one.error), one.error.field) for one in batch.refused] == [
        (3, UnknownFeatureError, "feature"),
        (5, InvalidInputError, "colour"),
        (7, InvalidInputError, "request"),
        (9, UnknownTenantError, "tenant_id"),
    ]
    assert [index for index, one in enumerate(batch.job_ids) if one is None] == [3, 5, 7, 9]
    with ops.connection() as connection:
        rows = connection.execute("select id, tenant_id, user_id from headrace.jobs").fetchall()
    kept = {row["id"]: (row["tenant_id"], row["user_id"]) for row in rows}
    assert kept == {
        one: (requests[index]["tenant_id"], f"u-{index}") for index, one in enumerate(batch.job_ids) if one is not None
    }


def test_chunks_are_cut_by_count_and_by_bytes() -> None:
    tenant = uuid4()
    requests: list[Any] = [{"tenant_id": tenant, **CHAT, "context": "x" * size} for size in (3_000_000, 2_000_000, 5)]
    requests += [{"tenant_id": tenant, **CHAT}] * 2500
    work = steps.enqueue_many(requests)
    sizes: list[int] = []

    def execute(statement: steps.Statement) -> steps.Rows:
        sizes.append(statement.values[1].count('"user_id"'))
        return [(place, str(uuid4()), None) for place in range(sizes[-1])]

    done = run(work, execute)
    assert sizes == [1, 1000, 1000, 502]
    assert len(done.job_ids) == 2503


def test_the_function_bounds_what_it_is_given(urls: Urls, tenant: UUID) -> None:
    with psycopg.connect(urls.producer, autocommit=True) as connection:
        for given in ("null", "{}", "[1]", '["a"]', "[[]]", "[" + ",".join(["{}"] * 1001) + "]"):
            with pytest.raises(psycopg.Error) as refused:
                connection.execute("select headrace.enqueue_many(%s, %s::jsonb)", [tenant, given])
            assert refused.value.sqlstate == "HR400", given
        odd = [CHAT, {**CHAT, "tenant_id": str(tenant)}]
        with pytest.raises(psycopg.Error, match=r"requests\[1\]: takes nothing but the arguments"):
            connection.execute("select headrace.enqueue_many(%s, %s)", [tenant, Jsonb(odd)])
        with pytest.raises(psycopg.Error) as refused:
            connection.execute("select headrace.enqueue_many(%s, null)", [tenant])
        assert refused.value.sqlstate == "HR400"
        assert connection.execute("select headrace.enqueue_many(%s, '[]')", [tenant]).fetchall() == []
        assert connection.execute("select current_setting('app.tenant_id', true)").fetchone() in [("",), (None,)]


# ------------------------------------------------------------------------------------- the caller's own transaction


@asynccontextmanager
async def async_shop(urls: Urls) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(urls.producer) as connection:
        yield connection


def test_a_job_and_an_order_share_their_fate(urls: Urls, ops: Database, tenant: UUID) -> None:
    open_shop(urls)
    job: Any = {"tenant_id": tenant, **CHAT}
    with psycopg.connect(urls.producer) as connection:
        for number, ending in ((1, connection.rollback), (2, connection.commit)):
            connection.execute("insert into shop.orders (number) values (%s)", [number])
            headrace_client.enqueue(conn=connection, idempotency_key=f"order-{number}", **job)
            batch = headrace_client.enqueue_many([{**job, "idempotency_key": f"more-{number}"}], conn=connection)
            assert batch.refused == []
            ending()

    async def of_asyncio() -> None:
        async with async_shop(urls) as connection:
            for number, ending in ((3, connection.rollback), (4, connection.commit)):
                await connection.execute("insert into shop.orders (number) values (%s)", [number])
                key = f"order-{number}"
                job_id = await headrace_client.aenqueue(conn=connection, idempotency_key=key, **job)
                found = await headrace_client.aresult(job_id, tenant_id=tenant, conn=connection)
                assert found.state is State.QUEUED
                await ending()

    asyncio.run(of_asyncio())
    assert orders_and_keys(urls, ops) == ([2, 4], ["more-2", "order-2", "order-4"])


def test_a_refusal_leaves_the_transaction_as_it_was(urls: Urls, ops: Database, tenant: UUID) -> None:
    open_shop(urls)
    with psycopg.connect(urls.producer) as connection:
        connection.execute("insert into shop.orders (number) values (1)")
        with pytest.raises(UnknownFeatureError):
            headrace_client.enqueue(conn=connection, tenant_id=tenant, **{**CHAT, "feature": "nope"})
        connection.execute("insert into shop.orders (number) values (2)")
    assert orders_and_keys(urls, ops) == ([1, 2], [])


def test_what_postgres_says_of_the_callers_transaction_comes_as_it_is(urls: Urls, tenant: UUID) -> None:
    with psycopg.connect(urls.producer) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("select 1 / 0")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            headrace_client.enqueue(conn=connection, tenant_id=tenant, **CHAT)


def test_no_setting_of_the_caller_is_touched(urls: Urls, tenant: UUID) -> None:
    """A row factory, JSON loaders, a search path and a DateStyle of the caller's change nothing, and stay."""
    with psycopg.connect(urls.producer, row_factory=psycopg.rows.dict_row) as connection:
        connection.adapters.register_loader("jsonb", psycopg.types.string.TextLoader)
        connection.execute("create temporary table now (x int)")
        connection.execute(
            "set local search_path = pg_temp; set local datestyle = 'German'; set local timezone = 'Asia/Tokyo'"
        )
        job_id = headrace_client.enqueue(
            conn=connection, tenant_id=tenant, deadline=datetime(2090, 2, 1, tzinfo=UTC), **CHAT
        )
        assert headrace_client.result(job_id, tenant_id=tenant, conn=connection).job_id == job_id
        row = connection.execute(
            "select current_setting('datestyle') as d, current_setting('app.tenant_id', true) as t"
        )
        assert row.fetchone() in [{"d": "German, DMY", "t": ""}, {"d": "German, DMY", "t": None}]


def test_with_sqlalchemy(urls: Urls, ops: Database, tenant: UUID) -> None:
    url = sqlalchemy.engine.make_url("postgresql+psycopg://")
    engine = sqlalchemy.create_engine(url, creator=lambda: psycopg.connect(urls.producer))
    for key, ending in (("kept", "commit"), ("gone", "rollback")):
        with sqlalchemy.orm.Session(engine) as session:
            raw: Any = session.connection().connection.driver_connection
            headrace_client.enqueue(conn=raw, tenant_id=tenant, idempotency_key=key, **CHAT)
            getattr(session, ending)()
    engine.dispose()
    with ops.connection() as connection:
        rows = connection.execute("select idempotency_key as key from headrace.jobs").fetchall()
    assert rows == [{"key": "kept"}]
    with pytest.raises(InvalidInputError, match="driver_connection"):
        headrace_client.enqueue(conn=object(), tenant_id=tenant, **CHAT)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- waiting


def test_a_wait_looks_less_and_less_often() -> None:
    """400 looks of a job that does not end take over five minutes: the pauses grow to about a second."""
    work = steps.result(uuid4(), uuid4(), 3600.0)
    pauses, step = [], next(work)
    for _ in range(400):
        step = work.send([("running", None, None, None, None, None, 0, "0", False)])
        assert isinstance(step, steps.Pause)
        pauses.append(step.seconds)
        step = next(work)
        assert isinstance(step, steps.Statement)
    assert pauses[0] < 0.03
    assert max(pauses) <= 1.2
    assert sum(pauses) > 300


def test_a_wait_ends_with_the_job_and_holds_nothing_meanwhile(
    door: Door, app: Database, ops: Database, tenant: UUID
) -> None:
    job_id = door.enqueue(tenant_id=tenant, **CHAT)
    open_transactions = []

    def work() -> None:
        with ops.connection() as connection:
            row = connection.execute(
                "select count(*) filter (where state <> 'idle') as n from pg_stat_activity"
                " where datname = current_database() and usename = 'headrace_producer'"
            ).fetchone()
        open_transactions.append(row and row["n"])
        answer_next(app, tenant)

    worker = threading.Timer(0.5, work)
    worker.start()
    found = door.result(job_id, tenant_id=tenant, timeout=60)
    worker.join()
    assert (found.state, found.output) == (State.SUCCEEDED, "Hi")
    assert open_transactions == [0]
    late = door.enqueue(tenant_id=tenant, **CHAT)
    assert door.result(late, tenant_id=tenant, timeout=0.1).state is State.QUEUED, "the time is up"
    with pytest.raises(InvalidInputError, match="timeout"):
        door.result(late, tenant_id=tenant, timeout=-1)


def test_no_transaction_is_held_open_by_a_wait(urls: Urls, light: Client, tenant: UUID) -> None:
    job_id = light.enqueue(tenant_id=tenant, **CHAT)
    with psycopg.connect(urls.producer) as connection:
        with pytest.raises(InvalidInputError, match="inside a transaction"):
            light.result(job_id, tenant_id=tenant, timeout=5, conn=connection)
        connection.autocommit = True
        assert light.result(job_id, tenant_id=tenant, timeout=0.05, conn=connection).state is State.QUEUED
        with connection.transaction(), pytest.raises(InvalidInputError, match="inside a transaction"):
            light.result(job_id, tenant_id=tenant, timeout=5, conn=connection)


# --------------------------------------------------------------------------------------------- outages and addresses


def test_connections_that_the_server_closed_are_made_anew(door: Door, ops: Database, urls: Urls, tenant: UUID) -> None:
    door.enqueue(tenant_id=tenant, **CHAT)
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where datname = current_database() and application_name = 'headrace-client'"
        )
    assert door.result(door.enqueue(tenant_id=tenant, **CHAT), tenant_id=tenant).state is State.QUEUED
    assert count(ops) == 2


def test_a_postgres_that_is_not_there_is_named_and_the_password_is_not(tenant: UUID) -> None:
    url = "postgresql://shop:geheim@127.0.0.1:9/db"
    with Client(url, patience_s=0.2) as client, pytest.raises(PostgresUnavailableError) as refused:
        client.enqueue(tenant_id=tenant, **CHAT)
    assert "host=127.0.0.1 port=9" in str(refused.value)
    assert "geheim" not in f"{refused.value!r} {refused.value} {refused.value.as_dict()} {client!r}"

    async def of_asyncio() -> None:
        async with AsyncClient(url, patience_s=0.2) as client:
            await client.result(uuid4(), tenant_id=tenant)

    with pytest.raises(PostgresUnavailableError):
        asyncio.run(of_asyncio())


@pytest.mark.parametrize("url", ["postgresql://shop:ge@heim@127.0.0.1/db", "postgresql://shop:ge%heim@h/db", "geheim"])
def test_a_url_that_cannot_be_read_is_refused_without_a_piece_of_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Client(url)
    assert "heim" not in f"{refused.value!r} {refused.value}"
    assert (refused.value.__cause__, refused.value.__suppress_context__) == (None, True)


def test_without_a_url_the_variable_is_named(monkeypatch: pytest.MonkeyPatch, tenant: UUID) -> None:
    monkeypatch.delenv("HEADRACE_DATABASE_URL", raising=False)
    with pytest.raises(ConfigurationError, match="HEADRACE_DATABASE_URL"):
        AsyncClient()


# ------------------------------------------------------------------------------------------------ threads and asyncio


def test_threads_share_few_connections_and_get_their_own_answers(urls: Urls, ops: Database, tenant: UUID) -> None:
    failed: list[BaseException] = []
    with Client(urls.producer, connections=2) as client:

        def ask(me: int) -> None:
            try:
                for _ in range(5):
                    job_id = client.enqueue(tenant_id=tenant, **{**CHAT, "user_id": f"u-{me}"})
                    assert client.result(job_id, tenant_id=tenant).job_id == job_id
            except BaseException as error:  # noqa: BLE001 (told in the end)
                failed.append(error)

        threads = [threading.Thread(target=ask, args=[me]) for me in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with ops.connection() as connection:
            row = connection.execute(
                "select count(*) as n from pg_stat_activity"
                " where datname = current_database() and application_name = 'headrace-client'"
            ).fetchone()
    assert failed == []
    assert row is not None
    assert 1 <= row["n"] <= 2
    assert count(ops) == 60


def test_tasks_share_few_connections_and_one_that_is_cancelled_spoils_none(urls: Urls, tenant: UUID) -> None:
    async def work(client: AsyncClient) -> None:
        ids = await asyncio.gather(*(client.enqueue(tenant_id=tenant, **CHAT) for _ in range(30)))
        assert len(set(ids)) == 30
        waits = [asyncio.create_task(client.result(one, tenant_id=tenant, timeout=60)) for one in ids[:6]]
        for turns in range(6):  # in mid-call, in mid-pause, before the first step
            await asyncio.sleep(0.01 * turns)
            waits[turns].cancel()
        assert all(
            isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*waits, return_exceptions=True)
        )
        found = await asyncio.gather(*(client.result(one, tenant_id=tenant) for one in ids))
        assert [one.job_id for one in found] == ids

    client = AsyncClient(urls.producer, connections=3)
    for _ in range(2):  # two event loops, one after the other
        asyncio.run(work(client))
    asyncio.run(client.close())
