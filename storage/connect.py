"""Connections to Postgres: one way to make one, with errors that say which server and what to do."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import psycopg
from psycopg.rows import dict_row

from errors import ConfigurationError, PostgresUnavailableError, UnsafeRoleError

#: The class of SQLSTATEs that functions of ours raise. psycopg, which does not know it, counts it among outages.
OUR_SQLSTATES = "HR"

# Nothing is kept in a session, so that any PgBouncer in transaction mode can stand in front. Prepared statements are of
# a session too, unless the pooler follows them (PgBouncer from 1.21). Each of our statements is one function call, so
# they would save 7 % of the server's CPU and nothing that the pipeline's throughput shows: not worth a setting.
SESSION: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,
    "row_factory": dict_row,
    "connect_timeout": 5,
    "application_name": "headrace",
    # over TCP a silent partition shows within half a minute, not after the kernel's two hours
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms
}

Row: TypeAlias = dict[str, Any]
Connection: TypeAlias = psycopg.Connection[Row]


def redacted(url: str) -> str:
    """The URL (or key=value string) without its password, even one with a bare ``@``, ``/`` or quoted blank in it."""
    shown = re.sub(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^&\s]*)", r"\1***", url)
    return re.sub(r"(//[^:/@?]*):.*@", r"\1:***@", shown)


def connect(url: str) -> Connection:
    """Open one autocommit connection. Raises :class:`errors.PostgresUnavailableError` naming the server."""
    try:
        return psycopg.Connection[Row].connect(url, **SESSION)
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


def refuse_unsafe_role(
    connection: Connection, *, setting: str = "HEADRACE_DATABASE_URL", role: str = "headrace_app"
) -> None:
    """Raise :class:`errors.UnsafeRoleError` when the role could bypass row-level security.

    ``setting`` is where its URL comes from, ``role`` the one that it should log in as.
    """
    row = connection.execute(
        "select rolname, rolsuper, rolbypassrls from pg_roles where rolname = current_user"
    ).fetchone()
    if row is not None and (row["rolsuper"] or row["rolbypassrls"]):
        raise UnsafeRoleError(
            f"the role {row['rolname']} {'is a superuser' if row['rolsuper'] else 'has BYPASSRLS'}: "
            "row-level security would not hold",
            field=setting,
            hint=f"Connect as {role}.",
        )
