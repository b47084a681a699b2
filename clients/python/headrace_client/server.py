"""How a connection of ours is made, and the meaning of an error of Postgres: wait, or give up."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from headrace_client.errors import (
    ConfigurationError,
    HeadraceError,
    PostgresUnavailableError,
    StatementRefusedError,
    refusal,
)

URL_VARIABLE: Final = "HEADRACE_DATABASE_URL"
REFUSED: Final = "HR400"  # raised by Headrace's functions for a request that they refuse

# A session holds no state, so that a PgBouncer in transaction mode can stand in front. Over TCP a silent partition
# shows within half a minute, not after the kernel's two hours.
SESSION: Final[dict[str, Any]] = {
    "autocommit": True,
    "prepare_threshold": None,
    "connect_timeout": 5,
    "client_encoding": "utf8",
    "application_name": "headrace-client",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms
}

# Errors that may go away by themselves: lost connections, read-only servers, conflicts, locks, resources, cut
# statements.
_MAY_PASS: Final = re.compile("08|28|3D|25006|25P0[34]|40(?!002)|55P03|53|57|58|XX|26000|42P05")
_NAMES_ONLY: Final = ("0A", "3F", "42", "54")  # classes whose messages hold names and limits, and never a caller's text


def url_or_environment(url: str | None) -> str:
    """The given URL, or that of the environment. Raises :class:`headrace_client.errors.ConfigurationError`.

    libpq's message about a URL that it cannot read holds parts of it, which may be of the password: it is not shown.
    """
    found = url or os.environ.get(URL_VARIABLE)
    if not found:
        raise ConfigurationError(
            "is not set, and no URL was given", field=URL_VARIABLE, hint="Set it, or make a Client(url)."
        )
    try:
        parts = conninfo_to_dict(found)
    except psycopg.ProgrammingError:
        parts = None
    if parts is None or any("@" in str(parts.get(name) or "") for name in ("host", "port", "dbname")):
        raise ConfigurationError(
            "the database URL cannot be read",
            field=URL_VARIABLE if url is None else "url",
            hint="Percent-encode every special character of the password: @ is %40, / is %2F, % is %25.",
        ) from None
    return found


def place(url: str) -> str:
    """The server and database that a URL names, without login and password."""
    parts = conninfo_to_dict(url)
    named = {name: parts[name] for name in ("host", "port", "dbname") if parts.get(name)}
    return make_conninfo("", **named) or "the default server"


def may_pass(error: psycopg.Error) -> bool:
    """Whether the same statement may succeed a moment later."""
    if error.sqlstate is None:  # no answer of a server
        return isinstance(error, psycopg.OperationalError)
    return _MAY_PASS.match(error.sqlstate) is not None


def refused(error: psycopg.Error) -> HeadraceError | None:
    """The refusal that a function of Headrace's raised; None for any other error."""
    if error.sqlstate != REFUSED:
        return None
    return refusal(json.loads(error.diag.message_detail or "{}"))


def is_fit_after(error: BaseException) -> bool:
    """Whether the connection on which it happened may be used again: Postgres only refused a statement."""
    return isinstance(error, psycopg.Error) and error.sqlstate is not None and not may_pass(error)


def unavailable(url: str, error: psycopg.Error, *, waited_s: float) -> PostgresUnavailableError:
    """The typed error for a server that does not answer, or cannot do this now."""
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    said = f"Postgres ({place(url)}) does not answer" if error.sqlstate is None else "Postgres cannot do this now"
    told = {} if error.sqlstate is None else {"sqlstate": error.sqlstate}
    if error.sqlstate is None or error.sqlstate[:2] in ("08", "25", "28", "3D", "53", "57"):
        said += f": {first_line}"
    return PostgresUnavailableError(said, waited_s=round(waited_s, 1), **told)


def statement_refused(error: psycopg.Error) -> StatementRefusedError:
    """The typed error for a statement that would be refused again. It never shows the values in the statement."""
    said = f"Postgres refuses the statement: {type(error).__name__} ({error.sqlstate or 'not sent'})"
    hint = None
    if (error.sqlstate or "")[:2] in _NAMES_ONLY:
        said += f", {str(error).strip().splitlines()[0]}"
    if error.sqlstate in ("42501", "42883", "3F000"):
        hint = "The login has to be a member of headrace_producer, in a database that this release has migrated."
    return StatementRefusedError(said, hint=hint, sqlstate=error.sqlstate)
