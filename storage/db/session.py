"""One connection for one command of a person, with Postgres's own errors told in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from errors import ConfigurationError, MigrationError
from storage.db.connect import APPLICATION, Connection, as_refused, as_unavailable, cause_of, connect
from storage.db.logins import refuse_unsafe_role
from storage.db.sqlstates import Meaning, meaning

OPERATOR = "HEADRACE_OPS_DATABASE_URL"
OWNER = "HEADRACE_OWNER_DATABASE_URL"

_NOT_THERE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
)


@contextmanager
def session(url: str, *, setting: str = APPLICATION) -> Iterator[Connection]:
    """One autocommit connection; raises what :func:`translate_errors` and :func:`storage.db.connect.connect` do.

    ``setting`` is where the URL is from.
    """
    with translate_errors(url, setting=setting), connect(url, setting=setting) as connection:
        yield connection


@contextmanager
def operator_session(url: str) -> Iterator[Connection]:
    """The same as headrace_ops.

    :raises UnsafeRoleError: the login is something else besides.
    """
    with session(url, setting=OPERATOR) as connection:
        refuse_unsafe_role(connection, setting=OPERATOR, role="headrace_ops")
        yield connection


@contextmanager
def translate_errors(url: str, *, setting: str = APPLICATION) -> Iterator[None]:
    """Turn what Postgres refuses to an operator into typed errors.

    :raises MigrationError: the schema is not there, or not this release's.
    :raises ConfigurationError: the role may not do this.
    :raises PostgresUnavailableError: the server went away, or cannot do this now.
    :raises StatementRefusedError: our bug, or the data; what a function of ours raises comes as it is.
    """
    try:
        yield
    except _NOT_THERE as error:
        raise MigrationError(
            f"the database has not been migrated to this release: {_first_line(error)}", hint="Run `headrace migrate`."
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"the database role may not do this: {_first_line(error)}",
            hint="HEADRACE_DATABASE_URL logs in as headrace_app, HEADRACE_OPS_DATABASE_URL as headrace_ops. "
            "If the database is new, run `headrace migrate` first.",
        ) from error
    except psycopg.Error as error:
        match meaning(error):
            case Meaning.REFUSAL:
                raise
            case Meaning.FAULT:
                raise as_refused(error) from cause_of(error)
            case _:
                raise as_unavailable(url, error, setting=setting) from error


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0]
