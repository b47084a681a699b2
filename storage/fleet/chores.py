"""How the schedulers' chores do: what got through, what failed, what had to be set aside. As headrace_ops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from errors import CutOffError
from storage.db.connect import Connection, Row
from storage.db.statements import sql

#: The longest that one statement of a quick chore may take, s, and the longest that it may wait for one lock.
QUICK_S: Final = 1.0

# Sent together with the statement that they bound, so that no transaction is ever open while the scheduler itself
# stands still. Each statement of such a query has a clock of its own.
_QUICK: Final[LiteralString] = (
    "select set_config('statement_timeout', '1000', true), set_config('lock_timeout', '500', true);\n"
)
_LONG: Final[LiteralString] = (
    "select set_config('statement_timeout', '60000', true), set_config('lock_timeout', '500', true);\n"
)
_ERROR_LENGTH: Final = 500


@dataclass(frozen=True, slots=True)
class ChoreState:
    """One chore, over all schedulers. Times are how long ago, s; None: never."""

    name: str
    every_s: float
    failures: int
    last_error: str | None
    failed_s_ago: float | None
    done_s_ago: float | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """What a chore could not do for what a row carries. ``job_id`` None: all that it would do for that tenant."""

    chore: str
    tenant_id: UUID
    job_id: UUID | None
    error: str
    times: int
    first_at: datetime


def run_bounded(
    connection: Connection, statement: LiteralString, facts: Sequence[Any] | Mapping[str, Any], *, quick: bool = True
) -> list[Row]:
    """Run one statement within its bounds of time, as one transaction; its rows.

    :raises CutOffError: it took too long, or waited too long for a lock. Nothing of it is done.
    """
    cursor = psycopg.ClientCursor(connection, row_factory=dict_row)
    try:
        cursor.execute((_QUICK if quick else _LONG) + statement, facts)
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
        raise CutOffError(str(error).splitlines()[0], sqlstate=error.sqlstate) from error
    while cursor.nextset():
        pass
    return cursor.fetchall() if cursor.description else []


def fail(connection: Connection, name: str, *, every_s: float, error: Exception) -> None:
    """Note that a pass of a chore ended with an unexpected error."""
    lines = str(error).splitlines()  # the first: what Postgres adds in detail may be somebody's text
    told = f"{type(error).__name__}: {lines[0] if lines else ''}".replace("\x00", "")[:_ERROR_LENGTH]
    run_bounded(connection, sql("fleet/chores", "fail"), {"name": name, "every_s": every_s, "error": told})


def get_through(connection: Connection, every_s: Mapping[str, float]) -> None:
    """Note that some chores got through. ``every_s``: name → seconds between passes."""
    facts = {"names": list(every_s), "every_s": list(every_s.values())}
    run_bounded(connection, sql("fleet/chores", "get_through"), facts)


def list_chores(connection: Connection) -> list[ChoreState]:
    """How each chore does, by name."""
    return [ChoreState(**row) for row in connection.execute(sql("fleet/chores", "list")).fetchall()]


def aside(connection: Connection, *, limit: int = 1000) -> list[SetAside]:
    """What chores have set aside and is still there, the oldest first."""
    return [SetAside(**row) for row in connection.execute(sql("fleet/chores", "aside"), {"limit": limit}).fetchall()]
