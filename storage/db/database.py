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
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

import forks
from storage.db.connect import (
    APPLICATION,
    SESSION,
    Connection,
    Row,
    as_failed,
    as_refused,
    as_unavailable,
    cause_of,
    connect,
    one_line_reason,
    pin,
    register_connection,
)
from storage.db.sqlstates import Meaning, reading

T = TypeVar("T")
_log = structlog.get_logger("headrace.storage")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 2.0
_CONNECTION_WITHIN_S = 1.0  # who waits in the pool does not make it connect anew; who asks it again does
_STRAIN_S = 30.0  # how long a statement is repeated that may itself be what is too much for Postgres


class Database:
    """Connections to one Postgres as one role. Safe for many threads, and in a forked child. Close it when done."""

    def __init__(self, url: str, *, connections: int = 8, setting: str = APPLICATION) -> None:
        """Connect; ``setting`` is where the URL is from.

        :raises PostgresUnavailableError: the server does not answer; at once.
        """
        self.url = url
        self._setting = setting
        self._connections = connections
        self._opening = threading.Lock()
        connect(url, setting=setting).close()
        self._pool: ConnectionPool[Connection] | None = self._opened()
        forks.renew_in_child(self)

    @contextmanager
    def connection(self, *, within_s: float | None = None) -> Iterator[Connection]:
        """One autocommit connection of the pool, had ``within_s`` seconds (10 if not given)."""
        with self._own_pool().connection(timeout=within_s) as connection:
            try:
                yield connection
            except psycopg.Error as error:
                if reading(error).anew:
                    connection.close()  # the pool makes another one, which may lead to another server
                raise

    @contextmanager
    def as_tenant(self, tenant_id: UUID) -> Iterator[Connection]:
        """A transaction in which ``tenant_id`` is set, for plain reads and writes as ``headrace_app``."""
        with self.connection() as connection, _tenant_set(connection, tenant_id):
            yield connection

    def retry_until_answered(
        self,
        step: Callable[[Connection], T],
        *,
        tenant_id: UUID | None = None,
        within_s: float | None = None,
        give_up: threading.Event | None = None,
    ) -> T:
        """Run ``step(connection)`` until Postgres answers.

        With ``tenant_id`` the step runs in a transaction in which that is set, as in :meth:`as_tenant`.

        For steps that are safe to repeat with the same identity when the answer to their commit was lost. What an
        error means is told by :mod:`storage.db.sqlstates`. Waits with backoff (20 ms to 2 s, with jitter). What a
        function of ours raises is raised at once.

        :raises PostgresUnavailableError: an outage, after ``within_s`` or when ``give_up`` is set.
        :raises StatementRefusedError: the statement would fail again; at once.
        :raises StatementFailedError: it failed for half a minute, and may be what is too much for Postgres.
        """
        started = time.monotonic()
        pause_s = _FIRST_PAUSE_S
        strained_since: float | None = None
        while True:
            try:
                with self.connection(within_s=_CONNECTION_WITHIN_S) as connection:
                    if tenant_id is None:
                        return step(connection)
                    with _tenant_set(connection, tenant_id):
                        return step(connection)
            except psycopg.Error as error:
                now, meaning = time.monotonic(), reading(error).meaning
                if meaning is Meaning.REFUSAL:
                    raise
                if meaning is Meaning.FAULT:
                    raise as_refused(error) from cause_of(error)
                gone_s = now - started
                if (
                    isinstance(error, PoolClosed)
                    or (within_s is not None and gone_s >= within_s)
                    or (give_up is not None and give_up.is_set())
                ):
                    raise as_unavailable(self.url, error, setting=self._setting) from error
                strained_since = None if meaning is not Meaning.STRAIN else strained_since or now
                if strained_since is not None and now - strained_since >= _STRAIN_S:
                    raise as_failed(error, tried_s=now - strained_since) from cause_of(error)
                # The rest of what Postgres says may be somebody's text, and is in its own log.
                _log.warning(
                    "postgres.repeat", error=one_line_reason(error), sqlstate=error.sqlstate, waited_s=round(gone_s, 2)
                )
                if isinstance(error, PoolTimeout):
                    continue  # it has waited already, and nothing was done that could have to be repeated
                time.sleep(random.uniform(0.5, 1.0) * pause_s)  # noqa: S311 (jitter, not a secret)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def close(self) -> None:
        """Close every connection."""
        self._own_pool().close()

    def renew_in_child(self) -> None:
        """Let go of the parent's connections; see :mod:`forks`."""
        self._opening = threading.Lock()
        if self._pool is not None and not self._pool.closed:
            forks.abandon(self._pool)
            self._pool = None

    def _own_pool(self) -> ConnectionPool[Connection]:
        """The pool of this process. A child opens its own at first use: most children use none."""
        pool = self._pool
        if pool is None:
            with self._opening:
                pool = self._pool = self._pool or self._opened()
        return pool

    def _opened(self) -> ConnectionPool[Connection]:
        return ConnectionPool(
            self.url,
            connection_class=psycopg.Connection[Row],
            kwargs=SESSION,
            min_size=1,
            max_size=self._connections,
            timeout=10,
            reconnect_timeout=0,
            open=True,
            name="headrace",
            configure=_begin,
        )

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _begin(connection: Connection) -> None:
    pin(register_connection(connection))


@contextmanager
def _tenant_set(connection: Connection, tenant_id: UUID) -> Iterator[None]:
    with connection.transaction():
        connection.execute("select set_config('app.tenant_id', %s, true)", [str(tenant_id)])
        yield
