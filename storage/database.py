"""A small pool over one Postgres, and patience: a step that is safe to repeat is repeated until its answer arrives."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import ConnectionPool, PoolTimeout

from storage.connect import OUR_SQLSTATES, SESSION, Connection, Row, connect, unavailable

T = TypeVar("T")
_log = structlog.get_logger("headrace.storage")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 2.0
_CONNECTION_WITHIN_S = 1.0  # who waits in the pool does not make it connect anew; who asks it again does


class Database:
    """Connections to one Postgres as one role. Close it when done."""

    def __init__(self, url: str, *, connections: int = 8) -> None:
        """Connect. Raises :class:`errors.PostgresUnavailableError` at once when the server does not answer."""
        self.url = url
        connect(url).close()
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            connection_class=psycopg.Connection[Row],
            kwargs=SESSION,
            min_size=1,
            max_size=connections,
            timeout=10,
            reconnect_timeout=0,
            open=True,
            name="headrace",
        )

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """One autocommit connection of the pool."""
        with self._pool.connection() as connection:
            yield connection

    @contextmanager
    def as_tenant(self, tenant_id: UUID) -> Iterator[Connection]:
        """A transaction in which ``tenant_id`` is set, for plain reads and writes as ``headrace_app``."""
        with self._pool.connection() as connection, _tenant_set(connection, tenant_id):
            yield connection

    def patiently(
        self,
        step: Callable[[Connection, bool], T],
        *,
        tenant_id: UUID | None = None,
        within_s: float | None = None,
        give_up: threading.Event | None = None,
    ) -> T:
        """Run ``step(connection, repeat)`` until Postgres answers; ``repeat`` is False the first time only.

        With ``tenant_id`` the step runs in a transaction in which that is set, as in :meth:`as_tenant`.

        For steps that are safe to repeat with the same identity when the answer to their commit was lost. Waits with
        backoff (20 ms to 2 s, with jitter); gives up after ``within_s`` or when ``give_up`` is set, then raises
        :class:`errors.PostgresUnavailableError`. What a function of ours raises is raised at once.
        """
        started = time.monotonic()
        pause_s, repeat = _FIRST_PAUSE_S, False
        while True:
            try:
                with self._pool.connection(timeout=_CONNECTION_WITHIN_S) as connection:
                    if tenant_id is None:
                        return step(connection, repeat)
                    with _tenant_set(connection, tenant_id):
                        return step(connection, repeat)
            except psycopg.OperationalError as error:
                if (error.sqlstate or "").startswith(OUR_SQLSTATES):
                    raise  # Postgres did answer
                gone_s = time.monotonic() - started
                if (within_s is not None and gone_s >= within_s) or (give_up is not None and give_up.is_set()):
                    raise unavailable(self.url, error) from error
                _log.warning("postgres.repeat", error=str(error).strip(), waited_s=round(gone_s, 2))
                if isinstance(error, PoolTimeout):
                    continue  # it has waited already, and nothing was done that could have to be repeated
                time.sleep(random.uniform(0.5, 1.0) * pause_s)  # noqa: S311 (jitter, not a secret)
                pause_s, repeat = min(pause_s * 2, _LONGEST_PAUSE_S), True

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _tenant_set(connection: Connection, tenant_id: UUID) -> Iterator[None]:
    with connection.transaction():
        connection.execute("select set_config('app.tenant_id', %s, true)", [str(tenant_id)])
        yield
