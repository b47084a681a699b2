"""What SQL allows and Python or the calendar does not is refused at the door, and no refusal quotes its caller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from errors import InvalidInputError, InvalidSchemaError
from producers import Client
from producers.client import CHUNK_BYTES
from producers.requests import check, size_of
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs import jobs
from tests.conftest import new_tenant
from tests.support.fleet import Urls
from tests.support.made_ids import made_at
from tests.support.requests import BAD, CHAT, JSON_FIELDS, MESSAGES, PROMPT, count, enqueue_by_sql
from tests.support.transactions import enqueue_jobs, request

NAME = "Erika Mustermann"  # a patient's


@pytest.fixture
def producer(urls: Urls) -> Iterator[psycopg.Connection[Any]]:
    """A connection as ``headrace_producer``, in transactions of its own."""
    with psycopg.connect(urls.producer, autocommit=True) as connection:
        yield connection


def raw(connection: psycopg.Connection[Any], tenant: UUID, field: str, value: str, kind: str = "jsonb") -> None:
    """Enqueue with a value that only SQL can write."""
    connection.execute(
        f"select headrace.enqueue(%s, 'u', 'chat', messages => %s, {field} => %s::{kind})",
        [tenant, Jsonb(MESSAGES), value],
    )


def refused(error: psycopg.Error) -> dict[str, Any]:
    assert error.sqlstate == jobs.REFUSED_SQLSTATE, error
    facts: dict[str, Any] = json.loads(error.diag.message_detail or "{}")
    return facts


# ------------------------------------------------------------------------------------------ numbers, times and sizes


@pytest.mark.parametrize(
    "number", ["1e5000", "-1e5000", "9" * 4301, "1e309", "1" + "0" * 400 + ".5"], ids=lambda number: number[:8]
)
@pytest.mark.parametrize("field", ["metadata", "context", "output_schema"])
def test_numbers_that_python_cannot_read_are_refused(
    producer: psycopg.Connection[Any], tenant: UUID, field: str, number: str
) -> None:
    for value in (f'{{"n": {number}}}', f'{{"a": [1, {{"b": [{number}]}}]}}'):
        with pytest.raises(psycopg.Error) as error:
            raw(producer, tenant, field, value)
        assert refused(error.value)["field"] == field


def test_numbers_and_digits_that_python_can_read_go_in(
    producer: psycopg.Connection[Any], client: Client, tenant: UUID
) -> None:
    for value in ('{"n": 1.7e308}', '{"n": -1.7e308}', '{"n": 1e-5000}', f'{{"n": "{"9" * 5000}"}}'):
        for field in ("metadata", "context"):
            raw(producer, tenant, field, value)
    with pytest.raises(InvalidInputError):
        client.enqueue(tenant_id=tenant, **CHAT, metadata={"n": 10**400})
    with pytest.raises(InvalidSchemaError):
        client.enqueue(tenant_id=tenant, **CHAT, output_schema={"const": 10**400})


@pytest.mark.parametrize("field", ["run_at", "deadline"])
def test_times_that_python_cannot_hold_are_refused_at_both_doors(
    producer: psycopg.Connection[Any], client: Client, ops: Database, tenant: UUID, field: str
) -> None:
    for value in ("infinity", "-infinity", "10000-01-01", "294276-01-01", "9999-12-31 23:30-05", "0044-03-15 BC"):
        with pytest.raises(psycopg.Error) as error:
            raw(producer, tenant, field, value, "timestamptz")
        assert refused(error.value)["field"] == field
    for time in (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)):
        with pytest.raises(InvalidInputError) as told:
            client.enqueue(tenant_id=tenant, **CHAT, **{field: time})
        assert told.value.field == field
    assert count(ops) == 0
    raw(producer, tenant, field, "9999-12-30", "timestamptz")
    client.enqueue(tenant_id=tenant, **CHAT, **{field: datetime(9999, 12, 30, tzinfo=UTC)})


def test_every_text_and_json_field_has_a_bound(producer: psycopg.Connection[Any], tenant: UUID) -> None:
    for field in ("user_id", "feature", "lane", "prompt", "idempotency_key"):
        for length in (20_000, 20_000_000):
            fields = {**(PROMPT if field == "prompt" else CHAT), field: "x" * length}
            with pytest.raises(Exception, match=field if length < 10**6 else "request"):
                enqueue_by_sql(producer, tenant_id=tenant, **fields)
    for field in ("messages", "context", "output_schema", "metadata", "variables"):
        fields = PROMPT if field == "variables" else {name: one for name, one in CHAT.items() if name != field}
        for length in (500_000, 20_000_000):
            value: Any = {"x": "y" * length}
            value = [{"role": "user", "content": "y" * length}] if field == "messages" else value
            with pytest.raises(Exception, match="over the cap"):
                enqueue_by_sql(producer, tenant_id=tenant, **{**fields, field: value})


# ------------------------------------------------------------------------------------------------- ids of one tenant


def test_ids_of_the_future_and_ids_that_are_not_uuid7_are_refused(
    app: Database, producer: psycopg.Connection[Any], ops: Database, tenant: UUID
) -> None:
    now = datetime.now(UTC)
    for bad in (made_at(now + timedelta(minutes=11)), made_at(now + timedelta(days=40)), uuid4(), UUID(int=0)):
        with pytest.raises(InvalidInputError, match="UUIDv7") as error:
            enqueue_by_sql(producer, tenant_id=tenant, id=bad, **CHAT)
        assert error.value.field == "id"
        with app.connection() as connection:
            (one,) = enqueue_jobs(connection, tenant, request(id=str(bad)))
        assert one.error is not None
        assert one.error["field"] == "id"
    assert count(ops) == 0
    for good in (made_at(now + timedelta(minutes=9)), made_at(now - timedelta(days=4000))):
        assert enqueue_by_sql(producer, tenant_id=tenant, id=good, **CHAT) == good


def test_one_id_belongs_to_one_tenant(
    app: Database, producer: psycopg.Connection[Any], ops: Database, tenant: UUID
) -> None:
    mine, theirs, fresh = new_id(), new_tenant(ops, "Other"), new_id()
    enqueue_by_sql(producer, tenant_id=tenant, id=mine, **CHAT)
    with pytest.raises(InvalidInputError) as taken:
        enqueue_by_sql(producer, tenant_id=theirs, id=mine, idempotency_key="k", **CHAT)
    with pytest.raises(InvalidInputError) as future:
        enqueue_by_sql(producer, tenant_id=theirs, id=made_at(datetime(2099, 1, 1, tzinfo=UTC)), **CHAT)
    assert taken.value.as_dict() == future.value.as_dict()  # it does not tell that the id is taken
    with app.connection() as connection:
        with pytest.raises(psycopg.Error) as error:
            enqueue_jobs(connection, theirs, request(id=str(fresh)), request(id=str(mine)))
        assert refused(error.value)["field"] == "id"
    insert = (
        "insert into headrace.jobs (id, tenant_id, user_id, feature, lane, prompt, estimated_tokens)"
        " values (%s, %s, 'u', 'chat', 'batch', 'p', 1)"
    )
    with ops.connection() as connection, pytest.raises(psycopg.errors.UniqueViolation):  # past the function
        connection.execute(insert, [mine, theirs])
    assert (count(ops), count(ops, "queue"), count(ops, "idempotency")) == (1, 1, 0)
    assert enqueue_by_sql(producer, tenant_id=tenant, id=mine, **CHAT) == mine  # its own tenant may repeat


def test_two_tenants_at_once_cannot_share_an_id(urls: Urls, ops: Database, tenant: UUID) -> None:
    shared, other = new_id(), new_tenant(ops, "Other")
    with psycopg.connect(urls.producer) as first, psycopg.connect(urls.producer) as second:
        enqueue_by_sql(first, tenant_id=tenant, id=shared, **CHAT)
        second.execute("set lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):  # it waits for the first one's end
            enqueue_by_sql(second, tenant_id=other, id=shared, **CHAT)
        first.commit()
        second.rollback()
        with pytest.raises(InvalidInputError):
            enqueue_by_sql(second, tenant_id=other, id=shared, **CHAT)


# ------------------------------------------------------------------------------------------------- nothing is quoted


def test_no_refusal_quotes_what_was_asked(
    producer: psycopg.Connection[Any], app: Database, tenant: UUID, subtests: pytest.Subtests
) -> None:
    """Message, detail, hint and context of an error are what Postgres writes into its log."""
    named = [
        {**CHAT, "user_id": NAME * 20},
        {**CHAT, "feature": NAME},
        {**CHAT, "lane": NAME},
        {**PROMPT, "prompt": NAME},
        {**PROMPT, "variables": {"message": "a", NAME: "b"}},
        {**PROMPT, "variables": {"message": {NAME: 1}}},
        {**PROMPT, "variables": {"message": NAME * 5000}},
        {**CHAT, "variables": {NAME: NAME}},
        {**CHAT, "messages": [{"role": NAME, "content": "Hi"}]},
        {**CHAT, "messages": [{"role": "user", "content": "Hi", NAME: NAME}]},
        {**CHAT, "messages": {NAME: NAME}},
        {**CHAT, "output_schema": NAME},
        {**CHAT, "metadata": [NAME]},
        {**CHAT, "metadata": {NAME: "x" * 17_000}},
        {**CHAT, "idempotency_key": NAME * 20},
        {**CHAT, "on_over_budget": NAME},
        {**CHAT, "on_unknown": NAME},
        {**CHAT, "force_tier": NAME},
    ]
    for fields in named + [fields for fields, *_ in BAD]:
        given = {name: Jsonb(value) if name in JSON_FIELDS else value for name, value in fields.items()}
        call = ", ".join(f"{name} => %({name})s" for name in given)
        with subtests.test(fields=str(fields)[:60]):
            with pytest.raises(psycopg.Error) as error:
                producer.execute(
                    f"select headrace.enqueue(tenant_id => %(tenant_id)s, {call})", {"tenant_id": tenant, **given}
                )
            told = error.value.diag
            logged = (told.message_primary, told.message_detail, told.message_hint, told.context, told.internal_query)
            assert NAME not in str(logged)
            assert refused(error.value)["field"]
    producer.execute(
        "select headrace.enqueue(%s, 'u', 'chat', messages => %s, idempotency_key => %s)",
        [tenant, Jsonb(MESSAGES), NAME],
    )
    with pytest.raises(psycopg.Error) as conflict:
        producer.execute(
            "select headrace.enqueue(%s, 'v', 'chat', messages => %s, idempotency_key => %s)",
            [tenant, Jsonb(MESSAGES), NAME],
        )
    assert NAME not in str(conflict.value)
    assert refused(conflict.value)["length"] == len(NAME)

    with app.connection() as connection:  # what cannot be decoded at all
        for field in ("id", "max_output_tokens", "estimated_tokens", "run_at", "deadline"):
            with pytest.raises(psycopg.Error) as undecoded:
                enqueue_jobs(connection, tenant, request(**{field: NAME}))
            told = undecoded.value.diag
            assert NAME not in str((told.message_primary, told.message_detail, told.context))
            assert refused(undecoded.value)["code"] == "invalid_input"
            with pytest.raises(psycopg.Error) as unquoted, app.as_tenant(tenant) as bound:
                bound.execute("select * from headrace.quote_requests(%s, %s)", [tenant, Jsonb([{field: NAME}])])
            assert NAME not in str(unquoted.value)


# --------------------------------------------------------------------------------------------------- chunks of bytes


def test_enqueue_many_cuts_its_chunks_by_bytes(client: Client, ops: Database, tenant: UUID) -> None:
    chunks: list[int] = []
    content = [{"role": "user", "content": "x" * 390_000}]
    long = {**CHAT, "feature": "legal_summary", "tenant_id": tenant, "messages": content}
    batch = client.enqueue_many((long for _ in range(25)), progress=chunks.append)
    assert not batch.refused
    assert count(ops) == 25
    assert chunks == [11, 11, 3]
    short = {**CHAT, "tenant_id": tenant}
    chunks.clear()
    client.enqueue_many((short for _ in range(1200)), progress=chunks.append)
    assert chunks == [1000, 200]


def test_what_a_chunk_is_taken_to_have_is_not_less_than_it_has() -> None:
    for fields in (
        CHAT,
        PROMPT,
        {**CHAT, "messages": [{"role": "user", "content": "é" * 1000}] * 3, "metadata": {"a": ["ü"] * 100}},
        {**CHAT, "messages": [{"role": "user", "content": "\n\t" * 1000}], "context": {"deep": [[1, 2], "x" * 999]}},
    ):
        checked = check({"tenant_id": new_id(), **fields})
        assert size_of(checked) >= 0.5 * len(json.dumps(checked.model_dump(mode="json", exclude_none=True)))
    assert CHUNK_BYTES * 50 < 256_000_000
