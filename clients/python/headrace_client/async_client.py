"""The same client for asyncio: the same steps, and nothing that blocks the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Unpack
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from headrace_client import steps
from headrace_client.client import not_psycopg, refuse_to_wait_inside
from headrace_client.connections import AsyncConnections, Patience
from headrace_client.fields import Fields
from headrace_client.outcomes import Batch, JobId, Result
from headrace_client.server import may_pass, place, refused, statement_refused, unavailable, url_or_environment
from headrace_client.steps import Pause, Rows, Statement, Steps, T


class AsyncClient:
    """:class:`headrace_client.Client` for asyncio. ``connections``: the most at once in an event loop."""

    def __init__(self, url: str | None = None, *, connections: int = 4, patience_s: float = 10.0) -> None:
        """``url`` is that of a member of ``headrace_producer``; without it HEADRACE_DATABASE_URL is read."""
        self._url = url_or_environment(url)
        self._patience_s = patience_s
        self._connections = AsyncConnections(self._url, connections)

    def __repr__(self) -> str:
        return f"<AsyncClient {place(self._url)}>"

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def enqueue(self, *, conn: psycopg.AsyncConnection[Any] | None = None, **fields: Unpack[Fields]) -> JobId:
        """See :meth:`headrace_client.Client.enqueue`."""
        work = steps.enqueue(fields)
        return await (run(work, self._until_answered) if conn is None else run_on(conn, work))

    async def enqueue_many(
        self, requests: Iterable[Fields], *, conn: psycopg.AsyncConnection[Any] | None = None
    ) -> Batch:
        """See :meth:`headrace_client.Client.enqueue_many`."""
        work = steps.enqueue_many(requests)
        return await (run(work, self._until_answered) if conn is None else run_on(conn, work))

    async def result(
        self,
        job_id: UUID | str,
        *,
        tenant_id: UUID | str,
        timeout: float | None = None,
        must_end: bool = False,
        conn: psycopg.AsyncConnection[Any] | None = None,
    ) -> Result:
        """See :meth:`headrace_client.Client.result`."""
        work = steps.result(job_id, tenant_id, timeout, must_end=must_end)
        return await (run(work, self._until_answered) if conn is None else run_on(conn, work, waits=bool(timeout)))

    def finish(self) -> None:
        """Close the connections of every event loop without waiting, where no loop runs any more."""
        self._connections.finish()

    async def close(self) -> None:
        """Close the connections of this event loop."""
        await self._connections.close()

    async def _until_answered(self, statement: Statement) -> Rows:
        patience = Patience(self._patience_s)
        while True:
            try:
                async with self._connections.one(within_s=patience.left_s) as connection:
                    return await _rows(connection, statement)
            except psycopg.Error as error:
                if (refusal := refused(error)) is not None:
                    raise refusal from None
                if not may_pass(error):
                    raise statement_refused(error) from None
                pause_s = patience.pause_s()
                if pause_s is None:
                    raise unavailable(self._url, error, waited_s=patience.waited_s) from None
            await asyncio.sleep(pause_s)


async def run(work: Steps[T], execute: Callable[[Statement], Awaitable[Rows]]) -> T:
    """Run the steps to their end."""
    try:
        step = next(work)
        while True:
            rows: Rows = []
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            else:
                rows = await execute(step)
            step = work.send(rows)
    except StopIteration as done:
        answer: T = done.value
        return answer


async def run_on(conn: psycopg.AsyncConnection[Any], work: Steps[T], *, waits: bool = False) -> T:
    """The same in the caller's own transaction. An error of Postgres is raised unchanged."""
    if not isinstance(conn, psycopg.AsyncConnection):
        raise not_psycopg(conn, "psycopg.AsyncConnection")
    if waits:
        refuse_to_wait_inside(conn)
    return await run(work, partial(_on_yours, conn))


async def _on_yours(conn: psycopg.AsyncConnection[Any], statement: Statement) -> Rows:
    try:
        return await _rows(conn, statement)
    except psycopg.Error as error:
        if (refusal := refused(error)) is not None:
            raise refusal from error
        raise


async def _rows(connection: psycopg.AsyncConnection[Any], statement: Statement) -> Rows:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(statement.text.encode(), statement.values)
        return await cursor.fetchall()
