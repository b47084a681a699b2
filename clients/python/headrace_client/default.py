"""``enqueue``, ``enqueue_many``, ``result`` and their ``a…`` forms: thin shells over one client of this process.

It reads HEADRACE_DATABASE_URL at the first call that needs a connection of its own. With ``conn`` no URL is needed.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterable
from typing import Any, Unpack
from uuid import UUID

import psycopg

from headrace_client import async_client, steps
from headrace_client.async_client import AsyncClient
from headrace_client.client import Client, run_on
from headrace_client.connections import renew_in_child
from headrace_client.fields import Fields
from headrace_client.outcomes import Batch, JobId, Result


class _Default:
    def __init__(self) -> None:
        self._client: Client | None = None
        self._async_client: AsyncClient | None = None
        self.renew_in_child()
        renew_in_child(self)
        atexit.register(self.finish)

    def renew_in_child(self) -> None:
        """Another thread of the parent may have held the lock; the clients renew themselves."""
        self._lock = threading.Lock()

    def finish(self) -> None:
        """Close the clients when the program ends."""
        if self._client is not None:
            self._client.close()
        if self._async_client is not None:
            self._async_client.finish()

    def client(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = Client()
            return self._client

    def async_client(self) -> AsyncClient:
        with self._lock:
            if self._async_client is None:
                self._async_client = AsyncClient()
            return self._async_client


_default = _Default()


def enqueue(*, conn: psycopg.Connection[Any] | None = None, **fields: Unpack[Fields]) -> JobId:
    """Enqueue one job and return its id. See :meth:`headrace_client.Client.enqueue`."""
    return _default.client().enqueue(**fields) if conn is None else run_on(conn, steps.enqueue(fields))


def enqueue_many(requests: Iterable[Fields], *, conn: psycopg.Connection[Any] | None = None) -> Batch:
    """Enqueue many jobs; refused ones are reported. See :meth:`headrace_client.Client.enqueue_many`."""
    return _default.client().enqueue_many(requests) if conn is None else run_on(conn, steps.enqueue_many(requests))


def result(
    job_id: UUID | str,
    *,
    tenant_id: UUID | str,
    timeout: float | None = None,
    must_end: bool = False,
    conn: psycopg.Connection[Any] | None = None,
) -> Result:
    """The job's state and answer. See :meth:`headrace_client.Client.result`."""
    if conn is None:
        return _default.client().result(job_id, tenant_id=tenant_id, timeout=timeout, must_end=must_end)
    return run_on(conn, steps.result(job_id, tenant_id, timeout, must_end=must_end), waits=bool(timeout))


async def aenqueue(*, conn: psycopg.AsyncConnection[Any] | None = None, **fields: Unpack[Fields]) -> JobId:
    """:func:`enqueue` for asyncio."""
    if conn is None:
        return await _default.async_client().enqueue(**fields)
    return await async_client.run_on(conn, steps.enqueue(fields))


async def aenqueue_many(requests: Iterable[Fields], *, conn: psycopg.AsyncConnection[Any] | None = None) -> Batch:
    """:func:`enqueue_many` for asyncio."""
    if conn is None:
        return await _default.async_client().enqueue_many(requests)
    return await async_client.run_on(conn, steps.enqueue_many(requests))


async def aresult(
    job_id: UUID | str,
    *,
    tenant_id: UUID | str,
    timeout: float | None = None,
    must_end: bool = False,
    conn: psycopg.AsyncConnection[Any] | None = None,
) -> Result:
    """:func:`result` for asyncio."""
    if conn is None:
        return await _default.async_client().result(job_id, tenant_id=tenant_id, timeout=timeout, must_end=must_end)
    return await async_client.run_on(
        conn, steps.result(job_id, tenant_id, timeout, must_end=must_end), waits=bool(timeout)
    )
