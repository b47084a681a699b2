"""Connections to Postgres: one way to make one, with errors that say which server and what to do."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl
from weakref import WeakSet

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

import forks
from errors import (
    ConfigurationError,
    PostgresUnavailableError,
    StatementFailedError,
    StatementRefusedError,
)
from reachability import ENCODE, why_unreached
from redaction import without_password
from storage.db.reading import Readable

_TELL_NAMES_ONLY = ("0A", "42", "54")  # classes whose messages hold names of ours and limits, and never the data
_OF_THE_WAY = ("08", "28", "3D")  # classes of what only a connection that is being made meets
APPLICATION: Final = "HEADRACE_DATABASE_URL"
"""Where a URL is from, if nothing else is said."""
_FORM = "Write postgresql://role:password@host:port/database."
_PARAMETERS = (
    "Its parameters are those of libpq (sslmode, connect_timeout, target_session_attrs, …). Take the others out."
)
_BAD_VALUE = re.compile(
    r'connection is bad: invalid (?:\w+ value .* for connection option "(\w+)"|(\w+) value|(port) number)'
)
_HINTS = {
    "25006": "It is read-only: a standby, a primary that was demoted, or a disk that is full. What runs waits for it.",
    "53300": "It is out of connections: raise max_connections, or put a PgBouncer in front.",
    "53100": "Its disk is full.",
}

# Nothing is kept in a session, so that any PgBouncer in transaction mode can stand in front. Prepared statements are of
# a session too, unless the pooler follows them (PgBouncer from 1.21). Each of our statements is one function call, so
# they would save 7 % of the server's CPU and nothing that the pipeline's throughput shows: not worth a setting.
SESSION: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,
    "row_factory": dict_row,
    "context": Readable(),
    "connect_timeout": 5,
    "application_name": "headrace",
    "client_encoding": "UTF8",
    # over TCP a silent partition shows within half a minute, not after the kernel's two hours
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms
}

# A role or a database may set what changes the form or the meaning of what we send and read. `options` of the start-up
# would pin it too, but a PgBouncer refuses them. It follows each client's TimeZone and DateStyle from server to server;
# the others stay with the server connection, where they are right for each of our clients.
PINNED: Final = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",  # psycopg reads instants in no other style
    "IntervalStyle": "postgres",  # nor intervals
    "bytea_output": "hex",
    "extra_float_digits": "1",  # fewer digits would not be the same number
    "array_nulls": "on",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "default_transaction_isolation": "read committed",  # what our functions are written for; see docs/reference/sql.md
}
_PIN = f"select {', '.join('set_config(%s, %s, false)' for _ in PINNED)}"
_PINS = [part for pair in PINNED.items() for part in pair]

Row: TypeAlias = dict[str, Any]
Connection: TypeAlias = psycopg.Connection[Row]


def connect(url: str, *, setting: str = APPLICATION) -> Connection:
    """Open one autocommit connection. ``setting`` is where the URL is from.

    :raises PostgresUnavailableError: it names the server, and why it was not reached.
    :raises ConfigurationError: the URL cannot be used.
    """
    check_url(url, setting=setting)
    try:
        connection = register_connection(psycopg.Connection[Row].connect(url, **SESSION))
        pin(connection)
    except psycopg.OperationalError as error:
        part = _BAD_VALUE.search(str(error))
        if part is not None:  # libpq's own look at the URL; it quotes the value
            raise _unusable(f"has a value of `{part[part.lastindex or 0]}` that cannot be one", setting) from None
        raise as_unavailable(url, error, setting=setting) from error
    return connection


def pin(connection: Connection) -> None:
    """Give a new session the settings that its reader relies on, whatever its role or database sets."""
    try:
        connection.execute(_PIN, _PINS)
    except psycopg.Error:
        connection.close()
        raise


def check_url(url: str, *, setting: str = APPLICATION) -> None:
    """Raise :class:`errors.ConfigurationError` for a URL that libpq cannot read, or reads otherwise than was meant."""
    parts_of(url, setting=setting)


def parts_of(url: str, *, setting: str = APPLICATION) -> dict[str, str]:
    """What a URL says, by libpq's names (user, host, port, dbname, …). ``setting`` is where it is from.

    What libpq says of a bad one tells the part that it stumbled over, which may be of the password. So its error is
    neither cause nor context of ours. A password with a bare ``@`` or ``/`` ends up as host or database, and in every
    message.

    :raises ConfigurationError: libpq cannot read it, or reads it otherwise than it was meant.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        parts = None
    if parts is None and (unknown := _unknown_parameters(url)):
        raise _unusable(
            f"has a parameter that Postgres's library does not know: {', '.join(unknown)}", setting, _PARAMETERS
        )
    if parts is None or any("@" in str(parts.get(name) or "") for name in ("host", "port", "dbname")):
        raise _unusable("the database URL cannot be read", setting, f"{_FORM} {ENCODE}")
    return {name: str(value) for name, value in parts.items() if value is not None}


