"""Another service's transaction, in which it enqueues."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg import IsolationLevel
from psycopg.types.json import Jsonb

from tests.support.fleet import Urls

READ_COMMITTED = IsolationLevel.READ_COMMITTED
ENQUEUE = """select headrace.enqueue(tenant_id => %(tenant)s, user_id => %(user)s, feature => 'chat',
    messages => %(messages)s, idempotency_key => %(key)s, id => %(id)s)"""
Foreign = psycopg.Connection[tuple[Any, ...]]


@contextmanager
def foreign(urls: Urls, level: IsolationLevel = READ_COMMITTED) -> Iterator[Foreign]:
    """A connection of some other service."""
    # statements are not prepared: an old PgBouncer, when the tests run through one, would lose them
    with psycopg.connect(urls.producer, prepare_threshold=None) as connection:
        connection.isolation_level = level
        yield connection


def ask(
    connection: Foreign,
    tenant: UUID,
    text: str = "Where is my parcel?",
    *,
    user: str = "ada",
    key: str | None = None,
    job_id: UUID | None = None,
) -> UUID:
    """Enqueue one job in the connection's transaction."""
    messages = Jsonb([{"role": "user", "content": text}])
    arguments = {"tenant": tenant, "user": user, "messages": messages, "key": key, "id": job_id}
    row = connection.execute(ENQUEUE, arguments).fetchone()
    assert row is not None
    return UUID(str(row[0]))
