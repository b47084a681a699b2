"""Connections to Postgres: one way to make one, with errors that say which server and what to do."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import psycopg
from psycopg.rows import TupleRow, dict_row
from psycopg_pool import ConnectionPool

from errors import ConfigurationError, PostgresUnavailableError, UnsafeRoleError

CONNECT_TIMEOUT_S = 5


def redacted(url: str) -> str:
    """The URL without its password."""
    return re.sub(r"(//[^:/@]*):[^@/]*@", r"\1:***@", re.sub(r"(password=)[^&\s]*", r"\1***", url))


def connect(url: str, *, autocommit: bool = True) -> psycopg.Connection[TupleRow]:
    """Open one connection. Raises :class:`errors.PostgresUnavailableError` naming the server."""
    try:
        return psycopg.connect(url, autocommit=autocommit, connect_timeout=CONNECT_TIMEOUT_S, application_name="headrace")
    except psycopg.ProgrammingError as error:
        raise ConfigurationError("the database URL cannot be read", field="HEADRACE_DATABASE_URL") from error
    except psycopg.OperationalError as error:
        raise unavailable(url, error) from error


def unavailable(url: str, error: Exception) -> PostgresUnavailableError:
    """The typed error for a server that does not answer."""
    return PostgresUnavailableError(
        f"Postgres does not answer at {redacted(url)}: {str(error).strip().splitlines()[0] if str(error) else error!r}",
        hint="Is it running and reachable? `headrace doctor` checks every service.",
    )


def open_pool(url: str, *, least: int = 1, most: int = 16) -> ConnectionPool[psycopg.Connection[dict[str, object]]]:
    """A pool of autocommit connections with rows as dicts. Raises when the first connection cannot be made.

    Works behind PgBouncer in transaction mode: nothing is kept in a session, and prepared statements are off.
    """
    connect(url).close()  # fail at once and kindly, instead of a pool that retries in the background
    pool: ConnectionPool[psycopg.Connection[dict[str, object]]] = ConnectionPool(
        url,
        connection_class=psycopg.Connection[dict[str, object]],
        kwargs={
            "autocommit": True,
            "row_factory": dict_row,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "headrace",
        },
        min_size=least,
        max_size=most,
        timeout=10,
        open=True,
        name="headrace",
    )
    return pool


def refuse_unsafe_role(connection: psycopg.Connection[TupleRow]) -> None:
    """Raise :class:`errors.UnsafeRoleError` when the role could bypass row-level security."""
    row = connection.execute(
        "select rolname, rolsuper, rolbypassrls from pg_roles where rolname = current_user"
    ).fetchone()
    if row is not None and (row[1] or row[2]):
        raise UnsafeRoleError(
            f"the role {row[0]} {'is a superuser' if row[1] else 'has BYPASSRLS'}: row-level security would not hold",
            field="HEADRACE_DATABASE_URL",
            hint="Connect as headrace_app.",
        )


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn a lost connection into :class:`errors.PostgresUnavailableError`."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise unavailable(url, error) from error