def _unknown_parameters(url: str) -> list[str]:
    """Names of parameters that libpq has not got, where they cannot be a piece of a password that was cut short."""
    before, _, query = url.partition("?")
    if "://" not in before or "@" in query or "#" in query:
        return []
    names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()} | {"ssl"}
    return [name for name in names if name not in known and re.fullmatch(r"[A-Za-z_]{1,40}", name)]


def _unusable(says: str, setting: str, hint: str = ENCODE) -> ConfigurationError:
    return ConfigurationError(says, field=setting, hint=hint)


class _Open:
    """The connections of this process, which a forked child must not use: it would read its parent's answers."""

    def __init__(self) -> None:
        self.connections: WeakSet[Connection] = WeakSet()
        forks.renew_in_child(self)

    def renew_in_child(self) -> None:
        inherited, self.connections = list(self.connections), WeakSet()
        for connection in inherited:
            forks.abandon(connection)
            if not connection.closed:
                forks.unplug(connection.fileno())


_open = _Open()


def register_connection(connection: Connection) -> Connection:
    """The connection; a forked child lets go of it."""
    _open.connections.add(connection)
    return connection


def as_unavailable(url: str, error: Exception, *, setting: str = APPLICATION) -> PostgresUnavailableError:
    """The typed error for a server that does not answer, or answers that it cannot do this now."""
    said = one_line_reason(error)
    sqlstate = error.sqlstate if isinstance(error, psycopg.Error) else None
    if sqlstate is None or sqlstate[:2] in _OF_THE_WAY:
        why = why_unreached(str(error))
        facts = {} if sqlstate is None else {"sqlstate": sqlstate}
        return PostgresUnavailableError(
            f"Postgres at {without_password(url)} {why.phrase}: {said}",
            field=setting,
            hint=why.hint_for(setting),
            reason=why.reason,
            **facts,
        )
    return PostgresUnavailableError(
        f"Postgres at {without_password(url)} cannot do this now: {said}",
        sqlstate=sqlstate,
        hint=_HINTS.get(sqlstate, "Its log tells more; what runs waits for it."),
    )


def one_line_reason(error: Exception) -> str:
    """What a library says of a failure, on one line and without what it adds each time."""
    lines = str(error).strip().splitlines() or [repr(error)]
    # of several addresses it tells each, below a first line that tells nothing
    line = lines[-1] if lines[0].startswith("Multiple connection attempts failed") else lines[0]
    return re.sub(r"^(connection failed|connection is bad): ", "", line)


def as_refused(error: psycopg.Error) -> StatementRefusedError:
    """The typed error for a statement that would be refused again. It never tells what the statement carried."""
    return StatementRefusedError(f"Postgres refuses the statement: {_named(error)}", **_facts(error))


def as_failed(error: psycopg.Error, *, tried_s: float) -> StatementFailedError:
    """The typed error for a statement that failed for ``tried_s`` seconds."""
    return StatementFailedError(
        f"Postgres failed at the statement for {tried_s:.0f} s: {_named(error)}",
        hint="Look at its memory, its statement_timeout and its log.",
        **_facts(error),
    )


def cause_of(error: psycopg.Error) -> psycopg.Error | None:
    """What a typed error is raised from: nothing where the message of Postgres may hold a tenant's text."""
    return error if (error.sqlstate or "")[:2] in _TELL_NAMES_ONLY else None


def _named(error: psycopg.Error) -> str:
    named = f"{type(error).__name__} ({error.sqlstate or 'not sent'})"
    if cause_of(error) is not None:
        named += f", {str(error).strip().splitlines()[0]}"
    return named


def _facts(error: psycopg.Error) -> dict[str, str]:
    diag = error.diag
    facts = {"sqlstate": error.sqlstate, "constraint": diag.constraint_name, "table": diag.table_name}
    return {name: value for name, value in facts.items() if value is not None}
