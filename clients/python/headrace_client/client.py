"""The client for threads: each call runs its steps on a kept connection, or on a connection of the caller's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Unpack
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from headrace_client import steps
from headrace_client.connections import Connections, Patience
from headrace_client.errors import InvalidInputError
from headrace_client.fields import Fields
from headrace_client.outcomes import Batch, JobId, Result
from headrace_client.server import may_pass, place, refused, statement_refused, unavailable, url_or_environment
from headrace_client.steps import Pause, Rows, Statement, Steps, T


class Client:
    """Enqueues jobs and reads results. For many threads and forked children. Close it when done.

    Connects at the first call. ``connections``: the most at once; a call waits for one. ``patience_s``: how long a call
    keeps trying while Postgres does not answer.
    """

    def __init__(self, url: str | None = None, *, connections: int = 4, patience_s: float = 10.0) -> None:
        """``url`` is that of a member of ``headrace_producer``; without it HEADRACE_DATABASE_URL is read."""
        self._url = url_or_environment(url)
        self._patience_s = patience_s
        self._connections = Connections(self._url, connections)

    def __repr__(self) -> str:
        return f"<Client {place(self._url)}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def enqueue(self, *, conn: psycopg.Connection[Any] | None = None, **fields: Unpack[Fields]) -> JobId:
        """Enqueue one job and return its id.

        With ``conn`` the job is inserted in the caller's own transaction: it exists if and only if that commits. Raises
        :class:`headrace_client.errors.InvalidInputError` (or its kind) naming the field, which leaves that transaction
        as it was; an error of Postgres on ``conn`` is raised unchanged.
        """
        work = steps.enqueue(fields)
        return run(work, self._until_answered) if conn is None else run_on(conn, work)

    def enqueue_many(self, requests: Iterable[Fields], *, conn: psycopg.Connection[Any] | None = None) -> Batch:
        """Enqueue many jobs; refused requests are reported, valid ones are enqueued.

        Atomic per tenant and chunk (1,000 jobs of 4 MB together); with ``conn``, all in the caller's own transaction.
        """
        work = steps.enqueue_many(requests)
        return run(work, self._until_answered) if conn is None else run_on(conn, work)

    def result(
        self,
        job_id: UUID | str,
        *,
        tenant_id: UUID | str,
        timeout: float | None = None,
        must_end: bool = False,
        conn: psycopg.Connection[Any] | None = None,
    ) -> Result:
        """The job's state and answer; with ``timeout`` (seconds) it waits that long for the job's end.

        Returns the current state when the time is up: look at ``state``. With ``must_end`` it raises
        :class:`headrace_client.errors.NotEndedError` instead. No transaction is open while it waits, so ``timeout``
        does not go with a ``conn`` that is inside one. Raises :class:`headrace_client.errors.NotFoundError` for an id
        that is not this tenant's.
        """
        work = steps.result(job_id, tenant_id, timeout, must_end=must_end)
        return run(work, self._until_answered) if conn is None else run_on(conn, work, waits=bool(timeout))

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def _until_answered(self, statement: Statement) -> Rows:
        patience = Patience(self._patience_s)
        while True:
            try:
                with self._connections.one(within_s=patience.left_s) as connection:
                    return _rows(connection, statement)
            except psycopg.Error as error:
                if (refusal := refused(error)) is not None:
                    raise refusal from None
                if not may_pass(error):
                    raise statement_refused(error) from None
                pause_s = patience.pause_s()
                if pause_s is None:
                    raise unavailable(self._url, error, waited_s=patience.waited_s) from None
            time.sleep(pause_s)


def run(work: Steps[T], execute: Callable[[Statement], Rows]) -> T:
    """Run the steps to their end."""
    try:
        step = next(work)
        while True:
            rows: Rows = []
            if isinstance(step, Pause):
                time.sleep(step.seconds)
            else:
                rows = execute(step)
            step = work.send(rows)
    except StopIteration as done:
        answer: T = done.value
        return answer


def run_on(conn: psycopg.Connection[Any], work: Steps[T], *, waits: bool = False) -> T:
    """The same in the caller's own transaction. An error of Postgres is raised unchanged."""
    if not isinstance(conn, psycopg.Connection):
        raise not_psycopg(conn, "psycopg.Connection")
    if waits:
        refuse_to_wait_inside(conn)
    return run(work, partial(_on_yours, conn))


def _on_yours(conn: psycopg.Connection[Any], statement: Statement) -> Rows:
    try:
        return _rows(conn, statement)
    except psycopg.Error as error:
        if (refusal := refused(error)) is not None:
            raise refusal from error
        raise


def _rows(connection: psycopg.Connection[Any], statement: Statement) -> Rows:
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(statement.text.encode(), statement.values).fetchall()


def refuse_to_wait_inside(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Refuse an open transaction while a job is waited for: it holds its locks, and may never see the end."""
    if not conn.autocommit or conn.info.transaction_status != TransactionStatus.IDLE:
        raise InvalidInputError(
            "does not go with a conn that is inside a transaction",
            field="timeout",
            hint="Read without conn, or at once.",
        )


def not_psycopg(conn: object, wanted: str) -> InvalidInputError:
    """The error for an object that only holds a connection."""
    return InvalidInputError(
        f"must be a {wanted}",
        field="conn",
        value=f"{type(conn).__module__}.{type(conn).__qualname__}",
        hint="Django has it as connection.connection inside atomic(), "
        "SQLAlchemy as session.connection().connection.driver_connection.",
    )
